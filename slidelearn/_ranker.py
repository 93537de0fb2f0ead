"""Linear rankers on the features themselves: the wide half of the model.

The network is the matcher: it is good at what generalises, and its hidden layer forgets rare
features. Once it is trained, each class gets a linear classifier on X that learns to tell its
samples from those for which the network only believes that it might be right (Prabhu et al. 2018,
section 3.3, and Zhang et al. 2021, section 3.2, do so behind trees and transformers). The score of
class c is::

    logit_c(x) - penalty * max(0, 1 - r_c(x)),    r_c(x) = x . v_c + d_c

i.e. the network's logit less the ranker's hinge loss, were the class true. The penalty is chosen on
samples that neither was trained on (`_calibration.stacking_weight`, and `choice_weight` where each
has one class). No score exceeds its logit, so the best classes can be found among the best logits;
see `_prediction`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

from . import _calibration, _prediction
from ._grouping import group_batches
from ._kernels import _hashing, _ranker
from ._network import Network
from ._shortlists import N_SHORTLIST, labels_of, shortlists
from ._validation import CSR

PENALTY = 3.0  # weight of the hinge loss if nothing was held out to choose it on
MAX_LOSS = 2.0  # hinge loss at most, and of all classes that aren't on the shortlist
THRESHOLD = 0.1  # weights below, for rows of length 1, are dropped (as omikuji and PECOS do)
COMMON, RARE, RARE_SAMPLES = 0.5, 4.0, 8.0  # how C depends on a class's samples (`rare_factor`)
TOLERANCE = 0.1  # of the dual problem's gradient, and
MAX_SWEEPS = 10  # sweeps at most
GROUPED_PAIRS = 2**18  # of samples and classes, whose scores are made class by class, a thread
OUTPUT_ROOM = 2**22  # weights held before small ones are dropped
KERNEL_WORK = 2**24  # nonzeros a thread reads in a sweep, between two looks at signals (Ctrl-C)
KEY_POOL, KEY_ORDER = range(2)
SAMPLE = np.dtype([("begin", np.int64), ("end", np.int64), ("sign", np.float64),
                   ("softness", np.float64), ("divisor", np.float64), ("alpha", np.float64)])


@dataclass(frozen=True)
class Ranker:
    """Linear classifiers of all classes: CSR by class.

    Attributes
    ----------
    indptr : ndarray of shape (n_classes + 1,), int64
    indices : ndarray of shape (nnz,), int32, features, ascending within a class
    data : ndarray of shape (nnz,), float32
    intercept : ndarray of shape (n_classes,), float32
    n_features : int
    penalty : float, weight of the hinge loss
    """

    indptr: np.ndarray
    indices: np.ndarray
    data: np.ndarray
    intercept: np.ndarray
    n_features: int
    penalty: float

    @property
    def arrays(self) -> list[np.ndarray]:
        """What a model keeps."""
        return [self.indptr, self.indices, self.data, self.intercept,
                np.array([self.penalty], np.float32)]

    @property
    def coef(self) -> sp.csr_array:
        """Weights, (n_classes, n_features)."""
        return sp.csr_array((self.data, self.indices, self.indptr),
                            shape=(len(self.intercept), self.n_features))

    @property
    def shortlist_size(self) -> int:
        """How many classes of a sample are ranked."""
        return min(N_SHORTLIST, len(self.intercept))

    @property
    def worst(self) -> np.float32:
        """What any other class loses, and none on the shortlist more."""
        return np.float32(self.penalty) * np.float32(MAX_LOSS)

    def penalise(self, X: CSR, rows: np.ndarray, shortlist: np.ndarray, logits: np.ndarray,
                 n_threads: int) -> None:
        """Logits of the shortlist of each row, (n_rows, m), become scores, in place."""
        n_classes, (n_rows, m) = len(self.intercept), shortlist.shape
        dense = np.zeros((n_threads, self.n_features), np.float32)
        model = (self.indptr, self.indices, self.data, self.intercept, self.penalty, MAX_LOSS)
        if shortlist.size < n_classes or shortlist.max() >= n_classes:
            _ranker.penalise(X.indptr, X.indices, X.data, rows, *model, shortlist, dense, logits,
                             n_threads)
            return
        slots = np.full((n_threads, n_classes), -1, np.int32)
        size = min(-(-n_rows // n_threads), -(-GROUPED_PAIRS // m))
        for first in range(0, n_rows, size * n_threads):
            part = slice(first, min(n_rows, first + size * n_threads))
            places = np.arange(part.stop - first)
            batches = group_batches(np.append(places, len(places)) * m, shortlist[part].ravel(),
                                    places, size, slots)
            for b, groups in enumerate(batches):
                some = slice(first + b * size, min(part.stop, first + (b + 1) * size))
                _ranker.penalise_by_class(X.indptr, X.indices, X.data, rows[some], *model,
                                          *groups, dense, logits[part], n_threads)


def fit_ranker(network: Network, X: CSR, labels: CSR, sample_weight: np.ndarray, rows: np.ndarray,
               C: float, key: int, n_threads: int) -> Ranker:
    """Train the rankers of all classes on `rows`.

    Each class sees the samples that have it, and as negatives those that have it on their
    shortlist. L2-regularised squared hinge loss (Hsieh et al. 2008), C being relative to the mean
    squared length of the rows of X, so that X may have any scale, and greater for rare classes
    (`rare_factor`).

    Parameters
    ----------
    network : Network, trained
    X : CSR of shape (n_samples, n_features)
    labels : CSR of shape (n_samples, n_classes)
    sample_weight : ndarray of shape (n_samples,), float32
    rows : ndarray of int64, samples to train on
    C : float, weight of a sample's loss against the squared length of the weights
    key : int, all random numbers follow from it
    n_threads : int
    """
    squares = np.square(X.data, dtype=np.float64)
    squared_norm = np.add.reduceat(np.append(squares, 0.0), X.indptr[:-1])
    squared_norm[np.diff(X.indptr) == 0] = 0
    scale = float(squared_norm[rows].mean())
    if not 0 < scale < np.inf:
        scale = 1.0
    shortlist = shortlists(network, X, labels, rows, _hashing.stream_key(key, KEY_POOL), n_threads)
    starts, pair_rows, pair_sign = _pairs(shortlist, labels, rows)
    softness = np.full(X.n_rows, np.inf)
    softness[rows] = 0.5 * scale / (C * sample_weight[rows].astype(np.float64))
    position, column = labels_of(labels, rows)
    class_softness = 1 / rare_factor(
        np.bincount(column[sample_weight[rows[position]] > 0], minlength=labels.shape[1]))
    most = int(np.diff(starts).max(initial=0))
    samples, order = np.empty((n_threads, most), SAMPLE), np.empty((n_threads, most), np.int32)
    scratch = np.zeros((n_threads, X.shape[1]), np.float32)
    n_classes = labels.shape[1]
    intercept = np.zeros(n_classes, np.float32)
    parts = []
    for first, room in _blocks(starts, pair_rows, X, n_threads):
        n = len(room) - 1
        counts = np.zeros(n, np.int64)
        indices, data = np.empty(max(1, room[-1]), np.int32), np.empty(max(1, room[-1]), np.float32)
        _ranker.train_rankers(
            X.indptr, X.indices, X.data, squared_norm + scale, softness, class_softness,
            np.sqrt(scale), starts, pair_rows, pair_sign, first, room, TOLERANCE, MAX_SWEEPS,
            THRESHOLD / np.sqrt(scale), _hashing.stream_key(key, KEY_ORDER), samples, order,
            scratch, counts, indices, data, intercept[first:first + n], n_threads)
        kept = np.repeat(room[:-1] - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
        parts.append((counts, indices[kept], data[kept]))
    counts, indices, data = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    coef = sp.csr_array((data, indices, np.concatenate([[0], np.cumsum(counts)])),
                        shape=(n_classes, X.shape[1]))
    coef.sort_indices()
    return Ranker(coef.indptr.astype(np.int64), coef.indices.astype(np.int32), coef.data,
                  intercept, X.shape[1], PENALTY)


def rare_factor(counts: np.ndarray) -> np.ndarray:
    """What C is multiplied by for classes with so many samples: the fewer losses there are, the
    more each must count against the length of the weights.

    4 for one sample, 1 for 56, one half for very many.
    """
    return COMMON + RARE * RARE_SAMPLES / (RARE_SAMPLES + counts)


def choose_penalty(ranker: Ranker, network: Network, X: CSR, labels: CSR, rows: np.ndarray,
                   one_of_all: bool, n_threads: int) -> Ranker:
    """`ranker` with the penalty that suits `rows`, on which nothing was trained.

    If the rows can't tell, the ranker stays as it is. `one_of_all`: scores go into a softmax over
    all classes, of which each row has one.
    """
    classes, logits = _prediction.exact_topk(network, X, rows, ranker.shortlist_size, n_threads)
    losses = np.zeros_like(logits)
    replace(ranker, penalty=1.0).penalise(X, rows, classes, losses, n_threads)
    position, column = labels_of(labels, rows)
    n_classes = labels.shape[1]
    truth = np.isin(classes + np.arange(len(rows))[:, None] * n_classes,
                    column + position * n_classes)
    if one_of_all:
        place = np.where(truth.any(axis=1), truth.argmax(axis=1), truth.shape[1])
        weight = _calibration.choice_weight(logits, -losses, place)
    else:
        weight = _calibration.stacking_weight(logits.ravel(), -losses.ravel(), truth.ravel())
    return ranker if weight is None else replace(ranker, penalty=weight)


def _pairs(shortlist: np.ndarray, labels: CSR,
           rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The samples of each class: starts, rows (in order), and 1 for a label or -1."""
    n_classes = labels.shape[1]
    n_labels = int((labels.indptr[rows + 1] - labels.indptr[rows]).sum())
    starts = np.empty(n_classes + 1, np.int64)
    pair_rows = np.empty(shortlist.size + n_labels, np.int32)
    pair_sign = np.empty(len(pair_rows), np.int8)
    _ranker.group_pairs(labels.indptr, labels.indices, rows, shortlist,
                        np.full(n_classes, -1, np.int64), starts, pair_rows, pair_sign)
    return starts, pair_rows[:starts[-1]], pair_sign[:starts[-1]]


def _blocks(starts: np.ndarray, pair_rows: np.ndarray, X: CSR,
            n_threads: int) -> Iterator[tuple[int, np.ndarray]]:
    """Runs of classes that are trained in one go: the first class, and where each class's weights
    may start.

    Their weights, before small ones are dropped, fit in `OUTPUT_ROOM` (or are those of one class),
    and a thread's share of a sweep is at most `KERNEL_WORK` (or that of one class).
    """
    filled = np.flatnonzero(starts[1:] > starts[:-1])
    work = np.zeros(len(starts) - 1, np.int64)
    work[filled] = np.add.reduceat(np.diff(X.indptr)[pair_rows], starts[filled])
    bound = np.minimum(work, X.shape[1])
    first = 0
    while first < len(bound):
        room = np.append(0, np.cumsum(bound[first:first + OUTPUT_ROOM]))
        n_fitting = int(np.searchsorted(room, OUTPUT_ROOM, side="right")) - 1
        total = np.cumsum(work[first:first + n_fitting])
        n_in_time = int(np.searchsorted(total, KERNEL_WORK * n_threads, side="right"))
        n = max(1, min(n_fitting, max(n_in_time, n_threads)))
        yield first, room[:n + 1]
        first += n
