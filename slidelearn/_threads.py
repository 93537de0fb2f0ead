"""How many OpenMP threads a call may use, and how many of them pay."""

from __future__ import annotations

import os
from numbers import Integral

from joblib import effective_n_jobs

MAX_THREADS = max(64, os.cpu_count() or 1)  # more would only fail to start

TRIAL = 2  # portions that another team is tried with; the last one counts
FIRST_WAIT, WAIT_GROWTH, LONGEST_WAIT = 16, 4, 1024  # portions between two trials
GAIN = 0.95  # share of the usual time that a trial must beat
JUMP = 1.5  # so many times the usual time, twice in a row, is a reason for a trial at once

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
    if n_jobs == 0:
        raise ValueError("n_jobs=0 has no meaning: 1 is one thread, -1 all there are.")
    n_threads = min(max(1, int(effective_n_jobs(n_jobs))), MAX_THREADS)
    if _forked_after_openmp:
        return 1
    if n_threads > 1:
        _openmp_used = True
    return n_threads


class TeamSize:
    """How many threads share work that is done over and over in small portions, such as batches.

    Where cores are far from each other, or busy with something else, threads that wait for each
    other many times a millisecond take longer than one of them alone. So now and then a portion
    is given to half or to twice as many, and if that is faster, it stays so. The more often
    another team was no faster, the longer until the next trial.

    Parameters
    ----------
    most : int, threads at most, with which it starts

    Attributes
    ----------
    n : int, threads for the next portion
    """

    def __init__(self, most: int):
        self.n = self._size = self._most = most
        self._usual: float | None = None  # seconds of a portion with `_size` threads
        self._was_slow = False
        self._fewer = True  # which way to try next
        self._wait = FIRST_WAIT
        self._left = FIRST_WAIT  # portions until a trial begins, or in one, until it ends

    def record(self, seconds: float) -> None:
        """Tell what a portion took with `n` threads."""
        self._left -= 1
        if self.n == self._size:
            self._observe(seconds)
            if self._left <= 0 and self._most > 1:
                self._try()
        elif self._left <= 0:
            self._judge(seconds)

    def _observe(self, seconds: float) -> None:
        """Follow the time that is usual, but for a single slow portion."""
        usual = seconds if self._usual is None else self._usual
        slow = seconds > JUMP * usual
        if slow and self._was_slow:
            usual, self._wait, self._left = seconds, FIRST_WAIT, 0
        self._usual = usual if slow else (usual + seconds) / 2
        self._was_slow = slow

    def _try(self) -> None:
        """Give the next portions to another team."""
        if self._size in (1, self._most):
            self._fewer = self._size > 1
        self.n = (self._size + 1) // 2 if self._fewer else min(2 * self._size, self._most)
        self._left = TRIAL

    def _judge(self, seconds: float) -> None:
        """Keep the team on trial, or go back."""
        assert self._usual is not None
        self._was_slow = False
        if seconds < GAIN * self._usual:
            self._size, self._usual = self.n, seconds
            self._wait, self._left = FIRST_WAIT, TRIAL
        else:
            self.n = self._size
            self._wait = self._left = min(WAIT_GROWTH * self._wait, LONGEST_WAIT)
            self._fewer = not self._fewer
