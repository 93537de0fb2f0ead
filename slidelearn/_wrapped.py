"""The model inside of scikit-learn's Pipeline and searches, which don't pass `predict_topk` on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def _layers(estimator: Any) -> Iterator[Any]:
    """An estimator, then the one inside: the best of a search, the last step of a Pipeline; ..."""
    while True:
        yield estimator
        if hasattr(estimator, "predict_topk"):
            return
        if hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
        elif getattr(estimator, "steps", None):
            estimator = estimator.steps[-1][1]
        else:
            return


def model_inside(estimator: Any) -> Any:
    """What a Pipeline or a fitted search ends in; any other estimator as it is."""
    *_, model = _layers(estimator)
    return model


def predict_topk(estimator: Any, X: Any, k: int | None) -> Any:
    """Labels of ``predict_topk(X, k)``, through all steps before the model that has it.

    Raises
    ------
    TypeError
        No `predict_topk` there.
    """
    *wrappers, model = _layers(estimator)
    if not hasattr(model, "predict_topk"):
        raise TypeError(f"{type(model).__name__} has no predict_topk.")
    for wrapper in wrappers:
        if len(getattr(wrapper, "steps", ())) > 1:
            X = wrapper[:-1].transform(X)
    return model.predict_topk(X, k=k)[0]
