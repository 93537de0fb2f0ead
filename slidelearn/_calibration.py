"""Platt scaling: from scores to probabilities that mean what they say."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression

MAX_ROWS = 500  # held-out samples on which a model is calibrated
MIN_ROWS = 20
MAX_PAIRS = 2**28  # (sample, class) pairs looked at
BINS = np.linspace(-40.0, 40.0, 1601)
IDENTITY = (1.0, 0.0)


def n_held_out(n_samples: int, n_classes: int) -> int:
    """How many samples to hold out: one in twenty, at most 500; 0 if there are too few."""
    rows = min(MAX_ROWS, n_samples // 20, max(MIN_ROWS, MAX_PAIRS // n_classes))
    return rows if rows >= MIN_ROWS else 0


class ScoreHistogram:
    """Counts of scores of true and of all (sample, class) pairs, filled chunk by chunk."""

    def __init__(self) -> None:
        self.every = np.zeros(len(BINS) + 1, np.int64)
        self.true = np.zeros(len(BINS) + 1, np.int64)

    def add(self, scores: np.ndarray, true_scores: np.ndarray) -> None:
        """Count `scores`, of which `true_scores` are those of true labels."""
        self.every += _count(scores)
        self.true += _count(true_scores)


def _count(scores) -> np.ndarray:
    width = BINS[1] - BINS[0]
    place = np.clip((np.ravel(scores) - BINS[0]) / width + 1, 0, len(BINS)).astype(np.int32)
    return np.bincount(place, minlength=len(BINS) + 1)


def platt_scaling(histogram: ScoreHistogram) -> tuple[float, float]:
    """Slope and intercept (a, b) such that ``1 / (1 + exp(-(a z + b)))`` fits the true labels.

    Platt (1999), "Probabilistic outputs for support vector machines", section 2.2, with its
    smoothed targets, on scores rounded to bins of 0.05. The identity if the fit is degenerate: too
    few true labels, or a slope that isn't positive.
    """
    n_true = int(histogram.true.sum())
    n_false = int(histogram.every.sum()) - n_true
    if n_true < MIN_ROWS or n_false < MIN_ROWS:
        return IDENTITY
    high, low = (n_true + 1) / (n_true + 2), 1 / (n_false + 2)
    true, false = histogram.true, histogram.every - histogram.true
    width = BINS[1] - BINS[0]
    centres = np.concatenate([BINS - width / 2, [BINS[-1] + width / 2]])
    weight_true = high * true + low * false
    weight_false = (1 - high) * true + (1 - low) * false
    used = np.flatnonzero(histogram.every)
    scores = np.tile(centres[used], 2)[:, None]
    targets = np.repeat([1, 0], len(used))
    model = LogisticRegression(C=1e6, tol=1e-8, max_iter=1000)
    model.fit(scores, targets, sample_weight=np.concatenate([weight_true[used],
                                                             weight_false[used]]))
    slope, intercept = float(model.coef_[0, 0]), float(model.intercept_[0])
    if not (slope > 0 and np.isfinite(slope) and np.isfinite(intercept)):
        return IDENTITY
    return slope, intercept
