"""What all adapters share: the task from the command line, clocks, batches, the answer.

An adapter defines ``run(task)`` and ends with ``main(run, package, ...)``. `run` fits on
``task.X, task.Y`` under ``task.fit``, predicts the best five labels of ``task.X_test`` under
``task.predict`` and hands them to ``task.answer``; it never sees the labels of the test part.
Work that only brings data into a peer's own form goes under ``task.convert``.

The process leaves ``top.npy`` (n_test, 5) and ``result.json`` in the directory ``--out``.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import scipy.sparse as sp

TOP = 5
# Hyperparameters of the dense networks, for every library alike: what serves slidelearn.
# "batch_size" 0 is its "auto"; "decay" is "linear" or "constant".
NETWORK = {"width": 256, "batch_size": 0, "epochs": 10, "rate": 6e-3, "decay": "linear",
           "dropout": 0.5, "input_scale": 0.02}


class Refused(Exception):
    """The peer could run, but the size makes it hopeless."""


class Stopwatch:
    """Wall and CPU seconds of the blocks under it (CPU: of all threads of this process)."""

    def __init__(self):
        self.wall = self.cpu = 0.0

    def __enter__(self):
        self._start = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_):
        self.wall += time.perf_counter() - self._start[0]
        self.cpu += time.process_time() - self._start[1]


def peak_memory_mb():
    """Largest resident memory of this process so far, MiB.

    Linux counts the memory of the process that started this one in ``ru_maxrss``, hence VmHWM.
    """
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (2**20 if platform.system() == "Darwin" else 2**10)
    return int(status.partition("VmHWM:")[2].split()[0]) / 2**10


class Task:
    """What to do, and what came of it."""

    def __init__(self, arguments):
        self.variant = arguments.variant
        self.threads = arguments.threads
        self.seed = arguments.seed
        self.curve = arguments.curve
        self.options = arguments.set
        self.data = Path(arguments.data)
        self.X, self.Y, self.X_test = (_load(self.data / f"{name}.npz")
                                       for name in ("X_train", "Y_train", "X_test"))
        self.fit, self.predict, self.convert = Stopwatch(), Stopwatch(), Stopwatch()
        self.result = {"memory of data MiB": peak_memory_mb()}
        self._out = Path(arguments.out)
        self._curve = []
        self._tops = []

    @property
    def k(self):
        return min(TOP, self.Y.shape[1])

    def settings(self, **defaults):
        """Defaults, overridden by ``--set``; an unknown name is an error."""
        unknown = sorted(set(self.options) - set(defaults))
        if unknown:
            raise SystemExit(f"No option {', '.join(unknown)}; there are {', '.join(defaults)}.")
        self.result["options"] = {**defaults, **self.options}
        return self.result["options"]

    def checkpoint(self, predict):
        """After each epoch, with `fit` stopped: for curves, what the network would predict now."""
        self._curve.append({"wall": self.fit.wall, "cpu": self.fit.cpu})
        if self.curve == "top":
            self._tops.append(np.asarray(predict(), np.int64)[:, :TOP])

    def answer(self, top, model_bytes):
        """Write the results. `top`: (n_test, at most 5) labels, best first, -1 for none."""
        result = self.result
        for name in ("fit", "predict", "convert"):
            clock = getattr(self, name)
            result |= {f"{name} s": clock.wall, f"{name} CPU s": clock.cpu}
        result |= {"memory MiB": peak_memory_mb(), "model MiB": model_bytes / 2**20,
                   "curve": self._curve}
        full = np.full((self.X_test.shape[0], TOP), -1, np.int64)
        full[:, :top.shape[1]] = top
        np.save(self._out / "top.npy", full)
        if self._tops:
            np.save(self._out / "curve.npy", np.stack(self._tops))
        (self._out / "result.json").write_text(json.dumps(result))


def _load(path):
    matrix = sp.csr_matrix(sp.load_npz(path)).astype(np.float32)
    matrix.sum_duplicates()
    return matrix


def best_of_lists(lists, k=TOP):
    """(n, k) labels from one sequence of labels a row, some of them too short."""
    top = np.full((len(lists), k), -1, np.int64)
    for i, labels in enumerate(lists):
        top[i, :len(labels)] = labels[:k]
    return top


def best_of_scores(scores, k):
    """(n, k) columns with the best scores of a dense array, best first."""
    top = np.argpartition(-scores, k - 1, axis=1)[:, :k]
    order = np.argsort(-np.take_along_axis(scores, top, 1), axis=1, kind="stable")
    return np.take_along_axis(top, order, 1)


def best_of_sparse(scores, k=TOP):
    """(n, k) columns with the best stored scores of a CSR matrix, best first."""
    rows = []
    for i in range(scores.shape[0]):
        stored = slice(scores.indptr[i], scores.indptr[i + 1])
        order = np.argsort(-scores.data[stored], kind="stable")[:k]
        rows.append(scores.indices[stored][order])
    return best_of_lists(rows, k)


def pieces(n, size):
    """Slices of at most `size` that cover range(n)."""
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]


def batches(n, size, rng):
    """Row numbers of one epoch, in random order, batch by batch."""
    order = rng.permutation(n)
    return [order[piece] for piece in pieces(n, size)]


def targets(Y):
    """Y with the labels of a row sharing a sum of one, as a softmax wants them."""
    shares = 1 / np.maximum(np.diff(Y.indptr), 1)
    data = np.repeat(shares, np.diff(Y.indptr)).astype(np.float32)
    return sp.csr_matrix((data, Y.indices, Y.indptr), shape=Y.shape)


def coordinates(matrix):
    """(row, column) of the stored entries of a CSR matrix, int64."""
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    return rows, matrix.indices.astype(np.int64)


def network_settings(task, **further):
    """The settings of a dense network, "batch_size" resolved."""
    settings = task.settings(**NETWORK, **further)
    settings["batch_size"] = settings["batch_size"] or auto_batch_size(task)
    return settings


def auto_batch_size(task):
    """slidelearn's: 100 to 200 steps an epoch, within 16 and 128."""
    most = max(1, task.X.shape[0] // 100)
    return min(128, max(16, 2 ** (most.bit_length() - 1)))


def train_network(task, settings, train_batch, top):
    """Epochs of ``train_batch(X, Y, share of the training done)``; then the answer's labels.

    ``top(X)`` gives the best labels of some rows.
    """
    rng = np.random.default_rng(task.seed)
    n_batches = -(-task.X.shape[0] // settings["batch_size"])
    n_steps, step = settings["epochs"] * n_batches, 0

    def everything():
        return np.concatenate([top(task.X_test[piece]) for piece in
                               pieces(task.X_test.shape[0], 2 * settings["batch_size"])])

    for _ in range(settings["epochs"]):
        with task.fit:
            for rows in batches(task.X.shape[0], settings["batch_size"], rng):
                train_batch(task.X[rows], task.Y[rows], step / n_steps)
                step += 1
        task.checkpoint(everything)
    with task.predict:
        return everything()


def rate_at(settings, done):
    """Learning rate when the share `done` of the training is over."""
    return settings["rate"] * (1 - done if settings["decay"] == "linear" else 1)


def size_of(path):
    """Bytes of a file, or of all files in a directory."""
    path = Path(path)
    return sum(f.stat().st_size for f in ([path] if path.is_file() else path.rglob("*"))
               if f.is_file())


def scratch():
    """A directory that goes away."""
    return tempfile.TemporaryDirectory()


def _option(text):
    name, _, value = text.partition("=")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def main(run, module, distribution=None):
    """Command line of an adapter whose peer is `module`, installed as `distribution`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--probe", action="store_true", help="print the version and leave")
    parser.add_argument("--data", metavar="DIR")
    parser.add_argument("--out", metavar="DIR")
    parser.add_argument("--variant")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--curve", choices=["times", "top"], default="times")
    parser.add_argument("--set", type=_option, nargs="*", default=[], metavar="NAME=VALUE")
    arguments = parser.parse_args()
    if importlib.util.find_spec(module) is None:
        sys.exit(f"No module named {module!r}")
    try:
        version = importlib.metadata.version(distribution or module)
    except importlib.metadata.PackageNotFoundError:  # on the path, not installed
        version = importlib.import_module(module).__version__
    if arguments.probe:
        print(f"{distribution or module} {version}, Python {platform.python_version()}")
        return
    arguments.set = dict(arguments.set)
    task = Task(arguments)
    task.result["version"] = version
    try:
        run(task)
    except Refused as reason:
        Path(arguments.out, "refused.txt").write_text(str(reason))
    # Some peers leave threads behind that crash on the way out.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
