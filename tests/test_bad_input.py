"""Bad input: a clear error, and a fitted model exactly as it was."""

import inspect
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from conftest import assert_same_state, small, snapshot
from sklearn.exceptions import NotFittedError

from slidelearn import SlideClassifier
from slidelearn._training import DivergenceError
from slidelearn._validation import canonical_csr

PREDICTIONS = ["predict", "predict_proba", "predict_log_proba", "decision_function",
               "predict_topk", "score"]


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = sp.csr_matrix(rng.random((12, 5), dtype=np.float32))
    Y = sp.csr_matrix((rng.random((12, 4)) < 0.4).astype(np.int64))
    return X, Y


def assert_refused(method, error, match, X, y=None, labels=False, **parameters):
    """The call raises, and leaves both a fitted and an unfitted estimator as they were."""
    good_X = sp.csr_matrix(np.random.default_rng(1).random((12, 5), dtype=np.float32))
    good_y = np.arange(12) % 4 if labels else sp.csr_matrix(np.eye(4)[np.arange(12) % 4])
    options = {} if method in PREDICTIONS and method != "score" else {"y": y}
    model = small().fit(good_X, good_y)
    model.partial_fit(good_X, good_y)  # has optimizer state
    model.set_params(warm_start=parameters.pop("warm_start", False))
    before = snapshot(model)
    with pytest.raises(error, match=match):
        getattr(model, method)(X, **options, **parameters)
    assert_same_state(snapshot(model), before)
    if method in ("fit", "partial_fit"):
        fresh = small()
        before = snapshot(fresh)
        with pytest.raises(error, match=match):
            getattr(fresh, method)(X, **options, **parameters)
        assert_same_state(snapshot(fresh), before)


def broken(**arrays):
    """A CSR matrix of shape (12, 5) with some arrays replaced, past scipy's own checks."""
    X = sp.csr_matrix(np.random.default_rng(0).random((12, 5), dtype=np.float32))
    for name, (place, value) in arrays.items():
        getattr(X, name)[place] = value
    return X


def with_value(value, dtype=np.float64):
    X = np.ones((12, 5), dtype)
    X[3, 2] = value
    return X


# ---- X -----------------------------------------------------------------------------------------

BAD_X = {
    "NaN": (lambda: with_value(np.nan), "Input X contains NaN.*\n.*row 3, column 2"),
    "NaN float32": (lambda: with_value(np.nan, np.float32), "Input X contains NaN"),
    "inf": (lambda: with_value(np.inf), "Input X contains infinity.*\n.*row 3, column 2"),
    "-inf": (lambda: with_value(-np.inf), "Input X contains infinity.*\n.*row 3, column 2"),
    "beyond float32": (lambda: with_value(1e39), r"too large for dtype\('float32'\).*\n.*row 3"),
    "sparse NaN": (lambda: sp.csr_matrix(with_value(np.nan)),
                   "Input X contains NaN.*\n.*row 3, column 2"),
    "sparse inf": (lambda: sp.csc_matrix(with_value(np.inf)),
                   "Input X contains infinity.*\n.*row 3, column 2"),
    "sparse beyond float32": (lambda: sp.coo_array(with_value(-1e300)),
                              r"too large for dtype\('float32'\).*\n.*row 3, column 2"),
    "sum beyond float32": (lambda: sp.csr_matrix((np.float32([3e38] * 2), [1, 1], [0] + [2] * 12),
                                                 (12, 5)), "Input X contains infinity"),
    "pandas NA": (lambda: pd.DataFrame({str(i): pd.array([1, None] * 6, "Int64")
                                        for i in range(5)}), "X contains NaN"),
    "index too large": (lambda: broken(indices=(7, 5)),
                        r"X is not a valid CSR matrix: column index 5 in row 1 is outside of "
                        r"\[0, 5\)"),
    "index far too large": (lambda: broken(indices=(7, 2**31 - 1)), "column index 2147483647"),
    "negative index": (lambda: broken(indices=(59, -1)),
                       "column index -1 in row 11 is outside"),
    "decreasing indptr": (lambda: broken(indptr=(4, 2)), "indptr decreases at position 4"),
    "indptr beyond the data": (lambda: broken(indptr=(12, 61)),
                               "indptr ends at 61, beyond the 60 indices and 60 values"),
    "indptr far beyond": (lambda: broken(indptr=(12, 2**31 - 1)), "indptr ends at 2147483647"),
    "indptr not from 0": (lambda: broken(indptr=(0, 1)), r"indptr\[0\] is 1"),
    "negative indptr": (lambda: broken(indptr=(0, -5)), r"indptr\[0\] is -5"),
    "csc": (lambda: _broken_csc(), "X is not a valid CSC matrix: row index 99 in column 1"),
    "coo": (lambda: _broken_coo(), "X is not a valid COO matrix: column index 5 is outside"),
    "bsr": (lambda: _broken_bsr(), "X is not a valid BSR matrix: column index 9"),
    "indices of floats": (lambda: with_arrays("csr", indices=np.full(60, np.nan)),
                          r"indices is an array of 1 dimension\(s\) of float64, expected"),
    "rows of floats": (lambda: with_arrays("csc", indices=np.zeros(60)), "not a valid CSC.*float"),
    "indices in 2-D": (lambda: with_arrays("csr", indices=np.zeros((60, 1), int)), "2 dimension"),
    "indptr in 2-D": (lambda: with_arrays("csr", indptr=np.zeros((13, 1), int)), "2 dimension"),
    "data in 2-D": (lambda: with_arrays("csr", data=np.ones((60, 1))), "values have 2 dimensions"),
    "short indptr": (lambda: with_arrays("csr", indptr=np.array([0, 60])), "indptr has 2 entries"),
    "short data": (lambda: with_arrays("csr", data=np.ones(3)), "60 indices and 3 values"),
    "short coo": (lambda: with_arrays("coo", col=np.zeros(3, int)), "60 row indices, 3 column ind"),
    "short coo data": (lambda: with_arrays("coo", data=np.ones(3)), "60 column indices and 3 val"),
    "blocks": (lambda: with_arrays("bsr", data=np.ones((60, 5, 5))), r"blocks of shape \(5, 5\)"),
    "flat blocks": (lambda: with_arrays("bsr", data=np.ones((60, 1))), r"blocks of shape \(1,\)"),
    "few diagonals": (lambda: with_arrays("dia", offsets=np.zeros(1, int)), "each of 1 diagonals"),
    "many diagonals": (lambda: with_arrays("dia", offsets=np.arange(99)), "each of 99 diagonals"),
    "diagonals of floats": (lambda: with_arrays("dia", offsets=np.zeros(16)), "offsets.*float64"),
    "short lists": (lambda: with_lists([0], [1.0] * 999), "row 3 has 1 indices and 999 values"),
    "long lists": (lambda: with_lists([0] * 999, [1.0]), "row 3 has 999 indices and 1 values"),
    "lists of other columns": (lambda: with_lists([-7], [1.0]), "column index -7 in row 3"),
    "few lists": (lambda: with_arrays("lil", rows=np.array([[0]], object)[:, 0]),
                  "1 lists of indices and 12 of values"),
    "no rows": (lambda: np.empty((0, 5)), r"0 sample\(s\)"),
    "no rows, sparse": (lambda: sp.csr_matrix((0, 5)), r"0 sample\(s\)"),
    "1-D": (lambda: np.ones(12), "Expected 2D array"),
    "3-D": (lambda: np.ones((12, 5, 1)), "dim 3|Found array with dim"),
    "1-D sparse": (lambda: sp.coo_array(np.ones(12)), "two-dimensional"),
    "strings": (lambda: np.full((12, 5), "word"), "X has text.*'word'.*TfidfVectorizer"),
    "texts": (lambda: ["some words"] * 12, "X has text.*'some words'.*TfidfVectorizer"),
    "series of texts": (lambda: pd.Series(["some words"] * 12), "X has text.*TfidfVectorizer"),
    "complex": (lambda: np.ones((12, 5), complex), "Complex data not supported"),
    "ragged": (lambda: [[1.0]] * 11 + [[1.0, 2.0]], "inhomogeneous|sequence"),
}


def _broken_csc():
    X = sp.csc_matrix(broken())
    X.indices[12] = 99
    return X


def _broken_coo():
    X = sp.coo_matrix(broken())
    X.col[0] = 5
    return X


def _broken_bsr():
    X = sp.bsr_matrix(broken(), blocksize=(1, 1))
    X.indices[0] = 9
    return X


def with_arrays(form, **arrays):
    X = broken().asformat(form)
    for name, array in arrays.items():
        setattr(X, name, array)
    return X


def with_lists(indices, values):
    X = broken().tolil()
    X.rows[3], X.data[3] = indices, values
    return X


@pytest.mark.parametrize("method", ["fit", "partial_fit", *PREDICTIONS])
@pytest.mark.parametrize("case", BAD_X)
def test_bad_X(case, method, data):
    make, match = BAD_X[case]
    assert_refused(method, (ValueError, TypeError), f"(?s){match}", make(), data[1])


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_no_features(method, data):
    assert_refused(method, ValueError, r"0 feature\(s\)", np.empty((12, 0)), data[1])


@pytest.mark.parametrize("method", ["partial_fit", *PREDICTIONS])
@pytest.mark.parametrize("make", [np.ones, sp.csr_matrix], ids=["dense", "sparse"])
def test_wrong_number_of_features(method, make, data):
    model = small().fit(*data)
    before = snapshot(model)
    options = {"y": data[1]} if method in ("partial_fit", "score") else {}
    with pytest.raises(ValueError, match="X has 6 features, but SlideClassifier is expecting 5"):
        getattr(model, method)(make((12, 6)), **options)
    model.set_params(warm_start=True)
    with pytest.raises(ValueError, match="X has 6 features, but SlideClassifier is expecting 5"):
        model.fit(make((12, 6)), data[1])
    assert_same_state(snapshot(model.set_params(warm_start=False)), before)


@pytest.mark.parametrize("method", PREDICTIONS)
def test_not_fitted(method, data):
    with pytest.raises(NotFittedError, match="SlideClassifier instance is not fitted yet"):
        getattr(small(), method)(data[0], **({"y": data[1]} if method == "score" else {}))


@pytest.mark.parametrize("shape, what", [((2**31, 5), "rows"), ((12, 2**31), "columns")])
def test_numbers_beyond_int32(shape, what):
    """Of a matrix that is nothing but its shape: 2^31 rows take 16 GB."""
    with pytest.raises(ValueError, match=f"at most {2**31 - 1} {what} are supported, got {2**31}"):
        canonical_csr(SimpleNamespace(shape=shape))


# ---- y -----------------------------------------------------------------------------------------

def indicator(value=1, form="csr", dtype=np.float64):
    Y = sp.csr_matrix(np.eye(4)[np.arange(12) % 4]).astype(dtype)
    Y.data[7] = value
    return Y.asformat(form)


def broken_y(**arrays):
    Y = indicator()
    for name, (place, value) in arrays.items():
        getattr(Y, name)[place] = value
    return Y


def twice(form, dtype=np.int64):
    rows, columns = np.arange(13) % 12, np.arange(13) % 4
    columns[12] = columns[0]
    Y = sp.coo_matrix((np.ones(13, dtype), (rows, columns)), (12, 4))
    if form == "coo":
        return Y
    order = np.argsort(rows if form == "csr" else columns, kind="stable")
    minor = (columns if form == "csr" else rows)[order]
    counts = np.bincount(rows if form == "csr" else columns, minlength=12 if form == "csr" else 4)
    parts = (np.ones(13, dtype), minor, np.concatenate([[0], np.cumsum(counts)]))
    return (sp.csr_matrix if form == "csr" else sp.csc_matrix)(parts, (12, 4))


def broken_twice(form):
    """An entry twice, where scipy takes the order for granted."""
    Y = sp.csr_matrix(np.tile([1.0, 1.0, 0.0, 0.0], (12, 1)))
    assert Y.has_canonical_format
    if form == "csc":
        Y = Y.tocsc()
        assert Y.has_canonical_format
    elif form == "bsr":
        Y = sp.bsr_matrix(Y, blocksize=(1, 1))
    elif form != "csr":
        Y = Y.asformat(form)
    if form == "lil":
        Y.rows[0] = [0, 0]
    elif form == "dia":
        Y.offsets[:] = 0
    elif form == "coo":
        Y.sum_duplicates()
        Y.col[:] = 0
    else:
        Y.indices[:2] = 0
    return Y


BAD_INDICATORS = {
    "two": (lambda: indicator(2), r"y must be an indicator.* y\[7, 3\] is 2"),
    "half": (lambda: indicator(0.5, "csc"), r"y\[7, 3\] is 0.5"),
    "negative": (lambda: indicator(-1, "coo"), r"y\[7, 3\] is -1"),
    "NaN": (lambda: indicator(np.nan), r"y\[7, 3\] is nan"),
    "inf": (lambda: indicator(np.inf), r"y\[7, 3\] is inf"),
    "dense two": (lambda: indicator(2).toarray(), r"y\[7, 3\] is"),
    "dense NaN": (lambda: indicator(np.nan).toarray(), r"(?s)y contains NaN.*y\[7, 3\]"),
    "dense inf": (lambda: indicator(np.inf).toarray(), r"(?s)y contains infinity.*y\[7, 3\]"),
    "dense strings": (lambda: np.full((12, 4), "a"), "indicator of zeros and ones.*dtype"),
    "complex": (lambda: indicator().astype(complex), "its dtype is complex"),
    "twice csr": (lambda: twice("csr"), r"more than one entry for y\[0, 0\]"),
    "twice csc": (lambda: twice("csc"), r"more than one entry for y\[0, 0\]"),
    "twice coo": (lambda: twice("coo"), r"more than one entry for y\[0, 0\]"),
    "twice bool": (lambda: twice("coo", bool), r"more than one entry for y\[0, 0\]"),
    **{f"twice {form}, written later": (lambda form=form: broken_twice(form),
                                        r"more than one entry for y\[0, 0\]")
       for form in ("csr", "csc", "coo", "bsr", "lil", "dia")},
    "index too large": (lambda: broken_y(indices=(7, 4)),
                        r"y is not a valid CSR matrix: column index 4 in row 7"),
    "negative index": (lambda: broken_y(indices=(7, -1)), "column index -1 in row 7"),
    "decreasing indptr": (lambda: broken_y(indptr=(4, 2)), "indptr decreases at position 4"),
    "indptr beyond the data": (lambda: broken_y(indptr=(12, 13)), "indptr ends at 13, beyond the "
                                                                  "12 indices"),
    "too few rows": (lambda: indicator()[:11], "X has 12 and y has 11"),
    "too many rows": (lambda: sp.vstack([indicator(), indicator()]), "X has 12 and y has 24"),
    "dense, too few rows": (lambda: indicator().toarray()[:11], "X has 12 and y has 11"),
    "no columns": (lambda: sp.csr_matrix((12, 0)), "y has no columns"),
    "dense, no columns": (lambda: np.empty((12, 0)), "y has no columns"),
    "no rows": (lambda: sp.csr_matrix((0, 4)), "y has no samples"),
    "None": (lambda: None, "requires y to be passed"),
    "1-D sparse": (lambda: sp.coo_array(np.ones(12)), "y must be two-dimensional"),
    "3-D": (lambda: np.ones((12, 4, 2)), "y must have one or two dimensions"),
    "minus ones": (lambda: indicator().toarray() * 2 - 1, r"^y has two dimensions.* is -1\."),
    "ragged": (lambda: [[1], [1, 2]] * 6, "MultiLabelBinarizer"),
    "pairs": (lambda: [["a", "b"]] * 12, "its dtype is <U1. MultiLabelBinarizer"),
    "pairs of numbers": (lambda: [[3, 7]] * 12, r"y\[0, 0\] is 3\. MultiLabelBinarizer"),
    "sets": (lambda: [{"a"}, {"a", "b"}] * 6, r"y\[0\] is a set\. MultiLabelBinarizer"),
    "series of lists": (lambda: pd.Series([["a"], ["a", "b"]] * 6),
                        r"y\[0\] is a list\. MultiLabelBinarizer"),
    "list after labels": (lambda: pd.Series(["a"] * 11 + [["a", "b"]]), r"y\[11\] is a list"),
}
BAD_LABELS = {
    "NaN": (lambda: np.r_[np.arange(11) % 4, np.nan], r"(?s)y contains NaN.*y\[11\]"),
    "inf": (lambda: np.r_[np.inf, np.arange(11) % 4], r"(?s)y contains infinity.*y\[0\]"),
    "continuous": (lambda: np.linspace(0, 1, 12), "Unknown label type: continuous"),
    "mixed": (lambda: np.array(["a", 1] * 6, object), r"y mixes types.*y\[1\] is 1"),
    "missing": (lambda: np.array(["a", None] * 6, object), r"y mixes types.*y\[1\] is None"),
    "missing string": (lambda: pd.Series(["a", None] * 6),
                       r"y mixes types.*y\[0\] is 'a', y\[1\] is (nan|None)"),
    "NaN in a list": (lambda: ["a", float("nan")] * 6, r"y mixes types.*'a', y\[1\] is nan\."),
    "number in a list": (lambda: ["a", 1] * 6, r"y mixes types.*y\[0\] is 'a', y\[1\] is 1\."),
    "bytes": (lambda: np.array([b"a", b"b"] * 6), r"type bytes.*np\.char\.decode"),
    "bytes in a list": (lambda: [b"a", b"b"] * 6, r"type bytes.*np\.char\.decode"),
    "missing Int64": (lambda: pd.Series([1, None] * 6, dtype="Int64"),
                      r"(?s)y contains NaN.*y\[1\]"),
    "objects": (lambda: np.array([object()] * 12), "Unknown label type"),
    "too few": (lambda: np.arange(11) % 4, "X has 12 and y has 11"),
    "too many": (lambda: np.arange(13) % 4, "X has 12 and y has 13"),
    "none": (lambda: np.empty(0, int), "y has no samples"),
    "scalar": (lambda: 3, "y|shape"),
    "text": (lambda: "abc", "y|shape"),
}


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("case", BAD_INDICATORS)
def test_bad_indicators(case, method, data):
    make, match = BAD_INDICATORS[case]
    assert_refused(method, (ValueError, TypeError), match, data[0], make())
    assert_refused(method, (ValueError, TypeError), match, data[0], make(), warm_start=True)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("case", BAD_LABELS)
def test_bad_labels(case, method, data):
    make, match = BAD_LABELS[case]
    assert_refused(method, (ValueError, TypeError), match, data[0], make(), labels=True)


@pytest.mark.parametrize("make", [
    lambda: sp.csr_matrix((12, 4)), lambda: indicator() * 0, lambda: np.zeros((12, 4)),
], ids=["sparse", "explicit zeros", "dense"])
def test_no_labels_at_all(make, data):
    """Refused as the whole of the data, harmless as a part of them."""
    X, Y = data
    assert_refused("fit", ValueError, "y has no labels at all", X, make())
    assert_refused("fit", ValueError, "y has no labels at all", X, make(), warm_start=True)
    for parameters in ({}, {"loss": "softmax"}, {"class_weight": {1: 2.0}}):
        model = small(**parameters).partial_fit(X, make())  # the first part
        before = model.decision_function(X)
        model.partial_fit(X, Y).partial_fit(X, make())
        assert model.n_iter_ == 3 and np.isfinite(model.loss_)
        assert np.isfinite(before).all() and np.isfinite(model.decision_function(X)).all()


def test_indicators_of_another_width(data):
    X, Y = data
    for warm in (False, True):
        model = small(warm_start=warm).fit(X, Y)
        before = snapshot(model)
        with pytest.raises(ValueError, match=r"indicator with 3 columns.*known classes are 4 "
                                             r"columns\.$"):
            (model.fit if warm else model.partial_fit)(X, Y[:, :3])
        with pytest.raises(ValueError, match=r"indicator with 8 columns.*Classes can't be added"):
            (model.fit if warm else model.partial_fit)(X, sp.hstack([Y, Y]))
        with pytest.raises(ValueError, match="must be of the kind that the model was fitted with"):
            (model.fit if warm else model.partial_fit)(X, np.arange(12) % 4)
        assert_same_state(snapshot(model), before)


# ---- classes of partial_fit --------------------------------------------------------------------

def test_classes(data):
    X, Y = data
    y = np.array(["a", "b", "c", "d"])[np.arange(12) % 4]
    model = small()
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        model.partial_fit(X, y)
    for bad in ([], [["a", "b"]], "abcd"):
        with pytest.raises(ValueError, match="classes must be a non-empty 1-D array"):
            model.partial_fit(X, y, classes=bad)
    with pytest.raises(ValueError, match=r"2 label\(s\) that are not among the 2 known classes, "
                                         r"for example 'c'\. Classes can't be added"):
        model.partial_fit(X, y, classes=["a", "b"])
    with pytest.raises(ValueError, match="labels of dtype <U1, but the known classes are of dtype"):
        model.partial_fit(X, y, classes=[1, 2, 3, 4])
    with pytest.raises(ValueError, match="indicator with 4 columns"):
        model.partial_fit(X, Y, classes=[0, 1, 2])
    assert not vars(model).keys() - vars(small()).keys()
    model.partial_fit(X, y, classes=["d", "c", "b", "a", "e"])
    before = snapshot(model)
    with pytest.raises(ValueError, match="not the same as in the first call"):
        model.partial_fit(X, y, classes=["a", "b", "c", "d"])
    with pytest.raises(ValueError, match=r"1 label\(s\) that are not among the 5 known"):
        model.partial_fit(X, np.where(y == "a", "z", y))
    with pytest.raises(ValueError, match=r"1 label\(s\) that are not among the 5 known"):
        model.set_params(warm_start=True).fit(X, np.where(y == "a", "z", y))
    assert_same_state(snapshot(model.set_params(warm_start=False)), before)


@pytest.mark.parametrize("labels, bad, error, match", [
    ([0, 1], [0, 1, np.nan], ValueError, r"classes contains NaN.*\n.*classes\[2\]"),
    ([0, 1], [np.inf, 0, 1], ValueError, r"classes contains infinity.*\n.*classes\[0\]"),
    (["a", "b"], ["a", "b", np.nan], TypeError, "classes mixes types.*'a', classes.2. is nan"),
    (["a", "b"], ["a", "b", 1], TypeError, "classes mixes types.*'a', classes.2. is 1"),
    (["a", "b"], ["a", "b", None], TypeError, "classes mixes types.*'a', classes.2. is None"),
    ([0, 1], [0, 1, None], TypeError, "classes mixes types.* is 0, classes.2. is None"),
    ([0, 1], np.array([0, 1], object), ValueError, "classes has 0, but labels that are objects"),
    (["a", "b"], [b"a", b"b"], TypeError, r"classes has labels of type bytes.*np.char.decode"),
    (["a", "b"], [["a"], ["b", "c"]], ValueError, "classes must be labels, but its rows differ"),
    (np.array([0, 1], "M8[D]"), np.array([0, 1, "NaT"], "M8[D]"), ValueError,
     r"classes contains NaT.*\n.*classes\[2\]"),
], ids=str)
def test_bad_classes(data, labels, bad, error, match):
    y = np.asarray(labels)[np.arange(12) % 2]
    with pytest.raises(error, match=match):
        small().partial_fit(data[0], y, classes=bad)


def test_missing_dates(data):
    y = np.array(["2020-01-01", "NaT"], "M8[D]")[np.arange(12) // 11]
    with pytest.raises(ValueError, match=r"y contains NaT.*\n.*y\[11\]"):
        small().fit(data[0], y)


def test_indicator_of_other_classes(data):
    X, Y = data
    model = small(warm_start=True).partial_fit(X, Y)
    n_columns = Y.shape[1]
    for method in (model.fit, model.partial_fit):
        with pytest.raises(ValueError, match=f"indicator with 2 columns, but the known classes are "
                                             f"{n_columns} columns"):
            method(X, Y[:, :2])
    with pytest.raises(ValueError, match=r"column numbers 0 to .*the known ones begin with 'a'"):
        small().partial_fit(X, Y, classes=list("abcdefgh")[:n_columns])
    labels = small(warm_start=True).fit(X, np.arange(12) % 4)
    for method in (labels.fit, labels.partial_fit):
        with pytest.raises(ValueError, match="kind that the model was fitted with: labels"):
            method(X, Y)


# ---- sample_weight -----------------------------------------------------------------------------

@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("weight, match", [
    (np.ones(11), r"sample_weight.shape == \(11,\), expected \(12,\)"),
    (np.ones((12, 2)), "must be 1D"),
    (np.r_[np.ones(11), -1], "Negative values.*sample_weight.*-1.0 at position 11"),
    (np.r_[np.nan, np.ones(11)], "sample_weight contains NaN"),
    (np.r_[np.inf, np.ones(11)], "sample_weight contains infinity"),
    (np.zeros(12), "(?i)sample.?weights?.*at least one"),
    (["a"] * 12, "could not convert string to float"),
], ids=str)
def test_bad_weights(method, weight, match, data):
    assert_refused(method, ValueError, match, *data, sample_weight=weight)


# ---- parameters --------------------------------------------------------------------------------

NAN, INF = float("nan"), float("inf")
COMMON = [None, "nonsense", [], object()]
BAD_PARAMETERS = {
    "hidden_layer_sizes": [(), 0, -1, (8, 0), (8, -3), (8.5,), 2.5, "abc", ("a",), [[8]], (2**40,),
                           True, (NAN,), None, (8, None)],
    "loss": ["hinge", *COMMON],
    "class_weight": ["inverse", 1.0, [], object()],
    "solver": ["lbfgs", *COMMON],
    "learning_rate": ["adaptive", 0.1, *COMMON],
    "learning_rate_init": [0, -1, NAN, INF, *COMMON],
    "beta_1": [-0.1, 1, 1.5, 1 - 1e-12, NAN, *COMMON], "beta_2": [-0.1, 1, 1.5, NAN, *COMMON],
    "epsilon": [0, -1e-8, 1e-300, NAN, INF, *COMMON],
    "init": ["zeros", *COMMON],
    "dtype": ["float16", "float64", np.float32, *COMMON],
    "batch_size": [0, -1, 2.5, NAN, *COMMON],
    "max_iter": [0, -1, 2.5, NAN, INF, *COMMON],
    "dropout": [-0.1, 1, 1.5, NAN, *COMMON],
    "sampling": ["uniform", *COMMON],
    "n_random": [-1, 2.5, NAN, *COMMON],
    "share_random": ["yes", 2.5, *COMMON],
    "gradient_threshold": [-0.01, 1.01, NAN, INF, *COMMON],
    "n_candidates": [0, -1, 2.5, 2**31, *COMMON],
    "min_collisions": [0, -1, 2.5, 2**31, *COMMON],
    "hash_function": ["md5", *COMMON],
    "hash_length": [0, -1, 64, 2.5, *COMMON[1:]],
    "n_tables": [0, -1, 2.5, 2**15 + 1, *COMMON],
    "bucket_size": [0, -1, 2.5, 2**31, *COMMON],
    "insertion": ["lifo", *COMMON],
    "center": ["yes", 2.5, *COMMON],
    "rebuild_interval": [0, -1, 2.5, *COMMON],
    "rebuild_growth": [0.9, -1, NAN, INF, *COMMON],
    "redraw_every": [-1, 2.5, *COMMON],
    "ranker": ["tree", 1.5, *(value for value in COMMON if value is not None)],
    "C": [0, -1.0, *COMMON],
    "early_stopping": ["yes", 2.5, *COMMON],
    "validation_fraction": [0, 1, -0.1, 1.5, NAN, *COMMON],
    "n_iter_no_change": [0, -1, 2.5, NAN, *COMMON],
    "tol": [-1e-4, NAN, INF, *COMMON],
    "calibrate": ["yes", 2.5, *COMMON],
    "shuffle": ["yes", 2.5, *COMMON],
    "warm_start": ["yes", 2.5, *COMMON],
    "random_state": ["seed", -1, 2.5, 2**32, [], object()],
    "n_jobs": [0, 2.5, "two", [], object()],
    "verbose": [-1, 2.5, *COMMON],
}


def test_every_parameter_is_tried():
    assert list(BAD_PARAMETERS) == list(inspect.signature(SlideClassifier).parameters)


@pytest.mark.parametrize("name, value", [(name, value) for name, values in BAD_PARAMETERS.items()
                                         for value in values],
                         ids=lambda value: "object" if type(value) is object else repr(value))
def test_bad_parameters(name, value, data):
    for method in ("fit", "partial_fit"):
        with pytest.raises((ValueError, TypeError), match=name):
            getattr(small(**{name: value}), method)(*data)
        model = small().fit(*data)
        setattr(model, name, value)
        before = dict(vars(model))
        if (method, name) == ("partial_fit", "random_state"):
            continue  # was used when the model was started
        with pytest.raises((ValueError, TypeError), match=name):
            getattr(model, method)(*data)
        assert vars(model).keys() == before.keys()
        assert all(vars(model)[key] is before[key] for key in before)


@pytest.mark.parametrize("name", ["wta", "dwta", "minhash"])
def test_hash_length_of_other_families(name, data):
    small(hash_function=name, hash_length=21, sampling="topk").fit(*data)
    with pytest.raises(ValueError, match=r"hash_length=22 .* at most 21"):
        small(hash_function=name, hash_length=22).fit(*data)


def test_good_extremes(data):
    X, Y = data
    for setting in ({"batch_size": 10**12}, {"n_random": 10**12}, {"n_random": 0},
                    {"gradient_threshold": 1, "n_random": 1}, {"gradient_threshold": 1e-300},
                    {"n_jobs": 10**9}, {"n_jobs": -(10**9)}, {"n_candidates": 2**31 - 1},
                    {"bucket_size": 2**31 - 1},
                    {"min_collisions": 2**31 - 1, "sampling": "threshold"},
                    {"rebuild_growth": 1e300, "sampling": "topk"}, {"hash_length": 63},
                    {"rebuild_interval": 10**30, "sampling": "topk"},
                    {"beta_1": 0.0, "beta_2": 0.0},
                    {"dropout": 1 - 1e-6}, {"epsilon": 1e-37}, {"hidden_layer_sizes": 1},
                    {"learning_rate_init": 1e-30}):
        model = small(**setting).fit(X, Y)
        assert np.isfinite(model.loss_)
        assert model.predict_topk(X, k=4, method="lsh")[0].shape == (12, 4)


# ---- predict_topk ------------------------------------------------------------------------------

@pytest.mark.parametrize("k", [0, -1, 5, 2.0, "3", True, [1], NAN, 10**30])
def test_bad_k(k, data):
    model = small().fit(*data)
    before = snapshot(model)
    for method in ("exact", "lsh"):
        with pytest.raises(ValueError, match=r"k must be an integer in \[1, 4\]"):
            model.predict_topk(data[0], k=k, method=method)
    assert_same_state(snapshot(model), before)


def test_bad_method(data):
    with pytest.raises(ValueError, match="method must be 'exact' or 'lsh', got 'fast'"):
        small().fit(*data).predict_topk(data[0], k=1, method="fast")


# ---- divergence --------------------------------------------------------------------------------

DIVERGING = [{"solver": "sgd", "learning_rate_init": 1e30}, {"learning_rate_init": 1e37},
             {"solver": "adagrad", "learning_rate_init": 1e38},
             {"solver": "sgd", "learning_rate_init": 1e20, "loss": "softmax"}]


@pytest.mark.parametrize("setting", DIVERGING, ids=str)
def test_divergence(setting, extreme):
    X, Y = extreme[0][:300], extreme[1][:300]
    fresh = small(**setting)
    before = snapshot(fresh)
    with pytest.raises(ValueError, match=r"diverged.*learning_rate_init"):
        fresh.fit(X, Y)
    assert_same_state(snapshot(fresh), before)
    model = small(warm_start=True).fit(X, Y)
    scores = model.decision_function(X)
    before = snapshot(model)
    for method, warm_start in (("fit", False), ("fit", True), ("partial_fit", False)):
        model.set_params(warm_start=warm_start, **setting)
        with pytest.raises(ValueError, match=r"diverged.*learning_rate_init"):
            for _ in range(5):
                getattr(model, method)(X, Y)
                assert all(np.isfinite(array).all() for array in model.coefs_)
        model.set_params(**small(warm_start=True).get_params())
        if method == "fit":
            found = snapshot(model)
            if warm_start:
                before["_optimizer_state"] = found["_optimizer_state"]
            assert_same_state(found, before)
            np.testing.assert_array_equal(model.decision_function(X), scores)
        else:
            assert all(np.isfinite(array).all() for array in model.coefs_)
    # and can be trained further
    assert np.isfinite(model.fit(X, Y).loss_)


def test_huge_values(extreme):
    X, Y = extreme[0][:300].astype(np.float32), extreme[1][:300]
    with pytest.raises(DivergenceError, match="scale X"):
        small().fit(X * np.float32(1e38), Y)
    model = small().fit(X, Y)
    kept = snapshot(model)
    with pytest.raises(ValueError, match="scale X"):
        model.partial_fit(X * np.float32(1e38), Y)
    assert_same_state(snapshot(model), kept)
    model._coefs[0] *= np.float32(1e6)
    huge = X[:5].copy()
    huge.data[huge.indptr[2]:huge.indptr[3]] = 3e38
    for method in PREDICTIONS[:-1]:
        with pytest.raises(ValueError, match="row 2 of X are not finite"):
            getattr(model, method)(huge)
    with pytest.raises(ValueError, match="row 2 of X are not finite"):
        model.predict_topk(huge, method="lsh")
