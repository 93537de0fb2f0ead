"""Whether probabilities of labels mean what they say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from numbers import Integral, Real
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _num_samples, check_is_fitted

from .._rankings import as_indicator
from ._plotting import estimator_name, new_axes

CHUNK_SCORES = 2**22  # probabilities held at a time: 32 MiB
Pairs = tuple[np.ndarray, np.ndarray]  # probabilities, and whether the label is true


class MultilabelCalibrationDisplay:
    """Reliability of multi-label probabilities: of labels said to be p likely, how many are true.

    Over (sample, label) pairs with a probability of at least `min_prob`, since nearly all pairs of
    very many labels have one near 0, and those would hide all others. scikit-learn's
    ``CalibrationDisplay`` is for one binary label.

    Use `from_estimator` or `from_predictions` to make one.

    Parameters
    ----------
    prob_true : ndarray of shape (n_bins,)
        Share of true labels in each bin; NaN in an empty one.
    prob_pred : ndarray of shape (n_bins,)
        Mean probability in each bin; NaN in an empty one.
    counts : ndarray of shape (n_bins,), int64
        Pairs in each bin.
    min_prob : float
        Pairs with a lower probability are left out.
    name : str, default=None
        For the legend.

    Attributes
    ----------
    calibration_error : float
        Mean distance of `prob_true` from `prob_pred`, weighted by `counts`.
    line_ : matplotlib Line2D
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    """

    def __init__(self, prob_true: np.ndarray, prob_pred: np.ndarray, counts: np.ndarray, *,
                 min_prob: float, name: str | None = None):
        self.prob_true = prob_true
        self.prob_pred = prob_pred
        self.counts = counts
        self.min_prob = min_prob
        self.name = name

    @property
    def calibration_error(self) -> float:
        """Mean distance of `prob_true` from `prob_pred`, weighted by `counts`."""
        used = self.counts > 0
        if not used.any():
            return float("nan")
        distance = np.abs(self.prob_true - self.prob_pred)[used]
        return float(np.average(distance, weights=self.counts[used]))

    def plot(self, ax: Any = None, *, name: str | None = None, ref_line: bool = True,
             **kwargs: Any) -> MultilabelCalibrationDisplay:
        """Draw the curve.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None makes a new figure.
        name : str, default=None
            For the legend; None takes that of the display.
        ref_line : bool, default=True
            Draw the diagonal of perfect calibration, too.
        **kwargs : dict
            Passed to ``plot``.

        Returns
        -------
        display : MultilabelCalibrationDisplay

        Raises
        ------
        ImportError
            matplotlib isn't installed.
        """
        name = self.name if name is None else name
        self.ax_ = new_axes(ax, type(self).__name__)
        self.figure_ = self.ax_.figure
        known = [line.get_label() for line in self.ax_.lines]
        if ref_line and "perfectly calibrated" not in known:
            self.ax_.plot([0, 1], [0, 1], "k:", label="perfectly calibrated")
        error = f"error {self.calibration_error:.1%}"
        style = {"marker": "s", "markersize": 4,
                 "label": error if name is None else f"{name} ({error})", **kwargs}
        used = self.counts > 0
        (self.line_,) = self.ax_.plot(self.prob_pred[used], self.prob_true[used], **style)
        self.ax_.set(xlabel=f"mean predicted probability (pairs of at least {self.min_prob:g})",
                     ylabel="share of true labels")
        self.ax_.legend(loc="upper left")
        return self

    @classmethod
    def from_estimator(cls, estimator: Any, X: Any, y: Any, *, n_bins: int = 10,
                       min_prob: float = 0.01, name: str | None = None, ax: Any = None,
                       **kwargs: Any) -> MultilabelCalibrationDisplay:
        """Predict probabilities, some rows at a time, and plot how reliable they are.

        Parameters
        ----------
        estimator : estimator
            Fitted to an indicator y, with `predict_proba`.
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.
        y : {array-like, sparse} of shape (n_samples, n_classes)
            True labels.
        n_bins : int, default=10
            Bins of equal width.
        min_prob : float, default=0.01
            Pairs with a lower probability are left out.
        name : str, default=None
            For the legend; None is the name of the class.
        ax : matplotlib Axes, default=None
            None makes a new figure.
        **kwargs : dict
            Passed to ``plot``.

        Returns
        -------
        display : MultilabelCalibrationDisplay
        """
        check_is_fitted(estimator)
        truth = as_indicator(y, "y")
        if _num_samples(X) != truth.shape[0]:
            raise ValueError(f"X and y have inconsistent numbers of samples: {_num_samples(X)} and "
                             f"{truth.shape[0]}.")
        pairs = _predicted_pairs(estimator, X, truth, min_prob)
        display = cls._binned(pairs, n_bins, min_prob, estimator_name(estimator, name))
        return display.plot(ax, **kwargs)

    @classmethod
    def from_predictions(cls, y_true: Any, y_prob: Any, *, n_bins: int = 10,
                         min_prob: float = 0.01, name: str | None = None, ax: Any = None,
                         **kwargs: Any) -> MultilabelCalibrationDisplay:
        """Plot how reliable probabilities are.

        Parameters
        ----------
        y_true : {array-like, sparse} of shape (n_samples, n_classes)
            True labels.
        y_prob : {array-like, sparse} of shape (n_samples, n_classes)
            Probabilities of the labels. Entries that a sparse matrix doesn't have are left out.
        n_bins : int, default=10
            Bins of equal width.
        min_prob : float, default=0.01
            Pairs with a lower probability are left out.
        name : str, default=None
            For the legend.
        ax : matplotlib Axes, default=None
            None makes a new figure.
        **kwargs : dict
            Passed to ``plot``.

        Returns
        -------
        display : MultilabelCalibrationDisplay
        """
        truth = as_indicator(y_true, "y_true")
        is_sparse: bool = sp.issparse(y_prob)
        y_prob = sp.csr_matrix(y_prob) if is_sparse else np.asarray(y_prob)
        if y_prob.shape != truth.shape:
            raise ValueError(f"y_prob must be of the shape of y_true, {truth.shape}, got "
                             f"{y_prob.shape}.")
        pairs = (_pairs(truth[part], y_prob[part], min_prob) for part in _parts(*truth.shape))
        return cls._binned(pairs, n_bins, min_prob, name).plot(ax, **kwargs)

    @classmethod
    def _binned(cls, pairs: Iterable[Pairs], n_bins: int, min_prob: float, name: str | None) -> (
            MultilabelCalibrationDisplay):
        if isinstance(n_bins, bool) or not isinstance(n_bins, Integral) or n_bins < 1:
            raise ValueError(f"n_bins must be a positive integer, got {n_bins!r}.")
        if not isinstance(min_prob, Real) or not 0 <= min_prob < 1:
            raise ValueError(f"min_prob must be in [0, 1), got {min_prob!r}.")
        counts, true = np.zeros(n_bins, np.int64), np.zeros(n_bins, np.int64)
        total = np.zeros(n_bins)
        for probability, is_true in pairs:
            place = np.minimum((probability * n_bins).astype(np.intp), n_bins - 1)
            counts += np.bincount(place, minlength=n_bins)
            total += np.bincount(place, probability, minlength=n_bins)
            true += np.bincount(place[is_true], minlength=n_bins)
        divisor = np.where(counts > 0, counts, np.nan)
        return cls(true / divisor, total / divisor, counts, min_prob=float(min_prob), name=name)


def _parts(n_samples: int, n_classes: int) -> Iterator[slice]:
    size = max(1, CHUNK_SCORES // n_classes)
    return (slice(start, start + size) for start in range(0, n_samples, size))


def _predicted_pairs(estimator: Any, X: Any, truth: Any, min_prob: float) -> Iterator[Pairs]:
    for part in _parts(*truth.shape):
        some = truth[part]
        rows = np.arange(truth.shape[0])[part]
        probability = np.asarray(estimator.predict_proba(_safe_indexing(X, rows)))
        if probability.shape != some.shape:
            raise ValueError(f"predict_proba gives an array of shape {probability.shape} for y of "
                             f"shape {some.shape}; the model must be multi-label.")
        yield _pairs(some, probability, min_prob)


def _pairs(truth: sp.csr_matrix, probability: Any, min_prob: float) -> Pairs:
    """Probabilities of at least `min_prob`, and whether these labels are true."""
    is_sparse: bool = sp.issparse(probability)
    stored = probability.data if is_sparse else probability
    if not ((stored >= 0) & (stored <= 1)).all():
        raise ValueError("Probabilities must be in [0, 1].")
    if is_sparse:
        entries = sp.coo_matrix(probability)
        kept = entries.data >= min_prob
        row, column = entries.row[kept].astype(np.int64), entries.col[kept].astype(np.int64)
        values = entries.data[kept]
    else:
        row, column = (place.astype(np.int64) for place in np.nonzero(probability >= min_prob))
        values = probability[row, column]
    n_classes = np.int64(truth.shape[1])
    known = np.repeat(np.arange(truth.shape[0]), np.diff(truth.indptr)) * n_classes + truth.indices
    return values.astype(np.float64), np.isin(row * n_classes + column, known)
