"""What the user did wrong, in one line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from ..datasets._xmc import BadFileError


class UserError(Exception):
    """A message for the user; the program ends with exit code 2."""


@contextmanager
def about(path: str | os.PathLike[str]) -> Iterator[None]:
    """Let errors of the values of a file name the file, and its line if it is known."""
    try:
        yield
    except BadFileError as error:
        raise UserError(f"{error.name}:{error.line_number}: {error.what}") from error
    except (ValueError, TypeError) as error:
        what = one_line(error)
        raise UserError(what if what.startswith(f"{path}:") else f"{path}: {what}") from error
    except OSError as error:
        raise UserError(f"{error.filename or path}: {error.strerror or one_line(error)}") from error


def one_line(error: BaseException | str) -> str:
    """Return the message of an exception as one line, without a stop at its end."""
    return " ".join(str(error).split()).removesuffix(".") or type(error).__name__
