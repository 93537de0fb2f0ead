"""Dense products: hidden layers and the block of output rows that a whole batch shares.

The output layer may be stored as bfloat16; products are of float32.
"""

from cython.parallel cimport parallel, prange, threadid
from libc.stdint cimport int32_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from ._simd cimport (
    READ_AHEAD, Optimizer, active_leaf, as_float, ask_t, find_row, leaf_t, optimizer_t, prefetch,
    prefetch_entry, rng_stream, row_t, rows_ahead, step_entries, step_row,
)

cdef extern from "transpose.h" nogil:
    void transpose(Py_ssize_t n, Py_ssize_t width, const float* rows, float* panel, Py_ssize_t step)

cdef enum:
    TILE = 12  # rows of an output that one thread computes at a time
    PART = 128  # columns of an output that one thread computes at a time
    PANEL = 32  # classes whose transposed weights lie side by side in the cache

PANEL_WIDTH = PANEL
TILE_ROWS = TILE


cpdef void relu_dropout(float[:, ::1] hidden, uint64_t key, double dropout, int n_threads) noexcept:
    """``hidden <- relu(hidden) * mask / (1 - dropout)`` in place; the mask depends on `key` alone.

    Owner: sample.
    """
    cdef Py_ssize_t i, width = hidden.shape[1]
    cdef uint32_t threshold = <uint32_t>(dropout * 65536.0 + 0.5)
    cdef float scale = <float>(1.0 / (1.0 - dropout))
    cdef const leaf_t* leaf = active_leaf()
    if width == 0:
        return
    for i in prange(hidden.shape[0], nogil=True, num_threads=n_threads, schedule="static"):
        leaf.relu_dropout(width, &hidden[i, 0], rng_stream(key, i), threshold, scale)


cpdef void relu_dropout_backward(
    const float[:, ::1] hidden,
    double dropout,
    float[:, ::1] gradient,
    int n_threads,
) noexcept:
    """Gradient before the ReLU from the gradient behind the dropout, in place. Owner: sample."""
    cdef Py_ssize_t i, width = hidden.shape[1]
    cdef float scale = <float>(1.0 / (1.0 - dropout))
    cdef const leaf_t* leaf = active_leaf()
    if width == 0:
        return
    for i in prange(hidden.shape[0], nogil=True, num_threads=n_threads, schedule="static"):
        leaf.relu_backward(width, &hidden[i, 0], &gradient[i, 0], scale)


cpdef void matmul(
    const float[:, :] a,
    const float[:, ::1] b,
    const float[::1] start,
    float[:, ::1] out,
    int n_threads,
) noexcept:
    """``out = start + a b``, `start` (possibly empty: zeros) being added to every row.

    `a` may have any strides (a transposed view, a slice). Owner: part of a row of `out`.
    """
    cdef Py_ssize_t task, first, rows, left, columns, i
    cdef Py_ssize_t width = out.shape[1], depth = b.shape[0], n_parts = (width + PART - 1) // PART
    cdef Py_ssize_t n_tiles = (out.shape[0] + TILE - 1) // TILE
    cdef Py_ssize_t a_row = a.strides[0] // <Py_ssize_t>sizeof(float)
    cdef Py_ssize_t a_step = a.strides[1] // <Py_ssize_t>sizeof(float)
    cdef const leaf_t* leaf = active_leaf()
    if width == 0:
        return
    for task in prange(n_parts * n_tiles, nogil=True, num_threads=n_threads, schedule="static"):
        first = task % n_tiles * TILE  # part after part: a thread reads columns of its own of b
        rows = min(<Py_ssize_t>TILE, out.shape[0] - first)
        left = task // n_tiles * PART
        columns = min(<Py_ssize_t>PART, width - left)
        for i in range(first, first + rows):
            if start.shape[0] > 0:
                memcpy(&out[i, left], &start[left], columns * sizeof(float))
            else:
                memset(&out[i, left], 0, columns * sizeof(float))
        if depth > 0:
            leaf.gemm(rows, columns, depth, &a[first, 0], a_row, a_step, &b[0, left], width,
                      &out[first, left], width, NULL)


cpdef void gather_rows(
    const row_t[:, ::1] weights,
    const float[::1] bias,
    const float[::1] correction,
    const int32_t[::1] ids,
    float[:, ::1] out,
    float[::1] out_bias,
    int n_threads,
) noexcept:
    """``out[s] = weights[c]`` and ``out_bias[s] = bias[c] - correction[c]``, c being ``ids[s]``.

    `correction` may be empty: zeros. Owner: row of `out`.
    """
    cdef Py_ssize_t s, ahead, width = weights.shape[1]
    cdef bint corrects = correction.shape[0] > 0
    cdef const leaf_t* leaf = active_leaf()
    ahead = rows_ahead(READ_AHEAD, width, weights)
    for s in prange(ids.shape[0], nogil=True, num_threads=n_threads, schedule="static"):
        out_bias[s] = bias[ids[s]] - correction[ids[s]] if corrects else bias[ids[s]]
        if width == 0:
            continue
        if s + ahead < ids.shape[0]:
            prefetch(&weights[ids[s + ahead], 0], width * sizeof(row_t))
            prefetch(&bias[ids[s + ahead]], sizeof(float))
            if corrects:
                prefetch(&correction[ids[s + ahead]], sizeof(float))
        if row_t is float:
            memcpy(&out[s, 0], &weights[ids[s], 0], width * sizeof(float))
        else:
            leaf.widen(width, &weights[ids[s], 0], &out[s, 0])


cpdef void block_logits(
    const float[:, ::1] hidden,
    const row_t[:, ::1] block,
    const float[::1] bias,
    float[:, ::1] logits,
    float[:, ::1] panels,
    int n_threads,
) noexcept:
    """``logits[i, s] = bias[s] + hidden[i] . block[s]``, one chain of multiply-adds each.

    Parameters
    ----------
    hidden : (n_samples, width), block : (n_block, width), bias : (n_block,)
    logits : output, (n_samples, at least n_block)
    panels : scratch, (n_threads, width * PANEL_WIDTH)

    Owner: panel of classes.
    """
    cdef Py_ssize_t panel, first, n, s, k, i
    cdef Py_ssize_t width = block.shape[1], n_samples = hidden.shape[0]
    cdef float* transposed = NULL
    cdef const leaf_t* leaf = active_leaf()
    if n_samples == 0:
        return
    with nogil, parallel(num_threads=n_threads):
        transposed = &panels[threadid(), 0] if width > 0 else NULL
        for panel in prange((block.shape[0] + PANEL - 1) // PANEL, schedule="static"):
            first = panel * PANEL
            n = min(<Py_ssize_t>PANEL, block.shape[0] - first)
            for i in range(n_samples):
                memcpy(&logits[i, first], &bias[first], n * sizeof(float))
            if width > 0:
                if row_t is float:
                    transpose(n, width, &block[first, 0], transposed, PANEL)
                else:
                    for s in range(n):
                        for k in range(width):
                            transposed[k * PANEL + s] = as_float(block[first + s, k])
                leaf.gemm(n_samples, n, width, &hidden[0, 0], width, 1, transposed, PANEL,
                          &logits[0, first], logits.shape[1], NULL)


cdef void _multiply(
    const leaf_t* leaf, const float[:, :] delta, Py_ssize_t first, Py_ssize_t rows,
    const float[:, ::1] vectors, const int32_t[::1] ids, const row_t[:, ::1] weights,
    const row_t[:, ::1] weights_m, const row_t[:, ::1] weights_v, float* g,
) noexcept nogil:
    # The gradient of one tile of rows; meanwhile those of the next tile are asked for.
    cdef const char* wanted[3 * TILE]
    cdef ask_t ask
    cdef row_t* row[3]
    cdef Py_ssize_t s, k, width = weights.shape[1], of_delta = sizeof(float)
    ask.rows, ask.n, ask.item = wanted, 0, sizeof(row_t)
    for s in range(first + TILE, min(first + 2 * TILE, ids.shape[0])):
        find_row(ids[s], weights, weights_m, weights_v, row)
        for k in range(3):
            if row[k] != NULL:
                wanted[ask.n] = <const char*>row[k]
                ask.n += 1
    leaf.gemm(rows, width, vectors.shape[0], &delta[0, first], delta.strides[1] // of_delta,
              delta.strides[0] // of_delta, &vectors[0, 0], width, g, width, &ask)


cpdef void update_block(
    const float[:, :] delta,
    const float[:, ::1] vectors,
    const int32_t[::1] ids,
    Optimizer optimizer,
    row_t[:, ::1] weights,
    row_t[:, ::1] weights_m,
    row_t[:, ::1] weights_v,
    float[::1] bias,
    float[::1] bias_m,
    float[::1] bias_v,
    float[:, ::1] gradient,
    int n_threads,
) noexcept:
    """One optimizer step of the rows `ids`, with ``gradient = delta.T @ vectors``.

    Parameters
    ----------
    delta : (n_samples, n_block), a possibly strided view
    vectors : (n_samples, width)
    ids : (n_block,), distinct rows of `weights` and entries of `bias`
    weights_m, weights_v, bias_m, bias_v : optimizer state, empty where the solver has none
    gradient : scratch, (n_threads, TILE_ROWS * (width + 1))

    Owner: row.
    """
    cdef Py_ssize_t tile, first, rows, s
    cdef Py_ssize_t width = weights.shape[1], n_samples = vectors.shape[0]
    cdef Py_ssize_t sample_step = delta.strides[0] // <Py_ssize_t>sizeof(float)
    cdef float* g = NULL
    cdef float* g_bias = NULL
    cdef float one = 1
    cdef const leaf_t* leaf = active_leaf()
    cdef const optimizer_t* values = &optimizer.values
    if width == 0 or n_samples == 0:
        return
    with nogil, parallel(num_threads=n_threads):
        g = &gradient[threadid(), 0]
        g_bias = g + TILE * width
        for tile in prange((ids.shape[0] + TILE - 1) // TILE, schedule="static"):
            first = tile * TILE
            rows = min(<Py_ssize_t>TILE, ids.shape[0] - first)
            memset(g, 0, TILE * (width + 1) * sizeof(float))
            _multiply(leaf, delta, first, rows, vectors, ids, weights, weights_m, weights_v, g)
            leaf.gemm(1, rows, n_samples, &one, 0, 0, &delta[0, first], sample_step, g_bias, rows,
                      NULL)
            for s in range(rows):
                if first + TILE + s < ids.shape[0]:
                    prefetch_entry(ids[first + TILE + s], bias, bias_m, bias_v)
                step_row(leaf, values, ids[first + s], g + s * width, weights, weights_m,
                         weights_v, NULL)
            step_entries(leaf, values, rows, &ids[first], g_bias, bias, bias_m, bias_v)


cpdef void update_bias(
    const float[:, ::1] delta,
    Optimizer optimizer,
    float[::1] bias,
    float[::1] bias_m,
    float[::1] bias_v,
    float[:, ::1] gradient,
) noexcept:
    """One optimizer step of a hidden layer's bias, the gradient being the sum of the rows of
    `delta`, (n_samples, width); the first row of `gradient` is scratch."""
    cdef Py_ssize_t width = delta.shape[1]
    cdef float one = 1
    cdef float* g
    cdef const leaf_t* leaf = active_leaf()
    if width == 0 or delta.shape[0] == 0:
        return
    with nogil:
        g = &gradient[0, 0]
        memset(g, 0, width * sizeof(float))
        leaf.gemm(1, width, delta.shape[0], &one, 0, 0, &delta[0, 0], width, g, width, NULL)
        leaf.step(&optimizer.values, width, g, &bias[0],
                  &bias_m[0] if bias_m.shape[0] > 0 else NULL,
                  &bias_v[0] if bias_v.shape[0] > 0 else NULL, NULL)
