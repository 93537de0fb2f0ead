"""Ranges of the parameters of SlideClassifier."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np

from ._compat import Interval, StrOptions
from ._validation import MAX_INDEX

MAX_DECAY = 1 - 2**-24  # what float32 can tell from 1
MIN_EPSILON = float(np.finfo(np.float32).tiny)
MAX_HASH_LENGTH = {"simhash": 63, "wta": 21, "dwta": 21, "minhash": 21}  # keys of 63 bits

CONSTRAINTS: dict[str, list[Any]] = {
    "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
    "loss": [StrOptions({"auto", "sigmoid", "softmax"})],
    "class_weight": [dict, StrOptions({"balanced", "propensity"}), None],
    "solver": [StrOptions({"adam", "adagrad", "sgd"})],
    "learning_rate": [StrOptions({"linear", "constant"})],
    "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
    "beta_1": [Interval(Real, 0, MAX_DECAY, closed="both")],
    "beta_2": [Interval(Real, 0, MAX_DECAY, closed="both")],
    "epsilon": [Interval(Real, MIN_EPSILON, None, closed="left")],
    "init": [StrOptions({"labels", "random"})],
    "dtype": [StrOptions({"float32", "bfloat16"})],
    "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
    "max_iter": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
    "dropout": [Interval(Real, 0, 1, closed="left")],
    "sampling": [StrOptions({"random", "vanilla", "topk", "threshold", "all"})],
    "n_random": [Interval(Integral, 0, None, closed="left")],
    "share_random": ["boolean"],
    "gradient_threshold": [Interval(Real, 0, 1, closed="both")],
    "n_candidates": [Interval(Integral, 1, 2**31 - 1, closed="both")],
    "min_collisions": [Interval(Integral, 1, 2**31 - 1, closed="both")],
    "hash_function": [StrOptions({"simhash", "wta", "dwta", "minhash"})],
    "hash_length": [None, Interval(Integral, 1, 63, closed="both")],
    "n_tables": [Interval(Integral, 1, 2**15, closed="both")],
    "bucket_size": [Interval(Integral, 1, 2**31 - 1, closed="both")],
    "insertion": [StrOptions({"fifo", "reservoir"})],
    "center": ["boolean"],
    "rebuild_interval": [Interval(Integral, 1, None, closed="left")],
    "rebuild_growth": [Interval(Real, 1, None, closed="left")],
    "redraw_every": [Interval(Integral, 0, None, closed="left")],
    "ranker": [StrOptions({"auto", "linear"}), None],
    "C": [Interval(Real, 0, None, closed="neither")],
    "early_stopping": ["boolean"],
    "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
    "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
    "tol": [Interval(Real, 0, None, closed="left")],
    "calibrate": ["boolean"],
    "shuffle": ["boolean"],
    "warm_start": ["boolean"],
    "random_state": ["random_state"],
    "n_jobs": [None, Integral],
    "verbose": ["verbose"],
}


def check_parameters(estimator: Any) -> list[int]:
    """Raise ValueError or TypeError for a parameter out of range; return the hidden widths."""
    estimator._validate_params()
    longest = MAX_HASH_LENGTH[estimator.hash_function]
    if estimator.hash_length is not None and estimator.hash_length > longest:
        raise ValueError(f"hash_length={estimator.hash_length} makes keys of more than 63 bits: "
                         f"{estimator.hash_function!r} allows at most {longest}.")
    sizes = estimator.hidden_layer_sizes
    widths = np.atleast_1d(np.asarray(sizes))
    if widths.ndim != 1 or len(widths) == 0 or widths.dtype.kind not in "iu" or (
            widths.min() < 1 or widths.max() > MAX_INDEX):
        raise ValueError(f"hidden_layer_sizes must be a non-empty sequence of positive integers, "
                         f"got {sizes!r}.")
    return [int(width) for width in widths]
