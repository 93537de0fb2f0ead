"""The heap of the k best (score, class) of a sample, worst first; see _topk.pyx for the order."""

from libc.math cimport INFINITY
from libc.stdint cimport int32_t

cdef enum:
    NO_CLASS = 2147483647  # in a place that is empty, whose score is -inf


cdef inline bint worse(float s, int32_t c, float t, int32_t d) noexcept nogil:
    return s < t or (s == t and c > d)


cdef inline void sift_down(float* scores, int32_t* ids, Py_ssize_t k, Py_ssize_t i, float score,
                           int32_t c) noexcept nogil:
    # Put (score, c) in place i of a k-heap, or below.
    cdef Py_ssize_t child = 2 * i + 1
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
        sift_down(scores, ids, k, 0, score, c)


cdef inline void offer_all(float* scores, int32_t* ids, Py_ssize_t k, const float* more,
                           const int32_t* more_ids, Py_ssize_t n) noexcept nogil:
    # Offer n of them; fast if the heap is empty.
    cdef Py_ssize_t p = 0, i
    if scores[0] == -INFINITY and ids[0] == NO_CLASS and n >= k:
        for p in range(k):
            scores[p] = more[p] if more[p] == more[p] else -INFINITY
            ids[p] = more_ids[p]
        p = k
        for i in range(k // 2 - 1, -1, -1):
            sift_down(scores, ids, k, i, scores[i], ids[i])
    for p in range(p, n):
        offer(scores, ids, k, more[p], more_ids[p])


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
        sift_down(scores, ids, k, 0, score, c)
