"""Ranking metrics of extreme classification, and scorers made of them.

Metrics here look at the k labels ranked first and never at a score for each class, so that
their cost does not grow with the number of classes.
"""

from collections.abc import Callable
from numbers import Real
from typing import Any, TypeAlias

import numpy as np
import scipy.sparse as sp
from sklearn.utils import check_consistent_length, column_or_1d
from sklearn.utils.metadata_routing import MetadataRequest

from ._rankings import (
    as_indicator,
    checked_k,
    column_numbers,
    compared,
    hits,
    is_indicator,
    label_vector,
)
from ._wrapped import predict_topk

__all__ = [
    "TopKScorer",
    "label_propensities",
    "make_topk_scorer",
    "ndcg_at_k",
    "precision_at_k",
    "propensity_scored_ndcg_at_k",
    "propensity_scored_precision_at_k",
    "recall_at_k",
]

_Metric: TypeAlias = Callable[..., float]


def precision_at_k(y_true: Any, y_topk: Any, k: int = 5, *, sample_weight: Any = None) -> float:
    """Share of the k labels ranked first that are right.

    Parameters
    ----------
    y_true : {sparse matrix, ndarray} of shape (n_samples, n_classes) or \
            array-like of shape (n_samples,)
        Either a label indicator of zeros and ones in any sparse format or dense, or one label
        for each row.
    y_topk : array-like of shape (n_samples, >= k)
        The labels predicted for each row, best first, each once. For an indicator these are
        column numbers (integers), and -1 means "none". For one-dimensional `y_true` these are
        labels to be compared with its own.
    k : int, default=5
        How many labels count.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the rows.

    Returns
    -------
    score : float
        Between 0 and 1. A row with fewer than k labels cannot reach 1, and a row without labels
        counts as 0: the convention of the Extreme Classification Repository.

    Raises
    ------
    ValueError
        If `k` is less than one or more than the columns of `y_topk`, if shapes do not match, if
        `y_true` has values other than 0 and 1, if `y_topk` has numbers that are not integers, out
        of range, or twice in a row, or if the weights are negative, not finite or all zero.

    See Also
    --------
    recall_at_k : Share of the right labels that are found.
    ndcg_at_k : Discounts right labels by their rank.
    sklearn.metrics.top_k_accuracy_score : The same times k for one label a row, from scores.

    References
    ----------
    .. [1] K. Bhatia et al., "The extreme classification repository: multi-label datasets and
       code", 2016, section "Performance metrics",
       http://manikvarma.org/downloads/XC/XMLRepository.html

    Examples
    --------
    >>> import numpy as np
    >>> from slidelearn.metrics import precision_at_k
    >>> y_true = np.array([[1, 1, 0, 0], [0, 0, 1, 0]])
    >>> precision_at_k(y_true, [[0, 2], [2, 1]], k=2)
    0.5
    """
    ranking = compared(y_true, y_topk, k)
    return _average(ranking.hits.sum(axis=1) / k, sample_weight)


def recall_at_k(y_true: Any, y_topk: Any, k: int = 5, *, sample_weight: Any = None) -> float:
    """Share of a row's labels that are among the k ranked first.

    Parameters
    ----------
    y_true : {sparse matrix, ndarray} of shape (n_samples, n_classes) or \
            array-like of shape (n_samples,)
        Label indicator, or one label for each row; see :func:`precision_at_k`.
    y_topk : array-like of shape (n_samples, >= k)
        Predicted column numbers or labels, best first; see :func:`precision_at_k`.
    k : int, default=5
        How many predictions count.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the rows.

    Returns
    -------
    score : float
        Between 0 and 1. A row with more than k labels cannot reach 1, and a row without labels
        counts as 0.

    Raises
    ------
    ValueError
        As :func:`precision_at_k`.

    Examples
    --------
    >>> import numpy as np
    >>> from slidelearn.metrics import recall_at_k
    >>> y_true = np.array([[1, 1, 0, 0], [0, 0, 1, 0]])
    >>> recall_at_k(y_true, [[0, 2], [2, 1]], k=2)
    0.75
    """
    ranking = compared(y_true, y_topk, k)
    found = ranking.hits.sum(axis=1)
    return _average(found / np.maximum(ranking.n_labels, 1), sample_weight)


def ndcg_at_k(y_true: Any, y_topk: Any, k: int = 5, *, sample_weight: Any = None) -> float:
    """Normalised discounted cumulative gain of the k labels ranked first.

    The gain of a right label at rank r (from one) is ``1 / log2(r + 1)``; the sum is divided by
    its largest possible value, that of ``min(k, number of labels)`` right labels.

    Parameters
    ----------
    y_true : {sparse matrix, ndarray} of shape (n_samples, n_classes) or \
            array-like of shape (n_samples,)
        Label indicator, or one label for each row; see :func:`precision_at_k`.
    y_topk : array-like of shape (n_samples, >= k)
        Predicted column numbers or labels, best first; see :func:`precision_at_k`.
    k : int, default=5
        How many predictions count.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the rows.

    Returns
    -------
    score : float
        Between 0 and 1. A row without labels counts as 0, as in scikit-learn.

    Raises
    ------
    ValueError
        As :func:`precision_at_k`.

    See Also
    --------
    sklearn.metrics.ndcg_score : The same from dense scores.

    Examples
    --------
    >>> import numpy as np
    >>> from slidelearn.metrics import ndcg_at_k
    >>> y_true = np.array([[1, 1, 0, 0], [0, 0, 1, 0]])
    >>> round(ndcg_at_k(y_true, [[0, 2], [2, 1]], k=2), 4)
    0.8066
    """
    ranking = compared(y_true, y_topk, k)
    gains = ranking.hits @ _discounts(k)
    return _average(gains / _ideal_gains(ranking.n_labels, k), sample_weight)


def label_propensities(Y_train: Any, A: float = 0.55, B: float = 1.5) -> np.ndarray:
    """Estimate how likely each label is given to a row that it fits.

    Rare labels are missing more often than frequent ones. With N rows, N_l of which have the
    label l, its propensity is ``1 / (1 + C * exp(-A * log(N_l + B)))`` where
    ``C = (log(N) - 1) * (B + 1) ** A`` [1]_.

    Parameters
    ----------
    Y_train : {sparse matrix, ndarray} of shape (n_samples, n_classes)
        Label indicator of the training rows, at least three of them.
    A : float, default=0.55
        How fast propensities grow with the frequency. In use are 0.5 for Wikipedia, 0.6 for
        Amazon and 0.55 for all other data.
    B : float, default=1.5
        Shift of the frequency: 0.4 for Wikipedia, 2.6 for Amazon and 1.5 for all other data.

    Returns
    -------
    propensities : ndarray of shape (n_classes,), dtype float64
        Greater than 0 and less than 1.

    Raises
    ------
    ValueError
        If `Y_train` is not an indicator or has fewer than three rows, if `A` is not a number of
        at least 0, or if `B` is not a number greater than 0.

    References
    ----------
    .. [1] H. Jain, Y. Prabhu and M. Varma, "Extreme multi-label loss functions for
       recommendation, tagging, ranking & other missing label applications", KDD 2016,
       section 4.

    Examples
    --------
    >>> import numpy as np
    >>> from slidelearn.metrics import label_propensities
    >>> label_propensities(np.eye(10, 2)).round(3)
    array([0.434, 0.434])
    """
    indicator = as_indicator(Y_train, "Y_train")
    n_samples = indicator.shape[0]
    if n_samples < 3:
        raise ValueError(f"Y_train must have at least 3 rows, got {n_samples}.")
    are_numbers = isinstance(A, Real) and isinstance(B, Real)
    if not (are_numbers and 0 <= A < np.inf and 0 < B < np.inf):
        raise ValueError(f"A must be at least 0 and B greater than 0, got A={A!r} and B={B!r}.")
    counts = np.bincount(indicator.indices, minlength=indicator.shape[1])
    C = (np.log(n_samples) - 1) * (B + 1) ** A
    return 1 / (1 + C * (counts + B) ** -A)


def propensity_scored_precision_at_k(
    y_true: Any, y_topk: Any, propensities: Any, k: int = 5, *, sample_weight: Any = None
) -> float:
    """Precision at k that rewards rare labels, relative to the best achievable.

    Each right label counts ``1 / propensity`` [1]_. As in the tables of the Extreme
    Classification Repository the average over the rows is divided by that of the best
    prediction possible, which ranks the true labels of each row by their propensities.

    Parameters
    ----------
    y_true : {sparse matrix, ndarray} of shape (n_samples, n_classes) or \
            array-like of shape (n_samples,)
        Label indicator, or one class number (from zero) for each row.
    y_topk : array-like of shape (n_samples, >= k)
        Predicted column numbers, best first; -1 means "none".
    propensities : array-like of shape (n_classes,)
        Greater than 0 and at most 1; see :func:`label_propensities`.
    k : int, default=5
        How many predictions count.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the rows.

    Returns
    -------
    score : float
        Between 0 and 1; 0 if no row has labels.

    Raises
    ------
    ValueError
        As :func:`precision_at_k`, and if the propensities are not one number between 0 and 1
        for each class.

    References
    ----------
    .. [1] H. Jain, Y. Prabhu and M. Varma, "Extreme multi-label loss functions for
       recommendation, tagging, ranking & other missing label applications", KDD 2016,
       sections 4 and 5.

    Examples
    --------
    >>> import numpy as np
    >>> from slidelearn.metrics import propensity_scored_precision_at_k
    >>> y_true = np.array([[1, 1, 0, 0], [0, 0, 1, 0]])
    >>> propensity_scored_precision_at_k(y_true, [[0], [2]], [1, 0.25, 0.5, 0.5], k=1)
    0.5
    """
    return _propensity_scored(y_true, y_topk, propensities, False, k, sample_weight)


def propensity_scored_ndcg_at_k(
    y_true: Any, y_topk: Any, propensities: Any, k: int = 5, *, sample_weight: Any = None
) -> float:
    """Propensity-scored nDCG at k: rewards rare labels, relative to the best achievable.

    A right label at rank r gains ``1 / (propensity * log2(r + 1))``, and the sum of a row is
    divided by that of ``1 / log2(r + 1)`` over ``min(k, number of labels)`` ranks [1]_. As in the
    tables of the Extreme Classification Repository the average over the rows is divided by that
    of the best prediction possible.

    Parameters
    ----------
    y_true : {sparse matrix, ndarray} of shape (n_samples, n_classes) or \
            array-like of shape (n_samples,)
        Label indicator, or one class number (from zero) for each row.
    y_topk : array-like of shape (n_samples, >= k)
        Predicted column numbers, best first; -1 means "none".
    propensities : array-like of shape (n_classes,)
        Greater than 0 and at most 1; see :func:`label_propensities`.
    k : int, default=5
        How many predictions count.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the rows.

    Returns
    -------
    score : float
        Between 0 and 1; 0 if no row has labels.

    Raises
    ------
    ValueError
        As :func:`propensity_scored_precision_at_k`.

    References
    ----------
    .. [1] H. Jain, Y. Prabhu and M. Varma, "Extreme multi-label loss functions for
       recommendation, tagging, ranking & other missing label applications", KDD 2016,
       sections 4 and 5.

    Examples
    --------
    >>> import numpy as np
    >>> from slidelearn.metrics import propensity_scored_ndcg_at_k
    >>> y_true = np.array([[1, 1, 0, 0], [0, 0, 1, 0]])
    >>> propensity_scored_ndcg_at_k(y_true, [[1, 0], [2, 3]], [1, 0.25, 0.5, 0.5], k=2)
    1.0
    """
    return _propensity_scored(y_true, y_topk, propensities, True, k, sample_weight)


# ---- scorers ------------------------------------------------------------------------------


def make_topk_scorer(metric: _Metric, k: int = 5, **kwargs: Any) -> "TopKScorer":
    """Make a scorer for model selection out of a metric of this module.

    Parameters
    ----------
    metric : callable
        Called as ``metric(y_true, y_topk, k=k, **kwargs)``, with ``sample_weight=`` added when
        there are weights; greater is better. :func:`precision_at_k`, for instance.
    k : int, default=5
        How many labels to predict for each row.
    **kwargs : dict
        Further arguments of the metric, for instance ``propensities``.

    Returns
    -------
    scorer : TopKScorer
        Callable as ``scorer(estimator, X, y, sample_weight=None)``. It can be pickled, and
        passed as ``scoring``, alone or in a dictionary, to
        :class:`~sklearn.model_selection.GridSearchCV`,
        :func:`~sklearn.model_selection.cross_validate` and the like.

    Raises
    ------
    ValueError
        If `metric` is not callable or `k` not a positive integer.

    Notes
    -----
    Of scikit-learn's tools :class:`~sklearn.model_selection.GridSearchCV` and its relatives
    accept a sparse `y`, but ``cross_validate`` and ``cross_val_score`` refuse it: they take
    dense indicators and label vectors only.

    Examples
    --------
    >>> from slidelearn.metrics import make_topk_scorer, ndcg_at_k, precision_at_k
    >>> make_topk_scorer(precision_at_k, k=1)
    make_topk_scorer(precision_at_k, k=1)
    >>> scoring = {"P@1": make_topk_scorer(precision_at_k, k=1),
    ...            "nDCG@5": make_topk_scorer(ndcg_at_k)}
    """
    if not callable(metric):
        raise ValueError(f"metric must be callable, got {metric!r}.")
    return TopKScorer(metric, checked_k(k), kwargs)


class TopKScorer:
    """Scorer that asks an estimator for its k best labels; made by :func:`make_topk_scorer`.

    Parameters
    ----------
    metric : callable
        Called as ``metric(y_true, y_topk, k=k, **kwargs)``.
    k : int
        How many labels to predict for each row.
    kwargs : dict
        Further arguments of the metric.
    """

    def __init__(self, metric: _Metric, k: int, kwargs: dict[str, Any]) -> None:
        self._metric = metric
        self._k = k
        self._kwargs = kwargs
        self._sample_weight_request: bool | str | None = None

    def __call__(self, estimator: Any, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Score the predictions of an estimator.

        Parameters
        ----------
        estimator : estimator
            Fitted; ``estimator.predict_topk(X, k=k)[0]`` gives the labels, best first. It may be
            the end of a Pipeline or the best of a search, which have no such method.
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows to predict.
        y : {sparse matrix, ndarray} of shape (n_samples, n_classes) or \
                array-like of shape (n_samples,)
            True labels. For an indicator, the estimator must return column numbers.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        score : float
            Greater is better.

        Raises
        ------
        TypeError
            There is no `predict_topk`.
        """
        kwargs = dict(self._kwargs)
        if sample_weight is not None:
            kwargs["sample_weight"] = sample_weight
        y_topk = predict_topk(estimator, X, self._k)
        return self._metric(y, y_topk, k=self._k, **kwargs)

    def __repr__(self) -> str:
        name = getattr(self._metric, "__name__", repr(self._metric))
        further = "".join(f", {key}={_brief(value)}" for key, value in self._kwargs.items())
        return f"make_topk_scorer({name}, k={self._k}{further})"

    def set_score_request(self, *, sample_weight: bool | str | None) -> "TopKScorer":
        """Say which metadata the scorer wants when scikit-learn's metadata routing is enabled.

        Parameters
        ----------
        sample_weight : bool, str or None
            True to receive the weights if there are any, False to ignore them, None to make it
            an error to pass some, or the name under which they are passed.

        Returns
        -------
        self : TopKScorer
        """
        self._sample_weight_request = sample_weight
        return self

    def get_metadata_routing(self) -> MetadataRequest:
        """Tell scikit-learn's metadata routing what the scorer wants.

        Returns
        -------
        routing : sklearn.utils.metadata_routing.MetadataRequest
        """
        request = MetadataRequest(owner=type(self).__name__)
        request.score.add_request(param="sample_weight", alias=self._sample_weight_request)
        return request

    def _accept_sample_weight(self) -> bool:
        """Answer scikit-learn, which asks each scorer of a dictionary when there are weights."""
        return True


def _brief(value: Any) -> str:
    """Write an argument; of arrays the shape only."""
    return f"<array of shape {value.shape}>" if hasattr(value, "shape") else repr(value)


# ---- gains --------------------------------------------------------------------------------


def _discounts(k: int) -> np.ndarray:
    """Return the gains of a right label at the ranks from 1 to k."""
    return 1 / np.log2(np.arange(2, k + 2))


def _ideal_gains(n_labels: np.ndarray, k: int) -> np.ndarray:
    """Return the largest possible gain of each row; 1 for rows without labels."""
    ideal = np.concatenate(([1.0], np.cumsum(_discounts(k))))
    return ideal[np.minimum(n_labels, k)]


def _average(scores: np.ndarray, sample_weight: Any) -> float:
    """Average over the rows."""
    return float(np.average(scores, weights=_checked_weight(sample_weight, scores)))


def _checked_weight(sample_weight: Any, scores: np.ndarray) -> np.ndarray | None:
    """Return the weights as float64, after checking them."""
    if sample_weight is None:
        return None
    weight = np.asarray(column_or_1d(sample_weight), dtype=np.float64)
    check_consistent_length(scores, weight)
    if not np.isfinite(weight).all() or (weight < 0).any() or not weight.any():
        raise ValueError("sample_weight must be finite, not negative, and not all zero.")
    return weight


# ---- propensities -------------------------------------------------------------------------


def _propensity_scored(
    y_true: Any,
    y_topk: Any,
    propensities: Any,
    is_ndcg: bool,
    k: int,
    sample_weight: Any,
) -> float:
    """Divide the average propensity-scored gain by the best achievable."""
    weights = 1 / _checked_propensities(propensities)
    indicator = _class_indicator(y_true, len(weights))
    topk = column_numbers(y_topk, k, *indicator.shape)
    n_labels = np.diff(indicator.indptr)
    per_rank = _discounts(k) if is_ndcg else np.ones(k)
    # nDCG is relative to the number of labels of each row; precision is not.
    scale = _ideal_gains(n_labels, k) if is_ndcg else np.ones(len(n_labels))
    gains = np.where(hits(indicator, topk), weights[topk], 0.0) @ per_rank / scale
    best = _best_gains(indicator, weights, per_rank) / scale
    achievable = _average(best, sample_weight)
    return _average(gains, sample_weight) / achievable if achievable > 0 else 0.0


def _checked_propensities(propensities: Any) -> np.ndarray:
    """Return the propensities as float64, after checking them."""
    values = np.asarray(propensities)
    if values.ndim != 1 or values.dtype.kind not in "iuf" or len(values) == 0:
        found = f"shape {values.shape} of type {values.dtype}"
        raise ValueError(f"propensities must be one number for each class, got {found}.")
    bad = ~((values > 0) & (values <= 1))
    if bad.any():
        label = int(bad.argmax())
        limits = "greater than 0 and at most 1"
        raise ValueError(f"propensities must be {limits}, got {values[label]} at {label}.")
    return values.astype(np.float64)


def _class_indicator(y_true: Any, n_classes: int) -> sp.csr_matrix:
    """Return indicator or class numbers as an indicator with `n_classes` columns."""
    if is_indicator(y_true):
        indicator = as_indicator(y_true, "y_true")
        if indicator.shape[1] != n_classes:
            found = f"y_true has {indicator.shape[1]} columns"
            raise ValueError(f"{found} but there are {n_classes} propensities.")
        return indicator
    labels = label_vector(y_true)
    if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= n_classes:
        wanted = f"class numbers from 0 to {n_classes - 1}, one for each propensity"
        raise ValueError(f"One-dimensional y_true must hold {wanted}.")
    parts = (np.ones(len(labels)), labels, np.arange(len(labels) + 1))
    return sp.csr_matrix(parts, shape=(len(labels), n_classes))


def _best_gains(indicator: sp.csr_matrix, weights: np.ndarray, per_rank: np.ndarray) -> np.ndarray:
    """Return the gain of each row when its labels of greatest weight come first."""
    n_labels = np.diff(indicator.indptr)
    rows = np.repeat(np.arange(len(n_labels)), n_labels)
    values = weights[indicator.indices]
    values = values[np.lexsort((-values, rows))]
    ranks = np.arange(len(rows)) - np.repeat(indicator.indptr[:-1], n_labels)
    counts = ranks < len(per_rank)
    gains = values[counts] * per_rank[ranks[counts]]
    return np.bincount(rows[counts], weights=gains, minlength=len(n_labels))
