"""What users have called after each epoch: a monitor, and scikit-learn's callbacks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ._compat import callback_context

State = dict[str, Any]  # attributes of an estimator


class Hooks:
    """Calls the monitor and the callbacks of one fit.

    Parameters
    ----------
    estimator : SlideClassifier
    monitor : callable or None
        See `SlideClassifier.fit`.
    X, y, sample_weight : as the user passed them to `fit`

    Attributes
    ----------
    active : bool
        Whether there is anything to call.
    """

    def __init__(self, estimator: Any, monitor: Callable[..., Any] | None, X: Any, y: Any,
                 sample_weight: Any):
        if monitor is not None and not callable(monitor):
            raise ValueError(f"monitor must be a callable or None, got {monitor!r}.")
        self._estimator = estimator
        self._monitor = monitor
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        self._task = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
        self._root = callback_context(estimator)
        self._epoch: Any = None
        self.active = monitor is not None or self._root is not None

    def begin(self, max_iter: int) -> None:
        if self._root is not None:
            self._root.max_subtasks = max_iter
            self._root.call_on_fit_task_begin(**self._task)

    def begin_epoch(self) -> None:
        if self._root is not None:
            self._epoch = self._root.subcontext(task_name="epoch")
            self._epoch.call_on_fit_task_begin(**self._task)

    def end_epoch(self, number: int, row: dict[str, float], as_stopped: Callable[[], State]) -> (
            bool):
        """Call all; True if one of them wants training to stop.

        Parameters
        ----------
        number : int, epochs of this fit before this one
        row : dict, this epoch's row of `SlideClassifier.history_`
        as_stopped : callable, returns the attributes that the model would have, had it stopped
        """
        stop = False
        if self._root is not None:
            stop = self._epoch.call_on_fit_task_end(**self._task,
                                                    reconstruction_attributes=as_stopped)
        if self._monitor is not None:
            coefs = self._estimator._coefs
            stop |= bool(self._monitor(number, self._estimator, row))
            if self._estimator._coefs is not coefs:
                raise RuntimeError("The monitor has fitted or changed the estimator that is being "
                                   "trained. It may predict with it, and fit a clone of it.")
        return stop

    def end(self) -> None:
        if self._root is not None:
            self._root.call_on_fit_task_end(**self._task, reconstruction_attributes={})
