"""class_weight: from what users pass to a weight of each class."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

from ._labels import Targets
from ._validation import CSR
from .metrics import label_propensities


def class_weights(class_weight: Any, targets: Targets, sample_weight: np.ndarray,
                  one_epoch: bool) -> np.ndarray | None:
    """A weight of each class, or None for no weights.

    Parameters
    ----------
    class_weight : dict, "balanced", "propensity" or None
        The parameter of `SlideClassifier`.
    targets : Targets
    sample_weight : ndarray of shape (n_samples,)
        Weights with which "balanced" counts. "propensity" counts samples of positive weight.
    one_epoch : bool
        Whether y is only a part of the data, from which no frequency can be taken.

    Returns
    -------
    weights : ndarray of shape (n_classes,), float64, or None
        If y is all labels, scaled to a mean of 1 over the samples of positive weight.

    Raises
    ------
    ValueError
        The dict has a class that y hasn't while another class has no weight, a weight is not a
        finite number of at least 0, all labels have weight 0, "propensity" has fewer than
        three samples to count, or weights depend on the data and y is a part of them.
    """
    if class_weight is None:
        return None
    matrix = targets.matrix
    if one_epoch and isinstance(class_weight, str):
        raise ValueError(f"class_weight={class_weight!r} is not supported for partial_fit, which "
                         "sees a part of the data only. Pass the weights as a dict.")
    if isinstance(class_weight, str):
        weights = _from_frequencies(class_weight, matrix, sample_weight)
    else:
        weights = _looked_up(class_weight, targets)
    of_labels = weights[matrix.indices]
    repeated = np.repeat(sample_weight, np.diff(matrix.indptr)) * (of_labels > 0)
    if len(repeated) and not repeated.any():
        raise ValueError("class_weight is 0 for all labels that y has.")
    if targets.multilabel or one_epoch:
        return weights
    return weights / np.average(of_labels, weights=repeated)


def _from_frequencies(class_weight: str, matrix: CSR, sample_weight: np.ndarray) -> np.ndarray:
    if class_weight == "propensity":
        kept = sample_weight > 0
        indicator = csr_matrix((matrix.data, matrix.indices, matrix.indptr), shape=matrix.shape)
        if kept.sum() < 3:
            raise ValueError(f"class_weight='propensity' needs at least 3 samples, got "
                             f"{kept.sum()}.")
        return 1 / label_propensities(indicator[kept])
    counts = np.bincount(matrix.indices, np.repeat(sample_weight, np.diff(matrix.indptr)),
                         minlength=matrix.shape[1])
    present = counts > 0
    weights = np.ones(len(counts))
    weights[present] = counts.sum() / (present.sum() * counts[present])
    return weights


def _looked_up(class_weight: Mapping[Any, float], targets: Targets) -> np.ndarray:
    for label, weight in class_weight.items():
        if not isinstance(weight, Real) or not 0 <= weight < np.inf:
            raise ValueError(f"class_weight[{label!r}] must be a finite number of at least 0, got "
                             f"{weight!r}.")
    classes = targets.classes.tolist()
    n_found = sum(label in class_weight for label in classes)
    if n_found < len(class_weight) and (n_found < len(classes) or targets.multilabel):
        known = set(classes)
        unknown = next(label for label in class_weight if label not in known)
        what = (f"y has the columns 0 to {len(classes) - 1}" if targets.multilabel
                else f"it is none of the {len(classes)} classes of y")
        raise ValueError(f"class_weight has the key {unknown!r}, but {what}.")
    return np.array([class_weight.get(label, 1.0) for label in classes], dtype=np.float64)


def weighted_labels(labels: CSR, weights: np.ndarray) -> CSR:
    """The same labels with the weights of their classes as data."""
    data = weights.astype(np.float32)[labels.indices]
    return CSR(labels.indptr, labels.indices, data, labels.shape)
