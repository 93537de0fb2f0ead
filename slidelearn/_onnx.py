"""`predict_topk` of a fitted model as an ONNX graph of standard operators.

The graph is written in ONNX's text syntax, which `onnx.parser` reads; arrays are added to it as
initialisers. Work is done on the nonzeros of X, one after the other, and sums over the nonzeros of
a row are differences of running sums in double precision: the obvious ScatterND with addition loses
some where onnxruntime runs it in several threads.

The linear rankers need the weight of a (class, feature) pair. All pairs are numbered
``class * n_features + feature``, ascending in the order in which rankers are stored, and looked up
by bisection (`_lookup`), which is unrolled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ._bfloat16 import DTYPES
from ._network import Network
from ._ranker import MAX_LOSS, Ranker
from ._version import __version__

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET, IR_VERSION = 18, 8  # read by onnxruntime 1.14 and newer
MAX_BYTES = 2**31 - 2**20  # of arrays: protobuf allows 2 GiB a message

DENSE = "float[N, {n_features}] X"
SPARSE = "int64[N_plus_1] indptr, int64[nnz] indices, float[nnz] data"
# Of dense X: row, feature and value of each nonzero, and where the rows start.
NONZEROS = """
    places = NonZero(X)
    entries = Transpose(places)
    data = GatherND(X, entries)
    row, column = Split<axis = 0, num_outputs = 2>(places)
    entry_row = Squeeze(row, axis0)
    indices = Squeeze(column, axis0)
    there = Cast<to = 9>(X)
    n_there = Cast<to = 7>(there)
    counts = ReduceSum<keepdims = 0>(n_there, axis1)
    ends = CumSum(counts, zero)
    indptr = Concat<axis = 0>(zero_list, ends)
"""
ENTRY_ROWS = """
    starts = Slice(indptr, one_list, minus_one_list)
    start_shape = Shape(starts)
    ones = Expand(one_list, start_shape)
    nnz = Shape(data)
    nnz_and_one = Add(nnz, one_list)
    none = ConstantOfShape<value = int64[1] {0}>(nnz_and_one)
    starting = ScatterElements<reduction = "add">(none, starts, ones)
    row_of_each = CumSum(starting, zero)
    entry_row = Slice(row_of_each, zero_list, minus_one_list)
"""
SPARSE_HIDDEN = """
    feature_rows = Gather(weights_0, indices)
    column_data = Unsqueeze(data, axis1)
    hidden_terms = Mul(feature_rows, column_data)
    {sums}
    layer_0 = Add(hidden_sums, bias_0)
"""
# Sums of `{0}_terms` (nnz, M) over the nonzeros of each row, (N, M).
SUMS = """
    {0}_exact = Cast<to = 11>({0}_terms)
    {0}_running = CumSum({0}_exact, zero)
    {0}_padded = Pad({0}_running, one_row_before)
    {0}_at = Gather({0}_padded, indptr)
    {0}_before = Slice({0}_at, zero_list, minus_one_list)
    {0}_after = Slice({0}_at, one_list, last_list)
    {0}_difference = Sub({0}_after, {0}_before)
    {0}_sums = Cast<to = 1>({0}_difference)
"""
RERANKED = """
    found_logits, found = TopK(logits, n_found)
    listed = Slice(found, zero_list, n_listed, axis1)
    listed_logits = Slice(found_logits, zero_list, n_listed, axis1)
    other_logits = Slice(found_logits, n_listed, n_found, axis1)
    {lookup}
    entry_value = Unsqueeze(data, axis1)
    ranker_terms = Mul(weight, entry_value)
    {sums}
    offset = Gather(ranker_bias, listed)
    response = Add(ranker_sums, offset)
    missing = Sub(one_float, response)
    loss = Clip(missing, no_loss, most_loss)
    lost = Mul(loss, penalty)
    listed_scores = Sub(listed_logits, lost)
    other_scores = Sub(other_logits, worst)
    found_scores = Concat<axis = 1>(listed_scores, other_scores)
    by_class, order = TopK<largest = 0>(found, n_found)
    ordered_scores = GatherElements<axis = 1>(found_scores, order)
    best_scores, best_place = TopK(ordered_scores, k)
    best = GatherElements<axis = 1>(by_class, best_place)
"""
CALIBRATED = """
    exact = Cast<to = 11>(best_scores)
    distance = Sub(exact, knot)
    is_below = Less(distance, zero_double)
    slope = Where(is_below, slope_below, slope_above)
    rise = Mul(slope, distance)
    scores = Add(rise, knot_value)
"""


def to_onnx(network: Network, ranker: Ranker | None, calibration: np.ndarray,
            classes: np.ndarray | None, n_features: int, k: int, sparse: bool) -> ModelProto:
    """The graph, see `SlideClassifier.to_onnx`.

    Parameters
    ----------
    network, ranker, calibration : of the model
    classes : ndarray of shape (n_classes,) or None
        Labels; None if they are column numbers.
    n_features, k : int
    sparse : bool
    """
    try:
        import onnx
    except ImportError as error:
        raise ImportError("to_onnx needs the package onnx: pip install 'slidelearn[onnx]'."
                          ) from error
    graph, arrays = _graph(network, ranker, n_features, k, sparse)
    arrays |= _constants(calibration, k)
    label_type = "int64"
    if classes is None:
        graph += "labels = Identity(best)\n"
    else:
        arrays["classes"] = _label_array(classes)
        label_type = _type_name(arrays["classes"])
        graph += "labels = Gather(classes, best)\n"
    n_bytes = sum(array.nbytes for array in arrays.values() if array.dtype != object)
    if n_bytes > MAX_BYTES:
        raise ValueError(f"The model has arrays of {n_bytes / 2**30:.1f} GiB, but an ONNX file "
                         "holds at most 2 GiB. dtype='bfloat16' makes it smaller; `export` has no "
                         "limit.")
    inputs = SPARSE if sparse else DENSE.format(n_features=n_features)
    model = onnx.parser.parse_model(
        f'<ir_version: {IR_VERSION}, opset_import: ["" : {OPSET}], producer_name: "slidelearn", '
        f'producer_version: "{__version__}">\n'
        f"predict_topk ({inputs}) => ({label_type}[N, {k}] labels, double[N, {k}] scores) {{\n"
        f"{graph}}}")
    used = {name for node in model.graph.node for name in node.input}
    for name, array in arrays.items():
        if name in used:
            model.graph.initializer.append(_tensor(onnx, name, array))
    return model


def _graph(network: Network, ranker: Ranker | None, n_features: int, k: int,
           sparse: bool) -> tuple[str, dict[str, np.ndarray]]:
    """Operators from X to `best`, the classes, and `scores`; and the arrays of the model."""
    arrays: dict[str, np.ndarray] = {}
    last = len(network.layers) - 1
    for i, layer in enumerate(network.layers):
        arrays[f"weights_{i}"], arrays[f"bias_{i}"] = layer.weights, layer.bias
    graph = ""
    if sparse:
        graph += "" if ranker is None else ENTRY_ROWS
        graph += SPARSE_HIDDEN.format(sums=SUMS.format("hidden"))
    else:
        graph += "layer_0 = Gemm(X, weights_0, bias_0)\n"
        graph += "" if ranker is None else NONZEROS
    for i in range(1, last):
        graph += f"hidden_{i - 1} = Relu(layer_{i - 1})\n"
        graph += f"layer_{i} = Gemm(hidden_{i - 1}, weights_{i}, bias_{i})\n"
    graph += f"hidden = Relu(layer_{last - 1})\n"
    output = f"weights_{last}"
    if network.output.weights.dtype == DTYPES["bfloat16"]:
        graph += f"output_weights = Cast<to = 1>({output})\n"
        output = "output_weights"
    graph += f"logits = Gemm<transB = 1>(hidden, {output}, bias_{last})\n"
    if ranker is None:
        graph += "best_scores, best = TopK(logits, k)\n"
    else:
        lookup, more = _lookup(ranker, n_features)
        graph += RERANKED.format(lookup=lookup, sums=SUMS.format("ranker"))
        arrays |= more
        arrays["n_found"] = np.array([max(k, ranker.shortlist_size)])
    return graph + CALIBRATED, arrays


def _lookup(ranker: Ranker, n_features: int) -> tuple[str, dict[str, np.ndarray]]:
    """`weight` (nnz, M): of the feature of each nonzero, in the rankers of the M classes that are
    listed for its sample."""
    counts = np.diff(ranker.indptr)
    n_steps = int(counts.max(initial=0)).bit_length()
    room = 2**n_steps  # what the bisection may look at behind the last pair
    keys = np.repeat(np.arange(len(counts)) * n_features, counts) + ranker.indices
    arrays: dict[str, Any] = {
        "pairs": np.concatenate([keys, np.full(room, np.iinfo(np.int64).max)]),
        "pair_weights": np.concatenate([ranker.data, np.zeros(room, np.float32)]),
        "pair_starts": ranker.indptr[:-1], "ranker_bias": ranker.intercept,
        "n_features": np.array(n_features), "n_listed": np.array([ranker.shortlist_size]),
        "penalty": np.float32(ranker.penalty), "worst": ranker.worst,
        "most_loss": np.float32(MAX_LOSS), "no_loss": np.float32(0), "one_float": np.float32(1),
        "no_weight": np.float32(0),
    }
    lines = ["class_base = Mul(listed, n_features)",
             "entry_base = Gather(class_base, entry_row)",
             "entry_feature = Unsqueeze(indices, axis1)",
             "wanted = Add(entry_base, entry_feature)",
             "class_start = Gather(pair_starts, listed)",
             f"place_{n_steps} = Gather(class_start, entry_row)"]
    for step in reversed(range(n_steps)):
        arrays[f"step_{step}"] = np.array(2**step)
        lines += [f"next_{step} = Add(place_{step + 1}, step_{step})",
                  f"pair_{step} = Gather(pairs, next_{step})",
                  f"not_after_{step} = LessOrEqual(pair_{step}, wanted)",
                  f"place_{step} = Where(not_after_{step}, next_{step}, place_{step + 1})"]
    lines += ["pair = Gather(pairs, place_0)", "is_pair = Equal(pair, wanted)",
              "found_weight = Gather(pair_weights, place_0)",
              "weight = Where(is_pair, found_weight, no_weight)"]
    return "\n    ".join(lines), arrays


def _constants(calibration: np.ndarray, k: int) -> dict[str, np.ndarray]:
    """Small arrays that any graph may name."""
    scalars = dict(zip(("knot", "knot_value", "slope_below", "slope_above"), calibration,
                       strict=True), zero_double=0.0)
    return {
        **{name: np.array(value, np.float64) for name, value in scalars.items()},
        "zero": np.array(0), "k": np.array([k]), "one_row_before": np.array([1, 0, 0, 0]),
        "zero_list": np.array([0]), "one_list": np.array([1]), "minus_one_list": np.array([-1]),
        "last_list": np.array([np.iinfo(np.int64).max]), "axis0": np.array([0]),
        "axis1": np.array([1]),
    }


def _label_array(classes: np.ndarray) -> np.ndarray:
    """Labels as ONNX can hold them: strings as objects."""
    if classes.dtype.kind in "biuf" and classes.dtype.itemsize <= 8:
        return classes
    if classes.dtype.kind == "U" or (classes.dtype.kind == "O"
                                     and all(isinstance(label, str) for label in classes)):
        return classes.astype(object)
    raise ValueError(f"ONNX has no labels of dtype {classes.dtype}: only booleans, integers, "
                     "floats of at most 64 bits, and strings.")


def _type_name(array: np.ndarray) -> str:
    names = {"object": "string", "float32": "float", "float64": "double"}
    return names.get(str(array.dtype), str(array.dtype))


def _tensor(onnx: Any, name: str, array: np.ndarray) -> Any:
    array = np.asarray(array)
    if array.dtype == DTYPES["bfloat16"]:
        return onnx.helper.make_tensor(name, onnx.TensorProto.BFLOAT16, array.shape,
                                       array.tobytes(), raw=True)
    return onnx.numpy_helper.from_array(array, name)
