"""Hash kernels: equal to their oracles, and as likely to collide as theory says."""

from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slidelearn._kernels import _hashing
from tests import reference_lsh as reference

LANES = _hashing.TILE_LANES
THREADS = (1, 2, 4, 8)
SIZES = st.sampled_from([1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65])
KEYS = st.integers(0, 2**64 - 1)


def frozen(array, dtype):
    array = np.ascontiguousarray(array, dtype=dtype)
    array.flags.writeable = False
    return array


def permutations(key, n_permutations, n, n_threads=1):
    out = np.full((n_permutations, n), -1, dtype=np.int32)
    _hashing.random_permutations(key, out, n_threads)
    return out


def heads(key, n_flips, n, n_threads=1):
    out = np.full(n, -1, dtype=np.int32)
    _hashing.random_heads(key, n_flips, out, n_threads)
    return out


def signed_projections(key, n_codes, n, n_projected):
    rows = []
    columns = permutations(key, n_codes, n)[:, :n_projected]
    for some, n_plus in zip(columns, heads(key ^ 1, n_projected, n_codes), strict=True):
        rows.append([*some[:n_plus], -1, *some[n_plus:], -1])
    return frozen(rows, np.int32)


def run(kernel, vectors, last, shift, rows, n_codes, n_tables, *parameters, n_threads=1):
    """Slots, -7 where none is written."""
    slots = np.full((n_tables, len(vectors)), -7, dtype=np.int32)
    tiles = np.full((n_threads, (vectors.shape[1] + 1) * LANES), np.nan, dtype=np.float32)
    codes = np.full((n_threads, n_codes * LANES), -7, dtype=np.int32)
    kernel(frozen(vectors, np.float32), frozen(last, np.float32), frozen(shift, np.float32),
           frozen(rows, np.int32), *parameters, tiles, codes, slots, n_threads)
    return slots


@st.composite
def batches(draw):
    """Vectors with many ties, zeros and -0.0 among them; the rows of them to hash."""
    n_vectors = draw(st.sampled_from([1, 2, LANES - 1, LANES, LANES + 1, 3 * LANES + 5]))
    n_columns = draw(SIZES)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    vectors = rng.standard_normal((n_vectors, n_columns), dtype=np.float32)
    if draw(st.booleans()):
        vectors = np.round(vectors)
    vectors *= rng.random(vectors.shape) < draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))
    last = np.round(rng.standard_normal(n_vectors)).astype(np.float32)
    shift = draw(st.sampled_from([0.0, 0.5])) * np.ones(n_columns, dtype=np.float32)
    rows = rng.permutation(n_vectors)[: draw(st.integers(0, n_vectors))]
    return vectors, last, shift, rows


@pytest.mark.parametrize("n_threads", THREADS)
@pytest.mark.parametrize("n", [1, 2, 8, 17, 64])
@pytest.mark.parametrize("n_rows", [0, 1, 9])
def test_random_draws_equal_oracle(n_rows, n, n_threads):
    keys = [reference.rng_stream(5, i) for i in range(n_rows)]
    assert keys == [_hashing.stream_key(5, i) for i in range(n_rows)]
    expected = [reference.random_permutation(key, n) for key in keys]
    np.testing.assert_array_equal(
        permutations(5, n_rows, n, n_threads), np.array(expected, np.int32).reshape(n_rows, n)
    )
    expected = [reference.random_heads(key, n) for key in keys]
    np.testing.assert_array_equal(heads(5, n, n_rows, n_threads), expected)


def test_permutations_are_uniform():
    drawn = permutations(1, 24_000, 4)
    _, counts = np.unique(drawn @ [64, 16, 4, 1], return_counts=True)
    assert len(counts) == 24
    assert np.abs(counts - 1000).max() < 5 * np.sqrt(1000)


def test_heads_are_binomial():
    drawn = heads(2, 20, 10_000)
    assert abs(drawn.mean() - 10) < 5 * np.sqrt(20 / 4 / 10_000)
    assert abs(drawn.var() - 5) < 5 * np.sqrt(2 * 5**2 / 10_000)


@pytest.mark.parametrize("n_threads", THREADS)
@pytest.mark.parametrize("shape", [(0, 3), (1, 1), (9, 16), (40, 17), (5, 65)])
def test_statistics_equal_oracle(shape, n_threads):
    rng = np.random.default_rng(0)
    values = frozen(rng.standard_normal(shape), np.float32)
    means = np.full(shape[1], np.nan)
    _hashing.column_means(values, means, n_threads)
    total = np.zeros(shape[1])
    for row in values:
        total += row
    np.testing.assert_array_equal(means, total / max(1, shape[0]))

    biases, mean = frozen(rng.standard_normal(shape[0]), np.float32), frozen(means + 1, float)
    expected = biases.astype(float)
    for j in range(shape[1]):
        expected += values[:, j].astype(float) * mean[j]
    for n in {shape[0], shape[0] // 2}:
        rows, out = rng.permutation(shape[0])[:n], np.full(shape[0], np.nan)
        _hashing.shifted_biases(values, biases, mean, frozen(rows, np.int32), out, n_threads)
        np.testing.assert_array_equal(out[rows], expected[rows])
        assert np.isnan(np.delete(out, rows)).all()


@settings(max_examples=40, deadline=None)
@given(batch=batches(), key=KEYS, n_tables=st.sampled_from([1, 2, 5]),
       hash_length=st.sampled_from([1, 3, 9, 40, 63]), cut=st.integers(0, 8))
def test_hash_by_sign_equals_oracle(batch, key, n_tables, hash_length, cut):
    vectors, last, shift, rows = batch
    n_codes, n = n_tables * hash_length, vectors.shape[1] + 1
    n_projected = max(1, n // 2)
    projections = signed_projections(key, n_codes, n, n_projected)
    table_bits = max(1, min(hash_length, 22) - cut)
    expected = np.full((n_tables, len(vectors)), -7)
    for r in rows:
        vector = reference.augmented(vectors[r], last[r], shift)
        codes = reference.sign_codes(vector, projections)
        expected[:, r] = reference.table_slots(codes, [0] * n_codes, n_tables, 1, table_bits)
    for n_threads in THREADS:
        slots = run(_hashing.hash_by_sign, vectors, last, shift, rows, n_codes, n_tables,
                    projections, table_bits, n_threads=n_threads)
        np.testing.assert_array_equal(slots, expected)


@settings(max_examples=60, deadline=None)
@given(batch=batches(), key=KEYS, n_tables=st.sampled_from([1, 2, 5]),
       hash_length=st.sampled_from([1, 3, 6, 21]), cut=st.integers(0, 8),
       family=st.sampled_from(["wta", "dwta", "minhash"]))
def test_hash_by_winner_equals_oracle(batch, key, n_tables, hash_length, cut, family):
    vectors, last, shift, rows = batch
    n_codes, n = n_tables * hash_length, vectors.shape[1] + 1
    width = min(8, n)
    bins = frozen(permutations(key, n_codes, n)[:, :width], np.int32)
    top = max(1, n // 3) if family == "minhash" else 0
    densify = family != "wta"
    code_bits = (width - 1).bit_length()
    table_bits = max(1, min(hash_length * code_bits, 22) - cut)
    expected = np.full((n_tables, len(vectors)), -7)
    for r in rows:
        vector = reference.augmented(vectors[r], last[r], shift)
        codes, salts = reference.winner_codes(vector, bins, top, densify, key)
        expected[:, r] = reference.table_slots(codes, salts, n_tables, code_bits, table_bits)
    for n_threads in THREADS:
        slots = run(_hashing.hash_by_winner, vectors, last, shift, rows, n_codes, n_tables,
                    bins, code_bits, top, densify, key, table_bits, n_threads=n_threads)
        np.testing.assert_array_equal(slots, expected)


# Collision probabilities. One table per code, so that a slot is a code.


def sign_agreement(x, y, n_codes, seed):
    n = len(x)
    projections = signed_projections(seed, n_codes, n, -(-n // 3))
    pair = np.stack([x, y])
    slots = run(_hashing.hash_by_sign, pair[:, :-1], pair[:, -1], np.zeros(n - 1), [0, 1],
                n_codes, n_codes, projections, 1)
    return (slots[:, 0] == slots[:, 1]).mean()


def winner_agreement(x, y, n_codes, seed, *, partition, top=0, densify=True):
    """Share of equal codes; with `partition` bins as DWTA has them."""
    n = len(x)
    per_permutation = n // 8 if partition else 1
    bins = permutations(seed, -(-n_codes // per_permutation), n)[:, : per_permutation * 8]
    bins = np.ascontiguousarray(bins.reshape(-1, 8)[:n_codes])
    pair = np.stack([x, y])
    slots = run(_hashing.hash_by_winner, pair[:, :-1], pair[:, -1], np.zeros(n - 1), [0, 1],
                n_codes, n_codes, bins, 3, top, densify, seed, 3)
    return (slots[:, 0] == slots[:, 1]).mean()


def assert_mean(observations, expected):
    """The mean of independent observations is within five standard errors."""
    error = np.std(observations, ddof=1) / np.sqrt(len(observations))
    assert abs(np.mean(observations) - expected) < 5 * error + 1e-12


def rank_agreement(x, y):
    """Probability that the argmax of a random 8-subset is the same, for vectors without ties."""
    below = [((x < x[i]) & (y < y[i])).sum() for i in range(len(x))]
    return sum(comb(int(n), 7) for n in below) / comb(len(x), 8)


@pytest.mark.parametrize("angle", [0.1, 0.5, 1.0, np.pi / 2, 2.5])
def test_simhash_collides_as_the_angle_says(angle):
    rng = np.random.default_rng(3)
    basis, _ = np.linalg.qr(rng.standard_normal((600, 2)))
    x, y = basis @ [1, 0], basis @ [np.cos(angle), np.sin(angle)]
    n_codes = 20_000
    expected = 1 - angle / np.pi
    bound = 5 * np.sqrt(expected * (1 - expected) / n_codes)
    assert abs(sign_agreement(x, y, n_codes, 11) - expected) < bound


@pytest.mark.parametrize("noise", [0.1, 0.5, 2.0])
@pytest.mark.parametrize("family", ["wta", "dwta"])
def test_wta_collides_as_the_ranks_say(family, noise):
    rng = np.random.default_rng(4)
    x = rng.standard_normal(100).astype(np.float32)
    y = (x + noise * rng.standard_normal(100)).astype(np.float32)
    seen = [winner_agreement(x, y, 360, seed, partition=family == "dwta", densify=family == "dwta")
            for seed in range(60)]
    assert_mean(seen, rank_agreement(x, y))


def test_dwta_is_wta_without_empty_bins():
    rng = np.random.default_rng(5)
    x, y = rng.standard_normal((2, 100))
    sizes = dict(n_codes=120, seed=1, partition=True)
    wta = winner_agreement(x, y, densify=False, **sizes)
    assert winner_agreement(x, y, densify=True, **sizes) == wta


def test_densification_spreads_the_codes_of_sparse_vectors():
    """Unrelated sparse vectors, whose bins are mostly zeros, all but coincide without it."""
    rng = np.random.default_rng(6)
    x, y = np.zeros((2, 200))
    x[rng.choice(100, 5, replace=False)] = rng.random(5)
    y[100 + rng.choice(100, 5, replace=False)] = rng.random(5)
    sizes = dict(n_codes=3000, seed=1, partition=True)
    assert winner_agreement(x, y, densify=False, **sizes) > 0.6
    assert winner_agreement(x, y, densify=True, **sizes) < 0.25
    assert winner_agreement(x, x * 3, densify=True, **sizes) == 1


@pytest.mark.parametrize("n_shared", [0, 10, 20, 30])
def test_minhash_collides_as_the_resemblance_says(n_shared):
    """Codes agree with the probability of the Jaccard index J, and by chance where they come from
    different bins: a random salt makes one code in eight equal.
    """
    n, top = 120, 40
    x, y = np.zeros((2, n))
    x[:top] = 1
    y[top - n_shared : 2 * top - n_shared] = 1
    jaccard = n_shared / (2 * top - n_shared)
    one_empty = comb(n - top, 8) / comb(n, 8)
    both_empty = comb(n - 2 * top + n_shared, 8) / comb(n, 8)
    apart = 2 * (one_empty - both_empty) / (1 - both_empty)
    seen = [winner_agreement(x, y, 240, seed, partition=True, top=top) for seed in range(200)]
    assert_mean(seen, jaccard + apart / 8)


def test_zero_vectors_have_code_zero():
    zeros = np.zeros(30)
    assert sign_agreement(zeros, zeros, 50, 1) == 1
    assert winner_agreement(zeros, zeros, 60, 1, partition=True) == 1
