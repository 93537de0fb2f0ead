"""How many OpenMP threads a call may use."""

from __future__ import annotations

import os
from numbers import Integral

from joblib import effective_n_jobs

MAX_THREADS = max(64, os.cpu_count() or 1)  # more would only fail to start

_forked_after_openmp = False
_openmp_used = False


def _after_fork_in_child() -> None:
    global _forked_after_openmp
    _forked_after_openmp = _openmp_used


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


def effective_n_threads(n_jobs: int | None) -> int:
    """Number of threads for `n_jobs`, as scikit-learn and joblib count: None is 1, -1 is all.

    `joblib.parallel_config` changes what None means, and inside a joblib worker -1 is that
    worker's share, so nested parallelism doesn't oversubscribe the machine.

    In a child forked after OpenMP threads were started, the answer is always 1: the threads of
    the parent don't exist in the child, and GNU libgomp would wait for them forever.
    """
    global _openmp_used
    if not (n_jobs is None or isinstance(n_jobs, Integral)):
        raise TypeError(f"n_jobs must be an int or None, got {n_jobs!r}.")
    n_threads = min(max(1, int(effective_n_jobs(n_jobs))), MAX_THREADS)
    if _forked_after_openmp:
        return 1
    if n_threads > 1:
        _openmp_used = True
    return n_threads
