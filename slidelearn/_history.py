"""What happened in each epoch of training: a table that pandas takes."""

from __future__ import annotations

from time import perf_counter

import numpy as np

from ._step import PHASES
from ._training import Trainer

DETERMINISTIC = ("epoch", "loss", "validation_score", "active_size", "rebuilds")
TIMES = ("samples_per_second", "seconds", *(f"seconds_{phase}" for phase in PHASES),
         "seconds_rebuild", "seconds_validation")
COLUMNS = (*DETERMINISTIC, *TIMES)
Table = dict[str, list[float]]


class History:
    """Collects the rows of `SlideClassifier.history_`.

    Parameters
    ----------
    before : dict of str to list
        The table of the epochs that the model has behind it, which isn't changed.

    Attributes
    ----------
    table : dict of str to list of float or int
        One list for each of `COLUMNS`, all of the same length.
    """

    def __init__(self, before: Table) -> None:
        self.table: Table = {name: list(before.get(name, ())) for name in COLUMNS}

    def start_epoch(self, trainer: Trainer) -> None:
        self._start = perf_counter()
        self._before = _counters(trainer)

    def end_epoch(self, trainer: Trainer, loss: float, n_samples: int) -> None:
        """Add a row: the epoch (as far as it got) had this mean loss over `n_samples`."""
        seconds = perf_counter() - self._start
        spent = {name: value - self._before[name] for name, value in _counters(trainer).items()}
        row = {
            "epoch": len(self.table["epoch"]) + 1, "loss": loss, "validation_score": np.nan,
            "active_size": spent.pop("active") / n_samples, "rebuilds": int(spent.pop("rebuilds")),
            "samples_per_second": n_samples / max(seconds, 1e-9), "seconds": seconds,
            "seconds_validation": 0.0, **spent,
        }
        for name, column in self.table.items():
            column.append(row[name])

    def validated(self, score: float, seconds: float) -> None:
        """Complete the last row."""
        self.table["validation_score"][-1] = score
        self.table["seconds_validation"][-1] = seconds

    @property
    def last(self) -> dict[str, float]:
        """The last row."""
        return {name: column[-1] for name, column in self.table.items()}


def _counters(trainer: Trainer) -> dict[str, float]:
    """What a trainer has counted since it was made."""
    sampler = trainer.sampler
    seconds = {f"seconds_{phase}": spent for phase, spent in trainer.phases.clock.seconds.items()}
    seconds["seconds_sampling"] -= sampler.rebuild_seconds
    return {"active": trainer.phases.n_active, "rebuilds": sampler.n_rebuilds, **seconds,
            "seconds_rebuild": sampler.rebuild_seconds}


def check_history(table: object) -> None:
    """Raise ValueError unless `table` can be a `SlideClassifier.history_`."""
    if isinstance(table, dict) and set(table) == set(COLUMNS):
        lengths = {len(column) if isinstance(column, list) else -1 for column in table.values()}
        if len(lengths) == 1 and lengths != {-1}:
            return
    raise ValueError("history_ must be a dict of lists of one length, with the keys "
                     f"{', '.join(COLUMNS)}.")
