from numpy import int32, uint64
from numpy.typing import NDArray

SORT_COUNTERS: int

def build_tables(
    slots: NDArray[int32],
    bucket_size: int,
    reservoir: bool,
    keys: NDArray[uint64],
    seen: NDArray[int32],
    indptr: NDArray[int32],
    ids: NDArray[int32],
    n_threads: int,
) -> None: ...
def most_collisions(
    indptr: NDArray[int32],
    ids: NDArray[int32],
    slots: NDArray[int32],
    min_collisions: int,
    hits: NDArray[int32],
    touched: NDArray[int32],
    counters: NDArray[int32],
    candidates: NDArray[int32],
    counts: NDArray[int32],
    n_threads: int,
) -> None: ...
def first_collisions(
    indptr: NDArray[int32],
    ids: NDArray[int32],
    slots: NDArray[int32],
    key: int,
    sample_keys: NDArray[uint64],
    hits: NDArray[int32],
    touched: NDArray[int32],
    counters: NDArray[int32],
    candidates: NDArray[int32],
    counts: NDArray[int32],
    n_threads: int,
) -> None: ...
