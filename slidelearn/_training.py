"""Training, batch by batch: the phases of SLIDE in the order in which data flows through them.

Each phase is a kernel in which every row of the output has one owner, so that results don't
depend on the number of threads. A batch is read, scored, and only then written.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite, sqrt
from time import perf_counter
from typing import NamedTuple

import numpy as np

from . import _memory
from ._active import LOOKAHEAD, ActiveSet, ActiveSetSampler, SamplingPlan
from ._bfloat16 import as_float32
from ._grouping import Groups, group_batches
from ._kernels import _dense, _hashing, _loss, _quantised, _rows, _simd, _sparse_block
from ._network import Layer, Network
from ._threads import TeamSize
from ._validation import CSR

KEY_DROPOUT, KEY_ORDER, KEY_ROUNDING, KEY_GRADIENT = range(4)  # substreams of the training key
LOSSES = {"sigmoid": _loss.sigmoid_loss, "softmax": _loss.softmax_loss}
PHASES = ("forward", "sampling", "scores", "loss", "backward", "output_step", "input_step")
MAX_DENSITY = 1 / 8  # share of a block's pairs up to which it is worked on as a sparse matrix
MIN_DENSITY = MAX_DENSITY / 3  # below, the threshold falls again; half of it leaves twice as many
MAX_THRESHOLD = 1 / 8  # up to which it rises where more pairs are left
DECAY_STEPS = 500  # after which a rate that falls with the inverse root of steps has lost 30 %
NO_VALUES = np.empty(0, np.float32)
Pairs = tuple[np.ndarray, np.ndarray, np.ndarray]  # counts, places, values; see _sparse_block
ByClass = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # samples, factors, heads, starts


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


class PhaseClock:
    """Wall seconds of the phases of training, added up over batches.

    Attributes
    ----------
    seconds : dict of str to float, one entry for each of `PHASES`
    """

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(PHASES, 0.0)
        self._last = perf_counter()

    def start(self) -> None:
        self._last = perf_counter()

    def lap(self, phase: str) -> None:
        """Everything since the last look at the clock belongs to `phase`."""
        now = perf_counter()
        self.seconds[phase] += now - self._last
        self._last = now


class Trainer:
    """Fits a network to one training set, in place.

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
        Optimizer steps that the network has had.
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
    clock : PhaseClock
    n_active : int
        Classes computed so far, summed over samples.
    """

    def __init__(self, network: Network, X: CSR, labels: CSR, sample_weight: np.ndarray,
                 log_inclusion: np.ndarray, recipe: Recipe, *, n_steps: int | None,
                 steps_before: int, state_start: int, key: int, n_threads: int):
        self.network = network
        self.X = X
        self.labels = labels
        self.sample_weight = sample_weight
        self.log_inclusion = log_inclusion
        self.recipe = recipe
        self.n_steps = n_steps
        self.steps_before = steps_before
        self.state_start = state_start
        self.key = key
        self.team = TeamSize(n_threads)
        self.step = 0
        self._coarseness = np.float32(1)  # what the threshold for gradients is multiplied by
        self.clock = PhaseClock()
        self.n_active = 0
        self.sampler = ActiveSetSampler(recipe.plan, labels, network.output, recipe.batch_size,
                                        key, n_threads)
        self._scratch = _Scratch(network, X, recipe.batch_size, n_threads)

    @property
    def n_threads(self) -> int:
        """Threads that share the next batch."""
        return self.team.n

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
        self.clock.start()
        features = group_batches(self.X.indptr, self.X.indices, rows, size,
                                 self._scratch.feature_slots)
        self.clock.lap("input_step")
        shared = self.sampler.draw_shared(rows, self.step)
        n = np.full(len(rows), size, np.float32)  # in the row's batch
        n[len(rows) // size * size:] = len(rows) % size
        weight = self.sample_weight[rows]
        scale, least = weight / n, weight * (np.float32(self.recipe.gradient_threshold) / n)
        batches = []
        for i, (groups, classes) in enumerate(zip(features, shared, strict=True)):
            mine = slice(i * size, (i + 1) * size)
            batches.append(Batch(rows[mine], scale[mine], least[mine], groups, classes))
        self.clock.lap("sampling")
        return batches

    def train_batch(self, batch: Batch) -> float:
        """One step of the optimizer; returns the loss summed over the batch.

        Raises
        ------
        DivergenceError
            The loss isn't finite. The network is as the batch before left it.
        """
        clock = self.clock
        clock.start()
        activations = self._forward(batch.rows)
        hidden = activations[-1]
        clock.lap("forward")
        active = self.sampler.draw(batch.rows, batch.shared, hidden, self.step)
        clock.lap("sampling")
        block, block_bias = self._gather(active)
        shared, own = self._score(hidden, active, block, block_bias)
        clock.lap("scores")
        loss = self._differentiate(batch, active, shared, own)
        if not isfinite(loss):
            raise DivergenceError(
                f"Training diverged: the loss is {loss} at batch {self.step + 1}. Lower "
                f"learning_rate_init (now {self.recipe.learning_rate_init}) or scale X."
            )
        pairs = self._sparsify(batch, shared)
        clock.lap("loss")
        gradient = self._hidden_gradient(hidden, active, block, shared, pairs, own)
        clock.lap("backward")
        optimizer = self._optimizer()
        self._update_output(optimizer, hidden, active, shared, pairs, own)
        self.sampler.release(active)
        clock.lap("output_step")
        gradient = self._update_middle(optimizer, activations, gradient)
        clock.lap("backward")
        self._update_input(optimizer, batch, activations[0], gradient)
        clock.lap("input_step")
        self.n_active += len(hidden) * len(active.shared) + len(active.own)
        self.step += 1
        return loss

    def _optimizer(self) -> _simd.Optimizer:
        recipe, steps = self.recipe, self.steps_before + self.step
        rate = recipe.learning_rate_init
        if recipe.learning_rate == "linear":
            if self.n_steps is None:
                rate /= sqrt(1 + steps / DECAY_STEPS)
            else:
                rate *= 1 - self.step / self.n_steps
        key = _hashing.stream_key(_hashing.stream_key(self.key, KEY_ROUNDING), self.step)
        return _simd.Optimizer(recipe.solver, rate, steps - self.state_start + 1,
                               recipe.beta_1, recipe.beta_2, recipe.epsilon, key)

    def _forward(self, rows: np.ndarray) -> list[np.ndarray]:
        """Activations of all hidden layers, after ReLU and dropout."""
        first = self.network.input
        hidden = self._scratch.activations[0][:len(rows)]
        _rows.combine_rows(self.X.indptr, self.X.indices, self.X.data, rows, first.weights,
                           first.bias, hidden, self.n_threads)
        activations = [self._activate(hidden, 0)]
        for depth, layer in enumerate(self.network.middle, 1):
            hidden = self._scratch.activations[depth][:len(rows)]
            _dense.matmul(activations[-1], layer.weights, layer.bias, hidden, self.n_threads)
            activations.append(self._activate(hidden, depth))
        return activations

    def _activate(self, hidden: np.ndarray, depth: int) -> np.ndarray:
        key = _hashing.stream_key(_hashing.stream_key(self.key, KEY_DROPOUT), self.step)
        _dense.relu_dropout(hidden, _hashing.stream_key(key, depth), self.recipe.dropout,
                            self.n_threads)
        return hidden

    def _gather(self, active: ActiveSet) -> tuple[np.ndarray, np.ndarray]:
        """Weights, as float32, and bias of the shared classes.

        The bias has the log of the class's inclusion probability subtracted (log-Q correction,
        Bengio & Senecal 2008, section 3), so that what is learnt are logits of the full problem.
        A batch that has all classes needs no correction.
        """
        output = self.network.output
        if len(active.shared) == len(output.bias):
            return as_float32(output.weights), output.bias
        block = self._scratch.block(len(active.shared))
        bias = np.empty(len(active.shared), np.float32)
        _dense.gather_rows(output.weights, output.bias, self.log_inclusion, active.shared, block,
                           bias, self.n_threads)
        return block, bias

    def _spares(self, n_shared: int) -> bool:
        """Whether work on the shared classes is spared at the cost of exactness: logits from bytes,
        and gradients of few pairs."""
        n_classes, width = self.network.output.weights.shape
        return (self.recipe.gradient_threshold > 0 and n_shared not in (0, n_classes)
                and width <= _quantised.MAX_WIDTH)

    def _score(self, hidden: np.ndarray, active: ActiveSet, block: np.ndarray,
               block_bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        scratch = self._scratch
        shared = scratch.logits(len(hidden), len(active.shared))
        if self._spares(len(active.shared)):
            _quantised.block_logits(hidden, block, block_bias, shared, *scratch.codes,
                                          self.n_threads)
        else:
            _dense.block_logits(hidden, block, block_bias, shared, scratch.panels, self.n_threads)
        own = np.empty(len(active.own), np.float32)
        if len(own):
            output = self.network.output
            _rows.pair_logits(active.own_indptr, active.own, hidden, output.weights, output.bias,
                              own, self.n_threads)
        return shared, own

    def _differentiate(self, batch: Batch, active: ActiveSet, shared: np.ndarray,
                       own: np.ndarray) -> float:
        """Replace logits by gradients; return the summed loss."""
        mean = LOSSES[self.recipe.loss](
            self.labels.indptr, self.labels.indices, self.labels.data, batch.rows,
            self.sampler.slot, batch.scale, len(active.shared), shared, active.own_indptr, own,
            self._scratch.losses, self.n_threads,
        )
        return mean * len(batch.rows)

    def _sparsify(self, batch: Batch, shared: np.ndarray) -> Pairs | None:
        """Few pairs of a sample and a shared class that stand for all. None where all are used:
        without sampling, and where more than `MAX_DENSITY` of them would be left."""
        n_shared = shared.shape[1]
        if not self._spares(n_shared):
            return None
        key = _hashing.stream_key(_hashing.stream_key(self.key, KEY_GRADIENT), self.step)
        pairs = self._scratch.pairs(n_shared)
        n_pairs = _sparse_block.sparsify(shared, self._coarseness * batch.least, key, *pairs,
                                         self.n_threads)
        self._adapt(n_pairs / shared.size)
        return pairs if n_pairs <= MAX_DENSITY * shared.size else None

    def _adapt(self, density: float) -> None:
        """Choose the threshold of the next batch from how many pairs are left of this one."""
        threshold = self._coarseness * self.recipe.gradient_threshold
        if density > MAX_DENSITY and 2 * threshold <= MAX_THRESHOLD:
            self._coarseness *= np.float32(2)
        elif density < MIN_DENSITY and self._coarseness > 1:
            self._coarseness /= np.float32(2)

    def _hidden_gradient(self, hidden: np.ndarray, active: ActiveSet, block: np.ndarray,
                         shared: np.ndarray, pairs: Pairs | None, own: np.ndarray) -> np.ndarray:
        weights = self.network.output.weights
        gradient = self._scratch.hidden_gradient[:len(hidden)]
        if pairs is None:
            _dense.matmul(shared, block, NO_VALUES, gradient, self.n_threads)
        else:
            _sparse_block.multiply_pairs(*pairs, block, gradient, self.n_threads)
        if len(own):
            _rows.add_rows(active.own_indptr, active.own, own, weights, gradient, self.n_threads)
        return gradient

    def _update_output(self, optimizer: _simd.Optimizer, hidden: np.ndarray, active: ActiveSet,
                       shared: np.ndarray, pairs: Pairs | None, own: np.ndarray) -> None:
        output, scratch = self.network.output, self._scratch
        layer = (output.weights, output.weights_m, output.weights_v, output.bias, output.bias_m,
                 output.bias_v)
        if pairs is None:
            _dense.update_block(shared, hidden, active.shared, optimizer, *layer,
                                scratch.gradient, self.n_threads)
        else:
            _sparse_block.update_pairs(*pairs, hidden, active.shared, optimizer, *layer,
                                       scratch.gradient, *scratch.by_class(*shared.shape),
                                       self.n_threads)
        if len(active.own) == 0:
            return
        samples = np.arange(len(hidden), dtype=np.int64)
        groups, = group_batches(active.own_indptr, active.own, samples, len(samples),
                                self.sampler.own_slot)
        columns, starts, _, positions = groups
        _rows.update_rows(*groups, own, hidden, optimizer, *layer[:3], scratch.gradient,
                          self.n_threads)
        _rows.update_entries(columns, starts, positions, own, optimizer, *layer[3:],
                             self.n_threads)

    def _update_middle(self, optimizer: _simd.Optimizer, activations: list[np.ndarray],
                       gradient: np.ndarray) -> np.ndarray:
        """Step the middle layers, last one first; returns the gradient that enters the first."""
        middle = self.network.middle
        for depth in range(len(middle), 0, -1):
            layer, below = middle[depth - 1], activations[depth - 1]
            _dense.relu_dropout_backward(activations[depth], self.recipe.dropout, gradient,
                                         self.n_threads)
            passed = np.empty_like(below)
            _dense.matmul(gradient, np.ascontiguousarray(layer.weights.T), NO_VALUES, passed,
                          self.n_threads)
            change = np.empty_like(layer.weights)
            _dense.matmul(below.T, gradient, NO_VALUES, change, self.n_threads)
            _simd.step(optimizer, change.ravel(), layer.weights.reshape(-1),
                       layer.weights_m.reshape(-1), layer.weights_v.reshape(-1))
            self._update_bias(optimizer, layer, gradient)
            gradient = passed
        return gradient

    def _update_input(self, optimizer: _simd.Optimizer, batch: Batch, hidden: np.ndarray,
                      gradient: np.ndarray) -> None:
        layer = self.network.input
        _dense.relu_dropout_backward(hidden, self.recipe.dropout, gradient, self.n_threads)
        _rows.update_rows(*batch.features, self.X.data, gradient, optimizer, layer.weights,
                          layer.weights_m, layer.weights_v, self._scratch.gradient,
                          self.n_threads)
        self._update_bias(optimizer, layer, gradient)

    def _update_bias(self, optimizer: _simd.Optimizer, layer: Layer, delta: np.ndarray) -> None:
        _dense.update_bias(delta, optimizer, layer.bias, layer.bias_m, layer.bias_v,
                           self._scratch.gradient)


class _Scratch:
    """Memory that every batch uses again."""

    def __init__(self, network: Network, X: CSR, batch_size: int, n_threads: int):
        width = network.output.weights.shape[1]
        widest = max(layer.weights.shape[1] for layer in network.layers)
        self.panels = _memory.empty((n_threads, width * _dense.PANEL_WIDTH))
        self.codes = code_scratch(batch_size, width, n_threads)
        self.gradient = _memory.empty((n_threads, _dense.TILE_ROWS * (widest + 1)))
        self.feature_slots = np.full((min(n_threads, LOOKAHEAD), X.shape[1]), -1, np.int32)
        self._heads = np.empty((n_threads, batch_size), np.int64)
        self._starts = np.empty((n_threads, 0), np.int32)
        self._samples = np.empty(0, np.int32)
        self._factors = np.empty(0, np.float32)
        self.activations = [_memory.empty((batch_size, len(layer.bias)))
                            for layer in network.layers[:-1]]
        self.hidden_gradient = _memory.empty((batch_size, width))
        self._block = _memory.empty((0, width))
        self._logits = _memory.empty((0,))
        self.losses = np.empty(batch_size)
        self._counts = np.empty(batch_size, np.int64)
        self._places = np.empty((batch_size, 0), np.int32)
        self._values = np.empty((batch_size, 0), np.float32)

    def block(self, n_classes: int) -> np.ndarray:
        self._block = _with_room(self._block, n_classes)
        return self._block[:n_classes]

    def logits(self, n_samples: int, n_classes: int) -> np.ndarray:
        size = n_samples * n_classes
        self._logits = _with_room(self._logits, size)
        return self._logits[:size].reshape(n_samples, n_classes)

    def pairs(self, n_classes: int) -> Pairs:
        batch_size, room = self._places.shape
        if room < n_classes:
            # An odd number of cache lines, so that rows don't compete for places in caches.
            room = (n_classes + n_classes // 4) // 32 * 32 + 48
            self._places = _memory.empty((batch_size, room), np.int32)
            self._values = _memory.empty((batch_size, room))
        return self._counts, self._places, self._values

    def by_class(self, n_samples: int, n_classes: int) -> ByClass:
        """Scratch of `_sparse_block.update_pairs`, for as many pairs as `_sparsify` leaves."""
        n_pairs = int(MAX_DENSITY * n_samples * n_classes)
        self._samples = _with_room(self._samples, n_pairs)
        self._factors = _with_room(self._factors, n_pairs)
        if self._starts.shape[1] <= 2 * n_classes:
            room = 2 * (n_classes + n_classes // 4) + 1
            self._starts = np.empty((len(self._starts), room), np.int32)
        return self._samples, self._factors, self._heads, self._starts


def code_scratch(n_samples: int, width: int,
                 n_threads: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`tiles`, `scales` and `scratch` of `_quantised.block_logits`."""
    in_tile, of_panel = _quantised.TILE_SAMPLES, 2 * _quantised.PANEL_WIDTH
    n_tiles, n_bytes = -(-n_samples // in_tile), -(-width // 4) * 4
    return (_memory.empty((n_tiles, in_tile, n_bytes), np.int8),
            _memory.empty((n_tiles, in_tile)),
            _memory.empty((n_threads, of_panel, n_bytes), np.int8))


def _with_room(memory: np.ndarray, n: int) -> np.ndarray:
    """`memory`, or something larger of its kind where it has fewer than n rows."""
    if len(memory) >= n:
        return memory
    return _memory.empty((n + n // 4, *memory.shape[1:]), memory.dtype)


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
