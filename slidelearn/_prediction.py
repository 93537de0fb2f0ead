"""Prediction in bounded memory: activations, scores, and the k best classes, chunk by chunk.

Every score is one chain of multiply-adds that starts at the class's bias, so it doesn't depend on
which samples are predicted together, on chunks, or on threads.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from . import _pruning
from ._kernels import _dense, _rows, _topk
from ._lsh import LSHIndex
from ._network import Layer, Network
from ._validation import CSR

if TYPE_CHECKING:
    from ._ranker import Ranker

CHUNK_FLOATS = 2**22  # scores (or activations) held at a time: 16 MiB
KERNEL_WORK = 2**31  # multiply-adds between two looks at signals (Ctrl-C)
BLOCK = 64  # samples scored side by side by the exact search
N_ABOVE = 64  # best scores of a sample that are compared with a threshold before all are


def hidden_activations(network: Network, X: CSR, rows: np.ndarray, n_threads: int) -> np.ndarray:
    """Activations of the last hidden layer, (n_rows, width) float32, without dropout."""
    first = network.input
    hidden = np.empty((len(rows), len(first.bias)), np.float32)
    _rows.combine_rows(X.indptr, X.indices, X.data, rows, first.weights, first.bias, hidden,
                       n_threads)
    _dense.relu_dropout(hidden, 0, 0.0, n_threads)
    for layer in network.middle:
        below, hidden = hidden, np.empty((len(rows), len(layer.bias)), np.float32)
        _dense.matmul(below, layer.weights, layer.bias, hidden, n_threads)
        _dense.relu_dropout(hidden, 0, 0.0, n_threads)
    return hidden


def activation_chunks(network: Network, X: CSR, rows: np.ndarray, size: int,
                      n_threads: int) -> Iterator[tuple[slice, np.ndarray]]:
    """Places in `rows` and activations, `size` samples at a time."""
    for start in range(0, len(rows), size):
        place = slice(start, min(start + size, len(rows)))
        yield place, hidden_activations(network, X, rows[place], n_threads)


def score_chunks(network: Network, ranker: Ranker | None, X: CSR, rows: np.ndarray,
                 n_threads: int) -> Iterator[tuple[slice, np.ndarray]]:
    """Places in `rows` and scores of all classes, (n, n_classes) float32, at most 16 MiB at a
    time (or one row). The array is reused by the next chunk."""
    output = network.output
    n_classes, width = output.weights.shape
    size = max(1, CHUNK_FLOATS // max(n_classes, width))
    panels = np.empty((n_threads, width * _dense.PANEL_WIDTH), np.float32)
    buffer = np.empty((min(size, len(rows)), n_classes), np.float32)
    for place, hidden in activation_chunks(network, X, rows, size, n_threads):
        scores = buffer[:len(hidden)]
        _dense.block_logits(hidden, output.weights, output.bias, scores, panels, n_threads)
        if ranker is not None:
            shortlist, logits = topk_of_activations(network, hidden, ranker.shortlist_size,
                                                    n_threads)
            ranker.penalise(X, rows[place], shortlist, logits, n_threads)
            scores -= ranker.worst
            np.put_along_axis(scores, shortlist, logits, 1)
        yield place, scores


def topk(network: Network, ranker: Ranker | None, X: CSR, rows: np.ndarray, k: int,
         n_threads: int, pruning: Pruning | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The k best classes of each row by score, best first, ties by class index.

    With a ranker, those with the best logits are ranked anew; no other class has a better score
    than they. `pruning`: see `exact_topk`.

    Returns
    -------
    classes : ndarray of shape (n_rows, k), int32
    scores : ndarray of shape (n_rows, k), float32
    """
    if ranker is None:
        return exact_topk(network, X, rows, k, n_threads, pruning)
    pruning = Pruning(len(rows)) if pruning is None else pruning
    classes, scores = np.empty((len(rows), k), np.int32), np.empty((len(rows), k), np.float32)
    n_found = max(k, ranker.shortlist_size)
    size = max(1, CHUNK_FLOATS // n_found)
    for start in range(0, len(rows), size):
        part = slice(start, start + size)
        found, logits = exact_topk(network, X, rows[part], n_found, n_threads, pruning)
        classes[part], scores[part] = _ranked(ranker, X, rows[part], found, logits, k, n_threads)
    return classes, scores


def scores_above(threshold: np.float32, network: Network, ranker: Ranker | None, X: CSR,
                 rows: np.ndarray, n_threads: int, pruning: Pruning | None = None) -> (
                     Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]):
    """Rows, classes and scores of all pairs whose score is above `threshold` or isn't finite, some
    rows at a time, the classes of a row in no order.

    Nearly all rows have few, which are among their best; the others are scored for every class.
    """
    n_classes = len(network.output.bias)
    k = min(N_ABOVE, n_classes)
    size = max(1, CHUNK_FLOATS // k)
    for start in range(0, len(rows), size):
        part = rows[start:start + size]
        classes, scores = topk(network, ranker, X, part, k, n_threads, pruning)
        chosen = (scores > threshold) | ~np.isfinite(scores)
        many = (scores[:, -1] > threshold) & (k < n_classes)
        row, place = np.nonzero(chosen & ~many[:, None])
        yield part[row], classes[row, place], scores[row, place]
        rest = part[many]
        for places, scores in score_chunks(network, ranker, X, rest, n_threads):
            row, column = np.nonzero((scores > threshold) | ~np.isfinite(scores))
            yield rest[places][row], column.astype(np.int32), scores[row, column]


def _ranked(ranker: Ranker, X: CSR, rows: np.ndarray, classes: np.ndarray, logits: np.ndarray,
            k: int, n_threads: int) -> tuple[np.ndarray, np.ndarray]:
    """The k best by score of each row's classes, which stand in the order of their logits."""
    n = ranker.shortlist_size
    shortlist, scores = np.ascontiguousarray(classes[:, :n]), np.ascontiguousarray(logits[:, :n])
    ranker.penalise(X, rows, shortlist, scores, n_threads)
    scores = np.concatenate([scores, logits[:, n:] - ranker.worst], axis=1)
    return best_of(classes, scores, k, n_threads)


def best_of(classes: np.ndarray, scores: np.ndarray, k: int,
            n_threads: int) -> tuple[np.ndarray, np.ndarray]:
    """The k best of each row's (class, score) pairs, best first, ties by class index."""
    best, ids = np.empty((len(scores), k), np.float32), np.empty((len(scores), k), np.int32)
    _topk.best_of(np.ascontiguousarray(scores), np.ascontiguousarray(classes), best, ids,
                  n_threads)
    return ids, best


def exact_topk(network: Network, X: CSR, rows: np.ndarray, k: int, n_threads: int,
               pruning: Pruning | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The k classes of each row with the best logits, best first, ties by class index.

    Memory beside the result: at most 16 MiB of activations and heaps (or one block of 64 samples
    a thread), whatever the number of classes; and a quarter of the output layer if `pruning`
    finds that it pays to rule out most classes without scoring them (`_pruning`). `pruning`
    belongs to the parameters: pass the same again as long as they don't change.

    Returns
    -------
    classes : ndarray of shape (n_rows, k), int32
    scores : ndarray of shape (n_rows, k), float32
    """
    pruning = Pruning(len(rows)) if pruning is None else pruning
    width = network.output.weights.shape[1]
    size = max(BLOCK * n_threads, CHUNK_FLOATS // (width + 2 * k) // BLOCK * BLOCK)
    classes, scores = np.empty((len(rows), k), np.int32), np.empty((len(rows), k), np.float32)
    for place, hidden in activation_chunks(network, X, rows, size, n_threads):
        layer = pruning.of(network.output, hidden, k, n_threads)
        if layer is None:
            classes[place], scores[place] = topk_of_activations(network, hidden, k, n_threads)
            continue
        classes[place], scores[place], usable = _pruning.topk(layer, hidden, k, n_threads)
        rest = np.flatnonzero(~usable)
        if len(rest):
            classes[place.start + rest], scores[place.start + rest] = topk_of_activations(
                network, hidden[rest], k, n_threads)
    return classes, scores


class Pruning:
    """The codes of an output layer (`_pruning`), made once enough samples were predicted.

    Parameters
    ----------
    n_rows : int, default=0
        Samples that are known to come.
    """

    def __init__(self, n_rows: int = 0) -> None:
        self._n_expected, self._n_rows = n_rows, 0
        self._layer: _pruning.PrunedLayer | None = None

    def of(self, output: Layer, hidden: np.ndarray, k: int,
           n_threads: int) -> _pruning.PrunedLayer | None:
        """The codes of `output` for these activations; None if they don't pay, or for bfloat16."""
        self._n_rows += len(hidden)
        if output.weights.dtype != np.float32 or not _pruning.pays(
                max(self._n_rows, self._n_expected), k, *output.weights.shape):
            return None
        layer = self._layer  # another thread may set it meanwhile
        if layer is None or not layer.is_of(output):
            layer = self._layer = _pruning.prune(output, hidden, n_threads)
        return layer


def topk_of_activations(network: Network, hidden: np.ndarray, k: int,
                        n_threads: int) -> tuple[np.ndarray, np.ndarray]:
    """As `exact_topk` without pruning, from activations of the last hidden layer."""
    output = network.output
    n_classes, width = output.weights.shape
    n = len(hidden)
    block = min(BLOCK, -(-n // 16) * 16)
    n_blocks = -(-n // block)
    padded = np.zeros((n_blocks * block, width), np.float32)
    padded[:n] = hidden
    transposed = np.ascontiguousarray(padded.reshape(n_blocks, block, width).swapaxes(1, 2))
    n_splits = n_threads if n_blocks < n_threads else 1
    scores = np.full((n_splits, n_blocks, block, k), -np.inf, np.float32)
    ids = np.full(scores.shape, _topk.EMPTY, np.int32)
    logits = np.empty((n_threads, _topk.CLASS_BLOCK * block), np.float32)
    step = max(_topk.CLASS_BLOCK * n_threads, KERNEL_WORK // (n_blocks * block * width))
    for first in range(0, n_classes, step):
        last = min(first + step, n_classes)
        _topk.exact_topk(transposed, output.weights, output.bias, first, last, n_splits, logits,
                         scores, ids, n_threads)
    # Bring the heaps of a sample's splits side by side, then keep the k best of them.
    scores = np.moveaxis(scores, 0, 2).reshape(n_blocks * block, n_splits * k)[:n]
    ids = np.moveaxis(ids, 0, 2).reshape(n_blocks * block, n_splits * k)[:n]
    return best_of(ids, scores, k, n_threads)


def lsh_topk(network: Network, ranker: Ranker | None, index: LSHIndex, X: CSR, rows: np.ndarray,
             k: int, n_candidates: int, n_threads: int) -> tuple[np.ndarray, np.ndarray]:
    """As `topk`, but only among the candidates that `index` finds for each row.

    A row with fewer than k candidates gets its last places from the exact search over all classes
    (so a result has k distinct classes always).
    """
    output = network.output
    width = output.weights.shape[1]
    n_kept = k if ranker is None else max(k, ranker.shortlist_size)
    size = max(1, CHUNK_FLOATS // (width + 2 * n_kept + n_candidates))
    classes, scores = np.empty((len(rows), k), np.int32), np.empty((len(rows), k), np.float32)
    for place, hidden in activation_chunks(network, X, rows, size, n_threads):
        candidates, counts = index.query(hidden, strategy="topk", n_candidates=n_candidates,
                                         n_threads=n_threads)
        found = np.full((len(hidden), n_kept), _topk.EMPTY, np.int32)
        best = np.full((len(hidden), n_kept), -np.inf, np.float32)
        _topk.candidate_topk(hidden, output.weights, output.bias, candidates, counts, best, found,
                             n_threads)
        if ranker is not None:
            found, best = _ranked(ranker, X, rows[place], found, best, k, n_threads)
        classes[place], scores[place] = found, best
        short = np.flatnonzero(counts < k) + place.start
        if len(short):
            classes[short], scores[short] = topk(network, ranker, X, rows[short], k, n_threads)
    return classes, scores
