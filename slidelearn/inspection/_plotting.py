"""What the displays share."""

from __future__ import annotations

from typing import Any


def new_axes(ax: Any, owner: str) -> Any:
    """`ax`, or the axes of a new figure if it is None.

    Raises
    ------
    ImportError
        matplotlib isn't installed.
    """
    if ax is not None:
        return ax
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(f"{owner}.plot requires matplotlib. You can install matplotlib with "
                          "`pip install matplotlib`.") from error
    return plt.subplots()[1]


def estimator_name(estimator: Any, name: str | None) -> str:
    """`name`, or that of the class, of the last step if it is a Pipeline."""
    if name is not None:
        return name
    steps = getattr(estimator, "steps", None)
    return type(steps[-1][1] if steps else estimator).__name__


def predict_topk(estimator: Any, X: Any, k: int) -> Any:
    """Labels of ``estimator.predict_topk``, also through a Pipeline, which has no such method."""
    if not hasattr(estimator, "predict_topk") and hasattr(estimator, "steps"):
        X = estimator[:-1].transform(X) if len(estimator) > 1 else X
        estimator = estimator[-1]
    if not hasattr(estimator, "predict_topk"):
        raise TypeError(f"{type(estimator).__name__} has no predict_topk; use from_predictions.")
    return estimator.predict_topk(X, k=k)[0]
