"""Curves over the epochs of training."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .._wrapped import model_inside
from ._plotting import estimator_name, new_axes


class TrainingCurveDisplay:
    """A column of `SlideClassifier.history_` over epochs, and the validation score if there is one.

    Use `from_estimator` to make one.

    Parameters
    ----------
    history : dict of str to array-like of shape (n_epochs,)
        `SlideClassifier.history_`, or a DataFrame made of it.
    column : str, default="loss"
        What to plot: a key of `history`, for instance "active_size".
    name : str, default=None
        For the legend.

    Attributes
    ----------
    line_ : matplotlib Line2D
        The column.
    score_line_ : matplotlib Line2D or None
        The validation score, on `score_ax_`.
    ax_ : matplotlib Axes
    score_ax_ : matplotlib Axes or None
        Shares the epochs of `ax_`.
    figure_ : matplotlib Figure

    Examples
    --------
    >>> from slidelearn import SlideClassifier
    >>> from slidelearn.datasets import make_extreme_classification
    >>> from slidelearn.inspection import TrainingCurveDisplay
    >>> X, Y = make_extreme_classification(1000, 300, 100, random_state=0)
    >>> model = SlideClassifier(random_state=0, early_stopping=True).fit(X, Y)
    >>> display = TrainingCurveDisplay.from_estimator(model)
    """

    def __init__(self, history: Any, *, column: str = "loss", name: str | None = None):
        self.history = history
        self.column = column
        self.name = name

    def plot(self, ax: Any = None, *, name: str | None = None, **kwargs: Any) -> (
            TrainingCurveDisplay):
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None makes a new figure.
        name : str, default=None
            For the legend; None takes that of the display.
        **kwargs : dict
            Passed to ``plot`` for the column.

        Returns
        -------
        display : TrainingCurveDisplay

        Raises
        ------
        ValueError
            `history` has no such column.
        ImportError
            matplotlib isn't installed.
        """
        if self.column not in self.history:
            raise ValueError(f"history has no column {self.column!r}; it has "
                             f"{', '.join(map(str, self.history))}.")
        name = self.name if name is None else name
        label = self.column.replace("_", " ")
        self.ax_ = new_axes(ax, type(self).__name__)
        self.figure_ = self.ax_.figure
        epochs = np.asarray(self.history["epoch"])
        style = {"marker": "o", "markersize": 4,
                 "label": label if name is None else f"{name}: {label}", **kwargs}
        (self.line_,) = self.ax_.plot(epochs, np.asarray(self.history[self.column]), **style)
        self.ax_.set(xlabel="epoch", ylabel=label)
        self.ax_.xaxis.get_major_locator().set_params(integer=True)
        self.score_ax_ = self.score_line_ = None
        scores = np.asarray(self.history["validation_score"], dtype=float)
        lines = [self.line_]
        if self.column != "validation_score" and not np.isnan(scores).all():
            self.score_ax_ = self.ax_.twinx()
            (self.score_line_,) = self.score_ax_.plot(
                epochs, scores, color="C1", marker="s", markersize=4, linestyle="--",
                label="validation nDCG@5")
            self.score_ax_.set(ylabel="validation nDCG@5")
            lines.append(self.score_line_)
        self.ax_.legend(handles=lines, loc="center right")
        return self

    @classmethod
    def from_estimator(cls, estimator: Any, *, column: str = "loss", name: str | None = None,
                       ax: Any = None, **kwargs: Any) -> TrainingCurveDisplay:
        """Plot how a model was trained.

        Parameters
        ----------
        estimator : SlideClassifier or Pipeline
            Fitted; a Pipeline or search must end in a SlideClassifier.
        column : str, default="loss"
            What to plot: a key of `history_`.
        name : str, default=None
            For the legend; None is the name of the class.
        ax : matplotlib Axes, default=None
            None makes a new figure.
        **kwargs : dict
            Passed to ``plot`` for the column.

        Returns
        -------
        display : TrainingCurveDisplay
        """
        check_is_fitted(estimator)
        model = model_inside(estimator)
        if not hasattr(model, "history_"):
            raise TypeError(f"{type(model).__name__} has no history_.")
        display = cls(model.history_, column=column, name=estimator_name(model, name))
        return display.plot(ax, **kwargs)
