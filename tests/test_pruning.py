"""Predictions of an estimator are the same with and without pruning, and never from old codes."""

import copy
import pickle

import numpy as np
import pytest
import scipy.sparse as sp

from slidelearn import _pruning
from slidelearn._kernels import _simd
from tests.conftest import small


@pytest.fixture(params=_simd.available_levels())
def always(request, monkeypatch):
    """Pruning, however few samples and classes there are, at each SIMD level."""
    made, before = [], _simd.get_level()
    real = _pruning.prune

    def prune(*arguments):
        made.append(arguments)
        return real(*arguments)

    monkeypatch.setattr(_pruning, "prune", prune)
    monkeypatch.setattr(_pruning, "pays", lambda *arguments: True)
    _simd.set_level(request.param)
    yield made
    _simd.set_level(before)


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    X = sp.random(300, 40, 0.2, format="csr", dtype=np.float32, random_state=0)
    Y = sp.csr_matrix((rng.random((300, 90)) < 0.04).astype(np.int64))
    return X, Y


def without(model):
    """The model's copy, which finds that pruning doesn't pay."""
    plain = copy.deepcopy(model)
    plain._pruning = type("Never", (), {"of": lambda *arguments: None})()
    return plain


def assert_same_topk(model, other, X, k=5):
    for a, b in zip(model.predict_topk(X, k), other.predict_topk(X, k), strict=True):
        assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("ranker", [None, "linear"])
@pytest.mark.parametrize("n_jobs", [1, 3])
def test_same_bits(always, problem, ranker, n_jobs):
    X, Y = problem
    model = small(ranker=ranker, n_jobs=n_jobs, hidden_layer_sizes=(20, 33)).fit(X, Y)
    del always[:]
    for k in (1, 5, 90):
        assert_same_topk(model, without(model), X, k)
    assert len(always) == 1
    X = sp.vstack([X[:5], 0 * X[:1], 1e-25 * X[:1], 1e16 * X[:1]]).tocsr()
    assert_same_topk(model, without(model), X)


def test_labels_of_one_class_each(always, problem):
    X, _ = problem
    y = np.arange(300) % 70
    model = small().fit(X, y)
    np.testing.assert_array_equal(model.predict(X), without(model).predict(X))
    assert_same_topk(model, without(model), X)


def test_training_makes_codes_void(always, problem):
    X, Y = problem
    model = small(ranker=None).fit(X, Y)
    model.predict_topk(X)
    model.partial_fit(X, Y)
    assert_same_topk(model, without(model), X)
    model.predict_topk(X)
    model.set_params(warm_start=True).fit(X, Y)
    assert_same_topk(model, without(model), X)
    model.predict_topk(X)
    model._coefs, model.intercepts_ = [-w for w in model._coefs], [-b for b in model.intercepts_]
    model.intercepts_[-1] += np.arange(90, dtype=np.float32) / 10  # in place
    assert_same_topk(model, without(model), X)


def test_monitor_sees_the_parameters_of_its_epoch(always, problem):
    X, Y = problem
    seen = []

    def monitor(epoch, model, logs):
        seen.append((model.predict_topk(X)[0], without(model).predict_topk(X)[0]))

    small(max_iter=3, ranker=None).fit(X, Y, monitor=monitor)
    assert len(seen) == 3
    for found, expected in seen:
        np.testing.assert_array_equal(found, expected)


def test_codes_are_not_saved(always, problem):
    X, Y = problem
    model = small().fit(X, Y)
    model.predict_topk(X)
    loaded = pickle.loads(pickle.dumps(model))
    assert model._pruning._layer is not None
    assert loaded._pruning._layer is None
    assert_same_topk(model, loaded, X)


def test_codes_are_made_once_enough_samples_were_predicted(problem, monkeypatch):
    X, Y = problem
    made = []
    real = _pruning.prune
    monkeypatch.setattr(_pruning, "prune", lambda *args: (made.append(1), real(*args))[1])
    monkeypatch.setattr(_pruning, "pays", lambda n_rows, *rest: n_rows >= 700)
    model = small(ranker=None).fit(X, Y)
    del made[:]
    for expected in (0, 0, 1, 1):
        model.predict_topk(X)
        assert len(made) == expected


def test_codes_take_a_quarter_of_the_layer():
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((20_000, 256)).astype(np.float32)
    layer = _pruning.prune(_pruning.Layer(weights, np.zeros(20_000, np.float32)),
                           np.ones((2, 256), np.float32), 2)
    arrays = (layer.order, layer.codes, layer.classes, layer.most, layer.rotation)
    assert sum(array.nbytes for array in arrays) < 0.37 * weights.nbytes
