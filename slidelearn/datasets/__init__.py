"""Data sets of extreme classification: files, generated data and a real one without download."""

from ._xmc import dump_xmc_file, load_xmc_file

__all__ = ["dump_xmc_file", "load_xmc_file"]
