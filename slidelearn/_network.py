"""The network's parameters: layers as plain arrays, and their optimizer state."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from . import _memory

CHUNK_ROWS = 2**14  # filled at a time
# Whether an optimizer keeps `weights_m` and `weights_v`.
STATE_OF_SOLVER = {"sgd": (False, False), "adagrad": (True, False), "adam": (True, True),
                   "rmsprop": (False, True)}


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

    def reset_state(self, solver: str, n_threads: int = 1) -> None:
        """Allocate zero optimizer state, see `STATE_OF_SOLVER`."""
        nothing, (has_m, has_v) = (0, 0), STATE_OF_SOLVER[solver]
        weights, bias = self.weights, self.bias
        self.weights_m = zeros(weights.shape if has_m else nothing, weights.dtype, n_threads)
        self.weights_v = zeros(weights.shape if has_v else nothing, weights.dtype, n_threads)
        self.bias_m = np.zeros(bias.shape if has_m else 0, np.float32)
        self.bias_v = np.zeros(bias.shape if has_v else 0, np.float32)


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


def zeros(shape: tuple[int, ...], dtype: np.dtype, n_threads: int) -> np.ndarray:
    values = _memory.empty(shape, dtype, n_threads)
    for part in parts(values):  # np.zeros would leave the first batches to wait for the memory
        part[...] = 0
    return values


def parts(values: np.ndarray) -> Iterator[np.ndarray]:
    """Runs of rows, so that Ctrl-C needn't wait for all of a large array."""
    return (values[start:start + CHUNK_ROWS] for start in range(0, len(values), CHUNK_ROWS))
