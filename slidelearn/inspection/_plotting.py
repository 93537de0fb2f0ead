"""What the displays share."""

from __future__ import annotations

from typing import Any

from .. import _wrapped


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
    """`name`, or that of the class of the model, which may be inside of a Pipeline or search."""
    return type(_wrapped.model_inside(estimator)).__name__ if name is None else name


def predict_topk(estimator: Any, X: Any, k: int | None) -> Any:
    """As `_wrapped.predict_topk`, but the error says what else a display can do."""
    model = _wrapped.model_inside(estimator)
    if not hasattr(model, "predict_topk"):
        raise TypeError(f"{type(model).__name__} has no predict_topk; use from_predictions.")
    return _wrapped.predict_topk(estimator, X, k)
