"""Transposing a batch: equal to its oracle."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from slidelearn._kernels import _grouping
from tests import reference
from tests.levels import SEEDS, SIZES, csr, frozen


@settings(max_examples=100, deadline=None)
@given(data=st.data(), n_rows=SIZES, n_columns=SIZES, seed=SEEDS)
def test_group_by_column_equals_oracle(data, n_rows, n_columns, seed):
    indptr, indices = data.draw(csr(n_rows, n_columns))
    n_batch = data.draw(st.integers(0, 2 * n_rows))
    rows = np.random.default_rng(seed).integers(0, max(1, n_rows), n_batch)  # repeated, unsorted
    rows = frozen(rows, np.int64)
    nnz = int((indptr[rows + 1] - indptr[rows]).sum()) if n_batch else 0
    slot = np.full(n_columns, -1, np.int32)
    columns, samples = np.full((2, nnz), -7, np.int32)
    starts, positions = np.full(nnz + 1, -7), np.full(nnz, -7)
    n = _grouping.group_by_column(indptr, indices, rows, slot, columns, starts, samples, positions)

    groups = reference.group_by_column(indptr, indices, rows)
    assert columns[:n].tolist() == list(groups)
    pairs = [pair for group in groups.values() for pair in group]
    assert list(zip(samples.tolist(), positions.tolist(), strict=True)) == pairs
    assert np.diff(starts[:n + 1]).tolist() == [len(group) for group in groups.values()]
    assert starts[0] == 0
    assert (slot == -1).all()
