"""Shortlists: the classes that a trained network thinks a training sample might have, for which
linear rankers are trained to tell it from their own samples (`_ranker`).

They needn't be exact, unlike predictions: with many classes, logits come from products of bytes
(`_kernels._quantised`), off by some hundredths. That takes less time than ruling classes out by
bounds (`_pruning`), which are loose for the 64 best of many, and the result is the same everywhere.
"""

from __future__ import annotations

import numpy as np

from . import _prediction
from ._bfloat16 import as_float32
from ._kernels import _quantised
from ._memory import code_scratch, empty
from ._network import Layer, Network
from ._validation import CSR

N_SHORTLIST = 64  # classes of a sample with the best logits, which are ranked
MIN_CLASSES = 2048  # fewer are scored by floats
MAX_CLASSES = 2**18  # among which shortlists look; if there are more, they look in pools
POOL = 2**17  # classes of a pool: labels near by and random ones
CHUNK_ROWS = 2**14  # samples that share a pool
CHUNK_FLOATS = 2**22  # of activations, and of the output layer while it is encoded: 16 MiB
KERNEL_WORK = 2**34  # products of bytes between two looks at signals (Ctrl-C)
BLOCK = 384  # samples, at most, that share the reading of a panel
ROOM = 160  # candidates of a sample


def shortlists(network: Network, X: CSR, labels: CSR, rows: np.ndarray, key: int,
               n_threads: int) -> np.ndarray:
    """The classes with the best logits for each of `rows`, (n_rows, at most `N_SHORTLIST`), int32.

    With more than `MAX_CLASSES`, the best of a pool that `CHUNK_ROWS` samples share: the
    labels of all of them and random classes, `POOL` together. So the cost of a sample is
    bounded, whatever the number of classes.
    """
    n_classes = labels.shape[1]
    if n_classes <= MAX_CLASSES:
        return _best(network, X, rows, n_threads)
    result = np.empty((len(rows), N_SHORTLIST), np.int32)
    rng = np.random.default_rng(key)
    for start in range(0, len(rows), CHUNK_ROWS):
        chunk = rows[start:start + CHUNK_ROWS]
        own = np.unique(labels_of(labels, chunk)[1])
        drawn = rng.integers(0, n_classes, max(N_SHORTLIST, POOL - len(own)))
        pool = np.union1d(own, drawn).astype(np.int32)
        output = Layer(network.output.weights[pool], network.output.bias[pool])
        best = _best(Network([*network.layers[:-1], output]), X, chunk, n_threads)
        if best.shape[1] < N_SHORTLIST:  # draws that fell together: say the last one again
            best = np.pad(best, ((0, 0), (0, N_SHORTLIST - best.shape[1])), mode="edge")
        result[start:start + CHUNK_ROWS] = pool[best]
    return result


def labels_of(matrix: CSR, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Position in `rows` and column of each entry of some rows."""
    counts = matrix.indptr[rows + 1] - matrix.indptr[rows]
    position = np.repeat(np.arange(len(rows)), counts)
    offset = np.repeat(matrix.indptr[rows] - np.cumsum(counts) + counts, counts)
    return position, matrix.indices[offset + np.arange(counts.sum())]


def _best(network: Network, X: CSR, rows: np.ndarray, n_threads: int) -> np.ndarray:
    """The classes with the best logits, best first, exactly or nearly so."""
    n_classes, width = network.output.weights.shape
    k = min(N_SHORTLIST, n_classes)
    if n_classes < MIN_CLASSES or width > _quantised.MAX_WIDTH:
        return _prediction.exact_topk(network, X, rows, k, n_threads)[0]
    result = np.empty((len(rows), k), np.int32)
    search = None
    size = max(1, CHUNK_FLOATS // width)
    for place, hidden in _prediction.activation_chunks(network, X, rows, size, n_threads):
        if search is None:
            with np.errstate(over="ignore", invalid="ignore"):
                search = _Search(network.output, hidden.mean(axis=0), k, n_threads)
        result[place], found = search.run(hidden)
        lost = np.flatnonzero(~found)  # logits that aren't numbers
        if len(lost):
            result[place.start + lost] = _prediction.topk_of_activations(
                network, hidden[lost], k, n_threads)[0]
    return result


class _Search:
    """The codes of an output layer, a quarter of its size, and memory of the search in them.

    Classes are read in the order of their scores for the mean activation, so that few are
    candidates before better ones are found; that changes no result.
    """

    def __init__(self, output: Layer, mean: np.ndarray, k: int, n_threads: int):
        (n_classes, width), self.n_threads = output.weights.shape, n_threads
        panel = _quantised.PANEL_WIDTH
        step = max(1, CHUNK_FLOATS // (width * panel)) * panel
        n_panels = -(-n_classes // panel)
        base = np.concatenate([as_float32(output.weights[first:first + step]) @ mean
                               for first in range(0, n_classes, step)]) + output.bias
        order = np.argsort(-base, kind="stable").astype(np.int32)
        self.ids = np.zeros((n_panels, panel), np.int32)
        self.bias = np.full(self.ids.shape, -np.inf, np.float32)
        self.ids.reshape(-1)[:n_classes] = order
        self.bias.reshape(-1)[:n_classes] = output.bias[order]
        self.block = int(np.clip(KERNEL_WORK // (n_threads * n_classes * width),
                                 _quantised.TILE_SAMPLES, BLOCK))
        self.block -= self.block % _quantised.TILE_SAMPLES
        n = self.block * n_threads
        self.scratch = code_scratch(n, width, n_threads)
        self.codes = empty((n_panels, panel, self.scratch[2].shape[2]), np.int8)
        self.scales = np.empty(self.ids.shape, np.float32)
        for first in range(0, n_classes, step):
            panels = slice(first // panel, (first + step) // panel)
            _quantised.encode(as_float32(output.weights[order[first:first + step]]),
                              self.codes[panels], self.scales[panels], self.scratch[2], n_threads)
        self.values = np.empty((n, ROOM), np.float32)
        self.found = np.empty((n, ROOM), np.int32)
        self.counts, self.below = np.empty(n, np.int32), np.empty(n, np.float32)
        self.best, self.best_ids = np.empty((n, k), np.float32), np.empty((n, k), np.int32)

    def run(self, hidden: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The best classes of each sample, (n, k) int32, and whether there are so many, (n,)."""
        k = self.best.shape[1]
        classes, enough = np.empty((len(hidden), k), np.int32), np.empty(len(hidden), bool)
        for start in range(0, len(hidden), len(self.counts)):
            some = hidden[start:start + len(self.counts)]
            n = len(some)
            _quantised.topk(some, self.codes, self.scales, self.bias, self.ids, self.block,
                            *self.scratch, self.values[:n], self.found[:n], self.counts[:n],
                            self.below[:n], self.best[:n], self.best_ids[:n], self.n_threads)
            classes[start:start + n] = self.best_ids[:n]
            enough[start:start + n] = self.counts[:n] >= k
        return classes, enough
