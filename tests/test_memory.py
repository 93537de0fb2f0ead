"""Arrays that begin with a cache line."""

import numpy as np
import pytest

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
    model = SlideClassifier([16, 8], dtype=dtype, random_state=0).partial_fit(X, Y)
    matrices = [*model._coefs, *(state for layer in model._optimizer_state for state in layer[:2])]
    assert len(matrices) == 9
    for matrix in matrices:
        assert matrix.ctypes.data % 64 == 0
