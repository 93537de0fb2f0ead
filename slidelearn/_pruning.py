"""Exact search for the k best classes that rules most of them out by a bound.

The score of class c for activations h is ``b_c + w_c . h``. With the activations' mean m, an
orthogonal matrix R, and 8-bit codes of both sides,

    b_c + w_c . h  =  beta_c + (w_c R) . (h - m) R,          beta_c = b_c + w_c . m
    w_c R ~ u_c = scale_c * codes,     (h - m) R ~ v = scale * codes

and by Cauchy-Schwarz the error of ``beta_c + u_c . v`` is at most

    |w_c R - u_c| |h - m| + |u_c| |(h - m) R - v| + rounding errors,

which is small beside ``|w_c| |h - m|``. A class whose upper bound is below the k-th best
lower bound can't be among the k best. R turns the principal axes of the weights first, so that an
earlier bound, from a quarter of the coordinates and the lengths of the rest, rules out most classes
of a large, trained layer; and classes are sorted by what they can reach, so that the threshold is
high early. Codes are integers, whose products are exact; all roundings of floats, those of the
scores themselves included, are part of the bound (`_error_terms`). So the result is that of
`_topk.exact_topk`, bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ._kernels import _dense, _pruned, _simd, _topk
from ._network import Layer

MIN_CLASSES = 4096  # fewer are scored as fast as pruned
MIN_CLASSES_PER_K = 32
MIN_ROWS = 4096  # samples for which making the codes costs less than it saves
CHUNK_FLOATS = 2**22  # of the layer, rotated at a time
KERNEL_WORK = 2**33  # multiply-adds between two looks at signals (Ctrl-C)
BLOCK_CODES = 2**16 + 2**15  # of samples that share the reading of a tile, at most,
BLOCK_ROOM = 2**19  # and of their candidates
ROOM, ROOM_PER_K = 256, 5  # candidates of a sample: the greater of the first and k times the second
AXES_ROWS = 2**13  # of the layer, to find its principal axes
REACH = 0.3  # share of the greatest product with a row that counts for the order of classes
LEAST, MOST = 1e-15, 1e15  # lengths outside, other than 0, are not quantised
UNIT = 2.0**-24  # relative error of a float32 operation


@dataclass(frozen=True)
class PrunedLayer:
    """An output layer with the codes of its rows, about a quarter of its size.

    Attributes
    ----------
    layer : Layer
    bias_bits : ndarray of shape (n_classes,), uint32, its biases when the codes were made
    mean : ndarray of shape (width,), float32
    rotation : ndarray of shape (width, depth), float32; depth is a multiple of 4
    order, codes, classes, most : ndarray, see `_kernels._pruned.pruned_topk`
    groups1 : int, groups of 4 coordinates that the first bound reads
    balance : tuple of float, how the two factors of a bound share its parts
    rounding : float, rounding errors relative to the lengths of both sides
    """

    layer: Layer
    bias_bits: np.ndarray
    mean: np.ndarray
    rotation: np.ndarray
    order: np.ndarray
    codes: np.ndarray
    classes: np.ndarray
    most: np.ndarray
    groups1: int
    balance: tuple[float, float, float]
    rounding: float

    def is_of(self, layer: Layer) -> bool:
        """Whether these are the codes of `layer`, if nobody wrote into its weights."""
        return (self.layer.weights.shape == layer.weights.shape
                and self.layer.weights.ctypes.data == layer.weights.ctypes.data
                and np.array_equal(self.bias_bits, layer.bias.view(np.uint32)))


def pays(n_rows: int, k: int, n_classes: int, width: int) -> bool:
    """Whether `prune` and `topk` take less time than scoring every class of so many samples."""
    return (_simd.has_fast_screen() and n_rows >= MIN_ROWS and n_classes >= MIN_CLASSES
            and width >= 16 and n_classes >= MIN_CLASSES_PER_K * k)


def prune(layer: Layer, hidden: np.ndarray, n_threads: int) -> PrunedLayer:
    """Codes of all rows of an output layer.

    Parameters
    ----------
    layer : Layer, at least one unit wide
    hidden : ndarray of shape (n, width), float32
        Some activations. Results don't depend on them, time does.
    n_threads : int
    """
    n_classes, width = layer.weights.shape
    depth = -(-width // 4) * 4
    groups1 = max(1, depth // 16)
    some = hidden[_in_range(_lengths(hidden))]
    mean = some.mean(axis=0) if len(some) else np.zeros(width, np.float32)
    rotation = _axes(layer.weights, depth, 4 * groups1)
    base, lengths = _measure(layer, mean)
    usable = _in_range(lengths) & (np.abs(layer.bias) <= MOST)
    base[~usable], lengths[~usable] = np.inf, 0  # these are always candidates
    n_tiles = -(-n_classes // _pruned.CLASSES)
    reach = REACH * float(_lengths(some - mean).mean()) if len(some) else REACH
    order = np.full(n_tiles * _pruned.CLASSES, -1, np.int32)
    order[:n_classes] = np.argsort(-(base + reach * lengths), kind="stable")
    stats, codes = _encode_rows(layer.weights, order, usable, rotation, 4 * groups1, n_threads)
    rounding, of_bias = _error_terms(rotation)
    result = PrunedLayer(layer, layer.bias.copy().view(np.uint32), mean, rotation,
                         order.reshape(n_tiles, -1), codes,
                         np.empty((n_tiles, len(_pruned.CLASS_NUMBERS), _pruned.CLASSES),
                                  np.float32),
                         np.empty((n_tiles, 2), np.float32), groups1, _balance(stats), rounding)
    _fill_classes(result, stats, base, lengths, usable, of_bias)
    return result


def _axes(weights: np.ndarray, depth: int, split: int) -> np.ndarray:
    """The principal axes of the rows, widest first, and mixed before and from `split`, so that
    codes with one scale suit all coordinates."""
    some = weights[::max(1, len(weights) // AXES_ROWS)].astype(np.float64)
    some = some[_in_range(_lengths(some))]
    largest = np.abs(some).max(initial=0)
    some /= largest if largest > 0 else 1
    axes = np.linalg.eigh(some.T @ some)[1][:, ::-1]
    rng = np.random.default_rng(0)
    for part in (axes[:, :split], axes[:, split:]):
        n = part.shape[1]
        part[...] = part @ np.linalg.qr(rng.standard_normal((n, n)))[0]
    return np.ascontiguousarray(np.pad(axes, ((0, 0), (0, depth - len(axes)))), np.float32)


def _measure(layer: Layer, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores of the mean, and lengths of the rows, float64."""
    base, lengths = np.empty(len(layer.bias)), np.empty(len(layer.bias))
    step = max(1, CHUNK_FLOATS // len(mean))
    for start in range(0, len(base), step):
        rows = layer.weights[start:start + step].astype(np.float64)
        lengths[start:start + step] = _lengths(rows)
        with np.errstate(all="ignore"):
            base[start:start + step] = layer.bias[start:start + step] + rows @ mean
    return base, lengths


def _lengths(rows: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        return np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))


def _in_range(lengths: np.ndarray) -> np.ndarray:
    return (lengths == 0) | ((lengths >= LEAST) & (lengths <= MOST))


def _encode_rows(weights: np.ndarray, order: np.ndarray, usable: np.ndarray, rotation: np.ndarray,
                 split: int, n_threads: int) -> tuple[np.ndarray, np.ndarray]:
    """Statistics (see `_pruned.quantise`) and codes of all rows, in the order of the tiles."""
    depth = rotation.shape[1]
    stats = np.zeros((len(order), 2, 5))
    codes = np.empty((len(order) // _pruned.CLASSES, depth // 4, _pruned.CLASSES, 4), np.uint8)
    step = max(1, CHUNK_FLOATS // (_pruned.CLASSES * depth))
    rotated = np.empty((min(len(codes), step) * _pruned.CLASSES, depth), np.float32)
    for start in range(0, len(codes), step):
        part = codes[start:start + step]
        place = slice(start * _pruned.CLASSES, (start + len(part)) * _pruned.CLASSES)
        rows = weights[order[place]]
        rows[~usable[order[place]] | (order[place] < 0)] = 0
        _dense.matmul(rows, rotation, np.empty(0, np.float32), rotated[:len(rows)], n_threads)
        _pruned.quantise(rotated[:len(rows)], split, _pruned.CLASSES, 128, part.reshape(-1),
                         stats[place], n_threads)
    return stats, codes


def _balance(stats: np.ndarray) -> tuple[float, float, float]:
    """By what factors errors of quantisation count less than the rest, in a typical row."""
    _, length, lost, _, _ = stats.transpose(2, 0, 1)
    some = (lost > 0).all(axis=1) & (length > 0).all(axis=1)
    if not some.any():
        return 1.0, 1.0, 1.0
    length, lost = length[some], lost[some]
    first = np.sqrt(np.median(length[:, 0] / lost[:, 0]))
    whole = np.median(np.hypot(*length.T) / np.hypot(*lost.T))
    return float(first), float(np.sqrt(np.median(lost[:, 0] / np.hypot(*length.T)))), float(whole)


def _error_terms(rotation: np.ndarray) -> tuple[float, float]:
    """Rounding errors: of products relative to the lengths of both sides (that of scores included),
    and of scores relative to their biases.

    A sum of n products has a relative error of at most (n + 1) UNIT / (1 - (n + 1) UNIT) of the
    sum of their absolute values; so each side's rotation has, by the length of R's columns, one
    of sqrt(n) times as much. R isn't quite orthogonal. Bounds are computed with fewer than 16
    roundings.
    """
    width, depth = rotation.shape
    r = rotation.astype(np.float64)
    skew = float(np.linalg.norm(r @ r.T - np.eye(width)))
    sums = 1.01 * (2 * width + 8) * UNIT
    return 1.1 * (skew + 2 * np.sqrt(depth) * sums) + sums + 16 * UNIT, sums + 16 * UNIT


def _fill_classes(pruned: PrunedLayer, stats: np.ndarray, base: np.ndarray, lengths: np.ndarray,
                  usable: np.ndarray, of_bias: float) -> None:
    """Numbers of classes that `screen` reads; they make bounds on scores in products of a number
    of the class and a number of the sample (`_query`)."""
    order = pruned.order.ravel()
    there = order >= 0
    base, lengths, usable = base[order], lengths[order], usable[order]
    reach = np.linalg.norm(pruned.mean.astype(np.float64))
    slack = of_bias * (np.abs(base) + np.abs(pruned.layer.bias[order]) + lengths * reach) + 1e-30
    with np.errstate(invalid="ignore"):
        base = base + slack
    base[~usable], slack[~usable] = np.inf, np.inf
    base[~there], slack[~there], lengths[~there] = -np.inf, 0, 0
    scale, length, lost, kept, _ = stats.transpose(2, 0, 1)
    first, small, whole = pruned.balance
    longest = np.maximum(np.hypot(*kept.T), lengths)
    numbers = {
        "base": base, "slack": slack, "scale1": scale[:, 0], "scale2": scale[:, 1],
        "bound1": np.sqrt(length[:, 1]**2 + (first * lost[:, 0])**2 + (small * longest)**2),
        "bound2": np.hypot(whole * np.hypot(*lost.T), longest),
    }
    shape = pruned.order.shape
    for name, values in numbers.items():
        if name.startswith("bound"):
            values = values * (1 + 16 * UNIT)
        pruned.classes[:, _pruned.CLASS_NUMBERS[name]] = values.reshape(shape)
    pruned.most[:, 0] = base.reshape(shape).max(axis=1)
    pruned.most[:, 1] = lengths.reshape(shape).max(axis=1) * (1 + 2 * of_bias)


def _query(pruned: PrunedLayer, hidden: np.ndarray,
           n_threads: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Codes, starts and numbers of samples, for the next multiple of `_pruned.SAMPLES`; and which
    samples can be quantised."""
    n, width = hidden.shape
    depth = pruned.rotation.shape[1]
    n_padded = -(-n // _pruned.SAMPLES) * _pruned.SAMPLES
    centred = np.zeros((n_padded, width), np.float32)
    with np.errstate(invalid="ignore", over="ignore"):
        np.subtract(hidden, pruned.mean, out=centred[:n])
    lengths = _lengths(centred)
    usable = _in_range(lengths)
    centred[~usable], lengths[~usable] = 0, 0
    rotated = np.empty((n_padded, depth), np.float32)
    _dense.matmul(centred, pruned.rotation, np.empty(0, np.float32), rotated, n_threads)
    codes = np.empty(n_padded * depth, np.uint8)
    stats = np.zeros((n_padded, 2, 5))
    lanes = 1 if _simd.has_sample_rows() else _pruned.SAMPLES
    _pruned.quantise(rotated, 4 * pruned.groups1, lanes, 0, codes, stats, n_threads)
    scale, length, lost, _, total = stats.transpose(2, 0, 1)
    first, small, whole = pruned.balance
    rounding = pruned.rounding * lengths
    norms = np.hypot(*length.T)
    numbers = {
        "least": np.where(np.arange(n_padded) < n, -np.inf, np.inf),
        "scale1": scale[:, 0], "scale2": scale[:, 1],
        "bound1": np.sqrt(length[:, 1]**2 + (length[:, 0] / first)**2
                          + ((lost[:, 0] + rounding) / small)**2) * (1 + 16 * UNIT),
        "bound2": np.hypot(norms / whole, np.hypot(*lost.T) + rounding) * (1 + 16 * UNIT),
        "norm": np.repeat(lengths.reshape(-1, _pruned.SAMPLES).max(axis=1), _pruned.SAMPLES),
    }
    sample = np.empty((n_padded, len(_pruned.SAMPLE_NUMBERS)), np.float32)
    for name, values in numbers.items():
        sample[:, _pruned.SAMPLE_NUMBERS[name]] = values
    start = (-128 * total).astype(np.int32).reshape(-1, _pruned.SAMPLES, 2).swapaxes(1, 2)
    return (codes.view(np.int8).reshape(-1, _pruned.SAMPLES, depth),
            np.ascontiguousarray(start), sample, usable[:n])


def topk(pruned: PrunedLayer, hidden: np.ndarray, k: int, n_threads: int) -> (
        tuple[np.ndarray, np.ndarray, np.ndarray]):
    """The k classes of each sample with the best scores, best first, ties by class index.

    Memory beside the result: less than 10 KiB for each of some hundred samples a thread (or, with a
    large k, 10 MiB or 1000 k bytes a thread, if that is more).

    Returns
    -------
    classes : ndarray of shape (n, k), int32
    scores : ndarray of shape (n, k), float32
    usable : ndarray of shape (n,), bool
        Samples that could be quantised; the others' results are void.
    """
    n = len(hidden)
    classes, scores = np.empty((n, k), np.int32), np.empty((n, k), np.float32)
    usable = np.empty(n, bool)
    room = -(-max(ROOM, ROOM_PER_K * k) // _pruned.LANES) * _pruned.LANES
    block = min(BLOCK_CODES // pruned.rotation.shape[1], BLOCK_ROOM // room)
    block = max(1, block // _pruned.SAMPLES) * _pruned.SAMPLES
    search = None
    for start in range(0, n, block * n_threads):
        part = slice(start, start + block * n_threads)
        if search is None or len(hidden[part]) < len(search.counts[0]):
            search = _Search(len(hidden[part]), k, room, block, n_threads)
        classes[part], scores[part], usable[part] = search.run(pruned, hidden[part])
    return classes, scores, usable


class _Search:
    """Memory of the search for the k best classes of n samples at a time."""

    def __init__(self, n: int, k: int, room: int, block: int, n_threads: int):
        n_groups = -(-n // _pruned.SAMPLES)
        self.n_threads = n_threads
        self.block = min(block, -(-n_groups // n_threads) * _pruned.SAMPLES)
        self.n_splits = n_threads if n_groups < n_threads else 1
        shape = self.n_splits, n, k
        self.scores, self.ids = np.empty(shape, np.float32), np.empty(shape, np.int32)
        shape = self.n_splits, n, room
        self.uppers, self.lowers = np.empty(shape, np.float32), np.empty(shape, np.float32)
        self.found = np.empty(shape, np.int32)
        self.counts, self.next_look = np.empty((2, self.n_splits, n), np.int32)
        self.group_least = np.empty((self.n_splits, n_groups), np.float32)

    def run(self, pruned: PrunedLayer,
            hidden: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """As `topk`, for n samples; the arrays are valid until the next call."""
        (n, width), n_tiles = hidden.shape, len(pruned.codes)
        codes, start, sample, usable = _query(pruned, hidden, self.n_threads)
        sample = np.tile(sample, (self.n_splits, 1, 1))
        for array in (self.scores, self.group_least):
            array.fill(-np.inf)
        self.ids.fill(_topk.EMPTY)
        self.counts.fill(0)
        self.next_look.fill(max(self.ids.shape[2], _pruned.CLASSES))
        step = max(self.n_threads, KERNEL_WORK // (_pruned.CLASSES * width * max(1, n)))
        for first in [*range(0, n_tiles, step), n_tiles]:  # the last one settles candidates
            _pruned.pruned_topk(
                hidden, pruned.layer.weights, pruned.layer.bias, pruned.order, pruned.codes,
                pruned.classes, pruned.most, pruned.groups1, codes, start, sample,
                self.group_least, self.block, first, min(first + step, n_tiles), self.uppers,
                self.lowers, self.found, self.counts, self.next_look, self.scores, self.ids,
                self.n_threads)
        if self.n_splits == 1:
            return self.ids[0], self.scores[0], usable
        scores, ids = np.empty_like(self.scores[0]), np.empty_like(self.ids[0])
        _topk.best_of(np.concatenate(self.scores, axis=1), np.concatenate(self.ids, axis=1),
                      scores, ids, self.n_threads)
        return ids, scores, usable
