"""bfloat16, the upper half of a float32. numpy lacks it, so its bits are held as uint16.

An array of rows is float32 or bfloat16 by its dtype; kernels take either (simd/bfloat16.h).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ._kernels import _simd

DTYPES: dict[str, np.dtype[Any]] = {"float32": np.dtype(np.float32),
                                    "bfloat16": np.dtype(np.uint16)}
EXPONENT = np.uint16(0x7F80)  # all ones: infinite or NaN


def as_float32(values: np.ndarray) -> np.ndarray:
    """`values` if they are float32, or a float32 copy of bfloat16."""
    if values.dtype == np.float32:
        return values
    result = np.empty(values.shape, np.float32)
    _simd.widen(np.ascontiguousarray(values).reshape(-1), result.reshape(-1))
    return result


def as_dtype(values: np.ndarray, dtype: str) -> np.ndarray:
    """A copy of float32 or bfloat16 `values` in one of `DTYPES`, rounded to the nearest."""
    if values.dtype == DTYPES[dtype]:
        return values.copy()
    if dtype == "float32":
        return as_float32(values)
    result = np.empty(values.shape, DTYPES[dtype])
    _simd.narrow(np.ascontiguousarray(values).reshape(-1), result.reshape(-1))
    return result


def all_finite(bits: np.ndarray) -> bool:
    """Whether no bfloat16 is infinite or NaN."""
    return bool(((bits & EXPONENT) != EXPONENT).all())
