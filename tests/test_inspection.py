"""Displays: the numbers that they show, and scikit-learn's convention."""

import doctest
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
import scipy.sparse as sp
from conftest import small
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import BernoulliNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler

from slidelearn import inspection
from slidelearn.inspection import (
    LabelFrequencyDisplay,
    MultilabelCalibrationDisplay,
    PrecisionAtKDisplay,
    TrainingCurveDisplay,
    _calibration,
)
from slidelearn.metrics import make_topk_scorer, precision_at_k, recall_at_k

matplotlib.use("agg")
import matplotlib.pyplot as plt


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def data(extreme):
    X, Y = extreme
    return X[:1500], Y[:1500], X[1500:], Y[1500:]


@pytest.fixture(scope="module")
def model(data):
    return small(max_iter=4, early_stopping=True).fit(*data[:2])


def displays(model, data, **options):
    """One of each class, on the test part."""
    X, Y = data[2:]
    yield TrainingCurveDisplay.from_estimator(model, **options)
    yield PrecisionAtKDisplay.from_estimator(model, X, Y, **options)
    yield LabelFrequencyDisplay.from_estimator(model, X, Y, y_train=data[1], **options)
    yield MultilabelCalibrationDisplay.from_estimator(model, X, Y, **options)


# ---- the convention ----------------------------------------------------------------------------

def test_every_display_is_exported(model, data):
    assert sorted(type(d).__name__ for d in displays(model, data)) == sorted(inspection.__all__)


def test_attributes_and_axes(model, data):
    for display in displays(model, data):
        assert display.figure_ is display.ax_.figure
        assert display.line_ in display.ax_.lines
        figure, ax = plt.subplots()
        assert display.plot(ax, color="red") is display
        assert display.ax_ is ax and display.figure_ is figure
        assert display.line_.get_color() == "red"


def test_fewer_classes_than_five(tiny):
    X, Y = tiny
    model = small().fit(X, Y)
    assert len(PrecisionAtKDisplay.from_estimator(model, X, Y).precision) == 4
    LabelFrequencyDisplay.from_estimator(model, X, Y, y_train=Y)


def test_names(model, data):
    for display in displays(model, data):
        assert "SlideClassifier" in display.line_.get_label()
    for display in displays(model, data, name="mine"):
        assert "mine" in display.line_.get_label()
        assert "other" in display.plot(name="other").line_.get_label()
        assert "mine" in display.plot().line_.get_label()


def test_pipelines(data):
    X, Y = data[:2]
    pipeline = make_pipeline(MaxAbsScaler(), small()).fit(X, Y)
    inside = pipeline[-1]
    scaled = (pipeline[0].transform(X), Y, pipeline[0].transform(data[2]), data[3])
    for found, expected in zip(displays(pipeline, data), displays(inside, scaled), strict=True):
        np.testing.assert_array_equal(found.line_.get_xydata(), expected.line_.get_xydata())
        assert found.line_.get_label() == expected.line_.get_label()


def test_searches(data):
    X, Y = data[:2]
    pipeline = make_pipeline(MaxAbsScaler(), small())
    search = GridSearchCV(pipeline, {"slideclassifier__max_iter": [1]}, cv=2,
                          scoring=make_topk_scorer(precision_at_k, k=1),
                          error_score="raise").fit(X, Y)
    best = search.best_estimator_
    for found, expected in zip(displays(search, data), displays(best, data), strict=True):
        np.testing.assert_array_equal(found.line_.get_xydata(), expected.line_.get_xydata())
        assert found.line_.get_label() == expected.line_.get_label()


def test_not_fitted(data):
    for make in (lambda: TrainingCurveDisplay.from_estimator(small()),
                 lambda: PrecisionAtKDisplay.from_estimator(small(), *data[2:]),
                 lambda: MultilabelCalibrationDisplay.from_estimator(small(), *data[2:]),
                 lambda: LabelFrequencyDisplay.from_estimator(small(), *data[2:],
                                                              y_train=data[1])):
        with pytest.raises(ValueError, match="not fitted"):
            make()


def test_other_estimators(data):
    X, Y = data[:2]
    other = OneVsRestClassifier(BernoulliNB()).fit(X[:, :50], Y[:, :20])
    with pytest.raises(TypeError, match="has no history_"):
        TrainingCurveDisplay.from_estimator(other)
    with pytest.raises(TypeError, match="no predict_topk; use from_predictions"):
        PrecisionAtKDisplay.from_estimator(other, X[:, :50], Y[:, :20])
    display = MultilabelCalibrationDisplay.from_estimator(other, X[:, :50], Y[:, :20])
    expected = MultilabelCalibrationDisplay.from_predictions(
        Y[:, :20], other.predict_proba(X[:, :50]))
    np.testing.assert_array_equal(display.counts, expected.counts)


def test_without_matplotlib():
    code = """
import sys
sys.modules["matplotlib"] = sys.modules["matplotlib.pyplot"] = None
import numpy as np
from slidelearn.inspection import PrecisionAtKDisplay
try:
    PrecisionAtKDisplay.from_predictions(np.eye(2), [[0], [1]])
except ImportError as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.startswith("PrecisionAtKDisplay.plot requires matplotlib.")


def test_importing_does_not_import_matplotlib():
    code = "import slidelearn.inspection, sys; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", inspection.__all__)
def test_examples_and_parameters(name):
    finder = doctest.DocTestFinder()
    runner = doctest.DocTestRunner()
    for test in finder.find(getattr(inspection, name), name, globs={}):
        assert runner.run(test).failed == 0


# ---- training curve ----------------------------------------------------------------------------

def test_training_curve(model):
    display = TrainingCurveDisplay.from_estimator(model)
    np.testing.assert_array_equal(display.line_.get_xdata(), model.history_["epoch"])
    np.testing.assert_array_equal(display.line_.get_ydata(), model.loss_curve_)
    np.testing.assert_array_equal(display.score_line_.get_ydata(), model.validation_scores_)
    assert display.score_ax_ is not display.ax_
    other = TrainingCurveDisplay.from_estimator(model, column="active_size")
    np.testing.assert_array_equal(other.line_.get_ydata(), model.history_["active_size"])
    alone = TrainingCurveDisplay.from_estimator(model, column="validation_score")
    assert alone.score_ax_ is None


def test_training_curve_without_validation(tiny):
    pd = pytest.importorskip("pandas")
    model = small().fit(*tiny)
    display = TrainingCurveDisplay(pd.DataFrame(model.history_)).plot()
    assert display.score_ax_ is None and display.score_line_ is None
    np.testing.assert_array_equal(display.line_.get_ydata(), model.loss_curve_)


def test_unknown_column(model):
    with pytest.raises(ValueError, match="no column 'accuracy'; it has epoch, loss"):
        TrainingCurveDisplay.from_estimator(model, column="accuracy")


# ---- precision at k ----------------------------------------------------------------------------

def test_precision_at_k(model, data):
    X, Y = data[2:]
    weight = np.random.default_rng(0).random(Y.shape[0])
    for sample_weight in (None, weight):
        display = PrecisionAtKDisplay.from_estimator(model, X, Y, k=7,
                                                     sample_weight=sample_weight)
        top = model.predict_topk(X, k=7)[0]
        expected = [precision_at_k(Y, top, k, sample_weight=sample_weight) for k in range(1, 8)]
        np.testing.assert_allclose(display.precision, expected)
        np.testing.assert_array_equal(display.line_.get_xdata(), range(1, 8))


def test_precision_of_labels(multiclass):
    X, y = multiclass
    display = PrecisionAtKDisplay.from_estimator(small().fit(X, y), X, y, k=3)
    assert 0 < display.precision[0] <= 1


@pytest.mark.parametrize("top", [[0, 1], np.empty((2, 0), int)], ids=["flat", "empty"])
def test_bad_predictions(top):
    for make in (PrecisionAtKDisplay.from_predictions, lambda y, t:
                 LabelFrequencyDisplay.from_predictions(y, t, y_train=y)):
        with pytest.raises(ValueError, match=r"shape \(n_samples, k\)|positive integer"):
            make(np.eye(2, dtype=int), top)


# ---- calibration -------------------------------------------------------------------------------

def binned(truth, probability, n_bins, least):
    """Plain loops."""
    rows = [[[], []] for _ in range(n_bins)]
    for is_true, p in zip(truth.ravel(), probability.ravel(), strict=True):
        if p >= least:
            mine = rows[min(int(p * n_bins), n_bins - 1)]
            mine[0].append(is_true)
            mine[1].append(p)
    return (np.array([np.mean(true) if true else np.nan for true, _ in rows]),
            np.array([np.mean(p) if p else np.nan for _, p in rows]),
            np.array([len(p) for _, p in rows]))


@pytest.mark.parametrize("chunk", [1, 60, 2**22])
@pytest.mark.parametrize("least", [0.0, 0.01, 0.5])
def test_calibration(chunk, least, monkeypatch):
    monkeypatch.setattr(_calibration, "CHUNK_SCORES", chunk)
    rng = np.random.default_rng(0)
    probability = rng.random((20, 9)) ** 2
    probability[0, :3] = 0, 1, 0.5
    truth = (rng.random((20, 9)) < probability).astype(int)
    expected = binned(truth, probability, 5, least)
    for y in (truth, sp.csr_matrix(truth), sp.csc_array(truth)):
        for p in (probability, sp.csr_matrix(probability), sp.coo_array(probability)):
            display = MultilabelCalibrationDisplay.from_predictions(y, p, n_bins=5, min_prob=least)
            found = display.prob_true, display.prob_pred, display.counts
            if least == 0 and sp.issparse(p):
                continue  # a sparse matrix doesn't have the pair with probability 0
            for one, other in zip(found, expected, strict=True):
                np.testing.assert_allclose(one, other)
            gap = np.abs(expected[0] - expected[1])
            used = expected[2] > 0
            np.testing.assert_allclose(display.calibration_error,
                                       np.average(gap[used], weights=expected[2][used]))
            assert len(display.line_.get_xdata()) == used.sum()


def test_calibration_of_a_model(model, data):
    X, Y = data[2:]
    display = MultilabelCalibrationDisplay.from_estimator(model, X, Y)
    expected = MultilabelCalibrationDisplay.from_predictions(Y, model.predict_proba(X))
    for name in ("prob_true", "prob_pred", "counts"):
        np.testing.assert_array_equal(getattr(display, name), getattr(expected, name))
    frame = MultilabelCalibrationDisplay.from_estimator(model, X.toarray(), Y.toarray())
    np.testing.assert_array_equal(frame.counts, display.counts)


def test_one_reference_line(model, data):
    first = MultilabelCalibrationDisplay.from_estimator(model, *data[2:])
    first.plot(first.ax_)
    assert [line.get_label() for line in first.ax_.lines].count("perfectly calibrated") == 1
    assert len(first.plot(ref_line=False).ax_.lines) == 1


def test_nothing_likely_enough():
    display = MultilabelCalibrationDisplay.from_predictions(np.eye(3, dtype=int), np.zeros((3, 3)))
    assert not display.counts.any() and np.isnan(display.calibration_error)


@pytest.mark.parametrize("y_prob, options, match", [
    (np.zeros((3, 2)), {}, "must be of the shape of y_true"),
    (np.full((3, 3), 1.5), {}, r"must be in \[0, 1\]"),
    (np.full((3, 3), -0.5), {}, r"must be in \[0, 1\]"),
    (np.full((3, 3), np.nan), {}, r"must be in \[0, 1\]"),
    (sp.csr_matrix(np.full((3, 3), np.nan)), {}, r"must be in \[0, 1\]"),
    (np.zeros((3, 3)), {"n_bins": 0}, "n_bins must be a positive"),
    (np.zeros((3, 3)), {"n_bins": 2.5}, "n_bins must be a positive"),
    (np.zeros((3, 3)), {"min_prob": 1}, r"min_prob must be in \[0, 1\)"),
], ids=str)
def test_bad_probabilities(y_prob, options, match):
    with pytest.raises(ValueError, match=match):
        MultilabelCalibrationDisplay.from_predictions(np.eye(3, dtype=int), y_prob, **options)


def test_models_that_are_not_multilabel(multiclass):
    X, y = multiclass
    model = small().fit(X, y)
    with pytest.raises(ValueError, match="y must be an indicator"):
        MultilabelCalibrationDisplay.from_estimator(model, X, y)
    with pytest.raises(ValueError, match="the model must be multi-label"):
        MultilabelCalibrationDisplay.from_estimator(model, X, sp.eye(X.shape[0], 7, format="csr"))
    with pytest.raises(ValueError, match="inconsistent numbers of samples: 1499 and 1500"):
        MultilabelCalibrationDisplay.from_estimator(model, X[1:], sp.eye(1500, 60, format="csr"))


# ---- label frequency ---------------------------------------------------------------------------

@pytest.mark.parametrize("n_bins", [1, 3, 8, 50])
def test_label_frequency(model, data, n_bins):
    X, Y = data[2:]
    top = model.predict_topk(X, k=4)[0]
    display = LabelFrequencyDisplay.from_estimator(model, X, Y, y_train=data[1], k=4,
                                                   n_bins=n_bins)
    counts = np.asarray(data[1].sum(axis=0)).ravel()
    assert display.edges[0] <= counts.min() and counts.max() < display.edges[-1]
    assert (np.diff(display.edges) > 0).all() and len(display.edges) <= n_bins + 2
    truth = Y.toarray()
    for i, (low, high) in enumerate(zip(display.edges[:-1], display.edges[1:], strict=True)):
        mine = np.flatnonzero((counts >= low) & (counts < high))
        chosen = np.isin(top, mine)
        right = np.take_along_axis(truth, top, 1)[chosen].sum()
        assert len(mine) == display.n_labels[i] > 0
        assert chosen.sum() == display.n_predicted[i]
        assert truth[:, mine].sum() == display.n_true[i]
        np.testing.assert_allclose(display.precision[i],
                                   right / chosen.sum() if chosen.any() else np.nan)
        np.testing.assert_allclose(display.recall[i], right / truth[:, mine].sum()
                                   if truth[:, mine].any() else np.nan)
        np.testing.assert_allclose(np.log(display.frequency[i]),
                                   np.log(np.maximum(counts[mine], 0.5)).mean(), rtol=1e-5)
    used = ~np.isnan(display.recall)
    np.testing.assert_array_equal(display.plot(metric="recall").line_.get_ydata(),
                                  display.recall[used])


def test_sums_agree_with_metrics(model, data):
    X, Y = data[2:]
    top = model.predict_topk(X, k=1)[0]
    display = LabelFrequencyDisplay.from_predictions(Y, top, y_train=data[1])
    right = np.nansum(display.precision * display.n_predicted)
    np.testing.assert_allclose(right / Y.shape[0], precision_at_k(Y, top, 1))
    full = np.tile(np.arange(400), (Y.shape[0], 1))
    everything = LabelFrequencyDisplay.from_predictions(Y, full, y_train=data[1])
    assert (everything.recall[everything.n_true > 0] == 1).all()
    assert recall_at_k(Y, full, 400) == 1


def test_labels_without_training_samples():
    Y = np.array([[1, 0, 1], [0, 1, 0]])
    train = np.array([[1, 0, 0], [1, 1, 0]])
    display = LabelFrequencyDisplay.from_predictions(Y, [[0, 2], [1, -1]], y_train=train, n_bins=2)
    np.testing.assert_array_equal(display.edges, [0, 1, 2, 3])
    np.testing.assert_array_equal(display.precision, [1, 1, 1])
    np.testing.assert_allclose(display.frequency, [0.5, 1, 2])
    none = LabelFrequencyDisplay.from_predictions(Y, [[0], [1]], y_train=np.zeros((1, 3), int))
    np.testing.assert_array_equal(none.edges, [0, 1])


@pytest.mark.parametrize("options, match", [
    ({"n_bins": 0}, "n_bins"), ({"metric": "f1"}, "metric must be 'precision' or 'recall'"),
    ({"y_train": np.eye(3, 4, dtype=int)}, "y_train has 4 columns, but y_true 3"),
])
def test_bad_frequency_arguments(options, match):
    Y = np.eye(3, dtype=int)
    with pytest.raises(ValueError, match=match):
        LabelFrequencyDisplay.from_predictions(Y, [[0], [1], [2]], **{"y_train": Y, **options})


# ---- memory ------------------------------------------------------------------------------------

def test_large_y_is_never_densified(monkeypatch):
    """100,000 labels: 20,000 x 100,000 dense would be 2 GB as bytes."""
    rng = np.random.default_rng(0)
    n, n_classes = 20_000, 100_000
    top = rng.integers(0, n_classes // 3, (n, 3)) * 3 + np.arange(3)
    Y = sp.csr_matrix((np.ones(n, int), top[:, 1], np.arange(n + 1)), shape=(n, n_classes))
    proba = sp.csr_matrix((rng.random(3 * n), top.ravel(), np.arange(0, 3 * n + 1, 3)),
                          shape=(n, n_classes))

    def forbidden(*args, **kwargs):
        raise AssertionError("densified")

    for kind in (sp.csr_matrix, sp.coo_matrix, sp.csc_matrix):
        for name in ("toarray", "todense"):
            monkeypatch.setattr(kind, name, forbidden)
    display = PrecisionAtKDisplay.from_predictions(Y, top)
    np.testing.assert_allclose(display.precision, [0, 1 / 2, 1 / 3])
    assert LabelFrequencyDisplay.from_predictions(Y, top, y_train=Y).n_true.sum() == n
    display = MultilabelCalibrationDisplay.from_predictions(Y, proba, min_prob=0)
    assert display.counts.sum() == 3 * n
    np.testing.assert_allclose(np.nansum(display.prob_true * display.counts), n)
