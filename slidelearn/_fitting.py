"""The loop over epochs: progress, loss curve, early stopping, Ctrl-C."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
from tqdm.auto import tqdm

from ._network import Network
from ._training import Trainer


class EarlyStopping:
    """Keeps the parameters of the epoch with the best validation score.

    Parameters
    ----------
    score : callable, returns the validation score of the network as it is
    network : Network
    tol : float
        An epoch counts as an improvement if it beats the best score by more than this.
    patience : int
        Epochs without improvement after which training stops.
    """

    def __init__(self, score: Callable[[], float], network: Network, tol: float, patience: int):
        self.scores: list[float] = []
        self.best_score = -np.inf
        self._score = score
        self._network = network
        self._tol = tol
        self._patience = patience
        self._waited = 0
        self._best: list[tuple[np.ndarray, np.ndarray]] = []

    def should_stop(self) -> bool:
        """Score the network after an epoch; True if it is time to stop."""
        score = self._score()
        self.scores.append(score)
        self._waited = 0 if score > self.best_score + self._tol else self._waited + 1
        if score > self.best_score:
            self.best_score = score
            self._best = [(layer.weights.copy(), layer.bias.copy())
                          for layer in self._network.layers]
        return self._waited >= self._patience

    def restore_best(self) -> None:
        """Put the best parameters back."""
        for layer, (weights, bias) in zip(self._network.layers, self._best, strict=False):
            layer.weights[...] = weights
            layer.bias[...] = bias


def run_epochs(trainer: Trainer, rows: np.ndarray, max_iter: int, verbose: int,
               stopping: EarlyStopping | None = None) -> list[float]:
    """Train for at most `max_iter` epochs on `rows`.

    Ctrl-C ends training with a warning after the batch in hand; what has been learnt stays.

    Returns
    -------
    losses : list of float
        Mean loss of each complete epoch (of the incomplete one if it is the only one).
    """
    losses: list[float] = []
    total, done = 0.0, 0
    with tqdm(total=max_iter * len(rows), unit="sample", unit_scale=True, leave=verbose > 1,
              disable=None if verbose else True) as bar:
        try:
            for epoch in range(max_iter):
                total, done = 0.0, 0
                for n, loss in trainer.epoch(rows, epoch):
                    total, done = total + loss, done + n
                    bar.set_postfix_str(f"epoch {epoch + 1}/{max_iter}, loss {total / done:.4f}",
                                        refresh=False)
                    bar.update(n)
                losses.append(total / done)
                finished = stopping is not None and stopping.should_stop()
                if verbose:
                    score = f", validation nDCG@5 {stopping.scores[-1]:.4f}" if stopping else ""
                    tqdm.write(f"epoch {epoch + 1}/{max_iter}: loss {losses[-1]:.4f}{score}")
                if finished:
                    break
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user: the model is as far as it got.",
                          stacklevel=2)
            if not losses and done:
                losses.append(total / done)
    if stopping is not None and stopping.scores:
        stopping.restore_best()
    return losses
