"""Arrays that begin with a cache line, their memory touched by several threads."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone

from slidelearn import SlideClassifier, _memory
from slidelearn.datasets import make_extreme_classification


@pytest.mark.parametrize("dtype", [np.float32, np.uint16, np.float64])
@pytest.mark.parametrize("shape", [(0,), (1,), (3, 5), (0, 7), (2, 3, 4), (2**12, 100)])
def test_empty_is_aligned(shape, dtype):
    arrays = [_memory.empty(shape, dtype) for _ in range(5)]  # malloc aligns some by chance
    for array in arrays:
        assert array.shape == shape and array.dtype == dtype
        assert array.size == 0 or array.ctypes.data % 64 == 0
        assert array.flags.c_contiguous and array.flags.writeable
        array.fill(1)
    for array in arrays:
        assert (array == 1).all()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_weights_and_their_state_are_aligned(dtype):
    X, Y = make_extreme_classification(200, 50, 30, random_state=0)
    model = SlideClassifier([16, 8], dtype=dtype, beta_1=0.9, random_state=0).partial_fit(X, Y)
    trained = [model, clone(model).partial_fit(X, Y).partial_fit(X, Y),
               pickle.loads(pickle.dumps(model)).partial_fit(X, Y)]
    for model in trained:
        matrices = [*model._coefs,
                    *(state for layer in model._optimizer_state for state in layer[:2])]
        assert len(matrices) == 9
        for matrix in matrices:
            assert matrix.ctypes.data % 64 == 0


@pytest.mark.parametrize("offset", [0, 4, 64])
def test_aligned_copies_only_what_is_not(offset):
    memory = _memory.empty((100,))
    memory[...] = np.arange(100)
    values = memory[offset // 4:][:32]
    result = _memory.aligned(values)
    assert result.ctypes.data % 64 == 0 and np.array_equal(result, values)
    assert np.shares_memory(result, memory) == (offset % 64 == 0)
    assert not np.shares_memory(_memory.copy(values), memory)


@pytest.mark.parametrize(("size", "n_threads"), [(1, 1), (4096, 2), (100_000, 2), (100_001, 3)])
def test_every_page_is_touched(size, n_threads, monkeypatch):
    monkeypatch.setattr(_memory, "RUN", 3 * _memory.PAGE)
    memory = np.ones(size, np.uint8)
    _memory._touch(memory, n_threads)
    assert np.array_equal(np.flatnonzero(memory == 0), np.arange(0, size, _memory.PAGE))
    values = _memory.empty((size, 3), np.float32, n_threads)
    assert values.shape == (size, 3) and values.ctypes.data % 64 == 0
