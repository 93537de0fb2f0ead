"""Extreme classification for scikit-learn: SLIDE-style training of very wide output layers.

The data flow, file by file::

    X, y   -> _validation, _labels     canonical CSR arrays, class indices
           -> _classifier              the scikit-learn face; _parameters, _state: its checks
           -> _initialisation          where training starts
           -> _fitting                 epochs, progress, early stopping; then _ranker, _calibration
              <- _history, _hooks      what each epoch leaves behind; who is called after it
           -> _training                batches and the optimizer's rate
           -> _step                    one batch, phase by phase (compiled)
              <- _active <- _lsh       which classes it computes; hash tables
              <- _network              parameters and optimizer state
              <- _grouping             which samples of a batch have which features
    X      -> _prediction              scores, exact and LSH top-k, in chunks
              <- _pruning              bounds that rule classes out
    model  -> _export <- _safetensors  one file that is mapped; _onnx: the same as a graph
    arrays -> _kernels                 the compiled loops under all of these

Beside it: `datasets`; `metrics` and `inspection` (plots), which share `_rankings`; `_info` (the
instruction set in use); `_progress` (bars); `_wrapped`: the model inside of a Pipeline or a search;
`_bfloat16`: how an output layer can be stored; `_memory`: where arrays begin; `_files`: files that
appear whole; `_cli`: the command line.
"""

from ._classifier import SlideClassifier
from ._info import simd_info
from ._version import __version__

__all__ = ["SlideClassifier", "__version__", "simd_info"]
