"""What benchmark scripts share: data by name or directory, measuring, printing."""

import ctypes
import json
import os
import platform
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter

import numpy as np
import scipy.sparse as sp
from joblib import cpu_count
from peers._adapter import Stopwatch as Stopwatch
from peers._adapter import peak_memory_mb as peak_memory_mb

import slidelearn
from slidelearn import _memory
from slidelearn._kernels import _simd
from slidelearn.datasets import load_python_calls, load_xmc_file, make_extreme_classification
from slidelearn.metrics import (
    label_propensities,
    ndcg_at_k,
    precision_at_k,
    propensity_scored_precision_at_k,
)

# features, classes, nonzeros a row, labels a row
SHAPES = {
    "amazon-670k": (135_909, 670_091, 75, 5.45),
    "delicious-200k": (782_585, 205_443, 302, 75.5),
    "wikilsh-325k": (1_617_899, 325_056, 42, 3.2),
    "synthetic-50k": (30_000, 50_000, 61, 3.0),
}
PING_PONG = """
#include <stdatomic.h>
static _Alignas(64) atomic_long turn;
void play(long me, long n) {  /* waits for its turn, n times */
    for (long i = 0; i < n; i++) {
        while (atomic_load(&turn) != 2 * i + me) ;
        atomic_store(&turn, 2 * i + me + 1);
    }
}
void restart(void) { atomic_store(&turn, 0); }
"""


def generate(shape, n_samples):
    """(X, Y) of the shape of a public data set, generated."""
    n_features, n_classes, n_nonzeros, n_labels = SHAPES[shape]
    return make_extreme_classification(n_samples, n_features, n_classes, n_nonzeros=n_nonzeros,
                                       n_labels=n_labels, random_state=0)


def load_data(where, n_samples=60_000):
    """(X_train, Y_train, X_test, Y_test) as CSR.

    `where` is "python-calls", one of `SHAPES` (generated: `n_samples` to train and a tenth of that
    to test), or a directory with ``{X,Y}_{train,test}.npz`` (`scipy.sparse.save_npz`) or
    ``train.txt`` and ``test.txt`` (the Extreme Classification Repository's text format).
    """
    if where == "python-calls":
        data = load_python_calls()
        return data.X_train, data.Y_train, data.X_test, data.Y_test
    if where in SHAPES:
        X, Y = generate(where, n_samples + n_samples // 10)
        return X[:n_samples], Y[:n_samples], X[n_samples:], Y[n_samples:]
    folder = Path(where)
    if (folder / "X_train.npz").exists():
        parts = [f"{name}_{part}.npz" for part in ("train", "test") for name in "XY"]
        return tuple(sp.csr_matrix(sp.load_npz(folder / part)) for part in parts)
    if (folder / "train.txt").exists():
        return (*load_xmc_file(folder / "train.txt"), *load_xmc_file(folder / "test.txt"))
    raise SystemExit(f"{where}: neither X_train.npz nor train.txt is there.")


def hold_out(X, Y, share=0.1, seed=0):
    """(X, Y, X_validation, Y_validation): a part of the rows, at random, put aside."""
    order = np.random.default_rng(seed).permutation(X.shape[0])
    n = max(1, round(share * len(order)))
    held, kept = np.sort(order[:n]), np.sort(order[n:])
    return X[kept], Y[kept], X[held], Y[held]


def quality(Y, labels, Y_train=None):
    """{"P@1": ..., "P@3": ..., "P@5": ..., "nDCG@5": ...} in percent.

    With `Y_train` also "PSP@1", "PSP@3", "PSP@5", its label frequencies being the propensities'.
    """
    result = {f"P@{k}": 100 * precision_at_k(Y, labels, k) for k in (1, 3, 5)}
    result["nDCG@5"] = 100 * ndcg_at_k(Y, labels, 5)
    if Y_train is not None:
        propensities = label_propensities(Y_train)
        result |= {f"PSP@{k}": 100 * propensity_scored_precision_at_k(Y, labels, propensities, k)
                   for k in (1, 3, 5)}
    return result


def label_of(where):
    """Name of a data set in tables: no paths."""
    return Path(where).name


def write(path, document):
    """Replace a JSON file in one go."""
    temporary = f"{path}.part"
    Path(temporary).write_text(json.dumps(document, indent=1))
    os.replace(temporary, path)


def best_time(run, seconds, prepare=lambda: ()):
    """Shortest time of ``run(*prepare())``, `prepare` not counted."""
    best, spent = float("inf"), 0.0
    while spent < seconds:
        arguments = prepare()
        start = perf_counter()
        run(*arguments)
        took = perf_counter() - start
        best, spent = min(best, took), spent + max(took, 1e-4)
    return best


def describe_machine():
    """One line: processor features, cores, versions."""
    return (f"slidelearn {slidelearn.__version__} ({_simd.get_level()}), numpy {np.__version__}, "
            f"Python {platform.python_version()}, {os.cpu_count()} cores, {processor_name()}")


def processor_name():
    """What the processor calls itself, or the architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def filled(shape, dtype, value):
    """An array that begins with a cache line, as those of training do."""
    array = _memory.empty(shape, dtype)
    array.fill(value)
    return array


def compile_c(source, *flags):
    """C source as a shared library (`ctypes.CDLL`); None if there is no compiler that takes it."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        code, library = Path(folder) / "code.c", Path(folder) / "code.so"
        code.write_text(source)
        done = subprocess.run([compiler, "-O3", *flags, "-shared", "-fPIC", str(code), "-o",
                               str(library)], capture_output=True)
        return None if done.returncode else ctypes.CDLL(str(library))


def on_threads(work, n):
    """A function that runs ``work(i)`` for i < n at once (numpy and ctypes release the lock)."""
    pool = ThreadPoolExecutor(n)
    return lambda: list(pool.map(work, range(n)))


class CoreDistance:
    """How long a message from one thread to another takes: shorter if their cores share a cache.

    On a virtual machine that may change from second to second.
    """

    N_MESSAGES = 100_000  # each way

    def __init__(self):
        # On one core the threads would wait for each other for whole slices of time.
        self._library = compile_c(PING_PONG) if cpu_count() > 1 else None
        if self._library is not None:
            play = self._library.play
            play.argtypes = [ctypes.c_long, ctypes.c_long]
            self._play = on_threads(lambda me: play(me, self.N_MESSAGES), 2)

    def measure(self):
        """Nanoseconds, the best of five; None without a compiler or a second core."""
        if self._library is None:
            return None
        best = float("inf")
        for _ in range(5):
            self._library.restart()
            start = perf_counter()
            self._play()
            best = min(best, perf_counter() - start)
        return best / (2 * self.N_MESSAGES) * 1e9
