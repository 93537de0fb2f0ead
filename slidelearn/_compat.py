"""Every private or experimental import from scikit-learn, so that a new version is one file's
work."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import sklearn
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_sample_weight

F = TypeVar("F", bound=Callable[..., Any])

try:  # experimental in scikit-learn 1.9
    from sklearn.callback import CallbackSupportMixin
    from sklearn.callback import with_callbacks as _with_callbacks
except ImportError:  # older

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """No callbacks: `set_callbacks` isn't there, and says why."""

        @property
        def set_callbacks(self) -> Any:
            raise AttributeError(
                f"Callbacks need scikit-learn 1.9 or newer, this is {sklearn.__version__}. The "
                "monitor of fit works with every version."
            )

    def _with_callbacks(method: F) -> F:
        return method


def with_callbacks(method: F) -> F:
    """scikit-learn's decorator of `fit`, behind which a method keeps its types."""
    return cast(F, _with_callbacks(method))


def callback_context(estimator: Any) -> Any:
    """The root context of scikit-learn's callbacks for a fit that begins, or None if nobody
    listens: neither a callback nor a meta-estimator that has some."""
    if hasattr(estimator, "_skl_callbacks") or hasattr(estimator, "_parent_callback_ctx"):
        return estimator._init_callback_context(max_subtasks=None)
    return None


__all__ = ["CallbackSupportMixin", "Interval", "StrOptions", "_check_sample_weight",
           "callback_context", "with_callbacks"]
