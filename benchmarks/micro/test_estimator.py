"""Wall time of the estimator on a small generated problem; run as `test_kernels.py` says."""

import pickle

import pytest

from slidelearn import SlideClassifier
from slidelearn.datasets import make_extreme_classification
from slidelearn.metrics import precision_at_k

SAMPLINGS = {
    "random": {},
    "own": {"share_random": False},
    "vanilla": {"sampling": "vanilla"},
    "topk": {"sampling": "topk"},
    "threshold": {"sampling": "threshold"},
    "all": {"sampling": "all"},
}


@pytest.fixture(scope="module")
def data():
    return make_extreme_classification(2560, 5000, 4000, random_state=0)


@pytest.fixture(scope="module")
def model(data):
    return SlideClassifier(max_iter=2, random_state=0).fit(*data)


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_fit(benchmark, data, sampling):
    model = SlideClassifier(max_iter=1, random_state=0, calibrate=False, **SAMPLINGS[sampling])
    benchmark.pedantic(model.fit, data, rounds=5, warmup_rounds=1)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_fit_threads(benchmark, data, n_jobs):
    model = SlideClassifier(max_iter=1, random_state=0, n_jobs=n_jobs)
    benchmark.pedantic(model.fit, data, rounds=5, warmup_rounds=1)


def test_partial_fit_of_a_batch(benchmark, data, model):
    X, Y = data[0][:128], data[1][:128]
    model = SlideClassifier(random_state=0).partial_fit(X, Y)
    benchmark(model.partial_fit, X, Y)


@pytest.mark.parametrize("method", ["exact", "lsh"])
def test_predict_topk(benchmark, data, model, method):
    benchmark.pedantic(model.predict_topk, (data[0],), {"method": method}, rounds=10,
                       warmup_rounds=1)


def test_predict_topk_of_one(benchmark, data, model):
    benchmark(model.predict_topk, data[0][:1])


def test_predict(benchmark, data, model):
    benchmark.pedantic(model.predict, (data[0][:500],), rounds=10, warmup_rounds=1)


def test_pickle(benchmark, model):
    benchmark(lambda: pickle.loads(pickle.dumps(model)))


def test_precision(benchmark, data, model):
    top, _ = model.predict_topk(data[0])
    benchmark(precision_at_k, data[1], top, 5)
