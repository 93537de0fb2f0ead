"""The same seed gives the same bits, however many threads, batches of prediction or lanes."""

import copy
import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

from slidelearn import SlideClassifier, _prediction, _state
from slidelearn._kernels import _simd
from slidelearn._validation import canonical_csr
from slidelearn.datasets import make_extreme_classification
from tests.levels import assert_same_bits, at_every_level
from tests.reference import topk

N_CLASSES = 150
PARAMETERS = dict(
    hidden_layer_sizes=(33,), max_iter=1, batch_size=16, n_random=20, n_candidates=15, n_tables=6,
    hash_length=4, bucket_size=16, rebuild_interval=3, rebuild_growth=1.0, redraw_every=2,
    random_state=0,
)
VARIANTS = [
    *(dict(sampling=sampling, loss=loss, share_random=loss == "sigmoid")
      for sampling in ("random", "vanilla", "topk", "threshold", "all")
      for loss in ("sigmoid", "softmax")),
    dict(sampling="random", loss="softmax"),
    dict(sampling="topk", loss="softmax"),
    dict(hidden_layer_sizes=(31, 17), solver="adagrad"),
    dict(hidden_layer_sizes=(16, 65), solver="sgd", sampling="topk", learning_rate_init=1.0),
    dict(early_stopping=True, dropout=0.0, shuffle=False, hash_function="dwta", sampling="topk"),
    dict(batch_size=1000, insertion="reservoir", hash_function="wta", sampling="vanilla"),
    dict(batch_size=1, n_random=1, hash_function="minhash", sampling="threshold"),
    dict(gradient_threshold=0),
    dict(beta_1=0.9),
    dict(init="random"),
    dict(gradient_threshold=1, solver="sgd", loss="softmax", sampling="topk"),
    dict(dtype="bfloat16", sampling="random"),
    dict(dtype="bfloat16", beta_1=0.9, hidden_layer_sizes=(16, 20)),
    dict(dtype="bfloat16", sampling="topk", share_random=False, solver="adagrad",
         hidden_layer_sizes=(20, 70)),
    dict(dtype="bfloat16", sampling="all", solver="sgd", learning_rate_init=1.0),
]


@pytest.fixture(scope="module")
def data():
    return make_extreme_classification(131, 100, N_CLASSES, random_state=0)


def bits(model, X):
    """All that training and prediction give."""
    exact, scores = model.predict_topk(X, 7)
    hashed, hashed_scores = model.predict_topk(X, 7, method="lsh")
    return (*model.coefs_, *model.intercepts_, np.array(model.loss_curve_), model.calibration_,
            exact, scores, hashed, hashed_scores, model.predict_proba(X), model.predict(X).indices)


@pytest.mark.parametrize("changes", VARIANTS, ids=lambda changes: "-".join(map(str,
                                                                              changes.values())))
def test_any_number_of_threads(data, changes):
    X, Y = data
    parameters = {**PARAMETERS, **changes}
    first = bits(SlideClassifier(**parameters, n_jobs=1).fit(X, Y), X)
    for n_jobs in (2, 4, 8):
        model = SlideClassifier(**parameters, n_jobs=n_jobs).fit(X, Y)
        assert_same_bits(first, bits(model, X))


@pytest.mark.parametrize("sampling", ["random", "vanilla", "all"])
def test_another_seed_gives_another_model(data, sampling):
    X, Y = data
    models = [SlideClassifier(**{**PARAMETERS, "sampling": sampling, "random_state": seed})
              .fit(X, Y) for seed in (0, 1)]
    for weights, other in zip(models[0].coefs_, models[1].coefs_, strict=True):
        assert (weights != other).any()


@pytest.mark.parametrize("changes", [{}, {"sampling": "topk", "hidden_layer_sizes": (20, 70)},
                                     {"sampling": "random", "share_random": False},
                                     {"dtype": "bfloat16"},
                                     {"dtype": "bfloat16", "sampling": "topk"}])
def test_any_number_of_lanes(data, changes):
    """AVX2 and AVX-512 agree in every bit; without a fused multiply-add, to some digits."""
    X, Y = data

    def run(n_threads):
        model = SlideClassifier(**{**PARAMETERS, **changes}, n_jobs=n_threads).fit(X, Y)
        return bits(model, X)

    results = list(at_every_level(run, (2,)).values())
    for other in results[1:]:
        for array, expected in zip(other[:2], results[0][:2], strict=True):
            assert np.corrcoef(array.ravel(), expected.ravel())[0, 1] > 0.99


@pytest.fixture(scope="module", params=[
    dict(hidden_layer_sizes=(33,)), dict(hidden_layer_sizes=(20, 70)),
    dict(hidden_layer_sizes=(70,), dtype="bfloat16")], ids=str)
def fitted(request, data):
    """Small initial weights, so that absurd samples have scores that float32 can hold."""
    return SlideClassifier(**{**PARAMETERS, **request.param, "batch_size": 64,
                              "init": "random"}).fit(*data)


def test_rows_in_any_batches_and_order(fitted, data):
    X, _ = data
    order = np.random.default_rng(0).permutation(X.shape[0])
    calls = [lambda X: fitted.predict_topk(X, 6), lambda X: (fitted.predict_proba(X),),
             lambda X: fitted.predict_topk(X, 6, method="lsh"),
             lambda X: (fitted.decision_function(X),), lambda X: (fitted.predict(X).toarray(),)]
    for call in calls:
        whole = call(X)
        assert_same_bits([a[order] for a in whole], call(X[order]))
        for size in (1, 7, 64, 65):
            n = min(X.shape[0], 20 * size)
            parts = [call(X[i:i + size]) for i in range(0, n, size)]
            joined = [np.concatenate(some) for some in zip(*parts, strict=True)]
            assert_same_bits([a[:len(joined[0])] for a in whole], joined)


@pytest.mark.parametrize("n_rows", [1, 2, 63, 64, 65, 130])
@pytest.mark.parametrize("k", [1, 5, N_CLASSES])
def test_few_samples_and_many_threads(fitted, data, n_rows, k):
    """More threads than blocks of samples share out the classes."""
    X, _ = data
    expected = [a[:n_rows] for a in fitted.predict_topk(X, k)]
    for n_jobs in (2, 3, 8):
        fitted.set_params(n_jobs=n_jobs)
        assert_same_bits(expected, fitted.predict_topk(X[:n_rows], k))
    fitted.set_params(n_jobs=1)


@pytest.mark.parametrize("k", [1, 3, 10, N_CLASSES])
def test_exact_topk_is_a_stable_sort_of_all_scores(data, k):
    X, Y = data
    model = SlideClassifier(**PARAMETERS).fit(X, Y)
    model._coefs[-1][:] = np.round(4 * model._coefs[-1])  # ties
    model._coefs[-1][:, 50:100] = model._coefs[-1][:, :50]
    model.intercepts_[-1][:] = np.round(model.intercepts_[-1])
    model.intercepts_[-1][50:100] = model.intercepts_[-1][:50]
    scores = model.decision_function(X)
    expected = topk(scores, k)
    for n_jobs in (1, 8):
        for rows in (slice(None), slice(3)):
            labels, found = model.set_params(n_jobs=n_jobs).predict_topk(X[rows], k)
            np.testing.assert_array_equal(labels, expected[rows])
            np.testing.assert_array_equal(found, np.take_along_axis(scores, expected, 1)[rows])


@pytest.mark.parametrize("name", ["CHUNK_FLOATS", "KERNEL_WORK"])
def test_any_chunks(fitted, data, monkeypatch, name):
    X, _ = data
    expected = bits(fitted, X)
    for n_jobs in (1, 4):
        fitted.set_params(n_jobs=n_jobs)
        for value in (1, 1000, 20_000):
            monkeypatch.setattr(_prediction, name, value)
            assert_same_bits(expected, bits(fitted, X))
    fitted.set_params(n_jobs=1)


def test_no_rows(fitted, data):
    network, X = fitted._network(), canonical_csr(data[0])
    for found in (
        _prediction.exact_topk(network, X, np.empty(0, np.int64), 3, 2),
        _prediction.topk(network, _state.as_ranker(vars(fitted)), X, np.empty(0, np.int64), 3, 2),
        _prediction.lsh_topk(network, None, fitted._hash_index(network, 2), X,
                             np.empty(0, np.int64), 3, 5, 2),
    ):
        assert [a.shape for a in found] == [(0, 3), (0, 3)]
    assert list(_prediction.score_chunks(network, None, X, np.empty(0, np.int64), 2)) == []


def test_scores_that_overflow(fitted, data):
    """Whatever the scores of absurd samples are, they get k distinct classes."""
    X = data[0][:3].astype(np.float32)
    X.data[:] = 1e38
    fitted = copy.copy(fitted)
    for n_jobs in (1, 8):
        for method in ("exact", "lsh"):
            labels, _ = fitted.set_params(n_jobs=n_jobs).predict_topk(X, 9, method=method)
            assert all(len(set(row)) == 9 for row in labels.tolist())
    fitted.set_params(n_jobs=1)


SCRIPT = """
from slidelearn._kernels import _simd
from tests.test_reproducibility import digest
print(_simd.get_level(), digest())
"""


def digest():
    X, Y = make_extreme_classification(100, 50, 40, random_state=0)
    model = SlideClassifier(**PARAMETERS).fit(X, Y)
    return hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes()
                                   for a in bits(model, X))).hexdigest()


def run_with_level(level):
    environment = {**os.environ, "SLIDELEARN_SIMD": level,
                   "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True,
                          text=True, check=False)


@pytest.mark.parametrize("level", _simd.available_levels())
def test_environment_forces_a_level(level):
    result = run_with_level(level)
    assert result.returncode == 0, result.stderr
    here = at_every_level(lambda n_threads: (np.array(digest()),), (1,))
    assert result.stdout.split() == [level, str(here[level][0])]


def test_environment_asks_for_an_unknown_level():
    result = run_with_level("avx1024")
    assert result.returncode != 0
    assert "ValueError: SIMD level 'avx1024' is not available here" in result.stderr
