"""The command line: `slidelearn train|predict|evaluate|convert|export`.

`_parser` knows the options, `_options` those of the model; `_train`, `_predict`, `_convert` and
`_export` do the work on what `_data` and `_models` read and write; every expected error is a
`UserError`.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TextIO

from ._errors import UserError, one_line
from ._parser import make_parser

__all__ = ["main"]

UNEXPECTED, USAGE, INTERRUPTED, BROKEN_PIPE = 1, 2, 130, 141  # 128 + the signal's number
ENDING = ("SIGTERM", "SIGHUP")  # signals that end the program as Ctrl-C does


class Terminated(BaseException):
    """Raised where one of these signals arrives."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, default=None
        The arguments, by default those of the program.

    Returns
    -------
    code : int
        What the program should exit with.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    with warnings.catch_warnings(), _signals_as_exceptions():
        warnings.showwarning = _show_warning
        try:
            args = make_parser().parse_args(argv)
            args.command(args)
            sys.stdout.flush()
            return 0
        except BrokenPipeError:  # whoever read our output has seen enough
            _close_stdout()
            return BROKEN_PIPE
        except (Exception, KeyboardInterrupt, Terminated) as error:
            code, message = _explained(error)
            if "--debug" in argv:
                traceback.print_exc()
    print(f"slidelearn: error: {message}", file=sys.stderr)
    return code


def _explained(error: BaseException) -> tuple[int, str]:
    """Return exit code and message for an error."""
    if isinstance(error, UserError):
        return USAGE, one_line(error)
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED, "interrupted"
    if isinstance(error, Terminated):
        return 128 + error.number, f"ended by {signal.Signals(error.number).name}"
    return UNEXPECTED, (f"{type(error).__name__}: {one_line(error)} (--debug shows where)")


@contextmanager
def _signals_as_exceptions() -> Iterator[None]:
    """Let signals that would end the process at once raise `Terminated`, so that unfinished files
    are removed. What somebody else handles or ignores (nohup) is left alone."""
    def end(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)
        raise Terminated(number)

    numbers: list[signal.Signals] = []
    if threading.current_thread() is threading.main_thread():
        numbers = [getattr(signal, name) for name in ENDING if hasattr(signal, name)]
    numbers = [one for one in numbers if signal.getsignal(one) is signal.SIG_DFL]
    for number in numbers:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


def _show_warning(message: Warning | str, category: type[Warning], filename: str, lineno: int,
                  file: TextIO | None = None, line: str | None = None) -> None:
    """Print a warning in one line, without the place in the code."""
    print(f"slidelearn: warning: {one_line(message)}", file=sys.stderr)


def _close_stdout() -> None:
    """Keep the interpreter, when it exits, from failing to flush as well."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
