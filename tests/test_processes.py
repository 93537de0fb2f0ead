"""Ctrl-C, forked children, worker processes and threads."""

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, product

import joblib
import numpy as np
import pytest
from conftest import assert_same_model, assert_same_state, small, snapshot

from slidelearn import SlideClassifier, _classifier, _fitting, _lsh, _ranker, _step, _threads
from slidelearn._training import Trainer
from tests.signals import as_usual

PATIENCE = 2.0  # seconds for an answer to Ctrl-C: four times what is promised, for busy machines


# ---- Ctrl-C at a certain place -----------------------------------------------------------------

def interrupting(monkeypatch, owner, name, after):
    """Let a function raise KeyboardInterrupt after its work, at call number `after`."""
    original, calls = getattr(owner, name), []

    def interrupted(*args, **kwargs):
        calls.append(1)
        result = original(*args, **kwargs)
        if len(calls) == after + 1:
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(owner, name, interrupted)


PLACES = {
    "building the trainer": (Trainer, "__init__", 0),
    "before the first batch": (Trainer, "prepare", 0),
    "after the first forward pass": (_step, "perf_counter", 5),  # the clock's: four times before
    "between two updates": (_step, "perf_counter", 10 + 8),
    "after the updates of a batch": (Trainer, "train_batch", 5),
    "in the second epoch": (Trainer, "train_batch", 30),
    "scoring": (_classifier, "validation_score", 1),
    "checking": (_classifier._state, "check_finite", 0),
    "restoring": (_fitting.EarlyStopping, "restore_best", 0),
    "mean activation": (_classifier._prediction, "hidden_activations", 0),
    "training rankers": (_ranker, "shortlists", 0),
    "calibrating": (_classifier, "calibrate", 0),
}
FIT_ONLY = "in the second epoch", "training rankers", "calibrating"


def passes(method, place, early_stopping):
    """Whether a call comes by the place at all."""
    if place in ("scoring", "restoring"):
        return early_stopping and method != "partial_fit"
    return method != "partial_fit" or place not in FIT_ONLY


@pytest.mark.parametrize("method, place, early_stopping", [
    case for case in product(["fit", "warm fit", "partial_fit"], PLACES, [False, True])
    if passes(*case)
])
def test_interrupt_leaves_a_model(extreme, monkeypatch, method, place, early_stopping):
    X, Y = extreme[0][:400], extreme[1][:400]
    model = small(max_iter=3, early_stopping=early_stopping, warm_start=method == "warm fit")
    if method != "fit":
        model.fit(X, Y)
    steps, epochs = getattr(model, "t_", 0), getattr(model, "n_iter_", 0)
    with monkeypatch.context() as patch:
        interrupting(patch, *PLACES[place])
        with pytest.warns(UserWarning, match="Training interrupted by user"):
            (model.partial_fit if method == "partial_fit" else model.fit)(X, Y)
    assert all(np.isfinite(array).all() for array in [*model.coefs_, *model.intercepts_])
    assert model.predict_topk(X, k=3)[0].shape == (400, 3)
    assert model.predict_topk(X, k=3, method="lsh")[0].shape == (400, 3)
    assert model.predict(X).shape == Y.shape
    assert model.t_ >= steps and model.n_iter_ >= epochs
    assert model.n_iter_ == len(model.loss_curve_)
    assert np.isfinite(model.loss_curve_).all()
    if place == "in the second epoch":
        assert model.t_ == steps + 31 and model.n_iter_ == epochs + 2
    model.partial_fit(X, Y)  # and can be trained further
    if method != "partial_fit":
        model.set_params(max_iter=1).fit(X, Y)


def test_interrupt_before_training_changes_nothing(extreme, monkeypatch):
    X, Y = extreme[0][:100], extreme[1][:100]
    for model in (small(), small().fit(X, Y), small(warm_start=True).fit(X, Y)):
        before = snapshot(model)
        for owner, name in ((_classifier, "check_X"), (_classifier._labels, "encode")):
            with monkeypatch.context() as patch:
                interrupting(patch, owner, name, 0)
                with pytest.raises(KeyboardInterrupt):
                    model.fit(X, Y)
        assert_same_state(snapshot(model), before)


def test_second_interrupt_gives_up(extreme, monkeypatch):
    X, Y = extreme[0][:400], extreme[1][:400]
    model = small().fit(X, Y)
    coefs = model._coefs
    interrupting(monkeypatch, Trainer, "train_batch", 3)
    interrupting(monkeypatch, _classifier, "calibrate", 0)
    with pytest.warns(UserWarning, match="interrupted"), pytest.raises(KeyboardInterrupt):
        model.fit(X, Y)
    assert model._coefs is coefs and len(model.loss_curve_) == 2


def test_interrupted_training_that_had_diverged(extreme, monkeypatch):
    X, Y = extreme[0][:300], extreme[1][:300]
    model = small().fit(X, Y)
    coefs = model._coefs

    def broken(trainer, *args):
        trainer.network.output.weights[7, 3] = np.nan
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "train_batch", broken)
    with pytest.warns(UserWarning), pytest.raises(ValueError, match=r"diverged: coefs_\[1\]"):
        model.fit(X, Y)
    assert model._coefs is coefs


# ---- Ctrl-C at any time ------------------------------------------------------------------------

LARGE = """
import signal, sys, time, warnings
import numpy as np
from slidelearn import SlideClassifier
from slidelearn.datasets import make_extreme_classification

X, Y = make_extreme_classification(20_000, 5_000, 120_000, random_state=0)
model = SlideClassifier((128,), random_state=0, n_jobs=2, **{setting})
warnings.simplefilter("always")
if {task!r} == "predict":
    model.set_params(max_iter=1).partial_fit(X[:500], Y[:500])
print("ready", flush=True)
try:
    if {task!r} == "fit":
        model.set_params(max_iter=1000).fit(X, Y)
    else:
        while True:
            model.predict_topk(X, k=5)
except KeyboardInterrupt:
    print("interrupted", flush=True)
print("answered", time.time(), flush=True)
labels, scores = model.predict_topk(X[:20], k=5)
assert np.isfinite(scores).all()
assert model.predict(X[:20]).shape == (20, 120_000)
if {task!r} == "fit":
    assert model.n_iter_ >= 1 and model.t_ >= {least_steps}
    model.partial_fit(X[:100], Y[:100])
print("usable", flush=True)
"""


@pytest.mark.parametrize("task, setting, wait, least_steps", [
    ("fit", {}, 1.0, 1),
    ("fit", {}, 2.3, 1),
    # 30 tables of 120,000 classes, built again and again
    ("fit", {"sampling": "topk", "n_tables": 30, "rebuild_interval": 1, "rebuild_growth": 1.0,
             "redraw_every": 1}, 2.0, 0),
    ("predict", {}, 1.0, 0),
], ids=["fit", "fit longer", "tables", "predict"])
def test_ctrl_c(task, setting, wait, least_steps):
    code = LARGE.format(task=task, setting=setting, least_steps=least_steps)
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True, preexec_fn=as_usual)
    try:
        assert child.stdout.readline() == "ready\n"
        time.sleep(wait)
        sent = time.time()
        child.send_signal(signal.SIGINT)
        output, errors = child.communicate(timeout=60)
    finally:
        child.kill()
    assert child.returncode == 0, errors
    assert output.endswith("usable\n")
    answered = next(float(line.split()[1]) for line in output.splitlines() if "answered" in line)
    print(f"answered after {answered - sent:.2f} s")
    assert answered - sent < PATIENCE
    assert ("Training interrupted by user" in errors) == (task == "fit")


# ---- forked children ---------------------------------------------------------------------------

def run_python(code, timeout=100):
    result = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], timeout=timeout,
                            capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


PARENT = """
import multiprocessing, os, signal, sys
import numpy as np
from slidelearn import SlideClassifier, _threads
from slidelearn.datasets import make_extreme_classification

X, Y = make_extreme_classification(500, 200, 300, random_state=0)

def work(n_jobs):
    model = SlideClassifier((16,), max_iter=2, random_state=0, n_jobs=n_jobs).fit(X, Y)
    return model.predict_topk(X, k=3)[1], _threads.effective_n_threads(n_jobs)

"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_fork_after_openmp():
    run_python(PARENT + """
expected, n_threads = work(2)
assert n_threads == 2
child = os.fork()
if child == 0:
    signal.alarm(60)
    scores, n_threads = work(2)
    same = np.array_equal(scores, expected) and n_threads == 1
    grandchild = os.fork()
    if grandchild == 0:
        work(2)
        os._exit(0)
    same &= os.waitpid(grandchild, 0)[1] == 0
    os._exit(0 if same else 1)
assert os.waitpid(child, 0)[1] == 0
assert work(2)[1] == 2
""")


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
def test_pool_of_forked_workers():
    run_python(PARENT + """
expected, _ = work(2)
with multiprocessing.get_context("fork").Pool(2) as pool:
    for scores, n_threads in pool.map(work, [2, 2, -1]):
        assert np.array_equal(scores, expected) and n_threads == 1
""")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_fork_before_openmp_keeps_threads():
    run_python(PARENT + """
expected, _ = work(1)
child = os.fork()
if child == 0:
    signal.alarm(60)
    scores, n_threads = work(2)
    os._exit(0 if np.array_equal(scores, expected) and n_threads == 2 else 1)
assert os.waitpid(child, 0)[1] == 0
""")


# ---- joblib ------------------------------------------------------------------------------------

def fit_one(seed, X, Y, n_jobs):
    return SlideClassifier((16,), max_iter=2, random_state=seed, n_jobs=n_jobs).fit(X, Y)


@pytest.mark.parametrize("n_jobs", [None, 2])
@pytest.mark.parametrize("backend", ["loky", "threading", "sequential"])
def test_joblib_backends(extreme, backend, n_jobs):
    X, Y = extreme[0][:300], extreme[1][:300]
    small(n_jobs=2).fit(X, Y)  # OpenMP has been used
    with joblib.parallel_config(backend, n_jobs=2):
        models = joblib.Parallel()(joblib.delayed(fit_one)(seed, X, Y, n_jobs)
                                   for seed in range(3))
    for seed, model in enumerate(models):
        assert_same_model(model, fit_one(seed, X, Y, 1))


def test_number_of_threads():
    n_cpus = joblib.cpu_count()
    count = _threads.effective_n_threads
    assert count(None) == 1 and count(3) == 3 and count(-1) == n_cpus
    assert count(-(10**9)) == 1 and count(10**9) == _threads.MAX_THREADS
    with joblib.parallel_config(n_jobs=2):
        assert count(None) == 2 and count(1) == 1
    with joblib.parallel_config("threading", n_jobs=2):
        assert joblib.Parallel()(joblib.delayed(count)(None) for _ in range(2)) == [1, 1]
    with pytest.raises(ValueError, match="n_jobs=0 has no meaning"):
        count(0)


def test_models_used_by_many_threads(extreme):
    """Prediction by several threads at once, hash tables being built by each of them."""
    X, Y = extreme[0][:300], extreme[1][:300]
    model = small(n_jobs=2).fit(X, Y)
    expected = small(n_jobs=2).fit(X, Y).predict_topk(X, k=3, method="lsh")
    results = joblib.Parallel(4, "threading")(
        joblib.delayed(model.predict_topk)(X, k=3, method="lsh") for _ in range(8))
    for labels, scores in results:
        np.testing.assert_array_equal(labels, expected[0])
        np.testing.assert_array_equal(scores, expected[1])


def test_threads_that_predict_with_different_n_jobs(extreme, monkeypatch):
    """They share hash tables, but no number of threads."""
    X, Y = extreme[0][:300], extreme[1][:300]
    model = small(n_tables=20).fit(X, Y)
    expected = model.predict_topk(X, k=3, method="lsh")
    steps = _lsh.SignHash.steps_per_row.fget

    def wait(functions):
        time.sleep(1e-3)  # threads take turns: scratch is there, the kernel not yet called
        return steps(functions)

    monkeypatch.setattr(_lsh.SignHash, "steps_per_row", property(wait))

    def predict(n_jobs):
        with joblib.parallel_config(n_jobs=n_jobs):
            assert _threads.effective_n_threads(model.n_jobs) == n_jobs
            return [model.predict_topk(X, k=3, method="lsh") for _ in range(10)]

    with ThreadPoolExecutor(4) as pool:
        for found in chain.from_iterable(pool.map(predict, (1, 7, 2, 4))):
            np.testing.assert_equal(found, expected)


def test_hash_tables_of_other_weights_are_not_used(extreme):
    """A thread that predicts while another one trains may leave the tables of what was before."""
    X, Y = extreme[0][:300], extreme[1][:300]
    model = small(n_tables=20).fit(X, Y)
    before = model.predict_topk(X, k=3, method="lsh")
    tables = model._index
    expected = model.partial_fit(X, Y).predict_topk(X, k=3, method="lsh")
    assert not np.array_equal(expected[1], before[1])
    model._index = tables
    np.testing.assert_equal(model.predict_topk(X, k=3, method="lsh"), expected)
