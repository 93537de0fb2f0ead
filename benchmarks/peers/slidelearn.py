"""slidelearn itself: `SlideClassifier` with default parameters, or those given by ``--set``."""

import pickle
from unittest import mock

import numpy as np

from ._adapter import main


class Monitor:
    """Calls `epoch_end` with the trainer after each epoch of a fit.

    There is no public hook for that. Where `run_epochs` expects `EarlyStopping` it takes any
    object with these three attributes, and this one never stops.
    """

    scores = ()

    def __init__(self, epoch_end):
        self._epoch_end = epoch_end

    def should_stop(self):
        self._epoch_end(self._trainer)
        return False

    def installed(self):
        """Context in which `fit` (without `early_stopping`) calls the monitor."""
        from slidelearn import _classifier
        from slidelearn._fitting import run_epochs

        def with_monitor(trainer, rows, max_iter, verbose, stopping, losses):
            if stopping is not None:
                raise ValueError("A monitored fit can't stop early.")
            self._trainer = trainer
            run_epochs(trainer, rows, max_iter, verbose, self, losses)

        return mock.patch.object(_classifier, "run_epochs", with_monitor)


def run(task):
    from slidelearn import SlideClassifier
    from slidelearn._prediction import exact_topk
    from slidelearn._validation import check_X

    model = SlideClassifier(random_state=task.seed, n_jobs=task.threads)
    task.settings(**model.get_params())
    model.set_params(**task.options)
    X_test = check_X(SlideClassifier(), task.X_test, reset=True)

    def top_now(trainer):
        return exact_topk(trainer.network, X_test, np.arange(X_test.n_rows), task.k,
                          task.threads)[0]

    def epoch_end(trainer):
        task.fit.__exit__()
        task.checkpoint(lambda: top_now(trainer))
        task.fit.__enter__()

    with Monitor(epoch_end).installed(), task.fit:
        model.fit(task.X, task.Y)
    with task.predict:
        top, _ = model.predict_topk(task.X_test, k=task.k)
    task.result["epochs"] = model.n_iter_
    task.answer(top, len(pickle.dumps(model)))


if __name__ == "__main__":
    main(run, "slidelearn")
