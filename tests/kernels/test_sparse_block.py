"""The sparse backward pass of the shared classes: equal to its oracles and to the dense one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slidelearn._kernels import _dense, _hashing, _simd, _sparse_block
from tests import reference
from tests.levels import KEYS, SEEDS, SIZES, at_every_level, frozen, guarded, numbers

ROWS = st.sampled_from([0, 1, 2, 5, 13, 33])
QUICK = settings(max_examples=30, deadline=None)


def sparsify(gradient, least, key, n_threads=1):
    """Counts, places and values, in more room than needed."""
    n, n_block = gradient.shape
    counts = np.full(n + 1, -1, np.int64)
    places = np.full((n + 1, n_block + 2), -7, np.int32)
    values = np.full((n + 1, n_block + 2), np.nan, np.float32)
    wide = np.pad(gradient, ((0, 0), (0, 3)), constant_values=np.nan)  # beyond the block: not read
    total = _sparse_block.sparsify(wide, gradient.shape[1], least, key, counts, places, values,
                                   n_threads)
    assert total == counts[:n].sum()
    assert np.isnan(values[n]).all() and np.isnan(values[:, n_block:]).all()
    return counts[:n], places[:n], values[:n]


def scattered(pairs, shape):
    out = np.zeros(shape, np.float32)
    for i, (count, places, values) in enumerate(zip(*pairs, strict=True)):
        assert len(np.unique(places[:count])) == count
        out[i, places[:count]] = values[:count]
    return out


def random_pairs(rng, n, n_block):
    """Ascending places and any values, as `sparsify` leaves them."""
    counts = rng.integers(0, n_block + 1, n)
    places = np.full((n, n_block), -7, np.int32)
    values = rng.standard_normal((n, n_block)).astype(np.float32)
    for i, count in enumerate(counts):
        places[i, :count] = np.sort(rng.permutation(n_block)[:count])
    return frozen(counts, np.int64), frozen(places, np.int32), frozen(values)


@QUICK
@given(n=ROWS, n_block=SIZES, key=KEYS, seed=SEEDS)
def test_sparsify(n, n_block, key, seed):
    rng = np.random.default_rng(seed)
    gradient = frozen(rng.standard_normal((n, n_block)) * rng.choice([0, 1e-3, 1], (n, n_block)))
    least = frozen(rng.choice([0, 0.5, 3], n))

    def run(n_threads):
        counts, places, values = sparsify(gradient, least, key, n_threads)
        for i in range(n):
            assert (places[i, counts[i]:] == -7).all()
            assert np.isnan(values[i, counts[i]:]).all()
            assert (np.diff(places[i, :counts[i]]) > 0).all()
        return counts, places, values

    exact = np.array([reference.sparsify(row, size, _hashing.stream_key(key, i))
                      for i, (row, size) in enumerate(zip(gradient, least, strict=True))])
    for found in at_every_level(run).values():
        np.testing.assert_array_equal(scattered(found, gradient.shape),
                                      exact.reshape(gradient.shape))


def test_sparsify_keeps_the_expectation():
    sizes = np.array([0, 1e-4, 0.01, 0.2, 0.5, 0.999, 1, 1.5], np.float32)
    gradient = np.tile(np.concatenate([sizes, -sizes]), (20_000, 1))
    found = scattered(sparsify(gradient, np.ones(len(gradient), np.float32), 5), gradient.shape)
    small = np.abs(gradient[0]) < 1
    assert np.isin(np.abs(found[:, small]), [0, 1]).all()
    np.testing.assert_array_equal(found[:, ~small], gradient[:, ~small])
    error = np.abs(found.mean(axis=0) - gradient[0])
    assert (error <= 5 * found.std(axis=0) / len(found)**0.5).all()
    of_different_places = np.corrcoef(found[:, 3], found[:, 4])[0, 1]
    assert abs(of_different_places) < 5 / len(found)**0.5


@QUICK
@given(data=st.data(), n=ROWS, n_block=SIZES, width=SIZES.map(lambda size: 3 * size),
       integers=st.booleans(), seed=SEEDS)
def test_multiply_pairs(data, n, n_block, width, integers, seed):
    counts, places, values = random_pairs(np.random.default_rng(seed), n, n_block)
    if integers:
        values = frozen(np.round(values))
    block = data.draw(numbers((n_block, width), integers))

    def run(n_threads):
        out, check = guarded(np.full((n, width), np.nan))
        _sparse_block.multiply_pairs(counts, places, values, block, out, n_threads)
        check()
        return (out,)

    exact = scattered((counts, places, values), (n, n_block)).astype(np.float64) @ block
    for (out,) in at_every_level(run).values():
        np.testing.assert_allclose(out, exact, rtol=1e-5, atol=0 if integers else 5e-5)


@QUICK
@given(data=st.data(), n=ROWS, n_classes=SIZES, width=SIZES,
       solver=st.sampled_from(list(reference.KEPT)), seed=SEEDS)
def test_update_pairs(data, n, n_classes, width, solver, seed):
    """It steps what has a pair and leaves the rest alone."""
    rng = np.random.default_rng(seed)
    ids = frozen(rng.permutation(n_classes)[:rng.integers(0, n_classes + 1)], np.int32)
    pairs = random_pairs(rng, n, len(ids))
    vectors = data.draw(numbers((n, width), False))
    start = [rng.random((n_classes, width + 1)).astype(np.float32) for _ in range(3)]

    def run(n_threads):
        return updated(pairs, vectors, ids, solver, start, n_threads)

    delta = scattered(pairs, (n, len(ids))).astype(np.float64)
    some = ids[delta.any(axis=0)] if width else ids[:0]
    expected = [a.astype(np.float64) for a in start]
    parts = [a[some] for a in expected]
    gradient = delta.T @ np.column_stack([vectors, np.ones(n)])
    reference.Optimizer(solver, 0.1, 2).step(gradient[np.isin(ids, some)], *parts)
    for a, part in zip(expected, parts, strict=True):
        a[some] = part
    untouched = np.setdiff1d(np.arange(n_classes), some)
    for found in at_every_level(run).values():
        for i in reference.KEPT[solver]:
            joined = np.column_stack([found[i], found[i + 3]])
            np.testing.assert_allclose(joined, expected[i], rtol=1e-4, atol=1e-4)
            np.testing.assert_array_equal(joined[untouched], start[i][untouched])


def updated(pairs, vectors, ids, solver, start, n_threads):
    """Weights and their state, then biases and theirs, after a step with the pairs."""
    n, width = vectors.shape
    arrays = []
    for bias in (False, True):
        for i, a in enumerate(start):
            empty = np.empty(0) if bias else np.empty((0, 0))
            arrays.append(guarded((a[:, -1] if bias else a[:, :-1]) if i in reference.KEPT[solver]
                                  else empty))
    n_pairs = pairs[0].sum()
    scratch = (np.full((n_threads, width), np.nan, np.float32), np.full(n_pairs, -1, np.int32),
               np.full(n_pairs, np.nan, np.float32), np.full((n_threads, n), -1, np.int64),
               np.full((n_threads, 2 * len(ids) + 1), -1, np.int32))
    _sparse_block.update_pairs(*pairs, vectors, ids, _simd.Optimizer(solver, 0.1, 2),
                               *(a for a, _ in arrays), *scratch, n_threads)
    for _, check in arrays:
        check()
    return tuple(a for a, _ in arrays)


@pytest.mark.parametrize("solver", reference.KEPT)
def test_all_pairs_give_the_bits_of_the_dense_kernels(solver):
    rng = np.random.default_rng(3)
    n, n_classes, n_block, width = 29, 80, 45, 65
    ids = np.sort(rng.permutation(n_classes)[:n_block]).astype(np.int32)
    delta = rng.standard_normal((n, n_block)).astype(np.float32)
    block = rng.standard_normal((n_block, width)).astype(np.float32)
    vectors = rng.standard_normal((n, width)).astype(np.float32)
    start = [rng.random((n_classes, width + 1)).astype(np.float32) for _ in range(3)]
    pairs = sparsify(delta, np.zeros(n, np.float32), 1)
    assert (pairs[0] == n_block).all()

    sparse, full = np.empty((n, width), np.float32), np.empty((n, width), np.float32)
    _sparse_block.multiply_pairs(*pairs, block, sparse, 2)
    _dense.matmul(delta, block, np.empty(0, np.float32), full, 2)
    np.testing.assert_array_equal(sparse, full)

    dense = [np.ascontiguousarray(a[:, :-1]) for a in start]
    dense += [np.ascontiguousarray(a[:, -1]) for a in start]
    for i in {0, 1, 2}.difference(reference.KEPT[solver]):
        dense[i], dense[i + 3] = np.empty((0, 0), np.float32), np.empty(0, np.float32)
    scratch = np.empty((2, _dense.TILE_ROWS * (width + 1)), np.float32)
    _dense.update_block(delta, vectors, ids, _simd.Optimizer(solver, 0.1, 2), *dense, scratch, 2)
    for a, b in zip(updated(pairs, vectors, ids, solver, start, 2), dense, strict=True):
        np.testing.assert_array_equal(a, b)
