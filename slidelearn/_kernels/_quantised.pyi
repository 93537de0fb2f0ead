from numpy import float32, int8, int32
from numpy.typing import NDArray

MAX_WIDTH: int
PANEL_WIDTH: int
TILE_SAMPLES: int

def block_logits(
    hidden: NDArray[float32],
    block: NDArray[float32],
    bias: NDArray[float32],
    logits: NDArray[float32],
    tiles: NDArray[int8],
    scales: NDArray[float32],
    scratch: NDArray[int8],
    n_threads: int,
) -> None: ...
def encode(
    rows: NDArray[float32],
    codes: NDArray[int8],
    scales: NDArray[float32],
    scratch: NDArray[int8],
    n_threads: int,
) -> None: ...
def topk(
    hidden: NDArray[float32],
    codes: NDArray[int8],
    class_scales: NDArray[float32],
    bias: NDArray[float32],
    ids: NDArray[int32],
    block: int,
    tiles: NDArray[int8],
    scales: NDArray[float32],
    scratch: NDArray[int8],
    values: NDArray[float32],
    found: NDArray[int32],
    counts: NDArray[int32],
    below: NDArray[float32],
    best: NDArray[float32],
    best_ids: NDArray[int32],
    n_threads: int,
) -> None: ...
