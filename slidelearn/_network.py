"""The network's parameters: layers as plain arrays, their initialisation and optimizer state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from . import _memory
from ._bfloat16 import DTYPES, as_dtype

CHUNK_ROWS = 2**14  # initialised at a time
INPUT_SCALE = 0.02  # small, so that features seen a few times don't inject noise


def _empty() -> np.ndarray:
    return np.empty((0, 0), np.float32)


@dataclass
class Layer:
    """An affine map whose rows are what training touches one at a time.

    Attributes
    ----------
    weights : ndarray of shape (n_rows, width), float32, C-contiguous
        Input and middle layers: a row is an input unit and the layer computes ``x @ weights``.
        The output layer: a row is a class and the layer computes ``h @ weights.T``; it may be
        bfloat16 (see `_bfloat16`), and so is then the optimizer state.
    bias : ndarray, float32
        One entry an output unit.
    weights_m, weights_v, bias_m, bias_v : ndarray
        Optimizer state in the shape of the parameter, or empty where the solver has none.
    """

    weights: np.ndarray
    bias: np.ndarray
    weights_m: np.ndarray = field(default_factory=_empty)
    weights_v: np.ndarray = field(default_factory=_empty)
    bias_m: np.ndarray = field(default_factory=lambda: _empty()[0:0].reshape(0))
    bias_v: np.ndarray = field(default_factory=lambda: _empty()[0:0].reshape(0))

    def reset_state(self, solver: str) -> None:
        """Allocate zero optimizer state: none (sgd), one (adagrad) or two (adam) a parameter."""
        self.weights_m = self.weights_v = np.empty((0, 0), self.weights.dtype)
        if solver in ("adagrad", "adam"):
            self.weights_m = _zeros(self.weights.shape, self.weights.dtype)
            self.bias_m = np.zeros(self.bias.shape, np.float32)
        if solver == "adam":
            self.weights_v = _zeros(self.weights.shape, self.weights.dtype)
            self.bias_v = np.zeros(self.bias.shape, np.float32)


@dataclass
class Network:
    """Input layer, any middle layers, output layer."""

    layers: list[Layer]

    def copy(self) -> Network:
        """Copies of the parameters, without optimizer state."""
        return Network([Layer(layer.weights.copy(), layer.bias.copy()) for layer in self.layers])

    @property
    def input(self) -> Layer:
        return self.layers[0]

    @property
    def middle(self) -> list[Layer]:
        return self.layers[1:-1]

    @property
    def output(self) -> Layer:
        return self.layers[-1]


def initialise(n_features: int, hidden_layer_sizes: Sequence[int], output_bias: np.ndarray,
               rng: np.random.RandomState, dtype: str = "float32") -> Network:
    """Fresh parameters.

    The input layer is N(0, 0.02^2); middle layers are He-uniform; the output layer is
    U(-1/sqrt(width), 1/sqrt(width)), stored as `dtype`, with the given bias (log prior odds for the
    sigmoid loss).
    """
    generator = np.random.default_rng(rng.randint(0, 2**31 - 1, size=4))
    widths = list(hidden_layer_sizes)
    n_classes = len(output_bias)
    layers = [Layer(_normal(generator, (n_features, widths[0]), np.float32(INPUT_SCALE)),
                    np.zeros(widths[0], np.float32))]
    for before, after in pairwise(widths):
        bound = np.float32(np.sqrt(6.0 / before))
        layers.append(Layer(_uniform(generator, (before, after), bound),
                            np.zeros(after, np.float32)))
    bound = np.float32(1.0 / np.sqrt(widths[-1]))
    layers.append(Layer(_uniform(generator, (n_classes, widths[-1]), bound, dtype),
                        np.asarray(output_bias, np.float32).copy()))
    return Network(layers)


def _zeros(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    values = _memory.empty(shape, dtype)
    for part in parts(values):  # np.zeros would leave the first batches to wait for the memory
        part[...] = 0
    return values


def _normal(generator: np.random.Generator, shape: tuple[int, ...],
            scale: np.float32) -> np.ndarray:
    values = _memory.empty(shape)
    for part in parts(values):
        generator.standard_normal(out=part, dtype=np.float32)
        part *= scale
    return values


def _uniform(generator: np.random.Generator, shape: tuple[int, ...], bound: np.float32,
             dtype: str = "float32") -> np.ndarray:
    values = _memory.empty(shape, DTYPES[dtype])
    for part in parts(values):
        drawn = part if dtype == "float32" else np.empty(part.shape, np.float32)
        generator.random(out=drawn, dtype=np.float32)
        drawn *= 2 * bound
        drawn -= bound
        if drawn is not part:
            part[...] = as_dtype(drawn, dtype)
    return values


def parts(values: np.ndarray) -> Iterator[np.ndarray]:
    """Runs of rows, so that Ctrl-C needn't wait for all of a large array."""
    return (values[start:start + CHUNK_ROWS] for start in range(0, len(values), CHUNK_ROWS))
