"""Platt scaling: from scores to probabilities that mean what they say."""

from __future__ import annotations

import numpy as np
from scipy.special import expit, log_expit

MAX_ROWS = 500  # held-out samples on which a model is calibrated
MIN_ROWS = 20
MAX_PAIRS = 2**28  # (sample, class) pairs looked at,
MAX_PAIRS_INTERRUPTED = 2**22  # and when somebody waits for Ctrl-C to be answered
BIN_WIDTH = 0.05
N_BINS = 1602  # from -40 to 40, the outer ones open
CENTRES = (np.arange(N_BINS) - 800.5) * BIN_WIDTH
IDENTITY = (1.0, 0.0)
NEWTON_STEPS = 100


def n_held_out(n_samples: int, n_classes: int) -> int:
    """How many samples to hold out: one in twenty, at most `n_looked_at`; 0 if under 20."""
    rows = min(n_samples // 20, n_looked_at(n_classes))
    return rows if rows >= MIN_ROWS else 0


def n_looked_at(n_classes: int, max_pairs: int = MAX_PAIRS) -> int:
    """How many samples to calibrate on: at most 500, and `max_pairs` scores."""
    return min(MAX_ROWS, max_pairs // n_classes)


class ScoreHistogram:
    """Counts of scores of true and of all (sample, class) pairs, filled chunk by chunk."""

    def __init__(self) -> None:
        self.every = np.zeros(N_BINS, np.int64)
        self.true = np.zeros(N_BINS, np.int64)

    def add(self, scores: np.ndarray, true_scores: np.ndarray) -> None:
        """Count `scores`, of which `true_scores` are those of true labels."""
        self.every += _count(scores)
        self.true += _count(true_scores)


def _count(scores) -> np.ndarray:
    place = np.ravel(scores) * np.float32(1 / BIN_WIDTH)
    place += np.float32(N_BINS / 2)
    np.fmin(np.fmax(place, 0, out=place), N_BINS - 1, out=place)  # NaN counts as the lowest
    return np.bincount(place.astype(np.intp), minlength=N_BINS)


def platt_scaling(histogram: ScoreHistogram) -> tuple[float, float]:
    """Slope and intercept (a, b) such that ``1 / (1 + exp(-(a z + b)))`` fits the true labels.

    Platt (1999), "Probabilistic outputs for support vector machines", section 2.2, with its
    smoothed targets, on scores rounded to bins of 0.05; Newton's method with step halving as in
    Lin, Lin & Weng (2007), "A note on Platt's probabilistic outputs". The identity if the fit is
    degenerate: too few true or false labels, or a slope that isn't positive.
    """
    n_true = int(histogram.true.sum())
    n_false = int(histogram.every.sum()) - n_true
    if n_true < MIN_ROWS or n_false < MIN_ROWS:
        return IDENTITY
    used = np.flatnonzero(histogram.every)
    count = histogram.every[used].astype(np.float64)
    high, low = (n_true + 1) / (n_true + 2), 1 / (n_false + 2)
    target = (high - low) * histogram.true[used] / count + low
    design = np.stack([CENTRES[used], np.ones(len(used))])

    def loss(line):
        z = line @ design
        return -(count * (target * log_expit(z) + (1 - target) * log_expit(-z))).sum()

    line = np.array([0.0, np.log((n_true + 1) / (n_false + 1))])
    value = loss(line)
    for _ in range(NEWTON_STEPS):
        probability = expit(line @ design)
        gradient = design @ (count * (probability - target))
        curvature = count * probability * (1 - probability)
        step = np.linalg.solve((design * curvature) @ design.T + 1e-9 * np.eye(2), gradient)
        size = 1.0
        while loss(line - size * step) > value and size > 1e-9:
            size /= 2
        line = line - size * step
        value, before = loss(line), value
        if before - value <= 1e-10 * before:
            break
    slope, intercept = float(line[0]), float(line[1])
    if not (slope > 0 and np.isfinite(slope) and np.isfinite(intercept)):
        return IDENTITY
    return slope, intercept
