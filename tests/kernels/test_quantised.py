"""Logits from products of bytes: the numbers that rounding each row to 127 steps gives."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slidelearn._kernels import _quantised
from tests import reference
from tests.levels import SEEDS, SIZES, at_every_level, frozen, guarded

ROWS = st.sampled_from([0, 1, 2, 11, 12, 13, 25, 33])
QUICK = settings(max_examples=30, deadline=None)


def block_logits(hidden, block, bias, spare=0, n_threads=1):
    (n, width), n_block = hidden.shape, len(block)
    in_tile, n_bytes = _quantised.TILE_SAMPLES, -(-width // 4) * 4
    tiles = np.full((-(-n // in_tile), in_tile, n_bytes), 99, np.int8)
    scales = np.full(tiles.shape[:2], np.nan, np.float32)
    scratch = np.full((n_threads, 2 * _quantised.PANEL_WIDTH, n_bytes), 99, np.int8)
    logits, check = guarded(np.full((n, n_block + spare), 7))
    _quantised.block_logits(hidden, block, bias, logits, tiles, scales, scratch, n_threads)
    check()
    assert (logits[:, n_block:] == 7).all()
    return logits[:, :n_block].copy()


def draw(rng, n, width):
    """Rows of very different lengths, some numbers zero."""
    numbers = rng.standard_normal((n, width)) * 10.0 ** rng.integers(-6, 6, (n, 1))
    return frozen(numbers * rng.integers(0, 2, (n, width)))


@QUICK
@given(n=ROWS, n_block=SIZES, width=SIZES, spare=st.sampled_from([0, 3]), seed=SEEDS)
def test_block_logits(n, n_block, width, spare, seed):
    rng = np.random.default_rng(seed)
    hidden, block = frozen(np.abs(draw(rng, n, width))), draw(rng, n_block, width)
    bias = frozen(rng.standard_normal(n_block))
    expected = reference.quantised_block_logits(hidden, block, bias)
    found = at_every_level(lambda n_threads: (
        block_logits(hidden, block, bias, spare, n_threads),))
    for (logits,) in found.values():  # without a multiply-add, too
        np.testing.assert_array_equal(logits, expected)


@QUICK
@given(width=st.sampled_from([1, 16, 37, 256]), seed=SEEDS)
def test_near_the_exact_ones(width, seed):
    rng = np.random.default_rng(seed)
    hidden, block = frozen(np.abs(draw(rng, 14, width))), draw(rng, 40, width)
    bias = frozen(rng.standard_normal(40))
    exact = hidden.astype(np.float64) @ block.T + bias
    # Each factor is off by half a step at most.
    step, of_block = (np.abs(rows).max(axis=1).astype(np.float64) / 254
                      for rows in (hidden, block))
    bound = (np.abs(hidden).sum(axis=1)[:, None] * of_block + step[:, None]
             * np.abs(block).sum(axis=1) + width * step[:, None] * of_block)
    error = np.abs(block_logits(hidden, block, bias) - exact)
    assert (error <= 1.001 * bound + 1e-6 * (np.abs(exact) + 1)).all()


def test_small_integers_are_exact():
    """Rows whose greatest number is 127 steps of one."""
    rng = np.random.default_rng(0)
    hidden, block = rng.integers(0, 128, (30, 50)), rng.integers(-127, 128, (70, 50))
    hidden[:, 7], block[:, 9] = 127, -127
    hidden, block = frozen(hidden), frozen(block)
    for (logits,) in at_every_level(lambda n_threads: (
            block_logits(hidden, block, frozen(np.zeros(70)), n_threads=n_threads),)).values():
        np.testing.assert_array_equal(logits, hidden @ block.T)


def test_greatest_sums():
    """Two products of 127 and 127 in a pair, everywhere: the most that 16 bits must hold."""
    hidden, block = frozen(np.full((3, 64), 5.0)), frozen(np.full((33, 64), [[-2.0]]))
    for (logits,) in at_every_level(lambda n_threads: (
            block_logits(hidden, block, frozen(np.zeros(33)), n_threads=n_threads),)).values():
        np.testing.assert_allclose(logits, -640, rtol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("column", [0, 15, 16, 36])
def test_what_is_not_finite_spoils_its_row_alone(value, column):
    hidden, block, bias = np.ones((14, 37)), np.ones((40, 37)), frozen(np.zeros(40))
    for spoilt, axis, row in ((hidden, 0, 12), (block, 1, 33)):
        before = spoilt[row, column]
        spoilt[row, column] = abs(value) if axis == 0 else value

        def run(n_threads):
            return (np.isnan(block_logits(frozen(hidden), frozen(block), bias,
                                          n_threads=n_threads)),)

        for (nan,) in at_every_level(run).values():
            assert np.take(nan, row, axis).all()
            assert not np.delete(nan, row, axis).any()
        spoilt[row, column] = before


def test_denormal_numbers_count_as_small():
    hidden, block = frozen(np.full((2, 20), 1e-42)), frozen(np.full((3, 20), 1e30))
    logits = block_logits(hidden, block, frozen([1, 2, 3]))
    np.testing.assert_array_equal(logits, [[1, 2, 3]] * 2)
