"""The k best classes of each sample, most classes being ruled out by a bound in 8-bit arithmetic.

See `_pruning.py` for the bound. What isn't ruled out is scored by the same chain of multiply-adds
as in `_topk`, and what is best is told in the same way: so the result is the same, bit for bit.
"""

from cython.parallel cimport prange
from libc.math cimport INFINITY
from libc.stdint cimport int8_t, int32_t, uint8_t, uint32_t
from libc.string cimport memcpy

from . cimport _simd
from ._heap cimport NO_CLASS, offer_all, sort_heap
from ._simd cimport active_leaf, leaf_t, lowest_bit, prefetch

cdef enum:
    N_SAMPLES = _simd.SCREEN_SAMPLES
    N_CLASSES = _simd.SCREEN_CLASSES
    AT_ONCE = 256  # classes scored exactly between two looks at the heap
    RANKED = _simd.RANK_ROOM  # candidates and heap together that are sorted without it
    LOOK = 24  # new candidates, at least, between two looks at the threshold

SAMPLES, CLASSES, LANES = N_SAMPLES, N_CLASSES, _simd.BOUND_LANES
CLASS_NUMBERS = {"base": _simd.SCREEN_BASE, "scale1": _simd.SCREEN_SCALE1,
                 "bound1": _simd.SCREEN_BOUND1, "scale2": _simd.SCREEN_SCALE2,
                 "bound2": _simd.SCREEN_BOUND2, "slack": _simd.SCREEN_SLACK}
SAMPLE_NUMBERS = {"least": _simd.SAMPLE_LEAST, "scale1": _simd.SAMPLE_SCALE1,
                  "bound1": _simd.SAMPLE_BOUND1, "scale2": _simd.SAMPLE_SCALE2,
                  "bound2": _simd.SAMPLE_BOUND2, "norm": _simd.SAMPLE_NORM}


def quantise(const float[:, ::1] x, Py_ssize_t split, Py_ssize_t lanes, int offset,
             uint8_t[::1] codes, double[:, :, ::1] stats, int n_threads):
    """Rows as 8-bit codes, ``x ~ scale * code``, with a scale before and one from column `split`.

    Parameters
    ----------
    x : (n, depth), finite, depth a multiple of 4
    split : a multiple of 4
    lanes : so many rows lie side by side, four coordinates each
    offset : added to the codes, which lie in [-127, 127]
    codes : out, (n * depth,)
    stats : out, (n, 2, 5): scale; lengths of x, of x - scale * code, and of scale * code; the sum
        of the codes

    Owner: row.
    """
    cdef Py_ssize_t i, start, depth = x.shape[1]
    cdef const leaf_t* leaf = active_leaf()
    for i in prange(x.shape[0], nogil=True, num_threads=n_threads, schedule="static"):
        start = i // lanes * lanes * depth + i % lanes * 4
        if split > 0:
            leaf.quantise(split, &x[i, 0], 4 * lanes, offset, &codes[start], &stats[i, 0, 0])
        if split < depth:
            leaf.quantise(depth - split, &x[i, split], 4 * lanes, offset,
                          &codes[start + split * lanes], &stats[i, 1, 0])


cdef struct layer_t:
    Py_ssize_t width, groups, groups1
    const float* weights
    const float* bias
    const int32_t* order
    const uint8_t* codes
    const float* classes
    const float* most


cdef struct search_t:  # of some samples in one part of the classes; shapes as in `pruned_topk`
    Py_ssize_t k, room
    const float* hidden
    const int8_t* codes
    const int32_t* start
    float* sample
    float* group_least
    float* uppers
    float* lowers
    int32_t* found
    int32_t* counts
    int32_t* next_look
    float* scores
    int32_t* ids


cdef inline float* _least(const search_t* s, Py_ssize_t i) noexcept nogil:
    # The threshold of sample i: no class with a lower score is among its k best.
    return s.sample + i * _simd.SAMPLE_NUMBERS + _simd.SAMPLE_LEAST


cdef void _look(search_t* s, Py_ssize_t i, const leaf_t* leaf) noexcept nogil:
    # Raise the threshold of sample i to its k-th lower bound.
    cdef float* least = _least(s, i)
    if s.counts[i] >= s.k:
        least[0] = leaf.kth_bound(s.counts[i], s.k, least[0], s.lowers + i * s.room)


cdef void _drop(search_t* s, Py_ssize_t i) noexcept nogil:
    # Drop the candidates of sample i below its threshold.
    cdef float* uppers = s.uppers + i * s.room
    cdef float* lowers = s.lowers + i * s.room
    cdef int32_t* found = s.found + i * s.room
    cdef float least = _least(s, i)[0]
    cdef int32_t p, n = 0
    for p in range(s.counts[i]):
        uppers[n] = uppers[p]
        lowers[n] = lowers[p]
        found[n] = found[p]
        n += uppers[p] >= least
    s.counts[i] = n


cdef void _settle(const layer_t* layer, search_t* s, Py_ssize_t i,
                  const leaf_t* leaf) noexcept nogil:
    # Score all candidates of sample i.
    cdef float z[AT_ONCE]
    cdef const int32_t* found = s.found + i * s.room
    cdef Py_ssize_t p = 0, n
    while p < s.counts[i]:
        n = min(<Py_ssize_t>AT_ONCE, s.counts[i] - p)
        leaf.chains(n, layer.width, layer.weights, layer.bias, found + p,
                    s.hidden + i * layer.width, z)
        offer_all(s.scores + i * s.k, s.ids + i * s.k, s.k, z, found + p, n)
        p += n
    s.counts[i] = 0
    _least(s, i)[0] = max(_least(s, i)[0], s.scores[i * s.k])


cdef void _finish(const layer_t* layer, search_t* s, Py_ssize_t i,
                  const leaf_t* leaf) noexcept nogil:
    # Score the candidates of sample i that are left; its heap becomes its k best, best first.
    cdef float z[RANKED]
    cdef int32_t found[RANKED]
    cdef float* scores = s.scores + i * s.k
    cdef int32_t* ids = s.ids + i * s.k
    cdef Py_ssize_t p, n
    _look(s, i, leaf)
    _drop(s, i)
    n = s.counts[i]
    if n + s.k > RANKED:
        _settle(layer, s, i, leaf)
        sort_heap(scores, ids, s.k)
        return
    leaf.chains(n, layer.width, layer.weights, layer.bias, s.found + i * s.room,
                s.hidden + i * layer.width, z)
    memcpy(found, s.found + i * s.room, n * sizeof(int32_t))
    for p in range(s.k):
        if ids[p] != NO_CLASS:
            z[n] = scores[p]
            found[n] = ids[p]
            n += 1
            ids[p] = NO_CLASS
            scores[p] = -INFINITY
    leaf.rank(n, s.k, z, found, scores, ids)
    s.counts[i] = 0


cdef bint _take(const layer_t* layer, search_t* s, Py_ssize_t i, Py_ssize_t tile, uint32_t mask,
                const float* upper, const leaf_t* leaf) noexcept nogil:
    # Make candidates of some classes of a tile; returns whether the threshold may have risen.
    cdef const float* numbers = layer.classes + tile * _simd.CLASS_NUMBERS * N_CLASSES
    cdef const int32_t* order = layer.order + tile * N_CLASSES
    cdef float bound = s.sample[i * _simd.SAMPLE_NUMBERS + _simd.SAMPLE_BOUND2], lower
    cdef Py_ssize_t c, p = i * s.room + s.counts[i]
    while mask:
        c = lowest_bit(mask)
        mask &= mask - 1
        if order[c] < 0:
            break
        s.uppers[p] = upper[c]
        lower = upper[c] - <float>2.0 * (numbers[_simd.SCREEN_BOUND2 * N_CLASSES + c] * bound
                                         + numbers[_simd.SCREEN_SLACK * N_CLASSES + c])
        s.lowers[p] = lower if lower == lower else -INFINITY  # a class that has no codes
        s.found[p] = order[c]
        p += 1
    s.counts[i] = <int32_t>(p - i * s.room)
    if s.counts[i] < s.next_look[i]:
        return False
    _look(s, i, leaf)
    if s.counts[i] > s.room - N_CLASSES:
        _drop(s, i)
        if s.counts[i] > s.room - 2 * N_CLASSES:
            _settle(layer, s, i, leaf)
    s.next_look[i] = <int32_t>min(s.room - N_CLASSES + 1, s.counts[i] + max(s.k // 2, LOOK))
    return True


cdef inline void _ask_for(const uint8_t* codes, Py_ssize_t size, Py_ssize_t part,
                          Py_ssize_t n_parts) noexcept nogil:
    # One of n_parts of some codes of the next tile.
    cdef Py_ssize_t share = (size + n_parts - 1) // n_parts
    prefetch(codes + part * share, min(share, size - part * share))


cdef void _search(const layer_t* layer, search_t* s, Py_ssize_t low, Py_ssize_t high,
                  Py_ssize_t tile) noexcept nogil:
    # One tile of classes for samples low, ..., high - 1.
    cdef float upper[N_SAMPLES * N_CLASSES]
    cdef uint32_t kept[N_SAMPLES]
    cdef Py_ssize_t group, i, j, n, depth = 4 * layer.groups
    cdef const uint8_t* codes = layer.codes + tile * depth * N_CLASSES
    cdef const float* numbers = layer.classes + tile * _simd.CLASS_NUMBERS * N_CLASSES
    cdef const float* most = layer.most + 2 * tile
    cdef const leaf_t* leaf = active_leaf()
    cdef float* group_least
    cdef float* sample
    cdef Py_ssize_t n_groups = (high - low + N_SAMPLES - 1) // N_SAMPLES, part
    cdef int reached
    cdef bint looked
    for group in range(low // N_SAMPLES, (high + N_SAMPLES - 1) // N_SAMPLES):
        i = group * N_SAMPLES
        group_least = s.group_least + group
        sample = s.sample + i * _simd.SAMPLE_NUMBERS
        if most[0] + most[1] * sample[_simd.SAMPLE_NORM] < group_least[0]:
            continue
        part = group - low // N_SAMPLES
        _ask_for(codes + depth * N_CLASSES, 4 * layer.groups1 * N_CLASSES, part, n_groups)
        reached = leaf.screen(layer.groups1, layer.groups - layer.groups1, s.codes + i * depth,
                              s.start + 2 * i, sample, codes, numbers, upper, kept)
        if reached >= 1:
            _ask_for(codes + (depth + 4 * layer.groups1) * N_CLASSES,
                     (depth - 4 * layer.groups1) * N_CLASSES, part, n_groups)
        if reached < 2:
            continue
        n = min(<Py_ssize_t>N_SAMPLES, high - i)
        looked = False
        for j in range(n):
            if kept[j]:
                looked |= _take(layer, s, i + j, tile, kept[j], upper + j * N_CLASSES, leaf)
        if looked:
            group_least[0] = INFINITY
            for j in range(n):
                group_least[0] = min(group_least[0], _least(s, i + j)[0])


def pruned_topk(
    const float[:, ::1] hidden,
    const float[:, ::1] weights,
    const float[::1] bias,
    const int32_t[:, ::1] order,
    const uint8_t[:, :, :, ::1] codes,
    const float[:, :, ::1] classes,
    const float[:, ::1] most,
    Py_ssize_t groups1,
    const int8_t[:, :, ::1] sample_codes,
    const int32_t[:, :, ::1] start,
    float[:, :, ::1] sample,
    float[:, ::1] group_least,
    Py_ssize_t block,
    Py_ssize_t first,
    Py_ssize_t last,
    float[:, :, ::1] uppers,
    float[:, :, ::1] lowers,
    int32_t[:, :, ::1] found,
    int32_t[:, ::1] counts,
    int32_t[:, ::1] next_look,
    float[:, :, ::1] scores,
    int32_t[:, :, ::1] ids,
    int n_threads,
):
    """Search tiles first, ..., last - 1 for the k best classes of all samples.

    Call it for consecutive ranges of tiles, and with ``first == last`` at the end, to score the
    candidates that are left and sort. Rows marked (*): for the next multiple of
    SAMPLES.

    Parameters
    ----------
    hidden, weights, bias : (n, width), (n_classes, width), (n_classes,), width at least 1
    order : (n_tiles, CLASSES), the classes of each tile, -1 where there is none
    codes : (n_tiles, groups, CLASSES, 4)
    classes : (n_tiles, CLASS_NUMBERS, CLASSES), see simd/screen.h
    most : (n_tiles, 2), the greatest base and the greatest length of the rows of each tile
    groups1 : groups of coordinates of the first bound
    sample_codes : (* / SAMPLES, SAMPLES, 4 * groups) if `_simd.has_sample_rows()`, else the same
        numbers as (* / SAMPLES, groups, SAMPLES, 4)
    start : (* / SAMPLES, 2, SAMPLES), see simd/screen.h
    sample : in and out, (n_splits, *, SAMPLE_NUMBERS)
    group_least : in and out, (n_splits, * / SAMPLES), the least threshold of each group of samples
    block : samples of a task, a multiple of SAMPLES
    uppers, lowers, found : in and out, (n_splits, n, room), candidates and their bounds; room at
        least 4 * CLASSES and k + CLASSES, and a multiple of LANES
    counts, next_look : in and out, (n_splits, n), how many candidates there are, and at how many
        to drop some; at the start 0 and max(k, CLASSES)
    scores, ids : in and out, (n_splits, n, k), heaps; at the start -inf and 2**31 - 1, at the end
        sorted, best first

    Owner: (split, block of samples); the range is cut in n_splits parts.
    """
    cdef Py_ssize_t n = hidden.shape[0], n_splits = scores.shape[0], k = scores.shape[2]
    cdef Py_ssize_t n_blocks = (n + block - 1) // block, task
    cdef Py_ssize_t step = (last - first + n_splits - 1) // n_splits
    cdef layer_t layer
    if n == 0 or k == 0 or n_splits == 0:
        return
    layer.width, layer.groups, layer.groups1 = hidden.shape[1], codes.shape[1], groups1
    layer.weights, layer.bias, layer.order = &weights[0, 0], &bias[0], &order[0, 0]
    layer.codes, layer.classes, layer.most = &codes[0, 0, 0, 0], &classes[0, 0, 0], &most[0, 0]
    for task in prange(n_splits * n_blocks, nogil=True, num_threads=n_threads, schedule="dynamic",
                       chunksize=1):
        _run_task(&layer, hidden, sample_codes, start, sample, group_least, uppers, lowers, found,
                  counts, next_look, scores, ids, task // n_blocks, task % n_blocks * block,
                  min(n, (task % n_blocks + 1) * block), first + task // n_blocks * step,
                  min(last, first + (task // n_blocks + 1) * step), first == last)


cdef void _run_task(
    const layer_t* layer, const float[:, ::1] hidden, const int8_t[:, :, ::1] sample_codes,
    const int32_t[:, :, ::1] start, float[:, :, ::1] sample, float[:, ::1] group_least,
    float[:, :, ::1] uppers, float[:, :, ::1] lowers, int32_t[:, :, ::1] found,
    int32_t[:, ::1] counts, int32_t[:, ::1] next_look, float[:, :, ::1] scores,
    int32_t[:, :, ::1] ids, Py_ssize_t split, Py_ssize_t low, Py_ssize_t high, Py_ssize_t first,
    Py_ssize_t last, bint settle,
) noexcept nogil:
    cdef search_t s
    cdef Py_ssize_t tile, i
    cdef const leaf_t* leaf = active_leaf()
    s.k = scores.shape[2]
    s.room = uppers.shape[2]
    s.hidden = &hidden[0, 0]
    s.codes = &sample_codes[0, 0, 0]
    s.start = &start[0, 0, 0]
    s.sample = &sample[split, 0, 0]
    s.group_least = &group_least[split, 0]
    s.uppers = &uppers[split, 0, 0]
    s.lowers = &lowers[split, 0, 0]
    s.found = &found[split, 0, 0]
    s.counts = &counts[split, 0]
    s.next_look = &next_look[split, 0]
    s.scores = &scores[split, 0, 0]
    s.ids = &ids[split, 0, 0]
    leaf.begin8(layer.groups1, layer.groups - layer.groups1)
    for tile in range(first, last):
        _search(layer, &s, low, high, tile)
    leaf.end8()
    if settle:
        for i in range(low, high):
            _finish(layer, &s, i, leaf)
