"""The text format of the Extreme Classification Repository: reading and writing, nothing else."""

import os
import re
import zlib
from array import array
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from gzip import BadGzipFile
from itertools import chain, islice, pairwise
from numbers import Integral
from typing import Any, BinaryIO, NoReturn

import numpy as np
import scipy.sparse as sp
from sklearn.datasets import load_svmlight_file

from .._files import compressed_for, open_for_reading, replacing
from .._validation import valid_csr

__all__ = ["dump_xmc_file", "iter_xmc_file", "load_xmc_file"]

_HEADER = re.compile(rb"[ \t]*(\d{1,18})[ \t]+(\d{1,18})[ \t]+(\d{1,18})[ \t]*\r?\n?")
_NUMBER = re.compile(rb"[-+.eE\d]+")
_INTEGER = re.compile(rb"[-+]?\d{1,100}")
_LINE_CHARACTERS = b"0123456789 ,:.+-eE\t\n"
_EMPTY_ROW = b"qid:0\n"  # what the svmlight reader takes for a row without labels and features
_ROWS_PER_BLOCK = 4096


@dataclass(frozen=True)
class Header:
    """What rows must fit: the three counts of the first line, or those of a file without it."""

    n_samples: int
    n_features: int
    n_labels: int
    first_feature: int = 0  # the number of the first feature: some svmlight files count from one
    origin: str = "the header"  # where the counts come from, for messages


class BadFileError(ValueError):
    """A line of a file doesn't follow the format.

    Parameters
    ----------
    name : str
        The file.
    line_number : int
        Counts from one.
    what : str
        What is wrong.
    """

    def __init__(self, name: str, line_number: int, what: str) -> None:
        super().__init__(name, line_number, what)
        self.name, self.line_number, self.what = name, line_number, what

    def __str__(self) -> str:
        return f"{self.name}, line {self.line_number}: {self.what}."


def load_xmc_file(
    path: str | os.PathLike[str] | BinaryIO, *, dtype: Any = np.float32
) -> tuple[sp.csr_matrix, sp.csr_matrix]:
    """Load a data set of the Extreme Classification Repository.

    The first line of the file reads ``n_samples n_features n_labels``; each further line is a
    row ``label,label,... feature:value feature:value ...`` with numbers that count from zero.
    A row without labels starts with a blank or with its first feature, a row without features
    ends after its labels, and a row with neither is a line of blanks (one space is what
    :func:`dump_xmc_file` writes).

    Parameters
    ----------
    path : str, path-like or binary file object
        The file. Names that end in ``.gz`` or ``.bz2`` are decompressed on the fly. A file
        object must be open in binary mode; it is read from where it stands and stays open.
    dtype : {numpy.float32, numpy.float64}, default=numpy.float32
        Type of the feature values.

    Returns
    -------
    X : scipy.sparse.csr_matrix of shape (n_samples, n_features), dtype `dtype`
        Feature values, the columns of each row sorted. Zeros that the file spells out are
        stored.
    Y : scipy.sparse.csr_matrix of shape (n_samples, n_labels), dtype float32
        Label indicator: 1.0 where the row has the label, the columns of each row sorted. The
        type is that of the features, so that products such as ``Y.T @ X`` stay in it.

    Raises
    ------
    ValueError
        If the file does not follow the format; the message names the file and the line, which
        counts from one. Refused are: a garbled header, more or fewer rows than the header says,
        a totally empty line, a comment, a query id, a label or a feature that is negative, not
        an integer, too large for the header or given twice in one row, and a value that is not
        a number or not finite in `dtype`. Also if `dtype` is another type.
    TypeError
        If `path` is neither a name nor a file object.

    See Also
    --------
    dump_xmc_file : Writes such files.
    sklearn.datasets.load_svmlight_file : Reads the rows; knows no header.

    Notes
    -----
    The rows go through scikit-learn's compiled svmlight reader. Only when that or the checks
    after it fail, a slow second pass in Python finds the line to blame. Rows whose features are
    not sorted, and streams that cannot seek, are valid but take the slow pass.

    References
    ----------
    .. [1] K. Bhatia, K. Dahiya, H. Jain, P. Kar, A. Mittal, Y. Prabhu and M. Varma, "The
       extreme classification repository: multi-label datasets and code", 2016,
       http://manikvarma.org/downloads/XC/XMLRepository.html

    Examples
    --------
    >>> from io import BytesIO
    >>> from slidelearn.datasets import load_xmc_file
    >>> X, Y = load_xmc_file(BytesIO(b"2 3 4\\n0,3 1:0.5\\n 0:2 2:1\\n"))
    >>> X.toarray()
    array([[0. , 0.5, 0. ],
           [2. , 0. , 1. ]], dtype=float32)
    >>> Y.toarray()
    array([[1., 0., 0., 1.],
           [0., 0., 0., 0.]], dtype=float32)
    """
    dtype = _checked_dtype(dtype)
    _check_readable(path)
    with opened(path) as (stream, name):
        return _load(stream, name, dtype)


def iter_xmc_file(
    path: str | os.PathLike[str] | BinaryIO, *, chunk_size: int = 65_536, dtype: Any = np.float32
) -> Iterator[tuple[sp.csr_matrix, sp.csr_matrix]]:
    """Load a data set of the Extreme Classification Repository a part at a time.

    For files larger than memory: what is held is one part, as text and as matrices.

    Parameters
    ----------
    path : str, path-like or binary file object
        As for :func:`load_xmc_file`. The file is open while the iteration lasts.
    chunk_size : int, default=65_536
        Rows of each part; the last one may have fewer.
    dtype : {numpy.float32, numpy.float64}, default=numpy.float32
        Type of the feature values.

    Returns
    -------
    parts : iterator of (X, Y)
        Each as of :func:`load_xmc_file`, with at most `chunk_size` rows.

    Raises
    ------
    ValueError
        As for :func:`load_xmc_file`, when the iteration comes to the bad line. Also if
        `chunk_size` is not a positive integer.
    TypeError
        If `path` is neither a name nor a file object.

    See Also
    --------
    load_xmc_file : Loads all of the file, and describes the format.

    Examples
    --------
    >>> from io import BytesIO
    >>> from slidelearn.datasets import iter_xmc_file
    >>> file = BytesIO(b"3 3 4\\n0,3 1:0.5\\n 0:2 2:1\\n1 1:1\\n")
    >>> [X.shape for X, Y in iter_xmc_file(file, chunk_size=2)]
    [(2, 3), (1, 3)]
    """
    dtype = _checked_dtype(dtype)
    _check_readable(path)
    if isinstance(chunk_size, bool) or not isinstance(chunk_size, Integral) or chunk_size < 1:
        raise ValueError(f"chunk_size must be a positive integer, got {chunk_size!r}.")
    return _iterate(path, int(chunk_size), dtype)


def dump_xmc_file(X: Any, Y: Any, path: str | os.PathLike[str]) -> None:
    """Write a data set in the text format of the Extreme Classification Repository.

    Values are written with as many digits as it takes to read them back bit by bit: nine
    for float32, seventeen for float64.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Feature values. Of a sparse matrix all stored entries are written, zeros included.
        float16 and float32 are written as float32, all other types as float64.
    Y : {array-like, sparse matrix} of shape (n_samples, n_labels)
        Label indicator of zeros and ones (or booleans). Stored zeros are not labels.
    path : str or path-like
        The file to create or to replace. Names that end in ``.gz`` or ``.bz2`` are compressed.
        The file appears when it is complete: a failure leaves no half-written file behind.

    Raises
    ------
    ValueError
        If `X` or `Y` is not a two-dimensional matrix of real numbers, if their numbers of rows
        differ, if a sparse one is malformed, if `X` has values that are not finite, or `Y` others
        than 0 and 1.

    See Also
    --------
    load_xmc_file : Reads such files, and describes the format.
    """
    X, Y = checked_features(X), checked_indicator(Y)
    if X.shape[0] != Y.shape[0]:
        raise ValueError(f"X has {X.shape[0]} rows but Y has {Y.shape[0]}.")
    with replacing(path) as raw, compressed_for(path, raw) as stream:
        stream.write(b"%d %d %d\n" % (*X.shape, Y.shape[1]))
        write_rows(X, Y, stream)


def write_rows(
    X: sp.csr_matrix, Y: sp.csr_matrix, stream: BinaryIO, first_feature: int = 0
) -> None:
    """Write canonical matrices as lines, features counted from `first_feature`."""
    if first_feature:
        shape = (X.shape[0], X.shape[1] + first_feature)
        X = sp.csr_matrix((X.data, X.indices + first_feature, X.indptr), shape=shape)
    for start in range(0, X.shape[0], _ROWS_PER_BLOCK):
        stop = min(start + _ROWS_PER_BLOCK, X.shape[0])
        stream.write(_block(X, Y, start, stop).encode("ascii"))


# ---- reading ------------------------------------------------------------------------------


def _checked_dtype(dtype: Any) -> np.dtype:
    """Return the type of feature values."""
    dtype = np.dtype(dtype)
    if dtype not in (np.float32, np.float64):
        raise ValueError(f"dtype must be float32 or float64, got {dtype}.")
    return dtype


def _check_readable(path: Any) -> None:
    """Raise unless it is the name of a file or a file object."""
    if not isinstance(path, str | os.PathLike) and not hasattr(path, "readline"):
        raise TypeError("path must be a str, a path-like or a binary file object, got "
                        f"{type(path).__name__}.")


@contextmanager
def opened(path: str | os.PathLike[str] | BinaryIO) -> Iterator[tuple[BinaryIO, str]]:
    """Open a file unless it is open, and say its name."""
    if isinstance(path, str | os.PathLike):
        context: Any = open_for_reading(path)
        name = os.fspath(path)
    else:
        context, name = nullcontext(path), str(getattr(path, "name", "<file object>"))
    with context as stream:
        try:
            yield stream, name
        except (EOFError, zlib.error, OSError) as error:
            if isinstance(error, OSError) and not _is_damage(error):
                raise
            raise ValueError(f"{name}: the compressed file is damaged: {error}") from error


def _is_damage(error: OSError) -> bool:
    """Tell bytes that gzip or bz2 can't read from a failure to read any."""
    return isinstance(error, BadGzipFile) or error.args == ("Invalid data stream",)  # bz2's


def _load(stream: Any, name: str, dtype: np.dtype) -> tuple[sp.csr_matrix, sp.csr_matrix]:
    """Read header and rows; the slow parser has the last word on everything unusual."""
    header = read_header(stream, name)
    if not stream.seekable():
        return _parse_slowly(stream, name, header, dtype)
    start = stream.tell()
    try:
        return _parse_fast(stream, header, dtype)
    except (ValueError, OverflowError):
        stream.seek(start)
        return _parse_slowly(stream, name, header, dtype)


def _iterate(
    path: str | os.PathLike[str] | BinaryIO, chunk_size: int, dtype: np.dtype
) -> Iterator[tuple[sp.csr_matrix, sp.csr_matrix]]:
    """Read header and rows a part at a time."""
    with opened(path) as (stream, name):
        header = read_header(stream, name)
        lines = _counted_lines(stream, name, header)
        yield from parse_chunks(lines, name, header, chunk_size, dtype)


def parse_chunks(
    lines: Iterator[tuple[int, bytes]],
    name: str,
    header: Header,
    chunk_size: int,
    dtype: np.dtype,
) -> Iterator[tuple[sp.csr_matrix, sp.csr_matrix]]:
    """Read numbered lines, `chunk_size` at a time; `header.n_samples` is not looked at.

    Nothing of a chunk is kept while the next one is read, unless whoever iterates keeps it.
    """
    def parse(chunk: list[tuple[int, bytes]]) -> tuple[sp.csr_matrix, sp.csr_matrix]:
        part = replace(header, n_samples=len(chunk))
        try:
            return _parse_fast([line for _, line in chunk], part, dtype)
        except (ValueError, OverflowError):
            return _parse_lines(chunk, name, part, dtype)

    for first in lines:
        yield parse([first, *islice(lines, chunk_size - 1)])


def read_header(stream: Any, name: str) -> Header:
    """Read the first line."""
    line = stream.readline()
    if not isinstance(line, bytes):
        raise ValueError(f"{name}: the file must be open in binary mode.")
    match = _HEADER.fullmatch(line)
    if match is None:
        found = f"got {_shown(line.rstrip())}" if line else "but the file is empty"
        _blame(name, 1, f"expected the header 'n_samples n_features n_labels', {found}")
    n_samples, n_features, n_labels = map(int, match.groups())
    return Header(n_samples, n_features, n_labels)


def _blame(name: str, line_number: int, what: str) -> NoReturn:
    """Refuse the file."""
    raise BadFileError(name, line_number, what)


def _shown(text: bytes) -> str:
    """Quote a piece of the file for a message."""
    return repr(text[:40].decode("utf-8", "replace")) + ("..." if len(text) > 40 else "")


class _VettedLines:
    """Lines of a stream on their way to the svmlight reader.

    The reader drops comments, query ids and blank lines without a word and takes all spellings
    that Python has for numbers. This raises ValueError for each line that could hold them, and
    hands over rows without labels and features in a spelling that the reader does not drop.
    """

    def __init__(self, stream: Iterable[bytes]) -> None:
        self._stream = stream

    def read(self) -> NoReturn:
        """Exist, so that scikit-learn takes the object for a file; it iterates only."""
        raise NotImplementedError

    def __iter__(self) -> Iterator[bytes]:
        for line in self._stream:
            foreign = line.translate(None, _LINE_CHARACTERS)
            if foreign and not (foreign == b"\r" and line.endswith(b"\r\n")):
                raise ValueError("characters that no row has")
            if line[0] in b" \t\r\n" and not line.strip():
                if not line.strip(b"\r\n"):
                    raise ValueError("blank line")
                line = _EMPTY_ROW
            yield line


def _parse_fast(
    stream: Iterable[bytes], header: Header, dtype: np.dtype
) -> tuple[sp.csr_matrix, sp.csr_matrix]:
    """Read the rows at compiled speed, or raise ValueError if anything is out of the ordinary."""
    X, rows = load_svmlight_file(
        _VettedLines(stream),
        n_features=max(header.n_features + header.first_feature, 1),
        dtype=dtype,
        multilabel=True,
        zero_based=True,
    )
    counts = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
    labels = np.fromiter(chain.from_iterable(rows), dtype=np.float64, count=counts.sum())
    if header.first_feature:
        X.indices -= header.first_feature
    columns_in_range = ((X.indices >= 0) & (X.indices < header.n_features)).all()
    labels_in_range = ((labels >= 0) & (labels < header.n_labels)).all()
    if X.shape[0] != header.n_samples or not columns_in_range or not labels_in_range:
        raise ValueError("the file does not fit its header")
    label_indptr = np.concatenate(([0], np.cumsum(counts)))
    columns = labels.astype(np.int64)
    if not np.isfinite(X.data).all() or (columns != labels).any():
        raise ValueError("a value is not finite or a label no integer")
    if _has_repeats(columns, label_indptr):
        raise ValueError("a label is given twice")
    return _assembled(header, X.data, X.indices, X.indptr, columns, label_indptr)


def _has_repeats(columns: np.ndarray, indptr: np.ndarray) -> bool:
    """Tell whether a row of sorted columns has one twice."""
    equal = columns[1:] == columns[:-1]
    starts = indptr[1:-1]
    equal[starts[(starts > 0) & (starts < len(columns))] - 1] = False
    return bool(equal.any())


def _assembled(
    header: Header,
    data: np.ndarray,
    indices: np.ndarray,
    indptr: np.ndarray,
    labels: np.ndarray,
    label_indptr: np.ndarray,
) -> tuple[sp.csr_matrix, sp.csr_matrix]:
    """Make the two matrices from their parts."""
    X = sp.csr_matrix((data, indices, indptr), shape=(header.n_samples, header.n_features))
    ones = np.ones(len(labels), dtype=np.float32)
    Y = sp.csr_matrix((ones, labels, label_indptr), shape=(header.n_samples, header.n_labels))
    for matrix in (X, Y):
        matrix.has_sorted_indices = matrix.has_canonical_format = True
    return X, Y


class _BadRow(Exception):
    """What is wrong with a row."""


def _parse_slowly(
    stream: Any, name: str, header: Header, dtype: np.dtype
) -> tuple[sp.csr_matrix, sp.csr_matrix]:
    """Read all rows in Python, or blame the first bad line."""
    return _parse_lines(_counted_lines(stream, name, header), name, header, dtype)


def _counted_lines(
    stream: Iterable[bytes], name: str, header: Header
) -> Iterator[tuple[int, bytes]]:
    """Number the lines after the header, and blame what isn't as many rows as it says."""
    line_number = 1
    for line_number, line in enumerate(stream, start=2):
        if line_number - 1 > header.n_samples:
            _blame(name, line_number, f"more rows than the {header.n_samples} of the header")
        yield line_number, line
    if line_number - 1 < header.n_samples:
        found = f"the file ends after {line_number - 1} of the {header.n_samples} rows"
        _blame(name, line_number + 1, f"{found} of the header")


def _parse_lines(
    lines: Iterable[tuple[int, bytes]], name: str, header: Header, dtype: np.dtype
) -> tuple[sp.csr_matrix, sp.csr_matrix]:
    """Read numbered lines in Python, or blame the first bad one."""
    labels, label_indptr = array("q"), array("q", [0])
    indices, indptr = array("q"), array("q", [0])
    data = [np.empty(0, dtype=dtype)]
    for line_number, line in lines:
        try:
            row_labels, row_indices, row_data = _parse_row(line, header, dtype)
        except _BadRow as bad:
            _blame(name, line_number, str(bad))
        labels.extend(row_labels)
        label_indptr.append(len(labels))
        indices.extend(row_indices)
        indptr.append(len(indices))
        data.append(row_data)
    parts = (np.array(part, dtype=np.int64) for part in (indices, indptr, labels, label_indptr))
    return _assembled(header, np.concatenate(data), *parts)


def _parse_row(
    line: bytes, header: Header, dtype: np.dtype
) -> tuple[list[int], list[int], np.ndarray]:
    """Take a line apart into sorted labels, sorted columns and their values."""
    content = line[:-1] if line.endswith(b"\n") else line
    content = content.removesuffix(b"\r")
    if not content:
        raise _BadRow("blank line (a row without labels and features is written as one space)")
    tokens = [token for token in content.replace(b"\t", b" ").split(b" ") if token]
    labels: list[int] = []
    if tokens and b":" not in tokens[0]:
        labels = sorted(_label(text, header) for text in tokens.pop(0).split(b","))
        _refuse_repeats("label", labels)
    columns = [_column(token, header) for token in tokens]
    order = sorted(range(len(columns)), key=columns.__getitem__)
    sorted_columns = [columns[position] for position in order]
    _refuse_repeats("feature", sorted_columns)
    values = _values(tokens, dtype)
    return labels, sorted_columns, values[order]


def _refuse_repeats(what: str, numbers: list[int]) -> None:
    """Raise if sorted numbers have one twice."""
    for first, second in pairwise(numbers):
        if first == second:
            raise _BadRow(f"{what} {first} is given twice")


def _float(text: bytes) -> float:
    """Read a number; NaN if it is none, or in a spelling that only Python knows."""
    try:
        return float(text) if _NUMBER.fullmatch(text) else float("nan")
    except ValueError:
        return float("nan")


def _label(text: bytes, header: Header) -> int:
    """Read one label."""
    value = _float(text)
    if not value.is_integer():
        raise _BadRow(f"label {_shown(text)} is not an integer")
    _check_range("label", int(value), 0, header.n_labels, header.origin)
    return int(value)


def _column(token: bytes, header: Header) -> int:
    """Read the feature number of a token ``feature:value``."""
    number, colon, _ = token.partition(b":")
    if not colon:
        raise _BadRow(f"expected 'feature:value', got {_shown(token)}")
    if not _INTEGER.fullmatch(number):
        raise _BadRow(f"feature {_shown(number)} is not an integer")
    first = header.first_feature
    _check_range("feature", int(number), first, header.n_features, header.origin)
    return int(number) - first


def _check_range(what: str, number: int, first: int, count: int, origin: str) -> None:
    """Raise unless the number is one of those that the header announces."""
    if not first <= number < first + count:
        limits = f"range {first} to {first + count - 1}" if count else "empty range"
        raise _BadRow(f"{what} {number} is outside the {limits} of {origin}")


def _values(tokens: list[bytes], dtype: np.dtype) -> np.ndarray:
    """Read the values of tokens ``feature:value``."""
    pairs = [token.split(b":", 1) for token in tokens]
    with np.errstate(over="ignore"):
        values = np.array([_float(text) for _, text in pairs], dtype=np.float64).astype(dtype)
    bad = ~np.isfinite(values)
    if bad.any():
        number, text = pairs[int(bad.argmax())]
        what = f"value {_shown(text)} of feature {int(number)}"
        raise _BadRow(f"{what} is not a finite number in {dtype}")
    return values


# ---- writing ------------------------------------------------------------------------------


def _checked_csr(matrix: Any, name: str) -> sp.csr_matrix:
    """Return a two-dimensional matrix of real numbers as canonical CSR."""
    if not sp.issparse(matrix):
        matrix = np.asarray(matrix)
    if matrix.ndim != 2 or matrix.dtype.kind not in "biuf":
        found = f"{matrix.ndim} dimensions of type {matrix.dtype}"
        raise ValueError(f"{name} must be a two-dimensional matrix of real numbers, got {found}.")
    return valid_csr(matrix, name)


def checked_features(X: Any) -> sp.csr_matrix:
    """Return `X` as finite canonical CSR of float32 or float64."""
    csr = _checked_csr(X, "X")
    is_single = csr.dtype.kind == "f" and csr.dtype.itemsize <= 4
    csr = csr.astype(np.float32 if is_single else np.float64)
    _refuse_entries(csr, ~np.isfinite(csr.data), "X", "only finite values are supported")
    return csr


def checked_indicator(Y: Any) -> sp.csr_matrix:
    """Return `Y` as canonical CSR of ones."""
    csr = _checked_csr(Y, "Y")
    _refuse_entries(csr, (csr.data != 0) & (csr.data != 1), "Y", "an indicator has only 0 and 1")
    if not csr.data.all():
        csr = csr.copy()
        csr.eliminate_zeros()
    return csr


def _refuse_entries(csr: sp.csr_matrix, bad: np.ndarray, name: str, rule: str) -> None:
    """Raise naming the first bad entry, if there is one."""
    if bad.any():
        entry = int(bad.argmax())
        row = int(np.searchsorted(csr.indptr, entry, side="right")) - 1
        where = f"{name}[{row}, {csr.indices[entry]}]"
        raise ValueError(f"{where} is {csr.data[entry]}: {rule}.")


def _block(X: sp.csr_matrix, Y: sp.csr_matrix, start: int, stop: int) -> str:
    """Write the rows from `start` to `stop`."""
    features, labels = X.indptr[start : stop + 1], Y.indptr[start : stop + 1]
    pairs: list[Any] = [None] * (2 * int(features[-1] - features[0]))
    pairs[::2] = X.indices[features[0] : features[-1]].tolist()
    pairs[1::2] = X.data[features[0] : features[-1]].tolist()
    names = list(map(str, Y.indices[labels[0] : labels[-1]].tolist()))
    feature_ends = (2 * (features - features[0])).tolist()
    label_ends = (labels - labels[0]).tolist()
    pair = " %d:%.9g" if X.dtype == np.float32 else " %d:%.17g"
    lines = []
    for row in range(stop - start):
        first, last = feature_ends[row : row + 2]
        text = (pair * ((last - first) // 2)) % tuple(pairs[first:last])
        lines.append((",".join(names[label_ends[row] : label_ends[row + 1]]) + text) or " ")
    return "\n".join(lines) + "\n"
