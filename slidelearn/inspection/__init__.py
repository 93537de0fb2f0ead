"""Plots of trained models, as scikit-learn's Display objects.

Make one by ``from_estimator`` or, where predictions suffice, by ``from_predictions``; both plot
with matplotlib, which is imported only then. The numbers are attributes of the display, so that
it can be plotted again.

None of them makes a dense array of all samples and classes, unless it is passed one.
"""

from ._calibration import MultilabelCalibrationDisplay
from ._label_frequency import LabelFrequencyDisplay
from ._precision_at_k import PrecisionAtKDisplay
from ._training_curve import TrainingCurveDisplay

__all__ = ["LabelFrequencyDisplay", "MultilabelCalibrationDisplay", "PrecisionAtKDisplay",
           "TrainingCurveDisplay"]
