"""Logits from products in 8-bit integers: of the output rows that a batch shares, and of all
classes for the shortlists of linear rankers.

Each row of both sides is rounded to 127 steps up to its greatest number: what that costs in
accuracy is within noise (docs/speed.md), and bytes multiply up to four times as fast as floats, or
more (AMX). Their sums are exact, so every instruction set returns the same bits.
"""

from cython.parallel cimport parallel, prange, threadid
from libc.math cimport INFINITY, nextafterf
from libc.stdint cimport int8_t, int32_t, uint8_t, uint32_t
from libc.string cimport memcpy, memset

from . cimport _simd
from ._simd cimport active_leaf, leaf_t, lowest_bit

cdef extern from "transpose.h" nogil:
    void transpose(Py_ssize_t n, Py_ssize_t width, const float* rows, float* panel, Py_ssize_t step)

cdef enum:
    TILE = _simd.SCREEN_SAMPLES  # samples
    PANEL = _simd.SCREEN_CLASSES  # classes whose codes lie side by side in the cache
    MOST = _simd.RANK_ROOM  # candidates of a sample

TILE_SAMPLES, PANEL_WIDTH = TILE, PANEL
MAX_WIDTH = 2**17  # of rows: their greatest sum, 127 * 127 * width, has to fit in 32 bits


cpdef void block_logits(
    const float[:, ::1] hidden,
    const float[:, ::1] block,
    const float[::1] bias,
    float[:, ::1] logits,
    int8_t[:, :, ::1] tiles,
    float[:, ::1] scales,
    int8_t[:, :, ::1] scratch,
    int n_threads,
) noexcept:
    """``logits[i, s] ~ bias[s] + hidden[i] . block[s]``.

    Parameters
    ----------
    hidden : (n_samples, width), not negative, width at most MAX_WIDTH
    block, bias : (n_block, width) and (n_block,)
    logits : output, (n_samples, at least n_block)
    tiles, scales : scratch for the codes of at least n_samples, (n_tiles, TILE_SAMPLES, width up to
        a multiple of 4), and their scales, (n_tiles, TILE_SAMPLES)
    scratch : (n_threads, 2 * PANEL_WIDTH, width up to a multiple of 4)

    Owner: tile of samples, then panel of classes.
    """
    cdef Py_ssize_t tile, panel, n_samples = hidden.shape[0], n_block = block.shape[0]
    cdef Py_ssize_t n_tiles = (n_samples + TILE - 1) // TILE
    cdef const leaf_t* leaf = active_leaf()
    if n_samples == 0 or n_block == 0 or hidden.shape[1] == 0:
        logits[:, :n_block] = bias
        return
    with nogil, parallel(num_threads=n_threads):
        for tile in prange(n_tiles, schedule="static"):
            _encode(leaf, tile * TILE, TILE, leaf.sample_rows, hidden,
                    &scratch[threadid(), 0, 0], &tiles[tile, 0, 0], &scales[tile, 0])
        for panel in prange((n_block + PANEL - 1) // PANEL, schedule="static"):
            _panel_logits(leaf, panel * PANEL, n_samples, block, bias, tiles, scales,
                          &scratch[threadid(), 0, 0], logits)


cdef void _encode(const leaf_t* leaf, Py_ssize_t first, Py_ssize_t n, bint by_row,
                  const float[:, ::1] rows, int8_t* scratch, int8_t* codes,
                  float* scales) noexcept nogil:
    # Codes of n rows, zeros for those that aren't there: row by row, or four coordinates of one row
    # side by side with those of the next.
    cdef Py_ssize_t s, width = rows.shape[1], groups = (width + 3) // 4
    cdef int8_t* plain = codes if by_row else scratch
    for s in range(n):
        scales[s] = 0
        if first + s < rows.shape[0]:
            scales[s] = leaf.encode8(width, &rows[first + s, 0], plain + 4 * groups * s)
        else:
            memset(plain + 4 * groups * s, 0, 4 * groups)
    if not by_row:
        transpose(n, groups, <float*>scratch, <float*>codes, n)


cdef void _panel_logits(
    const leaf_t* leaf, Py_ssize_t first, Py_ssize_t n_samples, const float[:, ::1] block,
    const float[::1] bias, const int8_t[:, :, ::1] tiles, const float[:, ::1] scales,
    int8_t* scratch, float[:, ::1] logits,
) noexcept nogil:
    # Logits of all samples and the classes of one panel.
    cdef float class_scales[PANEL]
    cdef float class_bias[PANEL]
    cdef Py_ssize_t tile, width = block.shape[1], groups = (width + 3) // 4
    cdef Py_ssize_t n = min(<Py_ssize_t>PANEL, block.shape[0] - first)
    cdef int8_t* codes = scratch + PANEL * 4 * groups
    _encode(leaf, first, PANEL, False, block, scratch, codes, class_scales)
    memset(class_bias, 0, sizeof(class_bias))
    memcpy(class_bias, &bias[first], n * sizeof(float))
    leaf.begin8(groups, 0)
    for tile in range((n_samples + TILE - 1) // TILE):
        leaf.logits8(groups, <int>min(<Py_ssize_t>TILE, n_samples - tile * TILE), <int>n,
                     <const uint8_t*>&tiles[tile, 0, 0], &scales[tile, 0], codes, class_scales,
                     class_bias, &logits[tile * TILE, first], logits.shape[1])
    leaf.end8()


def encode(const float[:, ::1] rows, int8_t[:, :, ::1] codes, float[:, ::1] scales,
           int8_t[:, :, ::1] scratch, int n_threads):
    """Rows as codes, PANEL_WIDTH rows to a panel, and their scales.

    `codes`, (n_panels, PANEL_WIDTH, width up to a multiple of 4), and `scales`, (n_panels,
    PANEL_WIDTH), are outputs; `scratch` is that of `block_logits`. Owner: panel.
    """
    cdef Py_ssize_t panel
    cdef const leaf_t* leaf = active_leaf()
    if rows.shape[1] == 0:
        return
    for panel in prange(codes.shape[0], nogil=True, num_threads=n_threads, schedule="static"):
        _encode(leaf, panel * PANEL, PANEL, False, rows, &scratch[threadid(), 0, 0],
                &codes[panel, 0, 0], &scales[panel, 0])


cdef struct search_t:  # candidates of some samples, `room` each
    Py_ssize_t k, room
    float* values
    int32_t* found
    int32_t* counts
    float* below  # of a sample: the number below a value that k classes reach


cdef void _thin(const leaf_t* leaf, search_t* s, Py_ssize_t i) noexcept nogil:
    # Drop candidates of sample i that aren't among its k best.
    cdef float* values = s.values + i * s.room
    cdef int32_t* found = s.found + i * s.room
    cdef float best[MOST]
    cdef int32_t best_ids[MOST]
    cdef Py_ssize_t p, n = 0
    cdef float least = leaf.kth_bound(s.counts[i], s.k, -INFINITY, values)
    for p in range(s.counts[i]):
        values[n] = values[p]
        found[n] = found[p]
        n += values[p] >= least
    if n > s.room - PANEL:  # many are equal
        leaf.rank(n, s.k, values, found, best, best_ids)
        n = s.k
        memcpy(values, best, n * sizeof(float))
        memcpy(found, best_ids, n * sizeof(int32_t))
        least = values[n - 1]
    s.counts[i] = <int32_t>n
    s.below[i] = nextafterf(least, -INFINITY)


cdef inline void _take(const leaf_t* leaf, search_t* s, Py_ssize_t i, uint32_t mask,
                       const float* z, const int32_t* ids) noexcept nogil:
    # Make candidates of the classes of a panel whose bits are set.
    cdef Py_ssize_t p = i * s.room + s.counts[i]
    cdef int c
    while mask:
        c = lowest_bit(mask)
        mask &= mask - 1
        s.values[p] = z[c]
        s.found[p] = ids[c]
        p += 1
    s.counts[i] = <int32_t>(p - i * s.room)
    if s.counts[i] > s.room - PANEL:
        _thin(leaf, s, i)


def topk(
    const float[:, ::1] hidden,
    const int8_t[:, :, ::1] codes,
    const float[:, ::1] class_scales,
    const float[:, ::1] bias,
    const int32_t[:, ::1] ids,
    Py_ssize_t block,
    int8_t[:, :, ::1] tiles,
    float[:, ::1] scales,
    int8_t[:, :, ::1] scratch,
    float[:, ::1] values,
    int32_t[:, ::1] found,
    int32_t[::1] counts,
    float[::1] below,
    float[:, ::1] best,
    int32_t[:, ::1] best_ids,
    int n_threads,
):
    """The k classes of each sample with the best logits as `block_logits` finds them, best first.

    Parameters
    ----------
    hidden : (n, width), not negative
    codes, class_scales : see `encode`
    bias, ids : (n_panels, PANEL_WIDTH), of the rows that were encoded; -inf where there is none
    block : samples of a task, a multiple of TILE_SAMPLES
    tiles, scales, scratch : see `block_logits`
    values, found : scratch, (n, room), candidates; room a multiple of PANEL_WIDTH, at least
        k + 2 * PANEL_WIDTH and at most MOST
    counts : output, (n,): a sample with fewer than k has logits that aren't numbers
    below : scratch, (n,)
    best, best_ids : output, (n, k); of equal logits the smaller class comes first

    Owner: block of samples.
    """
    cdef Py_ssize_t task, n = hidden.shape[0], n_blocks = (n + block - 1) // block
    cdef const leaf_t* leaf = active_leaf()
    cdef search_t s
    if n == 0 or best.shape[1] == 0 or hidden.shape[1] == 0:
        counts[:] = 0
        return
    s.k, s.room = best.shape[1], values.shape[1]
    s.values, s.found, s.counts, s.below = &values[0, 0], &found[0, 0], &counts[0], &below[0]
    for task in prange(n_blocks, nogil=True, num_threads=n_threads, schedule="dynamic"):
        _search(leaf, s, task * block, min(n, (task + 1) * block), hidden, codes, class_scales,
                bias, ids, tiles, scales, &scratch[threadid(), 0, 0], best, best_ids)


cdef void _search(
    const leaf_t* leaf, search_t s, Py_ssize_t first, Py_ssize_t last, const float[:, ::1] hidden,
    const int8_t[:, :, ::1] codes, const float[:, ::1] class_scales, const float[:, ::1] bias,
    const int32_t[:, ::1] ids, int8_t[:, :, ::1] tiles, float[:, ::1] scales, int8_t* scratch,
    float[:, ::1] best, int32_t[:, ::1] best_ids,
) noexcept nogil:
    # Samples from `first` to `last`, tile by tile for each panel.
    cdef float z[TILE][PANEL]
    cdef uint32_t kept[TILE]
    cdef Py_ssize_t i, j, panel, tile, groups = codes.shape[2] // 4
    cdef int n
    for i in range(first, last):
        s.counts[i] = 0
        s.below[i] = -INFINITY
    for tile in range(first // TILE, (last + TILE - 1) // TILE):
        _encode(leaf, tile * TILE, TILE, leaf.sample_rows, hidden, scratch, &tiles[tile, 0, 0],
                &scales[tile, 0])
    leaf.begin8(groups, 0)
    for panel in range(codes.shape[0]):
        for tile in range(first // TILE, (last + TILE - 1) // TILE):
            i = tile * TILE
            n = <int>min(<Py_ssize_t>TILE, last - i)
            leaf.logits8(groups, n, PANEL, <const uint8_t*>&tiles[tile, 0, 0], &scales[tile, 0],
                         &codes[panel, 0, 0], &class_scales[panel, 0], &bias[panel, 0], &z[0][0],
                         PANEL)
            leaf.above(n, z, s.below + i, kept)
            for j in range(n):
                if kept[j]:
                    _take(leaf, &s, i + j, kept[j], z[j], &ids[panel, 0])
    leaf.end8()
    for i in range(first, last):
        if s.counts[i] >= s.k:
            leaf.rank(s.counts[i], s.k, s.values + i * s.room, s.found + i * s.room, &best[i, 0],
                      &best_ids[i, 0])
