"""Sparse work on the rows of a weight matrix: products of single (sample, row) pairs.

Used by the input layer, whose rows are features, and by the per-sample part of the output layer,
whose rows are classes and may be stored as bfloat16.
"""

from cython.parallel cimport parallel, prange, threadid
from libc.stdint cimport int32_t, int64_t
from libc.string cimport memcpy, memset

from ._simd cimport (
    Optimizer, active_leaf, axpy_row, dot_row, leaf_t, optimizer_t, prefetch, prefetch_rows,
    row_t, step_row,
)

cdef enum:
    AHEAD = 8  # rows that are asked for before they are read,
    STEP_AHEAD = 2048  # bytes of a layer's rows, beside the next one, before they are stepped


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
    cdef Py_ssize_t i, p, width = weights.shape[1]
    cdef const leaf_t* leaf = active_leaf()
    if width == 0:
        return
    for i in prange(rows.shape[0], nogil=True, num_threads=n_threads, schedule="dynamic",
                    chunksize=4):
        memcpy(&out[i, 0], &start[0], width * sizeof(float))
        for p in range(indptr[rows[i]], indptr[rows[i] + 1]):
            if p + AHEAD < indices.shape[0]:
                prefetch(&weights[indices[p + AHEAD], 0], width * sizeof(float))
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
    cdef Py_ssize_t i, p, width = weights.shape[1]
    cdef const leaf_t* leaf = active_leaf()
    if width == 0:
        return
    for i in prange(out.shape[0], nogil=True, num_threads=n_threads, schedule="dynamic",
                    chunksize=4):
        for p in range(indptr[i], indptr[i + 1]):
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
    cdef Py_ssize_t i, p, width = weights.shape[1]
    cdef const leaf_t* leaf = active_leaf()
    for i in prange(hidden.shape[0], nogil=True, num_threads=n_threads, schedule="dynamic",
                    chunksize=4):
        for p in range(indptr[i], indptr[i + 1]):
            out[p] = bias[indices[p]]
            if width > 0:
                if p + AHEAD < indices.shape[0]:
                    prefetch(&weights[indices[p + AHEAD], 0], width * sizeof(row_t))
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

    The groups are those of `group_by_column`; `gradient` is scratch, (n_threads, width); `m` and
    `v` may be empty where the solver doesn't use them. Owner: row.
    """
    cdef Py_ssize_t j, q, width = weights.shape[1], row, ahead
    cdef float* g = NULL
    cdef const leaf_t* leaf = active_leaf()
    cdef const optimizer_t* values = &optimizer.values
    if width == 0:
        return
    ahead = 1 + STEP_AHEAD // (width * <Py_ssize_t>sizeof(row_t))
    with nogil, parallel(num_threads=n_threads):
        g = &gradient[threadid(), 0]
        for j in prange(columns.shape[0], schedule="dynamic", chunksize=64):
            if j + ahead < columns.shape[0]:
                prefetch_rows(columns[j + ahead], weights, m, v)
            memset(g, 0, width * sizeof(float))
            for q in range(starts[j], starts[j + 1]):
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
):
    """One optimizer step of every touched bias, the gradient being the sum of its group's data."""
    cdef Py_ssize_t j, q, row
    cdef float g
    cdef const leaf_t* leaf = active_leaf()
    cdef const optimizer_t* values = &optimizer.values
    with nogil:
        for j in range(columns.shape[0]):
            g = 0
            for q in range(starts[j], starts[j + 1]):
                g = g + data[positions[q]]
            row = columns[j]
            leaf.step(values, 1, &g, &bias[row],
                      &m[row] if m.shape[0] > 0 else NULL, &v[row] if v.shape[0] > 0 else NULL)
