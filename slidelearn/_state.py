"""The state of a fitted model: checked before kernels, which trust shapes and dtypes, see it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from ._bfloat16 import DTYPES, all_finite, as_dtype, as_float32
from ._history import check_history
from ._network import Layer, Network, parts
from ._ranker import Ranker

SCALARS = {"t_": int, "n_iter_": int, "_seed": int, "_n_seen": float, "_target_kind": str,
           "out_activation_": str}
TARGET_KINDS = ("labels", "dense", "matrix", "array")
OUT_ACTIVATIONS = ("softmax", "logistic")


def check_state(state: dict[str, Any]) -> None:
    """Raise ValueError unless the attributes of a fitted model fit together."""
    try:
        network = as_network(state)
        _check_array("calibration_", state["calibration_"], (4,), np.float64)
        _check_array("_label_counts", state["_label_counts"], state["classes_"].shape, np.float64)
        _check_array("_activation_mean", state["_activation_mean"],
                     (network.output.weights.shape[1],))
        _check_optimizer_state(state["_optimizer_state"], network)
        _check_ranker(state["_ranker"], len(state["classes_"]), state["n_features_in_"])
        check_history(state["history_"])
        for name, kind in SCALARS.items():
            if type(state[name]) is not kind:
                raise ValueError(f"{name} must be of type {kind.__name__}, found "
                                 f"{type(state[name]).__name__}.")
    except KeyError as error:
        raise ValueError(f"The fitted model has no attribute {error}.") from error
    if state["_target_kind"] not in TARGET_KINDS:
        raise ValueError(f"_target_kind must be one of {TARGET_KINDS}, found "
                         f"{state['_target_kind']!r}.")
    if state["out_activation_"] not in OUT_ACTIVATIONS:
        raise ValueError(f"out_activation_ must be one of {OUT_ACTIVATIONS}, found "
                         f"{state['out_activation_']!r}.")
    if min(state["t_"], state["n_iter_"], state["_seed"]) < 0 or state["_seed"] >= 2**64:
        raise ValueError("t_, n_iter_ and _seed must not be negative, nor _seed exceed 64 bits.")


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


def resumed(network: Network, solver: str, dtype: str, saved: list[list[np.ndarray]]) -> Network:
    """A copy of `network` to be trained further, its output layer stored as `dtype`.

    Parameters are copied, so that the model survives whatever happens to the copy; the optimizer's
    memory is not, and starts empty if `saved` is that of another solver or dtype.
    """
    *below, output = network.layers
    layers = [Layer(layer.weights.copy(), layer.bias.copy()) for layer in below]
    layers.append(Layer(as_dtype(output.weights, dtype), output.bias.copy()))
    n_kept = {"adam": 2, "adagrad": 1, "sgd": 0}[solver]
    fits = len(saved) == len(layers) and output.weights.dtype == DTYPES[dtype] and n_kept == sum(
        array.shape == layers[0].weights.shape for array in saved[0][:2])
    for i, layer in enumerate(layers):
        if fits:
            layer.weights_m, layer.weights_v, layer.bias_m, layer.bias_v = saved[i]
        else:
            layer.reset_state(solver)
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


def _check_optimizer_state(saved: list[list[np.ndarray]], network: Network) -> None:
    if len(saved) not in (0, len(network.layers)):
        raise ValueError(f"_optimizer_state must have one entry for each of the "
                         f"{len(network.layers)} layers or none, found {len(saved)}.")
    kept = None
    for i, arrays in enumerate(saved):
        layer = network.layers[i]
        if len(arrays) != 4:
            raise ValueError(f"_optimizer_state[{i}] must have 4 arrays, found {len(arrays)}.")
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
    if indptr[0] != 0 or np.any(np.diff(indptr) < 0):
        raise ValueError("_ranker[0] must rise from 0.")
    _check_array("_ranker[1]", indices, (int(indptr[-1]),), np.int32)
    _check_array("_ranker[2]", data, (int(indptr[-1]),))
    _check_array("_ranker[3]", intercept, (n_classes,))
    _check_array("_ranker[4]", penalty, (1,))
    if not 0 <= penalty[0] < np.inf:
        raise ValueError(f"_ranker[4] must not be negative, found {penalty[0]}.")
    if len(indices) and (indices.min() < 0 or indices.max() >= n_features):
        raise ValueError(f"_ranker[1] has a feature outside of [0, {n_features}).")


def _check_array(name: str, array: object, shape: tuple[int, ...], dtype: DTypeLike = np.float32,
                 order: str = "C") -> None:
    found = (f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray)
             else type(array).__name__)
    if not isinstance(array, np.ndarray) or array.dtype != dtype or array.shape != shape:
        raise ValueError(f"{name} must be an array of {np.dtype(dtype)} {shape}, found {found}.")
    flags = array.flags
    if not (flags.aligned and (flags.f_contiguous if order == "F" else flags.c_contiguous)):
        raise ValueError(f"{name} must be contiguous in {order} order, and aligned.")
