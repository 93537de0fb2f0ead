"""Transposing batches: equal to their oracle."""

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from slidelearn._kernels import _grouping
from tests import reference
from tests.levels import SEEDS, SIZES, THREADS, csr, frozen


@settings(max_examples=100, deadline=None)
@given(data=st.data(), n_rows=SIZES, n_columns=SIZES, batch_size=st.integers(1, 20), seed=SEEDS)
def test_group_by_column_equals_oracle(data, n_rows, n_columns, batch_size, seed):
    indptr, indices = data.draw(csr(n_rows, n_columns))
    n = data.draw(st.integers(0, 2 * n_rows))
    rows = np.random.default_rng(seed).integers(0, max(1, n_rows), n)  # repeated, unsorted
    rows = frozen(rows, np.int64)
    batches = [rows[first:first + batch_size] for first in range(0, n, batch_size)]
    nnz = [int((indptr[batch + 1] - indptr[batch]).sum()) for batch in batches]
    offsets = frozen(np.cumsum([0, *nnz]), np.int64)
    for n_threads in THREADS:
        slots = np.full((n_threads, n_columns), -1, np.int32)
        columns, samples = np.full((2, sum(nnz)), -7, np.int32)
        starts, positions = np.full(sum(nnz) + len(nnz), -7), np.full(sum(nnz), -7)
        n_groups = np.full(len(nnz), -7)
        _grouping.group_by_column(indptr, indices, rows, batch_size, offsets, slots, columns,
                                  starts, samples, positions, n_groups, n_threads)
        assert (slots == -1).all()
        for b, (first, last) in enumerate(pairwise(offsets)):
            groups = reference.group_by_column(indptr, indices, batches[b])
            assert n_groups[b] == len(groups)
            assert columns[first:first + len(groups)].tolist() == list(groups)
            pairs = [pair for group in groups.values() for pair in group]
            found = zip(samples[first:last].tolist(), positions[first:last].tolist(), strict=True)
            assert list(found) == pairs
            own = starts[first + b:first + b + len(groups) + 1]
            assert own[0] == 0
            assert np.diff(own).tolist() == [len(group) for group in groups.values()]
