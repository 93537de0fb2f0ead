"""Which classes are alike: nearest rows of the output layer, by cosine."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import _prediction
from ._bfloat16 import as_float32
from ._network import Layer, Network

CHUNK_FLOATS = 2**22  # of the output layer, normalised at a time: 16 MiB


def class_indices(labels: Any, classes: np.ndarray, multilabel: bool = False) -> np.ndarray:
    """Places of `labels` in the sorted `classes`, in the shape of `labels`.

    Raises
    ------
    ValueError
        `labels` has more than one dimension, or one that isn't in `classes`.
    """
    wanted = np.asarray(labels)
    if wanted.ndim > 1:
        raise ValueError(f"labels must be a label or a 1-D array of labels, got an array of shape "
                         f"{wanted.shape}.")
    if wanted.size == 0:
        return np.empty(wanted.shape, np.intp)
    if (wanted.dtype.kind in "OUS") != (classes.dtype.kind in "OUS"):
        columns = " (column numbers of the indicator)" if multilabel else ""
        raise ValueError(f"labels are of dtype {wanted.dtype}, but classes_ of {classes.dtype}"
                         f"{columns}.")
    if wanted.dtype.kind == "O":
        for label in wanted.ravel():
            if not isinstance(label, str):
                raise ValueError(f"{label!r} is none of the {len(classes)} classes of this model, "
                                 "which are strings.")
    places = np.minimum(np.searchsorted(classes, wanted), len(classes) - 1)
    unknown = np.ravel(classes[places] != wanted)
    if unknown.any():
        raise ValueError(f"{wanted.ravel()[unknown].tolist()[0]!r} is none of the {len(classes)} "
                         "classes of this model.")
    return places


def nearest_rows(weights: np.ndarray, rows: np.ndarray, k: int, n_threads: int) -> (
        tuple[np.ndarray, np.ndarray]):
    """The k rows with the greatest cosine with each of `rows`, without itself.

    Exact; beside the result it needs at most some 100 MiB, however many rows there are, as both
    sides are normalised in parts. A row of zeros has cosine 0 with all others.

    Parameters
    ----------
    weights : ndarray of shape (n_classes, width), float32 or bfloat16
    rows : ndarray of shape (n,), int
    k : int, less than n_classes

    Returns
    -------
    places : ndarray of shape (n, k), int64, best first; ties in ascending order
    cosines : ndarray of shape (n, k), float32
    """
    places, cosines = np.empty((len(rows), k), np.int64), np.empty((len(rows), k), np.float32)
    size = max(1, CHUNK_FLOATS // (weights.shape[1] + 4 * k))
    for start in range(0, len(rows), size):
        part = slice(start, start + size)
        places[part], cosines[part] = _nearest_rows_of(weights, rows[part], k, n_threads)
    return places, cosines


def _nearest_rows_of(weights: np.ndarray, rows: np.ndarray, k: int,
                     n_threads: int) -> tuple[np.ndarray, np.ndarray]:
    queries = _normalised(as_float32(weights[rows]))
    size = max(1, CHUNK_FLOATS // weights.shape[1])
    places = np.empty((len(rows), 0), np.int32)
    cosines = np.empty((len(rows), 0), np.float32)
    for start in range(0, len(weights), size):
        chunk = _normalised(as_float32(weights[start:start + size]))
        layer = Layer(chunk, np.zeros(len(chunk), np.float32))
        found, scores = _prediction.topk_of_activations(Network([layer]), queries,
                                                        min(k + 1, len(chunk)), n_threads)
        places = np.hstack([places, found + np.int32(start)])
        cosines = np.hstack([cosines, scores])
        # A row is not its own neighbour; ranked last, it falls off below.
        cosines[places == rows[:, None]] = -np.inf
        places, cosines = _prediction.best_of(places, cosines, min(k + 1, places.shape[1]),
                                              n_threads)
    return places[:, :k], cosines[:, :k].clip(-1, 1)


def _normalised(rows: np.ndarray) -> np.ndarray:
    norms = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
    norms[norms == 0] = 1
    return np.divide(rows, norms[:, None], out=np.empty(rows.shape, np.float32),
                     casting="same_kind")
