from numpy import float32, int32, int64, uint16
from numpy.typing import NDArray

from ._simd import Optimizer

_Rows = NDArray[float32] | NDArray[uint16]

def combine_rows(
    indptr: NDArray[int64],
    indices: NDArray[int32],
    data: NDArray[float32],
    rows: NDArray[int64],
    weights: NDArray[float32],
    start: NDArray[float32],
    out: NDArray[float32],
    n_threads: int,
) -> None: ...
def combine_slices(
    indptr: NDArray[int64],
    indices: NDArray[int32],
    data: NDArray[float32],
    rows: NDArray[int64],
    slices: NDArray[float32],
    start: NDArray[float32],
    out: NDArray[float32],
    n_threads: int,
) -> None: ...
def add_rows(
    indptr: NDArray[int64],
    indices: NDArray[int32],
    data: NDArray[float32],
    weights: _Rows,
    out: NDArray[float32],
    n_threads: int,
) -> None: ...
def pair_logits(
    indptr: NDArray[int64],
    indices: NDArray[int32],
    hidden: NDArray[float32],
    weights: _Rows,
    bias: NDArray[float32],
    out: NDArray[float32],
    n_threads: int,
) -> None: ...
def update_rows(
    columns: NDArray[int32],
    starts: NDArray[int64],
    samples: NDArray[int32],
    positions: NDArray[int64],
    data: NDArray[float32],
    vectors: NDArray[float32],
    optimizer: Optimizer,
    weights: _Rows,
    m: _Rows,
    v: _Rows,
    gradient: NDArray[float32],
    n_threads: int,
) -> None: ...
def update_slices(
    columns: NDArray[int32],
    starts: NDArray[int64],
    samples: NDArray[int32],
    positions: NDArray[int64],
    data: NDArray[float32],
    vectors: NDArray[float32],
    optimizer: Optimizer,
    slices: NDArray[float32],
    m: NDArray[float32],
    v: NDArray[float32],
    gradient: NDArray[float32],
    n_threads: int,
) -> None: ...
def copy_slices(
    back: bool,
    weights: NDArray[float32],
    m: NDArray[float32],
    v: NDArray[float32],
    slices: NDArray[float32],
    slices_m: NDArray[float32],
    slices_v: NDArray[float32],
    n_threads: int,
) -> None: ...
def update_entries(
    columns: NDArray[int32],
    starts: NDArray[int64],
    positions: NDArray[int64],
    data: NDArray[float32],
    optimizer: Optimizer,
    bias: NDArray[float32],
    m: NDArray[float32],
    v: NDArray[float32],
    n_threads: int,
) -> None: ...
