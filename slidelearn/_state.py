"""The state of a model: stamped when it is saved, and checked, when it is read, before kernels,
which trust shapes, dtypes and indices, see it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from . import _memory
from ._bfloat16 import DTYPES, all_finite, as_dtype, as_float32
from ._history import check_history
from ._network import STATE_OF_SOLVER, Layer, Network, parts
from ._ranker import Ranker
from ._validation import rows_ascend
from ._version import __version__

# Of saved states. It rises when what is saved changes so that one of the two, the slidelearn before
# and the one after, would misread the other's files.
FORMAT = 1
STAMPS = FORMAT_STAMP, VERSION_STAMP = "_slidelearn_format", "_slidelearn_version"
TYPES = {"_coefs": list, "intercepts_": list, "_optimizer_state": list, "_ranker": list,
         "n_features_in_": int, "t_": int, "_state_start": int, "n_iter_": int, "_seed": int,
         "_n_seen": float, "_target_kind": str, "out_activation_": str, "loss_": float,
         "loss_curve_": list}
FITTED = (*TYPES, "classes_", "calibration_", "_label_counts", "_activation_mean", "history_",
          "validation_scores_", "best_validation_score_")
TARGET_KINDS = ("labels", "dense", "matrix", "array")
OUT_ACTIVATIONS = ("softmax", "logistic")
LIMITS = {"t_": 2**53, "n_iter_": 2**53, "_seed": 2**64}


class WrongFormatError(ValueError):
    """A model was saved by a slidelearn with another `FORMAT`."""


def stamped(state: dict[str, Any]) -> dict[str, Any]:
    """Attributes of an estimator as they are saved."""
    return {**{name: _unmapped(value) for name, value in state.items()},
            FORMAT_STAMP: FORMAT, VERSION_STAMP: __version__}


def _unmapped(value: Any) -> Any:
    """Plain arrays for mapped ones, without a copy: skops doesn't trust `numpy.memmap`."""
    if isinstance(value, list):
        return [_unmapped(item) for item in value]
    return np.asarray(value) if isinstance(value, np.memmap) else value


def unstamped(saved: object, estimator_class: type) -> dict[str, Any]:
    """Attributes of an estimator, fitted or not, from what was saved.

    Raises
    ------
    ValueError
        They were saved in another `FORMAT`, don't fit together, or something is missing.
    """
    if not isinstance(saved, dict):
        raise ValueError(f"A saved model must be a dict, found {type(saved).__name__}.")
    check_format(saved.get(FORMAT_STAMP), saved.get(VERSION_STAMP))
    state = {name: value for name, value in saved.items() if name not in STAMPS}
    for name in estimator_class._get_param_names():  # type: ignore[attr-defined]
        if name not in state:
            raise ValueError(f"The saved model has no parameter {name!r}.")
    hidden = next((name for name in state if callable(getattr(estimator_class, name, None))), None)
    if hidden is not None:
        raise ValueError(f"The saved model has an attribute {hidden!r}, which must be a method.")
    if "t_" in state:
        state.setdefault("_state_start", 0)  # which older files lack
    if any(name in state for name in FITTED if name != "n_features_in_"):
        check_state(state)
    return state


def check_format(found: object, version: object) -> None:
    """Raise ValueError unless a file in the format `found`, by slidelearn `version`, can be read
    here."""
    if type(found) is int and found == FORMAT:
        return
    if found is None:
        writer, cure = "by a slidelearn from before formats were numbered", "its slidelearn"
    else:
        writer, cure = f"by slidelearn {version} in format {found}", f"slidelearn {version}"
    raise WrongFormatError(
        f"This model was saved {writer}; slidelearn {__version__} reads format {FORMAT} only. Load "
        f"it with {cure}, or fit it again.")


def check_state(state: dict[str, Any]) -> None:
    """Raise ValueError unless the attributes of a fitted model fit together."""
    missing = next((name for name in FITTED if name not in state), None)
    if missing is not None:
        raise ValueError(f"The fitted model has no attribute {missing!r}.")
    for name, kind in TYPES.items():
        if type(state[name]) is not kind:
            raise ValueError(f"{name} must be of type {kind.__name__}, found "
                             f"{type(state[name]).__name__}.")
    for name, allowed in (("_target_kind", TARGET_KINDS), ("out_activation_", OUT_ACTIVATIONS)):
        if state[name] not in allowed:
            raise ValueError(f"{name} must be one of {allowed}, found {state[name]!r}.")
    limits = LIMITS | {"_state_start": state["t_"] + 1}
    for name, limit in limits.items():
        if not 0 <= state[name] < limit:
            raise ValueError(f"{name} must be in [0, {limit}), found {state[name]}.")
    network = as_network(state)
    for i, bias in enumerate(state["intercepts_"]):
        _check_finite(f"intercepts_[{i}]", bias)
    _check_classes(state["classes_"], state["_target_kind"])
    _check_feature_names(state)
    _check_counts(state)
    _check_calibration(state["calibration_"])
    _check_array("_activation_mean", state["_activation_mean"], (network.output.weights.shape[1],))
    _check_finite("_activation_mean", state["_activation_mean"])
    _check_optimizer_state(state["_optimizer_state"], network)
    _check_ranker(state["_ranker"], len(state["classes_"]), state["n_features_in_"])
    check_history(state["history_"])


def as_network(state: dict[str, Any]) -> Network:
    """The fitted parameters as layers, without a copy.

    Raises
    ------
    ValueError
        An array of ``_coefs`` or ``intercepts_`` is not a contiguous float32 array (the weights of
        the output layer: or bfloat16) of the shape that its neighbours, ``n_features_in_`` and
        ``classes_`` demand.
    """
    coefs, intercepts, classes = state["_coefs"], state["intercepts_"], state["classes_"]
    if len(coefs) != len(intercepts) or len(coefs) < 2:
        raise ValueError(f"coefs_ and intercepts_ must have one entry a layer, at least two; found "
                         f"{len(coefs)} and {len(intercepts)}.")
    if not isinstance(classes, np.ndarray) or classes.ndim != 1 or len(classes) == 0:
        raise ValueError("classes_ must be a non-empty 1-D array.")
    widths = [state["n_features_in_"], *(np.size(bias) for bias in intercepts)]
    if min(widths) < 1:
        raise ValueError(f"Layers must have a positive width, found {widths}.")
    if widths[-1] != len(classes):
        raise ValueError(f"The output layer has {widths[-1]} neurons for {len(classes)} classes.")
    last = len(coefs) - 1
    for i, (weights, bias) in enumerate(zip(coefs, intercepts, strict=True)):
        half = i == last and getattr(weights, "dtype", None) == DTYPES["bfloat16"]
        _check_array(f"coefs_[{i}]", weights, (widths[i], widths[i + 1]),
                     DTYPES["bfloat16" if half else "float32"], order="F" if i == last else "C")
        _check_array(f"intercepts_[{i}]", bias, (widths[i + 1],))
    return Network([Layer(weights.T if i == last else weights, bias)
                    for i, (weights, bias) in enumerate(zip(coefs, intercepts, strict=True))])


def as_ranker(state: dict[str, Any]) -> Ranker | None:
    """The linear rankers of a fitted model, without a copy; None if it has none."""
    if not state["_ranker"]:
        return None
    indptr, indices, data, intercept, penalty = state["_ranker"]
    return Ranker(indptr, indices, data, intercept, state["n_features_in_"], float(penalty[0]))


def as_attributes(network: Network) -> dict[str, list[np.ndarray]]:
    """`_coefs` and `intercepts_` of an estimator, without a copy."""
    *below, output = network.layers
    return {"_coefs": [*(layer.weights for layer in below), output.weights.T],
            "intercepts_": [layer.bias for layer in network.layers]}


def public_coefs(coefs: list[np.ndarray]) -> tuple[np.ndarray, ...]:
    """`coefs_` of an estimator: read-only views, or a copy where bfloat16 becomes float32.

    What follows from the weights (codes of the exact search, hash tables) couldn't know of a write.
    """
    *below, output = coefs
    views = [array.view() for array in (*below, as_float32(output.T).T)]
    for view in views:
        view.flags.writeable = False
    return tuple(views)


def optimizer_state(network: Network) -> list[list[np.ndarray]]:
    """What an optimizer remembers, in the form in which models keep it."""
    return [[layer.weights_m, layer.weights_v, layer.bias_m, layer.bias_v]
            for layer in network.layers]


def read_only(network: Network, saved: list[list[np.ndarray]]) -> bool:
    """Whether any parameter, or any array of the optimizer's `saved` state, can't be written."""
    arrays = [array for layer in network.layers for array in (layer.weights, layer.bias)]
    arrays += [array for layer in saved for array in layer]
    return not all(array.flags.writeable for array in arrays)


def fits(saved: list[list[np.ndarray]], network: Network, solver: str, dtype: str) -> bool:
    """Whether `saved` is what `solver` remembers of a network with an output layer of `dtype`."""
    if not saved or network.output.weights.dtype != DTYPES[dtype]:
        return False
    return STATE_OF_SOLVER[solver] == tuple(array.size > 0 for array in saved[0][:2])


def resumed(network: Network, solver: str, dtype: str, saved: list[list[np.ndarray]],
            n_threads: int) -> Network:
    """A copy of `network` to be trained further, its output layer stored as `dtype`.

    Parameters are copied, so that the model survives whatever happens to the copy; the optimizer's
    memory is not (unless a file or a pickle left it off the cache lines). `saved` is that memory,
    which `fits`; or there is none, and it starts empty.
    """
    *below, output = network.layers
    layers = [Layer(_memory.copy(layer.weights, n_threads), layer.bias.copy()) for layer in below]
    layers.append(Layer(as_dtype(output.weights, dtype, n_threads), output.bias.copy()))
    for i, layer in enumerate(layers):
        if saved:
            layer.weights_m, layer.weights_v = map(_memory.aligned, saved[i][:2])
            layer.bias_m, layer.bias_v = saved[i][2:]
        else:
            layer.reset_state(solver, n_threads)
    return Network(layers)


def check_finite(network: Network) -> None:
    """Raise ValueError if a parameter is not finite."""
    for i, layer in enumerate(network.layers):
        for name, array in (("coefs_", layer.weights), ("intercepts_", layer.bias)):
            if not _finite(array):
                raise ValueError(f"Training diverged: {name}[{i}] has non-finite entries. Lower "
                                 "learning_rate_init or scale X.")


def _finite(array: np.ndarray) -> bool:
    if array.dtype == DTYPES["bfloat16"]:
        return all(all_finite(part) for part in parts(array))
    with np.errstate(over="ignore", invalid="ignore"):
        total = array.sum()  # a finite sum is quick proof; an overflow proves nothing
    return bool(np.isfinite(total) or np.isfinite(array).all())


def _check_classes(classes: np.ndarray, kind: str) -> None:
    """Ascending: labels are looked up by bisection, and what that finds is a row of the network."""
    if kind != "labels":
        if classes.dtype.kind != "i" or not np.array_equal(classes, np.arange(len(classes))):
            raise ValueError("classes_ of an indicator must be the column numbers from 0.")
        return
    try:
        ascending = bool((classes[:-1] < classes[1:]).all())
    except (TypeError, ValueError):  # incomparable objects
        ascending = False
    if not ascending or (classes.dtype.kind in "fc" and not np.isfinite(classes).all()):
        raise ValueError("classes_ must be distinct labels in ascending order.")


def _check_feature_names(state: dict[str, Any]) -> None:
    names = state.get("feature_names_in_")
    if names is None:
        return
    _check_array("feature_names_in_", names, (state["n_features_in_"],), object)
    if not all(isinstance(name, str) for name in names):
        raise ValueError("feature_names_in_ must be strings.")


def _check_counts(state: dict[str, Any]) -> None:
    counts = state["_label_counts"]
    _check_array("_label_counts", counts, state["classes_"].shape, np.float64)
    _check_finite("_label_counts", counts)
    if counts.min() < 0 or not 0 < state["_n_seen"] < np.inf:
        raise ValueError("_label_counts and _n_seen must be finite numbers that aren't negative.")


def _check_calibration(line: np.ndarray) -> None:
    _check_array("calibration_", line, (4,), np.float64)
    _check_finite("calibration_", line)
    if min(line[2:]) <= 0:
        raise ValueError(f"calibration_ must have positive slopes, found {line[2]} and {line[3]}.")


def _check_finite(name: str, array: np.ndarray) -> None:
    if not _finite(array):
        raise ValueError(f"{name} must be finite.")


def _check_optimizer_state(saved: list[list[np.ndarray]], network: Network) -> None:
    if len(saved) not in (0, len(network.layers)):
        raise ValueError(f"_optimizer_state must have one entry for each of the "
                         f"{len(network.layers)} layers or none, found {len(saved)}.")
    kept = None
    for i, arrays in enumerate(saved):
        layer = network.layers[i]
        if type(arrays) is not list or len(arrays) != 4:
            raise ValueError(f"_optimizer_state[{i}] must be a list of 4 arrays.")
        present = [np.size(array) > 0 for array in arrays]
        kept = present if kept is None else kept
        if present != kept or present[:2] != present[2:]:
            raise ValueError(f"_optimizer_state[{i}] has arrays that other layers lack.")
        for j, array in enumerate(arrays):
            parameter = layer.weights if j < 2 else layer.bias
            shape = parameter.shape if present[j] else (0,) * parameter.ndim
            _check_array(f"_optimizer_state[{i}][{j}]", array, shape, parameter.dtype)


def _check_ranker(arrays: list[np.ndarray], n_classes: int, n_features: int) -> None:
    if len(arrays) not in (0, 5):
        raise ValueError(f"_ranker must have 5 arrays or none, found {len(arrays)}.")
    if not arrays:
        return
    indptr, indices, data, intercept, penalty = arrays
    _check_array("_ranker[0]", indptr, (n_classes + 1,), np.int64)
    if indptr[0] != 0 or np.any(indptr[1:] < indptr[:-1]):  # a difference might overflow
        raise ValueError("_ranker[0] must rise from 0.")
    _check_array("_ranker[1]", indices, (int(indptr[-1]),), np.int32)
    _check_array("_ranker[2]", data, (int(indptr[-1]),))
    _check_array("_ranker[3]", intercept, (n_classes,))
    _check_array("_ranker[4]", penalty, (1,))
    if not 0 <= penalty[0] < np.inf:
        raise ValueError(f"_ranker[4] must not be negative, found {penalty[0]}.")
    if len(indices) and (indices.min() < 0 or indices.max() >= n_features):
        raise ValueError(f"_ranker[1] has a feature outside of [0, {n_features}).")
    if not rows_ascend(indptr, indices):  # features are found by bisection
        raise ValueError("_ranker[1] must ascend within each class.")


def _check_array(name: str, array: Any, shape: tuple[int, ...], dtype: DTypeLike = np.float32,
                 order: str = "C") -> None:
    plain = type(array) in (np.ndarray, np.memmap)  # others may redefine what an index means
    found = f"{array.dtype} {array.shape}" if plain else type(array).__name__
    if not plain or array.dtype != dtype or array.shape != shape:
        raise ValueError(f"{name} must be an array of {np.dtype(dtype)} {shape}, found {found}.")
    flags = array.flags
    if not (flags.aligned and (flags.f_contiguous if order == "F" else flags.c_contiguous)):
        raise ValueError(f"{name} must be contiguous in {order} order, and aligned.")
