from numpy import int32, int64
from numpy.typing import NDArray

def draw_shared(
    label_indptr: NDArray[int64],
    labels: NDArray[int32],
    rows: NDArray[int64],
    batch_size: int,
    n_random: int,
    key: int,
    first: int,
    slots: NDArray[int32],
    shared: NDArray[int32],
    n_shared: NDArray[int64],
    n_threads: int,
) -> None: ...
def assign_slots(shared: NDArray[int32], slot: NDArray[int32]) -> None: ...
def clear_slots(shared: NDArray[int32], slot: NDArray[int32]) -> None: ...
def own_active_sets(
    label_indptr: NDArray[int64],
    labels: NDArray[int32],
    rows: NDArray[int64],
    slot: NDArray[int32],
    candidates: NDArray[int32],
    n_candidates: NDArray[int32],
    key: int,
    floor: int,
    seen: NDArray[int64],
    tag: int,
    own: NDArray[int32],
    n_own: NDArray[int32],
    n_threads: int,
) -> None: ...
