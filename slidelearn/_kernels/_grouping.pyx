"""Transposes batches: from lists of columns by sample to lists of samples by column.

The updates of a layer's rows are owner-computes: each touched row (an input feature, an output
class) is written by one thread, which needs to know all samples of the batch that touch it.
"""

from cython.parallel cimport parallel, prange, threadid
from libc.stdint cimport int32_t, int64_t

from ._simd cimport prefetch_csr


def group_by_column(
    const int64_t[::1] indptr,
    const int32_t[::1] indices,
    const int64_t[::1] rows,
    Py_ssize_t batch_size,
    const int64_t[::1] offsets,
    int32_t[:, ::1] slots,
    int32_t[::1] columns,
    int64_t[::1] starts,
    int32_t[::1] samples,
    int64_t[::1] positions,
    int64_t[::1] n_groups,
    int n_threads,
):
    """Group the nonzeros of each batch by column, in order of first occurrence (stable).

    Owner: batch.

    Parameters
    ----------
    indptr, indices : CSR structure; unsorted and repeated indices are allowed.
    rows : (n_rows,) int64, the rows of some batches, `batch_size` each; the last may be smaller.
    offsets : (n_batches + 1,) int64, how many nonzeros the batches before have, and all.
    slots : (n_threads, n_columns) int32, scratch: all -1 on entry and on return.
    columns, starts, samples, positions : outputs; of batch `b`, with ``first = offsets[b]`` and
        ``n = n_groups[b]``, ``columns[first:first + n]`` are the touched columns. The group of the
        i-th is ``first`` plus ``starts[first + b + i]`` up to ``first`` plus
        ``starts[first + b + i + 1]`` of `samples` (place in the batch) and of `positions` (place in
        `indices`). Room for one entry a nonzero; in `starts`, one more a batch.
    n_groups : output, (n_batches,)
    """
    cdef Py_ssize_t b, batch, size
    cdef int32_t* slot = NULL
    if rows.shape[0] == 0 or indices.shape[0] == 0:
        starts[:] = 0
        n_groups[:] = 0
        return
    with nogil, parallel(num_threads=n_threads):
        slot = &slots[threadid(), 0]
        for b in prange(n_groups.shape[0], schedule="dynamic"):
            batch = b * batch_size
            size = min(batch_size, rows.shape[0] - batch)
            if offsets[b + 1] > offsets[b]:
                n_groups[b] = _group(&indptr[0], &indices[0], &rows[batch], size, slot,
                                     &columns[offsets[b]], &starts[offsets[b] + b],
                                     &samples[offsets[b]], &positions[offsets[b]])
            else:
                starts[offsets[b] + b] = 0
                n_groups[b] = 0


cdef Py_ssize_t _group(
    const int64_t* indptr, const int32_t* indices, const int64_t* rows, Py_ssize_t n_rows,
    int32_t* slot, int32_t* columns, int64_t* starts, int32_t* samples, int64_t* positions,
) noexcept nogil:
    """The groups of one batch; returns how many there are."""
    cdef Py_ssize_t b, j, p, n = 0, total = 0
    cdef int32_t c, s
    starts[0] = 0
    for b in range(n_rows):  # count into starts[slot + 1]
        prefetch_csr(indptr, indices, rows, b, n_rows)
        for p in range(indptr[rows[b]], indptr[rows[b] + 1]):
            c = indices[p]
            s = slot[c]
            if s < 0:
                s = <int32_t>n
                slot[c] = s
                columns[n] = c
                n += 1
                starts[n] = 0
            starts[s + 1] += 1
    for j in range(n):  # starts[j + 1] becomes the place where group j is filled next
        total += starts[j + 1]
        starts[j + 1] = total - starts[j + 1]
    for b in range(n_rows):
        for p in range(indptr[rows[b]], indptr[rows[b] + 1]):
            s = slot[indices[p]]
            samples[starts[s + 1]] = <int32_t>b
            positions[starts[s + 1]] = p
            starts[s + 1] += 1
    for j in range(n):
        slot[columns[j]] = -1
    return n
