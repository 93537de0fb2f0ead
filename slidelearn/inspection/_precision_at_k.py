"""Precision against the number of labels predicted."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ..metrics import precision_at_k
from ._plotting import estimator_name, new_axes, predict_topk


class PrecisionAtKDisplay:
    """Precision at 1, 2, ..., k.

    Use `from_estimator` or `from_predictions` to make one.

    Parameters
    ----------
    precision : ndarray of shape (k,)
        ``precision[i]`` is the precision at i + 1.
    name : str, default=None
        For the legend.

    Attributes
    ----------
    line_ : matplotlib Line2D
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    Examples
    --------
    >>> import numpy as np
    >>> from slidelearn.inspection import PrecisionAtKDisplay
    >>> display = PrecisionAtKDisplay.from_predictions(np.eye(3), [[0, 1], [1, 0], [0, 2]])
    >>> display.precision.round(3)
    array([0.667, 0.5  ])
    """

    def __init__(self, precision: np.ndarray, *, name: str | None = None):
        self.precision = precision
        self.name = name

    def plot(self, ax: Any = None, *, name: str | None = None, **kwargs: Any) -> (
            PrecisionAtKDisplay):
        """Draw the curve.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None makes a new figure.
        name : str, default=None
            For the legend; None takes that of the display.
        **kwargs : dict
            Passed to ``plot``.

        Returns
        -------
        display : PrecisionAtKDisplay

        Raises
        ------
        ImportError
            matplotlib isn't installed.
        """
        name = self.name if name is None else name
        self.ax_ = new_axes(ax, type(self).__name__)
        self.figure_ = self.ax_.figure
        style = {"marker": "o", "markersize": 4, **({} if name is None else {"label": name}),
                 **kwargs}
        ks = np.arange(1, len(self.precision) + 1)
        (self.line_,) = self.ax_.plot(ks, self.precision, **style)
        self.ax_.set(xlabel="k", ylabel="precision at k")
        self.ax_.xaxis.get_major_locator().set_params(integer=True)
        if "label" in style:
            self.ax_.legend()
        return self

    @classmethod
    def from_estimator(cls, estimator: Any, X: Any, y: Any, *, k: int | None = None,
                       sample_weight: Any = None, name: str | None = None, ax: Any = None,
                       **kwargs: Any) -> PrecisionAtKDisplay:
        """Predict, and plot how good it is.

        Parameters
        ----------
        estimator : estimator
            Fitted, with `predict_topk`, or a Pipeline or search that ends in such a
            one.
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.
        y : {array-like, sparse} of shape (n_samples, n_classes) or array-like of shape \
                (n_samples,)
            True labels.
        k : int, default=None
            Labels to predict. None: 5, or all if there are fewer.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.
        name : str, default=None
            For the legend; None is the name of the class.
        ax : matplotlib Axes, default=None
            None makes a new figure.
        **kwargs : dict
            Passed to ``plot``.

        Returns
        -------
        display : PrecisionAtKDisplay
        """
        check_is_fitted(estimator)
        return cls.from_predictions(y, predict_topk(estimator, X, k), sample_weight=sample_weight,
                                    name=estimator_name(estimator, name), ax=ax, **kwargs)

    @classmethod
    def from_predictions(cls, y_true: Any, y_topk: Any, *, sample_weight: Any = None,
                         name: str | None = None, ax: Any = None, **kwargs: Any) -> (
            PrecisionAtKDisplay):
        """Plot how good predictions are.

        Parameters
        ----------
        y_true : {array-like, sparse} of shape (n_samples, n_classes) or array-like of shape \
                (n_samples,)
            True labels.
        y_topk : array-like of shape (n_samples, k)
            Predicted labels, best first, as from `SlideClassifier.predict_topk`.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.
        name : str, default=None
            For the legend.
        ax : matplotlib Axes, default=None
            None makes a new figure.
        **kwargs : dict
            Passed to ``plot``.

        Returns
        -------
        display : PrecisionAtKDisplay
        """
        y_topk = np.asarray(y_topk)
        if y_topk.ndim != 2 or y_topk.shape[1] == 0:
            raise ValueError(f"y_topk must be of shape (n_samples, k), got {y_topk.shape}.")
        precision = [precision_at_k(y_true, y_topk, k, sample_weight=sample_weight)
                     for k in range(1, y_topk.shape[1] + 1)]
        return cls(np.array(precision), name=name).plot(ax, **kwargs)
