"""Dense kernels: equal to their oracles, whatever the SIMD level and number of threads."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slidelearn._kernels import _dense, _simd
from tests import reference
from tests.levels import KEYS, SEEDS, SIZES, at_every_level, frozen, guarded, numbers

ROWS = st.sampled_from([0, 1, 2, 5, 11, 12, 13, 24, 25, 33])
QUICK = settings(max_examples=30, deadline=None)
DROPOUT = st.sampled_from([0.0, 1e-6, 0.1, 0.5, 0.9, 0.999999])


def assert_close(found, exact, integers):
    if integers:
        np.testing.assert_array_equal(found, exact)
    else:
        np.testing.assert_allclose(found, exact, rtol=1e-5, atol=5e-5)


@QUICK
@given(n=ROWS, width=SIZES, key=KEYS, dropout=DROPOUT, seed=SEEDS)
def test_relu_dropout(n, width, key, dropout, seed):
    """There and back, bit for bit."""
    rng = np.random.default_rng(seed)
    before, above = rng.integers(-3, 4, (2, n, width)).astype(np.float32) / 4

    def run(n_threads):
        hidden, check_hidden = guarded(before)
        _dense.relu_dropout(hidden, key, dropout, n_threads)
        gradient, check_gradient = guarded(above)
        _dense.relu_dropout_backward(frozen(hidden), dropout, gradient, n_threads)
        check_hidden()
        check_gradient()
        return hidden, gradient

    keep = reference.dropout_mask(key, n, width, dropout)
    scale = np.float32(1 / (1 - dropout))
    for hidden, gradient in at_every_level(run).values():
        np.testing.assert_array_equal(hidden, np.where(keep & (before > 0), before * scale, 0))
        np.testing.assert_array_equal(gradient, np.where(hidden > 0, above * scale, 0))


@pytest.mark.parametrize("dropout", [0.0, 0.1, 0.5, 0.9])
def test_dropout_rate_and_independence(dropout):
    hidden = np.ones((1000, 101), np.float32)
    _dense.relu_dropout(hidden, 3, dropout, 1)
    dropped = hidden == 0
    deviation = np.sqrt(dropout * (1 - dropout) / dropped.size)
    assert abs(dropped.mean() - dropout) <= 5 * deviation + 1 / 65536
    for axis, n in ((0, 1000), (1, 101)):  # each unit, each sample
        assert (np.abs(dropped.mean(axis) - dropout) <= 5.5 * np.sqrt(
            dropout * (1 - dropout) / n)).all()
    for other in (dropped[:, :-1] & dropped[:, 1:], dropped[:-1] & dropped[1:]):
        assert abs(other.mean() - dropout**2) <= 10 * deviation + 1 / 65536
    if dropout:
        again = np.ones_like(hidden)
        _dense.relu_dropout(again, 4, dropout, 1)
        assert (again != hidden).any()


@QUICK
@given(data=st.data(), n=ROWS, depth=SIZES, width=SIZES, integers=st.booleans(),
       transposed=st.booleans(), with_start=st.booleans())
def test_matmul(data, n, depth, width, integers, transposed, with_start):
    a = data.draw(numbers((depth, n) if transposed else (n, depth), integers))
    a = a.T if transposed else a
    b = data.draw(numbers((depth, width), integers))
    start = data.draw(numbers(width if with_start else 0, integers))

    def run(n_threads):
        out, check = guarded(np.full((n, width), np.nan))
        _dense.matmul(a, b, start, out, n_threads)
        check()
        return (out,)

    exact = a.astype(np.float64) @ b + (start if with_start else 0)
    for (out,) in at_every_level(run).values():
        assert_close(out, exact, integers)


@QUICK
@given(data=st.data(), n=ROWS, n_block=SIZES, width=SIZES, integers=st.booleans(),
       spare=st.sampled_from([0, 3]))
def test_block_logits(data, n, n_block, width, integers, spare):
    hidden = data.draw(numbers((n, width), integers))
    block = data.draw(numbers((n_block, width), integers))
    bias = data.draw(numbers(n_block, integers))

    def run(n_threads):
        logits, check = guarded(np.full((n, n_block + spare), 7))
        panels = np.full((n_threads, width * _dense.PANEL_WIDTH), np.nan, np.float32)
        _dense.block_logits(hidden, block, bias, logits, panels, n_threads)
        check()
        return (logits,)

    exact = hidden.astype(np.float64) @ block.T + bias
    for (logits,) in at_every_level(run).values():
        assert_close(logits[:, :n_block], exact, integers)
        assert (logits[:, n_block:] == 7).all()


@QUICK
@given(data=st.data(), n_rows=ROWS, width=SIZES, seed=SEEDS)
def test_gather_rows(data, n_rows, width, seed):
    weights = data.draw(numbers((n_rows, width), False))
    bias, correction = data.draw(numbers(n_rows, False)), data.draw(numbers(n_rows, False))
    ids = frozen(np.random.default_rng(seed).integers(0, max(1, n_rows), 2 * n_rows), np.int32)

    def run(n_threads):
        out, check = guarded(np.full((len(ids), width), np.nan))
        out_bias, check_bias = guarded(np.full(len(ids), np.nan))
        _dense.gather_rows(weights, bias, correction, ids, out, out_bias, n_threads)
        check()
        check_bias()
        return out, out_bias

    for out, out_bias in at_every_level(run).values():
        np.testing.assert_array_equal(out, weights[ids])
        np.testing.assert_array_equal(out_bias, bias[ids] - correction[ids])


@QUICK
@given(data=st.data(), n=ROWS, n_classes=SIZES, width=SIZES, seed=SEEDS, spare=st.booleans(),
       solver=st.sampled_from(list(reference.KEPT)))
def test_update_block(data, n, n_classes, width, seed, spare, solver):
    rng = np.random.default_rng(seed)
    ids = frozen(rng.permutation(n_classes)[:rng.integers(0, n_classes + 1)], np.int32)
    delta = data.draw(numbers((n, len(ids) + 5 * spare), False))[:, :len(ids)]
    vectors = data.draw(numbers((n, width), False))
    kept = reference.KEPT[solver]
    start = [rng.random((n_classes, width + 1)).astype(np.float32) for _ in range(3)]
    settings = solver, 0.1, 2

    def run(n_threads):
        arrays = []
        for bias in (False, True):
            for i, a in enumerate(start):
                empty = np.empty(0) if bias else np.empty((0, 0))
                arrays.append(guarded((a[:, -1] if bias else a[:, :-1]) if i in kept
                                      else empty))
        scratch = np.full((n_threads, _dense.TILE_ROWS * (width + 1)), np.nan, np.float32)
        _dense.update_block(delta, vectors, ids, _simd.Optimizer(*settings),
                            *(a for a, _ in arrays), scratch, n_threads)
        for _, check in arrays:
            check()
        return tuple(a for a, _ in arrays)

    expected = [a.astype(np.float64) for a in start]
    if n and width:
        parts = [a[ids] for a in expected]
        gradient = delta.T.astype(np.float64) @ np.column_stack([vectors, np.ones(n)])
        reference.Optimizer(*settings).step(gradient, *parts)
        for a, part in zip(expected, parts, strict=True):
            a[ids] = part
    untouched = np.setdiff1d(np.arange(n_classes), ids)
    for found in at_every_level(run).values():
        for i in kept:
            joined = np.column_stack([found[i], found[i + 3]])
            np.testing.assert_allclose(joined, expected[i], rtol=1e-4, atol=1e-4)
            np.testing.assert_array_equal(joined[untouched], start[i][untouched])


@QUICK
@given(data=st.data(), n=ROWS, width=SIZES, seed=SEEDS,
       solver=st.sampled_from(list(reference.KEPT)))
def test_update_bias(data, n, width, seed, solver):
    delta = data.draw(numbers((n, width), False))
    kept = reference.KEPT[solver]
    start = np.random.default_rng(seed).random((3, width)).astype(np.float32)
    settings = solver, 0.1, 2

    def run(n_threads):
        arrays = [guarded(a if i in kept else np.empty(0)) for i, a in enumerate(start)]
        scratch = np.full((n_threads, width), np.nan, np.float32)
        _dense.update_bias(delta, _simd.Optimizer(*settings), *(a for a, _ in arrays), scratch)
        for _, check in arrays:
            check()
        return tuple(a for a, _ in arrays)

    expected = start.astype(np.float64)
    if n:
        reference.Optimizer(*settings).step(delta.astype(np.float64).sum(axis=0), *expected)
    for found in at_every_level(run).values():
        for i in kept:
            np.testing.assert_allclose(found[i], expected[i], rtol=1e-4, atol=1e-4)
