from numpy import int32, int64
from numpy.typing import NDArray

def group_by_column(
    indptr: NDArray[int64],
    indices: NDArray[int32],
    rows: NDArray[int64],
    batch_size: int,
    offsets: NDArray[int64],
    slots: NDArray[int32],
    columns: NDArray[int32],
    starts: NDArray[int64],
    samples: NDArray[int32],
    positions: NDArray[int64],
    n_groups: NDArray[int64],
    n_threads: int,
) -> None: ...
