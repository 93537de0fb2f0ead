"""The backward pass of the classes that a whole batch shares, from few pairs of sample and class.

`sparsify` chooses the pairs. They lie sample by sample: of sample i, ``counts[i]`` of them at the
head of row i of `places`, ascending columns of the block, and of `values`.
"""

from cython.parallel cimport prange
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memset

from ._simd cimport (
    Optimizer, active_leaf, leaf_t, optimizer_t, prefetch_entry, prefetch_rows,
    rng_stream, row_t, step_entries, step_row,
)

cdef enum:
    PART = 128  # columns of an output that one thread computes at a time
    TILE = 12  # rows that are stepped together

TILE_ROWS = TILE


def sparsify(
    const float[:, ::1] gradient,
    const float[::1] least,
    uint64_t key,
    int64_t[::1] counts,
    int32_t[:, ::1] places,
    float[:, ::1] values,
    int n_threads,
):
    """Pairs that stand for all of `gradient`, which is their expectation.

    Entries smaller in size than their row's `least` become 0, or that size with their own sign,
    with the probability that makes it right on average; a function of `key` alone (Wangni et al.,
    Gradient Sparsification, NeurIPS 2018, section 2). Owner: sample.

    Parameters
    ----------
    gradient : (n_samples, n_block), finite
    least : (n_samples,), not negative
    counts, places, values : outputs, (at least n_samples,) and twice (at least n_samples, at least
        n_block)

    Returns
    -------
    n : int, the number of pairs
    """
    cdef Py_ssize_t i, n_block = gradient.shape[1], n = 0
    cdef const leaf_t* leaf = active_leaf()
    if n_block == 0:
        counts[:] = 0
        return 0
    for i in prange(gradient.shape[0], nogil=True, num_threads=n_threads, schedule="static"):
        counts[i] = leaf.sparsify(n_block, least[i], rng_stream(key, i), &gradient[i, 0],
                                  &places[i, 0], &values[i, 0])
        n += counts[i]
    return n


def multiply_pairs(
    const int64_t[::1] counts,
    const int32_t[:, ::1] places,
    const float[:, ::1] values,
    const float[:, ::1] block,
    float[:, ::1] out,
    int n_threads,
):
    """``out[i] = sum of values[i, p] * block[places[i, p]]``: the gradient of the hidden layer.

    Owner: part of a row of `out`, all rows of one part together, so that a thread's part of
    `block` stays in its cache.
    """
    cdef Py_ssize_t task, i, left, n_samples = out.shape[0], width = out.shape[1]
    cdef const leaf_t* leaf = active_leaf()
    if width == 0 or n_samples == 0:
        return
    for task in prange((width + PART - 1) // PART * n_samples, nogil=True, num_threads=n_threads,
                       schedule="static"):
        i = task % n_samples
        left = task // n_samples * PART
        memset(&out[i, left], 0, min(<Py_ssize_t>PART, width - left) * sizeof(float))
        if counts[i] > 0:
            leaf.combine(counts[i], min(<Py_ssize_t>PART, width - left), &values[i, 0],
                         &places[i, 0], &block[0, left], width, &out[i, left])


def update_pairs(
    const int64_t[::1] counts,
    const int32_t[:, ::1] places,
    const float[:, ::1] values,
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
    int64_t[:, ::1] heads,
    int n_threads,
):
    """One optimizer step of those rows `ids` that have a pair.

    The gradient of row ``ids[s]`` is the sum of ``values[i, p] * vectors[i]`` over the pairs with
    ``places[i, p] = s``.

    Parameters
    ----------
    vectors : (n_samples, width)
    ids : (n_block,), distinct rows of `weights` and entries of `bias`
    weights_m, weights_v, bias_m, bias_v : optimizer state, empty where the solver has none
    gradient : scratch, (n_threads, TILE_ROWS * width)
    heads : scratch, (n_threads, at least n_samples)

    Owner: row.
    """
    cdef Py_ssize_t part, n_tiles = (ids.shape[0] + TILE - 1) // TILE
    if weights.shape[1] == 0 or vectors.shape[0] == 0 or n_tiles == 0:
        return
    for part in prange(n_threads, nogil=True, num_threads=n_threads, schedule="static",
                       chunksize=1):
        _update_part(part * n_tiles // n_threads * TILE, (part + 1) * n_tiles // n_threads * TILE,
                     counts, places, values, vectors, ids, &optimizer.values, weights, weights_m,
                     weights_v, bias, bias_m, bias_v, &gradient[part, 0], &heads[part, 0])


cdef void _update_part(
    Py_ssize_t first, Py_ssize_t last, const int64_t[::1] counts, const int32_t[:, ::1] places,
    const float[:, ::1] values, const float[:, ::1] vectors, const int32_t[::1] ids,
    const optimizer_t* optimizer, row_t[:, ::1] weights, row_t[:, ::1] weights_m,
    row_t[:, ::1] weights_v, float[::1] bias, float[::1] bias_m, float[::1] bias_v, float* g,
    int64_t* heads,
) noexcept nogil:
    """Step the rows of the block from `first` to `last`, tile by tile."""
    cdef const leaf_t* leaf = active_leaf()
    cdef Py_ssize_t i, s, row, n, n_rows, n_asked, width = weights.shape[1]
    cdef Py_ssize_t every = vectors.shape[0] // TILE  # samples after which to ask for a row
    cdef float g_bias[TILE]
    cdef int32_t touched[TILE]
    for i in range(vectors.shape[0]):
        heads[i] = _bisect(&places[i, 0], counts[i], first)
    while first < last:
        n = min(<Py_ssize_t>TILE, ids.shape[0] - first)
        memset(g, 0, n * width * sizeof(float))
        memset(g_bias, 0, sizeof(g_bias))
        for s in range(n):
            touched[s] = -1
        n_asked = 0
        for i in range(vectors.shape[0]):
            if i >= n_asked * every and first + TILE + n_asked < ids.shape[0] and n_asked < TILE:
                prefetch_rows(ids[first + TILE + n_asked], weights, weights_m, weights_v)
                prefetch_entry(ids[first + TILE + n_asked], bias, bias_m, bias_v)
                n_asked += 1
            while heads[i] < counts[i] and places[i, heads[i]] < first + n:
                s = places[i, heads[i]] - first
                leaf.axpy(width, values[i, heads[i]], &vectors[i, 0], g + s * width, NULL)
                g_bias[s] += values[i, heads[i]]
                touched[s] = ids[first + s]
                heads[i] += 1
        n_rows = 0
        for s in range(n):
            row = touched[s]
            if row < 0:
                continue
            step_row(leaf, optimizer, row, g + s * width, weights, weights_m, weights_v, NULL)
            touched[n_rows], g_bias[n_rows] = row, g_bias[s]
            n_rows += 1
        step_entries(leaf, optimizer, n_rows, touched, g_bias, bias, bias_m, bias_v)
        first += TILE


cdef inline Py_ssize_t _bisect(const int32_t* ascending, Py_ssize_t n,
                               Py_ssize_t least) noexcept nogil:
    """How many of the numbers are below `least`."""
    cdef Py_ssize_t low = 0, middle
    while low < n:
        middle = (low + n) // 2
        if ascending[middle] < least:
            low = middle + 1
        else:
            n = middle
    return low
