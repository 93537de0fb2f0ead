"""Arrays that begin with a cache line, their memory touched by several threads."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import DTypeLike

from ._kernels import _quantised

CACHE_LINE, PAGE = 64, 4096  # bytes
RUN = 2**26  # bytes that a thread touches before it looks for more


def empty(shape: tuple[int, ...], dtype: DTypeLike = np.float32, n_threads: int = 1) -> np.ndarray:
    """As `numpy.empty`, at an address that is a multiple of 64 bytes.

    numpy's large arrays begin 16 bytes after one. Then each vector of 64 bytes, and each row of
    256 weights, lies in one cache line more than it has to.

    The system gives memory when it is first written, and clears it then; on a virtual machine
    whose host does so in turn, that can take longer than filling the array. Threads share it.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(size + CACHE_LINE, np.uint8)
    if n_threads > 1 and size > RUN:
        _touch(memory, n_threads)
    start = -memory.ctypes.data % CACHE_LINE
    return memory[start:start + size].view(dtype).reshape(shape)


def _touch(memory: np.ndarray, n_threads: int) -> None:
    """Write to each page. Ctrl-C waits for a run a thread, not for all."""
    runs = [memory[start:start + RUN:PAGE] for start in range(0, len(memory), RUN)]
    with ThreadPoolExecutor(n_threads) as pool:  # numpy lets go of Python's lock meanwhile
        for first in range(0, len(runs), n_threads):
            list(pool.map(lambda run: run.fill(0), runs[first:first + n_threads]))


def copy(values: np.ndarray, n_threads: int = 1) -> np.ndarray:
    """A copy of C-contiguous `values`, as `empty` makes it."""
    result = empty(values.shape, values.dtype, n_threads)
    result[...] = values
    return result


def aligned(values: np.ndarray) -> np.ndarray:
    """`values` if they begin with a cache line, or a copy that does."""
    return copy(values) if values.ctypes.data % CACHE_LINE else values


def code_scratch(n_samples: int, width: int,
                 n_threads: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`tiles`, `scales` and `scratch` of `_quantised.block_logits`."""
    in_tile, of_panel = _quantised.TILE_SAMPLES, 2 * _quantised.PANEL_WIDTH
    n_tiles, n_bytes = -(-n_samples // in_tile), -(-width // 4) * 4
    return (empty((n_tiles, in_tile, n_bytes), np.int8),
            empty((n_tiles, in_tile)),
            empty((n_threads, of_panel, n_bytes), np.int8))
