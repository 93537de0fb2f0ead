"""The backward pass of the classes that a whole batch shares, from few pairs of sample and class.

`sparsify` chooses the pairs. They lie sample by sample: of sample i, ``counts[i]`` of them at the
head of row i of `places`, ascending columns of the block, and of `values`.
"""

from cython.parallel cimport prange
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memset

from ._simd cimport (
    ENTRIES, STEP_AHEAD, Optimizer, active_leaf, find_row, leaf_t, optimizer_t, prefetch_entry,
    rng_stream, row_t, rows_ahead, step_entries, step_row,
)

cdef enum:
    PART = 128  # columns of an output that one thread computes at a time


cpdef Py_ssize_t sparsify(
    const float[:, ::1] gradient,
    Py_ssize_t n_block,
    const float[::1] least,
    uint64_t key,
    int64_t[::1] counts,
    int32_t[:, ::1] places,
    float[:, ::1] values,
    int n_threads,
) noexcept:
    """Pairs that stand for all of `gradient`, which is their expectation.

    Entries smaller in size than their row's `least` become 0, or that size with their own sign,
    with the probability that makes it right on average; a function of `key` alone (Wangni et al.,
    Gradient Sparsification, NeurIPS 2018, section 2). Owner: sample.

    Parameters
    ----------
    gradient : (n_samples, at least n_block), finite
    least : (n_samples,), not negative
    counts, places, values : outputs, (at least n_samples,) and twice (at least n_samples, at least
        n_block)

    Returns
    -------
    n : int, the number of pairs
    """
    cdef Py_ssize_t i, n = 0
    cdef const leaf_t* leaf = active_leaf()
    if n_block == 0:
        counts[:] = 0
        return 0
    for i in prange(gradient.shape[0], nogil=True, num_threads=n_threads, schedule="static"):
        counts[i] = leaf.sparsify(n_block, least[i], rng_stream(key, i), &gradient[i, 0],
                                  &places[i, 0], &values[i, 0])
        n += counts[i]
    return n


cpdef void multiply_pairs(
    const int64_t[::1] counts,
    const int32_t[:, ::1] places,
    const float[:, ::1] values,
    const float[:, ::1] block,
    float[:, ::1] out,
    int n_threads,
) noexcept:
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


cpdef void update_pairs(
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
    int32_t[::1] samples,
    float[::1] factors,
    int64_t[:, ::1] heads,
    int32_t[:, ::1] starts,
    int n_threads,
) noexcept:
    """One optimizer step of those rows `ids` that have a pair.

    The gradient of row ``ids[s]`` is the sum of ``values[i, p] * vectors[i]`` over the pairs with
    ``places[i, p] = s``.

    Parameters
    ----------
    vectors : (n_samples, width)
    ids : (n_block,), distinct rows of `weights` and entries of `bias`
    weights_m, weights_v, bias_m, bias_v : optimizer state, empty where the solver has none
    gradient : scratch, (n_threads, at least width)
    samples, factors : scratch, with room for as many pairs as there are
    heads : scratch, (n_threads, at least n_samples)
    starts : scratch, (n_threads, at least 2 * n_block + 1)

    Owner: row.
    """
    cdef Py_ssize_t part, n_block = ids.shape[0]
    cdef int32_t* sample = &samples[0] if samples.shape[0] > 0 else NULL
    cdef float* factor = &factors[0] if factors.shape[0] > 0 else NULL
    if weights.shape[1] == 0 or vectors.shape[0] == 0 or n_block == 0:
        return
    for part in prange(n_threads, nogil=True, num_threads=n_threads, schedule="static",
                       chunksize=1):
        _update_part(part * n_block // n_threads, (part + 1) * n_block // n_threads, counts,
                     places, values, vectors, ids, &optimizer.values, weights, weights_m,
                     weights_v, bias, bias_m, bias_v, &gradient[part, 0], sample, factor,
                     &heads[part, 0], &starts[part, 0])


cdef void _update_part(
    Py_ssize_t first, Py_ssize_t last, const int64_t[::1] counts, const int32_t[:, ::1] places,
    const float[:, ::1] values, const float[:, ::1] vectors, const int32_t[::1] ids,
    const optimizer_t* optimizer, row_t[:, ::1] weights, row_t[:, ::1] weights_m,
    row_t[:, ::1] weights_v, float[::1] bias, float[::1] bias_m, float[::1] bias_v, float* g,
    int32_t* samples, float* factors, int64_t* heads, int32_t* starts,
) noexcept nogil:
    """Step the rows of the block from `first` to `last`."""
    cdef const leaf_t* leaf = active_leaf()
    cdef Py_ssize_t i, j, s, n_rows = 0, before = 0, width = weights.shape[1]
    cdef Py_ssize_t ahead = rows_ahead(STEP_AHEAD, width, weights)
    cdef int32_t* touched = starts + (last - first + 1)
    cdef row_t* wanted[3]
    if first == last:
        return
    for i in range(vectors.shape[0]):
        heads[i] = _bisect(&places[i, 0], counts[i], first)
        before += heads[i]  # pairs of the other parts lie before
    samples += before
    factors += before
    _by_class(first, last, vectors.shape[0], counts, places, values, heads, starts, samples,
              factors)
    for s in range(last - first):
        touched[n_rows] = <int32_t>s
        n_rows += starts[s + 1] > starts[s]
    for j in range(n_rows):
        s = touched[j]
        memset(g, 0, width * sizeof(float))
        leaf.combine(starts[s + 1] - starts[s], width, factors + starts[s], samples + starts[s],
                     &vectors[0, 0], width, g)
        if j + ahead < n_rows:
            find_row(ids[first + touched[j + ahead]], weights, weights_m, weights_v, wanted)
        step_row(leaf, optimizer, ids[first + s], g, weights, weights_m, weights_v,
                 wanted if j + ahead < n_rows else NULL)
    j = 0
    while j < n_rows:
        _step_biases(leaf, optimizer, min(<Py_ssize_t>ENTRIES, n_rows - j), touched + j, starts,
                     factors, &ids[first], bias, bias_m, bias_v)
        j += ENTRIES


cdef void _by_class(
    Py_ssize_t first, Py_ssize_t last, Py_ssize_t n_samples, const int64_t[::1] counts,
    const int32_t[:, ::1] places, const float[:, ::1] values, const int64_t* heads,
    int32_t* starts, int32_t* samples, float* factors,
) noexcept nogil:
    """The pairs of the classes from `first` to `last`, class by class and in the order of samples:
    those of class ``first + s`` from ``starts[s]`` to ``starts[s + 1]``. Those of sample i begin at
    ``heads[i]``."""
    cdef Py_ssize_t i, p, s
    cdef int32_t n, total = 0
    memset(starts, 0, (last - first + 1) * sizeof(int32_t))
    for i in range(n_samples):
        p = heads[i]
        while p < counts[i] and places[i, p] < last:
            starts[places[i, p] - first + 1] += 1
            p += 1
    for s in range(last - first):  # starts[s + 1] becomes the place that is filled next
        n = starts[s + 1]
        starts[s + 1] = total
        total += n
    for i in range(n_samples):
        p = heads[i]
        while p < counts[i] and places[i, p] < last:
            s = places[i, p] - first + 1
            samples[starts[s]] = <int32_t>i
            factors[starts[s]] = values[i, p]
            starts[s] += 1
            p += 1


cdef inline void _step_biases(
    const leaf_t* leaf, const optimizer_t* optimizer, Py_ssize_t n, const int32_t* touched,
    const int32_t* starts, const float* factors, const int32_t* ids, float[::1] bias,
    float[::1] bias_m, float[::1] bias_v,
) noexcept nogil:
    """Step the biases of n classes, the gradient being the sum of the factors."""
    cdef float g[ENTRIES]
    cdef int32_t classes[ENTRIES]
    cdef Py_ssize_t j, p
    for j in range(n):
        classes[j] = ids[touched[j]]
        prefetch_entry(classes[j], bias, bias_m, bias_v)
        g[j] = 0
        for p in range(starts[touched[j]], starts[touched[j] + 1]):
            g[j] += factors[p]
    step_entries(leaf, optimizer, n, classes, g, bias, bias_m, bias_v)


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
