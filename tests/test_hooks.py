"""What can be seen of training, and done about it: `history_`, `monitor`, callbacks."""

import pickle
import time

import numpy as np
import pandas as pd
import pytest
import sklearn
from conftest import assert_same_model, assert_same_state, small, snapshot
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler

from slidelearn import SlideClassifier, _history
from slidelearn._history import COLUMNS, DETERMINISTIC, TIMES
from slidelearn._step import PHASES
from slidelearn.metrics import ndcg_at_k

HAS_CALLBACKS = hasattr(SlideClassifier(), "set_callbacks")
needs_callbacks = pytest.mark.skipif(not HAS_CALLBACKS, reason="scikit-learn before 1.9")


@pytest.fixture(scope="module")
def data(extreme):
    return extreme[0][:600], extreme[1][:600]


# ---- history_ ----------------------------------------------------------------------------------

def test_pandas_takes_the_history(data):
    model = small(max_iter=3, early_stopping=True, n_iter_no_change=3).fit(*data)
    frame = pd.DataFrame(model.history_)
    assert tuple(frame.columns) == COLUMNS
    assert frame["epoch"].tolist() == [1, 2, 3]
    assert frame["loss"].tolist() == model.loss_curve_
    assert frame["validation_score"].tolist() == model.validation_scores_
    assert (frame["seconds_validation"] > 0).all()
    assert (frame[list(TIMES)] >= 0).all(axis=None)
    phases = frame[[f"seconds_{phase}" for phase in PHASES]].sum(axis=1)
    assert ((phases > 0) & (phases <= frame["seconds"])).all()
    n_trained = 540
    np.testing.assert_allclose(frame["samples_per_second"], n_trained / frame["seconds"])


def test_no_validation_is_nan(data):
    history = small().fit(*data).history_
    assert np.isnan(history["validation_score"]).all()
    assert history["seconds_validation"] == [0.0, 0.0]


@pytest.mark.parametrize("setting, size", [
    ({"sampling": "all"}, 400), ({"n_random": 300}, 400),
    ({"share_random": False, "n_random": 20}, 20),
])
def test_active_size(data, setting, size):
    X, Y = data[0], data[1]
    history = small(calibrate=False, **setting).fit(X, Y).history_
    labels = np.diff(Y.indptr)
    # A sample's own set has at least its labels.
    expected = np.maximum(labels, size).mean()
    np.testing.assert_allclose(history["active_size"], [expected] * 2)


def test_shared_active_size(data):
    X, Y = data
    X, Y = X[:30], Y[:30]
    history = small(n_random=30, batch_size=30, calibrate=False).fit(X, Y).history_
    n_labels = (Y.sum(axis=0) > 0).sum()
    assert history["active_size"] == [n_labels + 30] * 2


def test_rebuilds_are_counted(data):
    model = small(sampling="topk", n_random=20, batch_size=50, rebuild_interval=5,
                  rebuild_growth=1.0, max_iter=3, calibrate=False).fit(*data)
    # 12 batches an epoch; the first builds, then one every 5 steps
    due = [0, *range(5, 36, 5)]
    assert model.history_["rebuilds"] == [sum(step // 12 == e for step in due) for e in range(3)]
    assert all(seconds > 0 for seconds in model.history_["seconds_rebuild"])
    assert small().fit(*data).history_["rebuilds"] == [0, 0]


def test_all_but_times_are_deterministic(data):
    first, second = (small(early_stopping=True, n_jobs=n).fit(*data).history_ for n in (1, 2))
    for name in DETERMINISTIC:
        assert_same_state(first[name], second[name])


def test_history_goes_on_as_the_loss_curve_does(data):
    model = small(warm_start=True, early_stopping=True).fit(*data)
    handed_out = model.history_
    for n, train in ((3, model.partial_fit), (5, model.fit)):
        train(*data)
        assert model.history_["epoch"] == list(range(1, n + 1))
        assert model.history_["loss"] == model.loss_curve_
        assert model.n_iter_ == n
    assert np.isnan(model.history_["validation_score"]).tolist() == [False] * 2 + [True] + [
        False] * 2
    assert len(model.validation_scores_) == 4
    assert len(handed_out["loss"]) == 2
    model.set_params(warm_start=False).fit(*data)
    assert model.history_["epoch"] == [1, 2]


@pytest.mark.parametrize("table", [None, [], {}, "fewer", "uneven", "no list"])
def test_tampered_history_is_refused(data, table):
    model = small().fit(*data)
    state = model.__getstate__()
    if table == "fewer":
        table = {name: [] for name in COLUMNS[1:]}
    elif table == "uneven":
        table = {**state["history_"], "loss": [1.0]}
    elif table == "no list":
        table = {**state["history_"], "loss": 1.0}
    with pytest.raises(ValueError, match="history_ must be a dict of lists"):
        small().__setstate__({**state, "history_": table})


def test_history_adds_up():
    class Trainer:
        class phases:
            n_active = 0

            class clock:
                seconds = dict.fromkeys(PHASES, 0.0)

        class sampler:
            n_rebuilds, rebuild_seconds = 0, 0.0

    history = _history.History({})
    for epoch in range(2):
        history.start_epoch(Trainer)
        clock = Trainer.phases.clock
        clock.seconds = {name: value + 3 for name, value in clock.seconds.items()}
        Trainer.sampler.n_rebuilds += 1 + epoch
        Trainer.sampler.rebuild_seconds += 2.0
        Trainer.phases.n_active += 50
        history.end_epoch(Trainer, 0.5, 10)
    table = history.table
    assert table["active_size"] == [5, 5] and table["rebuilds"] == [1, 2]
    assert table["seconds_sampling"] == [1, 1] and table["seconds_rebuild"] == [2, 2]
    assert table["seconds_loss"] == [3, 3] and history.last["epoch"] == 2


# ---- monitor -----------------------------------------------------------------------------------

def test_monitor_sees_each_epoch(data):
    seen = []

    def monitor(i, model, row):
        seen.append((i, model.n_iter_, model.t_, row["loss"], list(model.loss_curve_)))

    model = small(max_iter=3).fit(*data, monitor=monitor)
    assert [entry[:2] for entry in seen] == [(0, 1), (1, 2), (2, 3)]
    assert [entry[3] for entry in seen] == model.loss_curve_ == seen[-1][-1]
    assert seen[-1][2] == model.t_ == 3 * seen[0][2]


@pytest.mark.parametrize("setting", [{"ranker": None}, {"sampling": "topk"},
                                     {"early_stopping": True}, {"warm_start": True}], ids=str)
def test_predicting_in_the_monitor_changes_nothing(data, setting):
    X, Y = data
    tops = []

    def monitor(i, model, row):
        np.random.seed(i)  # noqa: NPY002
        tops.append(model.predict_topk(X, k=3)[0])
        model.predict_topk(X[:50], k=3, method="lsh")
        model.predict(X[:50])
        model.predict_proba(X[:50])
        pickle.loads(pickle.dumps(model)).partial_fit(X, Y)
        clone(model).fit(X[:50], Y[:50])

    model = small(max_iter=3, **setting).fit(X, Y, monitor=monitor)
    plain = small(max_iter=3, **setting).fit(X, Y)
    assert_same_state(snapshot(model), snapshot(plain))
    np.testing.assert_array_equal(model.predict_topk(X, k=4, method="lsh")[0],
                                  plain.predict_topk(X, k=4, method="lsh")[0])
    quality = [ndcg_at_k(Y, top, k=3) for top in tops]
    assert quality[0] < quality[-1]
    if setting == {"ranker": None}:  # which comes after the last epoch
        np.testing.assert_array_equal(tops[-1], model.predict_topk(X, k=3)[0])


def test_hash_tables_of_the_monitor_are_of_that_epoch(data):
    """Neither stale ones from the epoch before, nor kept for the fitted model."""
    X, Y = data
    found = []
    small(max_iter=2).fit(X, Y, monitor=lambda i, model, row: found.append(
        (model.predict_topk(X, k=3, method="lsh")[1],
         pickle.loads(pickle.dumps(model)).predict_topk(X, k=3, method="lsh")[1])))
    for seen, fresh in found:
        np.testing.assert_array_equal(seen, fresh)
    assert (found[0][0] != found[1][0]).any()


def test_monitor_stops(data):
    model = small(max_iter=5, learning_rate="constant").fit(
        *data, monitor=lambda i, model, row: i == 1)
    assert model.n_iter_ == 2
    plain = small(max_iter=2, learning_rate="constant").fit(*data)
    assert_same_model(model, plain)


def test_errors_of_the_monitor(data):
    def failing(i, model, row):
        raise RuntimeError("monitor failed")

    def fitting(i, model, row):
        model.partial_fit(*data)

    model = small().fit(*data)
    before = snapshot(model)
    for monitor, match in ((failing, "monitor failed"), (fitting, "fitted or changed")):
        with pytest.raises(RuntimeError, match=match):
            model.fit(*data, monitor=monitor)
        assert_same_state(snapshot(model), before)
    for monitor in (3, "loss"):
        with pytest.raises(ValueError, match="monitor must be a callable or None"):
            model.fit(*data, monitor=monitor)


def test_interrupt_in_the_monitor(data):
    def monitor(i, model, row):
        raise KeyboardInterrupt

    with pytest.warns(UserWarning, match="interrupted by user"):
        model = small().fit(*data, monitor=monitor)
    assert model.n_iter_ == len(model.history_["loss"]) == 1


def test_time_in_the_monitor_is_not_training_time(data):
    model = small().fit(*data, monitor=lambda i, model, row: time.sleep(0.5))
    assert max(model.history_["seconds"]) < 0.5


# ---- scikit-learn's callbacks -------------------------------------------------------------------

class Recorder:
    """Follows the protocol; stops at the epoch `stop_at`."""

    def __init__(self, stop_at=None):
        self.stop_at = stop_at
        self.calls = []
        self.models = []

    def setup(self, estimator, context):
        self.calls.append("setup")

    def teardown(self, estimator, context):
        self.calls.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.calls.append(("begin", context.task_name, context.task_id))
        if context.task_name == "fit":
            self.n_epochs = context.max_subtasks

    def on_fit_task_end(self, estimator, context, *, X=None, y=None, metadata=None,
                        fitted_estimator=None):
        self.calls.append(("end", context.task_name, context.task_id))
        self.seen = X, y, metadata
        self.models.append(fitted_estimator)
        return context.task_name == "epoch" and context.task_id == self.stop_at


class Propagated(Recorder):
    max_propagation_depth = None


def test_older_versions_say_what_is_missing():
    if HAS_CALLBACKS:
        assert tuple(map(int, sklearn.__version__.split(".")[:2])) >= (1, 9)
    else:
        with pytest.raises(AttributeError, match=r"scikit-learn 1\.9"):
            SlideClassifier().set_callbacks()


@needs_callbacks
def test_callbacks_see_each_epoch(data):
    recorder = Recorder()
    weight = np.ones(600)
    model = small().set_callbacks(recorder).fit(*data, sample_weight=weight)
    assert recorder.calls == [
        "setup", ("begin", "fit", 0), ("begin", "epoch", 0), ("end", "epoch", 0),
        ("begin", "epoch", 1), ("end", "epoch", 1), ("end", "fit", 0), "teardown",
    ]
    assert recorder.n_epochs == 2
    assert recorder.seen[0] is data[0] and recorder.seen[1] is data[1]
    assert recorder.seen[2]["sample_weight"] is weight
    plain = small().fit(*data)
    found = {name: value for name, value in snapshot(model).items() if name != "_skl_callbacks"}
    assert_same_state(found, snapshot(plain))


@needs_callbacks
@pytest.mark.parametrize("early_stopping", [False, True])
def test_fitted_estimator_is_as_if_fit_had_stopped(data, early_stopping):
    setting = {"learning_rate": "constant", "early_stopping": early_stopping, "ranker": None}
    recorder = Recorder()
    small(max_iter=3, **setting).set_callbacks(recorder).fit(*data)
    for epochs, found in zip((1, 2, 3, 3), recorder.models, strict=True):
        expected = small(max_iter=epochs, **setting).fit(*data)
        assert_same_model(found, expected)
        np.testing.assert_array_equal(found.predict(data[0]).toarray(),
                                      expected.predict(data[0]).toarray())


@needs_callbacks
def test_a_callback_stops(data):
    recorder = Recorder(stop_at=1)
    model = small(max_iter=5).set_callbacks(recorder).fit(*data)
    assert model.n_iter_ == 2
    assert recorder.calls[-2:] == [("end", "fit", 0), "teardown"]


@needs_callbacks
def test_callbacks_of_a_failing_fit_are_torn_down(data):
    recorder = Recorder()
    model = small().fit(*data)
    before = snapshot(model)
    model.set_callbacks(recorder)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        model.fit(data[0][:-1], data[1])
    assert recorder.calls == ["setup", "teardown"]
    model.set_callbacks()
    assert_same_state(snapshot(model), before)


@needs_callbacks
def test_callbacks_of_meta_estimators(data):
    recorder = Propagated()
    pipeline = make_pipeline(MaxAbsScaler(), small()).set_callbacks(recorder).fit(*data)
    assert ("end", "epoch", 1) in recorder.calls
    assert not hasattr(pipeline[-1], "_skl_callbacks")
    recorder = Propagated()
    search = GridSearchCV(small(), {"dropout": [0.0, 0.5]}, cv=2).set_callbacks(recorder)
    search.fit(*data)
    assert recorder.calls.count(("end", "epoch", 1)) == 5  # two values, two folds, the refit


@needs_callbacks
def test_scoring_monitor(data):
    from sklearn.callback import ScoringMonitor

    from slidelearn.metrics import make_topk_scorer, precision_at_k

    monitor = ScoringMonitor(scoring={"P@1": make_topk_scorer(precision_at_k, k=1)})
    model = small(max_iter=3, ranker=None).set_callbacks(monitor).fit(*data)
    scores = [row["P@1"] for row in monitor.get_logs().data]
    assert len(scores) == 4  # the epochs and the whole fit
    top = model.predict_topk(data[0], k=1)[0]
    assert scores[-1] == precision_at_k(data[1], top, k=1)
