"""What benchmark scripts share: data by name or directory, measuring, printing."""

import os
import platform
import resource
import time
from pathlib import Path

import numpy as np
import scipy.sparse as sp

import slidelearn
from slidelearn._kernels import _simd
from slidelearn.datasets import load_python_calls, load_xmc_file
from slidelearn.metrics import ndcg_at_k, precision_at_k


def load_data(where):
    """(X_train, Y_train, X_test, Y_test) as CSR.

    `where` is "python-calls" or a directory with ``{X,Y}_{train,test}.npz``
    (`scipy.sparse.save_npz`) or ``train.txt`` and ``test.txt`` (the Extreme Classification
    Repository's text format).
    """
    if where == "python-calls":
        data = load_python_calls()
        return data.X_train, data.Y_train, data.X_test, data.Y_test
    folder = Path(where)
    if (folder / "X_train.npz").exists():
        parts = [f"{name}_{part}.npz" for part in ("train", "test") for name in "XY"]
        return tuple(sp.csr_matrix(sp.load_npz(folder / part)) for part in parts)
    if (folder / "train.txt").exists():
        return (*load_xmc_file(folder / "train.txt"), *load_xmc_file(folder / "test.txt"))
    raise SystemExit(f"{where}: neither X_train.npz nor train.txt is there.")


class Stopwatch:
    """Wall and CPU seconds of a block (CPU: of all threads of this process)."""

    def __enter__(self):
        self._start = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_):
        self.wall = time.perf_counter() - self._start[0]
        self.cpu = time.process_time() - self._start[1]


def peak_memory_mb():
    """Largest resident memory of this process so far, MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if platform.system() == "Darwin" else 2**10)


def quality(Y, labels):
    """{"P@1": ..., "P@3": ..., "P@5": ..., "nDCG@5": ...} in percent."""
    result = {f"P@{k}": 100 * precision_at_k(Y, labels, k) for k in (1, 3, 5)}
    return {**result, "nDCG@5": 100 * ndcg_at_k(Y, labels, 5)}


def describe_machine():
    """One line: processor features, cores, versions."""
    return (f"slidelearn {slidelearn.__version__} ({_simd.get_level()}), numpy {np.__version__}, "
            f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.machine()}")
