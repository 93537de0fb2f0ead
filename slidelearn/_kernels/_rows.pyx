"""Sparse work on the rows of a weight matrix: products of single (sample, row) pairs.

Used by the input layer, whose rows are features, and by the per-sample part of the output layer,
whose rows are classes and may be stored as bfloat16.
"""

from cython.parallel cimport parallel, prange, threadid
from libc.stdint cimport int32_t, int64_t
from libc.string cimport memcpy

from ._simd cimport (
    ENTRIES, READ_AHEAD, STEP_AHEAD, Optimizer, active_leaf, axpy_row, dot_row, find_row, leaf_t,
    optimizer_t, prefetch, prefetch_csr, prefetch_entry, row_t, rows_ahead, step_entries, step_row,
)


cdef enum:
    ENTRIES_AHEAD = 4  # samples before which their entries are asked for
    AT_ONCE = 8  # entries of a sample whose rows are added up in registers
    SAMPLES = 4  # whose rows a thread combines before it looks for more
    ROWS = 64  # that a thread steps before it looks for more


cpdef void combine_rows(
    const int64_t[::1] indptr,
    const int32_t[::1] indices,
    const float[::1] data,
    const int64_t[::1] rows,
    const float[:, ::1] weights,
    const float[::1] start,
    float[:, ::1] out,
    int n_threads,
) noexcept:
    """``out[i] = start + sum of data[p] * weights[indices[p]]`` over the nonzeros of ``rows[i]``.

    The hidden activation before its ReLU, with `start` the bias. Owner: sample.
    """
    cdef Py_ssize_t first
    if weights.shape[1] == 0:
        return
    for first in prange(0, rows.shape[0], SAMPLES, nogil=True, num_threads=n_threads,
                        schedule="dynamic"):
        _combine_rows(first, min(first + SAMPLES, rows.shape[0]), indptr, indices, data, rows,
                      weights, 0, start, out)


cpdef void combine_slices(
    const int64_t[::1] indptr,
    const int32_t[::1] indices,
    const float[::1] data,
    const int64_t[::1] rows,
    const float[:, :, ::1] slices,
    const float[::1] start,
    float[:, ::1] out,
    int n_threads,
) noexcept:
    """As `combine_rows`, with the weights' columns in `slices`, (n_slices, n_rows, width of one).

    Owner: slice, and samples if there are more threads.
    """
    cdef Py_ssize_t task, s, part, n = rows.shape[0]
    cdef Py_ssize_t n_parts = parts_of_slice(slices.shape[0], n_threads)
    if slices.shape[2] == 0:
        return
    for task in prange(slices.shape[0] * n_parts, nogil=True, num_threads=n_threads,
                       schedule="static"):
        s, part = task // n_parts, task % n_parts
        _combine_rows(part * n // n_parts, (part + 1) * n // n_parts, indptr, indices, data, rows,
                      slices[s], s * slices.shape[2], start, out)


cdef inline Py_ssize_t parts_of_slice(Py_ssize_t n_slices, int n_threads) noexcept nogil:
    """Into how many the work on a slice is divided, so that each thread has some."""
    return (n_threads + n_slices - 1) // n_slices


cdef void _combine_rows(
    Py_ssize_t first, Py_ssize_t last, const int64_t[::1] indptr, const int32_t[::1] indices,
    const float[::1] data, const int64_t[::1] rows, const float[:, ::1] weights,
    Py_ssize_t column, const float[::1] start, float[:, ::1] out,
) noexcept nogil:
    """Samples from `first` to `last`, their columns from `column` on. Before rows are read, as
    many that come later are asked for."""
    cdef Py_ssize_t width = weights.shape[1], size = width * sizeof(float), i, p, n
    cdef Py_ssize_t later = first, entry
    cdef const leaf_t* leaf = active_leaf()
    if first == last:
        return
    entry = indptr[rows[first]]
    for _ in range(rows_ahead(READ_AHEAD, width, weights)):
        _ask_for_next(&later, &entry, last, indptr, indices, rows, weights)
    for i in range(first, last):
        _ask_for_entries(i, indptr, indices, data, rows)
        memcpy(&out[i, column], &start[column], size)
        p = indptr[rows[i]]
        while p < indptr[rows[i] + 1]:
            n = min(<Py_ssize_t>AT_ONCE, indptr[rows[i] + 1] - p)
            for _ in range(n):
                _ask_for_next(&later, &entry, last, indptr, indices, rows, weights)
            leaf.combine(n, width, &data[p], &indices[p], &weights[0, 0], width, &out[i, column])
            p += n


cdef inline void _ask_for_entries(
    Py_ssize_t i, const int64_t[::1] indptr, const int32_t[::1] indices, const float[::1] data,
    const int64_t[::1] rows,
) noexcept nogil:
    # Entries of samples soon after the i-th of a batch, whose order isn't that of the matrix.
    cdef Py_ssize_t later = i + ENTRIES_AHEAD, n = indices.shape[0], begin
    prefetch_csr(&indptr[0], &indices[0] if n > 0 else NULL, &rows[0], i, rows.shape[0])
    if later < rows.shape[0] and n > 0:
        begin = indptr[rows[later]]
        prefetch(&data[0] + begin, (indptr[rows[later] + 1] - begin) * sizeof(float))


cdef inline void _ask_for_next(
    Py_ssize_t* i, Py_ssize_t* p, Py_ssize_t last, const int64_t[::1] indptr,
    const int32_t[::1] indices, const int64_t[::1] rows, const float[:, ::1] weights,
) noexcept nogil:
    """Ask for the row of entry p of sample i, or of the first entry behind it before sample `last`;
    i and p become those of the entry behind that one."""
    while p[0] == indptr[rows[i[0]] + 1]:
        if i[0] + 1 >= last:
            return
        i[0] += 1
        p[0] = indptr[rows[i[0]]]
    prefetch(&weights[indices[p[0]], 0], weights.shape[1] * sizeof(float))
    p[0] += 1


cpdef void add_rows(
    const int64_t[::1] indptr,
    const int32_t[::1] indices,
    const float[::1] data,
    const row_t[:, ::1] weights,
    float[:, ::1] out,
    int n_threads,
) noexcept:
    """``out[i] += sum of data[p] * weights[indices[p]]``: hidden gradient of the sparse pairs.

    Owner: sample.
    """
    cdef Py_ssize_t i
    if weights.shape[1] == 0:
        return
    for i in prange(out.shape[0], nogil=True, num_threads=n_threads, schedule="dynamic",
                    chunksize=4):
        _add_rows(indptr[i], indptr[i + 1], indices, data, weights, &out[i, 0])


cdef void _add_rows(
    Py_ssize_t begin, Py_ssize_t end, const int32_t[::1] indices, const float[::1] data,
    const row_t[:, ::1] weights, float* out,
) noexcept nogil:
    cdef Py_ssize_t p, width = weights.shape[1], ahead = rows_ahead(READ_AHEAD, width, weights)
    cdef const leaf_t* leaf = active_leaf()
    cdef const row_t* wanted
    for p in range(begin, end):
        wanted = &weights[indices[p + ahead], 0] if p + ahead < indices.shape[0] else NULL
        axpy_row(leaf, width, data[p], &weights[indices[p], 0], out, wanted)


cpdef void pair_logits(
    const int64_t[::1] indptr,
    const int32_t[::1] indices,
    const float[:, ::1] hidden,
    const row_t[:, ::1] weights,
    const float[::1] bias,
    float[::1] out,
    int n_threads,
) noexcept:
    """``out[p] = bias[c] + hidden[i] . weights[c]`` for the pairs (i, c = indices[p]).

    Owner: sample.
    """
    cdef Py_ssize_t i
    for i in prange(hidden.shape[0], nogil=True, num_threads=n_threads, schedule="dynamic",
                    chunksize=4):
        _pair_logits(indptr[i], indptr[i + 1], indices, hidden[i], weights, bias, out)


cdef void _pair_logits(
    Py_ssize_t begin, Py_ssize_t end, const int32_t[::1] indices, const float[::1] hidden,
    const row_t[:, ::1] weights, const float[::1] bias, float[::1] out,
) noexcept nogil:
    cdef Py_ssize_t p, width = weights.shape[1], ahead = rows_ahead(READ_AHEAD, width, weights)
    cdef const leaf_t* leaf = active_leaf()
    cdef const row_t* wanted
    for p in range(begin, end):
        out[p] = bias[indices[p]]
        if width == 0:
            continue
        wanted = NULL
        if p + ahead < indices.shape[0]:
            wanted = &weights[indices[p + ahead], 0]
            prefetch(&bias[indices[p + ahead]], sizeof(float))
        out[p] = out[p] + dot_row(leaf, width, &hidden[0], &weights[indices[p], 0], wanted)


cpdef void update_rows(
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
) noexcept:
    """One optimizer step of every touched row, ``gradient = sum of data[p] * vectors[sample]``.

    The groups are those of `group_by_column`, none of them empty; `gradient` is scratch,
    (n_threads, width); `m` and `v` may be empty where the solver doesn't use them. Owner: row.
    """
    cdef Py_ssize_t first
    if weights.shape[1] == 0:
        return
    with nogil, parallel(num_threads=n_threads):
        for first in prange(0, columns.shape[0], ROWS, schedule="dynamic"):
            _update_rows(first, min(first + ROWS, columns.shape[0]), columns, starts, samples,
                         positions, data, vectors, 0, &optimizer.values, weights, m, v,
                         &gradient[threadid(), 0])


cpdef void update_slices(
    const int32_t[::1] columns,
    const int64_t[::1] starts,
    const int32_t[::1] samples,
    const int64_t[::1] positions,
    const float[::1] data,
    const float[:, ::1] vectors,
    Optimizer optimizer,
    float[:, :, ::1] slices,
    float[:, :, ::1] m,
    float[:, :, ::1] v,
    float[:, ::1] gradient,
    int n_threads,
) noexcept:
    """As `update_rows`, with the weights' columns in slices, see `combine_slices`.

    Of state that the solver doesn't use, the slices are empty. Owner: slice, and rows if there are
    more threads.
    """
    cdef Py_ssize_t task, s, part, n = columns.shape[0]
    cdef Py_ssize_t n_parts = parts_of_slice(slices.shape[0], n_threads)
    if slices.shape[2] == 0:
        return
    with nogil, parallel(num_threads=n_threads):
        for task in prange(slices.shape[0] * n_parts, schedule="static"):
            s, part = task // n_parts, task % n_parts
            _update_rows(part * n // n_parts, (part + 1) * n // n_parts, columns, starts, samples,
                         positions, data, vectors, s * slices.shape[2], &optimizer.values,
                         slices[s], m[s], v[s], &gradient[threadid(), 0])


cdef void _update_rows(
    Py_ssize_t first, Py_ssize_t last, const int32_t[::1] columns, const int64_t[::1] starts,
    const int32_t[::1] samples, const int64_t[::1] positions, const float[::1] data,
    const float[:, ::1] vectors, Py_ssize_t column, const optimizer_t* optimizer,
    row_t[:, ::1] weights, row_t[:, ::1] m, row_t[:, ::1] v, float* g,
) noexcept nogil:
    """Groups from `first` to `last`, with the vectors' columns from `column` on: a row that is
    stepped asks for one that comes later."""
    cdef Py_ssize_t j, q, width = weights.shape[1]
    cdef Py_ssize_t ahead = rows_ahead(STEP_AHEAD, width, weights)
    cdef const leaf_t* leaf = active_leaf()
    cdef row_t* wanted[3]
    cdef row_t** ask
    for j in range(first, last):
        q = starts[j]
        leaf.scaled(width, data[positions[q]], &vectors[samples[q], column], g)
        for q in range(starts[j] + 1, starts[j + 1]):
            leaf.axpy(width, data[positions[q]], &vectors[samples[q], column], g, NULL)
        ask = NULL
        if j + ahead < columns.shape[0]:
            find_row(columns[j + ahead], weights, m, v, wanted)
            ask = wanted
        step_row(leaf, optimizer, columns[j], g, weights, m, v, ask)


def copy_slices(bint back, float[:, ::1] weights, float[:, ::1] m, float[:, ::1] v,
                float[:, :, ::1] slices, float[:, :, ::1] slices_m, float[:, :, ::1] slices_v,
                int n_threads):
    """Columns of weights and optimizer state, which may be empty, into slices, or back.

    One call, so that Ctrl-C finds either nothing or all of it done. Owner: slice.
    """
    cdef Py_ssize_t s
    for s in prange(slices.shape[0], nogil=True, num_threads=n_threads, schedule="static"):
        _copy_slice(back, s, weights, slices)
        _copy_slice(back, s, m, slices_m)
        _copy_slice(back, s, v, slices_v)


cdef void _copy_slice(bint back, Py_ssize_t s, float[:, ::1] whole,
                      float[:, :, ::1] slices) noexcept nogil:
    cdef Py_ssize_t row, width = slices.shape[2], size = width * sizeof(float)
    for row in range(whole.shape[0]):
        if back:
            memcpy(&whole[row, s * width], &slices[s, row, 0], size)
        else:
            memcpy(&slices[s, row, 0], &whole[row, s * width], size)


cpdef void update_entries(
    const int32_t[::1] columns,
    const int64_t[::1] starts,
    const int64_t[::1] positions,
    const float[::1] data,
    Optimizer optimizer,
    float[::1] bias,
    float[::1] m,
    float[::1] v,
    int n_threads,
) noexcept:
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
