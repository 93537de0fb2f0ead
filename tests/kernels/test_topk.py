"""Top-k kernels: the first columns of a full stable sort."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slidelearn._kernels import _dense, _topk
from tests import reference
from tests.levels import SEEDS, SIZES, at_every_level, frozen, numbers

NO_CLASS = 2**31 - 1
QUICK = settings(max_examples=40, deadline=None)


def heaps(*shape):
    return np.full(shape, -np.inf, np.float32), np.full(shape, NO_CLASS, np.int32)


def exact_topk(hidden, weights, bias, k, block, cuts, n_splits, n_threads):
    """Classes and scores, (n_splits, n, k), each split sorted."""
    n, width = hidden.shape
    n_blocks = -(-n // block)
    padded = np.zeros((n_blocks * block, width), np.float32)
    padded[:n] = hidden
    blocks = frozen(padded.reshape(n_blocks, block, width).swapaxes(1, 2))
    scores, ids = heaps(n_splits, n_blocks, block, k)
    logits = np.full((n_threads, _topk.CLASS_BLOCK * block), np.nan, np.float32)
    for first, last in pairwise(cuts):
        _topk.exact_topk(blocks, weights, bias, first, last, n_splits, logits, scores, ids,
                         n_threads)
    best, best_ids = heaps(n_splits * n_blocks * block, k)
    _topk.best_of(scores.reshape(-1, k), ids.reshape(-1, k), best, best_ids, n_threads)
    return best_ids.reshape(n_splits, -1, k)[:, :n], best.reshape(n_splits, -1, k)[:, :n]


def all_logits(hidden, weights, bias):
    logits = np.empty((len(hidden), len(weights)), np.float32)
    panels = np.empty((1, weights.shape[1] * _dense.PANEL_WIDTH), np.float32)
    _dense.block_logits(hidden, weights, bias, logits, panels, 1)
    return logits


@QUICK
@given(data=st.data(), n=st.sampled_from([1, 2, 15, 16, 17, 40]), n_classes=SIZES.filter(bool),
       width=SIZES, ties=st.booleans(), block=st.sampled_from([1, 16, 32]))
def test_exact_topk_equals_stable_sort(data, n, n_classes, width, ties, block):
    hidden = data.draw(numbers((n, width), ties))
    weights = data.draw(numbers((n_classes, width), ties))
    bias = data.draw(numbers(n_classes, ties))
    k = data.draw(st.integers(1, n_classes))
    middle = data.draw(st.integers(0, n_classes))

    def run(n_threads):
        ids, scores = exact_topk(hidden, weights, bias, k, block, [0, middle, n_classes], 1,
                                 n_threads)
        return ids[0], scores[0], all_logits(hidden, weights, bias)

    for ids, scores, logits in at_every_level(run).values():
        expected = reference.topk(logits, k)
        np.testing.assert_array_equal(ids, expected)
        np.testing.assert_array_equal(scores, np.take_along_axis(logits, expected, 1))


@QUICK
@given(data=st.data(), n_classes=SIZES.filter(bool), n_splits=st.sampled_from([1, 2, 3, 8]),
       ties=st.booleans())
def test_splits_share_out_all_classes(data, n_classes, n_splits, ties):
    hidden, weights = data.draw(numbers((3, 5), ties)), data.draw(numbers((n_classes, 5), ties))
    bias = data.draw(numbers(n_classes, ties))

    def run(n_threads):
        return exact_topk(hidden, weights, bias, n_classes, 16, [0, n_classes], n_splits,
                          n_threads)

    for ids, scores in at_every_level(run).values():
        logits = all_logits(hidden, weights, bias)
        for i in range(3):
            found = ids[:, i][ids[:, i] != NO_CLASS]
            assert sorted(found.tolist()) == list(range(n_classes))
            np.testing.assert_allclose(scores[:, i][ids[:, i] != NO_CLASS], logits[i, found],
                                       rtol=1e-4, atol=1e-4)


@QUICK
@given(data=st.data(), n=st.sampled_from([0, 1, 5, 17]), n_classes=SIZES.filter(bool),
       width=SIZES, ties=st.booleans(), seed=SEEDS)
def test_candidate_topk_equals_stable_sort(data, n, n_classes, width, ties, seed):
    rng = np.random.default_rng(seed)
    hidden = data.draw(numbers((n, width), ties))
    weights = data.draw(numbers((n_classes, width), ties))
    bias = data.draw(numbers(n_classes, ties))
    k = data.draw(st.integers(1, n_classes + 3))
    candidates = frozen([rng.permutation(n_classes) for _ in range(n)] or np.empty((0, 3)),
                        np.int32)
    counts = frozen(rng.integers(0, n_classes + 1, n), np.int32)

    def run(n_threads):
        scores, ids = heaps(n, k)
        _topk.candidate_topk(hidden, weights, bias, candidates, counts, scores, ids, n_threads)
        return ids, scores, all_logits(hidden, weights, bias)

    for ids, scores, logits in at_every_level(run).values():
        for i in range(n):
            some = np.sort(candidates[i, :counts[i]])
            best = some[reference.topk(logits[i:i + 1, some], k)[0]]
            assert ids[i].tolist() == [*best, *[NO_CLASS] * (k - len(best))]
            np.testing.assert_array_equal(
                scores[i], [*logits[i, best], *[-np.inf] * (k - len(best))])


@pytest.mark.parametrize("value", [np.nan, -np.inf, np.inf])
def test_scores_that_overflow_still_give_k_classes(value):
    rng = np.random.default_rng(0)
    weights, hidden = rng.standard_normal((100, 4)).astype(np.float32), frozen(np.ones((2, 4)))
    bias = rng.standard_normal(100).astype(np.float32)
    bias[rng.random(100) < 0.7] = value

    def run(n_threads):
        ids, found = exact_topk(hidden, weights, bias, 60, 16, [0, 100], 1, n_threads)
        scores, some = heaps(2, 60)
        everything = frozen(np.tile(np.arange(100), (2, 1)), np.int32)
        _topk.candidate_topk(hidden, weights, bias, everything, frozen([100, 100], np.int32),
                             scores, some, n_threads)
        return ids[0], found[0], some, scores

    for ids, found, some, scores in at_every_level(run).values():
        np.testing.assert_array_equal(ids, reference.topk(all_logits(hidden, weights, bias), 60))
        np.testing.assert_array_equal(some, ids)
        np.testing.assert_array_equal(scores, found)
        assert not np.isnan(found).any()


@QUICK
@given(data=st.data(), n=st.integers(0, 5), m=st.integers(1, 40), ties=st.booleans())
def test_best_of_equals_stable_sort(data, n, m, ties):
    scores = data.draw(numbers((n, m), ties))
    ids = np.tile(np.arange(m, dtype=np.int32), (n, 1))
    for row in ids:
        np.random.default_rng(len(row)).shuffle(row)
    k = data.draw(st.integers(1, m))
    best, best_ids = np.empty((n, k), np.float32), np.empty((n, k), np.int32)
    _topk.best_of(scores, ids, best, best_ids, 2)
    order = np.lexsort((ids, -scores), axis=-1)[:, :k]
    np.testing.assert_array_equal(best_ids, np.take_along_axis(ids, order, 1))
    np.testing.assert_array_equal(best, np.take_along_axis(scores, order, 1))


@pytest.mark.parametrize(("n", "k"), [(0, 0), (0, 3), (2, 0), (1, 1)])
def test_topk_of_next_to_nothing(n, k):
    scores, ids = heaps(n, k)
    _topk.best_of(scores, ids, *heaps(n, k), 2)
    _topk.candidate_topk(np.zeros((n, 2), np.float32), np.zeros((1, 2), np.float32),
                         np.zeros(1, np.float32), np.zeros((n, 1), np.int32),
                         np.ones(n, np.int32), scores, ids, 2)
    assert (ids[:, :1] == 0).all()
