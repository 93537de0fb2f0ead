"""bfloat16, the upper half of a float32. numpy lacks it, so its bits are held as uint16.

An array of rows is float32 or bfloat16 by its dtype; kernels take either (simd/bfloat16.h).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import _memory
from ._kernels import _simd

DTYPES: dict[str, np.dtype[Any]] = {"float32": np.dtype(np.float32),
                                    "bfloat16": np.dtype(np.uint16)}
EXPONENT = np.uint16(0x7F80)  # all ones: infinite or NaN


def as_float32(values: np.ndarray) -> np.ndarray:
    """`values` if they are float32, or a float32 copy of bfloat16."""
    if values.dtype == np.float32:
        return values
    result = _memory.empty(values.shape)
    _simd.widen(np.ascontiguousarray(values).reshape(-1), result.reshape(-1))
    return result


def as_dtype(values: np.ndarray, dtype: str, n_threads: int = 1) -> np.ndarray:
    """A copy of float32 or bfloat16 `values` in one of `DTYPES`, rounded to the nearest."""
    if values.dtype == DTYPES[dtype]:
        return _memory.copy(values, n_threads)
    if dtype == "float32":
        return as_float32(values)
    result = _memory.empty(values.shape, DTYPES[dtype], n_threads)
    _simd.narrow(np.ascontiguousarray(values).reshape(-1), result.reshape(-1))
    return result


def all_finite(bits: np.ndarray) -> bool:
    """Whether no bfloat16 is infinite or NaN."""
    return bool(((bits & EXPONENT) != EXPONENT).all())
