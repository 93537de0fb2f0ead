"""Progress bars: tqdm's for terminals and notebooks.

Without ipywidgets tqdm can't show one in a notebook, and says so at import, which is no reason to
greet each user of slidelearn with a warning: there are the lines of `verbose`.
"""

import warnings

from tqdm import TqdmWarning

with warnings.catch_warnings():
    warnings.simplefilter("ignore", TqdmWarning)
    from tqdm.auto import tqdm

__all__ = ["tqdm"]
