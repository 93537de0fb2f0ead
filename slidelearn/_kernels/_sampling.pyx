"""Active sets: which output neurons a batch, and each of its samples, computes."""

from cython.parallel cimport parallel, prange, threadid
from libc.stdint cimport int32_t, int64_t, uint64_t

from ._simd cimport prefetch_csr

cdef extern from "rng.h" nogil:
    uint64_t rng_bits(uint64_t key, uint64_t counter)
    uint64_t rng_below(uint64_t bits, uint64_t n)
    uint64_t rng_stream(uint64_t key, uint64_t index)


def draw_shared(
    const int64_t[::1] label_indptr,
    const int32_t[::1] labels,
    const int64_t[::1] rows,
    Py_ssize_t batch_size,
    Py_ssize_t n_random,
    uint64_t key,
    int64_t first,
    int32_t[:, ::1] slots,
    int32_t[:, ::1] shared,
    int64_t[::1] n_shared,
    int n_threads,
):
    """What all samples of a batch compute, for some batches: their labels and random classes.

    The distinct labels in order of first occurrence, then `n_random` of the other classes, uniform
    draws without replacement. Owner: batch.

    Parameters
    ----------
    label_indptr, labels : CSR structure of the labels
    rows : (n_rows,) those of some batches, `batch_size` each; the last may be smaller.
    key, first : the random numbers of batch b follow from the key and first + b.
    slots : (n_threads, n_classes) scratch: all -1 on entry and on return
    shared : output, (n_batches, room for the labels of a batch and n_random)
    n_shared : output, (n_batches,) how many classes that is; -1 where n_random is more than half of
        the other classes, so that all are little more and drawing them (by rejection) is slow.
    """
    cdef Py_ssize_t b, batch, size
    cdef int32_t* slot = NULL
    cdef const int32_t* label = &labels[0] if labels.shape[0] > 0 else NULL
    if slots.shape[1] == 0 or rows.shape[0] == 0:
        n_shared[:] = 0
        return
    with nogil, parallel(num_threads=n_threads):
        slot = &slots[threadid(), 0]
        for b in prange(n_shared.shape[0], schedule="dynamic"):
            batch = b * batch_size
            size = min(batch_size, rows.shape[0] - batch)
            n_shared[b] = _draw(&label_indptr[0], label, &rows[batch], size, n_random,
                                rng_stream(key, first + b), slots.shape[1], slot, shared[b])


cdef int64_t _draw(
    const int64_t* label_indptr, const int32_t* labels, const int64_t* rows, Py_ssize_t n_rows,
    Py_ssize_t n_random, uint64_t key, Py_ssize_t n_classes, int32_t* slot, int32_t[::1] shared,
) noexcept nogil:
    """The shared part of one batch; returns how many classes it has."""
    cdef Py_ssize_t i, p, s, n = 0, target
    cdef uint64_t counter = 0
    cdef int32_t c
    for i in range(n_rows):
        prefetch_csr(label_indptr, labels, rows, i, n_rows)
        for p in range(label_indptr[rows[i]], label_indptr[rows[i] + 1]):
            c = labels[p]
            if slot[c] < 0:
                slot[c] = 0
                shared[n] = c
                n += 1
    target = n + n_random if 2 * n_random <= n_classes - n else -1
    while n < target:
        c = <int32_t>rng_below(rng_bits(key, counter), n_classes)
        counter += 1
        if slot[c] < 0:
            slot[c] = 0
            shared[n] = c
            n += 1
    for s in range(n):
        slot[shared[s]] = -1
    return target


cpdef void assign_slots(const int32_t[::1] shared, int32_t[::1] slot) noexcept:
    """``slot[shared[s]] = s``."""
    cdef Py_ssize_t s
    with nogil:
        for s in range(shared.shape[0]):
            slot[shared[s]] = <int32_t>s


cpdef void clear_slots(const int32_t[::1] shared, int32_t[::1] slot) noexcept:
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
