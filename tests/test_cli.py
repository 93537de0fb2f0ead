"""The command line: formats, training, prediction, and what happens when something is wrong."""

import gzip
import importlib.util
import inspect
import json
import os
import pathlib
import pickle
import signal
import subprocess
import sys
import sysconfig
import time
import warnings
import weakref
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pytest
import scipy.sparse as sp
from conftest import assert_same_model, assert_same_state, small
from scipy.special import expit
from sklearn.datasets import dump_svmlight_file

import slidelearn
from slidelearn import SlideClassifier, _state, metrics
from slidelearn._cli import _convert, _data, _options, _predict, _train, main
from slidelearn._training import Trainer
from slidelearn.datasets import dump_xmc_file, load_xmc_file
from tests.signals import as_usual

SMALL = ["--hidden-layer-sizes", "16", "--max-iter", "2", "--threads", "2"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, extreme):
    """Training and test data in all formats, names of the labels, and a model."""
    X, Y = extreme
    folder = tmp_path_factory.mktemp("cli")
    for name, rows in (("train", slice(0, 2000)), ("test", slice(2000, 3000))):
        dump_xmc_file(X[rows], Y[rows], folder / f"{name}.txt")
        lines = (folder / f"{name}.txt").read_bytes().partition(b"\n")[2]
        (folder / f"{name}.svm").write_bytes(b"# features from zero\n" + lines)
        sp.save_npz(folder / f"{name}.npz", X[rows])
        sp.save_npz(folder / f"{name}-labels.npz", Y[rows])
    (folder / "names").write_text("".join(f"étiquette {i}\n" for i in range(400)), "utf-8")
    joblib.dump(small(ranker="linear").fit(X[:2000], Y[:2000]), folder / "model")
    return folder


@pytest.fixture(autouse=True)
def here(folder, tmp_path, monkeypatch):
    """Run in a folder of links to the data."""
    for path in folder.iterdir():
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(capsys):
    """Run a command line that must succeed, and return what it prints."""
    def run(*argv):
        code = main([str(one) for one in argv])
        out, err = capsys.readouterr()
        assert (code, err) == (0, "")
        return out
    return run


@pytest.fixture
def fail(capsys):
    """Run a command line that must fail, leaving no file behind, and return its message."""
    def fail(*argv, code=2):
        before = sorted(os.listdir())
        assert main([str(one) for one in argv]) == code
        out, err = capsys.readouterr()
        assert sorted(os.listdir()) == before and out == ""
        assert err.startswith("slidelearn: error: ") and err.count("\n") == 1
        return err.removeprefix("slidelearn: error: ").rstrip("\n")
    return fail


def rows(text):
    """Labels and scores of predictions as they are written."""
    pairs = [[pair.rsplit(":", 1) for pair in line.split("\t")] for line in text.splitlines()]
    return ([[label for label, _ in row] for row in pairs],
            np.array([[float(score) for _, score in row] for row in pairs]))


def same(first, second):
    """Equality of two sparse matrices with their shapes."""
    return first.shape == second.shape and (first != second).nnz == 0


# ---- train, predict, evaluate ------------------------------------------------------------------

DATA = {"xmc": ["train.txt"], "svmlight": ["train.svm"],
        "npz": ["train.npz", "--labels", "train-labels.npz"]}


@pytest.mark.parametrize("kind", DATA)
def test_train_is_fit(run, extreme, kind):
    out = run("train", *DATA[kind], "-m", "new", *SMALL, "--seed", 3)
    assert out.startswith("epoch 1/2: loss 1") and "2000 samples" in out.splitlines()[-1]
    model = joblib.load("new")
    expected = small(random_state=3).fit(extreme[0][:2000], extreme[1][:2000])
    assert_same_model(model, expected)
    assert_same_state(model.predict_topk(extreme[0], k=3), expected.predict_topk(extreme[0], k=3))
    assert model.get_params() == expected.get_params()


def test_predict_is_predict_topk(run, folder, extreme, monkeypatch):
    monkeypatch.setattr(_predict, "ROWS", 300)
    labels, scores = joblib.load("model").predict_topk(extreme[0][2000:], k=5)
    for arguments in (["test.txt"], ["test.svm"], ["test.npz"], ["test.txt", "--threads", 1]):
        found = rows(run("predict", "model", *arguments))
        np.testing.assert_array_equal(np.array(found[0], int), labels)
        np.testing.assert_allclose(found[1], scores, rtol=1e-5)
    names, probabilities = rows(run("predict", "model", "test.txt", "-k", 2, "--proba",
                                    "--label-names", "names"))
    assert names == [[f"étiquette {label}" for label in row] for row in labels[:, :2]]
    np.testing.assert_allclose(probabilities, expit(scores[:, :2]), rtol=1e-5)
    pathlib.Path("marked").write_text(pathlib.Path("names").read_text("utf-8"), "utf-8-sig")
    assert run("predict", "model", "test.txt", "--label-names", "marked") == run(
        "predict", "model", "test.txt", "--label-names", "names")
    printed = run("predict", "model", "test.txt", "--method", "lsh", "-k", 3)
    labels, _ = joblib.load("model").predict_topk(extreme[0][2000:], k=3, method="lsh")
    np.testing.assert_array_equal(np.array(rows(printed)[0], int), labels)
    for name, opened in (("out", open), ("out.gz", gzip.open)):
        assert run("predict", "model", "test.txt", "--method", "lsh", "-k", 3, "-o", name) == ""
        with opened(name, "rb") as stream:
            assert stream.read().decode() == printed


def test_predict_with_labels_of_another_kind(run, fail, multiclass):
    X, y = multiclass
    model = small().fit(X, y)
    joblib.dump(model, "named")
    sp.save_npz("X.npz", X[:20])
    sp.save_npz("Y.npz", sp.eye(20, 60, format="csr"))
    names, _ = rows(run("predict", "named", "X.npz", "-k", 1))
    assert names == model.predict_topk(X[:20], k=1)[0].tolist()
    assert "--proba is for models of an indicator" in fail("predict", "named", "X.npz", "--proba")
    assert "has names" in fail("predict", "named", "X.npz", "--label-names", "names")
    assert "not to an indicator" in fail("evaluate", "named", "X.npz", "-y", "Y.npz")


@pytest.mark.parametrize("arguments", [
    ["test.txt", "--train-labels", "train.txt"], ["test.svm", "--train-labels", "train.svm"],
    ["test.npz", "-y", "test-labels.npz", "--train-labels", "train-labels.npz"],
])
def test_evaluate_is_metrics(run, extreme, arguments, monkeypatch):
    monkeypatch.setattr(_predict, "ROWS", 300)
    X, Y = extreme
    best, _ = joblib.load("model").predict_topk(X[2000:], k=5)
    expected = {"samples": 1000}
    expected |= {f"P@{k}": metrics.precision_at_k(Y[2000:], best, k) for k in (1, 3, 5)}
    expected |= {f"nDCG@{k}": metrics.ndcg_at_k(Y[2000:], best, k) for k in (1, 3, 5)}
    table = run("evaluate", "model", *arguments[:-2]).splitlines()
    assert [line.split() for line in table] == [
        [name, f"{value}" if name == "samples" else f"{100 * value:.2f}"]
        for name, value in expected.items()]
    propensities = metrics.label_propensities(Y[:2000], A=0.5)
    expected |= {f"PSP@{k}": metrics.propensity_scored_precision_at_k(
        Y[2000:], best, propensities, k) for k in (1, 3, 5)}
    found = json.loads(run("evaluate", "model", *arguments, "--json", "--propensity-a", 0.5))
    assert found == expected
    assert list(json.loads(run("evaluate", "model", *arguments[:-2], "--json", "-k", "2,1"))) == [
        "samples", "P@1", "P@2", "nDCG@1", "nDCG@2"]


# ---- streams -----------------------------------------------------------------------------------

@pytest.mark.parametrize("schedule", ["linear", "constant"])
def test_stream_is_partial_fit(run, extreme, schedule, monkeypatch):
    sizes, original = [], SlideClassifier.partial_fit

    def watched(self, X, Y):
        sizes.append(X.shape[0])
        return original(self, X, Y)

    monkeypatch.setattr(SlideClassifier, "partial_fit", watched)
    for name in ("train.txt", "train.svm"):
        out = run("train", name, "-m", name + ".model", *SMALL, "--stream", "--chunk-rows", 300,
                  "--learning-rate", schedule, "--n-random", 100)
        assert out.startswith("epoch 1/2: loss 1")
        assert sizes == 2 * [*6 * [286], 284]  # of one size, and at most 300
        sizes.clear()
    expected = small(learning_rate="constant", n_random=100, batch_size=16)
    for step in range(14):
        start = step % 7 * 286
        chunk = slice(start, min(start + 286, 2000))
        if schedule == "linear":
            expected.set_params(learning_rate_init=0.0125 * (1 - (step + 0.5) / 14))
        original(expected, extreme[0][chunk], extreme[1][chunk])
    for name in ("train.txt", "train.svm"):
        model = joblib.load(name + ".model")
        assert_same_model(model, expected)
        assert model.learning_rate_init == 0.0125 and model.batch_size == "auto"
        assert len(pickle.dumps(model)) < 0.6 * len(pickle.dumps(expected))


def test_stream_learns(run):
    learning = ["--hidden-layer-sizes", 128, "--max-iter", 8, "-q"]
    run("train", "train.txt", "-m", "new", "--stream", "--chunk-rows", 500, *learning)
    streamed = json.loads(run("evaluate", "new", "test.txt", "--json"))
    run("train", "train.txt", "-m", "new", "--ranker", "none", "--init", "random", *learning)
    fitted = json.loads(run("evaluate", "new", "test.txt", "--json"))
    assert streamed["P@1"] > 0.9 * fitted["P@1"] > 0.2


def test_stream_finds_the_number_of_epochs(run):
    out = run("train", "train.txt", "-m", "new", "--stream", "--hidden-layer-sizes", 4)
    assert "epoch 6/6: loss" in out
    assert joblib.load("new").max_iter == "auto"


def test_parts_of_a_stream_without_labels(run, fail):
    """Legal, unless they are all of it."""
    X, Y = load_xmc_file("train.txt")
    Y = Y.tolil()
    Y[:600] = 0
    Y[1500:] = 0
    dump_xmc_file(X, Y.tocsr(), "gaps.txt")
    run("train", "gaps.txt", "-m", "new", *SMALL, "--stream", "--chunk-rows", 300)
    scores = joblib.load("new").predict_topk(X)[1]
    assert np.isfinite(scores).all()
    dump_xmc_file(X, Y.tocsr() * 0, "none.txt")
    for options in ([], ["--stream", "--chunk-rows", 300]):
        message = fail("train", "none.txt", "-m", "never", "-q", *SMALL, *options)
        assert message.startswith("none.txt: y has no labels at all")


def test_batch_size_of_streams(run, monkeypatch):
    """It follows from the file, not from the chunk."""
    sizes, original = set(), SlideClassifier.partial_fit

    def watched(self, X, Y):
        sizes.add(self.batch_size)
        return original(self, X, Y)

    monkeypatch.setattr(SlideClassifier, "partial_fit", watched)
    X, Y = load_xmc_file("train.txt")
    dump_xmc_file(sp.vstack([X] * 4), sp.vstack([Y] * 4), "long.txt")
    run("train", "long.txt", "-m", "new", *SMALL, "--stream", "--chunk-rows", 2000)
    assert sizes == {64}


def test_chunks_are_not_kept(run, monkeypatch):
    """While a chunk is read, the text and the matrices of the one before are gone."""
    held, original = [], SlideClassifier.partial_fit

    def watched(self, X, Y):
        assert all(one() is None for one in held)
        held.extend([weakref.ref(X), weakref.ref(Y)])
        return original(self, X, Y)

    monkeypatch.setattr(SlideClassifier, "partial_fit", watched)
    run("train", "train.txt", "-m", "new", *SMALL, "--stream", "--chunk-rows", 300)
    assert len(held) == 28


def test_stream_refuses_what_it_cannot_do(fail):
    for options, word in ((["--early-stopping"], "--early-stopping"),
                          (["--ranker", "linear"], "--ranker linear"),
                          (["--class-weight", "balanced"], "--class-weight balanced")):
        message = fail("train", "train.txt", "-m", "new", "--stream", *options)
        assert message == f"{word} needs all data in memory and can't be used with --stream"
    message = fail("train", "train.npz", "-y", "train-labels.npz", "-m", "new", "--stream")
    assert message.startswith("train.npz: npz files are read whole")


# ---- convert -----------------------------------------------------------------------------------

ENDS = {"xmc": ["data.txt"], "packed": ["data.txt.gz"], "svmlight": ["data.svm"],
        "one-based": ["data.libsvm", "--one-based"]}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("start", DATA)
def test_convert_round_trip(run, extreme, start, end, monkeypatch):
    monkeypatch.setattr(_convert, "ROWS", 300)
    out, *options = ENDS[end]
    begin = DATA[start]
    if end == "one-based" and start == "svmlight":
        begin = ["train.txt"]  # otherwise the option would be about the input, too
    assert run("convert", begin[0], out, *begin[1:], *options) == ""
    assert run("convert", out, "X.npz", "--labels-out", "Y.npz", *options) == ""
    X, Y = sp.load_npz("X.npz"), sp.load_npz("Y.npz")
    assert X.dtype == np.float32
    # A svmlight file doesn't say how many columns there are beyond those that occur.
    assert same(X, extreme[0][:2000, :X.shape[1]]) and X.shape[1] > 590
    assert same(Y, extreme[1][:2000, :Y.shape[1]]) and Y.shape[1] > 390
    if end in ("xmc", "packed") and start != "svmlight":
        assert X.shape == (2000, 600) and Y.shape == (2000, 400)


def test_convert_keeps_empty_rows(run):
    with open("a.svm", "wb") as stream:
        stream.write(b"# comment\n1,0 2:.5 # more\n \n 1:2\n2\n")
    run("convert", "a.svm", "a.txt")
    with open("a.txt", "rb") as stream:
        assert stream.read() == b"4 3 3\n0,1 2:0.5\n \n 1:2\n2\n"
    run("convert", "a.txt", "b.svm", "--one-based")
    with open("b.svm", "rb") as stream:
        assert stream.read() == b"0,1 3:0.5\n \n 2:2\n2\n"
    run("convert", "b.svm", "b.txt", "--one-based")
    with open("a.txt", "rb") as one, open("b.txt", "rb") as other:
        assert one.read() == other.read()


def test_svmlight_of_scikit_learn(run, extreme):
    X, Y = extreme
    for zero_based in (True, False):
        dump_svmlight_file(X[:2000], Y[:2000], "sk.svm", multilabel=True, zero_based=zero_based,
                           comment="from scikit-learn")
        run("convert", "sk.svm", "sk.txt", *([] if zero_based else ["--one-based"]))
        found = load_xmc_file("sk.txt")
        assert same(found[0], X[:2000, :found[0].shape[1]])
        assert same(found[1], Y[:2000, :found[1].shape[1]])


def test_format_is_known_by_content_or_forced(run, fail):
    os.rename("train.svm", "strange")
    run("convert", "strange", "stranger", "--to", "xmc")
    assert load_xmc_file("stranger")[0].shape[0] == 2000
    message = fail("convert", "strange", "a.txt", "--format", "xmc")
    assert message.startswith("strange:1: expected the header")
    assert fail("convert", "strange", "a.dat").startswith("a.dat: the name doesn't tell the format")
    assert _data.output_format("a.svm.bz2", None) == "svmlight"


def test_no_npz_output_before_both_files_are_complete(fail, monkeypatch, tmp_path):
    original, calls = sp.save_npz, []
    for name in ("X.npz", "Y.npz"):
        (tmp_path / name).write_bytes(b"older")

    def full(*args, **kwargs):
        calls.append(1)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        original(*args, **kwargs)

    monkeypatch.setattr(_data.sp, "save_npz", full)
    message = fail("convert", "train.txt", "X.npz", "--labels-out", "Y.npz", code=1)
    assert "No space left on device" in message
    assert [(tmp_path / name).read_bytes() for name in ("X.npz", "Y.npz")] == [b"older"] * 2


def test_devices_are_written_into(run):
    run("predict", "model", "test.txt", "-o", os.devnull)
    assert not os.path.isfile(os.devnull)


# ---- options -----------------------------------------------------------------------------------

def test_every_parameter_is_an_option():
    names = set(inspect.signature(SlideClassifier).parameters)
    assert set(_options.estimator_parameters()) == names - {"random_state", "n_jobs", "verbose"}
    described = _options._descriptions()
    assert names <= set(described) and all(described.values())


def test_options_reach_the_estimator(run):
    run("train", "test.txt", "-m", "new", "--hidden-layer-sizes", "8,4", "--max-iter", 1, "-q",
        "--batch-size", 64, "--no-calibrate", "--ranker", "none", "--hash-length", "none",
        "--class-weight", "balanced", "--dtype", "bfloat16", "--C", "2", "--solver", "sgd")
    found = joblib.load("new").get_params()
    expected = SlideClassifier(
        (8, 4), max_iter=1, batch_size=64, calibrate=False, ranker=None, class_weight="balanced",
        dtype="bfloat16", C=2.0, solver="sgd", random_state=0).get_params()
    assert found == expected


@pytest.mark.parametrize(("arguments", "words"), [
    ([], "required: COMMAND (see slidelearn --help)"),
    (["fly"], "invalid choice: 'fly'"),
    (["train", "train.txt"], "required: -m/--model (see slidelearn train --help)"),
    (["train", "train.txt", "-m", "new", "--dropout", "1"], "--dropout: '1' is not a float"),
    (["train", "train.txt", "-m", "new", "--dropout", "x"], "--dropout: 'x' is not a float"),
    (["train", "train.txt", "-m", "new", "--loss", "hinge"], "'hinge' is not a str among"),
    (["train", "train.txt", "-m", "new", "--hash-length", "64"], "'64' is not none or an int"),
    (["train", "train.txt", "-m", "new", "--hidden-layer-sizes", "8,x"], "widths of layers"),
    (["train", "train.txt", "-m", "new", "--max", "3"], "unrecognized arguments: --max 3"),
    (["train", "train.txt", "-m", "new", "--seed", "-1"], "--seed: -1 is not in the range"),
    (["train", "train.txt", "-m", "new", "--hash-function", "wta", "--hash-length", "30"],
     "keys of more than 63 bits"),
    (["train", "train.txt", "-m", "new", "--threads", "0"], "--threads: 0 is not in the range"),
    (["train", "train.txt", "-m", "new", "--n-labels", "9"], "are for svmlight files"),
    (["train", "train.txt", "-m", "new", "-y", "train-labels.npz"], "has labels of its own"),
    (["train", "train.npz", "-m", "new"], "say --labels"),
    (["train", "train.txt", "-m", "nowhere/new"], "nowhere/new: there is no directory"),
    (["train", "train.txt", "-m", "."], ".: is a directory"),
    (["predict", "model", "test.txt", "-k", "401"], "-k is 401, but the model has 400 labels"),
    (["predict", "model", "test.txt", "-k", "0"], "-k: 0 is not in the range"),
    (["evaluate", "model", "test.npz"], "say --labels"),
    (["evaluate", "model", "test.txt", "-y", "test-labels.npz"], "has labels of its own"),
    (["convert", "train.txt", "X.npz"], "--labels-out names"),
    (["convert", "train.npz", "x.txt"], "say --labels"),
    (["convert", "train.txt", "x.svm", "-y", "train-labels.npz"], "has labels of its own"),
])
def test_wrong_usage(fail, arguments, words):
    assert words in fail(*arguments)


@pytest.mark.parametrize("arguments", [
    ["train", "{}", "-m", "test.txt"],
    ["train", "train.npz", "-y", "{}", "-m", "test.txt"],
    ["train", "{}", "-m", "none.txt"],
    ["predict", "{}", "train.txt", "-o", "test.txt"],
    ["predict", "model", "{}", "-o", "test.txt"],
    ["predict", "model", "train.txt", "--label-names", "{}", "-o", "test.txt"],
    ["convert", "{}", "test.txt"],
    ["convert", "train.npz", "test.txt", "-y", "{}"],
    ["convert", "{}", "a.npz", "--labels-out", "test.txt"],
    ["convert", "{}", "test.txt", "--to", "npz", "--labels-out", "a.npz"],
    ["export", "{}", "test.txt", "--to", "safetensors"],
])
def test_no_output_replaces_an_input(fail, tmp_path, arguments):
    """Not even under another name; nothing is read first."""
    out = next(name for name in arguments[2:] if name in ("test.txt", "none.txt"))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for name in (out, f"./{out}", str(tmp_path / out)):
        command = [one.format(name) for one in arguments]
        assert fail(*command) == f"{out}: is an input, too, and would be overwritten"
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_outputs_are_different_files(fail, run, tmp_path):
    for other in ("t.npz", "./t.npz", str(tmp_path / "t.npz")):
        message = fail("convert", "train.txt", "t.npz", "--labels-out", other)
        assert message == f"{other}: two outputs can't be one file"
    os.link(os.path.realpath("test.svm"), "one.svm")
    os.link("one.svm", "two.svm")
    assert fail("convert", "one.svm", "two.svm").startswith("two.svm: is an input")
    run("predict", "model", os.devnull, "--format", "svmlight", "-o", os.devnull)


def test_help(capsys):
    for arguments in ([], ["train"], ["predict"], ["evaluate"], ["convert"], ["export"]):
        with pytest.raises(SystemExit) as end:
            main([*arguments, "--help"])
        out = capsys.readouterr().out
        assert end.value.code == 0 and "exit codes" in out
        assert ("a pickle (by" in out.replace("\n", " ")) == (arguments not in ([], ["convert"]))


def test_examples_of_the_manual(run):
    manual = pathlib.Path(__file__).parents[1] / "docs" / "cli.md"
    if not manual.exists():
        pytest.skip("the documentation isn't here")
    block = manual.read_text("utf-8").split("<!-- tested")[1].split("```")[1]
    commands = [line.split()[1:] for line in block.strip().splitlines()]
    assert [command[0] for command in commands] == ["train", "evaluate", "predict", "export",
                                                    "convert", "train", "train"]
    for path in ("model", "train.npz", "train-labels.npz"):
        os.unlink(path)
    for command in commands:
        run(*command)


# ---- bad files ---------------------------------------------------------------------------------

BAD_TEXT = {
    "header": (b"3 4\n", "bad.txt:1: expected the header 'n_samples n_features n_labels'"),
    "no header": (b"3 4;5\n", "bad.txt:1: expected 'feature:value', got '4;5'"),  # svmlight
    "empty": (b"", "bad.txt: there are no rows"),
    "value": (b"2 3 3\n0 0:1\n1 1:x\n", "bad.txt:3: value 'x' of feature 1 is not a finite number"),
    "label": (b"2 3 3\n0 0:1\n3 1:1\n",
              "bad.txt:3: label 3 is outside the range 0 to 2 of the header"),
    "short": (b"3 3 3\n0 0:1\n", "bad.txt:3: the file ends after 1 of the 3 rows of the header"),
    "svmlight": (b"# svm\n0 0:1\n-1 1:1\n", "bad.txt:3: label -1 is outside the range"),
    "query": (b"0 qid:1 0:1\n", "bad.txt:1: feature 'qid' is not an integer"),
}


@pytest.mark.parametrize("stream", [[], ["--stream"]], ids=["fit", "stream"])
@pytest.mark.parametrize("case", BAD_TEXT)
def test_bad_text(fail, case, stream):
    text, message = BAD_TEXT[case]
    with open("bad.txt", "wb") as file:
        file.write(text)
    assert fail("train", "bad.txt", "-m", "new", *SMALL, *stream, "-q").startswith(message)


def test_one_based_files_have_no_feature_zero(fail):
    message = fail("convert", "train.svm", "a.txt", "--one-based")
    assert message.startswith("train.svm:") and "feature 0 is outside the range 1 to" in message


def test_shape_of_svmlight_files(run, fail):
    run("train", "train.svm", "-m", "new", *SMALL, "--n-features", 700, "--n-labels", 500)
    model = joblib.load("new")
    assert model.n_features_in_ == 700 and len(model.classes_) == 500
    message = fail("train", "train.svm", "-m", "new2", *SMALL, "--n-labels", 100)
    assert message.endswith("is outside the range 0 to 99 of the options")


def test_bad_files(fail, tmp_path):
    for name, data in (("cut.gz", gzip.compress(b"1 2 3\n0 0:1\n")[:-10]), ("not.gz", b"1 2 3\n"),
                       ("not.npz", b"PK\3\4 and nothing else")):
        (tmp_path / name).write_bytes(data)
        assert fail("train", name, "-y", "x", "-m", "new") if name == "not.npz" else fail(
            "train", name, "-m", "new")
    assert fail("train", "none.txt", "-m", "new") == "none.txt: No such file or directory"
    assert fail("predict", "none", "test.txt") == "none: No such file or directory"
    np.savez("arrays.npz", a=np.ones(3))
    assert fail("predict", "model", "arrays.npz").startswith("arrays.npz: ")
    sp.save_npz("Y.npz", sp.csr_matrix([[2.0]]))
    sp.save_npz("X.npz", sp.csr_matrix([[1.0]]))
    sp.save_npz("long.npz", sp.csr_matrix([[1.0], [1.0]]))
    message = fail("train", "X.npz", "-y", "Y.npz", "-m", "new")
    assert message == "Y.npz: Y[0, 0] is 2.0: an indicator has only 0 and 1"
    message = fail("train", "X.npz", "-y", "long.npz", "-m", "new")
    assert message == "long.npz: 2 rows, but X.npz has 1"
    sp.save_npz("complex.npz", sp.csr_matrix([[1.0, 2j]]))
    for arguments in (["train", "complex.npz", "-y", "Y.npz", "-m", "new"],
                      ["predict", "model", "complex.npz"],
                      ["convert", "complex.npz", "new.txt", "-y", "Y.npz"]):
        assert fail(*arguments) == "complex.npz: features must be real numbers, got complex128"
    sp.save_npz("nan.npz", sp.csr_matrix([[1.0, np.nan]]))
    assert fail("predict", "model", "nan.npz") == (
        "nan.npz: X[0, 1] is nan: only finite values are supported")
    broken = sp.csr_matrix([[1.0, 1.0]])
    broken.indices[1] = 7
    sp.save_npz("X.npz", broken)
    assert fail("predict", "model", "X.npz").startswith("X.npz: ")


def test_shapes_that_differ_from_the_model(fail):
    dump_xmc_file(sp.eye(3, 5), sp.eye(3, 400), "features.txt")
    dump_xmc_file(sp.eye(3, 600), sp.eye(3, 5), "labels.txt")
    for command in ("predict", "evaluate"):
        message = fail(command, "model", "features.txt")
        assert message == "features.txt: 5 features, but the model has 600"
    assert fail("evaluate", "model", "labels.txt") == (
        "labels.txt: 5 labels, but the model has 400")
    assert fail("evaluate", "model", "test.txt", "--train-labels", "labels.txt") == (
        "labels.txt: 5 labels, but the model has 400")
    with open("wide.svm", "w") as stream:
        stream.write("0 5:1\n450 600:1\n")
    assert fail("predict", "model", "wide.svm") == (
        "wide.svm:2: feature 600 is outside the range 0 to 599 of the model")
    assert fail("evaluate", "model", "wide.svm") == (
        "wide.svm:2: label 450 is outside the range 0 to 399 of the model")
    with open("few", "w") as stream:
        stream.write("a\nb\n")
    assert fail("predict", "model", "test.txt", "--label-names", "few") == (
        "few: 2 names, but the model has 400 labels")


def test_bad_models(fail, tmp_path):
    joblib.dump([1, 2], "list")
    joblib.dump(SlideClassifier(), "unfitted")
    (tmp_path / "text").write_text("hello")
    with open("model", "rb") as file:
        whole = file.read()
    (tmp_path / "void").write_bytes(b"")
    assert fail("predict", "list", "test.txt") == "list: holds a list, not a SlideClassifier"
    assert fail("predict", "unfitted", "test.txt") == "unfitted: the model isn't fitted"
    for name in ("text", "void", "train.txt"):
        assert fail("predict", name, "test.txt").startswith(f"{name}: not a model, or a damaged")
    (tmp_path / "numbers").write_text("3 4 5\n")
    assert fail("predict", "numbers", "test.txt") == (
        "numbers: not a model, or a damaged one: it can't be read (KeyError: 51)")
    for n in (1, 8, 20, 200, len(whole) // 2, len(whole) - 100, len(whole) - 1):
        (tmp_path / "cut").write_bytes(whole[:n])
        assert fail("predict", "cut", "test.txt").startswith("cut: not a model, or a damaged")


def test_models_of_other_versions(fail, monkeypatch):
    model = joblib.load("model")
    with monkeypatch.context() as patched:
        patched.setattr(_state, "FORMAT", 7)
        joblib.dump(model, "other")
        model.export("exported")
    message = fail("predict", "exported", "test.txt")
    assert message.startswith("exported: This model was saved by slidelearn ")
    for command in ("predict", "evaluate"):
        assert fail(command, "other", "test.txt").startswith(
            f"other: This model was saved by slidelearn {slidelearn.__version__} in format 7")


# ---- exported models ----------------------------------------------------------------------------

def test_exported_models_predict_the_same(run, tmp_path):
    expected = run("predict", "model", "test.txt")
    score = run("evaluate", "model", "test.txt")
    run("export", "model", "small.safetensors")
    assert SlideClassifier.load("small.safetensors").n_jobs is None
    assert run("predict", "small.safetensors", "test.txt") == expected
    assert run("evaluate", "small.safetensors", "test.txt") == score
    run("export", "small.safetensors", "half", "--to", "safetensors", "--dtype", "bfloat16",
        "--hash-tables")
    assert SlideClassifier.load("half")._index is not None
    assert len(run("predict", "half", "test.txt", "--method", "lsh").splitlines()) == 1000


@pytest.mark.parametrize("sparse", [[], ["--sparse"]])
def test_onnx(run, sparse):
    onnx = pytest.importorskip("onnx")
    run("export", "model", "m.onnx", "-k", "3", *sparse)
    expected = joblib.load("model").to_onnx(3, sparse=bool(sparse))
    assert onnx.load("m.onnx") == expected


def test_wrong_exports(fail, monkeypatch, tmp_path):
    for arguments, words in (
            (["a.bin"], "a.bin: the name doesn't tell the format; say --to"),
            (["a.onnx", "--dtype", "bfloat16"], "--dtype is for safetensors files"),
            (["a.onnx", "--hash-tables"], "--hash-tables is for safetensors files"),
            (["a.safetensors", "-k", "3"], "-k is for onnx files"),
            (["a.safetensors", "--sparse"], "--sparse is for onnx files"),
            (["nowhere/a.onnx"], "nowhere/a.onnx: there is no directory"),
            (["a.onnx", "-k", "401"], "-k is 401, but the model has 400 labels")):
        if "401" not in arguments or importlib.util.find_spec("onnx"):
            assert fail("export", "model", *arguments).startswith(words)
    joblib.load("model").export("m")
    with open("m", "rb") as file:
        whole = file.read()
    for n in (20, 1000, len(whole) - 1):
        (tmp_path / "cut").write_bytes(whole[:n])
        message = fail("predict", "cut", "test.txt")
        assert message.startswith("cut: not an exported model, or a damaged one: it ")
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert fail("export", "model", "a.onnx") == (
        "onnx files need the package onnx: pip install onnx")


# ---- what is left behind, exit codes -----------------------------------------------------------

def test_an_older_model_survives(fail, monkeypatch, tmp_path):
    (tmp_path / "new").write_bytes(b"older")

    def full(model, stream):
        stream.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(joblib, "dump", full)
    message = fail("train", "test.txt", "-m", "new", *SMALL, "-q", code=1)
    assert "No space left on device" in message and "--debug" in message
    assert (tmp_path / "new").read_bytes() == b"older"


def test_results_replace_files(run, tmp_path):
    (tmp_path / "out").write_bytes(b"older")
    run("predict", "model", "test.txt", "-o", "out")
    assert len((tmp_path / "out").read_text().splitlines()) == 1000


def test_half_a_prediction_is_not_left_behind(fail, monkeypatch):
    monkeypatch.setattr(_predict, "ROWS", 100)
    with open("test.svm", "rb") as stream, open("late.svm", "wb") as late:
        late.write(stream.read() + b"1 1:1:1\n")
    assert fail("predict", "model", "late.svm", "-o", "out").startswith("late.svm:1002: value")


@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_rows_are_counted_from_the_start_of_the_file(fail, monkeypatch, command):
    monkeypatch.setattr(_predict, "ROWS", 100)
    lines = pathlib.Path("test.txt").read_text().splitlines()
    lines[251] = "0 " + " ".join(f"{feature}:3e38" for feature in range(600))
    pathlib.Path("large.txt").write_text("\n".join(lines) + "\n")
    message = fail(command, "model", "large.txt", *(["-o", "out"] if command == "predict" else []))
    assert message == ("large.txt: The scores of row 250 of X are not finite: its values are too "
                       "large for this model")


@pytest.mark.parametrize("stream", [[], ["--stream"]])
def test_interrupted_training(fail, monkeypatch, stream):
    original, calls = Trainer.train_batch, []

    def interrupted(*args, **kwargs):
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return original(*args, **kwargs)

    monkeypatch.setattr(Trainer, "train_batch", interrupted)
    message = fail("train", "train.txt", "-m", "new", *SMALL, *stream, "-q", code=130)
    assert message == "interrupted"


def test_unexpected_errors(fail, monkeypatch, capsys):
    def broken(*args, **kwargs):
        raise RuntimeError("no idea.")

    monkeypatch.setattr(_train, "save_model", broken)
    arguments = ["train", "test.txt", "-m", "new", *SMALL, "-q"]
    assert fail(*arguments, code=1) == "RuntimeError: no idea (--debug shows where)"
    assert main([*arguments, "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err
    assert main(["predict", "none", "test.txt", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_warnings_are_one_line(capsys, monkeypatch):
    def warn(*_):
        warnings.warn("look out", stacklevel=1)
        return 0

    monkeypatch.setattr(_train, "save_model", warn)
    assert main(["train", "test.txt", "-m", "new", *SMALL, "-q"]) == 0
    assert capsys.readouterr().err == "slidelearn: warning: look out\n"


# ---- as a program ------------------------------------------------------------------------------

PROGRAM = [sys.executable, "-m", "slidelearn"]


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """Let child processes import the package from where this process did."""
    monkeypatch.setenv("PYTHONPATH", os.path.dirname(os.path.dirname(slidelearn.__file__)))


def test_as_a_program():
    done = subprocess.run([*PROGRAM, "evaluate", "model", "test.txt"], capture_output=True,
                          text=True, timeout=100)
    assert done.returncode == 0 and done.stderr == "" and "P@1" in done.stdout
    done = subprocess.run([*PROGRAM, "train", "none.txt", "-m", "new"], capture_output=True,
                          text=True, timeout=100)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr == "slidelearn: error: none.txt: No such file or directory\n"


def test_pipes(fail):
    with open("test.svm", "rb") as data:
        expected = subprocess.run([*PROGRAM, "predict", "model", "test.svm"], check=True,
                                  capture_output=True, timeout=100).stdout
        done = subprocess.run([*PROGRAM, "predict", "model", "/dev/stdin", "--format", "svmlight"],
                              input=data.read(), check=True, capture_output=True, timeout=100)
    assert done.stdout == expected
    os.mkfifo("pipe")
    for arguments in (["train", "pipe", "-m", "new"], ["predict", "model", "pipe"],
                      ["predict", "model", "pipe", "--format", "xmc"],
                      ["train", "pipe", "-m", "new", "--format", "svmlight"]):
        assert fail(*arguments).startswith("pipe: must be a regular file")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_broken_pipe(monkeypatch, unbuffered):
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    with subprocess.Popen([*PROGRAM, "predict", "model", "test.txt", "-k", "100"],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(100) == 141 and process.stderr.read() == b""


@pytest.mark.parametrize("name, code, words", [
    ("SIGINT", 130, "interrupted"), ("SIGTERM", 143, "ended by SIGTERM"),
    ("SIGHUP", 129, "ended by SIGHUP")])
def test_signals_end_training(name, code, words):
    with subprocess.Popen([*PROGRAM, "train", "train.txt", "-m", "new", "--max-iter", "100000"],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          preexec_fn=as_usual) as process:
        try:
            assert process.stdout.readline().startswith(b"epoch 1/")  # not kept in a buffer
            time.sleep(0.1)
            process.send_signal(getattr(signal, name))
            _, err = process.communicate(timeout=100)
        finally:
            process.kill()
    assert (process.returncode, err.decode()) == (code, f"slidelearn: error: {words}\n")
    assert not os.path.exists("new")


@pytest.mark.parametrize("name, code", [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_signals_leave_no_unfinished_file(name, code):
    before = set(os.listdir())
    with subprocess.Popen([*PROGRAM, "predict", "model", "/dev/stdin", "--format", "svmlight",
                           "-o", "out"], stdin=subprocess.PIPE, stderr=subprocess.PIPE,
                          preexec_fn=as_usual) as process:
        try:
            deadline = time.monotonic() + 100
            while set(os.listdir()) == before and time.monotonic() < deadline:
                time.sleep(0.01)
            assert set(os.listdir()) != before  # the output is open, the input doesn't come
            process.send_signal(getattr(signal, name))
            process.wait(100)
        finally:
            process.kill()
    assert process.returncode == code and set(os.listdir()) == before


def test_handlers_of_signals_are_put_back(run, capsys):
    before = [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGHUP)]
    try:
        for handler in (signal.SIG_DFL, signal.SIG_IGN, print):
            signal.signal(signal.SIGTERM, handler)
            run("convert", "test.svm", "out.txt")
            assert signal.getsignal(signal.SIGTERM) is handler
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
        os.kill(os.getpid(), signal.SIGHUP)
        run("convert", "test.svm", "out.txt")
        with ThreadPoolExecutor(1) as pool:  # where handlers can't be set
            assert pool.submit(main, ["convert", "test.svm", "out.txt"]).result() == 0
    finally:
        for one, handler in zip((signal.SIGTERM, signal.SIGHUP), before, strict=True):
            signal.signal(one, handler)


def test_installed_script():
    script = pathlib.Path(sysconfig.get_path("scripts")) / "slidelearn"
    if not script.exists():
        pytest.skip("the package isn't installed in this environment")
    done = subprocess.run([script, "evaluate", "model", "test.txt", "--json"], capture_output=True,
                          text=True, timeout=100)
    assert (done.returncode, done.stderr) == (0, "") and json.loads(done.stdout)["samples"] == 1000
    done = subprocess.run([script, "evaluate"], capture_output=True, text=True, timeout=100)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("slidelearn: error: the following arguments are required")
    assert done.stderr.endswith("(see slidelearn evaluate --help)\n")
