"""Losses over active sets: equal to their oracles, sample by sample."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slidelearn._kernels import _loss
from tests import reference
from tests.levels import SEEDS, SIZES, at_every_level, frozen, guarded

KERNELS = {"sigmoid": _loss.sigmoid_loss, "softmax": _loss.softmax_loss}


class Batch:
    """Random labels, shared part, own parts (the missing labels at their heads) and logits."""

    def __init__(self, seed, n, n_classes, n_shared, n_own, scale, weighted=False):
        rng = np.random.default_rng(seed)
        shared = rng.permutation(n_classes)[:n_shared]
        self.n_shared = len(shared)
        slot = np.full(n_classes, -1)
        slot[shared] = np.arange(len(shared))
        rest = np.setdiff1d(np.arange(n_classes), shared)
        self.labels, self.active, own = [], [], []
        for _ in range(n):
            labels = np.sort(rng.permutation(n_classes)[:rng.integers(0, 4)])
            mine = labels[slot[labels] < 0]
            others = rng.permutation(np.setdiff1d(rest, mine))[:n_own]
            own.append(np.concatenate([mine, others]).astype(int))
            self.labels.append(labels)
            self.active.append(np.concatenate([shared, own[-1]]).astype(int))
        self.order = rng.permutation(n)  # rows of the batch among the rows of the labels
        by_row = [self.labels[i] for i in np.argsort(self.order)]
        self.indptr = frozen(np.cumsum([0, *map(len, by_row)]), np.int64)
        self.indices = frozen(np.concatenate([*by_row, []]), np.int32)
        weights = rng.choice([0.0, 0.3, 1.0, 7.0], len(self.indices)) if weighted else 1.0
        self.label_weight = frozen(np.broadcast_to(weights, len(self.indices)))
        self.slot = frozen(slot, np.int32)
        self.weight = frozen(rng.random(n) * (rng.random(n) < 0.8))
        self.shared = (scale * rng.standard_normal((n, self.n_shared + 2))).astype(np.float32)
        self.own_indptr = frozen(np.cumsum([0, *map(len, own)]), np.int64)
        self.own = (scale * rng.standard_normal(self.own_indptr[-1])).astype(np.float32)

    def logits(self, i):
        mine = self.own[self.own_indptr[i]:self.own_indptr[i + 1]]
        return np.concatenate([self.shared[i, :self.n_shared], mine]).astype(np.float64)

    def target(self, i):
        """Whether each active class is a label of sample i, and its weight (0 if not)."""
        row = self.order[i]
        mine = slice(self.indptr[row], self.indptr[row + 1])
        same = self.active[i][:, None] == self.indices[mine]
        return same.any(axis=1), same @ self.label_weight[mine].astype(float)

    def run(self, kind, n_threads):
        shared, check_shared = guarded(self.shared)
        own, check_own = guarded(self.own)
        loss = np.full(len(self.order), np.nan)
        total = KERNELS[kind](self.indptr, self.indices, self.label_weight,
                              frozen(self.order, np.int64), self.slot, self.weight, self.n_shared,
                              shared, self.own_indptr, own, loss, n_threads)
        np.testing.assert_allclose(total, loss.sum(), rtol=1e-12)
        check_shared()
        check_own()
        assert (shared[:, self.n_shared:] == self.shared[:, self.n_shared:]).all()
        return shared, own, loss


@pytest.mark.parametrize("kind", ["sigmoid", "softmax"])
@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, n=st.sampled_from([0, 1, 2, 9]), n_classes=SIZES.filter(bool), n_shared=SIZES,
       n_own=st.sampled_from([0, 1, 7, 17, 65]), scale=st.sampled_from([0.1, 3.0, 30.0]),
       weighted=st.booleans())
def test_losses_equal_oracle(kind, seed, n, n_classes, n_shared, n_own, scale, weighted):
    batch = Batch(seed, n, n_classes, n_shared, n_own, scale, weighted)
    for shared, own, loss in at_every_level(lambda k: batch.run(kind, k)).values():
        for i in range(n):
            is_label, label_weight = batch.target(i)
            largest = label_weight.max(initial=1)
            logits = batch.logits(i)
            exact, gradient = reference.LOSSES[kind](logits, is_label, batch.weight[i],
                                                        label_weight)
            found = np.concatenate([shared[i, :batch.n_shared],
                                    own[batch.own_indptr[i]:batch.own_indptr[i + 1]]])
            np.testing.assert_allclose(found, gradient, rtol=2e-5, atol=1e-6 * largest)
            size = largest * (1 + np.abs(logits).sum())
            np.testing.assert_allclose(loss[i], exact, rtol=1e-6, atol=1e-6 * size)


@pytest.mark.parametrize("kind", ["sigmoid", "softmax"])
def test_nan_in_any_logit_shows_in_the_loss(kind):
    for place in range(40):
        batch = Batch(1, 3, 60, 33, 7, 1.0)
        some = batch.shared if place < 33 else batch.own.reshape(1, -1)
        some[:, place % 33] = np.nan
        for _, _, loss in at_every_level(lambda k, b=batch: b.run(kind, k), (1,)).values():
            assert np.isnan(loss[0]) or len(batch.labels[0]) == 0


@pytest.mark.parametrize("kind", ["sigmoid", "softmax"])
def test_huge_logits_overflow_nothing(kind):
    batch = Batch(2, 20, 30, 17, 5, 1e30)
    for shared, own, loss in at_every_level(lambda k: batch.run(kind, k)).values():
        assert np.isfinite(shared[:, :batch.n_shared]).all()
        assert np.isfinite(own).all()
        assert np.isfinite(loss).all()
