"""Signals of child processes."""

import signal


def as_usual():
    """`preexec_fn` of children that get signals: under nohup, or in the background of a script,
    they would inherit that some are ignored."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        signal.signal(getattr(signal, name), signal.SIG_DFL)
