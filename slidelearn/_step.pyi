from numpy import float32, int32, int64
from numpy.typing import NDArray

from ._active import ActiveSetSampler
from ._kernels._simd import Optimizer
from ._network import Layer, Network
from ._slices import Slices
from ._training import Batch
from ._validation import CSR

PHASES: tuple[str, ...]

class PhaseClock:
    def start(self) -> None: ...
    def lap(self, phase: str) -> None: ...
    @property
    def seconds(self) -> dict[str, float]: ...

class LayerViews:
    arrays: Layer
    def __init__(self, layer: Layer, activations: NDArray[float32] | None) -> None: ...

class BatchStep:
    clock: PhaseClock
    n_active: int
    density: float
    counts: NDArray[int64]
    places: NDArray[int32]
    own_classes: tuple[NDArray[int64], NDArray[int32]]
    def __init__(
        self,
        network: Network,
        slices: Slices | None,
        X: CSR,
        labels: CSR,
        log_inclusion: NDArray[float32],
        sampler: ActiveSetSampler,
        *,
        loss: str,
        dropout: float,
        batch_size: int,
        max_density: float,
        n_threads: int,
    ) -> None: ...
    def run(
        self,
        batch: Batch,
        step: int,
        optimizer: Optimizer,
        dropout_key: int,
        gradient_key: int,
        coarseness: float,
        sparse: bool,
        from_bytes: bool,
        n_threads: int,
    ) -> float: ...
