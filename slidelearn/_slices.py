"""The columns of the input layer in slices, one a thread, while it is trained by several.

All threads read the rows of features that many samples have, and one steps them: at each batch
their cache lines go from core to core, which takes longer than the work on them. With slices, who
sums up a column steps it, too. A slice has memory of its own, as cores also fetch what lies behind
the lines that are asked for. Each weight has its own sums, so results are the same bits.
"""

from __future__ import annotations

from . import _memory
from ._kernels import _rows
from ._network import Layer

LEAST_COLUMNS = 128  # of a slice; fewer aren't summed up in registers
MAX_BYTES = 2**27  # of a layer: most rows of a larger one come from memory for every batch
MIN_USES = 64  # of a row in all of training, from which on the copies pay
MIN_ENTRIES = 12  # of a sample; for fewer, going through them in each thread takes what is gained


class Slices:
    """Copies of a layer's weights and optimizer state, in slices of columns.

    Parameters
    ----------
    layer : Layer, of float32
    n_slices : int, a divisor of its width

    Attributes
    ----------
    weights, weights_m, weights_v : ndarray of shape (n_slices, n_rows, width / n_slices)
        Without rows where the layer has no such state.
    """

    def __init__(self, layer: Layer, n_slices: int):
        self._layer, self._n_slices = layer, n_slices
        self.weights, self.weights_m, self.weights_v = (
            _memory.empty((n_slices, len(parameter), parameter.shape[1] // n_slices))
            for parameter in (layer.weights, layer.weights_m, layer.weights_v))
        self._copy(back=False)

    def settle(self) -> None:
        """Write back what training made of them."""
        self._copy(back=True)

    def _copy(self, back: bool) -> None:
        layer = self._layer
        _rows.copy_slices(back, layer.weights, layer.weights_m, layer.weights_v, self.weights,
                          self.weights_m, self.weights_v, self._n_slices)


def n_slices(layer: Layer, n_entries: float, n_samples: int, n_threads: int) -> int:
    """Into how many slices to cut a layer that sees some samples, with `n_entries` of its rows all
    together; 1 where that doesn't pay."""
    n_rows, width = layer.weights.shape
    if layer.weights.nbytes > MAX_BYTES or n_entries < max(MIN_USES * n_rows,
                                                           MIN_ENTRIES * n_samples):
        return 1
    most = min(n_threads, width // LEAST_COLUMNS)
    line = _memory.CACHE_LINE // layer.weights.itemsize  # slices begin with one
    return next((n for n in range(most, 1, -1) if width % (n * line) == 0), 1)
