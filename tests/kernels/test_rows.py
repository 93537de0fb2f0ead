"""Sparse row kernels: equal to their oracles, whatever the SIMD level and number of threads."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slidelearn._grouping import group_batches
from slidelearn._kernels import _rows, _simd
from tests import reference
from tests.levels import SEEDS, SIZES, at_every_level, csr, frozen, guarded, numbers

ROWS = st.sampled_from([0, 1, 2, 5, 16, 33])
SOLVERS = st.sampled_from(list(reference.KEPT))
QUICK = settings(max_examples=30, deadline=None)


def assert_close(found, exact, integers, scale=1.0):
    if integers:
        np.testing.assert_array_equal(found, exact)
    else:
        np.testing.assert_allclose(found, exact, rtol=1e-5, atol=2e-5 * scale)


@QUICK
@given(data=st.data(), n_rows=ROWS, n_columns=ROWS, width=SIZES, integers=st.booleans(),
       seed=SEEDS)
def test_combine_rows(data, n_rows, n_columns, width, integers, seed):
    indptr, indices = data.draw(csr(n_rows, n_columns))
    values = data.draw(numbers(len(indices), integers))
    weights = data.draw(numbers((n_columns, width), integers))
    start = data.draw(numbers(width, integers))
    rows = np.random.default_rng(seed).integers(0, max(1, n_rows), 2 * n_rows)
    rows = frozen(rows, np.int64)

    def run(n_threads):
        out, check = guarded(np.full((len(rows), width), np.nan))
        _rows.combine_rows(indptr, indices, values, rows, weights, start, out, n_threads)
        check()
        return (out,)

    exact = reference.combine_rows(indptr, indices, values, rows, weights, start)
    for (out,) in at_every_level(run).values():
        assert_close(out, exact, integers)


@QUICK
@given(data=st.data(), n_rows=ROWS, n_classes=ROWS, width=SIZES, integers=st.booleans())
def test_pairs(data, n_rows, n_classes, width, integers):
    """`pair_logits` and the way back, `add_rows`."""
    indptr, indices = data.draw(csr(n_rows, n_classes))
    hidden = data.draw(numbers((n_rows, width), integers))
    weights = data.draw(numbers((n_classes, width), integers))
    bias = data.draw(numbers(n_classes, integers))
    values = data.draw(numbers(len(indices), integers))

    def run(n_threads):
        logits, check_logits = guarded(np.full(len(indices), np.nan))
        _rows.pair_logits(indptr, indices, hidden, weights, bias, logits, n_threads)
        gradient, check_gradient = guarded(hidden)
        _rows.add_rows(indptr, indices, values, weights, gradient, n_threads)
        check_logits()
        check_gradient()
        return logits, gradient

    logits = reference.pair_logits(indptr, indices, hidden, weights, bias)
    gradient = hidden + reference.combine_rows(indptr, indices, values, range(n_rows), weights,
                                               np.zeros(width))
    for found in at_every_level(run).values():
        assert_close(found[0], logits, integers)
        assert_close(found[1], gradient, integers)


@QUICK
@given(data=st.data(), n_rows=ROWS, n_columns=ROWS, width=SIZES, solver=SOLVERS, seed=SEEDS)
def test_updates(data, n_rows, n_columns, width, solver, seed):
    """`update_rows` and `update_entries` step what is touched and leave the rest alone."""
    rng = np.random.default_rng(seed)
    indptr, indices = data.draw(csr(n_rows, n_columns))
    values = data.draw(numbers(len(indices), False))
    vectors = data.draw(numbers((n_rows, width), False))
    kept = reference.KEPT[solver]
    start = [rng.random((n_columns, width + 1)).astype(np.float32) for _ in range(3)]
    groups, = group_batches(indptr, indices, np.arange(n_rows), max(1, n_rows),
                            np.full((1, n_columns), -1, np.int32))
    groups = [frozen(array, array.dtype) for array in groups]
    settings = solver, 0.1, 3

    def run(n_threads):
        matrices = [guarded(a[:, :-1] if i in kept else np.empty((0, 0)))
                    for i, a in enumerate(start)]
        entries = [guarded(a[:, -1] if i in kept else []) for i, a in enumerate(start)]
        scratch = np.full((n_threads, width), np.nan, np.float32)
        optimizer = _simd.Optimizer(*settings)
        _rows.update_rows(*groups, values, vectors, optimizer, *(a for a, _ in matrices), scratch,
                          n_threads)
        _rows.update_entries(groups[0], groups[1], groups[3], values, optimizer,
                             *(a for a, _ in entries), n_threads)
        for _, check in [*matrices, *entries]:
            check()
        return (*(a for a, _ in matrices), *(a for a, _ in entries))

    gradient = np.zeros((n_columns, width + 1))
    for i in range(n_rows):
        for p in range(indptr[i], indptr[i + 1]):
            gradient[indices[p]] += values[p] * np.append(vectors[i], 1).astype(np.float64)
    touched = np.unique(indices)
    expected = [a.astype(np.float64) for a in start]
    parts = [a[touched] for a in expected]
    reference.Optimizer(*settings).step(gradient[touched], *parts)
    for a, part in zip(expected, parts, strict=True):
        a[touched] = part
    untouched = np.setdiff1d(np.arange(n_columns), touched)
    for found in at_every_level(run).values():
        for i in kept:
            joined = np.column_stack([found[i], found[i + 3]])
            np.testing.assert_allclose(joined, expected[i], rtol=1e-4, atol=1e-4)
            np.testing.assert_array_equal(joined[untouched], start[i][untouched])


def cut(array, n_slices):
    return np.array(np.split(array, n_slices, axis=1))


@QUICK
@given(data=st.data(), n_rows=ROWS, n_columns=ROWS, width=SIZES, n_slices=st.integers(1, 3),
       solver=SOLVERS, seed=SEEDS)
def test_slices(data, n_rows, n_columns, width, n_slices, solver, seed):
    """`combine_slices` and `update_slices` do what `combine_rows` and `update_rows` do."""
    rng = np.random.default_rng(seed)
    indptr, indices = data.draw(csr(n_rows, n_columns))
    values = data.draw(numbers(len(indices), False))
    rows, start = np.arange(n_rows), rng.random(n_slices * width).astype(np.float32)
    vectors = rng.random((n_rows, n_slices * width)).astype(np.float32)
    parameters = [rng.random((n_columns if i in reference.KEPT[solver] else 0,
                              n_slices * width)).astype(np.float32) for i in range(3)]
    groups, = group_batches(indptr, indices, rows, max(1, n_rows),
                            np.full((1, n_columns), -1, np.int32))
    optimizer = _simd.Optimizer(solver, 0.1, 3)

    def run(n_threads):
        whole = [a.copy() for a in parameters]
        slices, checks = zip(*(guarded(cut(a, n_slices)) for a in parameters), strict=True)
        expected, found = np.empty_like(vectors), np.full_like(vectors, np.nan)
        scratch = np.empty((n_threads, n_slices * width), np.float32)
        _rows.combine_rows(indptr, indices, values, rows, whole[0], start, expected, n_threads)
        _rows.combine_slices(indptr, indices, values, rows, slices[0], start, found, n_threads)
        np.testing.assert_array_equal(found, expected)
        _rows.update_rows(*groups, values, vectors, optimizer, *whole, scratch, n_threads)
        _rows.update_slices(*groups, values, vectors, optimizer, *slices, scratch, n_threads)
        for check, a, part in zip(checks, whole, slices, strict=True):
            check()
            np.testing.assert_array_equal(part, cut(a, n_slices))
        return found, *slices

    at_every_level(run)


@pytest.mark.parametrize("solver", reference.KEPT)
def test_nothing_touched(solver):
    weights, empty = np.ones((3, 4), np.float32), np.empty(0, np.int32)
    state = np.zeros((3, 4), np.float32)
    optimizer = _simd.Optimizer(solver, 0.1, 1)
    starts, positions, none = np.zeros(1, np.int64), np.empty(0, np.int64), np.empty(0, np.float32)
    _rows.update_rows(empty, starts, empty, positions, none, np.empty((0, 4), np.float32),
                      optimizer, weights, state, state.copy(), np.empty((2, 4), np.float32), 2)
    _rows.update_entries(empty, starts, positions, none, optimizer, weights[0], state[0], state[1],
                         2)
    assert (weights == 1).all()
