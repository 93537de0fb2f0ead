"""SlideClassifier: kinds of X and y, parameters, and that it learns."""

import copy
import doctest
import inspect
import os
import pickle
import re
import struct
import subprocess
import sys
import textwrap
import tracemalloc
import types

import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from conftest import assert_same_model, assert_same_state, precision_at_1, small, snapshot
from scipy.special import expit, softmax

import slidelearn._classifier
from slidelearn import SlideClassifier
from slidelearn._calibration import log_odds
from slidelearn._training import Trainer
from slidelearn.datasets import make_extreme_classification

INDICATOR_FORMATS = ["csr", "csc", "coo", "lil", "dok", "bsr"]
OTHER_FORMATS = ["csr", "csc", "coo", "lil", "dok", "dia", "bsr"]


def as_sparse(matrix, kind, form):
    """A scipy "matrix" or "array" in the given format."""
    return (sp.csr_array if kind == "array" else sp.csr_matrix)(matrix).asformat(form)


def with_int64_indices(matrix):
    matrix = matrix.copy()
    for name in ("indices", "indptr"):
        if hasattr(matrix, name):
            setattr(matrix, name, getattr(matrix, name).astype(np.int64))
    if matrix.format == "coo":
        matrix.coords = tuple(index.astype(np.int64) for index in matrix.coords)
    return matrix


# ---- y -----------------------------------------------------------------------------------------

LABELS = {
    "str": ["cat", "dog", "eel"],
    "object": np.array(["cat", "dog", "a much longer name"], object),
    "int": [0, 1, 2],
    "negative": [-7, 0, 3],
    "int8": np.array([-1, 0, 1], np.int8),
    "uint64": np.array([0, 2**63, 2**64 - 1], np.uint64),
    "float": [-1.0, 0.0, 5.0],
    "bool": [False, True],
    "binary str": ["no", "yes"],
    "binary int": [-1, 1],
    "single": ["only"],
    "single int": [42],
}


@pytest.mark.parametrize("loss", ["auto", "sigmoid"])
@pytest.mark.parametrize("kind", LABELS)
def test_labels_of_any_dtype(kind, loss):
    labels = np.asarray(LABELS[kind])
    codes = np.arange(60) % len(labels)
    X = sp.csr_matrix(np.eye(len(labels), dtype=np.float32)[codes])
    y = labels[codes]
    model = small(loss=loss, max_iter=30, dropout=0.0, learning_rate_init=0.05).fit(X, y)
    found = model.predict(X)
    assert found.dtype == y.dtype
    np.testing.assert_array_equal(found, y)
    np.testing.assert_array_equal(model.classes_, np.unique(y))
    proba = model.predict_proba(X)
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    np.testing.assert_array_equal(model.classes_[proba.argmax(axis=1)], y)
    np.testing.assert_allclose(model.predict_log_proba(X), np.log(proba), atol=1e-12)
    assert model.score(X, y) == 1
    best, _ = model.predict_topk(X, k=len(labels))
    np.testing.assert_array_equal(best[:, 0], y)
    assert best.dtype == y.dtype


@pytest.mark.parametrize("make", [list, tuple, pd.Series, lambda y: y.reshape(-1, 1)],
                         ids=["list", "tuple", "series", "column"])
def test_containers_of_labels(multiclass, make):
    X, y = multiclass[0][:200], multiclass[1][:200]
    given = make(y)
    expected = small().fit(X, y.astype(object) if isinstance(given, pd.Series) else y)
    if isinstance(given, np.ndarray):
        with pytest.warns(Warning, match="column-vector"):
            found = small().fit(X, given)
    else:
        found = small().fit(X, given)
    assert_same_model(found, expected)


@pytest.mark.parametrize("dtype", ["Int64", "boolean", "category", "string", "Float64"])
def test_pandas_extension_labels(dtype, tiny):
    y = pd.Series([0, 1] * 6).astype("boolean" if dtype == "boolean" else "int64").astype(dtype)
    model = small().fit(tiny[0], y)
    assert len(model.classes_) == 2
    assert len(model.predict(tiny[0])) == 12


def test_polars():
    pl = pytest.importorskip("polars")
    rng = np.random.default_rng(0)
    values = rng.random((40, 3))
    X = pl.DataFrame(values, schema=["a", "b", "c"])
    y = pl.Series(["yes", "no"] * 20)
    model = small().fit(X, y)
    np.testing.assert_array_equal(model.feature_names_in_, ["a", "b", "c"])
    assert_same_model(model, small().fit(values, np.array(["yes", "no"] * 20, object)))
    with pytest.raises(ValueError, match="feature names"):
        model.predict(X.rename({"a": "z"}))
    indicator = pl.DataFrame({"u": [1, 0] * 20, "v": [0, 1] * 20})
    assert model.set_params().fit(X, indicator).predict(X).shape == (40, 2)


@pytest.mark.parametrize("make", [
    pd.DataFrame, lambda Y: pd.DataFrame(Y).astype("Int64"),
    lambda Y: pd.DataFrame(Y).astype("boolean"), lambda Y: pd.DataFrame(Y.astype(bool)),
    lambda Y: pytest.importorskip("polars").DataFrame(Y),
    lambda Y: pytest.importorskip("polars").DataFrame(Y.astype(bool)),
], ids=["pandas", "nullable", "boolean", "bool", "polars", "polars bool"])
def test_frames_of_indicators(tiny, make):
    X, Y = tiny[0], tiny[1].toarray()
    model, expected = small().fit(X, make(Y)), small().fit(X, Y)
    assert_same_model(model, expected)
    np.testing.assert_array_equal(model.predict(X), expected.predict(X))


def test_sparse_frame_of_indicators_is_not_densified(tiny, monkeypatch):
    X, Y = tiny
    try:
        frame = pd.DataFrame.sparse.from_spmatrix(Y)
        frame.sparse.to_coo()
    except ImportError as error:  # pandas wants a newer scipy than we do
        pytest.skip(str(error))
    monkeypatch.setattr(pd.DataFrame, "to_numpy", None)
    model = small().fit(X, frame)
    assert_same_model(model, small().fit(X, Y))
    assert sp.issparse(model.predict(X))


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_feature_names(tiny, library):
    frames = pytest.importorskip(library)
    X = frames.DataFrame(dict(zip("abcde", tiny[0].toarray().T, strict=True)))
    Y = frames.DataFrame(dict(zip("wxyz", tiny[1].toarray().T, strict=True)))
    weight = frames.Series(np.linspace(0.5, 2, 12))
    model = small(early_stopping=True).fit(X, Y, sample_weight=weight)
    assert model.feature_names_in_.tolist() == list("abcde")
    assert model.partial_fit(X, Y).feature_names_in_.tolist() == list("abcde")
    plain = small(early_stopping=True).fit(tiny[0], tiny[1].toarray(), np.linspace(0.5, 2, 12))
    assert_same_model(model, plain.partial_fit(tiny[0], tiny[1].toarray()))
    for method in ("predict", "predict_proba", "predict_log_proba", "decision_function"):
        np.testing.assert_array_equal(getattr(model, method)(X), getattr(plain, method)(tiny[0]))
        with pytest.raises(ValueError, match="feature names should match"):
            getattr(model, method)(X[list("bacde")])
    np.testing.assert_array_equal(model.predict_topk(X, k=2)[0],
                                  plain.predict_topk(tiny[0], k=2)[0])
    with pytest.raises(ValueError, match="feature names should match"):
        model.partial_fit(X[list("bacde")], Y)
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        model.predict_topk(X.to_numpy(), k=2)
    model.fit(tiny[0], tiny[1])
    assert not hasattr(model, "feature_names_in_")


@pytest.mark.parametrize("dtype", [bool, np.int8, np.int64, np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("form", INDICATOR_FORMATS)
@pytest.mark.parametrize("kind", ["matrix", "array"])
def test_sparse_indicators(extreme, kind, form, dtype):
    X, Y = extreme[0][:300], extreme[1][:300]
    expected = small().fit(X, Y)
    for given in (as_sparse(Y, kind, form).astype(dtype),
                  with_int64_indices(as_sparse(Y, kind, form).astype(dtype))):
        before = given.copy()
        model = small().fit(X, given)
        assert_same_model(model, expected)
        assert (abs(given.astype(float) - before.astype(float))).sum() == 0
        found = model.predict(X)
        assert found.format == "csr"
        assert isinstance(found, sp.sparray) == (kind == "array")
        assert found.dtype == np.int64 and found.shape == Y.shape
        np.testing.assert_array_equal(found.toarray(), expected.predict(X).toarray())


def test_dense_indicator(extreme):
    X, Y = extreme[0][:300], extreme[1][:300, :20].toarray().astype(np.int64)
    model = small().fit(X, Y)
    found = model.predict(X)
    assert isinstance(found, np.ndarray) and found.dtype == np.int64
    np.testing.assert_array_equal(found, model.predict_proba(X) > 0.5)
    np.testing.assert_array_equal(found, model.decision_function(X) > 0)
    for given in (Y.tolist(), Y.astype(bool), Y.astype(float), pd.DataFrame(Y), sp.csr_matrix(Y)):
        assert_same_model(small().fit(X, given), model)


def test_untidy_indicator(extreme):
    X, Y = extreme[0][:300], sp.csr_matrix(extreme[1][:300])
    expected = small().fit(X, Y)
    zeros = Y.copy()  # explicit zeros
    zeros[np.arange(50), np.arange(50)] = 2
    zeros.data[zeros.data == 2] = 0
    zeros = zeros.maximum(Y) if zeros.nnz == Y.nnz else zeros
    unsorted = Y.copy()
    for i in range(300):
        place = slice(Y.indptr[i], Y.indptr[i + 1])
        unsorted.indices[place] = Y.indices[place][::-1]
    unsorted.has_sorted_indices = False
    before = unsorted.indices.copy()
    assert_same_model(small().fit(X, unsorted), expected)
    np.testing.assert_array_equal(unsorted.indices, before)
    cleared = zeros.copy()
    cleared.eliminate_zeros()
    assert cleared.nnz < zeros.nnz
    assert_same_model(small().fit(X, zeros), small().fit(X, cleared))


@pytest.mark.parametrize("make", [sp.csr_matrix, sp.csr_array, sp.csc_matrix])
def test_order_is_that_of_the_arrays(extreme, make):
    """They were written into after scipy had looked: what it remembers of their order is wrong."""
    def rewritten(matrix, write):
        matrix = make(matrix[:300])
        assert matrix.has_canonical_format and matrix.has_sorted_indices
        write(matrix.indices, matrix.shape[matrix.format == "csr"])
        return matrix

    def turn(indices, n):
        indices[:] = n - 1 - indices

    def merge(indices, n):
        indices[:] //= 2

    X, Y = (rewritten(matrix, turn) for matrix in extreme)
    summed = rewritten(extreme[0], merge)
    assert_same_model(small().fit(X, Y), small().fit(X.toarray(), sp.csr_array(Y.toarray())))
    assert_same_model(small().fit(summed, Y), small().fit(summed.toarray(), Y))
    for given, write, before in ((X, turn, extreme[0]), (Y, turn, extreme[1]),
                                 (summed, merge, extreme[0])):
        assert given.has_canonical_format  # nothing was put right in the matrix itself
        np.testing.assert_array_equal(given.indices, rewritten(before, write).indices)


@pytest.mark.parametrize("make", [sp.csr_matrix, sp.csc_matrix, sp.coo_array])
def test_one_column(tiny, make):
    X = tiny[0]
    y = make((np.arange(12) % 2)[:, None])
    model = small().fit(X, y)
    assert model.predict(X).shape == (12, 1) and sp.issparse(model.predict(X))
    assert model.predict_proba(X).shape == (12, 1)
    assert 0 <= model.score(X, y) <= 1


def test_rows_without_labels_or_features(extreme):
    X, Y = sp.lil_matrix(extreme[0][:200]), sp.lil_matrix(extreme[1][:200])
    X[:50] = 0
    Y[30:80] = 0
    X, Y = X.tocsr(), Y.tocsr()
    for loss in ("sigmoid", "softmax"):
        model = small(loss=loss).fit(X, Y)
        assert np.isfinite(model.loss_)
        assert model.predict(X).shape == Y.shape
        model.partial_fit(X, Y)
    assert small().fit(sp.csr_matrix((200, 7), dtype=np.float32), Y).predict_topk(
        sp.csr_matrix((3, 7)), k=2)[0].shape == (3, 2)


def test_sparse_y_is_never_densified(extreme, monkeypatch):
    X, Y = extreme

    def forbidden(*args, **kwargs):
        raise AssertionError("densified")

    for cls in (sp.csr_matrix, sp.csc_matrix, sp.coo_matrix, sp.csr_array):
        for name in ("toarray", "todense", "__array__"):
            monkeypatch.setattr(cls, name, forbidden, raising=False)
    model = small(early_stopping=True).fit(X, Y)
    model.partial_fit(X, Y)
    model.predict(X)
    model.score(X, Y)
    small().fit(X, Y).predict_topk(X)


def test_memory_with_many_classes():
    n_classes = 200_000
    X, Y = make_extreme_classification(1000, 1000, n_classes, random_state=0)
    model = small(hidden_layer_sizes=(8,), max_iter=1)
    tracemalloc.start()
    model.fit(X, Y)
    model.predict_topk(X)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    parameters = sum(array.nbytes for array in [*model.coefs_, *model.intercepts_])
    assert peak < 3.9 * parameters + 100e6  # an indicator alone would be 200 MB of bytes


# ---- X -----------------------------------------------------------------------------------------

def test_csr_float32_is_not_copied(tiny, monkeypatch):
    X, Y = tiny
    seen = []
    original = Trainer.__init__

    def spy(self, network, X, *args, **kwargs):
        seen.append(X)
        original(self, network, X, *args, **kwargs)

    monkeypatch.setattr(Trainer, "__init__", spy)
    for given in (X, sp.csr_array(X)):
        small().fit(given, Y)
        assert np.shares_memory(seen[-1].data, given.data)
        assert np.shares_memory(seen[-1].indices, given.indices)


@pytest.mark.parametrize("kind", ["matrix", "array"])
@pytest.mark.parametrize("form", OTHER_FORMATS)
def test_formats_of_X_give_the_same_bits(extreme, form, kind):
    X, Y = extreme[0][:150].astype(np.float32), extreme[1][:150]
    model = small().fit(X, Y)
    scores = model.decision_function(X)
    given = as_sparse(X, kind, form)
    for variant in (given, given.astype(np.float64), with_int64_indices(given)):
        assert_same_model(small().fit(variant, Y), model)
        np.testing.assert_array_equal(model.decision_function(variant), scores)


@pytest.mark.parametrize("make", [
    lambda X: X.toarray(), lambda X: np.asfortranarray(X.toarray()), lambda X: X.toarray().tolist(),
    lambda X: X.toarray().astype(np.float64)[::-1][::-1],
    lambda X: pd.DataFrame(X.toarray()).rename(columns=str),
    lambda X: pd.DataFrame({str(i): pd.arrays.SparseArray(column, fill_value=np.float32(0))
                            for i, column in enumerate(X.toarray().T)}),
], ids=["dense", "fortran", "list", "strided", "pandas", "pandas sparse"])
def test_containers_of_X_give_the_same_bits(extreme, make):
    X, Y = extreme[0][:150, :40].astype(np.float32), extreme[1][:150]
    model = small().fit(X, Y)
    given = make(X)
    found = small().fit(given, Y)
    assert_same_model(found, model)
    np.testing.assert_array_equal(found.predict_proba(given), model.predict_proba(X))
    assert hasattr(found, "feature_names_in_") == isinstance(given, pd.DataFrame)


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint16, np.int64])
def test_integer_X(dtype, tiny):
    X = sp.random(12, 5, 0.5, random_state=0, format="csr")
    X.data = np.ones_like(X.data)
    assert_same_model(small().fit(X.astype(dtype), tiny[1]), small().fit(X, tiny[1]))
    assert_same_model(small().fit(X.toarray().astype(dtype), tiny[1]), small().fit(X, tiny[1]))


def test_untidy_X(extreme):
    X, Y = extreme[0][:150].astype(np.float32).tocsr(), extreme[1][:150]
    expected = small().fit(X, Y)
    order = np.concatenate([np.arange(X.indptr[i], X.indptr[i + 1])[::-1] for i in range(150)])
    unsorted = sp.csr_matrix((X.data[order], X.indices[order], X.indptr), X.shape)
    twice = sp.csr_matrix((np.repeat(X.data, 2) / 2, np.repeat(X.indices, 2), 2 * X.indptr),
                          X.shape)
    zeros = X.copy()
    zeros[0, :] = 7
    zeros.data[:600] = X[0].toarray()[0]
    for given in (unsorted, twice, zeros):
        data, indices = given.data.copy(), given.indices.copy()
        assert_same_model(small().fit(given, Y), expected)
        np.testing.assert_array_equal(expected.decision_function(given),
                                      expected.decision_function(X))
        np.testing.assert_array_equal(given.data, data)
        np.testing.assert_array_equal(given.indices, indices)


def test_read_only_input(tiny):
    X, Y = (matrix.copy() for matrix in tiny)
    for matrix in (X, Y):
        for array in (matrix.data, matrix.indices, matrix.indptr):
            array.flags.writeable = False
    model = small(sampling="topk", share_random=False, n_random=1).fit(X, Y)
    model.partial_fit(X, Y)
    model.predict(X)
    model.predict_topk(X, k=2, method="lsh")


# ---- training ----------------------------------------------------------------------------------

SAMPLINGS = [{"sampling": "random", "n_random": 60}, {"sampling": "all"},
             {"sampling": "random", "n_random": 60, "share_random": False}]
SAMPLINGS += [{"sampling": name, "n_random": 100, "n_candidates": 40, "n_tables": 20,
               "min_collisions": 1, "hash_length": 5, "share_random": shared}
              for name in ("vanilla", "topk", "threshold") for shared in (True, False)]
HASHES = [{"sampling": "topk", "n_random": 100, "n_candidates": 40, "n_tables": 20,
           "share_random": False, "hash_function": name,
           "hash_length": 5 if name == "simhash" else 2,
           "insertion": insertion, "center": center}
          for name, insertion, center in [
              ("simhash", "reservoir", True), ("simhash", "fifo", False), ("wta", "fifo", True),
              ("dwta", "reservoir", False), ("minhash", "fifo", True)]]
OTHERS = [{"hidden_layer_sizes": (64, 48)}, {"hidden_layer_sizes": [64, 32, 48]},
          {"hidden_layer_sizes": 64}, {"dropout": 0.0}, {"batch_size": 64},
          {"learning_rate": "constant"}, {"shuffle": False}, {"early_stopping": True},
          {"loss": "softmax"},
          {"solver": "adagrad", "learning_rate_init": 0.1},
          {"solver": "sgd", "learning_rate_init": 3.0, "loss": "softmax", "dropout": 0.0}]


@pytest.mark.parametrize("setting", SAMPLINGS + HASHES + OTHERS, ids=str)
def test_every_setting_learns(extreme, setting):
    X, Y = extreme
    model = small(**{"hidden_layer_sizes": (64,), "max_iter": 8, "dropout": 0.2, **setting})
    model.fit(X[:2500], Y[:2500])
    most_frequent = np.asarray(Y[:2500].sum(axis=0)).argmax()
    baseline = Y[2500:, [most_frequent]].mean()
    assert precision_at_1(model, X[2500:], Y[2500:]) > 2 * baseline
    assert len(model.loss_curve_) == model.n_iter_
    assert model.loss_curve_[-1] < 0.9 * model.loss_curve_[0]


@pytest.mark.parametrize("loss", ["sigmoid", "softmax"])
def test_multiclass_learns(multiclass, loss):
    X, y = multiclass
    model = small(hidden_layer_sizes=(64,), max_iter=10, loss=loss).fit(X[:1200], y[:1200])
    values, counts = np.unique(y[:1200], return_counts=True)
    baseline = (y[1200:] == values[counts.argmax()]).mean()
    assert model.score(X[1200:], y[1200:]) > max(0.4, 4 * baseline)
    assert (np.diff(model.loss_curve_) < 0).mean() > 0.8


@pytest.mark.parametrize("setting", [{}, {"sampling": "topk", "share_random": False, "n_random": 9},
                                     {"hidden_layer_sizes": (16, 8)}], ids=str)
def test_same_bits_on_any_number_of_threads(extreme, setting):
    X, Y = extreme[0][:600], extreme[1][:600]
    models = [small(n_jobs=n_jobs, **setting).fit(X, Y) for n_jobs in (None, 2, 8, -1)]
    for model in models[1:]:
        assert_same_model(model, models[0])
        np.testing.assert_array_equal(model.decision_function(X), models[0].decision_function(X))
    with joblib.parallel_config(n_jobs=2):
        assert_same_model(small(**setting).fit(X, Y), models[0])


@pytest.mark.parametrize("sampling", ["random", "topk"])
def test_numbers_of_numpy_give_the_same_bits(extreme, sampling):
    """Small integers don't overflow in sums and products, small floats are what they stand for."""
    X, Y = extreme[0][:400], extreme[1][:400]
    numbers = {"max_iter": 3, "batch_size": 48, "n_random": 100, "n_candidates": 20, "n_tables": 12,
               "hash_length": 4, "bucket_size": 100, "rebuild_interval": 5, "n_iter_no_change": 2}
    reals = {"learning_rate_init": 0.01, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-4,
             "dropout": 0.1, "gradient_threshold": 0.05, "C": 0.3, "tol": 1e-3,
             "rebuild_growth": 1.1, "validation_fraction": 0.2}
    reals = {name: np.float32(value) for name, value in reals.items()}
    settings = {"sampling": sampling, "early_stopping": True}
    plain = small(**settings, **numbers, **{name: float(x) for name, x in reals.items()}).fit(X, Y)
    for kind in (np.int8, np.uint8):
        with np.errstate(all="raise"):
            model = small(**settings, **{name: kind(n) for name, n in numbers.items()}, **reals)
            model.fit(X, Y)
        assert_same_model(model, plain)
    assert model.get_params()["max_iter"] is model.max_iter
    assert isinstance(model.max_iter, np.uint8)  # parameters stay what the user set


def test_random_state(tiny):
    assert_same_model(small().fit(*tiny), small().fit(*tiny))
    assert_same_model(small(random_state=np.random.RandomState(5)).fit(*tiny),
                      small(random_state=5).fit(*tiny))
    one, two = (small(random_state=None).fit(*tiny) for _ in range(2))
    assert not np.array_equal(one.coefs_[0], two.coefs_[0])


def test_shuffle(extreme):
    X, Y = extreme[0][:100], extreme[1][:100]
    order = np.arange(100)[::-1]
    one = small(shuffle=False).fit(X, Y)
    assert not np.array_equal(one.coefs_[0], small(shuffle=True).fit(X, Y).coefs_[0])
    assert not np.array_equal(one.coefs_[0], small(shuffle=False).fit(X[order], Y[order]).coefs_[0])


def test_fit_starts_anew(extreme, tiny):
    model = small().fit(*tiny)
    assert_same_model(model.fit(extreme[0][:99], extreme[1][:99]),
                      small().fit(extreme[0][:99], extreme[1][:99]))
    assert model.n_iter_ == 2 == len(model.loss_curve_)


@pytest.mark.parametrize("n_classes, epochs", [(2, 6), (2**15, 6), (40_000, 7), (2**16, 12),
                                               (10**6, 12)])
def test_auto_max_iter(extreme, n_classes, epochs):
    """More epochs where there are so many classes that a batch meets each less often."""
    X, Y = extreme[0][:200], extreme[1][:200, :2].copy()
    Y.resize(200, n_classes)
    setting = {"hidden_layer_sizes": 4, "ranker": None}
    model = small(max_iter="auto", **setting).fit(X, Y)
    assert model.n_iter_ == epochs and model.max_iter == "auto"
    assert_same_model(model, small(max_iter=epochs, **setting).fit(X, Y))


def test_warm_start(extreme):
    X, Y = extreme[0][:500], extreme[1][:500]
    model = small(warm_start=True, max_iter=1, calibrate=False, learning_rate="constant")
    losses = [model.fit(X, Y).loss_ for _ in range(4)]
    assert model.n_iter_ == 4 and model.loss_curve_ == losses
    assert losses == sorted(losses, reverse=True)
    assert model.t_ == 4 * -(-500 // 16)
    for name, value in (("solver", "adagrad"), ("solver", "sgd")):
        model.set_params(**{name: value}).fit(X, Y)
        assert np.isfinite(model.loss_)
    with pytest.raises(ValueError, match="hidden_layer_sizes"):
        model.set_params(hidden_layer_sizes=(17,)).fit(X, Y)
    assert_same_model(model.set_params(warm_start=False, solver="adam").fit(X, Y),
                      small(max_iter=1, calibrate=False, learning_rate="constant",
                            hidden_layer_sizes=(17,)).fit(X, Y))


@pytest.mark.parametrize("beta_1", [0.0, 0.9])
@pytest.mark.parametrize("before", ["fit", "solver", "dtype", "beta_1"])
def test_first_steps_with_an_empty_memory_are_no_longer_than_the_rate(extreme, before, beta_1):
    """However many went before: Adam's averages are those of the steps since."""
    X, Y = extreme[0][:300], extreme[1][:300]
    other = {"fit": {}, "solver": {"solver": "adagrad"}, "dtype": {"dtype": "bfloat16"},
             "beta_1": {"beta_1": 0.9 - beta_1}}[before]
    model = small(warm_start=before != "fit", **other).fit(X, Y)
    adam = dict(solver="adam", dtype="float32", beta_1=beta_1, batch_size=30, warm_start=False)
    model.set_params(**adam)
    steps = model.t_
    rate = model.learning_rate_init / np.sqrt(1 + steps / 500)
    first = model.coefs_[-1].copy()
    model.partial_fit(X[:30], Y[:30])
    moved = np.abs(model.coefs_[-1] - first).max()
    assert 0.5 * rate < moved < 1.01 * rate
    assert model.t_ == steps + 1 and model._state_start == steps
    again = pickle.loads(pickle.dumps(model))
    for _ in range(2):
        model.partial_fit(X[30:60], Y[30:60])
        again.partial_fit(X[30:60], Y[30:60])
    assert_same_model(again, model)
    assert model._state_start == steps and model.t_ == steps + 3


def test_the_rate_of_partial_fit_falls(extreme):
    X, Y = extreme[0][:30], extreme[1][:30]
    model = small(solver="sgd", batch_size=30, learning_rate_init=10).partial_fit(X, Y)
    model.t_ = 1500
    moved = {}
    for schedule in ("linear", "constant"):
        longer = copy.deepcopy(model).set_params(learning_rate=schedule).partial_fit(X, Y)
        moved[schedule] = longer.coefs_[-1] - model.coefs_[-1]
        assert longer.t_ == 1501
    assert np.abs(moved["constant"]).max() > 1e-4
    np.testing.assert_allclose(moved["linear"], moved["constant"] / 2, rtol=0, atol=1e-6)


def test_partial_fit(extreme):
    X, Y = extreme
    model = small(hidden_layer_sizes=(64,))
    for _ in range(6):
        for start in range(0, 2500, 500):
            model.partial_fit(X[start:start + 500], Y[start:start + 500])
    assert model.n_iter_ == 30 == len(model.loss_curve_)
    assert precision_at_1(model, X[2500:], Y[2500:]) > 0.25


def test_partial_fit_of_labels(multiclass):
    X, y = multiclass
    classes = np.unique(y)
    model = small(hidden_layer_sizes=(64,))
    for _ in range(10):
        for start in range(0, 1500, 300):
            model.partial_fit(X[start:start + 300], y[start:start + 300],
                              classes=None if hasattr(model, "classes_") else classes[::-1])
    np.testing.assert_array_equal(model.classes_, classes)
    assert model.score(X, y) > 0.6
    model.fit(X, y)
    model.partial_fit(X[:1], y[:1])
    assert model.n_iter_ == 3


def test_training_further_leaves_what_was_handed_out(tiny):
    model = small(warm_start=True).fit(*tiny)
    held, kept = model.coefs_[1], model.coefs_[1].copy()
    model.partial_fit(*tiny)
    assert not np.array_equal(model.coefs_[1], kept)
    np.testing.assert_array_equal(held, kept)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("setting", [{}, {"loss": "softmax"}, {"sampling": "all"}], ids=str)
def test_zero_weight_removes_a_row(extreme, method, setting):
    X, Y = extreme[0][:600], extreme[1][:600]
    weight = np.random.default_rng(0).integers(0, 3, 600)
    kept = weight > 0
    with_zeros, without = small(**setting), small(**setting)
    getattr(with_zeros, method)(X, Y, sample_weight=weight)
    getattr(without, method)(X[kept], Y[kept], sample_weight=weight[kept])
    assert_same_model(with_zeros, without)


def test_scale_of_weights_is_irrelevant(extreme):
    X, Y = extreme[0][:300], extreme[1][:300]
    weight = np.random.default_rng(0).random(300)
    model = small().fit(X, Y, sample_weight=weight)
    for scale in (2.0, 1024.0, 1e300, 1e-300):
        found = small().fit(X, Y, sample_weight=scale * weight)
        np.testing.assert_allclose(found.coefs_[0], model.coefs_[0], rtol=1e-3, atol=1e-5)
    assert_same_model(small().fit(X, Y, sample_weight=np.full(300, 3.0)), small().fit(X, Y))
    assert_same_model(small().fit(X, Y, sample_weight=7), small().fit(X, Y))


def test_weights_matter():
    X = sp.csr_matrix(np.ones((200, 1), np.float32))
    y = np.arange(200) % 2
    model = small(max_iter=20, dropout=0.0).fit(X, y, sample_weight=np.where(y == 1, 9.0, 1.0))
    np.testing.assert_allclose(model.predict_proba(X[:1])[0], [0.1, 0.9], atol=0.05)


def test_early_stopping(extreme):
    X, Y = extreme[0][:600], extreme[1][:600]
    model = small(early_stopping=True, max_iter=50, n_iter_no_change=2, learning_rate_init=0.05,
                  learning_rate="constant").fit(X, Y)
    scores = model.validation_scores_
    assert len(scores) == model.n_iter_ < 50
    assert model.best_validation_score_ == max(scores)
    assert max(scores[-2:]) <= max(scores[:-2]) + model.tol
    # The parameters are those of the best epoch: fewer epochs reach them, too.
    best = small(early_stopping=True, max_iter=50, n_iter_no_change=2, learning_rate_init=0.05,
                 learning_rate="constant", random_state=0)
    best.set_params(max_iter=int(np.argmax(scores)) + 1).fit(X, Y)
    assert_same_state(best.coefs_, model.coefs_)
    with pytest.raises(ValueError, match="holds out 6 of 6 samples"):
        small(early_stopping=True, validation_fraction=0.99).fit(X[:6], Y[:6])


def test_early_stopping_of_labels(multiclass):
    X, y = multiclass
    model = small(early_stopping=True, max_iter=4).fit(X, y)
    assert len(model.validation_scores_) == 4


def test_attributes(extreme):
    X, Y = extreme[0][:200], extreme[1][:200]
    model = small(hidden_layer_sizes=(8, 4)).fit(X, Y)
    assert [array.shape for array in model.coefs_] == [(600, 8), (8, 4), (4, 400)]
    assert [array.shape for array in model.intercepts_] == [(8,), (4,), (400,)]
    assert {array.dtype for array in [*model.coefs_, *model.intercepts_]} == {np.dtype(np.float32)}
    assert model.coefs_[-1].flags.f_contiguous
    assert model.n_features_in_ == 600 and model.t_ == 2 * 13 and model.n_iter_ == 2
    assert model.loss_ == model.loss_curve_[-1]
    assert model.out_activation_ == "logistic" and model.validation_scores_ is None
    np.testing.assert_array_equal(model.classes_, np.arange(400))


def test_the_fitted_loss_decides(tiny):
    model = small(loss="softmax").fit(tiny[0], np.arange(12) % 3)
    before = model.predict_proba(tiny[0])
    model.set_params(loss="sigmoid")
    np.testing.assert_array_equal(model.predict_proba(tiny[0]), before)


# ---- prediction --------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def fitted(extreme):
    return small(hidden_layer_sizes=(64,), max_iter=8).fit(extreme[0][:2500], extreme[1][:2500])


def without_ranker(model):
    model = copy.copy(model)
    model._ranker = []
    return model


def test_scores_agree(fitted, extreme):
    X = extreme[0][2500:]
    logits = without_ranker(fitted).decision_function(X)
    hidden = np.maximum(X @ fitted.coefs_[0] + fitted.intercepts_[0], 0)
    np.testing.assert_allclose(
        logits, log_odds(fitted.calibration_, hidden @ fitted.coefs_[1] + fitted.intercepts_[1]),
        rtol=1e-4, atol=1e-4)
    scores = fitted.decision_function(X)
    np.testing.assert_array_equal(fitted.predict_proba(X), expit(scores))
    np.testing.assert_allclose(np.exp(fitted.predict_log_proba(X)), expit(scores))
    np.testing.assert_array_equal(fitted.predict(X).toarray(), scores > 0)
    labels, best = fitted.predict_topk(X, k=7)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :7]
    np.testing.assert_array_equal(labels, order)
    np.testing.assert_array_equal(best, np.take_along_axis(scores, order, 1))


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_scores_of_labels_agree(multiclass, loss):
    X, y = multiclass
    model = small(loss=loss).fit(X, y)
    scores = model.decision_function(X)
    np.testing.assert_array_equal(model.predict(X), model.classes_[scores.argmax(axis=1)])
    odds = softmax(scores, axis=1) if loss == "softmax" else expit(scores)
    np.testing.assert_allclose(model.predict_proba(X), odds / odds.sum(axis=1, keepdims=True),
                               rtol=1e-6)
    binary = small(loss=loss).fit(X, y > "class 20")
    scores = binary.decision_function(X)
    assert scores.shape == (1500,)
    np.testing.assert_array_equal(binary.predict(X), scores > 0)
    proba = binary.predict_proba(X)
    np.testing.assert_allclose(np.log(proba[:, 1] / proba[:, 0]), scores, rtol=1e-4, atol=1e-6)


def test_predict_topk_by_hashing(fitted, extreme):
    X, _Y = extreme[0][2500:], extreme[1][2500:]
    fitted = without_ranker(fitted)  # hashing looks for large logits
    exact, _scores = fitted.predict_topk(X, k=5)
    everything = fitted.set_params(n_candidates=400, bucket_size=400, hash_length=1)
    try:
        labels, found = everything.predict_topk(X, k=5, method="lsh")
        assert (labels == exact).mean() > 0.95
        few = fitted.set_params(n_candidates=40, bucket_size=128, hash_length=9)
        labels, found = few.predict_topk(X, k=5, method="lsh")
        assert 0.2 < (labels == exact).mean() < 1  # a tenth by chance
        assert (np.diff(found, axis=1) <= 0).all()
        assert all(len(set(row)) == 5 for row in labels)
        assert fitted.predict_topk(X, k=400, method="lsh")[0].shape == (500, 400)
    finally:
        fitted.set_params(n_candidates=256, hash_length=None)


@pytest.mark.parametrize("ranked", [True, False])
@pytest.mark.parametrize("n_above", [1, 2, 64, 1000])
def test_predict_finds_all_labels_above_one_half(fitted, extreme, monkeypatch, ranked, n_above):
    """However many of them are looked for among the best scores, and in chunks of whatever size."""
    monkeypatch.setattr(slidelearn._prediction, "N_ABOVE", n_above)
    monkeypatch.setattr(slidelearn._prediction, "CHUNK_FLOATS", 700)
    model, X = fitted if ranked else without_ranker(fitted), extreme[0][2500:2600]
    found = model.predict(X)
    assert found.has_canonical_format and found.indices.dtype == np.int32
    np.testing.assert_array_equal(found.toarray(), model.predict_proba(X) > 0.5)
    assert np.diff(found.indptr).max() > 2


def test_k_by_default(fitted, extreme, tiny):
    """The best five, or all classes if there are fewer."""
    X, few = extreme[0][:20], small().fit(*tiny)
    for method in ("exact", "lsh"):
        assert_same_state(fitted.predict_topk(X, method=method),
                          fitted.predict_topk(X, k=5, method=method))
        assert_same_state(few.predict_topk(tiny[0], method=method),
                          few.predict_topk(tiny[0], k=4, method=method))
    assert_same_state(fitted.similar_labels(3), fitted.similar_labels(3, k=5))
    assert_same_state(few.similar_labels(3), few.similar_labels(3, k=3))


def test_prediction_does_not_depend_on_batches(fitted, extreme):
    X = extreme[0][2500:2600]
    together = fitted.predict_topk(X, k=3)
    for i in (0, 57, 99):
        labels, scores = fitted.predict_topk(X[i:i + 1], k=3)
        np.testing.assert_array_equal(labels[0], together[0][i])
        np.testing.assert_array_equal(scores[0], together[1][i])


def test_refuses_huge_dense_results(fitted, monkeypatch):
    rows = 2**28 // 400 + 1
    X = sp.csr_matrix((rows, 600), dtype=np.float32)
    for name in ("predict_proba", "decision_function", "predict_log_proba"):
        with pytest.raises(ValueError, match=f"{rows} samples and 400 classes.*predict_topk"):
            getattr(fitted, name)(X)
    monkeypatch.setattr(slidelearn._classifier, "MAX_DENSE_SCORES", 4000)
    assert fitted.predict_proba(X[:10]).shape == (10, 400)
    with pytest.raises(ValueError, match="at most 10 samples a call"):
        fitted.predict_proba(X[:11])


def test_prediction_changes_nothing(fitted, extreme):
    before = snapshot(fitted)
    X = extreme[0][:50]
    for name in ("predict", "predict_proba", "predict_log_proba", "decision_function",
                 "predict_topk"):
        getattr(fitted, name)(X)
    fitted.predict_topk(X, method="lsh")
    fitted.score(X, extreme[1][:50])
    assert_same_state(snapshot(fitted), before)


# ---- progress ----------------------------------------------------------------------------------

TRAIN = """
from slidelearn import SlideClassifier
from slidelearn.datasets import make_extreme_classification
X, Y = make_extreme_classification(2000, 200, 100, random_state=0)
SlideClassifier((16,), max_iter=20, verbose={verbose}, random_state=0).fit(X, Y)
"""


def run_python(code, **options):
    return subprocess.run([sys.executable, "-c", textwrap.dedent(code)], timeout=120, check=True,
                          capture_output=True, text=True, **options)


def test_quiet_without_a_terminal():
    silent = run_python(TRAIN.format(verbose=0))
    assert silent.stdout == silent.stderr == ""
    lines = run_python(TRAIN.format(verbose=1))
    assert lines.stderr == ""
    assert re.fullmatch(r"(epoch \d+/20: loss \d+\.\d+\n){20}training linear rankers\n",
                        lines.stdout)


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs pseudo-terminals")
@pytest.mark.parametrize("verbose", [0, 2])
def test_progress_bar_in_a_terminal(verbose):
    import fcntl
    import termios

    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    child = subprocess.Popen([sys.executable, "-c", TRAIN.format(verbose=verbose)], stderr=theirs,
                             stdout=theirs)
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:
            break
        if not part:
            break
        shown += part
    assert child.wait(timeout=60) == 0
    os.close(ours)
    text = shown.decode()
    if verbose:
        # percentage, elapsed < remaining, samples a second, loss
        assert re.search(r"\d+%.*\[\d+:\d+<\d+:\d+, .*sample/s, epoch \d+/20, loss \d+\.\d+", text)
        assert "epoch 20/20: loss" in text
    else:
        assert text == ""


# ---- documentation -----------------------------------------------------------------------------

def test_docstring_examples():
    finder = doctest.DocTestFinder(recurse=False)
    runner = doctest.DocTestRunner()
    tests = finder.find(SlideClassifier, "SlideClassifier", globs={})
    assert tests and tests[0].examples
    for test in tests:
        assert runner.run(test).failed == 0


def test_docstring_names_every_parameter_in_order():
    text = inspect.getdoc(SlideClassifier)
    section = text.split("Parameters\n---")[1].split("Attributes\n---")[0]
    described = re.findall(r"^(\w+) : ", section, re.M)
    assert described == list(inspect.signature(SlideClassifier).parameters)
    assert described == list(SlideClassifier._parameter_constraints)


def test_docstring_defaults_are_right():
    section = inspect.getdoc(SlideClassifier).split("Attributes\n---")[0]
    for name, parameter in inspect.signature(SlideClassifier).parameters.items():
        stated = re.search(rf"^{name} : .*default=(.*)$", section, re.M).group(1)
        assert eval(stated) == parameter.default, name


def test_docstring_names_every_attribute(fitted, tiny):
    section = inspect.getdoc(SlideClassifier).split("Attributes\n---")[1].split("Notes\n---")[0]
    described = set(re.findall(r"^(\w+_) : ", section, re.M)) - {"feature_names_in_"}
    names = [*vars(fitted), *vars(SlideClassifier)]
    found = {name for name in names if name.endswith("_") and not name.startswith("_")}
    assert found == described


def test_public_methods_are_documented():
    for name, method in vars(SlideClassifier).items():
        if name.startswith("_") or not isinstance(method, types.FunctionType):
            continue
        text = inspect.getdoc(method)
        for parameter in list(inspect.signature(method).parameters)[1:]:
            assert re.search(rf"^{parameter} : ", text, re.M), (name, parameter)
        assert "Returns\n-------" in text
