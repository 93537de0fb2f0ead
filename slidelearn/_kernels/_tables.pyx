"""Hash tables with bounded buckets, and the queries that sample them (SLIDE, arXiv:1903.03129).

A table is a CSR structure: the bucket of slot s is ``ids[indptr[s]:indptr[s + 1]]``. It is derived
from the slots of all rows by a counting sort; one thread owns a table. A query is answered by the
one thread that owns the sample.
"""

from cython.parallel cimport prange, threadid
from libc.stdint cimport int32_t, uint64_t

cdef extern from "rng.h" nogil:
    uint64_t rng_bits(uint64_t key, uint64_t counter)
    uint64_t rng_stream(uint64_t key, uint64_t index)
    uint64_t rng_below(uint64_t bits, uint64_t n)

cdef enum:
    RADIX_BITS = 11
    RADIX = 1 << RADIX_BITS

SORT_COUNTERS = RADIX


# Building

def build_tables(const int32_t[:, ::1] slots, Py_ssize_t bucket_size, bint reservoir,
                 const uint64_t[::1] keys, int32_t[:, ::1] seen,
                 int32_t[:, ::1] indptr, int32_t[:, ::1] ids, int n_threads):
    """Fill the buckets of every table (section 3.1 and 4.2, "insertion").

    Parameters
    ----------
    slots : int32 array of shape (n_tables, n_rows)
        Entries in [0, n_slots).
    bucket_size : int
        Rows that a bucket can hold.
    reservoir : bool
        What survives in a bucket that overflows: a uniform random sample of its rows (Vitter
        1985, algorithm R), or else the last ones (FIFO). Rows are inserted in ascending order.
    keys : uint64 array of shape (n_tables,)
        Keys of the random numbers of each table's reservoir.
    seen : int32 array of shape (n_threads, n_slots), scratch
    indptr : int32 array of shape (n_tables, n_slots + 1), output
    ids : int32 array of shape (n_tables, n_rows), output
        -1 behind the last bucket. FIFO buckets ascend; reservoirs are in no special order.
    n_threads : int
    """
    cdef Py_ssize_t table
    for table in prange(slots.shape[0], nogil=True, num_threads=n_threads, schedule="static",
                        chunksize=1):
        _size_buckets(slots[table], bucket_size, seen[threadid()], indptr[table])
        ids[table, indptr[table, seen.shape[1]]:] = -1
        if reservoir:
            _fill_reservoirs(slots[table], bucket_size, keys[table], seen[threadid()],
                             indptr[table], ids[table])
        else:
            _fill_fifo(slots[table], seen[threadid()], indptr[table], ids[table])


cdef void _size_buckets(const int32_t[::1] slots, Py_ssize_t bucket_size, int32_t[::1] seen,
                        int32_t[::1] indptr) noexcept nogil:
    """Count the rows of each slot in `seen`; indptr makes room for bucket_size of them."""
    cdef Py_ssize_t row, slot
    seen[:] = 0
    for row in range(slots.shape[0]):
        seen[slots[row]] += 1
    indptr[0] = 0
    for slot in range(seen.shape[0]):
        indptr[slot + 1] = indptr[slot] + <int32_t>min(<Py_ssize_t>seen[slot], bucket_size)


cdef void _fill_fifo(const int32_t[::1] slots, int32_t[::1] seen, const int32_t[::1] indptr,
                     int32_t[::1] ids) noexcept nogil:
    """The last rows of each slot; `seen` counts down to the number of rows still to come."""
    cdef Py_ssize_t row, position
    cdef int32_t slot
    for row in range(slots.shape[0]):
        slot = slots[row]
        position = indptr[slot + 1] - seen[slot]
        if position >= indptr[slot]:
            ids[position] = <int32_t>row
        seen[slot] -= 1


cdef void _fill_reservoirs(const int32_t[::1] slots, Py_ssize_t bucket_size, uint64_t key,
                           int32_t[::1] seen, const int32_t[::1] indptr,
                           int32_t[::1] ids) noexcept nogil:
    """The i-th row of a slot takes place i, or once the bucket is full a random one below i."""
    cdef Py_ssize_t row, place
    cdef int32_t slot
    seen[:] = 0
    for row in range(slots.shape[0]):
        slot = slots[row]
        place = seen[slot]
        if place >= bucket_size:
            place = <Py_ssize_t>rng_below(rng_bits(key, row), place + 1)
        if place < bucket_size:
            ids[indptr[slot] + place] = <int32_t>row
        seen[slot] += 1


# Querying

def most_collisions(const int32_t[:, ::1] indptr, const int32_t[:, ::1] ids,
                    const int32_t[:, ::1] slots, int32_t min_collisions,
                    int32_t[:, ::1] hits, int32_t[:, ::1] touched, int32_t[:, ::1] counters,
                    int32_t[:, ::1] candidates, int32_t[::1] counts, int n_threads):
    """Per sample, the rows that share its bucket in most tables (section 4.1, "TopK").

    With `min_collisions` above 1 this is the strategy "hard thresholding", bounded.

    Parameters
    ----------
    indptr : int32 array of shape (n_tables, n_slots + 1)
    ids : int32 array of shape (n_tables, n_rows)
        No row is twice in a table: it would collide more often than there are counters.
    slots : int32 array of shape (n_tables, n_samples)
        Entries in [0, n_slots).
    min_collisions : int
        In [1, n_tables + 1]; rows with fewer collisions are no candidates.
    hits : int32 array of shape (n_threads, n_rows), scratch
        Zero on entry and on return.
    touched : int32 array of shape (n_threads, 2 * n_touched), scratch
        Any n_tables buckets hold at most n_touched distinct rows.
    counters : int32 array of shape (n_threads, max(SORT_COUNTERS, n_tables + 2)), scratch
    candidates : int32 array of shape (n_samples, n_candidates), output
        Distinct row ids, ascending, then -1. Of rows with as many collisions the first are taken.
    counts : int32 array of shape (n_samples,), output
        Number of ids in each row of `candidates`.
    n_threads : int
    """
    cdef Py_ssize_t sample
    cdef int thread
    for sample in prange(slots.shape[1], nogil=True, num_threads=n_threads, schedule="dynamic"):
        thread = threadid()
        counts[sample] = _take_most_collisions(
            indptr, ids, slots, sample, min_collisions, hits[thread], touched[thread],
            counters[thread], candidates[sample])


cdef int32_t _take_most_collisions(
    const int32_t[:, ::1] indptr, const int32_t[:, ::1] ids, const int32_t[:, ::1] slots,
    Py_ssize_t sample, int32_t min_collisions, int32_t[::1] hits, int32_t[::1] touched,
    int32_t[::1] counters, int32_t[::1] out
) noexcept nogil:
    cdef Py_ssize_t table, i, n_touched = 0, n_kept = 0, n_tables = slots.shape[0]
    cdef Py_ssize_t spare
    cdef int32_t slot, row, n, surely, maybe, n_taken = 0
    counters[:n_tables + 2] = 0  # counters[n]: rows with n collisions or more
    for table in range(n_tables):
        slot = slots[table, sample]
        for i in range(indptr[table, slot], indptr[table, slot + 1]):
            row = ids[table, i]
            n = hits[row] + 1
            hits[row] = n
            if n == 1:
                touched[n_touched] = row
                n_touched += 1
            else:
                counters[n] += 1
    counters[1] = <int32_t>n_touched
    surely = min_collisions  # all rows with so many collisions are taken ...
    while counters[surely] > out.shape[0]:
        surely += 1
    spare = out.shape[0] - counters[surely]  # ... and the first of those with one less
    maybe = surely - 1 if spare > 0 and surely > min_collisions else surely
    for i in range(n_touched):
        row = touched[i]
        if hits[row] >= maybe:
            touched[n_kept] = row
            n_kept += 1
        else:
            hits[row] = 0
    _sort(touched, n_kept, hits.shape[0], counters)
    for i in range(n_kept):
        row = touched[i]
        n = hits[row]
        hits[row] = 0
        if n < surely:
            if spare == 0:
                continue
            spare -= 1
        out[n_taken] = row
        n_taken += 1
    out[n_taken:] = -1
    return n_taken


def first_collisions(const int32_t[:, ::1] indptr, const int32_t[:, ::1] ids,
                     const int32_t[:, ::1] slots, uint64_t key, const uint64_t[::1] sample_keys,
                     int32_t[:, ::1] hits, int32_t[:, ::1] touched, int32_t[:, ::1] counters,
                     int32_t[:, ::1] candidates, int32_t[::1] counts, int n_threads):
    """Per sample, the rows of its buckets in randomly ordered tables (section 4.1, "Vanilla").

    Tables are probed until there are n_candidates distinct rows; each bucket is read from a random
    place on, around its end, so that the one that is read in part prefers no rows.

    Parameters
    ----------
    indptr, ids, slots, hits, touched, counters, candidates, counts, n_threads
        As for `most_collisions`, but `touched` needs just ``2 * n_candidates`` columns.
    key : int
    sample_keys : uint64 array of shape (n_samples,)
        The random order is a function of `key` and the sample's key, not of its place.
    """
    cdef Py_ssize_t sample
    cdef int thread
    for sample in prange(slots.shape[1], nogil=True, num_threads=n_threads, schedule="dynamic"):
        thread = threadid()
        counts[sample] = _take_first_collisions(
            indptr, ids, slots, sample, rng_stream(key, sample_keys[sample]), hits[thread],
            touched[thread], counters[thread], candidates[sample])


cdef int32_t _take_first_collisions(
    const int32_t[:, ::1] indptr, const int32_t[:, ::1] ids, const int32_t[:, ::1] slots,
    Py_ssize_t sample, uint64_t key, int32_t[::1] hits, int32_t[::1] touched,
    int32_t[::1] order, int32_t[::1] out
) noexcept nogil:
    cdef Py_ssize_t n_tables = slots.shape[0], i, j
    cdef int32_t table, slot, start, size, offset, row, n_taken = 0
    for i in range(n_tables):
        order[i] = <int32_t>i
    for i in range(n_tables):
        if n_taken == out.shape[0]:
            break
        j = i + <Py_ssize_t>rng_below(rng_bits(key, 2 * i), n_tables - i)
        table = order[j]
        order[j] = order[i]
        slot = slots[table, sample]
        start = indptr[table, slot]
        size = indptr[table, slot + 1] - start
        offset = <int32_t>rng_below(rng_bits(key, 2 * i + 1), size)
        for j in range(size):
            row = ids[table, start + (offset + j) % size]
            if hits[row] == 0 and n_taken < out.shape[0]:
                hits[row] = 1
                touched[n_taken] = row
                n_taken += 1
    _sort(touched, n_taken, hits.shape[0], order)
    for i in range(n_taken):
        hits[touched[i]] = 0
        out[i] = touched[i]
    out[n_taken:] = -1
    return n_taken


cdef void _sort(int32_t[::1] values, Py_ssize_t n, Py_ssize_t bound,
                int32_t[::1] counters) noexcept nogil:
    """Sort values[:n], all in [0, bound), by radix; the second half of `values` is scratch."""
    cdef Py_ssize_t i, digit, source = 0, target = values.shape[0] // 2
    cdef int32_t n_before, n_here
    cdef int shift = 0
    while bound - 1 >> shift > 0 and n > 1:
        counters[:RADIX] = 0
        for i in range(source, source + n):
            counters[values[i] >> shift & (RADIX - 1)] += 1
        n_before = 0
        for digit in range(RADIX):
            n_here = counters[digit]
            counters[digit] = n_before
            n_before += n_here
        for i in range(source, source + n):
            digit = values[i] >> shift & (RADIX - 1)
            values[target + counters[digit]] = values[i]
            counters[digit] += 1
        source, target = target, source
        shift += RADIX_BITS
    if source > 0:
        values[:n] = values[source:source + n]
