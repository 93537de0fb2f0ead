"""Pairs of samples and classes, and what rankers take from logits: equal to their oracles.

Training itself is compared with liblinear, in tests/test_ranker.py.
"""

import numpy as np
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from slidelearn._kernels import _grouping, _ranker
from tests import reference
from tests.levels import SEEDS, SIZES, THREADS, csr, frozen, guarded

EMPTY = 2**31 - 1  # no class


@settings(max_examples=100, deadline=None)
@given(data=st.data(), n_rows=SIZES, n_classes=st.integers(1, 40), m=st.integers(0, 9), seed=SEEDS)
def test_group_pairs_equals_oracle(data, n_rows, n_classes, m, seed):
    indptr, labels = data.draw(csr(n_rows, n_classes))
    rng = np.random.default_rng(seed)
    rows = frozen(rng.permutation(n_rows)[:rng.integers(0, n_rows + 1)], np.int64)
    shortlist = frozen(rng.integers(0, n_classes, (len(rows), m)), np.int32)
    room = shortlist.size + int((indptr[rows + 1] - indptr[rows]).sum())
    starts = np.full(n_classes + 1, -7)
    pair_rows, pair_sign = np.full(room + 1, -7, np.int32), np.full(room + 1, -7, np.int8)
    _ranker.group_pairs(indptr, labels, rows, shortlist, np.full(n_classes, -1), starts,
                        pair_rows[:room], pair_sign[:room])
    expected = reference.group_pairs(indptr, labels, rows, shortlist)
    assert starts[0] == 0 and pair_rows[room] == pair_sign[room] == -7
    for c in range(n_classes):
        own = slice(starts[c], starts[c + 1])
        found = list(zip(pair_rows[own].tolist(), pair_sign[own].tolist(), strict=True))
        assert found == expected.get(c, [])


@st.composite
def problems(draw):
    """X, rankers with few or many weights a class, rows, distinct classes of each, logits."""
    rng = np.random.default_rng(draw(SEEDS))
    n_rows, n_features, n_classes = (draw(st.integers(1, most)) for most in (12, 300, 30))

    def sparse(shape, density):
        matrix = sp.csr_array(rng.standard_normal(shape) * (rng.random(shape) < density))
        return matrix.astype(np.float32)

    X = sparse((n_rows, n_features), draw(st.sampled_from([0, 0.01, 0.3, 1])))
    coef = sparse((n_classes, n_features), draw(st.sampled_from([0, 0.05, 1])))
    rows = frozen(rng.integers(0, n_rows, draw(st.integers(0, 40))), np.int64)
    m = draw(st.integers(1, n_classes))
    classes = np.argsort(rng.random((len(rows), n_classes)), axis=1)[:, :m]
    return (X, coef, frozen(rng.standard_normal(n_classes)), rows, frozen(classes, np.int32),
            frozen(rng.standard_normal((len(rows), m))))


def arrays(X, coef, intercept, rows):
    """What both kernels read of X and of the rankers; penalty 2.5, loss at most 2."""
    return (frozen(X.indptr, np.int64), frozen(X.indices, np.int32), frozen(X.data), rows,
            frozen(coef.indptr, np.int64), frozen(coef.indices, np.int32), frozen(coef.data),
            intercept, 2.5, 2.0)


@settings(max_examples=150, deadline=None)
@given(problem=problems(), n_strangers=st.integers(0, 3))
def test_penalise_equals_oracle(problem, n_strangers):
    X, coef, intercept, rows, classes, logits = problem
    classes = classes.copy()
    classes[:n_strangers, 0] = (EMPTY, -1, len(intercept))[:len(classes[:n_strangers])]
    expected = reference.penalise(X.toarray(), coef.toarray(), intercept, 2.5, 2.0, rows, classes,
                                  logits)
    for n_threads in THREADS:
        dense, check_dense = guarded(np.zeros((n_threads, X.shape[1])))
        scores, check = guarded(logits)
        _ranker.penalise(*arrays(X, coef, intercept, rows), classes, dense, scores, n_threads)
        np.testing.assert_array_equal(scores, expected)
        assert not dense.any()
        check(), check_dense()


@settings(max_examples=150, deadline=None)
@given(problem=problems())
def test_penalise_by_class_equals_oracle(problem):
    X, coef, intercept, rows, classes, logits = problem
    expected = reference.penalise(X.toarray(), coef.toarray(), intercept, 2.5, 2.0, rows, classes,
                                  logits)
    n, m = classes.shape
    groups = np.empty(n * m, np.int32), np.empty(n * m + 1, np.int64)
    pairs, n_groups = (np.empty(n * m, np.int32), np.empty(n * m, np.int64)), np.empty(1, np.int64)
    if n:
        _grouping.group_by_column(
            np.arange(n + 1) * m, classes.ravel(), np.arange(n), n, np.array([0, n * m]),
            np.full((1, len(intercept)), -1, np.int32), *groups, *pairs, n_groups, 1)
    else:
        n_groups[0] = groups[1][0] = 0
    found = groups[0][:n_groups[0]], groups[1][:n_groups[0] + 1], *pairs
    for n_threads in THREADS:
        dense, check_dense = guarded(np.zeros((n_threads, X.shape[1])))
        scores, check = guarded(logits)
        _ranker.penalise_by_class(*arrays(X, coef, intercept, rows), *found, dense, scores,
                                  n_threads)
        np.testing.assert_array_equal(scores, expected)
        assert not dense.any()
        check(), check_dense()
