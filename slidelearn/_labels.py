"""Between y as users write it and class indices."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.utils import assert_all_finite, column_or_1d
from sklearn.utils.multiclass import check_classification_targets, type_of_target

from ._validation import CSR, canonical_csr, valid_csr

BINARIZE = ("MultiLabelBinarizer(sparse_output=True) turns lists or sets of labels into an "
            "indicator.")
NO_NEW_CLASSES = ("Classes can't be added to a model that has begun to train: fit a new one, or "
                  "name all at the start (by classes in the first partial_fit, or by columns of an "
                  "indicator).")


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


def encode(y: Any, n_samples: int, classes: np.ndarray | None = None, *, empty: bool = False,
           multilabel: bool | None = None) -> Targets:
    """Validate y and turn it into class indices.

    Parameters
    ----------
    y : array-like of shape (n_samples,) or {array-like, sparse} of shape (n_samples, n_classes)
        Labels of any dtype, or an indicator of zeros and ones.
    n_samples : int, the number of rows of X
    classes : ndarray of shape (n_classes,) or None
        Known classes, to which y must belong; None to take them from y.
    empty : bool, default=False
        Whether an indicator may be without a single label.
    multilabel : bool or None
        Whether y must be an indicator, or must be labels; None if it may be either.

    Raises
    ------
    ValueError
        y is missing, has other than 0/1 in an indicator, a malformed sparse structure, labels
        that are not discrete, NaN, unknown classes, no labels at all, not one row a sample, or
        isn't of the kind asked for.
    """
    if y is None:
        raise ValueError("This SlideClassifier estimator requires y to be passed, but the target "
                         "y is None.")
    if getattr(y, "ndim", 0) == 2 and hasattr(y, "sparse"):  # pandas, of sparse columns alone
        y = y.sparse.to_coo()
    if not sp.issparse(y):
        y = _to_array(y)
        if y.ndim > 2:
            raise ValueError(f"y must have one or two dimensions, got an array of shape {y.shape}.")
        _refuse_label_sets(y)
    is_indicator = sp.issparse(y) or (y.ndim == 2 and y.shape[1] != 1)
    if multilabel is not None and is_indicator != multilabel:
        raise ValueError("y must be of the kind that the model was fitted with: "
                         + ("an indicator." if multilabel else "labels."))
    if sp.issparse(y):
        targets = _encode_sparse(y)
    else:
        targets = _encode_dense(y) if is_indicator else _encode_labels(y, classes)
    if not empty and len(targets.matrix.indices) == 0:
        raise ValueError("y has no labels at all: every row of the indicator is empty.")
    if targets.matrix.n_rows != n_samples:
        raise ValueError(f"X and y have inconsistent numbers of samples: X has {n_samples} and y "
                         f"has {targets.matrix.n_rows}.")
    if targets.multilabel and classes is not None:
        _check_indicator_classes(targets, classes)
    return targets


def _to_array(y: Any, name: str = "y") -> np.ndarray:
    if hasattr(y, "to_numpy"):  # pandas, polars
        extension = getattr(getattr(y, "dtype", None), "numpy_dtype", None)
        missing = extension is not None and y.isna().any()
        return y.to_numpy() if extension is None or missing else y.to_numpy(dtype=extension)
    try:
        array = np.asarray(y)
    except ValueError as error:
        what = "labels or an indicator of zeros and ones" if name == "y" else "labels"
        raise ValueError(f"{name} must be {what}, but its rows differ in length. {BINARIZE}"
                         ) from error
    if (isinstance(y, (list, tuple)) and array.ndim == 1 and array.dtype.kind in "US"
            and not all(isinstance(label, (str, bytes)) for label in y)):
        return np.asarray(y, dtype=object)  # NaN or a number among strings isn't their spelling
    return array


def _shown(value: Any) -> str:
    """How a user would write a label."""
    return repr(value.item() if isinstance(value, np.generic) else value)


def _refuse_label_sets(y: np.ndarray) -> None:
    if y.dtype.kind != "O" or y.ndim != 1:
        return
    for i, label in enumerate(y):
        if isinstance(label, (list, tuple, set, frozenset, np.ndarray)):
            raise ValueError(f"y must be labels or an indicator of zeros and ones, but y[{i}] is a "
                             f"{type(label).__name__}. {BINARIZE}")


def _encode_labels(y: np.ndarray, classes: Any) -> Targets:
    y = _checked_labels(y, "y")
    with _ordering(y, "y"):
        check_classification_targets(y)
        y = column_or_1d(y, warn=True)
        found, codes = np.unique(y, return_inverse=True)
    if len(y) == 0:
        raise ValueError("y has no samples.")
    if classes is not None:
        if (found.dtype.kind in "OUS") != (classes.dtype.kind in "OUS"):
            raise ValueError(f"y has labels of dtype {found.dtype}, but the known classes are of "
                             f"dtype {classes.dtype}.")
        unseen = np.setdiff1d(found, classes)
        if len(unseen):
            raise ValueError(f"y has {len(unseen)} label(s) that are not among the {len(classes)} "
                             f"known classes, for example {_shown(unseen[0])}. {NO_NEW_CLASSES}")
        codes = np.searchsorted(classes, found)[codes]
        found = classes
    n = len(y)
    matrix = CSR(np.arange(n + 1, dtype=np.int64), codes.astype(np.int32).ravel(),
                 np.ones(n, np.float32), (n, len(found)))
    return Targets(matrix, found, "labels")


def known_classes(classes: Any) -> np.ndarray:
    """The labels that the first `partial_fit` names, each once, in ascending order."""
    classes = _to_array(classes, "classes")
    if classes.ndim != 1 or len(classes) == 0:
        raise ValueError("classes must be a non-empty 1-D array of labels.")
    classes = _checked_labels(classes, "classes")
    with _ordering(classes, "classes"):
        classes = np.unique(classes)
    if classes.dtype.kind == "O" and not isinstance(classes[0], str):
        raise ValueError(f"classes has {_shown(classes[0])}, but labels that are objects must be "
                         "strings.")
    return classes


def _checked_labels(y: np.ndarray, name: str) -> np.ndarray:
    """Labels in the byte order of this machine, none of which is missing or of type bytes."""
    kind = y.dtype.kind
    if kind == "f":
        _check_all_finite(y, name)
    if kind in "mM" and np.isnat(y).any():
        raise ValueError(f"Input {name} contains NaT.\nThe first such value is "
                         f"{name}[{int(np.argmax(np.isnat(y).ravel()))}].")
    if kind == "S" or (kind == "O" and y.size and isinstance(y.flat[0], bytes)):
        raise TypeError(f"{name} has labels of type bytes, which scikit-learn doesn't support: "
                        f"decode them, for example by np.char.decode({name}).")
    if kind not in "biufcmMOU":
        raise TypeError(f"{name} has dtype {y.dtype}, which isn't supported for labels: convert "
                        f"them, for example by {name}.astype(object).")
    return y.astype(y.dtype.newbyteorder("="), copy=False)


@contextmanager
def _ordering(y: np.ndarray, name: str) -> Iterator[None]:
    """Say which labels can't be ordered when it turns out that some can't."""
    try:
        yield
    except TypeError as error:
        kinds = [type(label) for label in y.ravel().tolist()]
        place = next((i for i, kind in enumerate(kinds) if kind is not kinds[0]), None)
        if place is None:
            raise TypeError(f"{name} has labels of type {kinds[0].__name__}, which can't be "
                            "ordered.") from error
        raise TypeError(f"{name} mixes types that can't be ordered: {name}[0] is "
                        f"{_shown(y.flat[0])}, {name}[{place}] is {_shown(y.flat[place])}."
                        ) from error


def _encode_dense(y: np.ndarray) -> Targets:
    if y.dtype.kind not in "biuf":
        try:
            y = y.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(f"y has two dimensions, so it must be an indicator of zeros and ones, "
                             f"but its dtype is {y.dtype}. {BINARIZE}") from error
    if y.dtype.kind == "f":
        _check_all_finite(y)
    if y.dtype.kind != "b":
        wrong = (y != 0) & (y != 1)
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            kind = type_of_target(y)  # an indicator if there are two values, -1 and 1 for example
            prefix = "" if kind == "multilabel-indicator" else f"Unknown label type: {kind}. "
            raise ValueError(
                f"{prefix}y has two dimensions, so it must be an indicator of zeros and ones, but "
                f"y[{row}, {column}] is {_shown(y[row, column])}. {BINARIZE}"
            )
    return _indicator(sp.csr_matrix(y != 0), "dense")


def _encode_sparse(y: Any) -> Targets:
    kind = "array" if isinstance(y, sp.sparray) else "matrix"
    if y.dtype.kind not in "biuf":
        raise ValueError(f"y must be an indicator of zeros and ones, but its dtype is {y.dtype}.")
    given, y = y, valid_csr(y, "y")
    if y.nnz < given.nnz:  # some formats only lose explicit zeros
        _check_distinct(given)
    wrong = (y.data != 0) & (y.data != 1)
    if wrong.any():
        place = int(np.argmax(wrong))
        row = int(np.searchsorted(y.indptr, place, side="right")) - 1
        raise ValueError(f"y must be an indicator of zeros and ones, but y[{row}, "
                         f"{y.indices[place]}] is {y.data[place]}.")
    if not y.data.all():
        y = y.copy()
        y.eliminate_zeros()
    return _indicator(y, kind)


def _check_distinct(y: Any) -> None:
    """Raise ValueError if a sparse matrix has an entry twice."""
    y = y.tocoo(copy=False)
    order = np.lexsort((y.col, y.row))
    row, column = y.row[order], y.col[order]
    again = (row[1:] == row[:-1]) & (column[1:] == column[:-1])
    if again.any():
        place = int(np.argmax(again))
        raise ValueError(f"y has more than one entry for y[{row[place]}, {column[place]}].")


def _check_all_finite(y: np.ndarray, name: str = "y") -> None:
    try:
        assert_all_finite(y, input_name=name)
    except ValueError as error:
        place = ", ".join(str(i) for i in np.argwhere(~np.isfinite(y))[0])
        raise ValueError(f"{error}\nThe first such value is {name}[{place}].") from None


def _indicator(y: Any, kind: str) -> Targets:
    matrix = canonical_csr(y)
    if y.shape[1] == 0:
        raise ValueError("y has no columns, so there is no class to learn.")
    if matrix.n_rows == 0:
        raise ValueError("y has no samples.")
    return Targets(matrix, np.arange(y.shape[1]), kind)


def _check_indicator_classes(targets: Targets, classes: np.ndarray) -> None:
    if np.array_equal(classes, targets.classes):
        return
    n_columns, columns = len(targets.classes), np.arange(len(classes))
    if np.array_equal(classes, columns):
        hint = f" {NO_NEW_CLASSES}" if len(classes) < n_columns else ""
        raise ValueError(f"y is an indicator with {n_columns} columns, but the known classes are "
                         f"{len(classes)} columns.{hint}")
    raise ValueError(f"y is an indicator with {n_columns} columns, so the classes must be the "
                     f"column numbers 0 to {n_columns - 1}; the known ones begin with "
                     f"{_shown(classes[0])}.")


def decode_indicator(pairs: list[tuple[np.ndarray, np.ndarray]], shape: tuple[int, int],
                     kind: str) -> Any:
    """An indicator of the given `kind` (see `Targets`) from rows and columns of its ones; int64."""
    rows, columns = (np.concatenate(arrays).astype(np.int32)
                     for arrays in zip(*pairs, strict=True))
    matrix = sp.csr_array((np.ones(len(rows), np.int64), (rows, columns)), shape=shape)
    matrix.sort_indices()
    if kind == "array":
        return matrix
    return matrix.toarray() if kind == "dense" else sp.csr_matrix(matrix)
