"""Labels that were ranked first next to those that are true: what metrics and displays check and
compare."""

from __future__ import annotations

from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from ._validation import valid_csr

RANKED = ("integers, that is column numbers, best first, as predict_topk returns them (not the "
          "indicator of predict, nor probabilities or names)")


class Ranking(NamedTuple):
    """A checked prediction next to the truth."""

    hits: np.ndarray  # bool (n_samples, k): is the label at this rank right?
    n_labels: np.ndarray  # (n_samples,): how many labels has the row?


def compared(y_true: Any, y_topk: Any, k: int) -> Ranking:
    """Check the arguments of a metric and compare them."""
    if is_indicator(y_true):
        indicator = as_indicator(y_true, "y_true")
        topk = column_numbers(y_topk, k, *indicator.shape)
        return Ranking(hits(indicator, topk), np.diff(indicator.indptr))
    labels = label_vector(y_true)
    topk = _first_columns(y_topk, k, len(labels))
    if _is_numeric(labels) != _is_numeric(topk) and object not in (labels.dtype, topk.dtype):
        raise ValueError(f"y_true has labels of {labels.dtype} but y_topk of {topk.dtype}.")
    # Filling up with -1 is no repetition, unless -1 is a label.
    fills = (topk == -1) if _is_numeric(topk) and -1 not in labels else np.zeros_like(topk, bool)
    _refuse_repeats(topk, ~fills)
    return Ranking(topk == labels[:, np.newaxis], np.ones(len(labels), dtype=np.int64))


def is_indicator(y_true: Any) -> bool:
    """Tell an indicator from one-dimensional labels."""
    try:
        return sp.issparse(y_true) or np.ndim(y_true) == 2
    except ValueError as error:
        raise ValueError("y_true must be an indicator of zeros and ones or one label for each row, "
                         "but its rows differ in length. MultiLabelBinarizer turns lists of labels "
                         "into an indicator.") from error


def label_vector(y_true: Any) -> np.ndarray:
    """Return one-dimensional labels."""
    labels = np.asarray(y_true)
    if labels.ndim != 1 or len(labels) == 0:
        found = f"shape {labels.shape}"
        raise ValueError(f"y_true must have one or two dimensions and a row, got {found}.")
    if labels.dtype.kind == "f" and np.isnan(labels).any():
        raise ValueError("y_true contains NaN.")
    return labels


def _is_numeric(labels: np.ndarray) -> bool:
    """Tell numbers from strings and other objects."""
    return labels.dtype.kind in "biuf"


def as_indicator(matrix: Any, name: str) -> sp.csr_matrix:
    """Return a label indicator as canonical CSR without stored zeros."""
    if not sp.issparse(matrix):
        matrix = np.asarray(matrix)
    if matrix.ndim != 2 or 0 in matrix.shape:
        found = f"shape {matrix.shape}"
        raise ValueError(f"{name} must be an indicator with rows and columns, got {found}.")
    if matrix.dtype.kind not in "biuf":
        raise ValueError(f"{name} must be an indicator of zeros and ones, got {matrix.dtype}.")
    csr = valid_csr(matrix, name)
    if not csr.data.all():
        csr = csr.copy()
        csr.eliminate_zeros()
    if (csr.data != 1).any():
        value = csr.data[csr.data != 1][0]
        raise ValueError(f"{name} must be an indicator of zeros and ones, found {value}.")
    return csr


def checked_k(k: Any) -> int:
    """Return k as an int of at least one."""
    if isinstance(k, bool) or not isinstance(k, Integral) or k < 1:
        raise ValueError(f"k must be a positive integer, got {k!r}.")
    return int(k)


def _first_columns(y_topk: Any, k: Any, n_samples: int) -> np.ndarray:
    """Return the k best labels, after checking the shape."""
    k = checked_k(k)
    if sp.issparse(y_topk):
        raise ValueError(f"y_topk must have {RANKED}, got a sparse matrix.")
    topk = np.asarray(y_topk)
    if topk.ndim != 2 or topk.shape[0] != n_samples:
        wanted = f"two dimensions and {n_samples} rows like y_true"
        raise ValueError(f"y_topk must have {wanted}, got shape {topk.shape}.")
    if topk.shape[1] < k:
        raise ValueError(f"k is {k} but y_topk has only {topk.shape[1]} columns.")
    return topk[:, :k]


def column_numbers(y_topk: Any, k: Any, n_samples: int, n_classes: int) -> np.ndarray:
    """Return the k best labels as int64 column numbers or -1, after checking them."""
    topk = _first_columns(y_topk, k, n_samples)
    if topk.dtype.kind not in "iu":
        raise ValueError(f"y_topk must have {RANKED}, got {topk.dtype}.")
    bad = (topk < -1) | (topk >= n_classes)
    if bad.any():
        row, rank = np.argwhere(bad)[0]
        limits = f"-1 to {n_classes - 1}"
        raise ValueError(f"y_topk[{row}, {rank}] is {topk[row, rank]}, outside {limits}.")
    topk = topk.astype(np.int64)
    _refuse_repeats(topk, topk >= 0)
    return topk


def _refuse_repeats(topk: np.ndarray, counts: np.ndarray) -> None:
    """Raise if a row has the same label at two ranks that count."""
    for rank in range(1, topk.shape[1]):
        equal = (topk[:, :rank] == topk[:, rank : rank + 1]) & counts[:, rank : rank + 1]
        if equal.any():
            row = int(equal.any(axis=1).argmax())
            raise ValueError(f"y_topk has the label {topk[row, rank]} twice in row {row}.")


def hits(indicator: sp.csr_matrix, topk: np.ndarray) -> np.ndarray:
    """Look up which of the predicted labels are true."""
    n_samples, n_classes = indicator.shape
    if indicator.nnz == 0:
        return np.zeros(topk.shape, dtype=bool)
    rows = np.arange(n_samples, dtype=np.int64)
    truth = np.repeat(rows, np.diff(indicator.indptr)) * n_classes + indicator.indices
    wanted = rows[:, np.newaxis] * n_classes + topk
    nearest = np.minimum(np.searchsorted(truth, wanted), len(truth) - 1)
    return (truth[nearest] == wanted) & (topk >= 0)
