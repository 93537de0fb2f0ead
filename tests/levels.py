"""Runs kernels at every SIMD level and number of threads; arrays that notice stray writes."""

import numpy as np
from hypothesis import strategies as st

from slidelearn._kernels import _simd

THREADS = (1, 2, 4, 8)
# Around widths of vectors (8, 16), of partial sums (64), tiles (6, 12), panels (32), blocks (48).
SIZES = st.sampled_from([0, 1, 2, 4, 7, 8, 9, 11, 12, 13, 15, 16, 17, 24, 31, 32, 33, 47, 48, 49,
                         63, 64, 65, 97, 129])
SEEDS = st.integers(0, 2**32 - 1)
KEYS = st.integers(0, 2**64 - 1)
SENTINEL = np.float32(-12345.5)


def frozen(array, dtype=np.float32):
    array = np.array(array, dtype=dtype, order="C")
    array.flags.writeable = False
    return array


def guarded(array):
    """A copy at an odd address between sentinels, and a function that checks the sentinels."""
    array = np.asarray(array, np.float32)
    memory = np.full(array.size + 33, SENTINEL)
    view = memory[1:array.size + 1].reshape(array.shape)
    view[...] = array

    def check():
        assert memory[0] == SENTINEL
        assert (memory[array.size + 1:] == SENTINEL).all()

    return view, check


def assert_same_bits(first, second):
    for a, b in zip(first, second, strict=True):
        a, b = np.asarray(a), np.asarray(b)
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        if a.tobytes() != b.tobytes():
            np.testing.assert_array_equal(a, b)
            raise AssertionError("equal numbers of different bits")


def at_every_level(run, threads=THREADS):
    """``{level: run(n_threads)}``, a tuple of arrays each.

    Asserts that it doesn't depend on `n_threads`, and that all levels with a fused multiply-add
    return the same bits.
    """
    before = _simd.get_level()
    results = {}
    try:
        for level in _simd.available_levels():
            _simd.set_level(level)
            results[level] = run(threads[0])
            for n_threads in threads[1:]:
                assert_same_bits(results[level], run(n_threads))
    finally:
        _simd.set_level(before)
    if {"avx2", "avx512"} <= set(results):  # each has its own lanes, both have multiply-adds
        assert_same_bits(results["avx2"], results["avx512"])
    return results


@st.composite
def numbers(draw, shape, small_integers):
    """Normal floats; or small integers, whose sums of products are exact in any order."""
    rng = np.random.default_rng(draw(SEEDS))
    if small_integers:
        return frozen(rng.integers(-4, 5, shape))
    return frozen(rng.standard_normal(shape))


@st.composite
def csr(draw, n_rows, n_columns):
    """indptr and indices: empty rows, unsorted and repeated indices."""
    rng = np.random.default_rng(draw(SEEDS))
    counts = rng.integers(0, draw(st.sampled_from([1, 3, 20])), n_rows) if n_columns else (
        np.zeros(n_rows, int))
    indptr = frozen(np.append(0, np.cumsum(counts)), np.int64)
    return indptr, frozen(rng.integers(0, max(1, n_columns), indptr[-1]), np.int32)
