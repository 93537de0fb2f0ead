"""Linear rankers: the solver against liblinear's, the choice of the penalty, scores and top-k."""

import dataclasses
import pickle

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from slidelearn import (
    SlideClassifier,
    _calibration,
    _classifier,
    _prediction,
    _ranker,
    _shortlists,
    _state,
)
from slidelearn._calibration import choice_weight, log_odds, stacking_weight
from slidelearn._shortlists import shortlists
from slidelearn._validation import canonical_csr
from slidelearn.datasets import make_extreme_classification
from slidelearn.metrics import precision_at_k


@pytest.fixture(scope="module")
def data():
    return make_extreme_classification(1500, 400, 200, random_state=0)


@pytest.fixture(scope="module")
def model(data):
    return SlideClassifier([32], max_iter=3, random_state=0, ranker="linear").fit(*data)


def parts(model, X, Y):
    ones = sp.csr_array(Y, dtype=np.float32)
    return model._network(), canonical_csr(sp.csr_array(X, dtype=np.float32)), canonical_csr(ones)


@pytest.mark.parametrize("scale", [1.0, 30.0])
@pytest.mark.parametrize("C", [0.2, 1.0])
def test_solver_agrees_with_liblinear(data, model, monkeypatch, scale, C):
    monkeypatch.setattr(_ranker, "TOLERANCE", 1e-7)
    monkeypatch.setattr(_ranker, "MAX_SWEEPS", 3000)
    monkeypatch.setattr(_ranker, "THRESHOLD", 0.0)
    network, X, labels = parts(model, data[0] * scale, data[1])
    rows = np.arange(0, 1500, 2)
    weight = np.random.default_rng(0).uniform(0.5, 1.5, 1500).astype(np.float32)
    ranker = _ranker.fit_ranker(network, X, labels, weight, rows, C, 7, 2)
    shortlist = shortlists(network, X, labels, rows, 0, 1)
    features = sp.csr_array(data[0] * scale)
    mean_square = features[rows].power(2).sum(axis=1).mean()
    truth = sp.csr_array(data[1])[rows].toarray() > 0
    checked = 0
    for c in range(0, 200, 17):
        chosen = truth[:, c] | (shortlist == c).any(axis=1)
        if truth[chosen, c].all() or not truth[chosen, c].any():
            continue
        rare = 0.5 + 32 / (8 + truth[:, c].sum())
        oracle = LinearSVC(loss="squared_hinge", C=rare * C / mean_square, tol=1e-8,
                           max_iter=100_000, intercept_scaling=np.sqrt(mean_square), random_state=0)
        oracle.fit(features[rows[chosen]], truth[chosen, c], weight[rows[chosen]])
        found = ranker.coef[[c]].toarray()
        np.testing.assert_allclose(found, oracle.coef_, atol=2e-3 / np.sqrt(mean_square))
        np.testing.assert_allclose(ranker.intercept[c], oracle.intercept_[0], atol=2e-3)
        checked += 1
    assert checked >= 5


def test_class_without_samples_and_small_weights_are_left_out(data, model):
    network, X, labels = parts(model, *data)
    ranker = _ranker.fit_ranker(network, X, labels, np.ones(1500, np.float32), np.arange(1500), 1.0,
                                0, 1)
    norm = np.sqrt(sp.csr_array(data[0]).power(2).sum(axis=1).mean())
    assert ranker.coef.nnz > 0
    assert np.abs(ranker.data).min() > _ranker.THRESHOLD / norm * 0.999
    assert ranker.coef.has_sorted_indices


@pytest.mark.parametrize("name, limit", [("OUTPUT_ROOM", 500), ("KERNEL_WORK", 2000)])
def test_training_in_blocks_is_the_same(data, model, monkeypatch, name, limit):
    network, X, labels = parts(model, *data)
    args = network, X, labels, np.ones(1500, np.float32), np.arange(1500), 1.0, 3
    whole = _ranker.fit_ranker(*args, 1)
    monkeypatch.setattr(_ranker, name, limit)
    blocks, n_blocks = _ranker._blocks, []

    def counted(starts, pair_rows, X, n_threads):
        work = np.diff(np.append(0, np.cumsum(np.diff(X.indptr)[pair_rows]))[starts])
        for first, room in blocks(starts, pair_rows, X, n_threads):
            n = len(room) - 1
            assert n == 1 or room[-1] <= _ranker.OUTPUT_ROOM
            assert n <= n_threads or work[first:first + n].sum() <= (
                _ranker.KERNEL_WORK * n_threads)
            n_blocks.append(n)
            yield first, room

    monkeypatch.setattr(_ranker, "_blocks", counted)
    cut = _ranker.fit_ranker(*args, 2)
    assert len(n_blocks) > 5 and sum(n_blocks) == len(cut.intercept)
    for a, b in zip(whole.arrays, cut.arrays, strict=True):
        np.testing.assert_array_equal(a, b)


def test_scores_follow_the_definition(data, model):
    network, X, _ = parts(model, *data)
    ranker = _state.as_ranker(vars(model))
    logits = _prediction.hidden_activations(network, X, np.arange(50), 1).astype(float)
    logits = logits @ network.output.weights.T + network.output.bias
    response = sp.csr_array(data[0])[:50] @ model.ranker_coef_.T.toarray() + model.ranker_intercept_
    loss = np.clip(1 - response, 0, 2)
    np.put_along_axis(loss, np.argsort(-logits, axis=1)[:, _ranker.N_SHORTLIST:], 2, 1)
    assert model.ranker_penalty_ == ranker.penalty > 0
    expected = log_odds(model.calibration_, logits - ranker.penalty * loss)
    np.testing.assert_allclose(model.decision_function(data[0][:50]), expected, rtol=1e-4,
                               atol=1e-3)


@pytest.mark.parametrize("density", [0.01, 0.4])  # with few pairs, weights are searched for
@pytest.mark.parametrize("pairs", [2**18, 100])
def test_penalties_class_by_class(density, pairs, monkeypatch):
    """The same bits as sample by sample, at any number of threads, and what they should be."""
    monkeypatch.setattr(_ranker, "GROUPED_PAIRS", pairs)
    rng = np.random.default_rng(0)
    X = sp.random(60, 3000, 0.01, "csr", np.float32, random_state=0)
    coef = sp.random(40, 3000, density, "csr", np.float32, random_state=1)
    for matrix in (X, coef):
        matrix.data -= 0.5
        matrix.data[matrix.indptr[3]:matrix.indptr[4]] = 0  # a row of zeros
        matrix.eliminate_zeros()
    ranker = _ranker.Ranker(coef.indptr.astype(np.int64), coef.indices, coef.data,
                            rng.standard_normal(40).astype(np.float32), 3000, 2.5)
    rows = rng.permutation(60)[:50]
    shortlist = np.argsort(rng.random((50, 40)), axis=1)[:, :9].astype(np.int32)
    logits = rng.standard_normal((50, 9)).astype(np.float32)
    single, csr = logits.copy(), canonical_csr(X)
    for i in range(50):  # fewer pairs than classes
        ranker.penalise(csr, rows[i:i + 1], shortlist[i:i + 1], single[i:i + 1], 1)
    for n_threads in (1, 2, 3):
        scores = logits.copy()
        ranker.penalise(csr, rows, shortlist, scores, n_threads)
        np.testing.assert_array_equal(scores, single)
    response = X[rows].astype(float) @ ranker.coef.T.astype(float).toarray() + ranker.intercept
    loss = np.clip(1 - np.take_along_axis(response, shortlist, 1), 0, 2)
    np.testing.assert_allclose(single, logits - 2.5 * loss, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("k", [1, 5, 70, 200])
@pytest.mark.parametrize("chunk", [100, 2**22])
def test_topk_is_that_of_all_scores(data, model, monkeypatch, k, chunk):
    monkeypatch.setattr(_prediction, "CHUNK_FLOATS", chunk)
    X = data[0][:300]
    scores = model.decision_function(X)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    labels, best = model.predict_topk(X, k)
    np.testing.assert_array_equal(best, np.take_along_axis(scores, order, 1))
    ties = (np.diff(np.take_along_axis(scores, order, 1), axis=1) == 0).any(axis=1)
    np.testing.assert_array_equal(labels[~ties], order[~ties])


@pytest.mark.parametrize("useful", [True, False])
def test_penalty_is_chosen_on_samples_held_out(data, useful, monkeypatch):
    """Against logistic regression of scikit-learn; where responses say nothing, it is near 0."""
    monkeypatch.setattr(_calibration, "MAX_WEIGHT", np.inf)
    model = SlideClassifier([32], max_iter=10, random_state=0).fit(data[0][:1000], data[1][:1000])
    network, X, labels = parts(model, *data)
    rows = np.arange(1000, 1500)
    ranker = _state.as_ranker(vars(model))
    if not useful:
        noise = np.random.default_rng(0).standard_normal(len(ranker.data)).astype(np.float32)
        ranker = dataclasses.replace(ranker, data=noise, intercept=np.ones_like(ranker.intercept))
    found = _ranker.choose_penalty(ranker, network, X, labels, rows, False, 2).penalty
    classes, logits = _prediction.exact_topk(network, X, rows, 64, 1)
    response = (sp.csr_array(data[0])[rows] @ ranker.coef.T).toarray() + ranker.intercept
    loss = np.clip(1 - np.take_along_axis(response, classes, 1), 0, 2)
    truth = np.take_along_axis(sp.csr_array(data[1])[rows].toarray(), classes, 1) > 0
    oracle = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000)
    oracle.fit(np.stack([logits.ravel(), -loss.ravel()], axis=1), truth.ravel())
    expected = max(0, oracle.coef_[0, 1] / oracle.coef_[0, 0])
    assert found == pytest.approx(expected, rel=1e-2, abs=1e-3)
    assert found > 1 if useful else found < 0.3


@pytest.mark.parametrize(("calibrate", "n"), [(False, 1500), (True, 300)])
def test_penalty_without_samples_held_out(data, calibrate, n):
    model = SlideClassifier([16], max_iter=1, calibrate=calibrate, random_state=0)
    assert model.fit(data[0][:n], data[1][:n]).ranker_penalty_ == _ranker.PENALTY


def test_penalty_of_early_stopping(data):
    model = SlideClassifier([16], max_iter=2, calibrate=False, early_stopping=True, random_state=0)
    assert model.fit(*data).ranker_penalty_ not in (None, _ranker.PENALTY)


def test_few_true_pairs_tell_nothing():
    logits = np.linspace(-1, 1, 200)
    assert stacking_weight(logits, logits, np.arange(200) < 19) is None
    assert stacking_weight(logits, logits, np.arange(200) >= 19) is None
    noise = np.random.default_rng(0).standard_normal(200)
    assert stacking_weight(-logits, noise, noise + 3 * logits > 0) is None  # both mislead
    assert stacking_weight(logits, noise, noise + 3 * logits > 0) == 0
    assert stacking_weight(-logits, -noise, noise + 3 * logits > 0) == 30


def choices(n, slope, weight, rng):
    """Logits and losses of 12 classes of each sample, and the place of the true one."""
    logits = -np.sort(-rng.normal(0, 3, (n, 12)), axis=1)
    losses = rng.uniform(0, 2, (n, 12))
    return logits, losses, (slope * logits - weight * losses + rng.gumbel(size=(n, 12))).argmax(1)


def test_weight_of_a_choice():
    rng = np.random.default_rng(0)
    logits, losses, true_place = choices(20_000, 0.5, 2.0, rng)
    assert choice_weight(logits, losses, true_place) == pytest.approx(4.0, rel=0.05)
    # classes further down, and samples whose class is there, say nothing
    logits[:, 10:], losses[:, 10:] = np.nan, np.nan
    assert choice_weight(logits, losses, true_place) == pytest.approx(4.0, rel=0.05)


def test_extreme_choices():
    rng = np.random.default_rng(0)
    logits, losses, true_place = choices(500, 0.5, 2.0, rng)
    assert choice_weight(logits, -losses, true_place) == 0  # misleads
    assert choice_weight(logits, rng.uniform(0, 2, losses.shape), true_place) < 1
    assert choice_weight(np.zeros((500, 12)), losses, true_place) == pytest.approx(2, abs=1)
    assert choice_weight(-logits, losses, true_place) == 30
    assert choice_weight(logits, losses, np.where(np.arange(500) < 19, 0, 12)) is None
    assert choice_weight(logits[:, :1], losses[:, :1], np.zeros(500, int)) is None


def test_penalty_of_labels_is_chosen_on_samples_held_out(data, monkeypatch):
    X, Y = data[0], sp.csr_array(data[1])
    y = np.asarray(Y.argmax(axis=1)).ravel()
    seen = []
    monkeypatch.setattr(_calibration, "choice_weight",
                        lambda *args: (seen.append(args), choice_weight(*args))[1])
    model = SlideClassifier([32], max_iter=5, random_state=0).fit(X, y)
    (logits, losses, place), = seen
    assert len(logits) == 75 and model.ranker_penalty_ == pytest.approx(
        choice_weight(logits, losses, place))
    assert (losses >= 0).all() and (np.diff(logits, axis=1) <= 0).all()
    assert 0.2 < np.mean(place < 10) <= 1


def test_auto_keeps_what_helps(data, monkeypatch):
    X, Y = data
    y = np.asarray(sp.csr_array(Y).argmax(axis=1)).ravel()
    model = SlideClassifier([16], max_iter=1, random_state=0)
    for target in (Y, y):
        with monkeypatch.context() as patch:
            for penalty in (1.0, 0.0):
                patch.setattr(_classifier, "choose_penalty", lambda ranker, *_, penalty=penalty:
                              dataclasses.replace(ranker, penalty=penalty))
                ranker = model.set_params(ranker="auto").fit(X, target).ranker_coef_
                assert (ranker is not None) == (penalty > 0)
            assert model.set_params(ranker="linear").fit(X, target).ranker_penalty_ == 0
    model.set_params(ranker="auto", calibrate=False)
    assert model.fit(X, Y).ranker_penalty_ == _ranker.PENALTY
    assert model.fit(X, y).ranker_coef_ is None  # nothing could tell
    assert model.set_params(ranker="linear").fit(X, y).ranker_penalty_ == _ranker.PENALTY


@pytest.mark.parametrize("n_classes", [3, 50])
@pytest.mark.parametrize("n_labels", [0, 2])
def test_pairs(n_classes, n_labels):
    """Against sets; shortlists may repeat a class and hold labels."""
    rng = np.random.default_rng(0)
    Y = sp.random(40, n_classes, n_labels / n_classes, format="csr", random_state=0)
    rows = rng.permutation(40)[:30]
    shortlist = rng.integers(0, n_classes, (30, 8)).astype(np.int32)
    starts, pair_rows, pair_sign = _ranker._pairs(shortlist, canonical_csr(Y.astype(np.float32)),
                                                  rows)
    assert starts[0] == 0 and starts[-1] == len(pair_rows) == len(pair_sign)
    for c in range(n_classes):
        part = slice(starts[c], starts[c + 1])
        expected = [(row, 1 if Y[row, c] else -1)
                    for row, listed in zip(rows, shortlist, strict=True)
                    if Y[row, c] or c in listed]
        assert list(zip(pair_rows[part], pair_sign[part], strict=True)) == expected


def test_pool_of_many_classes(data, model, monkeypatch):
    network, X, labels = parts(model, *data)
    rows = np.arange(0, 1500, 3)
    every = shortlists(network, X, labels, rows, 0, 1)
    monkeypatch.setattr(_shortlists, "MAX_CLASSES", 150)
    monkeypatch.setattr(_shortlists, "POOL", 150)
    monkeypatch.setattr(_shortlists, "CHUNK_ROWS", 10)
    some = shortlists(network, X, labels, rows, 0, 2)
    np.testing.assert_array_equal(some, shortlists(network, X, labels, rows, 0, 1))
    assert some.shape == every.shape
    assert some.min() >= 0 and some.max() < 200
    assert not np.array_equal(some, every)
    shared = np.mean([np.isin(a, b).mean() for a, b in zip(some, every, strict=True)])
    assert shared > 0.4


def test_same_bits_on_any_number_of_threads(data):
    one, two = (
        SlideClassifier([16], max_iter=2, random_state=0, n_jobs=n, ranker="linear").fit(*data)
        for n in (1, 2))
    for a, b in zip(one._ranker, two._ranker, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(one.decision_function(data[0]), two.decision_function(data[0]))


def test_without_ranker_the_network_is_the_same(data):
    with_, without = (SlideClassifier([16], max_iter=2, random_state=0, ranker=r).fit(*data)
                      for r in ("linear", None))
    for a, b in zip(with_.coefs_, without.coefs_, strict=True):
        np.testing.assert_array_equal(a, b)
    assert without.ranker_coef_ is None and without.ranker_intercept_ is None
    assert with_.ranker_coef_.shape == (200, 400)


def test_ranker_helps_where_labels_hang_on_rare_features():
    """Five samples a label, each with the label's own feature among noise."""
    rng = np.random.default_rng(0)
    n, n_classes = 2000, 400
    label = rng.integers(0, n_classes, n)
    Y = sp.csr_array((np.ones(n), (np.arange(n), label)), shape=(n, n_classes))
    X = sp.hstack([Y, 0.5 * sp.random(n, 100, 0.05, random_state=0)], format="csr")
    found = {}
    for ranker in ("linear", None):
        model = SlideClassifier([16], max_iter=20, random_state=0, ranker=ranker)
        model.fit(X[:1600], Y[:1600])
        found[ranker] = precision_at_k(Y[1600:], model.predict_topk(X[1600:], 1)[0], 1)
    assert found["linear"] > found[None] + 0.05


def test_labels(data):
    X, Y = data
    y = np.asarray(sp.csr_array(Y).argmax(axis=1)).ravel()
    model = SlideClassifier([8], max_iter=1, random_state=0, ranker="linear").fit(X, y)
    assert model.ranker_coef_.nnz > 0
    scores = model.decision_function(X)
    np.testing.assert_array_equal(model.predict(X), model.classes_[scores.argmax(axis=1)])


def test_partial_fit_keeps_and_fit_replaces_the_ranker(data):
    X, Y = data
    model = SlideClassifier([16], max_iter=1, random_state=0, ranker="linear")
    assert model.partial_fit(X, Y).ranker_coef_ is None
    before = model.fit(X, Y).ranker_coef_
    after = model.partial_fit(X, Y).ranker_coef_
    np.testing.assert_array_equal(before.data, after.data)
    assert model.set_params(ranker=None).fit(X, Y).ranker_coef_ is None


def test_not_fitted():
    model = SlideClassifier()
    assert not hasattr(model, "ranker_coef_") and not hasattr(model, "ranker_intercept_")


@pytest.mark.parametrize("C", [0.0, -1.0, "1"])
def test_bad_C(data, C):
    with pytest.raises(ValueError, match="'C' parameter"):
        SlideClassifier(C=C).fit(*data)


@pytest.mark.parametrize(("place", "change", "message"), [
    (0, lambda a: a[:-1], r"_ranker\[0\]"),
    (0, lambda a: a[::-1].copy(), r"_ranker\[0\] must rise from 0"),
    (1, lambda a: a + 400, r"_ranker\[1\] has a feature outside of"),
    (2, lambda a: a.astype(float), r"_ranker\[2\] must be an array of float32"),
    (3, lambda a: a[:5], r"_ranker\[3\]"),
    (4, lambda a: -a, r"_ranker\[4\] must not be negative"),
    (4, lambda a: a * np.float32(np.nan), r"_ranker\[4\] must not be negative"),
])
def test_tampered_state_is_refused(model, place, change, message):
    broken = clone(model)
    broken.__dict__ = {**vars(model), "_ranker": list(model._ranker)}
    broken._ranker[place] = change(broken._ranker[place])
    with pytest.raises(ValueError, match=message):
        pickle.loads(pickle.dumps(broken))


def test_rows_without_features_and_without_labels(data):
    X, Y = sp.csr_array(data[0]).tolil(), sp.csr_array(data[1]).tolil()
    X[:30] = 0
    Y[20:60] = 0
    model = SlideClassifier([8], max_iter=1, random_state=0, ranker="linear")
    model.fit(X.tocsr(), Y.tocsr())
    assert np.isfinite(model.decision_function(X.tocsr())).all()
