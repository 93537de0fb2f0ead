"""Which samples of a batch have which columns, for batch after batch: see `_kernels._grouping`."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from ._kernels import _grouping

Groups = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # outputs of `group_by_column`


def count_batches(n_rows: int, batch_size: int) -> int:
    """How many batches rows make; without rows, an empty one."""
    return max(1, -(-n_rows // batch_size))


def group_batches(indptr: np.ndarray, indices: np.ndarray, rows: np.ndarray, batch_size: int,
                  slots: np.ndarray) -> list[Groups]:
    """The groups of `group_by_column` for each batch, cut to size; one thread a row of `slots`."""
    n_batches = count_batches(len(rows), batch_size)
    offsets = np.zeros(n_batches + 1, np.int64)
    if len(rows):
        firsts = np.arange(0, len(rows), batch_size)
        np.add.reduceat(indptr[rows + 1] - indptr[rows], firsts).cumsum(out=offsets[1:])
    nnz = int(offsets[-1])
    columns, starts = np.empty(nnz, np.int32), np.empty(nnz + n_batches, np.int64)
    samples, positions = np.empty(nnz, np.int32), np.empty(nnz, np.int64)
    sizes = np.empty(n_batches, np.int64)
    _grouping.group_by_column(indptr, indices, rows, batch_size, offsets, slots, columns, starts,
                              samples, positions, sizes, len(slots))
    return [(columns[first:first + n], starts[first + b:first + b + n + 1],
             samples[first:last], positions[first:last])
            for b, ((first, last), n)
            in enumerate(zip(pairwise(offsets.tolist()), sizes.tolist(), strict=True))]
