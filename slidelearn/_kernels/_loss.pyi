from numpy import float32, float64, int32, int64
from numpy.typing import NDArray

def sigmoid_loss(
    label_indptr: NDArray[int64],
    labels: NDArray[int32],
    label_weight: NDArray[float32],
    rows: NDArray[int64],
    slot: NDArray[int32],
    sample_weight: NDArray[float32],
    n_shared: int,
    shared: NDArray[float32],
    own_indptr: NDArray[int64],
    own: NDArray[float32],
    loss: NDArray[float64],
    n_threads: int,
) -> float: ...
def softmax_loss(
    label_indptr: NDArray[int64],
    labels: NDArray[int32],
    label_weight: NDArray[float32],
    rows: NDArray[int64],
    slot: NDArray[int32],
    sample_weight: NDArray[float32],
    n_shared: int,
    shared: NDArray[float32],
    own_indptr: NDArray[int64],
    own: NDArray[float32],
    loss: NDArray[float64],
    n_threads: int,
) -> float: ...
