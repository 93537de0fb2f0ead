from numpy import float32, int32, uint16
from numpy.typing import NDArray

CLASS_BLOCK: int
EMPTY: int

def exact_topk(
    hidden: NDArray[float32],
    weights: NDArray[float32] | NDArray[uint16],
    bias: NDArray[float32],
    first: int,
    last: int,
    n_splits: int,
    logits: NDArray[float32],
    scores: NDArray[float32],
    ids: NDArray[int32],
    n_threads: int,
) -> None: ...
def candidate_topk(
    hidden: NDArray[float32],
    weights: NDArray[float32] | NDArray[uint16],
    bias: NDArray[float32],
    candidates: NDArray[int32],
    n_candidates: NDArray[int32],
    scores: NDArray[float32],
    ids: NDArray[int32],
    n_threads: int,
) -> None: ...
def best_of(
    scores: NDArray[float32],
    ids: NDArray[int32],
    best: NDArray[float32],
    best_ids: NDArray[int32],
    n_threads: int,
) -> None: ...
