"""Opening and replacing files, whatever is in them."""

import bz2
import gzip
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast


def open_for_reading(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a file in binary mode, decompressing by its name.

    Parameters
    ----------
    path : str or path-like
        Names that end in ``.gz`` or ``.bz2`` are decompressed on the fly.

    Returns
    -------
    stream : binary file object
        The caller closes it.
    """
    suffix = Path(path).suffix
    if suffix == ".gz":
        return cast(BinaryIO, gzip.open(path, "rb"))
    if suffix == ".bz2":
        return cast(BinaryIO, bz2.open(path, "rb"))
    return open(path, "rb")


@contextmanager
def compressed_for(path: str | os.PathLike[str], stream: BinaryIO) -> Iterator[BinaryIO]:
    """Wrap a stream in the compressor that the name of a file asks for.

    Parameters
    ----------
    path : str or path-like
        Names that end in ``.gz`` or ``.bz2`` ask for compression.
    stream : binary file object
        Where the (compressed) bytes go. It stays open.

    Yields
    ------
    stream : binary file object
        What to write into. Equal input yields equal bytes: no name and no time is stored.
    """
    suffix = Path(path).suffix
    if suffix == ".gz":
        with gzip.GzipFile(filename="", mode="wb", fileobj=stream, mtime=0) as packed:
            yield cast(BinaryIO, packed)
    elif suffix == ".bz2":
        with bz2.BZ2File(stream, "wb") as packed:
            yield cast(BinaryIO, packed)
    else:
        yield stream


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Write a file that appears under its name whole, or not at all.

    The bytes go into a temporary file of the same directory, which replaces `path` at the end.
    When the body raises, the temporary file is removed and an older `path` stays as it was.

    Parameters
    ----------
    path : str or path-like
        The file to create or to replace; its directory must exist. What is there but no file,
        such as a pipe or /dev/null, is written into as it is.

    Yields
    ------
    stream : binary file object
        Open for writing.
    """
    if os.path.exists(path) and not os.path.isfile(path):
        with open(path, "wb") as stream:
            yield stream
        return
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "xb") as stream:
            yield stream
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
