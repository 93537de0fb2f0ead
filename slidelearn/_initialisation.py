"""A network's parameters before the first epoch: random, then features near their labels."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from . import _memory
from ._active import LOOKAHEAD
from ._bfloat16 import DTYPES, as_dtype, as_float32
from ._grouping import group_batches
from ._kernels import _dense, _rows, _simd
from ._network import Layer, Network, parts, zeros
from ._validation import CSR

INPUT_SCALE = 0.02  # small, so that features seen a few times don't inject noise
ACTIVATION_SCALE = 0.3  # root mean square of what features near their labels make of a sample
MAX_MEASURED = 2048  # samples by which that is measured
MAX_EXPONENT = 126  # of powers of two in float32
CHUNK = 1024  # samples whose features one thread groups at a time


def initialise(n_features: int, hidden_layer_sizes: Sequence[int], output_bias: np.ndarray,
               rng: np.random.RandomState, dtype: str = "float32",
               n_threads: int = 1) -> Network:
    """Random parameters.

    The input layer is N(0, 0.02^2); middle layers are He-uniform; the output layer is
    U(-1/sqrt(width), 1/sqrt(width)), stored as `dtype`, with the given bias (log prior odds for the
    sigmoid loss).
    """
    generator = np.random.default_rng(rng.randint(0, 2**31 - 1, size=4))
    widths = list(hidden_layer_sizes)
    n_classes = len(output_bias)
    layers = [Layer(_normal(generator, (n_features, widths[0]), np.float32(INPUT_SCALE),
                            n_threads), np.zeros(widths[0], np.float32))]
    for before, after in pairwise(widths):
        bound = np.float32(np.sqrt(6.0 / before))
        layers.append(Layer(_uniform(generator, (before, after), bound, "float32", n_threads),
                            np.zeros(after, np.float32)))
    bound = np.float32(1.0 / np.sqrt(widths[-1]))
    layers.append(Layer(_uniform(generator, (n_classes, widths[-1]), bound, dtype, n_threads),
                        np.asarray(output_bias, np.float32).copy()))
    return Network(layers)


def index_features(network: Network, X: CSR, labels: CSR, weight: np.ndarray,
                   n_threads: int) -> None:
    """Add to each feature's row what it tells of labels, in the random code that the output has.

    Random indexing (Kanerva, Kristoferson & Holst 2000): the rows of the random output layer are
    the index vectors of the classes, and a feature's context vector is their sum over the samples
    that have it, less what any samples' would be. That is a first step of gradient descent on all
    samples at once, up to its scale, which is set so that activations have a root mean square of
    about `ACTIVATION_SCALE`. Middle layers count as linear.

    Parameters
    ----------
    network : Network, as `initialise` makes it
    X : CSR of shape (n_samples, n_features)
    labels : CSR of shape (n_samples, n_classes), its data being weights of the labels
    weight : ndarray of shape (n_samples,), float32
        Of the samples; those to leave out have 0.
    """
    sums = zeros(network.input.weights.shape, network.input.weights.dtype, n_threads)
    codes, mean = _index_vectors(network, labels, weight, n_threads)
    n_ahead = min(n_threads, LOOKAHEAD)  # chunks, so that scratch doesn't grow with all threads
    slots = np.full((n_ahead, X.shape[1]), -1, np.int32)
    scratch = _memory.empty((n_threads, sums.shape[1]))
    contexts = _memory.empty((CHUNK, sums.shape[1]))
    step = _simd.Optimizer("sgd", 1.0, 1)
    no_state = np.empty((0, 0), np.float32)
    for start in range(0, X.n_rows, CHUNK * n_ahead):
        ahead = np.arange(start, min(start + CHUNK * n_ahead, X.n_rows))
        groups = group_batches(X.indptr, X.indices, ahead, CHUNK, slots)
        for first, features in zip(ahead[::CHUNK], groups, strict=True):
            last = min(first + CHUNK, X.n_rows)
            context = contexts[:last - first]
            context[...] = 0
            _rows.add_rows(labels.indptr[first:last + 1], labels.indices, labels.data, codes,
                           context, n_threads)
            context -= mean
            context *= -weight[first:last, None]  # a step goes against the gradient
            _rows.update_rows(*features, X.data, context, step, sums, no_state, no_state, scratch,
                              n_threads)
    scale = _scale(X, sums, weight, n_threads)
    if scale is None:
        return
    for part, change in zip(parts(network.input.weights), parts(sums), strict=True):
        change *= scale
        part += change


def _index_vectors(network: Network, labels: CSR, weight: np.ndarray,
                   n_threads: int) -> tuple[np.ndarray, np.ndarray]:
    """A row for each class, as wide as the input layer; and their sum in a mean sample."""
    codes = network.output.weights
    for layer in reversed(network.middle):
        below = _memory.empty((len(codes), len(layer.weights)))
        _dense.matmul(as_float32(codes), np.ascontiguousarray(layer.weights.T),
                      np.empty(0, np.float32), below, n_threads)
        codes = below
    repeated = np.repeat(weight, np.diff(labels.indptr)) * labels.data
    frequency = np.bincount(labels.indices, repeated, minlength=len(codes)) / weight.sum(
        dtype=np.float64)
    mean = np.zeros((1, codes.shape[1]), np.float32)
    _rows.add_rows(np.array([0, len(codes)]), np.arange(len(codes), dtype=np.int32),
                   frequency.astype(np.float32), codes, mean, 1)
    return codes, mean


def _scale(X: CSR, weights: np.ndarray, weight: np.ndarray, n_threads: int) -> np.float32 | None:
    """The power of two that brings activations to about `ACTIVATION_SCALE`, if there is one."""
    rows = np.flatnonzero(weight)
    rows = np.ascontiguousarray(rows[::-(-len(rows) // MAX_MEASURED)])
    hidden = _memory.empty((len(rows), weights.shape[1]))
    _rows.combine_rows(X.indptr, X.indices, X.data, rows, weights,
                       np.zeros(weights.shape[1], np.float32), hidden, n_threads)
    size = np.sqrt(np.square(hidden, dtype=np.float64).mean())
    exponent = np.round(np.log2(ACTIVATION_SCALE / size)) if 0 < size < np.inf else np.inf
    return np.float32(2.0**exponent) if abs(exponent) < MAX_EXPONENT else None


def _normal(generator: np.random.Generator, shape: tuple[int, ...], scale: np.float32,
            n_threads: int) -> np.ndarray:
    values = _memory.empty(shape, np.float32, n_threads)
    for part in parts(values):
        generator.standard_normal(out=part, dtype=np.float32)
        part *= scale
    return values


def _uniform(generator: np.random.Generator, shape: tuple[int, ...], bound: np.float32,
             dtype: str, n_threads: int) -> np.ndarray:
    values = _memory.empty(shape, DTYPES[dtype], n_threads)
    for part in parts(values):
        drawn = part if dtype == "float32" else np.empty(part.shape, np.float32)
        generator.random(out=drawn, dtype=np.float32)
        drawn *= 2 * bound
        drawn -= bound
        if drawn is not part:
            part[...] = as_dtype(drawn, dtype)
    return values
