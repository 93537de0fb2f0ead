"""Ranking metrics and scorers, against hand-worked examples and scikit-learn's metrics."""

import pickle
from functools import partial

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import sklearn
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.metrics import ndcg_score, precision_score, recall_score, top_k_accuracy_score
from sklearn.model_selection import GridSearchCV, cross_validate

from slidelearn.metrics import (
    TopKScorer,
    label_propensities,
    make_topk_scorer,
    ndcg_at_k,
    precision_at_k,
    propensity_scored_ndcg_at_k,
    propensity_scored_precision_at_k,
    recall_at_k,
)

# Four rows of five classes: two labels, one, three, and none.
Y_TRUE = np.array([[1, 0, 1, 0, 0], [0, 1, 0, 0, 0], [1, 1, 0, 1, 0], [0, 0, 0, 0, 0]])
TOPK = np.array([[2, 1, 0], [0, 1, -1], [3, 0, 1], [0, 1, 2]])
PROPENSITIES = np.array([0.5, 0.25, 1.0, 0.1, 0.2])
SECOND = 1 / np.log2(3)  # gain of a right label at rank two, and so on
THIRD = 1 / np.log2(4)

PLAIN = [precision_at_k, recall_at_k, ndcg_at_k]
SCORED = [
    partial(propensity_scored_precision_at_k, propensities=PROPENSITIES),
    partial(propensity_scored_ndcg_at_k, propensities=PROPENSITIES),
]
ALL = PLAIN + SCORED


# ---- worked by hand -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("k", "expected"),
    [
        (1, (1 + 0 + 1 + 0) / 4),
        (2, (1 / 2 + 1 / 2 + 2 / 2 + 0) / 4),
        (3, (2 / 3 + 1 / 3 + 3 / 3 + 0) / 4),
    ],
)
def test_precision_by_hand(k, expected):
    assert precision_at_k(Y_TRUE, TOPK, k) == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize(
    ("k", "expected"),
    [(1, (1 / 2 + 0 + 1 / 3 + 0) / 4), (2, (1 / 2 + 1 + 2 / 3) / 4), (3, (1 + 1 + 1) / 4)],
)
def test_recall_by_hand(k, expected):
    assert recall_at_k(Y_TRUE, TOPK, k) == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize(
    ("k", "expected"),
    [
        (1, (1 + 0 + 1 + 0) / 4),
        (2, (1 / (1 + SECOND) + SECOND + 1 + 0) / 4),
        (3, ((1 + THIRD) / (1 + SECOND) + SECOND + 1 + 0) / 4),
    ],
)
def test_ndcg_by_hand(k, expected):
    assert ndcg_at_k(Y_TRUE, TOPK, k) == pytest.approx(expected, abs=1e-15)


# One over the propensities is 2, 4, 1, 10, 5.
@pytest.mark.parametrize(
    ("k", "expected"),
    [
        (1, (1 + 0 + 10) / (2 + 4 + 10)),
        (2, (1 + 4 + (10 + 2)) / ((2 + 1) + 4 + (10 + 4))),
        (3, 1.0),  # all labels found; their order does not matter
    ],
)
def test_propensity_scored_precision_by_hand(k, expected):
    score = propensity_scored_precision_at_k(Y_TRUE, TOPK, PROPENSITIES, k)
    assert score == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize(
    ("k", "expected"),
    [
        (1, (1 + 0 + 10) / (2 + 4 + 10)),
        (
            2,
            (1 / (1 + SECOND) + 4 * SECOND + (10 + 2 * SECOND) / (1 + SECOND))
            / ((2 + SECOND) / (1 + SECOND) + 4 + (10 + 4 * SECOND) / (1 + SECOND)),
        ),
    ],
)
def test_propensity_scored_ndcg_by_hand(k, expected):
    score = propensity_scored_ndcg_at_k(Y_TRUE, TOPK, PROPENSITIES, k)
    assert score == pytest.approx(expected, abs=1e-15)


def test_propensities_by_hand():
    Y = np.zeros((100, 3))
    Y[:4, 1] = 1
    Y[:50, 2] = 1
    C = (np.log(100) - 1) * 2.5**0.55
    expected = [1 / (1 + C * np.exp(-0.55 * np.log(count + 1.5))) for count in (0, 4, 50)]
    assert_allclose(label_propensities(Y), expected, rtol=1e-14)
    C = (np.log(100) - 1) * 1.4**0.5
    expected = [1 / (1 + C * (count + 0.4) ** -0.5) for count in (0, 4, 50)]
    assert_allclose(label_propensities(sp.coo_array(Y), A=0.5, B=0.4), expected, rtol=1e-14)
    assert_allclose(label_propensities(Y.astype(np.float16)), label_propensities(Y), rtol=1e-14)
    assert label_propensities(Y).dtype == np.float64


# ---- against scikit-learn -----------------------------------------------------------------


@pytest.fixture(scope="module")
def ranked():
    """Random labels and scores: one row has no labels, one has all."""
    rng = np.random.RandomState(0)
    scores = rng.random_sample((200, 30))
    Y = (rng.random_sample((200, 30)) < 0.1).astype(int)
    Y[0], Y[1] = 0, 1
    return Y, scores, np.argsort(-scores, axis=1)


@pytest.mark.parametrize("k", [1, 3, 30])
def test_ndcg_is_that_of_scikit_learn(ranked, k):
    Y, scores, topk = ranked
    weight = np.random.RandomState(1).random_sample(200)
    assert ndcg_at_k(Y, topk, k) == pytest.approx(ndcg_score(Y, scores, k=k))
    weighted = ndcg_score(Y, scores, k=k, sample_weight=weight)
    assert ndcg_at_k(Y, topk, k, sample_weight=weight) == pytest.approx(weighted)


@pytest.mark.parametrize("k", [1, 3, 30])
def test_precision_and_recall_are_those_of_scikit_learn(ranked, k):
    Y, _, topk = ranked
    predicted = np.zeros_like(Y)
    np.put_along_axis(predicted, topk[:, :k], 1, axis=1)
    options = {"average": "samples", "zero_division": 0}
    expected = precision_score(Y, predicted, **options)
    assert precision_at_k(Y, topk, k) == pytest.approx(expected)
    assert recall_at_k(Y, topk, k) == pytest.approx(recall_score(Y, predicted, **options))


@pytest.mark.parametrize("k", [1, 4])
@pytest.mark.parametrize("names", [np.arange(6), np.array(list("uvwxyz"))])
def test_one_label_a_row_is_top_k_accuracy(k, names):
    rng = np.random.RandomState(0)
    y, scores = rng.randint(6, size=100), rng.random_sample((100, 6))
    topk = names[np.argsort(-scores, axis=1)]
    weight = rng.random_sample(100)
    accuracy = top_k_accuracy_score(y, scores, k=k, sample_weight=weight)
    recall = recall_at_k(names[y], topk, k, sample_weight=weight)
    assert recall == pytest.approx(accuracy)
    assert precision_at_k(names[y], topk, k, sample_weight=weight) == pytest.approx(recall / k)


@pytest.mark.parametrize("metric", ALL)
def test_one_label_a_row_as_vector_or_indicator(metric):
    y = np.array([0, 4, 1])
    topk = [[0, 1], [3, 4], [2, -1]]
    assert metric(y, topk, k=2) == pytest.approx(metric(np.eye(5)[y], topk, k=2))
    assert metric(y, topk, k=2) > 0


# ---- properties ---------------------------------------------------------------------------


@st.composite
def problems(draw):
    n_samples, n_classes = draw(st.integers(1, 6)), draw(st.integers(1, 8))
    rng = np.random.RandomState(draw(st.integers(0, 2**32 - 1)))
    Y = rng.random_sample((n_samples, n_classes)) < draw(st.sampled_from([0.1, 0.5, 0.9]))
    topk = np.argsort(rng.random_sample((n_samples, n_classes)), axis=1)
    topk[rng.random_sample(topk.shape) < 0.1] = -1
    propensities = 1 - rng.random_sample(n_classes)
    return Y, topk, propensities, draw(st.integers(1, n_classes))


def slow_scored(Y, topk, propensities, k, discount):
    """Propensity-scored metrics, written down row by row."""
    reached = best = 0.0
    for labels, predicted in zip(Y, topk, strict=True):
        gains = [1 / propensities[c] if c >= 0 and labels[c] else 0.0 for c in predicted[:k]]
        ideal = sorted((1 / propensities[labels]).tolist(), reverse=True)[:k]
        norm = sum(map(discount, range(1, len(ideal) + 1))) if discount(2) < 1 else 1.0
        if ideal:
            reached += sum(g * discount(r) for r, g in enumerate(gains, 1)) / norm
            best += sum(g * discount(r) for r, g in enumerate(ideal, 1)) / norm
    return reached / best if best else 0.0


@settings(max_examples=150, deadline=None)
@given(problems())
def test_scored_metrics_agree_with_a_row_by_row_version(problem):
    Y, topk, propensities, k = problem
    score = propensity_scored_precision_at_k(Y, topk, propensities, k)
    assert score == pytest.approx(slow_scored(Y, topk, propensities, k, lambda rank: 1.0))
    score = propensity_scored_ndcg_at_k(Y, topk, propensities, k)
    expected = slow_scored(Y, topk, propensities, k, lambda rank: 1 / np.log2(rank + 1))
    assert score == pytest.approx(expected)


@settings(max_examples=100, deadline=None)
@given(problems())
def test_limits_and_weights(problem):
    Y, topk, propensities, k = problem
    scored = [partial(metric.func, propensities=propensities) for metric in SCORED]
    weight = np.arange(1, len(Y) + 1)
    repeated = np.repeat(np.arange(len(Y)), weight)
    for metric in [*PLAIN, *scored]:
        score = metric(Y, topk, k=k, sample_weight=weight)
        assert 0 <= score <= 1 + 1e-12
        assert score == pytest.approx(metric(Y[repeated], topk[repeated], k=k))
        assert metric(Y, topk, k=k, sample_weight=7.5 * weight) == pytest.approx(score)


@pytest.mark.parametrize("metric", ALL)
def test_best_prediction_reaches_one(metric):
    Y, topk = np.eye(5)[[2, 3, 0]], np.array([[2], [3], [0]])
    assert metric(Y, topk, k=1) == pytest.approx(1.0, abs=1e-15)
    assert metric(Y, (topk + 1) % 5, k=1) == 0.0


@pytest.mark.parametrize("metric", ALL)
def test_no_labels_at_all(metric):
    assert metric(np.zeros((2, 5)), [[0], [1]], k=1) == 0.0
    assert metric(np.zeros((2, 5)), [[-1], [-1]], k=1) == 0.0


@pytest.mark.parametrize("metric", ALL)
@pytest.mark.parametrize(
    "convert",
    [
        sp.csr_matrix,
        sp.csr_array,
        sp.csc_matrix,
        sp.coo_array,
        sp.lil_matrix,
        sp.dok_array,
        pd.DataFrame,
        np.ndarray.tolist,
        lambda Y: Y.astype(bool),
        lambda Y: sp.csr_matrix(Y, dtype=np.uint8),
        lambda Y: Y.astype(np.float16),
        lambda Y: Y.astype(">f4"),
    ],
)
def test_kinds_of_indicators(metric, convert):
    assert metric(convert(Y_TRUE), TOPK.tolist(), k=3) == metric(Y_TRUE, TOPK, k=3)


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.int64])
def test_kinds_of_column_numbers(dtype):
    assert precision_at_k(Y_TRUE, TOPK.astype(dtype), 3) == precision_at_k(Y_TRUE, TOPK, 3)
    unsigned = np.where(TOPK < 0, 4, TOPK).astype(np.uint64)
    assert precision_at_k(Y_TRUE, unsigned, 3) == precision_at_k(Y_TRUE, TOPK, 3)


def test_stored_zeros_and_unsorted_rows():
    Y = sp.csr_matrix(([1, 0, 1], [4, 0, 1], [0, 3]), shape=(1, 5))
    assert precision_at_k(Y, [[0, 1]], 2) == 0.5
    assert recall_at_k(Y, [[4, 0]], 2) == 0.5
    np.testing.assert_array_equal(Y.indices, [4, 0, 1])  # left alone
    np.testing.assert_array_equal(Y.data, [1, 0, 1])


def test_more_cells_than_an_int32_can_count():
    n_samples, n_classes = 70_000, 670_091
    columns = (np.arange(n_samples) * 7919) % n_classes
    parts = (np.ones(n_samples, np.float32), columns, np.arange(n_samples + 1))
    Y = sp.csr_matrix(parts, shape=(n_samples, n_classes))
    assert Y.indices.dtype == np.int32
    topk = np.stack([(columns + 1) % n_classes, columns], axis=1).astype(np.int32)
    assert precision_at_k(Y, topk, 2) == 0.5
    assert ndcg_at_k(Y, topk, 2) == pytest.approx(SECOND)


def test_minus_one_can_be_a_label_of_a_vector():
    assert precision_at_k([-1, 1], [[-1, 1], [-1, 1]], 1) == 0.5
    assert recall_at_k([3, 1], [[-1, -1], [1, -1]], 2) == 0.5
    with pytest.raises(ValueError, match="label -1 twice in row 0"):
        recall_at_k([-1, 1], [[-1, -1], [1, -1]], 2)


# ---- errors -------------------------------------------------------------------------------

def broken_truth():
    truth = sp.csr_matrix(Y_TRUE)
    truth.indices[truth.indptr[1] - 1] = 5
    return truth


BAD_ARGUMENTS = {
    "no k": ({"k": 0}, "k must be a positive integer, got 0"),
    "fractional k": ({"k": 1.0}, "k must be a positive integer, got 1.0"),
    "boolean k": ({"k": True}, "k must be a positive integer, got True"),
    "large k": ({"k": 4}, "k is 4 but y_topk has only 3 columns"),
    "fewer rows": ({"y_topk": TOPK[:3]}, r"y_topk must have two dimensions and 4 rows.*\(3, 3\)"),
    "one dimension": ({"y_topk": TOPK[:, 0]}, r"y_topk must have two dimensions"),
    "floats": ({"y_topk": TOPK * 1.0}, "y_topk must have integers, .* got float64"),
    "nan": ({"y_topk": TOPK * np.nan}, "y_topk must have integers, .* got float64"),
    "booleans": ({"y_topk": TOPK > 0}, "y_topk must have integers, .* got bool"),
    "names": ({"y_topk": np.full((4, 3), "a")}, "y_topk must have integers, .* or names"),
    "indicator of predict": ({"y_topk": sp.csr_matrix(Y_TRUE)},
                             "y_topk must have integers, .* got a sparse matrix"),
    "lists of labels": ({"y_true": [[1], [1, 2], [3], [4]]}, "y_true .* MultiLabelBinarizer"),
    "too large": (
        {"y_topk": TOPK + np.array([0, 0, 3])},
        r"y_topk\[3, 2\] is 5, outside -1 to 4",
    ),
    "too small": ({"y_topk": TOPK - 1}, r"y_topk\[1, 2\] is -2, outside -1 to 4"),
    "repeated": ({"y_topk": TOPK * [1, 1, 0]}, r"y_topk has the label 0 twice in row 1"),
    "counts": ({"y_true": Y_TRUE * 2}, "y_true must be an indicator of zeros and ones, found 2"),
    "negative": ({"y_true": sp.csr_matrix(-Y_TRUE)}, "zeros and ones, found -1"),
    "nan in truth": ({"y_true": np.where(Y_TRUE, np.nan, 0)}, "zeros and ones, found nan"),
    "text": ({"y_true": Y_TRUE.astype(str)}, "y_true must be an indicator of zeros and ones, got"),
    "complex": ({"y_true": sp.csr_matrix(Y_TRUE * 1j)}, "zeros and ones, got complex128"),
    "column outside": ({"y_true": broken_truth()}, r"y_true is not a valid CSR matrix: column "
                                                   r"index 5 in row 0 is outside of \[0, 5\)"),
    "no rows": ({"y_true": np.zeros((0, 5))}, r"y_true must be an indicator with rows"),
    "three dimensions": ({"y_true": np.zeros((4, 5, 1))}, "y_true must have one or two dimensions"),
    "empty vector": ({"y_true": []}, "y_true must have one or two dimensions"),
    "short weight": ({"sample_weight": [1, 2]}, "inconsistent numbers of samples"),
    "wide weight": ({"sample_weight": np.ones((4, 2))}, "1d array"),
    "zero weight": ({"sample_weight": np.zeros(4)}, "sample_weight must be finite"),
    "negative weight": ({"sample_weight": [1, 1, -1, 1]}, "sample_weight must be finite"),
    "nan weight": ({"sample_weight": [1, 1, np.nan, 1]}, "sample_weight must be finite"),
}


@pytest.mark.parametrize("metric", ALL)
@pytest.mark.parametrize(("change", "message"), BAD_ARGUMENTS.values(), ids=BAD_ARGUMENTS.keys())
def test_bad_arguments(metric, change, message):
    arguments = {"y_true": Y_TRUE, "y_topk": TOPK, "k": 3} | change
    with pytest.raises(ValueError, match=message):
        metric(**arguments)


@pytest.mark.parametrize(
    ("y_true", "y_topk", "message"),
    [
        (["a", "b"], [[1], [2]], "y_true has labels of <U1 but y_topk of int64"),
        ([1, 2], [["a"], ["b"]], "y_true has labels of int64 but y_topk of <U1"),
        ([1.0, np.nan], [[1], [2]], "y_true contains NaN"),
        ([1, 2], [[1, 1], [2, 1]], "y_topk has the label 1 twice in row 0"),
        (["a", "b"], [["a", "b"], ["c", "c"]], "y_topk has the label c twice in row 1"),
        ([1, 2], [[1], [2], [3]], "two dimensions and 2 rows"),
    ],
)
@pytest.mark.parametrize("metric", PLAIN)
def test_bad_label_vectors(metric, y_true, y_topk, message):
    with pytest.raises(ValueError, match=message):
        metric(y_true, y_topk, k=len(y_topk[0]))


@pytest.mark.parametrize("metric", SCORED)
@pytest.mark.parametrize(
    ("propensities", "message"),
    [
        ([0.5] * 4, "y_true has 5 columns but there are 4 propensities"),
        ([0.5, 0.5, 0, 0.5, 0.5], "greater than 0 and at most 1, got 0.0 at 2"),
        ([0.5, 1.5, 0.5, 0.5, 0.5], "greater than 0 and at most 1, got 1.5 at 1"),
        ([0.5, 0.5, 0.5, 0.5, np.nan], "greater than 0 and at most 1, got nan at 4"),
        ([[0.5] * 5], r"one number for each class, got shape \(1, 5\)"),
        (["a"] * 5, "one number for each class"),
        ([], "one number for each class"),
    ],
)
def test_bad_propensities(metric, propensities, message):
    with pytest.raises(ValueError, match=message):
        metric(Y_TRUE, TOPK, propensities=propensities, k=3)


@pytest.mark.parametrize("y_true", [[0, 5], [-1, 0], [0.0, 1.0], ["a", "b"]])
@pytest.mark.parametrize("metric", SCORED)
def test_bad_class_numbers(metric, y_true):
    with pytest.raises(ValueError, match="class numbers from 0 to 4, one for each propensity"):
        metric(y_true, [[0], [1]], k=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"Y_train": np.eye(2)}, "Y_train must have at least 3 rows, got 2"),
        ({"Y_train": 2 * np.eye(4)}, "Y_train must be an indicator of zeros and ones, found 2"),
        (
            {"Y_train": np.zeros(4)},
            r"Y_train must be an indicator with rows and columns, got shape",
        ),
        ({"Y_train": np.eye(4), "A": -1}, "A must be at least 0 and B greater than 0, got A=-1"),
        ({"Y_train": np.eye(4), "B": 0}, "B greater than 0, got A=0.55 and B=0"),
        ({"Y_train": np.eye(4), "B": np.nan}, "B greater than 0"),
        ({"Y_train": np.eye(4), "A": "x"}, "A must be at least 0 .* got A='x'"),
    ],
)
def test_bad_arguments_of_propensities(arguments, message):
    with pytest.raises(ValueError, match=message):
        label_propensities(**arguments)


# ---- scorers ------------------------------------------------------------------------------


class Frequent(ClassifierMixin, BaseEstimator):
    """Predict the same labels for each row: the most frequent, from the `shift`-th on."""

    def __init__(self, shift=0):
        self.shift = shift

    def fit(self, X, y, sample_weight=None):
        if y.ndim == 2:
            self.classes_ = np.arange(y.shape[1])
            counts = np.asarray(y.sum(axis=0)).ravel()
        else:
            self.classes_, counts = np.unique(y, return_counts=True)
        self.order_ = np.argsort(-counts, kind="stable")
        return self

    def predict_topk(self, X, k):
        best = self.classes_[np.roll(self.order_, -self.shift)[:k]]
        return np.tile(best, (X.shape[0], 1)), np.ones((X.shape[0], k))


@pytest.fixture
def problem():
    rng = np.random.RandomState(0)
    X = sp.random(90, 4, 0.5, "csr", random_state=rng)
    Y = sp.csr_matrix(rng.random_sample((90, 6)) < np.linspace(0.1, 0.8, 6), dtype=np.float32)
    return X, Y


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("metric", PLAIN)
def test_scorer_is_the_metric_of_the_prediction(problem, metric, k):
    X, Y = problem
    model = Frequent().fit(X, Y)
    topk, _ = model.predict_topk(X, k)
    scorer = make_topk_scorer(metric, k)
    assert isinstance(scorer, TopKScorer)
    assert scorer(model, X, Y) == metric(Y, topk, k)
    weight = np.random.RandomState(0).random_sample(90)
    assert scorer(model, X, Y, sample_weight=weight) == metric(Y, topk, k, sample_weight=weight)
    assert scorer(model, X, Y, weight) != scorer(model, X, Y)


def test_scorer_with_arguments(problem):
    X, Y = problem
    model, propensities = Frequent().fit(X, Y), label_propensities(Y)
    scorer = make_topk_scorer(propensity_scored_ndcg_at_k, k=2, propensities=propensities)
    topk, _ = model.predict_topk(X, 2)
    assert scorer(model, X, Y) == propensity_scored_ndcg_at_k(Y, topk, propensities, 2)
    expected = (
        "make_topk_scorer(propensity_scored_ndcg_at_k, k=2, propensities=<array of shape (6,)>)"
    )
    assert repr(scorer) == expected


def test_scorer_of_label_vectors():
    X, y = np.zeros((6, 1)), np.array(list("aaabbc"))
    model = Frequent().fit(X, y)
    assert make_topk_scorer(precision_at_k, k=1)(model, X, y) == pytest.approx(1 / 2)
    assert make_topk_scorer(recall_at_k, k=2)(model, X, y) == pytest.approx(5 / 6)


def test_scorer_can_be_pickled_and_cloned(problem):
    X, Y = problem
    model = Frequent().fit(X, Y)
    scorer = make_topk_scorer(ndcg_at_k, k=3)
    for copy in (pickle.loads(pickle.dumps(scorer)), clone(scorer, safe=False)):
        assert repr(copy) == repr(scorer) == "make_topk_scorer(ndcg_at_k, k=3)"
        assert copy(model, X, Y) == scorer(model, X, Y)


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_grid_search(problem, n_jobs):
    X, Y = problem
    scoring = make_topk_scorer(precision_at_k, k=1)
    search = GridSearchCV(
        Frequent(), {"shift": [5, 0, 2]}, scoring=scoring, cv=3, n_jobs=n_jobs, error_score="raise"
    ).fit(X, Y)
    assert search.best_params_ == {"shift": 0}
    assert search.score(X, Y) == scoring(search.best_estimator_, X, Y)
    assert search.best_score_ > 0.6


def test_grid_search_with_several_scorers(problem):
    X, Y = problem
    scoring = {
        "P@1": make_topk_scorer(precision_at_k, k=1),
        "nDCG@3": make_topk_scorer(ndcg_at_k, 3),
    }
    search = GridSearchCV(
        Frequent(), {"shift": [2, 0]}, scoring=scoring, cv=3, refit="nDCG@3", error_score="raise"
    ).fit(X, Y, sample_weight=np.ones(90))
    results = search.cv_results_
    assert (results["mean_test_P@1"] != results["mean_test_nDCG@3"]).all()
    assert search.best_params_ == {"shift": 0}
    assert search.score(X, Y) == scoring["nDCG@3"](search.best_estimator_, X, Y)


def weighted_by_hand(X, Y, weight, scorer, use_weight):
    """Scores of three consecutive folds."""
    scores = []
    for fold in range(3):
        test = np.arange(30 * fold, 30 * fold + 30)
        train = np.setdiff1d(np.arange(90), test)
        model = Frequent().fit(X[train], Y[train])
        scores.append(scorer(model, X[test], Y[test], weight[test] if use_weight else None))
    return scores


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("request_", [True, False, "importance"])
def test_metadata_routing(problem, several, request_):
    X, Y = problem
    weight = np.random.RandomState(0).random_sample(90)
    scorer = make_topk_scorer(precision_at_k, k=1)
    name = request_ if isinstance(request_, str) else "sample_weight"
    with sklearn.config_context(enable_metadata_routing=True):
        assert scorer.set_score_request(sample_weight=request_) is scorer
        model = Frequent().set_fit_request(sample_weight=name == "sample_weight")
        result = cross_validate(
            model,
            X,
            Y.toarray(),
            cv=3,
            scoring={"P": scorer} if several else scorer,
            params={name: weight},
            error_score="raise",
        )
    expected = weighted_by_hand(X, Y, weight, scorer, use_weight=bool(request_))
    assert_allclose(result["test_P" if several else "test_score"], expected, rtol=1e-12)


def test_metadata_routing_asks_for_a_decision(problem):
    X, Y = problem
    with sklearn.config_context(enable_metadata_routing=True):
        model = Frequent().set_fit_request(sample_weight=True)
        scorer = make_topk_scorer(precision_at_k, k=1)
        with pytest.raises(ValueError, match=r"sample_weight.*not explicitly set as requested or"):
            cross_validate(
                model,
                X,
                Y.toarray(),
                cv=3,
                scoring=scorer,
                params={"sample_weight": np.ones(90)},
                error_score="raise",
            )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"metric": "precision"}, "metric must be callable, got 'precision'"),
        ({"metric": ndcg_at_k, "k": 0}, "k must be a positive integer, got 0"),
        ({"metric": ndcg_at_k, "k": 2.5}, "k must be a positive integer, got 2.5"),
    ],
)
def test_bad_arguments_of_scorers(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_topk_scorer(**arguments)
