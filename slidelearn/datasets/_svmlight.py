"""Multi-label svmlight text a part at a time: rows as in XMC files, without the header."""

import os
from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp

from ._xmc import Header, opened, parse_chunks

NO_LIMIT = 2**31 - 2  # the largest number of columns whose every index, and one more, is an int32


def iter_svmlight_file(
    path: str | os.PathLike[str], header: Header, *, chunk_size: int = 65_536
) -> Iterator[tuple[sp.csr_matrix, sp.csr_matrix]]:
    """Load a multi-label svmlight file a part at a time.

    Rows are those of :func:`load_xmc_file`. Comments (from ``#`` to the end of the line) are left
    out, and lines that are nothing else are skipped. Query ids are refused.

    Parameters
    ----------
    path : str or path-like
        Names that end in ``.gz`` or ``.bz2`` are decompressed on the fly.
    header : Header
        Columns of the matrices; `n_samples` is not looked at.
    chunk_size : int, default=65_536
        Rows of each part; the last one may have fewer.

    Yields
    ------
    X : scipy.sparse.csr_matrix of shape (<= chunk_size, n_features), dtype float32
    Y : scipy.sparse.csr_matrix of shape (<= chunk_size, n_labels), dtype float32

    Raises
    ------
    ValueError
        As for :func:`load_xmc_file`.
    """
    with opened(path) as (stream, name):
        yield from parse_chunks(_rows(stream), name, header, chunk_size, np.dtype(np.float32))


def scan_svmlight_file(path: str | os.PathLike[str], first_feature: int = 0) -> Header:
    """Go through a svmlight file once and count its rows, features and labels.

    Parameters
    ----------
    path : str or path-like
        As for :func:`iter_svmlight_file`.
    first_feature : {0, 1}, default=0
        The number of the first feature.

    Returns
    -------
    header : Header
        The smallest that the file fits into.

    Raises
    ------
    ValueError
        As for :func:`load_xmc_file`.
    """
    n_samples = n_features = n_labels = 0
    for X, Y in iter_svmlight_file(path, unlimited(first_feature), chunk_size=4096):
        n_samples += X.shape[0]
        n_features = max(n_features, int(X.indices.max(initial=-1)) + 1)
        n_labels = max(n_labels, int(Y.indices.max(initial=-1)) + 1)
    return Header(n_samples, n_features, n_labels, first_feature)


def count_svmlight_rows(path: str | os.PathLike[str]) -> int:
    """Count the rows of a svmlight file without looking into them."""
    with opened(path) as (stream, _):
        return sum(1 for _ in _rows(stream))


def unlimited(first_feature: int = 0) -> Header:
    """Return the header that every svmlight file fits into."""
    return Header(0, NO_LIMIT, NO_LIMIT, first_feature, "svmlight files")


def _rows(stream: Iterator[bytes]) -> Iterator[tuple[int, bytes]]:
    """Number the lines, and leave out comments."""
    for line_number, line in enumerate(stream, start=1):
        row, mark, _ = line.partition(b"#")
        if not mark:
            yield line_number, line
        elif row.strip():
            yield line_number, row + b"\n"
