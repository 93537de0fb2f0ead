"""The loop over epochs: progress, loss curve, early stopping; and what follows the last one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

import numpy as np
from scipy.sparse import csr_matrix

from . import _calibration, _prediction
from ._history import History
from ._labels import Targets
from ._network import Layer, Network
from ._progress import tqdm
from ._ranker import Ranker
from ._training import Trainer
from ._validation import CSR
from .metrics import ndcg_at_k


@dataclass(frozen=True)
class Samples:
    """What one call of `fit` or `partial_fit` learns from.

    Attributes
    ----------
    X : CSR of shape (n_samples, n_features)
    targets : Targets
    weight : ndarray of shape (n_samples,), float32
    rows : ndarray of int64, the samples to train on, ascending
    held_out : ndarray of int64, for early stopping, the ranker's penalty and calibration
    n_threads : int
    """

    X: CSR
    targets: Targets
    weight: np.ndarray
    rows: np.ndarray
    held_out: np.ndarray
    n_threads: int


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

    Attributes
    ----------
    scores : list of float
        The score after each epoch.
    best_score : float
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
        self._waited = 0 if score > self.best_score + self._tol else self._waited + 1
        if score > self.best_score:
            self._best = []  # frees memory before the copy
            self._best = [(layer.weights.copy(), layer.bias.copy())
                          for layer in self._network.layers]
            self.best_score = score
        self.scores.append(score)
        return self._waited >= self._patience

    def best_network(self) -> Network | None:
        """A copy with the best parameters, None before there is a score."""
        return Network([Layer(weights.copy(), bias.copy()) for weights, bias in self._best]) if (
            self._best) else None

    def restore_best(self) -> None:
        """Put the best parameters back."""
        for layer, (weights, bias) in zip(self._network.layers, self._best, strict=False):
            layer.weights[...] = weights
            layer.bias[...] = bias


def run_epochs(trainer: Trainer, rows: np.ndarray, max_iter: int, verbose: int,
               stopping: EarlyStopping | None, history: History,
               begin_epoch: Callable[[], None], end_epoch: Callable[[int], bool]) -> None:
    """Train for at most `max_iter` epochs on `rows`, until `stopping` or `end_epoch` say so.

    Each epoch, an interrupted one too, is added to `history`. In a terminal or notebook a progress
    bar shows loss, samples a second and the time left.
    """
    with tqdm(total=max_iter * len(rows), unit="sample", unit_scale=True, leave=verbose > 1,
              disable=None if verbose else True) as bar:
        for epoch in range(max_iter):
            begin_epoch()
            total, done = 0.0, 0
            history.start_epoch(trainer)
            try:
                for n, loss in trainer.epoch(rows, epoch):
                    total, done = total + loss, done + n
                    if not bar.disable:
                        text = f"epoch {epoch + 1}/{max_iter}, loss {total / done:.4f}"
                        bar.set_postfix_str(text, refresh=False)
                        bar.update(n)
            finally:
                if done:
                    history.end_epoch(trainer, total / done, done)
            finished = False
            if stopping is not None:
                start = perf_counter()
                trainer.settle()
                finished = stopping.should_stop()
                history.validated(stopping.scores[-1], perf_counter() - start)
            if verbose:
                score = f", validation nDCG@5 {stopping.scores[-1]:.4f}" if stopping else ""
                tqdm.write(f"epoch {epoch + 1}/{max_iter}: loss {total / done:.4f}{score}")
            if end_epoch(epoch) or finished:
                break


def validation_score(network: Network, samples: Samples) -> float:
    """nDCG@5 (or of all classes, if there are fewer) of the samples held out."""
    labels, rows = samples.targets.matrix, samples.held_out
    k = min(5, labels.shape[1])
    best, _ = _prediction.exact_topk(network, samples.X, rows, k, samples.n_threads)
    return float(ndcg_at_k(_indicator(labels)[rows], best, k=k))


def calibrate(network: Network, ranker: Ranker | None, X: CSR, labels: CSR, rows: np.ndarray,
              one_of_all: bool, n_threads: int) -> np.ndarray:
    """What turns scores into log-odds, see `_calibration.log_odds`, fitted to some rows.

    `one_of_all`: into the logits of a softmax over all classes, of which each row has one.
    """
    chunks = _prediction.score_chunks(network, ranker, X, rows, n_threads)
    if one_of_all:
        gaps = _calibration.GapHistogram(len(rows))
        true_class = labels.indices[labels.indptr[rows]]
        for place, scores in chunks:
            gaps.add(place, scores, true_class[place])
        return _calibration.fit_temperature(gaps)
    histogram = _calibration.ScoreHistogram()
    indicator = _indicator(labels)
    for place, scores in chunks:
        truth = indicator[rows[place]].tocoo()
        histogram.add(scores, scores[truth.row, truth.col])
    return _calibration.fit_calibration(histogram)


def _indicator(labels: CSR) -> csr_matrix:
    return csr_matrix((labels.data, labels.indices, labels.indptr), shape=labels.shape)
