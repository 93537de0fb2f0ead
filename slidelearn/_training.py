"""Training, batch by batch: what is prepared for some batches at a time, the optimizer's rate, and
how coarse gradients may be. What a batch does with that is in `_step`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite, sqrt
from time import perf_counter
from typing import NamedTuple

import numpy as np

from ._active import LOOKAHEAD, ActiveSetSampler, SamplingPlan
from ._grouping import Groups, group_batches
from ._kernels import _hashing, _quantised, _simd
from ._network import Network
from ._slices import Slices, n_slices
from ._step import BatchStep
from ._threads import TeamSize
from ._validation import CSR

KEY_DROPOUT, KEY_ORDER, KEY_ROUNDING, KEY_GRADIENT = range(4)  # substreams of the training key
MAX_DENSITY = 1 / 8  # share of a block's pairs up to which it is worked on as a sparse matrix
MIN_DENSITY = MAX_DENSITY / 3  # below, the threshold falls again; half of it leaves twice as many
MAX_THRESHOLD = 1 / 8  # up to which it rises where more pairs are left
DECAY_STEPS = 500  # after which a rate that falls with the inverse root of steps has lost 30 %


class DivergenceError(ValueError):
    """The loss is no longer finite."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to train; the fields are parameters of `SlideClassifier`."""

    loss: str
    solver: str
    learning_rate: str
    learning_rate_init: float
    beta_1: float
    beta_2: float
    epsilon: float
    batch_size: int
    dropout: float
    shuffle: bool
    gradient_threshold: float
    plan: SamplingPlan


class Batch(NamedTuple):
    """What is known of a batch before the network is asked.

    Attributes
    ----------
    rows : ndarray of shape (n_batch,), int64
        Its samples.
    scale : ndarray of shape (n_batch,), float32
        The sample's weight over n_batch.
    least : ndarray of shape (n_batch,), float32
        Gradients that are smaller are rounded, see `_sparse_block.sparsify`.
    features : Groups
        Its nonzeros by feature.
    shared : ndarray of shape (n_shared,), int32
        Ascending classes that all its samples compute.
    """

    rows: np.ndarray
    scale: np.ndarray
    least: np.ndarray
    features: Groups
    shared: np.ndarray


class Trainer:
    """Fits a network to one training set, in place; `settle` before you look at it.

    Parameters
    ----------
    network : Network, with optimizer state
    X : CSR of shape (n_samples, n_features)
    labels : CSR of shape (n_samples, n_classes)
        Its data are the weights of the labels' terms in the loss.
    sample_weight : ndarray of shape (n_samples,), float32, mean 1
    log_inclusion : ndarray of shape (n_classes,), float32
        Logarithm of the probability that a class is in a batch's shared part; see `log_inclusion`.
    recipe : Recipe
    n_steps : int or None
        Batches that the whole training is planned to have, after which a "linear" rate is 0; None
        if the end isn't known, where it falls with the inverse root of all steps instead.
    steps_before : int
        Optimizer steps that the network has had before.
    state_start : int
        How many of them before the optimizer's memory was empty (bias correction of Adam).
    key : int
        All random numbers follow from it.
    n_threads : int
        At most; epochs use fewer where that is faster.

    Attributes
    ----------
    team : TeamSize
        How many threads a batch gets.
    step : int
        Batches done so far.
    phases : BatchStep
        What a batch does; knows how long that took, and how many classes were computed.
    """

    def __init__(self, network: Network, X: CSR, labels: CSR, sample_weight: np.ndarray,
                 log_inclusion: np.ndarray, recipe: Recipe, *, n_steps: int | None,
                 steps_before: int, state_start: int, key: int, n_threads: int):
        self.network = network
        self.X = X
        self.sample_weight = sample_weight
        self.recipe = recipe
        self.n_steps = n_steps
        self.steps_before = steps_before
        self.state_start = state_start
        self.key = key
        self.team = TeamSize(n_threads)
        self.step = 0
        self._coarseness = 1.0  # what the threshold for gradients is multiplied by
        self._dropout_key, self._rounding_key, self._gradient_key = (
            _hashing.stream_key(key, sub) for sub in (KEY_DROPOUT, KEY_ROUNDING, KEY_GRADIENT))
        self.sampler = ActiveSetSampler(recipe.plan, labels, network.output, recipe.batch_size,
                                        key, n_threads)
        n_samples = X.n_rows if n_steps is None else n_steps * recipe.batch_size
        n = n_slices(network.input, n_samples * len(X.indices) / X.n_rows, n_samples, n_threads)
        self._slices = Slices(network.input, n) if n > 1 else None
        self.phases = BatchStep(network, self._slices, X, labels, log_inclusion, self.sampler,
                                loss=recipe.loss, dropout=recipe.dropout,
                                batch_size=recipe.batch_size, max_density=MAX_DENSITY,
                                n_threads=n_threads)
        self._feature_slots = np.full((min(n_threads, LOOKAHEAD), X.shape[1]), -1, np.int32)

    def epoch(self, rows: np.ndarray, number: int) -> Iterator[tuple[int, float]]:
        """Train once on each of `rows`; after each batch, yield its size and its summed loss."""
        if self.recipe.shuffle:
            key = _hashing.stream_key(_hashing.stream_key(self.key, KEY_ORDER), number)
            rows = np.random.default_rng(key).permutation(rows)
        rows = np.ascontiguousarray(rows)
        n_ahead = LOOKAHEAD * self.recipe.batch_size
        for start in range(0, len(rows), n_ahead):
            for batch in self.prepare(rows[start:start + n_ahead]):
                before = perf_counter()
                loss = self.train_batch(batch)
                self.team.record((perf_counter() - before) / len(batch.rows))
                yield len(batch.rows), loss

    def prepare(self, rows: np.ndarray) -> list[Batch]:
        """The batches that `rows` make, for `train_batch` to take next and in this order."""
        size = self.recipe.batch_size
        clock = self.phases.clock
        clock.start()
        features = group_batches(self.X.indptr, self.X.indices, rows, size,
                                 self._feature_slots)
        clock.lap("input_step")
        shared = self.sampler.draw_shared(rows, self.step)
        n = np.full(len(rows), size, np.float32)  # in the row's batch
        n[len(rows) // size * size:] = len(rows) % size
        weight = self.sample_weight[rows]
        scale, least = weight / n, weight * (np.float32(self.recipe.gradient_threshold) / n)
        batches = []
        for i, (groups, classes) in enumerate(zip(features, shared, strict=True)):
            mine = slice(i * size, (i + 1) * size)
            batches.append(Batch(rows[mine], scale[mine], least[mine], groups, classes))
        clock.lap("sampling")
        return batches

    def train_batch(self, batch: Batch) -> float:
        """One step of the optimizer; returns the loss summed over the batch.

        Raises
        ------
        DivergenceError
            The loss isn't finite. The network is as the batch before left it.
        """
        n_classes, width = self.network.output.weights.shape
        spares = self.recipe.gradient_threshold > 0 and len(batch.shared) not in (0, n_classes)
        loss = self.phases.run(
            batch, self.step, self._optimizer(), _hashing.stream_key(self._dropout_key, self.step),
            _hashing.stream_key(self._gradient_key, self.step), self._coarseness, spares,
            spares and width <= _quantised.MAX_WIDTH, self.team.n,
        )
        if not isfinite(loss):
            raise DivergenceError(
                f"Training diverged: the loss is {loss} at batch {self.step + 1}. Lower "
                f"learning_rate_init (now {self.recipe.learning_rate_init}) or scale X."
            )
        if spares:
            self._adapt(self.phases.density)
        self.step += 1
        return loss

    @property
    def total_steps(self) -> int:
        """Optimizer steps that the network has had."""
        return self.steps_before + self.step

    def settle(self) -> None:
        """Bring the network up to date, some of which may be trained elsewhere (`_slices`)."""
        if self._slices is not None:
            self._slices.settle()

    def _optimizer(self) -> _simd.Optimizer:
        recipe, steps = self.recipe, self.total_steps
        rate = recipe.learning_rate_init
        if recipe.learning_rate == "linear":
            if self.n_steps is None:
                rate /= sqrt(1 + steps / DECAY_STEPS)
            else:
                rate *= 1 - self.step / self.n_steps
        key = _hashing.stream_key(self._rounding_key, self.step)
        return _simd.Optimizer(recipe.solver, rate, steps - self.state_start + 1,
                               recipe.beta_1, recipe.beta_2, recipe.epsilon, key)

    def _adapt(self, density: float) -> None:
        """Choose the threshold of the next batch from how many pairs are left of this one."""
        threshold = self._coarseness * self.recipe.gradient_threshold
        if density > MAX_DENSITY and 2 * threshold <= MAX_THRESHOLD:
            self._coarseness *= 2
        elif density < MIN_DENSITY and self._coarseness > 1:
            self._coarseness /= 2


def log_inclusion(frequency: np.ndarray, n_classes: int, plan: SamplingPlan,
                  batch_size: int) -> np.ndarray:
    """Logarithm of the probability that a class is in the shared part of a batch's active set.

    A class is there as a random draw, or as the label of some sample of the batch:
    ``1 - (1 - n_random / n_classes) (1 - frequency)^batch_size``. Zeros where the shared part is
    empty or complete, or where hashing chooses classes in ways of its own.

    Parameters
    ----------
    frequency : ndarray of shape (n_classes,), share of the samples that have the label
    """
    if plan.sampling != "random" or not plan.share_random or 2 * plan.n_random > n_classes:
        return np.zeros(n_classes, np.float32)
    missed = (1 - plan.n_random / n_classes) * (1 - frequency) ** batch_size
    missed[missed >= 1] = 0  # a class that never is in the shared part
    return np.log1p(-missed).astype(np.float32)
