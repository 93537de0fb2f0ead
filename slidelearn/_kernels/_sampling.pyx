"""Active sets: which output neurons a batch, and each of its samples, computes."""

from cython.parallel cimport parallel, prange, threadid
from libc.stdint cimport int32_t, int64_t, uint64_t

cdef extern from "prefetch.h" nogil:
    void prefetch(const void* start, Py_ssize_t size)

cdef extern from "rng.h" nogil:
    uint64_t rng_bits(uint64_t key, uint64_t counter)
    uint64_t rng_below(uint64_t bits, uint64_t n)
    uint64_t rng_stream(uint64_t key, uint64_t index)

cdef enum:
    AHEAD = 16  # samples whose place in the CSR is asked for before it is read; half: their labels


def collect_labels(
    const int64_t[::1] label_indptr,
    const int32_t[::1] labels,
    const int64_t[::1] rows,
    int32_t[::1] slot,
    int32_t[::1] shared,
):
    """The distinct labels of a batch, in order of first occurrence.

    Parameters
    ----------
    label_indptr, labels, rows : CSR structure of the labels and the rows of the batch
    slot : (n_classes,) -1 on entry; 0 on return for the classes collected
    shared : output; room for the labels of the batch

    Returns
    -------
    n : int, the number of classes in `shared`
    """
    cdef Py_ssize_t i, p, n = 0
    cdef int32_t c
    with nogil:
        for i in range(rows.shape[0]):
            if i + AHEAD < rows.shape[0]:
                prefetch(&label_indptr[rows[i + AHEAD]], 2 * sizeof(int64_t))
            if i + AHEAD // 2 < rows.shape[0]:
                p = label_indptr[rows[i + AHEAD // 2]]
                if p < labels.shape[0]:
                    prefetch(&labels[p], sizeof(int32_t))
            for p in range(label_indptr[rows[i]], label_indptr[rows[i] + 1]):
                c = labels[p]
                if slot[c] < 0:
                    slot[c] = 0
                    shared[n] = c
                    n += 1
    return n


def draw_shared(
    uint64_t key, Py_ssize_t n_random, Py_ssize_t n, int32_t[::1] slot, int32_t[::1] shared
):
    """Append `n_random` classes to the `n` in `shared`, uniform draws without replacement.

    Parameters
    ----------
    n_random : at most half of the classes without a slot (rejection sampling)
    n : number of classes that have a slot; they fill ``shared[:n]``
    slot : (n_classes,) as `collect_labels` leaves it; 0 on return for the classes drawn, too
    shared : in and out; room for ``n + n_random``

    Raises
    ------
    ValueError
        n_random is too large.
    """
    cdef Py_ssize_t target = n + n_random
    cdef uint64_t counter = 0
    cdef int32_t c
    if 2 * n_random > slot.shape[0] - n:
        raise ValueError(f"n_random={n_random} is more than half of {slot.shape[0] - n} classes.")
    with nogil:
        while n < target:
            c = <int32_t>rng_below(rng_bits(key, counter), slot.shape[0])
            counter += 1
            if slot[c] < 0:
                slot[c] = 0
                shared[n] = c
                n += 1


def assign_slots(const int32_t[::1] shared, int32_t[::1] slot):
    """``slot[shared[s]] = s``."""
    cdef Py_ssize_t s
    with nogil:
        for s in range(shared.shape[0]):
            slot[shared[s]] = <int32_t>s


def clear_slots(const int32_t[::1] shared, int32_t[::1] slot):
    """``slot[shared[s]] = -1``."""
    cdef Py_ssize_t s
    with nogil:
        for s in range(shared.shape[0]):
            slot[shared[s]] = -1


def own_active_sets(
    const int64_t[::1] label_indptr,
    const int32_t[::1] labels,
    const int64_t[::1] rows,
    const int32_t[::1] slot,
    const int32_t[:, ::1] candidates,
    const int32_t[::1] n_candidates,
    uint64_t key,
    Py_ssize_t floor,
    int64_t[:, ::1] seen,
    int64_t tag,
    int32_t[:, ::1] own,
    int32_t[::1] n_own,
    int n_threads,
):
    """Each sample's own part of the active set, without classes that have a slot.

    In this order: its true labels, its LSH candidates, and random classes until the sample has
    `floor` classes (SLIDE reference: 1000). Owner: sample.

    Parameters
    ----------
    slot : (n_classes,) >= 0 for classes that the batch shares
    candidates, n_candidates : (n_batch, width) and (n_batch,), as `LSHIndex.query` returns them
    floor : at most half of all classes, none of which has a slot unless it is 0 (rejection
        sampling)
    seen : scratch, (n_threads, n_classes), entries below `tag`
    tag : the samples use tag, tag + 1, ...
    own, n_own : outputs; (n_batch, room for labels + candidates + floor) and (n_batch,)

    Raises
    ------
    ValueError
        floor is too large.
    """
    cdef Py_ssize_t i, p, n, n_classes = slot.shape[0]
    cdef int32_t c
    cdef int64_t* mark = NULL
    cdef uint64_t counter, stream
    if 2 * floor > n_classes:
        raise ValueError(f"floor={floor} is more than half of {n_classes} classes.")
    if n_classes == 0:
        n_own[:] = 0
        return
    with nogil, parallel(num_threads=n_threads):
        mark = &seen[threadid(), 0]
        for i in prange(rows.shape[0], schedule="static"):
            n = 0
            for p in range(label_indptr[rows[i]], label_indptr[rows[i] + 1]):
                c = labels[p]
                if slot[c] < 0:
                    mark[c] = tag + i
                    own[i, n] = c
                    n = n + 1
            for p in range(n_candidates[i]):
                c = candidates[i, p]
                if slot[c] < 0 and mark[c] != tag + i:
                    mark[c] = tag + i
                    own[i, n] = c
                    n = n + 1
            stream = rng_stream(key, i)
            counter = 0
            while n < floor:
                c = <int32_t>rng_below(rng_bits(stream, counter), n_classes)
                counter = counter + 1
                if slot[c] < 0 and mark[c] != tag + i:
                    mark[c] = tag + i
                    own[i, n] = c
                    n = n + 1
            n_own[i] = <int32_t>n
