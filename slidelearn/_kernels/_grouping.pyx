"""Transposes a batch: from lists of columns by sample to lists of samples by column.

The updates of a layer's rows are owner-computes: each touched row (an input feature, an output
class) is written by one thread, which needs to know all samples of the batch that touch it.
"""

from libc.stdint cimport int32_t, int64_t


def group_by_column(
    const int64_t[::1] indptr,
    const int32_t[::1] indices,
    const int64_t[::1] rows,
    int32_t[::1] slot,
    int32_t[::1] columns,
    int64_t[::1] starts,
    int32_t[::1] samples,
    int64_t[::1] positions,
):
    """Group the nonzeros of some CSR rows by column, in order of first occurrence (stable).

    Parameters
    ----------
    indptr, indices : CSR structure; unsorted and repeated indices are allowed.
    rows : (n_batch,) int64, the rows of the batch.
    slot : (n_columns,) int32, scratch: all -1 on entry and on return.
    columns, starts, samples, positions : outputs; with n the number of distinct columns,
        ``columns[:n]`` are the touched columns and the group of ``columns[i]`` is
        ``starts[i]:starts[i + 1]`` of `samples` (place in `rows`) and of `positions` (place in
        `indices`). Room for one entry a nonzero, one more in `starts`.

    Returns
    -------
    n : int
    """
    cdef Py_ssize_t b, j, p, n = 0, total = 0
    cdef int32_t c, s
    with nogil:
        starts[0] = 0
        for b in range(rows.shape[0]):  # count into starts[slot + 1]
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
        for b in range(rows.shape[0]):
            for p in range(indptr[rows[b]], indptr[rows[b] + 1]):
                s = slot[indices[p]]
                samples[starts[s + 1]] = <int32_t>b
                positions[starts[s + 1]] = p
                starts[s + 1] += 1
        for j in range(n):
            slot[columns[j]] = -1
    return n
