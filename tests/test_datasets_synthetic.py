"""Generated extreme classification data."""

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.preprocessing import normalize
from sklearn.utils.multiclass import type_of_target

from slidelearn.datasets import _synthetic, make_extreme_classification


def precision_at_1(Y, predicted):
    rows = np.arange(Y.shape[0])
    return float(np.asarray(Y[rows, predicted]).mean())


def chance(Y_train, Y_test):
    """Precision at 1 of always predicting the most frequent label."""
    frequent = int(np.bincount(Y_train.indices).argmax())
    return precision_at_1(Y_test, np.full(Y_test.shape[0], frequent))


def test_shapes_types_and_values():
    X, Y = make_extreme_classification(300, 500, 200, random_state=0)
    for matrix, shape in ((X, (300, 500)), (Y, (300, 200))):
        assert isinstance(matrix, sp.csr_matrix)
        assert matrix.shape == shape
        assert matrix.dtype == np.float32
        assert matrix.indices.dtype == np.int32
        # A fresh matrix does not know yet that it is sorted, and looks.
        fresh = sp.csr_matrix((matrix.data, matrix.indices, matrix.indptr), shape=shape)
        assert fresh.has_canonical_format
    assert (X.data > 0).all()
    np.testing.assert_allclose(np.sqrt(X.multiply(X).sum(axis=1)), 1, rtol=1e-5)
    assert (Y.data == 1).all()
    assert np.diff(X.indptr).min() >= 1
    assert np.diff(Y.indptr).min() >= 1
    assert type_of_target(Y) == "multilabel-indicator"


@pytest.mark.parametrize("n_nonzeros", [5, 40.5])
@pytest.mark.parametrize("n_labels", [1, 2.5, 8])
def test_averages(n_nonzeros, n_labels):
    X, Y = make_extreme_classification(
        4000, 2000, 500, n_nonzeros=n_nonzeros, n_labels=n_labels, random_state=0
    )
    assert X.nnz / 4000 == pytest.approx(n_nonzeros, rel=0.05)
    assert Y.nnz / 4000 == pytest.approx(n_labels, rel=0.05)


def test_one_label_means_exactly_one():
    _, Y = make_extreme_classification(500, 100, 50, n_labels=1, random_state=0)
    np.testing.assert_array_equal(np.diff(Y.indptr), 1)


@pytest.mark.parametrize(
    "sizes",
    [
        {"n_samples": 1, "n_features": 1, "n_classes": 1, "n_nonzeros": 1, "n_labels": 1},
        {"n_samples": 3, "n_features": 4, "n_classes": 2, "n_nonzeros": 4, "n_labels": 2},
        {"n_samples": 5, "n_features": 90, "n_classes": 70, "topic_size": 1000},
        {"n_samples": 5, "n_features": 90, "n_classes": 70, "topic_size": 1},
        {"n_samples": 5, "n_features": 90, "n_classes": 70, "label_exponent": 400.0},
        {"n_samples": 5, "n_features": 90, "n_classes": 70, "feature_exponent": 400.0},
        {"n_samples": 5, "n_features": 90, "n_classes": 70, "noise": 0, "topic_share": 0},
        {"n_samples": 5, "n_features": 90, "n_classes": 70, "noise": 1, "topic_share": 1},
    ],
)
def test_extreme_arguments(sizes):
    X, Y = make_extreme_classification(**sizes, random_state=0)
    assert X.shape == (sizes["n_samples"], sizes["n_features"])
    assert Y.shape == (sizes["n_samples"], sizes["n_classes"])
    assert np.diff(Y.indptr).min() >= 1
    assert np.isfinite(X.data).all()
    assert (np.diff(Y.indptr) <= sizes["n_classes"]).all()


@pytest.mark.parametrize("which", ["label", "feature"])
def test_exponents_rule_the_frequencies(which):
    def head_share(exponent):
        """The share of the entries that one column in twenty has."""
        matrices = make_extreme_classification(
            5000, 1000, 1000, **{f"{which}_exponent": exponent}, random_state=0
        )
        counts = np.bincount(matrices[which == "label"].indices, minlength=1000)
        return np.sort(counts)[-50:].sum() / counts.sum()

    flat, default, steep = map(head_share, (0.0, 0.7, 1.2))
    assert 0.05 <= flat < 0.15
    assert 0.25 < default < 0.6
    assert steep > default + 0.1


def test_law_of_the_draws():
    rng = np.random.RandomState(0)
    law = _synthetic._PowerLaw(20, 1.0, rng)
    counts = np.sort(np.bincount(law.draw(200_000, rng), minlength=20))[::-1]
    expected = 1 / np.arange(1, 21)
    np.testing.assert_allclose(counts / counts.sum(), expected / expected.sum(), rtol=0.06)


def test_labels_of_a_row_come_from_one_topic():
    def share(topic_share):
        _, Y = make_extreme_classification(
            2000, 100, 1000, topic_size=50, topic_share=topic_share, random_state=0
        )
        several = np.flatnonzero(np.diff(Y.indptr) >= 2)
        topics = Y.indices // 50
        same = topics[Y.indptr[several]] == topics[Y.indptr[several] + 1]
        return same.mean()

    assert share(0.0) < 0.15
    assert share(0.9) > 0.6


def test_random_state():
    one = make_extreme_classification(50, 100, 80, random_state=3)
    same = make_extreme_classification(50, 100, 80, random_state=np.random.RandomState(3))
    other = make_extreme_classification(50, 100, 80, random_state=4)
    for first, second, third in zip(one, same, other, strict=True):
        np.testing.assert_array_equal(first.toarray(), second.toarray())
        assert (first != third).nnz > 0


@pytest.mark.parametrize("integer", [np.int8, np.uint8, np.int64])
@pytest.mark.parametrize("real", [np.int8, np.float16, np.float32])
def test_numbers_of_any_type(integer, real):
    """They are what they stand for: nothing is computed in their types."""
    integers = {"n_samples": 100, "n_features": 120, "n_classes": 110, "topic_size": 50}
    reals = {"n_nonzeros": 30, "n_labels": 4, "label_exponent": 1, "feature_exponent": 1,
             "noise": 1, "topic_share": 1}
    expected = make_extreme_classification(**integers, **reals, random_state=0)
    found = make_extreme_classification(
        **{name: integer(value) for name, value in integers.items()},
        **{name: real(value) for name, value in reals.items()}, random_state=0)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype and one.shape == other.shape
        np.testing.assert_array_equal(one.toarray(), other.toarray())


def test_chunks(monkeypatch):
    monkeypatch.setattr(_synthetic, "_WORDS_PER_CHUNK", 1000)
    X, Y = make_extreme_classification(501, 200, 100, n_nonzeros=20, random_state=0)
    assert X.shape == (501, 200)
    assert Y.shape == (501, 100)
    assert X.nnz / 501 == pytest.approx(20, rel=0.1)


def test_stock_linear_model_beats_chance():
    X, Y = make_extreme_classification(1200, 400, 20, n_labels=1.5, random_state=0)
    model = OneVsRestClassifier(LogisticRegression(C=10)).fit(X[:900], Y[:900])
    predicted = model.predict_proba(X[900:]).argmax(axis=1)
    reached = precision_at_1(Y[900:], predicted)
    assert reached > 0.6
    assert reached > 2 * chance(Y[:900], Y[900:])


def test_many_classes_can_be_learnt_but_not_perfectly():
    X, Y = make_extreme_classification(12_000, 6_000, 8_000, n_nonzeros=60, random_state=0)
    centroids = normalize(sp.csr_matrix(Y[:11_500].T @ X[:11_500]))
    predicted = (X[11_500:] @ centroids.T).toarray().argmax(axis=1)
    reached = precision_at_1(Y[11_500:], predicted)
    assert 0.5 < reached < 0.85
    assert chance(Y[:11_500], Y[11_500:]) < 0.1


def test_noise_rules_how_hard_it_is():
    def reached(noise):
        X, Y = make_extreme_classification(3000, 2000, 500, noise=noise, random_state=0)
        centroids = normalize(sp.csr_matrix(Y[:2500].T @ X[:2500]))
        return precision_at_1(Y[2500:], (X[2500:] @ centroids.T).toarray().argmax(axis=1))

    easy, hard, nothing = map(reached, (0.2, 0.8, 1.0))
    assert easy > hard + 0.1
    assert hard > nothing + 0.2


BAD_ARGUMENTS = [
    ("n_samples", 0),
    ("n_samples", 10.0),
    ("n_samples", 2**31),
    ("n_features", 2**63),
    ("n_classes", np.uint64(2**63)),
    ("n_prototype_features", 10**400),
    ("topic_size", 2**63),
    ("n_features", -1),
    ("n_classes", "10"),
    ("n_classes", True),
    ("n_prototype_features", 0),
    ("topic_size", 0),
    ("n_nonzeros", 0.5),
    ("n_nonzeros", 101),
    ("n_nonzeros", np.nan),
    ("n_labels", 0),
    ("n_labels", 51),
    ("label_exponent", -0.1),
    ("label_exponent", np.inf),
    ("label_exponent", 10**400),
    ("feature_exponent", None),
    ("topic_share", 1.1),
    ("noise", -0.1),
    ("noise", False),
]


@pytest.mark.parametrize(("name", "value"), BAD_ARGUMENTS)
def test_bad_arguments(name, value):
    arguments = {"n_samples": 10, "n_features": 100, "n_classes": 50, name: value}
    with pytest.raises(ValueError, match=f"^{name} must be a (positive integer|number)"):
        make_extreme_classification(**arguments)
