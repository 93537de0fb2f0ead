"""Sampling kernels: the draws of their oracles, uniform, and always finished."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slidelearn._kernels import _hashing, _sampling
from tests import reference, reference_lsh
from tests.levels import KEYS, SEEDS, SIZES, THREADS, csr, frozen

ROWS = st.sampled_from([0, 1, 2, 5, 16])
QUICK = settings(max_examples=60, deadline=None)


def draw_shared(indptr, labels, rows, batch_size, n_random, n_classes, key=0, first=0,
                n_threads=1):
    """The shared part of each batch, None where most of the classes would be drawn."""
    n_batches = max(1, -(-len(rows) // batch_size))
    slots = np.full((n_threads, n_classes), -1, np.int32)
    shared = np.full((n_batches, n_classes), -7, np.int32)
    n_shared = np.full(n_batches, -7)
    _sampling.draw_shared(indptr, labels, frozen(rows, np.int64), batch_size, n_random, key, first,
                          slots, shared, n_shared, n_threads)
    assert (slots == -1).all()
    for some, n in zip(shared, n_shared, strict=True):
        assert n < 0 or (some[n:] == -7).all()
    return [None if n < 0 else some[:n].tolist() for some, n in zip(shared, n_shared, strict=True)]


@QUICK
@given(data=st.data(), n_rows=ROWS, n_classes=SIZES, key=KEYS, seed=SEEDS,
       batch_size=st.sampled_from([1, 3, 20]), first=st.sampled_from([0, 1, 2**40]))
def test_shared_parts_equal_oracle(data, n_rows, n_classes, key, seed, batch_size, first):
    indptr, labels = data.draw(csr(n_rows, n_classes))
    rows = np.random.default_rng(seed).permutation(n_rows)[:data.draw(st.integers(0, n_rows))]
    n_random = data.draw(st.integers(0, n_classes // 2))
    expected = []
    for batch, start in enumerate(range(0, max(1, len(rows)), batch_size)):
        found = reference.collect_labels(indptr, labels, rows[start:start + batch_size])
        key_of_batch = _hashing.stream_key(key, first + batch)
        if len(rows) == 0:
            expected.append([])
        elif 2 * n_random > n_classes - len(found):
            expected.append(None)
        else:
            expected.append(reference.draw_shared(found, key_of_batch, n_random, n_classes))
    for n_threads in THREADS:
        assert draw_shared(indptr, labels, rows, batch_size, n_random, n_classes, key, first,
                           n_threads) == expected


@pytest.mark.parametrize("shared", [[], [4], [2, 3, 9]])
def test_slots(shared):
    slot = np.full(10, -1, np.int32)
    shared = frozen(shared, np.int32)
    _sampling.assign_slots(shared, slot)
    assert slot[shared].tolist() == list(range(len(shared)))
    assert (slot >= 0).sum() == len(shared)
    _sampling.clear_slots(shared, slot)
    assert (slot == -1).all()


@QUICK
@given(data=st.data(), n_rows=ROWS, n_classes=SIZES, key=KEYS, seed=SEEDS,
       width=st.sampled_from([0, 1, 5, 20]), share=st.booleans())
def test_own_parts_equal_oracle(data, n_rows, n_classes, key, seed, width, share):
    rng = np.random.default_rng(seed)
    indptr, labels = data.draw(csr(n_rows, n_classes))
    keep = [np.unique(labels[a:b]) for a, b in pairwise(indptr)]
    indptr = frozen(np.cumsum([0, *map(len, keep)]), np.int64)
    labels = frozen(np.concatenate([*keep, []]), np.int32)
    rows = frozen(rng.permutation(n_rows), np.int64)
    slot = np.full(n_classes, -1, np.int32)
    shared = rng.permutation(n_classes)[:rng.integers(0, n_classes + 1)] if share else []
    slot[shared] = np.arange(len(shared))
    floor = 0 if share else data.draw(st.integers(0, n_classes // 2))
    width = width if n_classes else 0
    candidates = frozen(rng.integers(0, max(1, n_classes), (n_rows, width)), np.int32)
    n_candidates = frozen(rng.integers(0, width + 1, n_rows), np.int32)
    expected = [
        reference.own_active_set(keep[row], set(shared), candidates[i, :n_candidates[i]], key, i,
                                 floor, n_classes)
        for i, row in enumerate(rows)
    ]
    for n_threads in THREADS:
        own, n_own = np.full((n_rows, n_classes), -7, np.int32), np.full(n_rows, -7, np.int32)
        seen = np.full((n_threads, n_classes), -1, np.int64)
        for tag in (0, n_rows):  # the scratch serves batch after batch
            _sampling.own_active_sets(indptr, labels, rows, frozen(slot, np.int32), candidates,
                                      n_candidates, key, floor, seen, tag, own, n_own, n_threads)
            assert [own[i, :n].tolist() for i, n in enumerate(n_own)] == expected
            for i, n in enumerate(n_own):
                assert (own[i, n:] == -7).all()


def test_more_draws_than_rejection_can_find_are_refused():
    """Instead of a loop without end."""
    labels = frozen([0, 5], np.int64), frozen(range(5), np.int32)
    assert draw_shared(*labels, [0], 1, 3, 10) == [None]
    assert len(draw_shared(*labels, [0], 1, 2, 10)[0]) == 7
    own, n_own = np.empty((1, 20), np.int32), np.empty(1, np.int32)
    with pytest.raises(ValueError, match="floor=6 is more than half of 10 classes"):
        _sampling.own_active_sets(
            frozen([0, 0], np.int64), frozen([], np.int32), frozen([0], np.int64),
            np.full(10, -1, np.int32), np.empty((1, 0), np.int32), frozen([0], np.int32),
            0, 6, np.full((1, 10), -1), 0, own, n_own, 1,
        )


@pytest.mark.parametrize("key", [0, 1, 2**63, 2**64 - 1])
def test_derived_keys(key):
    assert [_hashing.stream_key(key, i) for i in (0, 1, 2**40)] == [
        reference_lsh.rng_stream(key, i) for i in (0, 1, 2**40)
    ]


def chi_square_bound(degrees):
    """Far out in the tail: 6 standard deviations."""
    return degrees + 6 * np.sqrt(2 * degrees)


def test_shared_draws_are_uniform_without_replacement():
    n_classes, n_random, n_draws = 40, 12, 20_000
    labels = [3, 17, 30]
    single, pair = np.zeros(n_classes), np.zeros((n_classes, n_classes))
    structure = frozen([0, 3], np.int64), frozen(labels, np.int32)
    for shared in draw_shared(*structure, np.zeros(n_draws), 1, n_random, n_classes, key=1):
        drawn = shared[len(labels):]
        assert len(set(drawn) - set(labels)) == n_random
        single[drawn] += 1
        pair[np.ix_(drawn, drawn)] += 1
    others = np.setdiff1d(np.arange(n_classes), labels)
    expected = n_draws * n_random / len(others)
    # A draw without replacement has the variance p (1 - p) n per class, hence the factor.
    statistic = ((single[others] - expected)**2 / expected).sum() / (1 - n_random / len(others))
    assert statistic < chi_square_bound(len(others))
    both = n_draws * n_random * (n_random - 1) / (len(others) * (len(others) - 1))
    counts = pair[np.ix_(others, others)][np.triu_indices(len(others), 1)]
    assert ((counts - both)**2 / both).sum() < chi_square_bound(len(counts))


def test_own_draws_are_uniform_and_differ_between_samples():
    n_classes, floor, n = 40, 12, 20_000
    own, n_own = np.empty((n, n_classes), np.int32), np.empty(n, np.int32)
    _sampling.own_active_sets(
        np.zeros(n + 1, np.int64), frozen([], np.int32), np.arange(n),
        np.full(n_classes, -1, np.int32), np.empty((n, 0), np.int32), np.zeros(n, np.int32), 7,
        floor, np.full((1, n_classes), -1), 0, own, n_own, 1,
    )
    assert (n_own == floor).all()
    counts = np.bincount(own[:, :floor].ravel(), minlength=n_classes)
    expected = n * floor / n_classes
    statistic = ((counts - expected)**2 / expected).sum() / (1 - floor / n_classes)
    assert statistic < chi_square_bound(n_classes)
    overlap = np.array([len(np.intersect1d(a, b)) for a, b in
                        zip(own[:2000, :floor], own[2000:4000, :floor], strict=True)])
    assert abs(overlap.mean() - floor**2 / n_classes) < 5 * overlap.std() / np.sqrt(2000)
