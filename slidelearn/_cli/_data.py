"""Data files: which format one has, its shape, and its rows a part at a time."""

from __future__ import annotations

import os
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from .._files import compressed_for, replacing, replacing_all
from ..datasets import iter_xmc_file, load_xmc_file
from ..datasets._svmlight import (
    count_svmlight_rows,
    iter_svmlight_file,
    scan_svmlight_file,
    unlimited,
)
from ..datasets._xmc import (
    BadFileError,
    Header,
    checked_features,
    checked_indicator,
    opened,
    read_header,
    write_rows,
)
from ._errors import UserError, about

Chunks = Iterator[tuple[sp.csr_matrix, sp.csr_matrix]]

FORMATS = ("xmc", "svmlight", "npz")
_BY_SUFFIX = {".txt": "xmc", ".xmc": "xmc", ".svm": "svmlight", ".svmlight": "svmlight",
              ".libsvm": "svmlight", ".npz": "npz"}


class Data(ABC):
    """Rows of features and labels that a file holds.

    Attributes
    ----------
    path : str
    header : Header
        The shape; `n_samples` is 0 if only reading the whole file would tell.
    """

    path: str
    header: Header

    def chunks(self, size: int) -> Chunks:
        """Yield X and Y of at most `size` rows at a time."""
        with about(self.path):
            yield from self._chunks(size)

    @abstractmethod
    def _chunks(self, size: int) -> Chunks: ...

    def load(self) -> tuple[sp.csr_matrix, sp.csr_matrix]:
        """Return X and Y of all rows."""
        return stacked(self.chunks(65_536), self.header)


class XmcData(Data):
    """A file of the Extreme Classification Repository."""

    def __init__(self, path: str) -> None:
        _check_regular(path)
        self.path = path
        with about(path), opened(path) as (stream, name):
            self.header = read_header(stream, name)

    def _chunks(self, size: int) -> Chunks:
        return iter_xmc_file(self.path, chunk_size=size)

    def load(self) -> tuple[sp.csr_matrix, sp.csr_matrix]:
        """Return X and Y of all rows."""
        with about(self.path):
            return load_xmc_file(self.path)


class SvmlightData(Data):
    """A svmlight file with label lists; the header comes from elsewhere, or from a scan."""

    def __init__(self, path: str, header: Header) -> None:
        self.path, self.header = path, header

    @classmethod
    def scanned(cls, path: str, first_feature: int, n_features: int | None = None,
                n_labels: int | None = None) -> SvmlightData:
        """Find the shape, as far as it isn't given, by going through the file once."""
        _check_regular(path)
        with about(path):
            if n_features is not None and n_labels is not None:
                header = Header(count_svmlight_rows(path), n_features, n_labels, first_feature)
            else:
                header = scan_svmlight_file(path, first_feature)
        return cls(path, replace(
            header, origin="the options",
            n_features=header.n_features if n_features is None else n_features,
            n_labels=header.n_labels if n_labels is None else n_labels))

    def _chunks(self, size: int) -> Chunks:
        return iter_svmlight_file(self.path, self.header, chunk_size=size)


class NpzData(Data):
    """Two files of scipy.sparse.save_npz, read whole; without labels Y has no columns."""

    def __init__(self, path: str, labels_path: str | None) -> None:
        self.path = path
        matrix = load_npz(path)
        if matrix.dtype.kind not in "biuf":
            raise UserError(f"{path}: features must be real numbers, got {matrix.dtype}")
        with about(path):
            self._X = checked_features(matrix.astype(np.float32))
        n_samples = self._X.shape[0]
        self._Y = sp.csr_matrix((n_samples, 0), dtype=np.float32)
        if labels_path is not None:
            self._Y = load_indicator(labels_path)
            if self._Y.shape[0] != n_samples:
                raise UserError(f"{labels_path}: {self._Y.shape[0]} rows, but {path} has "
                                f"{n_samples}")
        self.header = Header(n_samples, self._X.shape[1], self._Y.shape[1])

    def _chunks(self, size: int) -> Chunks:
        for start in range(0, self.header.n_samples, size):
            yield self._X[start:start + size], self._Y[start:start + size]

    def load(self) -> tuple[sp.csr_matrix, sp.csr_matrix]:
        """Return X and Y of all rows."""
        return self._X, self._Y


def open_data(path: str, kind: str, labels_path: str | None,
              svmlight: Callable[[str], SvmlightData], with_labels: bool = True) -> Data:
    """Open a file of the given format, or say that the labels are missing or too much.

    `svmlight` opens a svmlight file, whose shape comes from elsewhere. Only without `with_labels`
    can npz data do without the file of their labels.
    """
    if kind == "npz":
        if with_labels and labels_path is None:
            raise UserError(f"{path}: npz files hold features only; say --labels")
        return NpzData(path, labels_path)
    if labels_path is not None:
        raise UserError(f"{path} has labels of its own; --labels is for npz files")
    return XmcData(path) if kind == "xmc" else svmlight(path)


def format_of(path: str, forced: str | None = None) -> str:
    """Tell the format of a file that exists by its content, unless it is forced."""
    if forced is not None:
        return forced
    _check_regular(path, " unless --format is svmlight")
    with about(path), open(path, "rb") as raw:
        if raw.read(4).startswith(b"PK"):
            return "npz"
    with about(path), opened(path) as (stream, name):
        line = stream.readline()
        try:
            read_header(BytesIO(line), name)
        except BadFileError:
            if len(line.split()) > 1 and not line.translate(None, b"0123456789 \t\r\n"):
                raise  # numbers alone are no row, but a header that is wrong
            return "svmlight"
        return "xmc"


def _check_regular(path: str, unless: str = "") -> None:
    """Refuse pipes where a file is opened more than once."""
    if _is_special(path):
        raise UserError(f"{path}: must be a regular file{unless}, as it is read more than once")


def _is_special(path: str) -> bool:
    """Tell pipes and devices from files and directories, there or not."""
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)


def output_format(path: str, forced: str | None) -> str:
    """Tell the format of a file to be written by its name, unless it is forced."""
    if forced is not None:
        return forced
    name = Path(path)
    suffix = Path(name.stem).suffix if name.suffix in (".gz", ".bz2") else name.suffix
    if suffix not in _BY_SUFFIX:
        raise UserError(f"{path}: the name doesn't tell the format (.txt, .svm, .npz); say --to")
    return _BY_SUFFIX[suffix]


def stacked(chunks: Iterable[tuple[sp.csr_matrix, sp.csr_matrix]], header: Header
            ) -> tuple[sp.csr_matrix, sp.csr_matrix]:
    """Return the matrices of all chunks, one below the other."""
    empty = (sp.csr_matrix((0, columns), dtype=np.float32)
             for columns in (header.n_features, header.n_labels))
    X, Y = zip(empty, *chunks, strict=True)
    return sp.vstack(X, format="csr"), sp.vstack(Y, format="csr")


def load_indicator(path: str) -> sp.csr_matrix:
    """Read an npz file of labels."""
    matrix = load_npz(path)
    with about(path):
        return checked_indicator(matrix).astype(np.float32)


def load_npz(path: str) -> sp.csr_matrix:
    """Read a sparse matrix, and check that its arrays fit together."""
    with about(path):
        try:
            matrix = sp.load_npz(path)
        except (KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise ValueError(f"not a file of scipy.sparse.save_npz: {error}") from error
        if hasattr(matrix, "check_format"):
            matrix.check_format(full_check=True)
        return sp.csr_matrix(matrix)


# ---- writing ------------------------------------------------------------------------------


def check_outputs(outputs: Iterable[str | None], inputs: Iterable[str | None]) -> None:
    """Say before hours of work that a file can't be written, or would replace another of these.

    `outputs` and `inputs` are files as the user names them; None stands for one that isn't given.
    """
    others = [(path, "is an input, too, and would be overwritten") for path in inputs if path]
    for path in filter(None, outputs):
        for other, what in others:
            if _is_same_file(path, other):
                raise UserError(f"{path}: {what}")
        _check_writable(path)
        others.append((path, "two outputs can't be one file"))


def _is_same_file(path: str, other: str) -> bool:
    """Tell whether two names are of one file, there or not; pipes and devices may be shared."""
    if _is_special(path):
        return False
    if os.path.exists(path) and os.path.exists(other):
        return os.path.samefile(path, other)
    return os.path.realpath(path) == os.path.realpath(other)


def _check_writable(path: str) -> None:
    """Say before hours of work, rather than after, that a file can't be written."""
    folder = os.path.dirname(os.path.realpath(path))
    if _is_special(path):
        return
    if os.path.isdir(path):
        raise UserError(f"{path}: is a directory")
    if not os.path.isdir(folder):
        raise UserError(f"{path}: there is no directory {folder}")
    if not os.access(folder, os.W_OK):
        raise UserError(f"{path}: can't write into {folder}")


def write_text(path: str, chunks: Chunks, header: Header | None, first_feature: int) -> None:
    """Write lines as chunks come, below the header if there is one."""
    with replacing(path) as raw, compressed_for(path, raw) as stream:
        if header is not None:
            counts = header.n_samples, header.n_features, header.n_labels
            stream.write(b"%d %d %d\n" % counts)
        for X, Y in chunks:
            write_rows(X, Y, stream, first_feature)


def write_npz(path: str, labels_path: str, X: sp.csr_matrix, Y: sp.csr_matrix) -> None:
    """Write the two npz files; neither replaces an older one before both are complete."""
    with replacing_all([path, labels_path]) as (features, labels):
        sp.save_npz(features, X)
        sp.save_npz(labels, Y)


__all__ = ["FORMATS", "Data", "SvmlightData", "check_outputs", "format_of", "load_indicator",
           "open_data", "output_format", "stacked", "unlimited", "write_npz", "write_text"]
