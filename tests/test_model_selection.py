"""SlideClassifier among scikit-learn's tools."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from conftest import assert_same_model, small
from sklearn import config_context
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import BaggingClassifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import accuracy_score, make_scorer
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    RandomizedSearchCV,
    ShuffleSplit,
    cross_val_predict,
    cross_val_score,
    cross_validate,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MultiLabelBinarizer

from slidelearn import SlideClassifier
from slidelearn.metrics import make_topk_scorer, ndcg_at_k, precision_at_k

WORDS = {"fruit": ["apple", "pear", "plum"], "tool": ["saw", "drill", "hammer"],
         "animal": ["cat", "dog", "eel"]}


@pytest.fixture(scope="module")
def texts():
    rng = np.random.default_rng(0)
    labels = [list(rng.choice(list(WORDS), size=rng.integers(1, 3), replace=False))
              for _ in range(150)]
    texts = [" ".join(rng.choice(WORDS[label]) for label in row for _ in range(4))
             for row in labels]
    return texts, labels


def learner(**parameters):
    return small(**{"dropout": 0.0, "learning_rate_init": 0.03, "max_iter": 10, **parameters})


def test_pipeline(texts):
    documents, labels = texts
    Y = MultiLabelBinarizer(sparse_output=True).fit_transform(labels)
    model = make_pipeline(TfidfVectorizer(), learner()).fit(documents, Y)
    assert model.score(documents, Y) > 0.9
    assert sp.issparse(model.predict(documents))
    y = np.array([row[0] for row in labels])
    model.fit(documents, y)
    assert set(model.predict(documents)) <= set(WORDS)
    np.testing.assert_array_equal(model.classes_, sorted(WORDS))


def precision_at_2(estimator, X, Y):
    return precision_at_k(Y, estimator.predict_topk(X, k=2)[0], k=2)


@pytest.mark.parametrize("scoring", [None, precision_at_2, "topk"],
                         ids=["default", "callable", "topk"])
def test_grid_search_with_sparse_y(extreme, scoring):
    X, Y = extreme[0][:400], extreme[1][:400]
    if scoring == "topk":
        scoring = make_topk_scorer(ndcg_at_k, k=5)
    search = GridSearchCV(learner(), {"learning_rate_init": [1e-6, 0.01]}, cv=2, n_jobs=2,
                          scoring=scoring, error_score="raise").fit(X, Y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert sp.issparse(search.predict(X))
    if scoring is not None:
        assert search.best_params_ == {"learning_rate_init": 0.01}
        assert 0 < search.best_score_ < 1
    assert search.best_estimator_.predict_topk(X, k=3)[0].shape == (400, 3)


def test_random_search_over_a_pipeline(texts):
    documents, labels = texts
    Y = MultiLabelBinarizer(sparse_output=True).fit_transform(labels)
    search = RandomizedSearchCV(
        make_pipeline(TfidfVectorizer(), learner()),
        {"slideclassifier__loss": ["softmax", "sigmoid"],
         "slideclassifier__hidden_layer_sizes": [(8,), (16,), (8, 8)]},
        n_iter=3, cv=2, n_jobs=2, random_state=0, error_score="raise",
    ).fit(documents, Y)
    assert search.best_score_ > 0.3


def test_topk_scorer_finds_the_model_inside(texts):
    documents, labels = texts
    Y = MultiLabelBinarizer(sparse_output=True).fit_transform(labels)
    scorer = make_topk_scorer(precision_at_k, k=1)
    grid = {"slideclassifier__learning_rate_init": [1e-6, 0.03]}
    pipeline = make_pipeline(TfidfVectorizer(), learner(ranker=None, init="random"))
    search = GridSearchCV(pipeline, grid, cv=2, scoring=scorer,
                          error_score="raise").fit(documents, Y)
    assert search.best_params_["slideclassifier__learning_rate_init"] == 0.03
    vectorizer, model = search.best_estimator_
    expected = precision_at_2(model, vectorizer.transform(documents), Y)
    scorer = make_topk_scorer(precision_at_k, k=2)
    nested = make_pipeline("passthrough", search)
    assert scorer(search, documents, Y) == scorer(nested, documents, Y) == expected > 0
    other = make_pipeline(TfidfVectorizer(), DummyClassifier()).fit(documents, Y.toarray())
    with pytest.raises(TypeError, match=r"DummyClassifier has no predict_topk\."):
        scorer(other, documents, Y)


def test_halving_search(multiclass):
    X, y = multiclass
    search = HalvingGridSearchCV(
        small(), {"hidden_layer_sizes": [(4,), (16,), (32,)]}, resource="max_iter", factor=2,
        min_resources=1, max_resources=4, cv=2, random_state=0, error_score="raise",
    ).fit(X[:400], y[:400])
    assert search.best_estimator_.n_iter_ == search.best_estimator_.max_iter
    assert set(search.n_resources_) == {1, 2}


@pytest.mark.parametrize("method", ["predict", "predict_proba", "decision_function"])
def test_cross_val_predict(extreme, multiclass, method):
    X, y = multiclass[0][:300], multiclass[1][:300]
    y = np.where(y < "class 30", "low", "high")
    result = cross_val_predict(small(), X, y, cv=3, method=method, n_jobs=2)
    assert len(result) == 300 and np.isfinite(result).all() if method != "predict" else True
    Y = extreme[1][:300, :30].toarray().astype(int)
    result = cross_val_predict(small(), extreme[0][:300], Y, cv=3, method=method)
    assert np.shape(result) == (300, 30)


def test_cross_val_predict_with_sparse_y(extreme):
    X, Y = extreme[0][:300], extreme[1][:300]
    found = cross_val_predict(small(), X, Y, cv=3)
    assert sp.issparse(found) and found.shape == Y.shape


def test_cross_validate_with_sparse_y(extreme):
    """scikit-learn refuses a sparse y here from 1.9 on, unless it doesn't check parameters."""
    X, Y = extreme[0][:300], extreme[1][:300]
    scorers = {"p@2": precision_at_2, "ndcg": make_topk_scorer(ndcg_at_k, k=3)}
    with config_context(skip_parameter_validation=True):
        result = cross_validate(small(), X, Y, cv=2, scoring=scorers, error_score="raise")
        assert len(cross_val_score(small(), X, Y, cv=2, scoring=precision_at_2)) == 2
    assert (result["test_p@2"] > 0).all() and (result["test_ndcg"] > 0).all()


def test_cross_validate_labels(multiclass):
    scores = cross_val_score(learner(), *multiclass, cv=3, scoring=make_topk_scorer(
        precision_at_k, k=1))
    assert (scores > 0.3).all()


def test_clone_and_parameters():
    model = SlideClassifier((3, 4), loss="softmax", n_tables=7, random_state=3)
    assert clone(model).get_params() == model.get_params()
    model.set_params(n_tables=9, hidden_layer_sizes=[5])
    assert model.n_tables == 9 and model.get_params()["hidden_layer_sizes"] == [5]
    with pytest.raises(ValueError, match="Invalid parameter 'n_table'"):
        model.set_params(n_table=9)
    for name, value in SlideClassifier().get_params().items():
        assert clone(SlideClassifier(**{name: value})).get_params()[name] == value
    assert repr(model).startswith("SlideClassifier(hidden_layer_sizes=[5]")
    assert "SlideClassifier" in model._repr_html_()


def test_clone_of_a_fitted_model(tiny):
    model = small().fit(*tiny)
    copied = clone(model)
    assert not hasattr(copied, "coefs_")
    assert_same_model(copied.fit(*tiny), model)


def test_metadata_routing(extreme):
    X, Y = extreme[0][:200], extreme[1][:200]
    weight = np.random.default_rng(0).random(200)
    weight[:60] = 0
    expected = small().fit(MaxAbsScaler().fit_transform(X), Y, sample_weight=weight)
    with config_context(enable_metadata_routing=True):
        model = small().set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        pipeline = make_pipeline(MaxAbsScaler(), model)
        pipeline.fit(X, Y, sample_weight=weight)
        assert_same_model(pipeline[-1], expected)
        pipeline.score(X, Y, sample_weight=weight)
        search = GridSearchCV(model, {"max_iter": [1, 2]}, cv=2,
                              error_score="raise").fit(X, Y, sample_weight=np.ones(200))
        assert search.best_score_ >= 0
        scorer = make_scorer(accuracy_score).set_score_request(sample_weight=True)
        GridSearchCV(pipeline, {"slideclassifier__max_iter": [1]}, cv=2, scoring=scorer,
                     error_score="raise").fit(X, Y, sample_weight=np.ones(200))
        with pytest.raises(Exception, match="sample_weight"):
            make_pipeline(MaxAbsScaler(), small()).fit(X, Y, sample_weight=weight)
        request = small().set_partial_fit_request(sample_weight=True, classes=True)
        assert request.get_metadata_routing().partial_fit.requests == {
            "sample_weight": True, "classes": True}


def test_meta_estimators(multiclass):
    X, y = multiclass[0][:300], np.where(multiclass[1][:300] < "class 30", "low", "high")
    bagging = BaggingClassifier(learner(), n_estimators=2, random_state=0).fit(X, y)
    assert bagging.score(X, y) > 0.8
    calibrated = CalibratedClassifierCV(learner(), cv=2, ensemble=False).fit(X, y)
    assert calibrated.predict_proba(X).shape == (300, 2)


def test_splits_without_some_labels(extreme):
    """A fold may lack labels that another one has: the columns say which there are."""
    X, Y = extreme[0][:40], extreme[1][:40]
    search = GridSearchCV(small(), {"max_iter": [1]}, cv=ShuffleSplit(3, random_state=0),
                          scoring=precision_at_2, error_score="raise").fit(X, Y)
    assert search.best_estimator_.predict(X).shape == Y.shape


def test_pandas_output_of_a_pipeline(texts):
    frame = pd.DataFrame({"a": np.arange(20.0), "b": 1.0})
    model = make_pipeline(MaxAbsScaler().set_output(transform="pandas"), small())
    model.fit(frame, np.arange(20) % 2)
    np.testing.assert_array_equal(model[-1].feature_names_in_, ["a", "b"])
