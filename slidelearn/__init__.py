"""Extreme classification for scikit-learn: SLIDE-style training of very wide output layers.

The data flow, file by file::

    X, y --_validation, _labels--> CSR arrays --_classifier (the scikit-learn face)
         --_fitting (epochs)--> _training (one batch, phase by phase) <-- _active (which classes)
         <-- _lsh (hash tables)      _network (parameters)      _kernels (nogil code)
    X    --_prediction (exact and LSH top-k, in chunks)--> labels and scores <-- _calibration

Beside it: `datasets`, `metrics`.
"""

from ._classifier import SlideClassifier
from ._version import __version__

__all__ = ["SlideClassifier", "__version__"]
