from numpy import float32, float64, int32, uint16
from numpy.typing import NDArray

_Rows = NDArray[float32] | NDArray[uint16]
TILE_LANES: int

def stream_key(key: int, index: int) -> int: ...
def random_permutations(key: int, permutations: NDArray[int32], n_threads: int) -> None: ...
def random_heads(key: int, n_flips: int, heads: NDArray[int32], n_threads: int) -> None: ...
def column_means(values: _Rows, means: NDArray[float64], n_threads: int) -> None: ...
def shifted_biases(
    weights: _Rows,
    biases: NDArray[float32],
    mean: NDArray[float64],
    rows: NDArray[int32],
    out: NDArray[float64],
    n_threads: int,
) -> None: ...
def hash_by_sign(
    vectors: _Rows,
    last: NDArray[float32],
    shift: NDArray[float32],
    rows: NDArray[int32],
    projections: NDArray[int32],
    table_bits: int,
    tiles: NDArray[float32],
    codes: NDArray[int32],
    slots: NDArray[int32],
    n_threads: int,
) -> None: ...
def hash_by_winner(
    vectors: _Rows,
    last: NDArray[float32],
    shift: NDArray[float32],
    rows: NDArray[int32],
    bins: NDArray[int32],
    code_bits: int,
    top: int,
    densify: bool,
    borrow_key: int,
    table_bits: int,
    tiles: NDArray[float32],
    codes: NDArray[int32],
    slots: NDArray[int32],
    n_threads: int,
) -> None: ...
