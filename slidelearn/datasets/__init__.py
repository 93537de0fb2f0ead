"""Data sets of extreme classification: files, generated data and a real one without download."""

from ._python_calls import load_python_calls
from ._synthetic import make_extreme_classification
from ._xmc import dump_xmc_file, iter_xmc_file, load_xmc_file

__all__ = [
    "dump_xmc_file",
    "iter_xmc_file",
    "load_python_calls",
    "load_xmc_file",
    "make_extreme_classification",
]
