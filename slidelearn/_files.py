"""Opening and replacing files, whatever is in them."""

import bz2
import gzip
import os
import stat
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
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
        The file to create or to replace, whose permissions are kept; its directory must exist.
        What is there but no file, such as a pipe or /dev/null, is written into as it is.

    Yields
    ------
    stream : binary file object
        Open for writing.
    """
    with replacing_all([path]) as (stream,):
        yield stream


@contextmanager
def replacing_all(paths: Sequence[str | os.PathLike[str]]) -> Iterator[list[BinaryIO]]:
    """Write files that belong together, each as `replacing` does.

    All are complete before the first replaces its older one; the others follow at once. If one of
    these replacements fails, those before it have been made.

    Parameters
    ----------
    paths : sequence of str or path-like

    Yields
    ------
    streams : list of binary file objects
    """
    with ExitStack() as stack:
        streams: list[BinaryIO] = []
        complete: list[tuple[Path, Path, str | os.PathLike[str]]] = []
        for path in paths:
            if os.path.exists(path) and not os.path.isfile(path):
                streams.append(stack.enter_context(open(path, "wb")))
                continue
            target = Path(os.path.realpath(path))
            temporary = target.with_name(f".{uuid.uuid4().hex}.tmp")
            with _errors_naming(path):
                mode = _permissions(target)
                create = partial(os.open, mode=0o666 if mode is None else mode)
                stack.callback(temporary.unlink, missing_ok=True)
                streams.append(stack.enter_context(open(temporary, "xb", opener=create)))
                if mode is not None:
                    os.chmod(temporary, mode)  # what the umask took away
            complete.append((temporary, target, path))
        yield streams
        for stream in streams:
            stream.close()
        for temporary, target, path in complete:
            with _errors_naming(path):
                os.replace(temporary, target)


@contextmanager
def _errors_naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Let errors name the file that was asked for, not a temporary one or what a link leads to."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise type(error)(error.errno, error.strerror, os.fspath(path)) from None


def _permissions(path: Path) -> int | None:
    """Return the permissions of a file, None if there is none."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return None
