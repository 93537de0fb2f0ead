from numpy import float32, float64, int8, int32, uint8
from numpy.typing import NDArray

SAMPLES: int
CLASSES: int
LANES: int
CLASS_NUMBERS: dict[str, int]
SAMPLE_NUMBERS: dict[str, int]

def quantise(
    x: NDArray[float32],
    split: int,
    lanes: int,
    offset: int,
    codes: NDArray[uint8],
    stats: NDArray[float64],
    n_threads: int,
) -> None: ...
def pruned_topk(
    hidden: NDArray[float32],
    weights: NDArray[float32],
    bias: NDArray[float32],
    order: NDArray[int32],
    codes: NDArray[uint8],
    classes: NDArray[float32],
    most: NDArray[float32],
    groups1: int,
    sample_codes: NDArray[int8],
    start: NDArray[int32],
    sample: NDArray[float32],
    group_least: NDArray[float32],
    block: int,
    first: int,
    last: int,
    uppers: NDArray[float32],
    lowers: NDArray[float32],
    found: NDArray[int32],
    counts: NDArray[int32],
    next_look: NDArray[int32],
    scores: NDArray[float32],
    ids: NDArray[int32],
    n_threads: int,
) -> None: ...
