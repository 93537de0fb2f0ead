"""Arrays that begin with a cache line."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import DTypeLike

CACHE_LINE = 64  # bytes


def empty(shape: tuple[int, ...], dtype: DTypeLike = np.float32) -> np.ndarray:
    """As `numpy.empty`, at an address that is a multiple of 64 bytes.

    numpy's large arrays begin 16 bytes after one. Then each vector of 64 bytes, and each row of
    256 weights, lies in one cache line more than it has to.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(size + CACHE_LINE, np.uint8)
    start = -memory.ctypes.data % CACHE_LINE
    return memory[start:start + size].view(dtype).reshape(shape)
