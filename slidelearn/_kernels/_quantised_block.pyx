"""Logits of the output rows that a batch shares, from products in 8-bit integers.

Each row of both sides is rounded to 127 steps up to its greatest number: what that costs in
accuracy is within noise (docs/benchmarks.md), and bytes multiply up to four times as fast as
floats. Their sums are exact, so every instruction set returns the same bits.
"""

from cython.parallel cimport parallel, prange, threadid
from libc.stdint cimport int8_t, uint8_t
from libc.string cimport memcpy, memset

from . cimport _simd
from ._simd cimport active_leaf, leaf_t

cdef extern from "transpose.h" nogil:
    void transpose(Py_ssize_t n, Py_ssize_t width, const float* rows, float* panel, Py_ssize_t step)

cdef enum:
    TILE = _simd.SCREEN_SAMPLES  # samples
    PANEL = _simd.SCREEN_CLASSES  # classes whose codes lie side by side in the cache

TILE_SAMPLES, PANEL_WIDTH = TILE, PANEL


def block_logits(
    const float[:, ::1] hidden,
    const float[:, ::1] block,
    const float[::1] bias,
    float[:, ::1] logits,
    int8_t[:, :, ::1] tiles,
    float[:, ::1] scales,
    int8_t[:, :, ::1] scratch,
    int n_threads,
):
    """``logits[i, s] ~ bias[s] + hidden[i] . block[s]``.

    Parameters
    ----------
    hidden : (n_samples, width), not negative; block : (n_block, width), bias : (n_block,)
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
            _encode(leaf, tile * TILE, TILE, hidden, &scratch[threadid(), 0, 0],
                    &tiles[tile, 0, 0], &scales[tile, 0])
        for panel in prange((n_block + PANEL - 1) // PANEL, schedule="static"):
            _panel_logits(leaf, panel * PANEL, n_samples, block, bias, tiles, scales,
                          &scratch[threadid(), 0, 0], logits)


cdef void _encode(const leaf_t* leaf, Py_ssize_t first, Py_ssize_t n, const float[:, ::1] rows,
                  int8_t* scratch, int8_t* codes, float* scales) noexcept nogil:
    # Codes of n rows, zeros for those that aren't there, four coordinates of one row side by side
    # with those of the next.
    cdef Py_ssize_t s, width = rows.shape[1], groups = (width + 3) // 4
    for s in range(n):
        scales[s] = 0
        if first + s < rows.shape[0]:
            scales[s] = leaf.encode8(width, &rows[first + s, 0], scratch + 4 * groups * s)
        else:
            memset(scratch + 4 * groups * s, 0, 4 * groups)
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
    _encode(leaf, first, PANEL, block, scratch, codes, class_scales)
    memset(class_bias, 0, sizeof(class_bias))
    memcpy(class_bias, &bias[first], n * sizeof(float))
    for tile in range((n_samples + TILE - 1) // TILE):
        leaf.logits8(groups, <int>min(<Py_ssize_t>TILE, n_samples - tile * TILE), <int>n,
                     <const uint8_t*>&tiles[tile, 0, 0], &scales[tile, 0], codes, class_scales,
                     class_bias, &logits[tile * TILE, first], logits.shape[1])
