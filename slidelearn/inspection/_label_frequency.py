"""How good predictions are for frequent and for rare labels."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .._rankings import as_indicator, column_numbers, hits
from ._plotting import estimator_name, new_axes, predict_topk


class LabelFrequencyDisplay:
    """Precision and recall of the k best labels, by how often a label occurs in training data.

    Labels are put into bins by their number of training samples. In each bin, over all samples,
    precision is the share of the predicted labels that are true, recall the share of the true
    labels that are predicted. The tail is on the left, the head on the right.

    Use `from_estimator` or `from_predictions` to make one.

    Parameters
    ----------
    edges : ndarray of shape (n_bins + 1,), int64
        Bin i has the labels with at least ``edges[i]`` and fewer than ``edges[i + 1]`` training
        samples.
    frequency : ndarray of shape (n_bins,)
        Geometric mean of the labels' numbers of training samples; 0.5 for labels without any.
    precision, recall : ndarrays of shape (n_bins,)
        NaN where nothing is predicted, or nothing true.
    n_labels : ndarray of shape (n_bins,), int64
        Labels in each bin.
    n_predicted, n_true : ndarrays of shape (n_bins,), int64
        How often they are predicted, and true.
    name : str, default=None
        For the legend.

    Attributes
    ----------
    line_ : matplotlib Line2D
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    """

    def __init__(self, edges: np.ndarray, frequency: np.ndarray, precision: np.ndarray,
                 recall: np.ndarray, *, n_labels: np.ndarray, n_predicted: np.ndarray,
                 n_true: np.ndarray, name: str | None = None):
        self.edges = edges
        self.frequency = frequency
        self.precision = precision
        self.recall = recall
        self.n_labels = n_labels
        self.n_predicted = n_predicted
        self.n_true = n_true
        self.name = name

    def plot(self, ax: Any = None, *, metric: str = "precision", name: str | None = None,
             **kwargs: Any) -> LabelFrequencyDisplay:
        """Draw the curve, over the frequency of the labels.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None makes a new figure.
        metric : {"precision", "recall"}, default="precision"
            What to plot.
        name : str, default=None
            For the legend; None takes that of the display.
        **kwargs : dict
            Passed to ``plot``.

        Returns
        -------
        display : LabelFrequencyDisplay

        Raises
        ------
        ValueError
            `metric` is unknown.
        ImportError
            matplotlib isn't installed.
        """
        if metric not in ("precision", "recall"):
            raise ValueError(f"metric must be 'precision' or 'recall', got {metric!r}.")
        name = self.name if name is None else name
        self.ax_ = new_axes(ax, type(self).__name__)
        self.figure_ = self.ax_.figure
        values = getattr(self, metric)
        style = {"marker": "o", "markersize": 4, **({} if name is None else {"label": name}),
                 **kwargs}
        used = ~np.isnan(values)
        (self.line_,) = self.ax_.plot(self.frequency[used], values[used], **style)
        self.ax_.set(xscale="log", xlabel="training samples of a label", ylabel=metric)
        if "label" in style:
            self.ax_.legend()
        return self

    @classmethod
    def from_estimator(cls, estimator: Any, X: Any, y: Any, *, y_train: Any, k: int | None = None,
                       n_bins: int = 8, metric: str = "precision", name: str | None = None,
                       ax: Any = None, **kwargs: Any) -> LabelFrequencyDisplay:
        """Predict, and plot how good that is for frequent and for rare labels.

        Parameters
        ----------
        estimator : estimator
            Fitted, with `predict_topk`, or a Pipeline or search that ends in such a
            one.
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.
        y : {array-like, sparse} of shape (n_samples, n_classes)
            True labels.
        y_train : {array-like, sparse} of shape (n_train_samples, n_classes)
            Labels that the estimator was trained on, to count them.
        k : int, default=None
            Labels to predict. None: 5, or all if there are fewer.
        n_bins : int, default=8
            Bins of equal width in the logarithm of the frequency, of which those without labels
            are left out; one more for labels that never occur.
        metric : {"precision", "recall"}, default="precision"
            What to plot.
        name : str, default=None
            For the legend; None is the name of the class.
        ax : matplotlib Axes, default=None
            None makes a new figure.
        **kwargs : dict
            Passed to ``plot``.

        Returns
        -------
        display : LabelFrequencyDisplay
        """
        check_is_fitted(estimator)
        return cls.from_predictions(y, predict_topk(estimator, X, k), y_train=y_train,
                                    n_bins=n_bins, metric=metric,
                                    name=estimator_name(estimator, name), ax=ax, **kwargs)

    @classmethod
    def from_predictions(cls, y_true: Any, y_topk: Any, *, y_train: Any, n_bins: int = 8,
                         metric: str = "precision", name: str | None = None, ax: Any = None,
                         **kwargs: Any) -> LabelFrequencyDisplay:
        """Plot how good predictions are for frequent and for rare labels.

        Parameters
        ----------
        y_true : {array-like, sparse} of shape (n_samples, n_classes)
            True labels.
        y_topk : array-like of shape (n_samples, k)
            Column numbers of predicted labels, best first, as from
            `SlideClassifier.predict_topk`; -1 for none.
        y_train : {array-like, sparse} of shape (n_train_samples, n_classes)
            Labels of the training data.
        n_bins : int, default=8
            As in `from_estimator`.
        metric : {"precision", "recall"}, default="precision"
            What to plot.
        name : str, default=None
            For the legend.
        ax : matplotlib Axes, default=None
            None makes a new figure.
        **kwargs : dict
            Passed to ``plot``.

        Returns
        -------
        display : LabelFrequencyDisplay
        """
        if isinstance(n_bins, bool) or not isinstance(n_bins, Integral) or n_bins < 1:
            raise ValueError(f"n_bins must be a positive integer, got {n_bins!r}.")
        truth, trained = as_indicator(y_true, "y_true"), as_indicator(y_train, "y_train")
        n_classes = truth.shape[1]
        if trained.shape[1] != n_classes:
            raise ValueError(f"y_train has {trained.shape[1]} columns, but y_true {n_classes}.")
        y_topk = np.asarray(y_topk)
        if y_topk.ndim != 2:
            raise ValueError(f"y_topk must be of shape (n_samples, k), got {y_topk.shape}.")
        top = column_numbers(y_topk, y_topk.shape[1], *truth.shape)
        counts = np.bincount(trained.indices, minlength=n_classes)
        edges = _edges(counts, n_bins)
        place = np.searchsorted(edges, counts, side="right") - 1
        n = len(edges) - 1
        n_predicted = np.bincount(place[top[top >= 0]], minlength=n)
        n_true = np.bincount(place[truth.indices], minlength=n)
        right = np.bincount(place[top[hits(truth, top)]], minlength=n)
        n_labels = np.bincount(place, minlength=n)
        log_counts = np.bincount(place, np.log(np.maximum(counts, 0.5)), minlength=n)
        display = cls(
            edges, np.exp(log_counts / n_labels),
            right / np.where(n_predicted > 0, n_predicted, np.nan),
            right / np.where(n_true > 0, n_true, np.nan),
            n_labels=n_labels, n_predicted=n_predicted, n_true=n_true, name=name,
        )
        return display.plot(ax, metric=metric, **kwargs)


def _edges(counts: np.ndarray, n_bins: int) -> np.ndarray:
    """Ascending integer edges of bins in which all counts lie and none is empty.

    0 is a bin of its own; the rest are of equal width in the logarithm.
    """
    largest = int(counts.max())
    edges = np.round(np.geomspace(1, largest + 1, n_bins + 1)).astype(np.int64) if largest else (
        np.array([1]))
    edges = np.unique(np.concatenate([[0], edges]))
    used = np.bincount(np.searchsorted(edges, counts, side="right") - 1,
                       minlength=len(edges) - 1) > 0
    # The lower edges of bins with labels, and the end.
    return np.append(edges[:-1][used], edges[-1])
