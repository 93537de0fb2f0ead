"""A model as one file that is mapped into memory: its arrays, and the rest as JSON.

All that `_state` asks for, except the optimizer's memory and the history of training; column
numbers as classes aren't stored. What is read passes the same checks as a pickle.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np

from . import _safetensors, _state
from ._bfloat16 import DTYPES, as_dtype
from ._history import History
from ._safetensors import Tensor

MMAP_MODES = ("r", "c", None)
ARRAYS = {"calibration": "calibration_", "label_counts": "_label_counts",
          "activation_mean": "_activation_mean"}
RANKER = ("indptr", "indices", "data", "intercept", "penalty")
SCALARS = ("n_features_in_", "t_", "n_iter_", "_seed", "_n_seen", "_target_kind",
           "out_activation_", "loss_", "best_validation_score_")
TABLES = "tables."  # begins the names of hash tables' arrays
MAX_CODE_POINT = 0x10FFFF


def with_dtype(state: dict[str, Any], dtype: str | None) -> dict[str, Any]:
    """Attributes of a fitted estimator, its output layer stored as `dtype` (None: as it is)."""
    if dtype is None:
        return state
    if dtype not in DTYPES:
        raise ValueError(f"dtype must be 'float32', 'bfloat16' or None, got {dtype!r}.")
    *below, output = state["_coefs"]
    if output.dtype != DTYPES[dtype]:
        output = as_dtype(output.T, dtype).T
    return {**state, "dtype": dtype, "_coefs": [*below, output]}


def write_model(path: str | os.PathLike[str], state: dict[str, Any], names: Iterable[str],
                tables: dict[str, np.ndarray]) -> None:
    """Write a file, see `SlideClassifier.export`.

    Parameters
    ----------
    path : str or path-like
    state : dict, the attributes of a fitted estimator
    names : iterable of str, those that are parameters
    tables : dict of str to ndarray, `LSHIndex.tables`, or none
    """
    *below, output = state["_coefs"]
    half = output.dtype == DTYPES["bfloat16"]
    tensors = {"output.weights": Tensor(output.T, "BF16" if half else "F32")}
    for i, weights in enumerate(below):
        tensors[f"hidden.{i}.weights"] = Tensor.of(weights)
    for i, bias in enumerate(state["intercepts_"]):
        name = "output.bias" if i == len(below) else f"hidden.{i}.bias"
        tensors[name] = Tensor.of(bias)
    for name, array in zip(RANKER, state["_ranker"], strict=bool(state["_ranker"])):
        tensors[f"ranker.{name}"] = Tensor.of(array)
    tensors |= {name: Tensor.of(state[attribute]) for name, attribute in ARRAYS.items()}
    tensors |= {f"{TABLES}{name}": Tensor.of(array) for name, array in tables.items()}
    texts = {}
    if state["_target_kind"] == "labels":
        tensors["classes"], texts["classes"] = _stored("classes_", state["classes_"])
    if "feature_names_in_" in state:
        tensors["feature_names"], texts["feature_names"] = _stored("feature_names_in_",
                                                                   state["feature_names_in_"])
    model = {"parameters": {name: value for name, value in
                            ((name, _plain(state[name])) for name in names)
                            if value is not NotImplemented},
             "attributes": {name: state[name] for name in SCALARS}, "texts": texts}
    stamps = _state.stamped({})
    metadata = {"slidelearn": json.dumps(model), **{name: str(v) for name, v in stamps.items()}}
    _safetensors.write(path, tensors, metadata)


def read_model(path: str | os.PathLike[str], mmap_mode: Literal["r", "c"] | None,
               estimator: Any) -> None:
    """Give a new `estimator` the state in a file.

    Raises
    ------
    ValueError
        The file isn't one that `write_model` wrote, or is damaged.
    """
    if mmap_mode not in MMAP_MODES:
        raise ValueError(f"mmap_mode must be 'r', 'c' or None, got {mmap_mode!r}.")
    try:
        tensors, metadata = _safetensors.read(path, mmap_mode)
        if "slidelearn" not in metadata:
            raise ValueError("SlideClassifier.export didn't write it.")
        number: Any = metadata.get(_state.FORMAT_STAMP)
        number = int(number) if number is not None and number.isdecimal() else number
        _state.check_format(number, metadata.get(_state.VERSION_STAMP))
        estimator.__setstate__(_state_of(tensors, metadata["slidelearn"],
                                         estimator.get_params(deep=False)))
        tables = {name.removeprefix(TABLES): tensor.array for name, tensor in tensors.items()
                  if name.startswith(TABLES)}
        if tables:
            estimator._adopt_tables(tables)
    except _state.WrongFormatError as error:
        raise _state.WrongFormatError(f"{os.fspath(path)}: {error}") from None
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)}: not an exported model, or a damaged one: {error}"
                         ) from error


def _state_of(tensors: dict[str, Tensor], text: str, defaults: dict[str, Any]) -> dict[str, Any]:
    """What a pickle would hold; `defaults`: parameters that the file may lack."""
    try:
        model = json.loads(text)
        parameters, attributes, texts = (dict(model[name]) for name in
                                         ("parameters", "attributes", "texts"))
        state = {**defaults, **parameters, **{name: attributes[name] for name in SCALARS}}
        n_hidden = sum(name.startswith("hidden.") for name in tensors) // 2
        layers = [*(f"hidden.{i}" for i in range(n_hidden)), "output"]
        state |= {
            "_coefs": [tensors[f"{name}.weights"].array for name in layers],
            "intercepts_": [tensors[f"{name}.bias"].array for name in layers],
            "_ranker": ([tensors[f"ranker.{name}"].array for name in RANKER]
                        if "ranker.indptr" in tensors else []),
            **{attribute: tensors[name].array for name, attribute in ARRAYS.items()},
        }
        output = tensors["output.weights"]
        if output.dtype not in ("F32", "BF16") or output.array.ndim != 2:
            raise ValueError("output.weights must be a matrix of F32 or BF16.")
        state["classes_"] = (_restored(tensors["classes"], texts["classes"])
                             if state["_target_kind"] == "labels"
                             else np.arange(len(output.array)))
        if "feature_names" in tensors:
            state["feature_names_in_"] = _restored(tensors["feature_names"],
                                                   texts["feature_names"])
    except KeyError as error:
        raise ValueError(f"{error} is missing.") from error
    except (TypeError, RecursionError) as error:
        raise ValueError(f"its description is malformed ({error}).") from error
    unknown = set(parameters) - set(defaults)
    if unknown:
        raise ValueError(f"{min(unknown)!r} is no parameter.")
    state["_coefs"][-1] = output.array.T
    if isinstance(state["hidden_layer_sizes"], list):
        state["hidden_layer_sizes"] = tuple(state["hidden_layer_sizes"])
    return _state.stamped({
        **state, "_optimizer_state": [], "history_": History({}).table, "loss_curve_": [],
        "validation_scores_": None, "_index": None, "_pruning": None,
    })


def _plain(value: object) -> Any:
    """A parameter as JSON has it, or NotImplemented."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, tuple | list | np.ndarray):
        items = [_plain(item) for item in value]
        return NotImplemented if NotImplemented in items else items
    return NotImplemented


def _stored(name: str, labels: np.ndarray) -> tuple[Tensor, str]:
    """Labels as a tensor, and their dtype: strings are matrices of code points."""
    dtype = labels.dtype.str
    if labels.dtype == object and all(isinstance(label, str) for label in labels):
        objects, labels = labels, labels.astype(str)
        if not (labels == objects).all():
            raise ValueError(f"{name} has strings that end in a null character.")
    if labels.dtype.kind == "U" and labels.dtype.itemsize:
        points = np.ascontiguousarray(labels).view(np.uint32).reshape(len(labels), -1)
        return Tensor.of(points), dtype
    if labels.dtype not in _safetensors.NAMES:
        others = " with others than strings" if labels.dtype == object else ""
        raise ValueError(f"{name} has dtype {labels.dtype}{others}, which can't be exported: "
                         "only booleans, integers, floats of at most 64 bits, and strings can.")
    return Tensor.of(labels), dtype


def _restored(tensor: Tensor, dtype: str) -> np.ndarray:
    array = tensor.array
    if dtype == array.dtype.str:
        return array
    if array.dtype != np.uint32 or array.ndim != 2 or array.size == 0:
        raise ValueError("labels must be numbers, or strings as a matrix of U32.")
    if array.max() > MAX_CODE_POINT:
        raise ValueError(f"a label has the character {array.max()}.")
    labels = array.view(f"<U{array.shape[1]}").ravel()
    return labels.astype(object) if dtype == "|O" else labels
