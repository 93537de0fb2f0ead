"""The heap of the k best (score, class) of a sample, worst first; see _topk.pyx for the order."""

from libc.math cimport INFINITY
from libc.stdint cimport int32_t


cdef inline bint worse(float s, int32_t c, float t, int32_t d) noexcept nogil:
    return s < t or (s == t and c > d)


cdef inline void replace_worst(float* scores, int32_t* ids, Py_ssize_t k, float score,
                               int32_t c) noexcept nogil:
    # Put (score, c) in the place of the root, the worst of a k-heap, and sift it down.
    cdef Py_ssize_t i = 0, child = 1
    while child < k:
        if child + 1 < k and worse(scores[child + 1], ids[child + 1], scores[child], ids[child]):
            child += 1
        if not worse(scores[child], ids[child], score, c):
            break
        scores[i] = scores[child]
        ids[i] = ids[child]
        i = child
        child = 2 * i + 1
    scores[i] = score
    ids[i] = c


cdef inline void offer(float* scores, int32_t* ids, Py_ssize_t k, float score,
                       int32_t c) noexcept nogil:
    # Put (score, c) on a k-heap if it is better than the root; NaN counts as -inf.
    if score != score:
        score = -INFINITY
    if worse(scores[0], ids[0], score, c):
        replace_worst(scores, ids, k, score, c)


cdef inline void sort_heap(float* scores, int32_t* ids, Py_ssize_t k) noexcept nogil:
    # Heap sort in place, best first: move the worst to the end, k times.
    cdef float score
    cdef int32_t c
    while k > 1:
        k -= 1
        score = scores[k]
        c = ids[k]
        scores[k] = scores[0]
        ids[k] = ids[0]
        replace_worst(scores, ids, k, score, c)
