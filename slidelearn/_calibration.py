"""From scores to probabilities that mean what they say; how much one model says beside another."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, log_expit, logsumexp

MAX_ROWS = 500  # held-out samples on which a model is calibrated
MIN_ROWS = 20
MAX_PAIRS = 2**28  # (sample, class) pairs looked at,
MAX_PAIRS_INTERRUPTED = 2**22  # and when somebody waits for Ctrl-C to be answered
BIN_WIDTH = 0.05
N_BINS = 3202  # from -80 to 80, the outer ones open
CENTRES = (np.arange(N_BINS) - 1600.5) * BIN_WIDTH
IDENTITY = (0.0, 0.0, 1.0, 1.0)
KNOT = -3.0  # log-odds
N_GAPS = 3200  # bins of how far scores lie below the best one, up to 160
NEWTON_STEPS = 100
MAX_WEIGHT = 30.0
N_RIVALS = 10  # best classes of a sample, among which a choice is explained


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


def _count(scores: np.ndarray) -> np.ndarray:
    place = np.ravel(scores) * np.float32(1 / BIN_WIDTH)
    place += np.float32(N_BINS / 2)
    np.fmin(np.fmax(place, 0, out=place), N_BINS - 1, out=place)  # NaN counts as the lowest
    return np.bincount(place.astype(np.intp), minlength=N_BINS)


def log_odds(calibration: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Log-odds, float64, of scores: linear below and above a knot.

    Parameters
    ----------
    calibration : ndarray of shape (4,), as `fit_calibration` gives it
    scores : ndarray, float32
    """
    knot, value, below, above = calibration
    above_knot = scores.astype(np.float64) - knot
    return value + np.where(above_knot < 0, below, above) * above_knot


def threshold(calibration: np.ndarray) -> float:
    """The score whose log-odds are 0."""
    knot, value, below, above = calibration
    return float(knot - value / (below if value > 0 else above))


def fit_calibration(histogram: ScoreHistogram) -> np.ndarray:
    """How `log_odds` turns scores into log-odds: by Platt scaling with a slope for likely labels.

    First Platt scaling; then the line gets a knot where that says `KNOT` (a probability of 5 %),
    and is fitted again. The bulk of the labels, which hardly anything speaks for, else decides how
    sure the model is of the others.

    Returns
    -------
    calibration : ndarray of shape (4,), float64
        The knot, its log-odds, and the slopes below and above it. The identity if too few labels
        are true or false, or a slope isn't positive.
    """
    n_true = int(histogram.true.sum())
    n_false = int(histogram.every.sum()) - n_true
    if n_true < MIN_ROWS or n_false < MIN_ROWS:
        return np.array(IDENTITY)
    slope, intercept = _fit(histogram, CENTRES[:, None])
    if not (slope > 0 and np.isfinite(intercept)):
        return np.array(IDENTITY)
    knot = (KNOT - intercept) / slope
    distance = CENTRES - knot
    below, above, value = _fit(
        histogram, np.stack([np.minimum(distance, 0), np.maximum(distance, 0)], axis=1))
    if not (below > 0 and above > 0 and np.isfinite(value)):
        return np.array([knot, KNOT, slope, slope])
    return np.array([knot, value, below, above])


def _fit(histogram: ScoreHistogram, features: np.ndarray) -> np.ndarray:
    """Coefficients of `features` of the bins, and an intercept, that best explain true labels.

    Platt (1999), "Probabilistic outputs for support vector machines", section 2.2, with its
    smoothed targets, on scores rounded to bins of 0.05.
    """
    n_true = int(histogram.true.sum())
    n_false = int(histogram.every.sum()) - n_true
    used = np.flatnonzero(histogram.every)
    count = histogram.every[used].astype(np.float64)
    high, low = (n_true + 1) / (n_true + 2), 1 / (n_false + 2)
    target = (high - low) * histogram.true[used] / count + low
    design = np.vstack([features[used].T, np.ones(len(used))])
    start = np.append(np.zeros(features.shape[1]), np.log((n_true + 1) / (n_false + 1)))
    return _logistic_regression(design, count, target, start)


class GapHistogram:
    """Counts of how far the scores of a sample's classes lie below its best one, for some samples.

    Parameters
    ----------
    n_samples : int
    """

    def __init__(self, n_samples: int) -> None:
        self.every = np.zeros((n_samples, N_GAPS), np.int64)
        self.true = np.zeros(n_samples, np.intp)  # the bin of the true class

    def add(self, place: slice, scores: np.ndarray, true_class: np.ndarray) -> None:
        """Count the gaps of the samples at `place`, with `scores` of shape (n, n_classes)."""
        with np.errstate(invalid="ignore"):
            gaps = (scores.max(axis=1, keepdims=True) - scores) * np.float32(1 / BIN_WIDTH)
        gaps = np.rint(np.fmin(np.fmax(gaps, 0), N_GAPS - 1))  # NaN counts as no gap
        bins = gaps.astype(np.intp)
        self.true[place] = bins[np.arange(len(bins)), true_class]
        bins += np.arange(len(bins))[:, None] * N_GAPS
        self.every[place] = np.bincount(bins.ravel(), minlength=len(bins) * N_GAPS
                                        ).reshape(-1, N_GAPS)


def fit_temperature(histogram: GapHistogram) -> np.ndarray:
    """How `log_odds` turns scores into logits of a softmax that means what it says.

    Temperature scaling (Guo, Pleiss, Sun and Weinberger 2017, "On calibration of modern neural
    networks", section 4.2), on gaps rounded to 0.05. The logarithm of the temperature has a
    standard normal prior, so that a few samples, all of them right, don't make the model sure of
    everything.

    Returns
    -------
    calibration : ndarray of shape (4,), float64
        As of `fit_calibration`: a line through 0, its slope one over the temperature.
    """
    used = np.flatnonzero(histogram.every.any(axis=0))
    counts = histogram.every[:, used].astype(np.float64)

    def loss(log_slope: float) -> float:
        decay = -np.exp(log_slope) * BIN_WIDTH
        log_likelihood = decay * histogram.true - np.log(counts @ np.exp(decay * used))
        return 0.5 * log_slope**2 - log_likelihood.sum()

    slope = np.exp(minimize_scalar(loss, bounds=(-3.0, 3.0), method="bounded").x)
    return np.array([0.0, 0.0, slope, slope])


def stacking_weight(logits: np.ndarray, losses: np.ndarray, truth: np.ndarray) -> float | None:
    """How much of `losses` to take from `logits`: logistic regression on both (stacking).

    Wolpert (1992), "Stacked generalization": the two are combined as best explains samples that
    neither was trained on.

    Parameters
    ----------
    logits, losses : ndarray of shape (n_pairs,), what two models say of (sample, class) pairs
    truth : ndarray of shape (n_pairs,), bool

    Returns
    -------
    weight : float or None
        w in [0, 30] such that ``logits - w * losses`` is, but for a linear map, the log-odds.
        None if there are too few true or false pairs to tell, or neither model helps.
    """
    n_true = np.count_nonzero(truth)
    if min(n_true, truth.size - n_true) < MIN_ROWS:
        return None
    design = np.stack([logits, -losses, np.ones(truth.size)]).astype(np.float64)
    start = np.array([0.0, 0.0, np.log(n_true / (truth.size - n_true))])
    slope, weight, _ = _logistic_regression(design, 1.0, truth.astype(np.float64), start)
    if weight > 0:
        return float(min(weight / max(slope, 1e-9), MAX_WEIGHT))
    return 0.0 if slope > 0 else None


def choice_weight(logits: np.ndarray, losses: np.ndarray, true_place: np.ndarray) -> float | None:
    """As `stacking_weight`, for samples of one class each: a conditional logit model of the choice.

    McFadden (1974), "Conditional logit analysis of qualitative choice behavior", with weak normal
    priors.

    Parameters
    ----------
    logits, losses : ndarray of shape (n, m), what two models say of the m best classes
    true_place : ndarray of shape (n,), column of the true class; m if it isn't among them

    Returns
    -------
    weight : float or None
        w in [0, 30] such that the softmax of ``logits - w * losses``, but for a temperature,
        explains which of the `N_RIVALS` best classes was true. None if too few samples tell.
    """
    told = true_place < min(N_RIVALS, logits.shape[1])
    n_told = np.count_nonzero(told)
    if n_told < MIN_ROWS or logits.shape[1] < 2:
        return None
    says = np.stack([logits[told, :N_RIVALS], -losses[told, :N_RIVALS]], axis=2).astype(np.float64)
    says -= says[np.arange(n_told), true_place[told]][:, None]  # beside the true class
    prior_mean, prior_precision = np.array([1.0, 0.0]), np.array([1.0, 0.1])

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        scores = says @ weights
        total = logsumexp(scores, axis=1)
        pull = prior_precision * (weights - prior_mean)
        gradient = np.einsum("ij,ijk->k", np.exp(scores - total[:, None]), says)
        return total.sum() + 0.5 * pull @ (weights - prior_mean), gradient + pull

    slope, weight = minimize(loss, [1.0, 1.0], jac=True, method="L-BFGS-B",
                             bounds=[(1e-6, None), (0.0, None)]).x
    return float(min(weight / slope, MAX_WEIGHT))


def _logistic_regression(design: np.ndarray, count: np.ndarray | float, target: np.ndarray,
                         start: np.ndarray) -> np.ndarray:
    """Coefficients of the rows of `design`, by Newton's method with step halving (Lin, Lin and Weng
    2007, "A note on Platt's probabilistic outputs for support vector machines")."""

    def loss(line: np.ndarray) -> float:
        z = line @ design
        return -(count * (target * log_expit(z) + (1 - target) * log_expit(-z))).sum()

    line, value = start, loss(start)
    for _ in range(NEWTON_STEPS):
        probability = expit(line @ design)
        gradient = design @ (count * (probability - target))
        curvature = count * probability * (1 - probability)
        step = np.linalg.solve((design * curvature) @ design.T + 1e-9 * np.eye(len(line)), gradient)
        size = 1.0
        while loss(line - size * step) > value and size > 1e-9:
            size /= 2
        line = line - size * step
        value, before = loss(line), value
        if before - value <= 1e-10 * before:
            break
    return line
