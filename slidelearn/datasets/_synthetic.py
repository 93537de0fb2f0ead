"""Generated data sets of any size that have the shape of real extreme classification data."""

from contextlib import suppress
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.utils import check_random_state

from .._validation import MAX_INDEX

__all__ = ["make_extreme_classification"]

_WORDS_PER_CHUNK = 4_000_000  # bounds the memory of the temporary arrays to a few 100 MB
_PILOT_ROWS = 1_000
_MAX_WORDS_PER_NONZERO = 20.0
_REDRAWS = 20


def make_extreme_classification(
    n_samples: int = 10_000,
    n_features: int = 5_000,
    n_classes: int = 2_000,
    *,
    n_nonzeros: float = 50.0,
    n_labels: float = 3.0,
    label_exponent: float = 0.7,
    feature_exponent: float = 0.7,
    n_prototype_features: int = 16,
    topic_size: int = 50,
    topic_share: float = 0.5,
    noise: float = 0.6,
    random_state: int | np.random.RandomState | None = None,
) -> tuple[sp.csr_matrix, sp.csr_matrix]:
    """Generate a sparse multi-label problem with very many classes.

    The rows are like short documents: a few frequent and very many rare words (features), a few
    frequent and very many rare labels. Each class owns a small set of prototype features; a row
    draws its words from the prototypes of its labels, mixed with background words. The labels
    can thus be learnt from the features, but not perfectly.

    Parameters
    ----------
    n_samples : int, default=10_000
        Number of rows.
    n_features : int, default=5_000
        Number of columns of `X`. Some may be empty.
    n_classes : int, default=2_000
        Number of columns of `Y`. Some may be empty.
    n_nonzeros : float, default=50.0
        Average number of entries in a row of `X`, at least 1 and at most `n_features`. Reached
        within a few per cent, unless the rows run out of features (say because `noise` is 0).
    n_labels : float, default=3.0
        Average number of labels of a row, at least 1 and at most `n_classes`. Every row has
        one or more; with ``n_labels=1`` all have exactly one. Missed from below only where it
        comes close to `n_classes`.
    label_exponent : float, default=0.7
        The class of rank r is drawn with a probability proportional to ``r ** -label_exponent``.
        With 0 all classes are equally frequent.
    feature_exponent : float, default=0.7
        The same for features, as background and as prototypes.
    n_prototype_features : int, default=16
        Number of prototype features of a class.
    topic_size : int, default=50
        Classes come in topics of this size, whose classes have prototype features in common and
        tend to label the same rows.
    topic_share : float, default=0.5
        Share (from 0 to 1) of the prototype features that a class has in common with its topic,
        and of the further labels of a row that come from the topic of its first one.
    noise : float, default=0.6
        Share (from 0 to 1) of the words of a row that have nothing to do with its labels.
    random_state : int, RandomState instance or None, default=None
        Pass an int for the same result at each call.

    Returns
    -------
    X : scipy.sparse.csr_matrix of shape (n_samples, n_features), dtype float32
        Tf-idf weights, positive; the rows have unit length and sorted columns.
    Y : scipy.sparse.csr_matrix of shape (n_samples, n_classes), dtype float32
        Label indicator: 1.0 where the row has the label, columns sorted.

    Raises
    ------
    ValueError
        If an argument is out of its range (integers: 1 to 2147483647) or not a number.

    See Also
    --------
    sklearn.datasets.make_multilabel_classification : For few labels.

    Notes
    -----
    Frequencies that follow a power law are what sets the data of extreme classification apart
    [1]_; with the defaults most classes have but a handful of rows. The columns of features and
    classes are in random order. Memory is that of the result plus some hundred megabytes.

    References
    ----------
    .. [1] R. Babbar and B. Schölkopf, "Data scarcity, robustness and extreme multi-label
       classification", Machine Learning 108, 2019, section 1.

    Examples
    --------
    >>> from slidelearn.datasets import make_extreme_classification
    >>> X, Y = make_extreme_classification(100, 500, 200, random_state=0)
    >>> X.shape, Y.shape
    ((100, 500), (100, 200))
    """
    n_samples = _checked_count("n_samples", n_samples)
    n_features = _checked_count("n_features", n_features)
    n_classes = _checked_count("n_classes", n_classes)
    n_prototype_features = _checked_count("n_prototype_features", n_prototype_features)
    topic_size = _checked_count("topic_size", topic_size)
    n_nonzeros = _checked_real("n_nonzeros", n_nonzeros, 1, n_features)
    n_labels = _checked_real("n_labels", n_labels, 1, n_classes)
    label_exponent = _checked_real("label_exponent", label_exponent, 0, np.inf)
    feature_exponent = _checked_real("feature_exponent", feature_exponent, 0, np.inf)
    topic_share = _checked_real("topic_share", topic_share, 0, 1)
    noise = _checked_real("noise", noise, 0, 1)
    rng = check_random_state(random_state)

    classes = _PowerLaw(n_classes, label_exponent, rng)
    features = _PowerLaw(n_features, feature_exponent, rng)
    prototypes = _draw_prototypes(
        features, n_classes, n_prototype_features, topic_size, topic_share, rng
    )
    Y = _draw_labels(classes, n_samples, n_labels, topic_size, topic_share, rng)
    X = _draw_rows(Y, _Words(features, prototypes, noise), n_nonzeros, rng)
    weighting = TfidfTransformer(sublinear_tf=True)
    return sp.csr_matrix(weighting.fit(X).transform(X, copy=False)), Y


def _checked_count(name: str, value: Any) -> int:
    """Return a parameter that must be a positive integer, such as a number of columns."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise ValueError(f"{name} must be a positive integer, got {value!r}.")
    if int(value) > MAX_INDEX:
        raise ValueError(f"{name} must be a positive integer of at most {MAX_INDEX}, got {value}.")
    return int(value)


def _checked_real(name: str, value: Any, low: float, high: float) -> float:
    """Return a parameter that must be a finite number within its limits."""
    number = np.nan
    if isinstance(value, Real) and not isinstance(value, bool):
        with suppress(OverflowError):  # integers that no float can hold
            number = float(value)
    if not np.isfinite(number) or not low <= number <= high:
        limits = f"at least {low}" if high == np.inf else f"between {low} and {high}"
        raise ValueError(f"{name} must be a number {limits}, got {value!r}.")
    return number


class _PowerLaw:
    """Column numbers in random order whose probabilities follow a power law.

    Parameters
    ----------
    size : int
        How many columns there are.
    exponent : float
        The column of rank r has a probability proportional to ``r ** -exponent``.
    rng : RandomState
        Shuffles the columns.
    """

    def __init__(self, size: int, exponent: float, rng: np.random.RandomState) -> None:
        order = rng.permutation(size)
        # The smallest float instead of zero: steep laws must not underflow to empty segments.
        weights = np.maximum((1.0 + order) ** -exponent, np.finfo(np.float64).tiny)
        self.size = size
        self._ends = np.concatenate(([0.0], np.cumsum(weights)))

    def draw(self, count: int, rng: np.random.RandomState) -> np.ndarray:
        """Draw `count` columns, int64."""
        return self.draw_between(np.zeros(count, np.int64), np.full(count, self.size), rng)

    def draw_between(
        self, low: np.ndarray, high: np.ndarray, rng: np.random.RandomState
    ) -> np.ndarray:
        """Draw a column from each range ``low <= column < high``, int64."""
        start, stop = self._ends[low], self._ends[high]
        points = start + rng.random_sample(len(low)) * (stop - start)
        return np.clip(np.searchsorted(self._ends, points, side="right") - 1, low, high - 1)


def _draw_prototypes(
    features: _PowerLaw,
    n_classes: int,
    n_prototype_features: int,
    topic_size: int,
    topic_share: float,
    rng: np.random.RandomState,
) -> np.ndarray:
    """Draw the prototype features of each class: int32 of shape (n_classes, count)."""
    n_shared = round(topic_share * n_prototype_features)
    n_topics = -(-n_classes // topic_size)
    prototypes = np.empty((n_classes, n_prototype_features), dtype=np.int32)
    topics = features.draw(n_topics * n_shared, rng).reshape(n_topics, n_shared)
    prototypes[:, :n_shared] = topics[np.arange(n_classes) // topic_size]
    n_own = n_prototype_features - n_shared
    prototypes[:, n_shared:] = features.draw(n_classes * n_own, rng).reshape(n_classes, n_own)
    return prototypes


# ---- labels -------------------------------------------------------------------------------


def _draw_labels(
    classes: _PowerLaw,
    n_samples: int,
    n_labels: float,
    topic_size: int,
    topic_share: float,
    rng: np.random.RandomState,
) -> sp.csr_matrix:
    """Draw the label indicator."""
    counts = np.minimum(1 + rng.poisson(n_labels - 1, size=n_samples), classes.size)
    rows = np.repeat(np.arange(n_samples), counts)
    firsts = np.repeat(classes.draw(n_samples, rng), counts)
    is_first = np.diff(rows, prepend=-1) > 0
    drawn = _draw_near(classes, firsts, topic_size, topic_share, rng)
    labels = np.unique(rows * classes.size + np.where(is_first, firsts, drawn))
    for _ in range(_REDRAWS):
        missing = counts - np.bincount(labels // classes.size, minlength=n_samples)
        if not missing.any():
            break
        rows = np.repeat(np.arange(n_samples), missing)
        more = rows * classes.size + classes.draw(len(rows), rng)
        labels = np.unique(np.concatenate((labels, more)))
    return _csr(labels, np.ones(len(labels), np.float32), n_samples, classes.size)


def _draw_near(
    classes: _PowerLaw,
    firsts: np.ndarray,
    topic_size: int,
    topic_share: float,
    rng: np.random.RandomState,
) -> np.ndarray:
    """Draw a label to go with each first one, from its topic or from all."""
    is_near = rng.random_sample(len(firsts)) < topic_share
    low = firsts // topic_size * topic_size
    high = np.minimum(low + topic_size, classes.size)
    return classes.draw_between(
        np.where(is_near, low, 0), np.where(is_near, high, classes.size), rng
    )


def _csr(keys: np.ndarray, data: np.ndarray, n_rows: int, n_columns: int) -> sp.csr_matrix:
    """Make a matrix from sorted distinct keys ``row * n_columns + column`` and its entries."""
    indptr = np.searchsorted(keys, np.arange(n_rows + 1, dtype=np.int64) * n_columns)
    indices = keys % n_columns
    if max(n_columns, len(keys)) <= np.iinfo(np.int32).max:
        indices, indptr = indices.astype(np.int32), indptr.astype(np.int32)
    matrix = sp.csr_matrix((data, indices, indptr), shape=(n_rows, n_columns))
    matrix.has_sorted_indices = matrix.has_canonical_format = True
    return matrix


# ---- features -----------------------------------------------------------------------------


class _Words(NamedTuple):
    """What the words of a row are drawn from."""

    features: _PowerLaw
    prototypes: np.ndarray
    noise: float


def _draw_rows(
    Y: sp.csr_matrix, words: _Words, n_nonzeros: float, rng: np.random.RandomState
) -> sp.csr_matrix:
    """Draw the word counts of all rows, in chunks."""
    pilot = rng.randint(Y.shape[0], size=_PILOT_ROWS)
    length = _calibrate(Y[pilot], words, n_nonzeros, rng)
    step = max(1, int(_WORDS_PER_CHUNK / length))
    chunks = [
        _draw_words(Y[start : start + step], words, length, rng)
        for start in range(0, Y.shape[0], step)
    ]
    return sp.csr_matrix(sp.vstack(chunks, format="csr"))


def _calibrate(
    Y: sp.csr_matrix, words: _Words, n_nonzeros: float, rng: np.random.RandomState
) -> float:
    """Find how many words a row needs to have `n_nonzeros` distinct ones on average."""
    low, high = n_nonzeros, n_nonzeros * _MAX_WORDS_PER_NONZERO
    while high / low > 1.01:
        middle = (low * high) ** 0.5
        if _draw_words(Y, words, middle, rng).nnz < n_nonzeros * Y.shape[0]:
            low = middle
        else:
            high = middle
    return high


def _draw_words(
    Y: sp.csr_matrix, words: _Words, length: float, rng: np.random.RandomState
) -> sp.csr_matrix:
    """Draw about `length` words for each row of `Y`, counted."""
    n_rows, n_features = Y.shape[0], words.features.size
    lengths = np.maximum(rng.poisson(length, size=n_rows), 1)
    rows = np.repeat(np.arange(n_rows), lengths)
    keys = rows * n_features + _draw_columns(Y, rows, words, rng)
    keys.sort()
    is_new = np.diff(keys, prepend=-1) > 0
    starts = np.flatnonzero(is_new)
    counts = np.diff(starts, append=len(keys)).astype(np.float32)
    return _csr(keys[starts], counts, n_rows, n_features)


def _draw_columns(
    Y: sp.csr_matrix, rows: np.ndarray, words: _Words, rng: np.random.RandomState
) -> np.ndarray:
    """Draw a word for each entry of `rows`: a background word or one of the row's labels."""
    is_noise = rng.random_sample(len(rows)) < words.noise
    columns = np.empty(len(rows), dtype=np.int64)
    columns[is_noise] = words.features.draw(int(is_noise.sum()), rng)
    rows = rows[~is_noise]
    n_labels = np.diff(Y.indptr)[rows]
    position = (rng.random_sample(len(rows)) * n_labels).astype(np.int64)
    labels = Y.indices[Y.indptr[rows] + position]
    slots = rng.randint(words.prototypes.shape[1], size=len(rows))
    columns[~is_noise] = words.prototypes[labels, slots]
    return columns
