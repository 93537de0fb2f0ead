"""Between y as users write it and class indices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.utils import assert_all_finite, column_or_1d
from sklearn.utils.multiclass import check_classification_targets, type_of_target

from ._validation import CSR, canonical_csr, check_sparse_structure


@dataclass(frozen=True)
class Targets:
    """Encoded y.

    Attributes
    ----------
    matrix : CSR of shape (n_samples, n_classes)
        Class indices of each sample, distinct and ascending; the data are ones.
    classes : ndarray of shape (n_classes,)
        Labels, or column numbers for an indicator.
    kind : {"labels", "dense", "matrix", "array"}
        What y was: 1-D labels, dense indicator, ``scipy.sparse.*_matrix`` or ``*_array``.
    """

    matrix: CSR
    classes: np.ndarray
    kind: str

    @property
    def multilabel(self) -> bool:
        return self.kind != "labels"


def encode(y: Any, n_samples: int, classes: Any = None) -> Targets:
    """Validate y and turn it into class indices.

    Parameters
    ----------
    y : array-like of shape (n_samples,) or {array-like, sparse} of shape (n_samples, n_classes)
        Labels of any dtype, or an indicator of zeros and ones.
    n_samples : int, the number of rows of X
    classes : ndarray of shape (n_classes,) or None
        Known classes, to which y must belong; None to take them from y.

    Raises
    ------
    ValueError
        y is missing, has other than 0/1 in an indicator, a malformed sparse structure, labels
        that are not discrete, NaN, unknown classes, no labels at all, or not one row a sample.
    """
    if y is None:
        raise ValueError("This SlideClassifier estimator requires y to be passed, but the target "
                         "y is None.")
    if getattr(y, "ndim", 0) == 2 and hasattr(y, "sparse"):  # pandas, of sparse columns alone
        y = y.sparse.to_coo()
    if sp.issparse(y):
        targets = _encode_sparse(y)
    else:
        y = _to_array(y)
        two_dimensional = y.ndim == 2 and y.shape[1] != 1
        targets = _encode_dense(y) if two_dimensional else _encode_labels(y, classes)
    if targets.matrix.n_rows != n_samples:
        raise ValueError(f"X and y have inconsistent numbers of samples: X has {n_samples} and y "
                         f"has {targets.matrix.n_rows}.")
    if targets.multilabel and classes is not None:
        _check_indicator_classes(targets, classes)
    return targets


def _to_array(y: Any) -> np.ndarray:
    if hasattr(y, "to_numpy"):  # pandas, polars
        extension = getattr(getattr(y, "dtype", None), "numpy_dtype", None)
        missing = extension is not None and y.isna().any()
        return y.to_numpy() if extension is None or missing else y.to_numpy(dtype=extension)
    try:
        return np.asarray(y)
    except ValueError as error:
        raise ValueError("y must be labels or an indicator of zeros and ones, but its rows differ "
                         "in length. MultiLabelBinarizer(sparse_output=True) turns lists of labels "
                         "into an indicator.") from error


def _encode_labels(y: np.ndarray, classes: Any) -> Targets:
    if y.ndim > 2:
        raise ValueError(f"y must have one or two dimensions, got an array of shape {y.shape}.")
    if y.dtype.kind == "f":
        _check_all_finite(y)
    try:
        check_classification_targets(y)
        y = column_or_1d(y, warn=True)
        found, codes = np.unique(y, return_inverse=True)
    except TypeError as error:
        kinds = [type(label) for label in y.ravel()]
        place = next((i for i, kind in enumerate(kinds) if kind is not kinds[0]), 0)
        raise TypeError(f"y mixes types that can't be ordered: y[0] is {y.flat[0]!r}, y[{place}] "
                        f"is {y.flat[place]!r}.") from error
    if len(y) == 0:
        raise ValueError("y has no samples.")
    if classes is not None:
        classes = np.asarray(classes)
        if (found.dtype.kind in "OUS") != (classes.dtype.kind in "OUS"):
            raise ValueError(f"y has labels of dtype {found.dtype}, but the known classes are of "
                             f"dtype {classes.dtype}.")
        unseen = np.setdiff1d(found, classes)
        if len(unseen):
            raise ValueError(f"y has {len(unseen)} label(s) that are not among the {len(classes)} "
                             f"known classes, for example {unseen[0]!r}.")
        codes = np.searchsorted(classes, found)[codes]
        found = classes
    n = len(y)
    matrix = CSR(np.arange(n + 1, dtype=np.int64), codes.astype(np.int32).ravel(),
                 np.ones(n, np.float32), (n, len(found)))
    return Targets(matrix, found, "labels")


def _encode_dense(y: np.ndarray) -> Targets:
    if y.dtype.kind not in "biuf":
        try:
            y = y.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(f"y has two dimensions, so it must be an indicator of zeros and ones, "
                             f"but its dtype is {y.dtype}.") from error
    if y.dtype.kind == "f":
        _check_all_finite(y)
    if y.dtype.kind != "b":
        wrong = (y != 0) & (y != 1)
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            raise ValueError(
                f"Unknown label type: {type_of_target(y)}. y has two dimensions, so it must be an "
                f"indicator of zeros and ones, but y[{row}, {column}] is {y[row, column]!r}."
            )
    return _indicator(sp.csr_matrix(y != 0), "dense")


def _encode_sparse(y: Any) -> Targets:
    kind = "array" if isinstance(y, sp.sparray) else "matrix"
    check_sparse_structure(y, "y")
    if y.shape[1] == 0:
        raise ValueError("y has no columns, so there is no class to learn.")
    if y.dtype.kind not in "biuf":
        raise ValueError(f"y must be an indicator of zeros and ones, but its dtype is {y.dtype}.")
    _check_distinct(y)
    y = y.tocsr()
    check_sparse_structure(y, "y")
    wrong = (y.data != 0) & (y.data != 1)
    if wrong.any():
        place = int(np.argmax(wrong))
        row = int(np.searchsorted(y.indptr, place, side="right")) - 1
        raise ValueError(f"y must be an indicator of zeros and ones, but y[{row}, "
                         f"{y.indices[place]}] is {y.data[place]}.")
    if not y.has_sorted_indices:
        y = y.sorted_indices()
    if not y.data.all():
        y = y.copy()
        y.eliminate_zeros()
    return _indicator(y, kind)


def _check_distinct(y: Any) -> None:
    """Raise ValueError if a sparse matrix has an entry twice."""
    if y.format not in ("csr", "csc", "coo") or (y.format != "coo" and y.has_canonical_format):
        return
    y = y.tocoo(copy=False)
    order = np.lexsort((y.col, y.row))
    row, column = y.row[order], y.col[order]
    again = (row[1:] == row[:-1]) & (column[1:] == column[:-1])
    if again.any():
        place = int(np.argmax(again))
        raise ValueError(f"y has more than one entry for y[{row[place]}, {column[place]}].")


def _check_all_finite(y: np.ndarray) -> None:
    try:
        assert_all_finite(y, input_name="y")
    except ValueError as error:
        place = ", ".join(str(i) for i in np.argwhere(~np.isfinite(y))[0])
        raise ValueError(f"{error}\nThe first such value is y[{place}].") from None


def _indicator(y: Any, kind: str) -> Targets:
    matrix = canonical_csr(y)
    if matrix.n_rows == 0:
        raise ValueError("y has no samples.")
    if len(matrix.indices) == 0:
        raise ValueError("y has no labels at all: every row of the indicator is empty.")
    return Targets(matrix, np.arange(y.shape[1]), kind)


def _check_indicator_classes(targets: Targets, classes: Any) -> None:
    classes = np.asarray(classes)
    if not np.array_equal(classes, targets.classes):
        raise ValueError(f"y is an indicator with {len(targets.classes)} columns, so classes must "
                         f"be the column numbers 0 to {len(targets.classes) - 1}; got "
                         f"{len(classes)} classes.")


def decode_indicator(indptr: np.ndarray, indices: np.ndarray, n_classes: int, kind: str) -> Any:
    """An indicator of the given `kind` (see `Targets`) from CSR structure; int64 zeros and ones."""
    shape = (len(indptr) - 1, n_classes)
    arrays = (np.ones(len(indices), np.int64), indices, indptr)
    if kind == "array":
        return sp.csr_array(arrays, shape=shape)
    matrix = sp.csr_matrix(arrays, shape=shape)
    return matrix.toarray() if kind == "dense" else matrix
