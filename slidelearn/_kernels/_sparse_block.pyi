from numpy import float32, int32, int64, uint16
from numpy.typing import NDArray

from ._simd import Optimizer

_Rows = NDArray[float32] | NDArray[uint16]

def sparsify(
    gradient: NDArray[float32],
    n_block: int,
    least: NDArray[float32],
    key: int,
    counts: NDArray[int64],
    places: NDArray[int32],
    values: NDArray[float32],
    n_threads: int,
) -> int: ...
def multiply_pairs(
    counts: NDArray[int64],
    places: NDArray[int32],
    values: NDArray[float32],
    block: NDArray[float32],
    out: NDArray[float32],
    n_threads: int,
) -> None: ...
def update_pairs(
    counts: NDArray[int64],
    places: NDArray[int32],
    values: NDArray[float32],
    vectors: NDArray[float32],
    ids: NDArray[int32],
    optimizer: Optimizer,
    weights: _Rows,
    weights_m: _Rows,
    weights_v: _Rows,
    bias: NDArray[float32],
    bias_m: NDArray[float32],
    bias_v: NDArray[float32],
    gradient: NDArray[float32],
    samples: NDArray[int32],
    factors: NDArray[float32],
    heads: NDArray[int64],
    starts: NDArray[int32],
    n_threads: int,
) -> None: ...
