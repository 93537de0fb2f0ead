"""Scores that can be taken for probabilities, and label sets that make sense."""

import numpy as np
import pytest
import scipy.sparse as sp
from conftest import small
from scipy.optimize import minimize
from scipy.special import expit, log_softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score, log_loss

from slidelearn import _calibration
from slidelearn.datasets import make_extreme_classification


def histogram_of(scores, truth):
    histogram = _calibration.ScoreHistogram()
    half = len(scores) // 2
    for part in (slice(0, half), slice(half, None)):  # it is filled in chunks
        histogram.add(scores[part].astype(np.float32), scores[part][truth[part]])
    return histogram


@pytest.mark.parametrize("slope, intercept", [(1.0, 0.0), (0.5, -2.0), (3.0, 1.5)])
def test_a_line_is_found(slope, intercept):
    rng = np.random.default_rng(0)
    scores = rng.normal(-2, 3, 200_000)
    truth = rng.random(200_000) < expit(slope * scores + intercept)
    knot, value, below, above = _calibration.fit_calibration(histogram_of(scores, truth))
    np.testing.assert_allclose([below, above], slope, rtol=0.1)
    assert value == pytest.approx(-3, abs=0.1)
    assert knot == pytest.approx((-3 - intercept) / slope, rel=0.05, abs=0.05)


def test_two_slopes_are_found():
    rng = np.random.default_rng(0)
    scores = rng.normal(-3, 2, 200_000)
    odds = -3 + np.where(scores < -2, 2.0, 0.5) * (scores + 2)
    truth = rng.random(200_000) < expit(odds)
    calibration = _calibration.fit_calibration(histogram_of(scores, truth))
    found = _calibration.log_odds(calibration, scores.astype(np.float32))
    assert np.abs(expit(found) - expit(odds)).mean() < 0.005  # the knot isn't where it should be
    assert np.abs(found - odds)[odds > -7].max() < 1  # further down hardly a label is true
    assert calibration[2] > 1.5 * calibration[3]


def test_agrees_with_logistic_regression():
    rng = np.random.default_rng(0)
    scores = rng.normal(-3, 2, 20_000)
    truth = rng.random(20_000) < expit(0.7 * scores - 1) ** 1.5
    knot, value, below, above = _calibration.fit_calibration(histogram_of(scores, truth))
    line = LogisticRegression(C=np.inf, tol=1e-8).fit(scores[:, None], truth)
    assert knot == pytest.approx((-3 - line.intercept_[0]) / line.coef_[0, 0], rel=0.03)
    parts = np.stack([np.minimum(scores - knot, 0), np.maximum(scores - knot, 0)], axis=1)
    model = LogisticRegression(C=np.inf, tol=1e-8).fit(parts, truth)
    np.testing.assert_allclose([below, above, value], [*model.coef_[0], model.intercept_[0]],
                               rtol=0.03)


@pytest.mark.parametrize("calibration", [(0.5, 1.0, 2.0, 0.5), (0.5, -3.0, 2.0, 0.5)])
def test_threshold_is_where_the_odds_are_even(calibration):
    scores = np.float32(_calibration.threshold(calibration) + np.array([-0.01, 0, 0.01]))
    low, middle, high = _calibration.log_odds(calibration, scores)
    assert low < 0 < high and abs(middle) < 1e-6


@pytest.mark.parametrize("scores, truth", [
    (np.zeros(1000), np.arange(1000) < 5),  # too few true labels
    (np.zeros(1000), np.arange(1000) >= 5),  # too few false ones
    (np.arange(1000.0) / 100, np.arange(1000) < 500),  # true ones score less
    (np.zeros(0), np.zeros(0, bool)),
], ids=["few true", "few false", "wrong way round", "nothing"])
def test_degenerate_scores_are_left_alone(scores, truth):
    found = _calibration.fit_calibration(histogram_of(scores, truth))
    np.testing.assert_array_equal(found, _calibration.IDENTITY)
    some = np.float32([-1e9, -3.2, 0, 0.1, 77])
    np.testing.assert_array_equal(_calibration.log_odds(found, some), some)


@pytest.mark.parametrize("scores", [
    np.where(np.arange(1000) < 500, 30.0, -30.0),  # separable
    np.where(np.arange(1000) < 500, 1e30, -1e30),  # beyond the bins
    np.where(np.arange(1000) < 500, 0.01, -0.01), np.full(1000, 7.0),
], ids=["separable", "huge", "close", "constant"])
def test_extreme_scores(scores):
    found = _calibration.fit_calibration(histogram_of(scores, np.arange(1000) < 500))
    assert (found[2:] > 0).all() and np.isfinite(found).all()


def test_bins_cover_all_numbers():
    histogram = _calibration.ScoreHistogram()
    histogram.add(np.float32([-np.inf, -1e9, -80.01, 80.01, 1e9, np.inf, np.nan]), np.float32([]))
    assert histogram.every.sum() == 7
    assert histogram.every[0] == 4 and histogram.every[-1] == 3
    places = np.float32(_calibration.CENTRES)
    histogram = _calibration.ScoreHistogram()
    histogram.add(places, places)
    assert (histogram.every == 1).all() and (histogram.true == 1).all()


def gaps_of(scores, true_class):
    histogram = _calibration.GapHistogram(len(scores))
    half = len(scores) // 2
    for part in (slice(0, half), slice(half, len(scores))):
        histogram.add(part, scores[part].astype(np.float32), true_class[part])
    return histogram


def drawn(scores, slope, rng):
    """A class of each row, by the softmax of `slope` times its scores."""
    gumbel = rng.gumbel(size=scores.shape)
    return (slope * scores + gumbel).argmax(axis=1)


@pytest.mark.parametrize("slope", [0.2, 1.0, 3.0])
def test_a_temperature_is_found(slope):
    rng = np.random.default_rng(0)
    scores = rng.normal(100, 3, (500, 40))
    true_class = drawn(scores, slope, rng)
    knot, value, below, above = _calibration.fit_temperature(gaps_of(scores, true_class))
    assert knot == value == 0 and below == above == pytest.approx(slope, rel=0.2)

    def loss(log_slope):
        likelihood = log_softmax(np.exp(log_slope[0]) * scores, axis=1)
        return log_slope[0]**2 / 2 - likelihood[np.arange(500), true_class].sum()

    oracle = minimize(loss, [0.0], method="Nelder-Mead").x[0]
    assert below == pytest.approx(np.exp(oracle), rel=0.01)


@pytest.mark.parametrize(("scores", "lowest", "highest"), [
    (20 * np.eye(30), 0.5, 3.0),  # all right, which 30 samples don't prove
    (1e30 * np.eye(30), 0.05, 1.01), (np.zeros((30, 30)), 0.99, 1.01),
    (20 * np.eye(30)[::-1], 0.04, 0.1),  # all wrong
    (np.full((30, 30), np.nan), 0.99, 1.01), (np.where(np.eye(30) > 0, np.inf, 0), 0.04, 3.0),
    (np.ones((30, 1)), 0.99, 1.01),
], ids=["right", "huge", "constant", "wrong", "nan", "inf", "one class"])
def test_extreme_temperatures(scores, lowest, highest):
    true_class = np.minimum(np.arange(30), scores.shape[1] - 1)
    slope = _calibration.fit_temperature(gaps_of(scores, true_class))[2]
    assert lowest < slope < highest


def test_how_many_are_held_out():
    assert _calibration.n_held_out(399, 10) == 0
    assert _calibration.n_held_out(400, 10) == 20
    assert _calibration.n_held_out(10**6, 10) == 500
    assert _calibration.n_held_out(10**6, 10**6) == 268
    assert _calibration.n_held_out(10**6, 10**8) == 0


# ---- the estimator -----------------------------------------------------------------------------

@pytest.fixture(scope="module")
def problem():
    X, Y = make_extreme_classification(6000, 1000, 300, n_nonzeros=40, noise=0.1, random_state=3)
    return X[:5000], Y[:5000], X[5000:], Y[5000:]


def calibration_error(proba, truth):
    """Expected calibration error: by ten bins of equally many predictions."""
    order = np.argsort(proba, axis=None)
    error = 0.0
    for part in np.array_split(order, 10):
        error += abs(proba.ravel()[part].mean() - truth.ravel()[part].mean()) * len(part)
    return error / len(order)


@pytest.mark.parametrize("setting", [
    {}, {"loss": "softmax"}, {"n_random": 60}, {"early_stopping": True},
    {"n_random": 60, "loss": "softmax"},
    {"sampling": "topk", "n_random": 60, "share_random": False, "n_candidates": 30}], ids=str)
def test_probabilities_and_label_sets(problem, setting):
    X, Y, X_test, Y_test = problem
    truth = Y_test.toarray()
    model = small(hidden_layer_sizes=(64,), max_iter=10, **setting).fit(X, Y)
    assert not np.array_equal(model.calibration_, _calibration.IDENTITY)
    proba = model.predict_proba(X_test)
    assert (proba > 0).all() and (proba < 1).all()
    assert calibration_error(proba, truth) < 0.003  # the labels' mean frequency is 0.01
    predicted = model.predict(X_test)
    assert 0.4 < predicted.sum() / Y_test.sum() < 1.2
    f1 = f1_score(Y_test, predicted, average="micro")
    assert f1 > 0.55
    model.calibration_ = np.array(_calibration.IDENTITY)
    plain = f1_score(Y_test, model.predict(X_test), average="micro", zero_division=0)
    assert f1 > plain + 0.05
    assert calibration_error(proba, truth) < calibration_error(model.predict_proba(X_test), truth)


@pytest.mark.parametrize("setting", [
    {}, {"early_stopping": True}, {"loss": "sigmoid"}, {"ranker": None, "max_iter": 20},
    {"n_random": 60, "max_iter": 20}], ids=str)
def test_probabilities_of_labels(problem, setting):
    X, Y, X_test, Y_test = problem
    y, y_test = (np.asarray(part.argmax(axis=1)).ravel() for part in (Y, Y_test))
    known = np.isin(y_test, y)
    model = small(**{"hidden_layer_sizes": (64,), "max_iter": 10, **setting}).fit(X, y)
    identity = np.array(_calibration.IDENTITY)
    assert not np.array_equal(model.calibration_, identity)
    proba = model.predict_proba(X_test[known])
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    found = model.classes_[proba.argmax(axis=1)]
    np.testing.assert_array_equal(found, model.predict(X_test[known]))
    right = accuracy_score(y_test[known], found)
    model.calibration_ = identity
    plain = model.predict_proba(X_test[known])
    assert log_loss(y_test[known], proba, labels=model.classes_) < log_loss(
        y_test[known], plain, labels=model.classes_)
    error, plain_error = (abs(p.max(axis=1).mean() - right) for p in (proba, plain))
    assert error < max(0.04, 0.8 * plain_error)


def test_no_calibration(problem):
    X, Y = problem[:2]
    identity = np.array(_calibration.IDENTITY)
    for model in (small(calibrate=False).fit(X, Y), small().fit(X[:399], Y[:399]),
                  small().partial_fit(X, Y), small(calibrate=False).fit(X, np.arange(5000) % 7),
                  small().fit(X[:399], np.arange(399) % 7)):
        np.testing.assert_array_equal(model.calibration_, identity)


def test_order_is_kept(problem):
    X, Y, X_test, _ = problem
    model = small().fit(X, Y)
    labels, scores = model.predict_topk(X_test, k=10)
    model.calibration_ = np.array(_calibration.IDENTITY)
    plain, raw = model.predict_topk(X_test, k=10)
    np.testing.assert_array_equal(labels, plain)
    assert not np.array_equal(scores, raw)


def test_partial_fit_keeps_the_calibration(problem):
    X, Y = problem[:2]
    model = small().fit(X, Y)
    calibration = model.calibration_.copy()
    np.testing.assert_array_equal(model.partial_fit(X, Y).calibration_, calibration)


def test_held_out_rows_stay_held_out(problem, monkeypatch):
    """A warm start holds out the same samples: what is trained on can't serve for calibration."""
    from slidelearn import _classifier

    X, Y = problem[:2]
    seen = []
    original = _classifier.calibrate
    monkeypatch.setattr(_classifier, "calibrate", lambda *args: (
        seen.append(args[4]), original(*args))[1])
    model = small(warm_start=True, max_iter=1)
    model.fit(X, Y).fit(X, sp.csc_matrix(Y))
    np.testing.assert_array_equal(seen[0], seen[1])
