"""The k best classes of each sample, without an array of all scores.

Ties go to the smaller class index: a heap entry is worse if its score is lower, or equal with a
larger index, so the result is the first k columns of a stable descending sort. A score that is
NaN (overflow) counts as -inf, so that a result always holds k classes.
"""

from cython.parallel cimport parallel, prange, threadid
from libc.math cimport INFINITY
from libc.stdint cimport int32_t

from ._heap cimport NO_CLASS, offer, offer_all, sort_heap
from ._simd cimport active_leaf, leaf_t, row_t

cdef enum:
    CLASSES = 48  # classes scored between two looks at the heaps
    SLICE = 64  # columns of bfloat16 rows made float32 at a time

CLASS_BLOCK = CLASSES
EMPTY = NO_CLASS


cdef void _add_products(const leaf_t* leaf, Py_ssize_t rows, Py_ssize_t block, Py_ssize_t width,
                        const row_t* weights, const float* hidden, float* z) noexcept nogil:
    # z[c, i] += weights[c] . hidden[:, i], one chain each, for at most CLASSES rows.
    cdef float[CLASSES * SLICE] wide
    cdef Py_ssize_t c, n, first = 0
    if row_t is float:
        leaf.gemm(rows, block, width, weights, width, 1, hidden, block, z, block, NULL)
    else:
        while first < width:
            n = min(<Py_ssize_t>SLICE, width - first)
            for c in range(rows):
                leaf.widen(n, weights + c * width + first, wide + c * SLICE)
            leaf.gemm(rows, block, n, wide, SLICE, 1, hidden + first * block, block, z, block,
                      NULL)
            first += n


def exact_topk(
    const float[:, :, ::1] hidden,
    const row_t[:, ::1] weights,
    const float[::1] bias,
    Py_ssize_t first,
    Py_ssize_t last,
    Py_ssize_t n_splits,
    float[:, ::1] logits,
    float[:, :, :, ::1] scores,
    int32_t[:, :, :, ::1] ids,
    int n_threads,
):
    """Push the logits of classes first, ..., last - 1 on the heaps of all samples.

    Call it for consecutive ranges of classes, then `sort_topk`.

    Parameters
    ----------
    hidden : (n_blocks, width, block), hidden activations, transposed in blocks of samples
    weights, bias : (n_classes, width), (n_classes,)
    n_splits : the range is cut in so many parts, each with heaps of its own
    logits : scratch, (n_threads, CLASS_BLOCK * block)
    scores, ids : in and out, heaps; (n_splits, n_blocks, block, k), at the start -inf and
        2**31 - 1

    Each logit is one chain of multiply-adds that starts at the bias, so it doesn't depend on how
    samples are blocked. Owner: (split, block of samples).
    """
    cdef Py_ssize_t task, split, b, c, i, rows, low, high, start, stop
    cdef Py_ssize_t width = hidden.shape[1], block = hidden.shape[2], k = scores.shape[3]
    cdef Py_ssize_t step = (last - first + n_splits - 1) // n_splits
    cdef float* z = NULL
    cdef float* heap = NULL
    cdef int32_t* heap_ids = NULL
    cdef const leaf_t* leaf = active_leaf()
    if block == 0 or k == 0:
        return
    with nogil, parallel(num_threads=n_threads):
        z = &logits[threadid(), 0]
        for task in prange(n_splits * hidden.shape[0], schedule="dynamic", chunksize=1):
            split = task // hidden.shape[0]
            b = task % hidden.shape[0]
            heap = &scores[split, b, 0, 0]
            heap_ids = &ids[split, b, 0, 0]
            start = first + split * step
            stop = min(last, start + step)
            low = start
            while low < stop:
                high = min(low + CLASSES, stop)
                rows = high - low
                for c in range(rows):
                    for i in range(block):
                        z[c * block + i] = bias[low + c]
                if width > 0:
                    _add_products(leaf, rows, block, width, &weights[low, 0],
                                  &hidden[b, 0, 0], z)
                for c in range(rows):
                    for i in range(block):
                        if not z[c * block + i] < heap[i * k]:
                            offer(heap + i * k, heap_ids + i * k, k, z[c * block + i],
                                  <int32_t>(low + c))
                low = high


def candidate_topk(
    const float[:, ::1] hidden,
    const row_t[:, ::1] weights,
    const float[::1] bias,
    const int32_t[:, ::1] candidates,
    const int32_t[::1] n_candidates,
    float[:, ::1] scores,
    int32_t[:, ::1] ids,
    int n_threads,
):
    """The k best of each sample's candidates, best first; places without a candidate stay.

    `scores` and `ids`, (n_samples, k), hold -inf and 2**31 - 1 on entry. A logit is the same chain
    of multiply-adds as in `exact_topk`. Owner: sample.
    """
    cdef Py_ssize_t i, p, width = hidden.shape[1], k = scores.shape[1]
    cdef int32_t c
    cdef float z
    cdef const leaf_t* leaf = active_leaf()
    if k == 0:
        return
    for i in prange(hidden.shape[0], nogil=True, num_threads=n_threads, schedule="dynamic",
                    chunksize=4):
        for p in range(n_candidates[i]):
            c = candidates[i, p]
            z = bias[c]
            if width > 0:
                _add_products(leaf, 1, 1, width, &weights[c, 0], &hidden[i, 0], &z)
            offer(&scores[i, 0], &ids[i, 0], k, z, c)
        sort_heap(&scores[i, 0], &ids[i, 0], k)


def best_of(const float[:, ::1] scores, const int32_t[:, ::1] ids, float[:, ::1] best,
            int32_t[:, ::1] best_ids, int n_threads):
    """The k best of each row's m (score, class) pairs, best first.

    `scores` and `ids`, (n, m), with ``m >= k``; `best` and `best_ids`, outputs, (n, k). Owner: row.
    """
    cdef Py_ssize_t i, j, m = scores.shape[1], k = best.shape[1]
    if k == 0:
        return
    for i in prange(best.shape[0], nogil=True, num_threads=n_threads, schedule="static"):
        for j in range(k):
            best[i, j] = -INFINITY
            best_ids[i, j] = NO_CLASS
        offer_all(&best[i, 0], &best_ids[i, 0], k, &scores[i, 0], &ids[i, 0], m)
        sort_heap(&best[i, 0], &best_ids[i, 0], k)
