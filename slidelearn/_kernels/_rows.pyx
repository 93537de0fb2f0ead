"""Sparse work on the rows of a weight matrix: products of single (sample, row) pairs.

Used by the input layer, whose rows are features, and by the per-sample part of the output layer,
whose rows are classes and may be stored as bfloat16.
"""

from cython.parallel cimport parallel, prange, threadid
from libc.stdint cimport int32_t, int64_t
from libc.string cimport memcpy

from ._simd cimport (
    ENTRIES, READ_AHEAD, STEP_AHEAD, Optimizer, active_leaf, axpy_row, dot_row, leaf_t, optimizer_t,
    prefetch, prefetch_entry, prefetch_rows, row_t, rows_ahead, step_entries, step_row,
)


cdef enum:
    SAMPLES = 4  # whose rows a thread combines before it looks for more


def combine_rows(
    const int64_t[::1] indptr,
    const int32_t[::1] indices,
    const float[::1] data,
    const int64_t[::1] rows,
    const float[:, ::1] weights,
    const float[::1] start,
    float[:, ::1] out,
    int n_threads,
):
    """``out[i] = start + sum of data[p] * weights[indices[p]]`` over the nonzeros of ``rows[i]``.

    The hidden activation before its ReLU, with `start` the bias. Owner: sample.
    """
    cdef Py_ssize_t first
    if weights.shape[1] == 0:
        return
    for first in prange(0, rows.shape[0], SAMPLES, nogil=True, num_threads=n_threads,
                        schedule="dynamic"):
        _combine_rows(first, min(first + SAMPLES, rows.shape[0]), indptr, indices, data, rows,
                      weights, start, out)


cdef void _combine_rows(
    Py_ssize_t first, Py_ssize_t last, const int64_t[::1] indptr, const int32_t[::1] indices,
    const float[::1] data, const int64_t[::1] rows, const float[:, ::1] weights,
    const float[::1] start, float[:, ::1] out,
) noexcept nogil:
    """Samples from `first` to `last`; the next one's first rows are asked for before this one."""
    cdef Py_ssize_t width = weights.shape[1], size = width * sizeof(float), i, p, begin, end
    cdef Py_ssize_t ahead = rows_ahead(READ_AHEAD, width, weights)
    cdef const leaf_t* leaf = active_leaf()
    for i in range(first, last):
        if i + 1 < last:
            begin, end = indptr[rows[i + 1]], indptr[rows[i + 1] + 1]
            for p in range(begin, min(begin + ahead, end)):
                prefetch(&weights[indices[p], 0], size)
        begin, end = indptr[rows[i]], indptr[rows[i] + 1]
        memcpy(&out[i, 0], &start[0], size)
        for p in range(begin, end):
            if p + ahead < end:
                prefetch(&weights[indices[p + ahead], 0], size)
            leaf.axpy(width, data[p], &weights[indices[p], 0], &out[i, 0])


def add_rows(
    const int64_t[::1] indptr,
    const int32_t[::1] indices,
    const float[::1] data,
    const row_t[:, ::1] weights,
    float[:, ::1] out,
    int n_threads,
):
    """``out[i] += sum of data[p] * weights[indices[p]]``: hidden gradient of the sparse pairs.

    Owner: sample.
    """
    cdef Py_ssize_t i, p, ahead, width = weights.shape[1]
    cdef const leaf_t* leaf = active_leaf()
    if width == 0:
        return
    ahead = rows_ahead(READ_AHEAD, width, weights)
    for i in prange(out.shape[0], nogil=True, num_threads=n_threads, schedule="dynamic",
                    chunksize=4):
        for p in range(indptr[i], indptr[i + 1]):
            if p + ahead < indices.shape[0]:
                prefetch(&weights[indices[p + ahead], 0], width * sizeof(row_t))
            axpy_row(leaf, width, data[p], &weights[indices[p], 0], &out[i, 0])


def pair_logits(
    const int64_t[::1] indptr,
    const int32_t[::1] indices,
    const float[:, ::1] hidden,
    const row_t[:, ::1] weights,
    const float[::1] bias,
    float[::1] out,
    int n_threads,
):
    """``out[p] = bias[c] + hidden[i] . weights[c]`` for the pairs (i, c = indices[p]).

    Owner: sample.
    """
    cdef Py_ssize_t i, p, ahead, width = weights.shape[1]
    cdef const leaf_t* leaf = active_leaf()
    ahead = rows_ahead(READ_AHEAD, width, weights)
    for i in prange(hidden.shape[0], nogil=True, num_threads=n_threads, schedule="dynamic",
                    chunksize=4):
        for p in range(indptr[i], indptr[i + 1]):
            out[p] = bias[indices[p]]
            if width > 0:
                if p + ahead < indices.shape[0]:
                    prefetch(&bias[indices[p + ahead]], sizeof(float))
                    prefetch(&weights[indices[p + ahead], 0], width * sizeof(row_t))
                out[p] = out[p] + dot_row(leaf, width, &hidden[i, 0], &weights[indices[p], 0])


def update_rows(
    const int32_t[::1] columns,
    const int64_t[::1] starts,
    const int32_t[::1] samples,
    const int64_t[::1] positions,
    const float[::1] data,
    const float[:, ::1] vectors,
    Optimizer optimizer,
    row_t[:, ::1] weights,
    row_t[:, ::1] m,
    row_t[:, ::1] v,
    float[:, ::1] gradient,
    int n_threads,
):
    """One optimizer step of every touched row, ``gradient = sum of data[p] * vectors[sample]``.

    The groups are those of `group_by_column`, none of them empty; `gradient` is scratch,
    (n_threads, width); `m` and `v` may be empty where the solver doesn't use them. Owner: row.
    """
    cdef Py_ssize_t j, q, width = weights.shape[1], row, ahead
    cdef float* g = NULL
    cdef const leaf_t* leaf = active_leaf()
    cdef const optimizer_t* values = &optimizer.values
    if width == 0:
        return
    ahead = rows_ahead(STEP_AHEAD, width, weights)
    with nogil, parallel(num_threads=n_threads):
        g = &gradient[threadid(), 0]
        for j in prange(columns.shape[0], schedule="dynamic", chunksize=64):
            if j + ahead < columns.shape[0]:
                prefetch_rows(columns[j + ahead], weights, m, v)
            q = starts[j]
            leaf.scaled(width, data[positions[q]], &vectors[samples[q], 0], g)
            for q in range(starts[j] + 1, starts[j + 1]):
                leaf.axpy(width, data[positions[q]], &vectors[samples[q], 0], g)
            row = columns[j]
            step_row(leaf, values, row, width, g, &weights[row, 0],
                     &m[row, 0] if m.shape[0] > 0 else NULL,
                     &v[row, 0] if v.shape[0] > 0 else NULL)


def update_entries(
    const int32_t[::1] columns,
    const int64_t[::1] starts,
    const int64_t[::1] positions,
    const float[::1] data,
    Optimizer optimizer,
    float[::1] bias,
    float[::1] m,
    float[::1] v,
    int n_threads,
):
    """One optimizer step of every touched bias, the gradient being the sum of its group's data.

    Owner: entry.
    """
    cdef Py_ssize_t first
    for first in prange(0, columns.shape[0], ENTRIES, nogil=True, num_threads=n_threads,
                        schedule="static"):
        _update_entries(first, min(<Py_ssize_t>ENTRIES, columns.shape[0] - first), columns, starts,
                        positions, data, &optimizer.values, bias, m, v)


cdef inline void _update_entries(
    Py_ssize_t first, Py_ssize_t n, const int32_t[::1] columns, const int64_t[::1] starts,
    const int64_t[::1] positions, const float[::1] data, const optimizer_t* optimizer,
    float[::1] bias, float[::1] m, float[::1] v,
) noexcept nogil:
    cdef float g[ENTRIES]
    cdef Py_ssize_t j, q
    for j in range(n):
        g[j] = 0
        for q in range(starts[first + j], starts[first + j + 1]):
            g[j] += data[positions[q]]
        if first + ENTRIES + j < columns.shape[0]:
            prefetch_entry(columns[first + ENTRIES + j], bias, m, v)
    step_entries(active_leaf(), optimizer, n, &columns[first], g, bias, m, v)
