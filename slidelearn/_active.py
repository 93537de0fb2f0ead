"""Active sets: which classes each batch, and each of its samples, computes.

The set of a sample has two parts. The *shared* part is one block for the whole batch: the labels
of all its samples and some random classes, worked on as a small dense matrix. The *own* part is
the sample's alone: the candidates that locality-sensitive hashing finds for its activation.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from time import perf_counter

import numpy as np

from ._grouping import count_batches
from ._kernels import _hashing, _sampling
from ._lsh import LSHIndex, RebuildSchedule
from ._network import Layer
from ._validation import CSR

# Substreams of the training key.
KEY_SHARED, KEY_OWN, KEY_PROBE, KEY_HASH = range(16, 20)
LOOKAHEAD = 8  # batches that training prepares at a time, each by one thread
MEAN_MOMENTUM = 0.05  # of the running mean of activations, by which queries are centred
NO_CLASSES = np.empty(0, np.int32)


@dataclass(frozen=True, kw_only=True)
class SamplingPlan:
    """How active sets are drawn; the fields are parameters of `SlideClassifier`."""

    sampling: str
    n_random: int
    share_random: bool
    n_candidates: int
    min_collisions: int
    hash_function: str
    hash_length: int | None
    n_tables: int
    bucket_size: int
    insertion: str
    center: bool
    rebuild_interval: int
    rebuild_growth: float
    redraw_every: int

    @property
    def hashes(self) -> bool:
        return self.sampling in ("vanilla", "topk", "threshold")

    @property
    def draws_own(self) -> bool:
        """Whether samples have classes that their batch doesn't share."""
        return self.sampling != "all" and (self.hashes or not self.share_random)

    def make_index(self, output: Layer, seed: int) -> LSHIndex:
        n_classes, width = output.weights.shape
        return LSHIndex(
            n_classes, width, hash_function=self.hash_function, hash_length=self.hash_length,
            n_tables=self.n_tables, bucket_size=self.bucket_size, insertion=self.insertion,
            center=self.center, seed=seed,
        )

    def built_index(self, output: Layer, seed: int, mean: np.ndarray, n_threads: int) -> LSHIndex:
        """Tables of `output` for prediction, `mean` being that of activations."""
        return self.make_index(output, seed).build(output.weights, output.bias, mean,
                                                   n_threads=n_threads)


class ActiveSetSampler:
    """Draws the active set of one batch after another; holds the hash tables and the scratch.

    Attributes
    ----------
    slot : ndarray of shape (n_classes,), int32
        Place of a class in the shared part of the present batch, -1 if it has none.
    own_slot : ndarray of shape (1, n_classes), int32
        Scratch for grouping the own parts by class, all -1.
    n_rebuilds : int
        How often the hash tables were built or brought up to date,
    rebuild_seconds : float
        and how long that took.
    """

    def __init__(self, plan: SamplingPlan, labels: CSR, output: Layer, batch_size: int, key: int,
                 n_threads: int):
        self.plan = plan
        self.labels = labels
        self.output = output
        self.batch_size = batch_size
        self.key = key
        self.n_threads = n_threads
        n_classes = labels.shape[1]
        self._slots = np.full((min(n_threads, LOOKAHEAD), n_classes), -1, np.int32)
        self.slot = self._slots[0]
        self.n_rebuilds, self.rebuild_seconds = 0, 0.0
        most_labels = min(n_classes, labels.max_batch_nnz(batch_size))
        self._room = min(n_classes, most_labels + plan.n_random)
        self._index: LSHIndex | None = None
        if plan.hashes:
            self._index = plan.make_index(output, _hashing.stream_key(key, KEY_HASH))
            self._schedule = RebuildSchedule(plan.rebuild_interval, plan.rebuild_growth,
                                             plan.redraw_every)
            self._mean = np.zeros(output.weights.shape[1], np.float32)
            self._changed = np.zeros(n_classes, bool)
        if plan.draws_own:
            self.own_slot = np.full((1, n_classes), -1, np.int32)
            self._seen = np.full((n_threads, n_classes), -1, np.int64)
            most = int(np.diff(labels.indptr).max(initial=0))
            width = min(n_classes, most + plan.n_random + (plan.n_candidates if plan.hashes else 0))
            self._own = np.empty((batch_size, width), np.int32)

    @cached_property
    def _everything(self) -> np.ndarray:
        return np.arange(len(self.slot), dtype=np.int32)

    def draw_shared(self, rows: np.ndarray, step: int) -> list[np.ndarray]:
        """The shared parts of the batches that `rows` make, of which the first is that of `step`.
        Not while an active set is in use."""
        n_classes, n_random = len(self.slot), self.plan.n_random
        n_batches = count_batches(len(rows), self.batch_size)
        # Where more than half would be drawn, rejection sampling is slow, and all is little more.
        if self.plan.sampling == "all" or 2 * n_random > n_classes:
            return n_batches * [self._everything]
        if not self.plan.share_random:
            return n_batches * [NO_CLASSES]
        shared = np.empty((n_batches, self._room), np.int32)
        n_shared = np.empty(n_batches, np.int64)
        _sampling.draw_shared(self.labels.indptr, self.labels.indices, rows, self.batch_size,
                              n_random, _hashing.stream_key(self.key, KEY_SHARED), step,
                              self._slots, shared, n_shared, len(self._slots))
        return [self._everything if n < 0 else np.sort(some[:n])
                for some, n in zip(shared, n_shared, strict=True)]

    def note_step(self, shared: np.ndarray, own: np.ndarray) -> None:
        """The rows of these classes have changed."""
        self._changed[shared] = True
        self._changed[own] = True

    def draw_own(self, rows: np.ndarray, hidden: np.ndarray,
                 step: int) -> tuple[np.ndarray, np.ndarray]:
        """CSR structure, (n_batch + 1,) int64 and int32, of the classes that each of `rows`, with
        activations `hidden`, computes beside the shared ones, which have slots. A function of the
        key and `step` alone."""
        plan = self.plan
        n = len(rows)
        candidates, n_candidates = np.empty((n, 0), np.int32), np.zeros(n, np.int32)
        if self._index is not None:
            self._follow_weights(hidden, step)
            probe = _hashing.stream_key(_hashing.stream_key(self.key, KEY_PROBE), step)
            candidates, n_candidates = self._index.query(
                hidden, strategy=plan.sampling,
                n_candidates=min(plan.n_candidates, len(self.slot)),
                min_collisions=plan.min_collisions,
                sample_keys=np.uint64(probe) + np.arange(n, dtype=np.uint64),
                n_threads=self.n_threads,
            )
        floor = 0 if plan.share_random else plan.n_random
        own, counts = self._own[:n], np.empty(n, np.int32)
        key = _hashing.stream_key(_hashing.stream_key(self.key, KEY_OWN), step)
        _sampling.own_active_sets(
            self.labels.indptr, self.labels.indices, rows, self.slot, candidates, n_candidates,
            key, floor, self._seen, step * len(self._own), own, counts, self.n_threads,
        )
        indptr = np.zeros(n + 1, np.int64)
        np.cumsum(counts, out=indptr[1:])
        return indptr, own[np.arange(own.shape[1]) < counts[:, None]]

    def _follow_weights(self, hidden: np.ndarray, step: int) -> None:
        """Bring the tables up to date when the schedule says so."""
        assert self._index is not None
        action: str | None
        if not self._index.is_built:
            self._mean[:] = hidden.mean(axis=0)
            action = "build"
        else:
            self._mean += np.float32(MEAN_MOMENTUM) * (hidden.mean(axis=0) - self._mean)
            action = self._schedule.due(step)
        if action is None:
            return
        start = perf_counter()
        weights, bias = self.output.weights, self.output.bias
        if action == "update":
            self._index.update(weights, bias, np.flatnonzero(self._changed),
                               n_threads=self.n_threads)
        else:
            if action == "redraw":
                key = _hashing.stream_key(self.key, KEY_HASH)
                self._index.redraw(_hashing.stream_key(key, step))
            self._index.build(weights, bias, self._mean, n_threads=self.n_threads)
        self._changed[:] = False
        self.n_rebuilds += 1
        self.rebuild_seconds += perf_counter() - start
