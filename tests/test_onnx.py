"""`to_onnx`: onnxruntime gives what `predict_topk` gives."""

import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from conftest import small
from sklearn.exceptions import NotFittedError

from slidelearn import SlideClassifier, _onnx
from slidelearn.datasets import load_python_calls

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")

LABELS = {
    "csr": lambda Y: Y, "dense": lambda Y: Y.toarray(),
    "str": lambda Y: np.array([f"étiquette {i}" for i in first_label(Y)]),
    "object": lambda Y: np.array([f"label {i}" for i in first_label(Y)], object),
    "int": lambda Y: 10 * first_label(Y) - 7, "int8": lambda Y: first_label(Y).astype(np.int8) % 99,
    "uint8": lambda Y: first_label(Y).astype(np.uint8),
    "uint64": lambda Y: first_label(Y).astype(np.uint64) + np.uint64(2**64 - 1000),
    "big-endian": lambda Y: first_label(Y).astype(">i4"),
    "float": lambda Y: first_label(Y) * 2.0, "bool": lambda Y: first_label(Y) > 100,
}
SETTINGS = {
    "ranker": {"ranker": "linear"}, "network": {"ranker": None},
    "layers": {"ranker": "linear", "hidden_layer_sizes": (16, 12, 8)},
    "deep network": {"ranker": None, "hidden_layer_sizes": (16, 12)},
    "bfloat16": {"ranker": "linear", "dtype": "bfloat16"},
    "softmax": {"ranker": "linear", "loss": "softmax"},
}


def first_label(Y):
    return np.array([row.indices[0] if row.nnz else 0 for row in Y])


def run(graph, X, sparse, n_threads=2):
    """Outputs of the model, which was written and read again."""
    onnx.checker.check_model(graph, full_check=True)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = n_threads
    options.log_severity_level = 3
    session = runtime.InferenceSession(graph.SerializeToString(), options,
                                       providers=["CPUExecutionProvider"])
    if not sparse:
        return session.run(None, {"X": X.toarray().astype(np.float32)})
    return session.run(None, {"indptr": X.indptr.astype(np.int64),
                              "indices": X.indices.astype(np.int64),
                              "data": X.data.astype(np.float32)})


def assert_agrees(model, X, k, sparse):
    """The same scores, and the same labels where scores differ by more than rounding."""
    expected_labels, expected_scores = model.predict_topk(X, k=k)
    labels, scores = run(model.to_onnx(k, sparse=sparse), X, sparse)
    assert scores.dtype == np.float64
    assert labels.dtype == (object if expected_labels.dtype.kind in "UO"
                            else expected_labels.dtype.newbyteorder("="))
    np.testing.assert_allclose(scores, expected_scores, rtol=1e-4, atol=1e-4)
    same = labels == expected_labels
    near = np.full(same.shape, False)
    ties = np.abs(np.diff(expected_scores)) < 1e-4
    near[:, 1:] |= ties
    near[:, :-1] |= ties
    near[:, -1] = True  # what follows it isn't known
    assert (same | near).all()
    assert same.mean() > 0.99
    return same


@pytest.mark.parametrize("sparse", [True, False])
@pytest.mark.parametrize("setting", SETTINGS)
def test_settings(extreme, setting, sparse):
    X, Y = extreme[0][:1000], extreme[1][:1000]
    model = small(**SETTINGS[setting]).fit(X, Y)
    for k in (1, 5, 64, 100, 400):
        assert_agrees(model, X[:50], k, sparse)


@pytest.mark.parametrize("ranker", [None, "linear"])
@pytest.mark.parametrize("kind", LABELS)
def test_labels(extreme, kind, ranker):
    X, Y = extreme[0][:1000], LABELS[kind](extreme[1][:1000])
    model = small(ranker=ranker).fit(X, Y)
    for k in (1, 2):
        assert_agrees(model, X[:50], k, sparse=True)
        assert_agrees(model, X[:50], k, sparse=False)


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("sparse", [True, False])
def test_real_data(tmp_path, sparse, n_threads):
    data = load_python_calls(data_home=tmp_path, packages=("numpy",), verbose=False)
    model = SlideClassifier((64,), ranker="linear", max_iter=3, random_state=0, n_jobs=2)
    model.fit(data.X_train, data.Y_train)
    assert model.calibration_[2] != 1 and model.ranker_penalty_ > 0
    X = data.X_test[:500]
    labels, scores = run(model.to_onnx(5, sparse=sparse), X, sparse, n_threads)
    expected_labels, expected_scores = model.predict_topk(X, k=5)
    assert (labels == expected_labels).all(axis=1).mean() >= 0.99
    np.testing.assert_allclose(scores, expected_scores, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("ranker", [None, "linear"])
def test_ties_are_in_the_order_of_classes(tiny, ranker):
    model = small(ranker=ranker).fit(*tiny)
    for array in (*model._coefs, *model.intercepts_):
        array[...] = 0
    if ranker:
        indptr, indices, data, intercept, penalty = model._ranker
        model._ranker = [np.zeros_like(indptr), indices[:0], data[:0], np.zeros_like(intercept),
                         penalty]
    for sparse in (True, False):
        labels, scores = run(model.to_onnx(4, sparse=sparse), tiny[0], sparse)
        np.testing.assert_array_equal(labels, np.tile(np.arange(4), (12, 1)))
        np.testing.assert_allclose(scores, model.predict_topk(tiny[0], k=4)[1], rtol=1e-6)


@pytest.mark.parametrize("ranker", [None, "linear"])
def test_rows_of_any_form(extreme, ranker):
    """Empty rows, one row, features in any order or twice."""
    X, Y = extreme[0][:1000], extreme[1][:1000]
    model = small(ranker=ranker).fit(X, Y)
    graph = model.to_onnx(5, sparse=True)
    empty = sp.csr_matrix((3, X.shape[1]), dtype=np.float32)
    for rows in (X[:1], empty, empty[:1], sp.vstack([empty, X[:3], empty], format="csr")):
        assert_agrees(model, rows, 5, sparse=True)
        assert_agrees(model, rows, 5, sparse=False)
    row = X[:1]
    twice = sp.csr_matrix((np.append(row.data, row.data[::-1]) / 2,
                           np.append(row.indices, row.indices[::-1]), [0, 2 * row.nnz]),
                          shape=row.shape)
    for one, other in zip(run(graph, twice, True), run(graph, row, True), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


def test_bfloat16_stays_so(tiny):
    wide, narrow = (small(dtype=dtype, hidden_layer_sizes=(512,)).fit(*tiny).to_onnx(2)
                    for dtype in ("float32", "bfloat16"))
    saved = wide.ByteSize() - narrow.ByteSize()
    assert 2 * 512 * 4 - 100 < saved < 2 * 512 * 4
    kinds = {array.data_type for array in narrow.graph.initializer}
    assert onnx.TensorProto.BFLOAT16 in kinds


def test_model_tells_where_it_comes_from(tiny):
    graph = small().fit(*tiny).to_onnx(2)
    assert graph.producer_name == "slidelearn" and graph.opset_import[0].version == 18
    assert [output.name for output in graph.graph.output] == ["labels", "scores"]


def test_errors(tiny, monkeypatch):
    with pytest.raises(NotFittedError):
        small().to_onnx()
    X, Y = tiny
    model = small().fit(X, Y)
    for k in (0, 5, 2.5):
        with pytest.raises(ValueError, match="k must be an integer in"):
            model.to_onnx(k)
    for path in ("model.onnx", Path("model.onnx")):
        with pytest.raises(TypeError, match=r"takes no path.*onnx\.save\(model\.to_onnx\(\), path"):
            model.to_onnx(path)
    dates = small().fit(X, [1, 2] * 6)
    dates.classes_ = dates.classes_.astype("M8[s]")
    with pytest.raises(ValueError, match=r"no labels of dtype datetime64.*only booleans, integers"):
        dates.to_onnx(2)
    dates.classes_ = np.array([1, 2], np.longdouble)
    if dates.classes_.dtype.itemsize > 8:
        with pytest.raises(ValueError, match=r"of dtype \S*float.*floats of at most 64 bits"):
            dates.to_onnx(2)
    with monkeypatch.context() as patched:
        patched.setattr(_onnx, "MAX_BYTES", 500)
        with pytest.raises(ValueError, match=r"at most 2 GiB.*`export` has no limit"):
            model.to_onnx(2)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"pip install 'slidelearn\[onnx\]'"):
        model.to_onnx(2)
