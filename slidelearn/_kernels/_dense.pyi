from numpy import float32, int32, uint16
from numpy.typing import NDArray

from ._simd import Optimizer

_Rows = NDArray[float32] | NDArray[uint16]

PANEL_WIDTH: int
TILE_ROWS: int

def relu_dropout(hidden: NDArray[float32], key: int, dropout: float, n_threads: int) -> None: ...
def relu_dropout_backward(
    hidden: NDArray[float32],
    dropout: float,
    gradient: NDArray[float32],
    n_threads: int,
) -> None: ...
def matmul(
    a: NDArray[float32],
    b: NDArray[float32],
    start: NDArray[float32],
    out: NDArray[float32],
    n_threads: int,
) -> None: ...
def gather_rows(
    weights: _Rows,
    bias: NDArray[float32],
    correction: NDArray[float32],
    ids: NDArray[int32],
    out: NDArray[float32],
    out_bias: NDArray[float32],
    n_threads: int,
) -> None: ...
def block_logits(
    hidden: NDArray[float32],
    block: _Rows,
    bias: NDArray[float32],
    logits: NDArray[float32],
    panels: NDArray[float32],
    n_threads: int,
) -> None: ...
def update_block(
    delta: NDArray[float32],
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
    n_threads: int,
) -> None: ...
def update_bias(
    delta: NDArray[float32],
    optimizer: Optimizer,
    bias: NDArray[float32],
    bias_m: NDArray[float32],
    bias_v: NDArray[float32],
    gradient: NDArray[float32],
) -> None: ...
