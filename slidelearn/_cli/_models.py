"""Model files."""

from __future__ import annotations

import os
from traceback import format_exception_only

import joblib
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from .._classifier import SlideClassifier
from .._files import replacing
from .._safetensors import is_safetensors
from .._state import WrongFormatError
from ._errors import UserError, about, one_line


def save_model(model: SlideClassifier, path: str) -> int:
    """Write a model by joblib, whole or not at all; return its size in bytes."""
    model.set_params(n_jobs=None, verbose=0)
    with replacing(path) as stream:
        joblib.dump(model, stream)
    return os.path.getsize(path)


def load_model(path: str, n_threads: int) -> SlideClassifier:
    """Read a model that joblib or `SlideClassifier.export` wrote, here or from Python."""
    with about(path):
        exported = is_safetensors(path)
    try:
        model = SlideClassifier.load(path) if exported else joblib.load(path)
    except Exception as error:  # unpickling can raise anything
        what = one_line(error)
        if not isinstance(error, ValueError):  # its message alone may say nothing, as "51"
            what = f"it can't be read ({one_line(''.join(format_exception_only(error)))})"
        if not isinstance(error, WrongFormatError) and not exported:
            what = f"not a model, or a damaged one: {what}"
        raise UserError(what if what.startswith(f"{path}:") else f"{path}: {what}") from error
    if not isinstance(model, SlideClassifier):
        raise UserError(f"{path}: holds a {type(model).__name__}, not a SlideClassifier")
    try:
        check_is_fitted(model)
    except NotFittedError as error:
        raise UserError(f"{path}: the model isn't fitted") from error
    return model.set_params(n_jobs=n_threads)


def is_multilabel(model: SlideClassifier) -> bool:
    """Tell whether the model was fitted to an indicator: its classes are column numbers."""
    return model._target_kind != "labels"


def check_k(k: int | None, model: SlideClassifier) -> None:
    """Raise unless the model has k labels; None leaves their number to the model."""
    n_classes = len(model.classes_)
    if k is not None and k > n_classes:
        raise UserError(f"-k is {k}, but the model has {n_classes} labels")
