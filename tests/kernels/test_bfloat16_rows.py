"""bfloat16 at every level: conversions, stochastic rounding, and kernels on rows of it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slidelearn import _bfloat16
from slidelearn._grouping import group_batches
from slidelearn._kernels import _dense, _hashing, _rows, _simd, _topk
from slidelearn._lsh import LSHIndex
from tests import reference
from tests.levels import KEYS, SEEDS, SIZES, at_every_level, csr, frozen, numbers
from tests.reference_lsh import rng_stream

QUICK = settings(max_examples=30, deadline=None)
ROWS = st.sampled_from([0, 1, 2, 5, 13, 33])
SOLVERS = st.sampled_from(list(reference.KEPT))
SENTINEL = 0x5A5A
SPECIAL = np.array([0.0, -0.0, 1.0, np.inf, -np.inf, np.nan, -np.nan, 1e-45, -1e-40, 1.17549435e-38,
                    3.4028235e38, -3.4028235e38, 1.00390625, 1.01171875, 1.0039063], np.float32)


def guarded(bits):
    """A copy at an odd address between sentinels, and a function that checks the sentinels."""
    bits = np.asarray(bits, np.uint16)
    memory = np.full(bits.size + 33, SENTINEL, np.uint16)
    view = memory[1:bits.size + 1].reshape(bits.shape)
    view[...] = bits

    def check():
        assert memory[0] == SENTINEL
        assert (memory[bits.size + 1:] == SENTINEL).all()

    return view, check


def random_bits(rng, *shape):
    """bfloat16 of normal numbers."""
    return frozen(reference.nearest(rng.standard_normal(shape).astype(np.float32)), np.uint16)


def test_every_bfloat16_is_widened_and_comes_back():
    bits = np.arange(2**16, dtype=np.uint16)

    def run(n_threads):
        wide, back = np.empty(2**16, np.float32), np.empty(2**16, np.uint16)
        _simd.widen(bits, wide)
        _simd.narrow(wide, back)
        return wide, back

    for wide, back in at_every_level(run, (1,)).values():
        assert wide.tobytes() == reference.widen(bits).tobytes()
        nan = np.isnan(wide)
        assert nan.sum() == 2 * 127
        np.testing.assert_array_equal(back[~nan], bits[~nan])
        np.testing.assert_array_equal(back[nan], bits[nan] | 0x40)


@QUICK
@given(n=SIZES, seed=SEEDS)
def test_narrow_rounds_to_nearest_even(n, seed):
    """Any bits: denormals, infinities and NaN among them."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 2**32, n, dtype=np.uint32).view(np.float32)
    some = rng.random(n) < 0.3
    x[some] = rng.choice(SPECIAL, some.sum())
    x = frozen(x)

    def run(n_threads):
        y, check = guarded(np.zeros(n))
        _simd.narrow(x, y)
        check()
        return (y,)

    for (y,) in at_every_level(run, (1,)).values():
        np.testing.assert_array_equal(y, reference.nearest(x))
    wide = reference.widen(reference.nearest(x)).astype(np.float64)
    np.testing.assert_array_equal(np.isnan(wide), np.isnan(x))
    finite = np.isfinite(wide)
    exact = x[finite].astype(np.float64)
    assert (np.abs(wide[finite] - exact) <= np.maximum(2.0**-8 * np.abs(exact), 2.0**-134)).all()


def test_numpy_and_back():
    values = np.random.default_rng(0).standard_normal((7, 5)).astype(np.float32)
    bits = _bfloat16.as_dtype(values, "bfloat16")
    np.testing.assert_array_equal(bits, reference.nearest(values))
    np.testing.assert_array_equal(_bfloat16.as_float32(bits), reference.widen(bits))
    np.testing.assert_array_equal(_bfloat16.as_float32(bits.T), reference.widen(bits).T)
    assert _bfloat16.as_float32(values) is values
    assert not np.shares_memory(_bfloat16.as_dtype(bits, "bfloat16"), bits)
    assert _bfloat16.all_finite(bits)
    for bad in (np.inf, -np.inf, np.nan):
        values[3, 2] = bad
        assert not _bfloat16.all_finite(_bfloat16.as_dtype(values, "bfloat16"))


def stepped(settings, g, w, m, v, key):
    """What `step16` should make of bfloat16 w, m, v: a float32 step of this level, rounded."""
    arrays = [reference.widen(a) for a in (w, m, v)]
    _simd.step(_simd.Optimizer(*settings), g, *arrays)
    bits = reference.rounding_bits(key, len(g))
    return [reference.narrow(a, up[:len(a)]) for a, up in zip(arrays, bits, strict=True)]


@QUICK
@given(n=SIZES, seed=SEEDS, key=KEYS, solver=SOLVERS, t=st.sampled_from([1, 1000]))
def test_step16(n, seed, key, solver, t):
    rng = np.random.default_rng(seed)
    g = frozen(rng.standard_normal(n))
    w, m, v = (random_bits(rng, n) for _ in range(3))
    m, v = (m & 0x7FFF if solver == "adagrad" else m), v & 0x7FFF
    m, v = (a[:n if i in reference.KEPT[solver] else 0] for i, a in ((1, m), (2, v)))
    settings = solver, 0.01, t

    def run(n_threads):
        arrays = [guarded(a) for a in (w, m, v)]
        _simd.step16(_simd.Optimizer(*settings), g, *(a for a, _ in arrays), key)
        for _, check in arrays:
            check()
        found = [a for a, _ in arrays]
        for a, expected in zip(found, stepped(settings, g, w, m, v, key), strict=True):
            np.testing.assert_array_equal(a, expected)
        return tuple(found)

    at_every_level(run, (1,))


def test_rounding_is_unbiased():
    """Steps of a hundredth of what bfloat16 can tell apart, and the slow mean of squares."""
    n = 4096
    w, m, v = (np.full(n, bits, np.uint16) for bits in (0x3F80, 0x3F80, 0x3F80))  # ones
    start = [reference.widen(a).astype(np.float64) for a in (w, m, v)]
    g, steps = np.full(n, 0.5, np.float32), 50
    for step in range(steps):
        optimizer = _simd.Optimizer("adam", 1e-4, 10**6, beta_1=0.999, beta_2=0.999)
        _simd.step16(optimizer, g, w, m, v, rng_stream(7, step))
        reference.Optimizer("adam", 1e-4, 10**6, 0.999, 0.999).step(g, *start)
    for found, expected in zip((w, m, v), start, strict=True):
        wide = reference.widen(found).astype(np.float64)
        assert len(np.unique(wide)) > 2
        error = wide.mean() - expected[0]
        assert abs(error) < 5 * wide.std() / n**0.5
        assert abs(error) < 0.1 * abs(expected[0] - 1)
        neighbours = np.corrcoef(wide[:-1], wide[1:])[0, 1]
        assert abs(neighbours) < 5 / n**0.5
    correlation = np.corrcoef(reference.widen(w), reference.widen(v))[0, 1]
    assert abs(correlation) < 5 / n**0.5


def test_what_is_not_finite_stays_so():
    w = _bfloat16.as_dtype(np.array([np.inf, -np.inf, np.nan, 1.0] * 9, np.float32), "bfloat16")
    w[2::4] |= 0x7F  # a NaN that a carry would make a number
    empty = np.empty(0, np.uint16)
    for key in range(50):
        found = w.copy()
        _simd.step16(_simd.Optimizer("sgd", 1.0, 1), np.zeros(36, np.float32), found, empty, empty,
                     key)
        np.testing.assert_array_equal(found, w)


@QUICK
@given(data=st.data(), n=ROWS, n_classes=ROWS, width=SIZES, seed=SEEDS)
def test_reading_is_that_of_float32(data, n, n_classes, width, seed):
    """Every kernel that reads rows gives the bits that it gives for the same rows as float32."""
    rng = np.random.default_rng(seed)
    weights = random_bits(rng, n_classes, width)
    hidden = data.draw(numbers((n, width), False))
    bias = data.draw(numbers(n_classes, False))
    indptr, indices = data.draw(csr(n, n_classes))
    values = data.draw(numbers(len(indices), False))
    ids = frozen(rng.integers(0, max(1, n_classes), 2 * n_classes), np.int32)
    candidates = frozen(np.tile(np.arange(n_classes), (n, 1)), np.int32)
    k = min(3, n_classes)

    def read(rows, n_threads):
        logits, own = np.empty((n, n_classes), np.float32), np.empty(len(indices), np.float32)
        panels = np.empty((n_threads, width * _dense.PANEL_WIDTH), np.float32)
        _dense.block_logits(hidden, rows, bias, logits, panels, n_threads)
        block, gradient = np.empty((len(ids), width), np.float32), hidden.copy()
        block_bias = np.empty(len(ids), np.float32)
        _dense.gather_rows(rows, bias, bias, ids, block, block_bias, n_threads)
        _rows.pair_logits(indptr, indices, hidden, rows, bias, own, n_threads)
        _rows.add_rows(indptr, indices, values, rows, gradient, n_threads)
        best, found = np.full((n, k), -np.inf, np.float32), np.full((n, k), -1, np.int32)
        _topk.candidate_topk(hidden, rows, bias, candidates, np.full(n, n_classes, np.int32), best,
                             found, n_threads)
        means, biases = np.empty(width), np.empty(n_classes)
        _hashing.column_means(rows, means, n_threads)
        every = np.arange(n_classes, dtype=np.int32)
        _hashing.shifted_biases(rows, bias, means, every, biases, n_threads)
        return logits, block, own, gradient, best, found, means, biases

    narrow = at_every_level(lambda n_threads: read(weights, n_threads))
    wide = at_every_level(lambda n_threads: read(reference.widen(weights), n_threads), (1,))
    for level, found in narrow.items():
        for a, b in zip(found, wide[level], strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("hash_function", ["simhash", "dwta", "minhash"])
def test_hash_tables_are_those_of_float32(hash_function):
    rng = np.random.default_rng(0)
    weights, bias = random_bits(rng, 70, 33), frozen(rng.standard_normal(70))
    slots = []
    for rows in (weights, reference.widen(weights)):
        index = LSHIndex(70, 33, hash_function=hash_function, hash_length=3, n_tables=9, seed=1)
        index.build(rows, bias, np.ones(33))
        slots += [index.slots.copy(), index.update(rows[::-1].copy(), bias, np.arange(40)).slots]
    np.testing.assert_array_equal(slots[0], slots[2])
    np.testing.assert_array_equal(slots[1], slots[3])
    assert (slots[0] != slots[1]).any()


@QUICK
@given(data=st.data(), n=ROWS, n_classes=ROWS, width=SIZES, seed=SEEDS, key=KEYS, solver=SOLVERS)
def test_updates(data, n, n_classes, width, seed, key, solver):
    """`update_block` and `update_rows` step touched rows by the random numbers of each row."""
    rng = np.random.default_rng(seed)
    kept = reference.KEPT[solver]
    start = [random_bits(rng, n_classes, width) & (0x7FFF if i else 0xFFFF) for i in range(3)]
    start = [a if i in kept else np.empty((0, 0), np.uint16) for i, a in enumerate(start)]
    bias = [frozen(rng.random(n_classes if i in kept else 0)) for i in range(3)]
    ids = frozen(rng.permutation(n_classes)[:rng.integers(0, n_classes + 1)], np.int32)
    delta, vectors = data.draw(numbers((n, len(ids)), True)), data.draw(numbers((n, width), True))
    indptr, indices = data.draw(csr(n, n_classes))
    values = data.draw(numbers(len(indices), True))
    groups, = group_batches(indptr, indices, np.arange(n), max(1, n),
                            np.full((1, n_classes), -1, np.int32))
    settings = solver, 0.1, 3, 0.9, 0.999, 1e-8
    own = np.zeros((n_classes, width), np.float32)
    for i in range(n):
        np.add.at(own, indices[indptr[i]:indptr[i + 1]],
                  values[indptr[i]:indptr[i + 1], None] * vectors[i])

    def check(found, rows, gradient):
        expected = [a.copy() for a in start]
        for row, g in zip(rows, gradient, strict=True):
            parts = [a[row] if len(a) else a[0:0].reshape(0) for a in start]
            for a, b in zip(expected, stepped(settings, g, *parts, rng_stream(key, int(row))),
                            strict=True):
                if len(a):
                    a[row] = b
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_array_equal(a, b)

    def run(n_threads):
        optimizer = _simd.Optimizer(*settings, key)
        scratch = np.full((n_threads, _dense.TILE_ROWS * (width + 1)), np.nan, np.float32)
        shared, single = ([guarded(a) for a in start] for _ in range(2))
        _dense.update_block(delta, vectors, ids, optimizer, *(a for a, _ in shared),
                            *(a.copy() for a in bias), scratch, n_threads)
        _rows.update_rows(*groups, values, vectors, optimizer, *(a for a, _ in single), scratch,
                          n_threads)
        for _, unharmed in (*shared, *single):
            unharmed()
        if n and width:
            check([a for a, _ in shared], ids, np.ascontiguousarray(delta.T) @ vectors)
        check([a for a, _ in single], *((groups[0], own[groups[0]]) if width else ([], [])))
        return tuple(a for a, _ in (*shared, *single))

    at_every_level(run)
