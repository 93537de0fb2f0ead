"""Table kernels: equal to their oracles, fair where they draw lots."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slidelearn._kernels import _tables
from tests import reference_lsh as reference

THREADS = (1, 2, 4, 8)
SIZES = st.sampled_from([0, 1, 2, 7, 8, 9, 15, 16, 17, 63, 64, 65, 3000])
KEYS = st.integers(0, 2**64 - 1)


def frozen(array, dtype):
    array = np.ascontiguousarray(array, dtype=dtype)
    array.flags.writeable = False
    return array


def build(slots, n_slots, bucket_size, reservoir, keys, n_threads=1):
    indptr = np.full((len(slots), n_slots + 1), -7, dtype=np.int32)
    ids = np.full(slots.shape, -7, dtype=np.int32)
    seen = np.full((n_threads, n_slots), -7, dtype=np.int32)
    _tables.build_tables(frozen(slots, np.int32), bucket_size, reservoir, frozen(keys, np.uint64),
                         seen, indptr, ids, n_threads)
    return frozen(indptr, np.int32), frozen(ids, np.int32)


def query(kernel, indptr, ids, slots, *parameters, n_candidates, n_threads=1):
    n_tables, n_samples = slots.shape
    n_rows = ids.shape[1]
    hits = np.zeros((n_threads, n_rows), dtype=np.int32)
    touched = np.full((n_threads, 2 * n_rows), -7, dtype=np.int32)
    n_counters = max(_tables.SORT_COUNTERS, n_tables + 2)
    counters = np.full((n_threads, n_counters), -7, dtype=np.int32)
    candidates = np.full((n_samples, n_candidates), -7, dtype=np.int32)
    counts = np.full(n_samples, -7, dtype=np.int32)
    kernel(indptr, ids, frozen(slots, np.int32), *parameters, hits, touched, counters,
           candidates, counts, n_threads)
    assert not hits.any()
    return candidates, counts


def assert_candidates(found, expected):
    candidates, counts = found
    assert counts.tolist() == [len(rows) for rows in expected]
    for row, wanted in zip(candidates.tolist(), expected, strict=True):
        assert row == wanted + [-1] * (len(row) - len(wanted))


@st.composite
def slot_arrays(draw):
    """Slots of rows in tables, from crowded to nearly empty ones."""
    n_tables, n_rows = draw(st.sampled_from([1, 2, 5])), draw(SIZES)
    n_slots = draw(st.sampled_from([1, 2, 8, 64]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return rng.integers(0, n_slots, (n_tables, n_rows)), n_slots


@settings(max_examples=60, deadline=None)
@given(made=slot_arrays(), bucket_size=st.sampled_from([1, 2, 8, 128, 2**31]),
       reservoir=st.booleans(), key=KEYS)
def test_build_equals_oracle(made, bucket_size, reservoir, key):
    slots, n_slots = made
    keys = [reference.rng_stream(key, table) for table in range(len(slots))]
    tables = [reference.build_table(row.tolist(), n_slots, bucket_size, reservoir, table_key)
              for row, table_key in zip(slots, keys, strict=True)]
    for n_threads in THREADS:
        indptr, ids = build(slots, n_slots, bucket_size, reservoir, keys, n_threads)
        np.testing.assert_array_equal(indptr, [indptr for indptr, _ in tables])
        np.testing.assert_array_equal(ids, [ids for _, ids in tables])


def test_reservoirs_are_uniform_samples():
    n_tables, n_rows, bucket_size = 4000, 20, 5
    slots = np.zeros((n_tables, n_rows), dtype=np.int32)
    keys = [reference.rng_stream(0, table) for table in range(n_tables)]
    _, ids = build(slots, 1, bucket_size, True, keys)
    kept = np.bincount(ids[:, :bucket_size].ravel(), minlength=n_rows)
    share = bucket_size / n_rows
    bound = 5 * np.sqrt(n_tables * share * (1 - share))
    assert np.abs(kept - n_tables * share).max() < bound


@st.composite
def tables_and_queries(draw):
    slots, n_slots = draw(slot_arrays())
    bucket_size = draw(st.sampled_from([1, 8, 128]))
    indptr, ids = build(slots, n_slots, bucket_size, False, np.zeros(len(slots)))
    n_samples = draw(st.sampled_from([0, 1, 2, 9, 16]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    queries = rng.integers(0, n_slots, (len(slots), n_samples))
    return indptr, ids, queries, draw(st.sampled_from([0, 1, 7, 8, 64, 200, 4000]))


@settings(max_examples=80, deadline=None)
@given(made=tables_and_queries(), min_collisions=st.integers(1, 6))
def test_most_collisions_equals_oracle(made, min_collisions):
    indptr, ids, slots, n_candidates = made
    min_collisions = min(min_collisions, len(slots) + 1)
    expected = [reference.most_collisions(indptr, ids, sample, min_collisions, n_candidates)
                for sample in slots.T]
    for n_threads in THREADS:
        found = query(_tables.most_collisions, indptr, ids, slots, min_collisions,
                      n_candidates=n_candidates, n_threads=n_threads)
        assert_candidates(found, expected)


@settings(max_examples=80, deadline=None)
@given(made=tables_and_queries(), key=KEYS, first=st.integers(0, 2**64 - 100))
def test_first_collisions_equals_oracle(made, key, first):
    indptr, ids, slots, n_candidates = made
    sample_keys = [first + i for i in range(slots.shape[1])]
    expected = [reference.first_collisions(indptr, ids, sample, reference.rng_stream(key, k),
                                           n_candidates)
                for sample, k in zip(slots.T, sample_keys, strict=True)]
    for n_threads in THREADS:
        found = query(_tables.first_collisions, indptr, ids, slots, key,
                      frozen(sample_keys, np.uint64), n_candidates=n_candidates,
                      n_threads=n_threads)
        assert_candidates(found, expected)


def test_first_collisions_prefers_no_row():
    """One full bucket per table, room for a part of one: each row is as likely as any other."""
    n_tables, n_rows, n_samples = 3, 10, 6000
    indptr = np.tile(np.array([0, n_rows], dtype=np.int32), (n_tables, 1))
    ids = np.tile(np.arange(n_rows, dtype=np.int32), (n_tables, 1))
    slots = np.zeros((n_tables, n_samples), dtype=np.int32)
    candidates, _ = query(_tables.first_collisions, indptr, ids, slots, 1,
                          np.arange(n_samples, dtype=np.uint64), n_candidates=3)
    drawn = np.bincount(candidates.ravel(), minlength=n_rows)
    assert np.abs(drawn - n_samples * 0.3).max() < 5 * np.sqrt(n_samples * 0.3 * 0.7)


@pytest.mark.parametrize("kernel", ["most", "first"])
def test_ids_of_several_radix_digits(kernel):
    """Row numbers that need three digits of the sort come out ascending."""
    rng = np.random.default_rng(0)
    n_rows = 2**22 + 5
    chosen = np.append(rng.choice(n_rows, 999, replace=False), n_rows - 1).astype(np.int32)
    rng.shuffle(chosen)
    ids = np.full((1, n_rows), -1, dtype=np.int32)
    ids[0, :1000] = chosen
    indptr = np.array([[0, 1000]], dtype=np.int32)
    slots = np.zeros((1, 1), dtype=np.int32)
    if kernel == "most":
        found = query(_tables.most_collisions, indptr, ids, slots, 1, n_candidates=1000)
    else:
        found = query(_tables.first_collisions, indptr, ids, slots, 1, np.zeros(1, np.uint64),
                      n_candidates=1000)
    assert_candidates(found, [np.unique(chosen).tolist()])
