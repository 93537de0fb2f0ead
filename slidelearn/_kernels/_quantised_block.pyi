from numpy import float32, int8
from numpy.typing import NDArray

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
