"""From what users pass to what kernels trust: X and sample weights in canonical form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.utils import assert_all_finite
from sklearn.utils.validation import validate_data

from ._compat import _check_sample_weight

MAX_INDEX = np.iinfo(np.int32).max


@dataclass(frozen=True)
class CSR:
    """A matrix in the form that kernels read; every index has been checked.

    Attributes
    ----------
    indptr : ndarray of shape (n_rows + 1,), int64
    indices : ndarray of shape (nnz,), int32
    data : ndarray of shape (nnz,), float32
    shape : tuple of two ints
    """

    indptr: np.ndarray
    indices: np.ndarray
    data: np.ndarray
    shape: tuple[int, int]

    @property
    def n_rows(self) -> int:
        return self.shape[0]

    def max_batch_nnz(self, batch_size: int) -> int:
        """Most nonzeros that any `batch_size` rows have together."""
        counts = np.diff(self.indptr)
        if batch_size < len(counts):
            counts = np.partition(counts, len(counts) - batch_size)[-batch_size:]
        return int(counts.sum())


def check_sparse_structure(matrix: Any, name: str) -> None:
    """Raise ValueError unless the arrays of a sparse matrix fit together and within its shape.

    scikit-learn's checks look at values only, and scipy's conversions trust the arrays: an index
    out of range would be read as an address.
    """
    if matrix.ndim != 2:
        raise ValueError(f"{name} must be two-dimensional, got a sparse array of {matrix.ndim} "
                         "dimension(s).")
    complain = COMPLAINTS.get(matrix.format)
    complaint = complain(matrix) if complain else None
    if complaint:
        raise ValueError(f"{name} is not a valid {matrix.format.upper()} matrix: {complaint}.")


def _compressed_complaint(matrix: Any) -> str | None:
    major, minor = (1, 0) if matrix.format == "csc" else (0, 1)
    blocks = matrix.data.shape[1:]
    if matrix.format != "bsr":
        if blocks:
            return f"its values have {matrix.data.ndim} dimensions, expected 1"
        blocks = (1, 1)
    elif len(blocks) != 2 or 0 in blocks or any(np.mod(matrix.shape, blocks)):
        return f"blocks of shape {blocks} don't divide the shape {matrix.shape}"
    n_major, n_minor = matrix.shape[major] // blocks[major], matrix.shape[minor] // blocks[minor]
    indptr, indices = matrix.indptr, matrix.indices
    if complaint := _index_complaint(indptr=indptr, indices=indices):
        return complaint
    if len(indptr) != n_major + 1:
        return f"indptr has {len(indptr)} entries, expected {n_major + 1}"
    if indptr[0] != 0:
        return f"indptr[0] is {indptr[0]}, expected 0"
    falls = indptr[1:] < indptr[:-1]
    if falls.any():
        return f"indptr decreases at position {int(np.argmax(falls)) + 1}"
    if indptr[-1] > len(indices) or indptr[-1] > len(matrix.data):
        return (f"indptr ends at {indptr[-1]}, beyond the {len(indices)} indices and "
                f"{len(matrix.data)} values")
    used = indices[: indptr[-1]]
    if len(used) and (used.min() < 0 or used.max() >= n_minor):
        place = int(np.argmax((used < 0) | (used >= n_minor)))
        row = int(np.searchsorted(indptr, place, side="right")) - 1
        return (f"{AXES[minor]} index {used[place]} in {AXES[major]} {row} is outside of "
                f"[0, {n_minor})")
    return None


def _coo_complaint(matrix: Any) -> str | None:
    if complaint := _index_complaint(row=matrix.row, col=matrix.col):
        return complaint
    sizes = len(matrix.row), len(matrix.col), len(matrix.data)
    if len(set(sizes)) > 1:
        return "it has {} row indices, {} column indices and {} values".format(*sizes)
    for axis, index in enumerate((matrix.row, matrix.col)):
        if len(index) and (index.min() < 0 or index.max() >= matrix.shape[axis]):
            bad = int(index.min() if index.min() < 0 else index.max())
            return f"{AXES[axis]} index {bad} is outside of [0, {matrix.shape[axis]})"
    return None


def _dia_complaint(matrix: Any) -> str | None:
    if complaint := _index_complaint(offsets=matrix.offsets):
        return complaint
    if matrix.data.ndim != 2 or len(matrix.data) != len(matrix.offsets):
        return (f"its values are of shape {matrix.data.shape}, expected a row for each of "
                f"{len(matrix.offsets)} diagonals")
    return None


def _lil_complaint(matrix: Any) -> str | None:
    if not matrix.rows.shape == matrix.data.shape == matrix.shape[:1]:
        return (f"it has {len(matrix.rows)} lists of indices and {len(matrix.data)} of values, "
                f"expected {matrix.shape[0]}")
    for row, (indices, values) in enumerate(zip(matrix.rows, matrix.data, strict=True)):
        if len(indices) != len(values):
            return f"row {row} has {len(indices)} indices and {len(values)} values"
    return None


def _index_complaint(**arrays: np.ndarray) -> str | None:
    for name, array in arrays.items():
        if array.ndim != 1 or array.dtype.kind not in "iu":
            return (f"{name} is an array of {array.ndim} dimension(s) of {array.dtype}, expected "
                    "one of integers")
    return None


AXES = ("row", "column")
COMPLAINTS = {"csr": _compressed_complaint, "csc": _compressed_complaint,
              "bsr": _compressed_complaint, "coo": _coo_complaint, "dia": _dia_complaint,
              "lil": _lil_complaint}


def valid_csr(matrix: Any, name: str) -> sp.csr_matrix:
    """Dense or sparse as CSR with ascending, distinct columns in each row, after checking it.

    Duplicates are added up. Arrays may be shared with `matrix`. What scipy doesn't support is cast:
    float16 to float32, and the byte order of another machine to that of this one.
    """
    if sp.issparse(matrix):
        check_sparse_structure(matrix, name)
    native = matrix.dtype.newbyteorder("=")
    supported = np.dtype(np.float32) if native == np.float16 else native
    if matrix.dtype != supported:
        matrix = matrix.astype(supported)
    csr = sp.csr_matrix(matrix)
    check_sparse_structure(csr, name)
    return canonical_rows(csr)


def check_X(estimator: Any, X: Any, *, reset: bool) -> CSR:
    """Validate X and convert it to canonical CSR, without a copy where it is one already.

    Parameters
    ----------
    estimator : the estimator whose ``n_features_in_`` is set or compared
    X : {array-like, sparse matrix, dataframe} of shape (n_samples, n_features)
    reset : bool, True in fit

    Raises
    ------
    ValueError
        NaN, infinity or a value beyond float32; a malformed sparse structure; no samples; a
        number or names of features that differ from those of fit; text.
    """
    if sp.issparse(X):
        check_sparse_structure(X, "X")
    try:
        with np.errstate(over="ignore"):  # a float64 beyond float32 becomes inf, which is reported
            X = validate_data(estimator, X, accept_sparse="csr", dtype=np.float32, order="C",
                              reset=reset, accept_large_sparse=True, ensure_all_finite=False)
    except ValueError as error:
        if not str(error).startswith("could not convert string to float"):
            raise
        raise ValueError(f"X has text where numbers must be: {error}. Texts become numbers by a "
                         "vectorizer, as in make_pipeline(TfidfVectorizer(), SlideClassifier())."
                         ) from None
    _check_all_finite(X, "X")
    if not sp.issparse(X):
        X = sp.csr_matrix(X)
    else:
        check_sparse_structure(X, "X")  # lil, dok and dia: their indices haven't been looked at
        X = _canonical_order(X)
    return canonical_csr(X)


def _check_all_finite(X: Any, name: str) -> None:
    try:
        assert_all_finite(X, input_name=name)
    except ValueError as error:
        if sp.issparse(X):
            place = int(np.argmin(np.isfinite(X.data)))
            row = int(np.searchsorted(X.indptr, place, side="right")) - 1
            where = f"row {row}, column {X.indices[place]}"
        else:
            where = "row {}, column {}".format(*np.argwhere(~np.isfinite(X))[0])
        raise ValueError(f"{error}\nThe first such value is in {where}.") from None


def _canonical_order(X: Any) -> Any:
    """Columns sorted and distinct, no explicit zeros: one form, so that the same X gives the same
    bits in any format. A copy only if X isn't in that form already."""
    given, X = X, canonical_rows(X)
    if X is not given:
        _check_all_finite(X, "X")
    if not X.data.all():
        X = X.copy()
        X.eliminate_zeros()
    return X


def canonical_rows(matrix: Any) -> Any:
    """A valid CSR matrix with ascending, distinct columns in each row: the same one if it is so,
    else a copy with duplicates added up.

    Its arrays decide: `has_sorted_indices` and `has_canonical_format` are remembered by scipy, and
    wrong once someone has written into the arrays.
    """
    if rows_ascend(matrix.indptr, matrix.indices[:int(matrix.indptr[-1])]):
        return matrix
    matrix = matrix.copy()
    matrix.has_sorted_indices = matrix.has_canonical_format = False
    matrix.sum_duplicates()
    return matrix


def rows_ascend(indptr: np.ndarray, indices: np.ndarray) -> bool:
    """Whether the columns of each row of a valid CSR matrix ascend, none being there twice."""
    rises = indices[1:] > indices[:-1]
    inside = slice(indptr.searchsorted(0, "right"), indptr.searchsorted(len(indices)))
    rises[indptr[inside] - 1] = True  # from one row to the next they may fall
    return bool(rises.all())


def canonical_csr(X: Any) -> CSR:
    """The arrays of a valid CSR matrix with the dtypes that kernels read."""
    for size, what in zip(X.shape, ("rows", "columns"), strict=True):
        if size > MAX_INDEX:
            raise ValueError(f"at most {MAX_INDEX} {what} are supported, got {size}.")
    nnz = int(X.indptr[-1])
    return CSR(
        np.ascontiguousarray(X.indptr, dtype=np.int64),
        np.ascontiguousarray(X.indices[:nnz], dtype=np.int32),
        np.ascontiguousarray(X.data[:nnz], dtype=np.float32),
        (int(X.shape[0]), int(X.shape[1])),
    )


def check_weights(sample_weight: Any, n_samples: int) -> np.ndarray:
    """Non-negative float32 weights, ones if `sample_weight` is None.

    Scaled to a mean of 1 over the positive ones, so that neither the scale nor samples of weight 0
    change anything.

    Raises
    ------
    ValueError
        Wrong shape, a negative or non-finite weight, or no positive weight at all.
    """
    if sample_weight is None:
        return np.ones(n_samples, dtype=np.float32)
    weight = _check_sample_weight(sample_weight, np.empty((n_samples, 1)), dtype=np.float64)
    if (weight < 0).any():
        place = int(np.argmax(weight < 0))
        raise ValueError(f"Negative values in data passed to `sample_weight`: {weight[place]} at "
                         f"position {place}.")
    largest = weight.max()
    if largest == 0:
        raise ValueError("sample_weight must have at least one positive entry; all are zero.")
    weight = weight / largest
    return (weight / weight[weight > 0].mean()).astype(np.float32)
