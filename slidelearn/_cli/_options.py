"""The parameters of SlideClassifier as options: names, types, defaults and help from its code."""

from __future__ import annotations

import argparse
import inspect
import re
from numbers import Integral
from typing import Any

from .._classifier import SlideClassifier
from .._compat import Interval, StrOptions
from .._parameters import CONSTRAINTS

ELSEWHERE = {"random_state", "n_jobs", "verbose"}  # --seed, --threads, --quiet


def estimator_parameters() -> dict[str, Any]:
    """Return names and defaults of the parameters that are options."""
    parameters = inspect.signature(SlideClassifier).parameters.values()
    return {one.name: one.default for one in parameters if one.name not in ELSEWHERE}


def add_estimator_options(parser: argparse.ArgumentParser) -> None:
    """Give a parser an option for each parameter."""
    group = parser.add_argument_group(
        "parameters of the model", "Those of slidelearn.SlideClassifier, whose documentation says "
        "more about each.")
    texts = _descriptions()
    for name, default in estimator_parameters().items():
        how: dict[str, Any] = {"default": default, "dest": name,
                               "help": f"{texts.get(name, '')} (default: {_written(default)})"}
        if CONSTRAINTS[name] == ["boolean"]:
            how["action"] = argparse.BooleanOptionalAction
        elif name == "hidden_layer_sizes":
            how.update(type=_widths, metavar="INT[,INT...]")
        else:
            how["type"] = _Value(CONSTRAINTS[name])
            how["metavar"] = how["type"].metavar
        group.add_argument("--" + name.replace("_", "-"), **how)


def _written(value: Any) -> str:
    """Return a value as it is written on the command line."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _widths(text: str) -> tuple[int, ...]:
    """Read the widths of layers."""
    widths = tuple(map(int, text.split(",")))
    if min(widths) < 1:
        raise ValueError("a layer without neurons")
    return widths


_widths.__name__ = "widths of layers"  # argparse quotes the name of a type


class _Value:
    """Reads a value as the constraints of a parameter allow it."""

    def __init__(self, constraints: list[Any]) -> None:
        self._constraints = [one for one in constraints if one not in (dict, "array-like")]
        words: list[str] = []
        for one in self._constraints:
            if isinstance(one, StrOptions):
                words += sorted(one.options)
            elif isinstance(one, Interval):
                words.append("INT" if one.type is Integral else "FLOAT")
        if None in self._constraints:
            words.append("none")
        self.metavar = words[0] if len(words) == 1 else "{" + ",".join(words) + "}"

    def __call__(self, text: str) -> Any:
        for constraint in self._constraints:
            try:
                value = _as(constraint, text)
            except ValueError:
                continue
            if constraint is None or constraint.is_satisfied_by(value):
                return value
        allowed = " or ".join(str(one) if one is not None else "none"
                              for one in self._constraints)
        raise argparse.ArgumentTypeError(f"{text!r} is not {allowed}")


def _as(constraint: Any, text: str) -> Any:
    """Read the text as a constraint wants it, or raise ValueError."""
    if constraint is None:
        if text != "none":
            raise ValueError(text)
        return None
    if isinstance(constraint, Interval):
        return int(text) if constraint.type is Integral else float(text)
    return text


def _descriptions() -> dict[str, str]:
    """Return the first sentence that the docstring has about each parameter."""
    text = inspect.cleandoc(SlideClassifier.__doc__ or "")
    section = text.partition("Parameters\n----------\n")[2].partition("\nAttributes\n---")[0]
    found = re.findall(r"^(\w+) : .*(?:\\\n.*)?\n((?:(?: {4}.*)?\n)+)", section, re.MULTILINE)
    return {name: _brief(description) for name, description in found}


def _brief(description: str) -> str:
    """Return the first sentence of a description, as argparse wants it."""
    if description.lstrip().startswith("- "):  # a list of the choices: a sentence of each
        return "; ".join(_brief(one) for one in re.split(r"\n {4}- ", "\n" + description)[1:])
    paragraph = description.strip().partition("\n\n")[0]
    sentence = re.split(r"(?<=[.])\s", " ".join(paragraph.split()))[0]
    sentence = re.split(r"[:.]? - ", sentence)[0]
    sentence = re.sub(r" \([^()]*\[\d\]_[^()]*\)| ?\[\d\]_", "", sentence)  # references
    return sentence.replace("`", "").rstrip(".:").replace("%", "%%")
