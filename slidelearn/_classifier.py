"""SlideClassifier: the scikit-learn face of the network."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from numbers import Integral
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from scipy.special import expit, log_expit, log_softmax, softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from . import _calibration, _export, _labels, _onnx, _prediction, _state
from ._active import SamplingPlan
from ._class_weight import class_weights, weighted_labels
from ._compat import CallbackSupportMixin, with_callbacks
from ._fitting import EarlyStopping, Samples, calibrate, run_epochs, validation_score
from ._history import History
from ._hooks import Hooks, State
from ._initialisation import index_features, initialise
from ._labels import Targets
from ._lsh import LSHIndex
from ._network import Network
from ._parameters import CONSTRAINTS, check_parameters
from ._progress import tqdm
from ._ranker import Ranker, choose_penalty, fit_ranker
from ._similar import class_indices, nearest_rows
from ._threads import effective_n_threads
from ._training import Recipe, Trainer, log_inclusion
from ._validation import CSR, check_weights, check_X

if TYPE_CHECKING:
    from onnx import ModelProto

MAX_DENSE_SCORES = 2**28  # entries of a dense result: 2 GiB of float64
DEFAULT_K = 5  # best classes, if nobody says how many
MEAN_ROWS = 1000  # samples whose mean activation centres the hash tables of prediction

MatrixLike: TypeAlias = Any  # array-like, sparse matrix or array, or dataframe: scipy has no types
TargetLike: TypeAlias = Any  # labels or an indicator, in such forms
Monitor: TypeAlias = Callable[[int, "SlideClassifier", dict[str, float]], object]
# Hash tables, and what they were made by and of: the plan, and the weights of the output layer.
HashTables: TypeAlias = tuple[SamplingPlan, LSHIndex, NDArray[Any]]


class SlideClassifier(CallbackSupportMixin, ClassifierMixin, BaseEstimator):
    """Neural network for very many classes, trained on small active sets of output neurons.

    A network with ReLU hidden layers whose output layer may have a thousand to a million neurons.
    For each batch only the neurons of its labels and some sampled ones are computed and updated,
    so that the cost of a sample hardly depends on the number of classes. Sampling can be random and
    shared by the batch (the default), or by locality-sensitive hashing as in SLIDE [1]_.

    Takes sparse or dense X, and y as labels (binary, multiclass) or as an indicator (multi-label),
    dense or sparse; a sparse y is never densified.

    Parameters
    ----------
    hidden_layer_sizes : sequence of int, default=(256,)
        Widths of the hidden layers, at least one.

    loss : {"auto", "sigmoid", "softmax"}, default="auto"
        - "sigmoid": binary cross-entropy of each active class (one-vs-rest).
        - "softmax": cross-entropy of the softmax over the active set, the target spread evenly
          over the labels of a sample ([1]_, section 3.1).
        - "auto": "sigmoid" if y is an indicator, "softmax" if it is labels.

    class_weight : dict, "balanced", "propensity" or None, default=None
        Weights of the classes in the loss; a class that isn't in the dict has weight 1.

        - y is labels: the weight of a label multiplies the weights of the samples that have it, as
          in other classifiers of scikit-learn.
        - y is an indicator: the weight of a column multiplies the positive term of each sample
          that has that label, and leaves negative ones alone. (`calibrate` measures unweighted
          probabilities, and so takes back what the weights do to all labels alike; linear rankers
          don't look at class weights.)

        "balanced" is the mean frequency of the labels that occur, divided by the label's own.
        "propensity" is the inverse of `slidelearn.metrics.label_propensities` (A=0.55, B=1.5),
        which are estimates of how likely a fitting label is given at all ([4]_, section 4).
        `partial_fit`, which sees one part of the data, takes a dict only.

    solver : {"adam", "adagrad", "sgd"}, default="adam"
        Optimizer; each steps only the weights that a batch touched. During training "adam" keeps
        one number a weight, or two with a `beta_1` above 0, "adagrad" one, "sgd" none.

    learning_rate : {"linear", "constant"}, default="linear"
        Schedule of the rate: "linear" falls to 0 at the end of `fit`. In `partial_fit`, whose end
        isn't known, it falls with the inverse root of steps instead, ``1 / sqrt(1 + t_ / 500)``.
        "constant" stays what it is, as for streams whose nature changes.

    learning_rate_init : float, default=0.0125
        Learning rate at the start.

    beta_1 : float, default=0.0
        Decay rate of Adam's moving average of gradients, in [0, 1). With 0 there is none: steps
        follow the gradient of the batch, and less has to be moved through memory.

    beta_2 : float, default=0.999
        Decay rate of Adam's moving average of squared gradients, in [0, 1).

    epsilon : float, default=3e-5
        Added to the denominator of "adam" and "adagrad", the gradient being the mean over a batch.
        A class that is nearly always a negative has tiny gradients; with the usual 1e-8 Adam makes
        full steps of them, which bury rare classes.

    init : {"labels", "random"}, default="labels"
        Weights before the first epoch of `fit`.

        - "labels": the output layer is random, and a feature gets the sum of the rows of the
          labels of the samples that have it, beside a little noise (random indexing, [6]_). That
          helps most with samples unlike those trained on.
        - "random": all are random. `partial_fit`, which sees one part of the data, always begins
          like that.

    dtype : {"float32", "bfloat16"}, default="float32"
        How the weights of the output layer, and what the optimizer keeps for each of them, are
        stored. "bfloat16" is half the memory at the same accuracy and about the same speed, or more
        where each sample has classes of its own; arithmetic is in float32, and what a step changes
        is rounded stochastically, so that small changes aren't lost. See "Memory" in the user
        guide.

    batch_size : int or "auto", default="auto"
        Samples a step. "auto" is the power of two that makes an epoch some 100 to 200 steps, at
        least 16 and at most 128.

    max_iter : int or "auto", default="auto"
        Epochs. "auto" is 6 with up to 32,768 classes, 12 with 65,536 or more, in between in
        proportion.

    dropout : float, default=0.4
        Share of hidden activations set to zero in training, in [0, 1).

    sampling : {"random", "vanilla", "topk", "threshold", "all"}, default="random"
        How negative classes get into an active set.

        - "random": `n_random` classes drawn uniformly, nothing else.
        - "vanilla", "topk", "threshold": also the classes that collide with the sample's
          activation in hash tables ([1]_, section 4.1): those of tables probed in random order
          until `n_candidates` are found; the `n_candidates` that collide most often; those that
          collide at least `min_collisions` times.
        - "all": every class, i.e. no sampling: the dense network.

    n_random : int, default=300
        Random classes in an active set. Where that is more than half of the classes, all are used.

    share_random : bool, default=True
        True: random classes are drawn once a batch and, with the labels of all its samples, used
        by each of them, which is much faster. False: each sample draws its own until its active
        set has `n_random` classes, as in [1]_.

    gradient_threshold : float, default=0.01
        Gradients of the loss with respect to a score that are smaller than this, in [0, 1], are
        rounded to it or to 0, at random so that the expectation stays. ([5]_, section 2; with the
        sigmoid it is the probability of a negative class, or what that of a label lacks of 1.) Few
        pairs of a sample and a class are left then, which makes the backward pass cheap. 0 rounds
        none; nor is any rounded where all classes are active, or of classes that a sample has for
        itself. While more than an eighth of the pairs would be left, as in the first batches,
        those below twice, four times, ... this are rounded, but none above 1/8. Where gradients
        are rounded, scores in training come from products of 8-bit integers, and are off by some
        hundredths; prediction always has exact ones.

    n_candidates : int, default=256
        Most classes that hashing adds to the active set of a sample, or that prediction by
        hashing looks at.

    min_collisions : int, default=2
        Collisions that a candidate needs under ``sampling="threshold"``.

    hash_function : {"simhash", "wta", "dwta", "minhash"}, default="simhash"
        - "simhash": signs of random projections.
        - "wta": which of 8 random coordinates is the largest.
        - "dwta": the same, densified: where all 8 are zero, the code of another 8 is taken.
        - "minhash": which of the largest coordinates, a quarter of all, is first in random order.

    hash_length : int or None, default=None
        Codes that together index one table (K in [1]_), at most 63 for "simhash", else 21. None
        is 9 for "simhash", else 6.

    n_tables : int, default=50
        Hash tables (L in [1]_).

    bucket_size : int, default=128
        Classes that a bucket can hold.

    insertion : {"fifo", "reservoir"}, default="fifo"
        What a full bucket keeps: the last classes inserted, or a uniform sample of all.

    center : bool, default=True
        Subtract means before hashing. ReLU activations all lie in one orthant and hash nearly
        alike without it.

    rebuild_interval : int, default=50
        Batches until hash tables first follow the changed weights.

    rebuild_growth : float, default=1.05
        Factor by which the gap grows from rebuild to rebuild, at least 1.

    redraw_every : int, default=0
        Every so many rebuilds, hash functions are drawn afresh; 0 is never.

    ranker : {"auto", "linear"} or None, default="auto"
        - "linear": when the network is trained, `fit` trains for each class a sparse linear
          classifier on X itself (L2-regularised squared hinge loss [2]_), which learns to tell
          the samples of the class from those that the network only believes to be; its hinge loss
          is subtracted from the network's score. Rare features and rare labels need that ([3]_
          ranks in this way behind trees). How much it counts is chosen on the samples held out
          for `calibrate` or `early_stopping`, and fixed without them.
        - "auto": "linear", unless the samples held out say that the network does better alone, or,
          if y is labels, none were held out.
        - None: the network alone.

    C : float, default=1.0
        Inverse strength of the ranker's regularisation, relative to the mean squared length of
        the rows of X. That of a class with n samples is C times ``0.5 + 32 / (n + 8)``: 4 times
        for one sample, once for 56.

    early_stopping : bool, default=False
        Hold out a part of the training data, stop when its nDCG@5 no longer improves, and keep
        the parameters of the best epoch.

    validation_fraction : float, default=0.1
        Share of the samples held out if `early_stopping`, in (0, 1).

    n_iter_no_change : int, default=3
        Epochs without improvement by more than `tol` after which to stop.

    tol : float, default=1e-4
        Least change of the validation score that counts.

    calibrate : bool, default=True
        Hold out 1 sample in 20 (at most 500, none if that is under 20) and learn from them what
        makes log-odds of scores (Platt scaling in two pieces) or, if scores go into a softmax over
        labels, their temperature; so that `predict_proba` can be taken at its word and, with an
        indicator y, 0.5 is a sensible threshold. With `early_stopping` the validation part serves
        for this.

    shuffle : bool, default=True
        Visit samples in a new random order each epoch.

    warm_start : bool, default=False
        `fit` goes on from the parameters of the last call. The optimizer's memory is kept for
        that, which with "adam" makes a model twice as big, or three times with a `beta_1` above 0.

    random_state : int, RandomState instance or None, default=None
        Seeds initial weights, order, dropout and sampling. With an int, `fit` gives the same bits
        whatever `n_jobs` is.

    n_jobs : int or None, default=None
        Threads; None is 1 unless in a `joblib.parallel_config` context, -1 is all processors.
        Training uses fewer of them while that is faster.

    verbose : int, default=0
        1 prints a line an epoch, and one when the ranker's turn has come, and in a terminal or
        notebook (with ipywidgets) shows a progress bar; 2 leaves the bar standing.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels, or column numbers if y was an indicator.

    coefs_ : tuple of ndarray, float32
        ``coefs_[i]`` of shape (n_in, n_out) holds the weights of layer i. The last one is stored
        in column order, so that a class's weights lie together. Read-only; with
        ``dtype="bfloat16"`` the last one is made anew each time that `coefs_` is asked for.

    intercepts_ : list of ndarray of shape (n_out,), float32

    ranker_coef_ : sparse array of shape (n_classes, `n_features_in_`), float32, or None
        Weights of the linear rankers, CSR; None without them.

    ranker_intercept_ : ndarray of shape (n_classes,), float32, or None

    ranker_penalty_ : float or None
        What a unit of a linear ranker's hinge loss takes from the logit.

    calibration_ : ndarray of shape (4,)
        What makes log-odds of scores: a score (the knot), its log-odds, and the slopes of the lines
        below and above it. Before a softmax over labels both slopes are one over the temperature,
        the rest is 0.

    out_activation_ : {"softmax", "logistic"}
        How scores become probabilities: by the loss that the model was started with.

    n_features_in_ : int
        Columns of X.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Only if X had string feature names.

    n_iter_ : int
        Epochs done, an interrupted one included.

    t_ : int
        Optimizer steps done.

    loss_ : float
        Mean loss over the last epoch.

    loss_curve_ : list of float
        Mean loss over each epoch (in an interrupted one: as far as it got).

    history_ : dict of str to list
        One entry an epoch, for ``pandas.DataFrame(model.history_)``: "epoch" (from 1), "loss",
        "validation_score" (NaN without `early_stopping`), "active_size" (mean number of classes
        that a sample computed), "rebuilds" (of hash tables), "samples_per_second", "seconds"
        (of training), and what these went to: "seconds_forward", "seconds_sampling" (active
        sets), "seconds_rebuild", "seconds_scores", "seconds_loss", "seconds_backward",
        "seconds_output_step", "seconds_input_step"; beside them "seconds_validation". All but
        times are the same for the same seed.

    validation_scores_ : list of float or None
        nDCG@5 after each epoch if `early_stopping`.

    best_validation_score_ : float or None
        The best of them.

    Notes
    -----
    Ctrl-C ends training with a warning and leaves the network as far as it got, without a ranker
    and calibrated on a few samples. A second one, while that is being done, raises
    KeyboardInterrupt and, as any error does, leaves the estimator as it was before the call.

    References
    ----------
    .. [1] Chen, Medini, Farwell, Gobriel, Tai and Shrivastava (2020), "SLIDE: In Defense of Smart
       Algorithms over Hardware Acceleration for Large-Scale Deep Learning Systems", MLSys,
       arXiv:1903.03129.
    .. [2] Hsieh, Chang, Lin, Keerthi and Sundararajan (2008), "A Dual Coordinate Descent Method
       for Large-scale Linear SVM", ICML, section 3.
    .. [3] Prabhu, Kag, Harsola, Agrawal and Varma (2018), "Parabel: Partitioned Label Trees for
       Extreme Classification with Application to Dynamic Search Advertising", WWW.
    .. [4] Jain, Prabhu and Varma (2016), "Extreme multi-label loss functions for recommendation,
       tagging, ranking & other missing label applications", KDD.
    .. [5] Wangni, Wang, Liu and Zhang (2018), "Gradient Sparsification for Communication-Efficient
       Distributed Optimization", NeurIPS, arXiv:1710.09854.
    .. [6] Kanerva, Kristoferson and Holst (2000), "Random Indexing of Text Samples for Latent
       Semantic Analysis", CogSci 2000.

    Examples
    --------
    >>> from slidelearn import SlideClassifier
    >>> from slidelearn.datasets import make_extreme_classification
    >>> X, Y = make_extreme_classification(2000, 500, 300, random_state=0)
    >>> model = SlideClassifier(random_state=0).fit(X, Y)
    >>> labels, scores = model.predict_topk(X[:2], k=3)
    >>> labels.shape
    (2, 3)
    """

    _parameter_constraints = CONSTRAINTS
    _ranker: list[np.ndarray]
    _index: HashTables | None
    _optimizer_state: list[list[np.ndarray]]  # of each layer, see _state.optimizer_state
    _state_start: int  # `t_` when that was empty

    classes_: NDArray[Any]
    intercepts_: list[NDArray[np.float32]]
    out_activation_: str
    calibration_: NDArray[np.float64]
    n_features_in_: int
    feature_names_in_: NDArray[Any]
    n_iter_: int
    t_: int
    loss_: float
    loss_curve_: list[float]
    history_: dict[str, list[float]]
    validation_scores_: list[float] | None
    best_validation_score_: float | None

    def __init__(
        self,
        hidden_layer_sizes: Sequence[int] | int = (256,),
        *,
        loss: Literal["auto", "sigmoid", "softmax"] = "auto",
        class_weight: Mapping[Any, float] | Literal["balanced", "propensity"] | None = None,
        solver: Literal["adam", "adagrad", "sgd"] = "adam",
        learning_rate: Literal["linear", "constant"] = "linear",
        learning_rate_init: float = 0.0125,
        beta_1: float = 0.0,
        beta_2: float = 0.999,
        epsilon: float = 3e-5,
        init: Literal["labels", "random"] = "labels",
        dtype: Literal["float32", "bfloat16"] = "float32",
        batch_size: int | Literal["auto"] = "auto",
        max_iter: int | Literal["auto"] = "auto",
        dropout: float = 0.4,
        sampling: Literal["random", "vanilla", "topk", "threshold", "all"] = "random",
        n_random: int = 300,
        share_random: bool = True,
        gradient_threshold: float = 0.01,
        n_candidates: int = 256,
        min_collisions: int = 2,
        hash_function: Literal["simhash", "wta", "dwta", "minhash"] = "simhash",
        hash_length: int | None = None,
        n_tables: int = 50,
        bucket_size: int = 128,
        insertion: Literal["fifo", "reservoir"] = "fifo",
        center: bool = True,
        rebuild_interval: int = 50,
        rebuild_growth: float = 1.05,
        redraw_every: int = 0,
        ranker: Literal["auto", "linear"] | None = "auto",
        C: float = 1.0,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 3,
        tol: float = 1e-4,
        calibrate: bool = True,
        shuffle: bool = True,
        warm_start: bool = False,
        random_state: int | np.random.RandomState | None = None,
        n_jobs: int | None = None,
        verbose: bool | int = 0,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.loss = loss
        self.class_weight = class_weight
        self.solver = solver
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.init = init
        self.dtype = dtype
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.dropout = dropout
        self.sampling = sampling
        self.n_random = n_random
        self.share_random = share_random
        self.gradient_threshold = gradient_threshold
        self.n_candidates = n_candidates
        self.min_collisions = min_collisions
        self.hash_function = hash_function
        self.hash_length = hash_length
        self.n_tables = n_tables
        self.bucket_size = bucket_size
        self.insertion = insertion
        self.center = center
        self.rebuild_interval = rebuild_interval
        self.rebuild_growth = rebuild_growth
        self.redraw_every = redraw_every
        self.ranker = ranker
        self.C = C
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.calibrate = calibrate
        self.shuffle = shuffle
        self.warm_start = warm_start
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    # ---------------------------------------------------------------- fitting

    @with_callbacks
    def fit(self, X: MatrixLike, y: TargetLike, sample_weight: ArrayLike | None = None,
            monitor: Monitor | None = None) -> Self:
        """Train for `max_iter` epochs.

        Parameters
        ----------
        X : {array-like, sparse matrix, dataframe} of shape (n_samples, n_features)
            CSR float32 is used as it is; anything else is converted.
        y : array-like of shape (n_samples,) or {array-like, sparse} of shape \
                (n_samples, n_classes)
            Labels of any dtype, or an indicator of zeros and ones, as scikit-learn's
            MultiLabelBinarizer makes it of lists of labels. Rows without labels are legal.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative factors of the samples' losses.
        monitor : callable, default=None
            Called after each epoch, as ``monitor(i, self, row)`` with the number of the epoch in
            this call of `fit` from 0, this estimator, and the epoch's entries of `history_` as a
            dict. Training stops if it returns True. The estimator can predict, and has all fitted
            attributes as of that epoch, except that it isn't calibrated yet; its arrays are those
            being trained, so what shall stay must be copied. Whatever the monitor does with
            it, short of fitting it, training goes on as without.

        Returns
        -------
        self : SlideClassifier

        Raises
        ------
        ValueError
            Invalid parameters or input, or divergence. A model that was fitted before stays as it
            was. (Only the optimizer's memory is lost after a divergence with `warm_start`.)

        Notes
        -----
        With scikit-learn 1.9 or newer, callbacks set by `set_callbacks` (or on a meta-estimator)
        see one task an epoch, get X and y as passed, and as `fitted_estimator` a copy of the model
        as if training had stopped there. Training stops if an `on_fit_task_end` returns True.
        """
        check_parameters(self)
        hooks = Hooks(self, monitor, X, y, sample_weight)
        with _unchanged_on_error(self):
            self._fit(X, y, sample_weight, None, one_epoch=False,
                      hooks=hooks if hooks.active else None,
                      resume=self.warm_start and self.__sklearn_is_fitted__())
        return self

    def partial_fit(self, X: MatrixLike, y: TargetLike, classes: ArrayLike | None = None,
                    sample_weight: ArrayLike | None = None) -> Self:
        """Train for one epoch on a part of the data, from where the last call stopped.

        Trains the network only, at a rate that falls over all calls (see `learning_rate`), and
        holds nothing out: the ranker and the calibration are those that the last `fit` left, or
        there is none. Each call copies the parameters once, so that the model survives an error;
        very small parts are therefore slow.

        Parameters
        ----------
        X : {array-like, sparse matrix, dataframe} of shape (n_samples, n_features)
            As for `fit`.
        y : array-like of shape (n_samples,) or {array-like, sparse} of shape \
                (n_samples, n_classes)
            As for `fit`.
        classes : array-like of shape (n_classes,), default=None
            All labels that will ever occur: none can be added later. Needed at the first call if
            y is labels; an indicator says it by its columns.
        sample_weight : array-like of shape (n_samples,), default=None
            As for `fit`.

        Returns
        -------
        self : SlideClassifier

        Raises
        ------
        ValueError
            As for `fit`; also labels that aren't among `classes`, and a model loaded with
            ``mmap_mode="r"``, whose parameters can't be written.
        """
        with _unchanged_on_error(self):
            self._fit(X, y, sample_weight, classes, one_epoch=True, hooks=None,
                      resume=self.__sklearn_is_fitted__())
        return self

    def _fit(self, X: Any, y: Any, sample_weight: Any, classes: Any, *, resume: bool,
             one_epoch: bool, hooks: Hooks | None) -> None:
        widths = check_parameters(self)
        n_threads = effective_n_threads(self.n_jobs)
        X = check_X(self, X, reset=not resume)
        targets = self._encode(y, X.n_rows, classes, resume, one_epoch)
        weight = check_weights(sample_weight, X.n_rows)
        per_class = class_weights(self.class_weight, targets, weight, one_epoch)
        if not resume:
            self._start(targets)
        self._count_labels(targets, weight)
        labels = targets.matrix
        if per_class is not None and targets.multilabel:
            labels = weighted_labels(labels, per_class)
        elif per_class is not None:
            weight = (weight * per_class[labels.indices]).astype(np.float32)
        samples = Samples(X, targets, weight, *self._split(weight, targets, one_epoch), n_threads)
        recipe = self._recipe(len(samples.rows))
        network = (self._resumed_network(widths, n_threads) if resume
                   else self._new_network(samples, labels, recipe, widths, per_class, one_epoch))
        self._adopt(network, keep_state=one_epoch or self.warm_start)
        if not one_epoch:
            self._ranker = []
        self._train(network, samples, labels, recipe, one_epoch, hooks)

    def _train(self, network: Network, samples: Samples, labels: CSR, recipe: Recipe,
               one_epoch: bool, hooks: Hooks | None) -> None:
        """Train a network that is this model's, and all that follows from it."""
        max_iter = 1 if one_epoch else n_epochs(self.max_iter, len(self.classes_))
        stopping = None
        if self.early_stopping and not one_epoch:
            stopping = EarlyStopping(lambda: validation_score(network, samples), network,
                                     float(self.tol), int(self.n_iter_no_change))
        trainer: Trainer | None = None
        history = History(self.history_)

        def begin_epoch() -> None:
            if hooks is not None:
                hooks.begin_epoch()

        def end_epoch(number: int) -> bool:
            if hooks is None or trainer is None:
                return False
            trainer.settle()
            self.t_ = trainer.total_steps
            self._record(history, stopping)
            self.__dict__.update(self._derived(network, samples, max_pairs=0))
            stop = hooks.end_epoch(number, history.last,
                                   partial(self._as_stopped, network, samples, stopping))
            self._index, self._pruning = None, _prediction.Pruning()
            return stop

        try:
            if hooks is not None:
                hooks.begin(max_iter)
            trainer = Trainer(
                network, samples.X, labels, samples.weight,
                log_inclusion(self._label_counts / self._n_seen, len(self.classes_), recipe.plan,
                              recipe.batch_size),
                recipe,
                n_steps=(None if one_epoch
                         else max_iter * -(-len(samples.rows) // recipe.batch_size)),
                steps_before=self.t_, state_start=self._state_start,
                key=(self._seed + self.t_) % 2**64, n_threads=samples.n_threads,
            )
            try:
                run_epochs(trainer, samples.rows, max_iter, self.verbose, stopping, history,
                           begin_epoch, end_epoch)
            finally:
                self.t_ = trainer.total_steps
                trainer.settle()
                trainer = None  # with its memory
            if stopping is not None:
                stopping.restore_best()
            if not one_epoch and self._wants_ranker(samples):
                if self.verbose:
                    tqdm.write("training linear rankers")
                self._fit_ranker(network, samples)
            self._finish(network, samples, stopping, _calibration.MAX_PAIRS)
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user: the model is as far as it got.",
                          stacklevel=4)
            self._finish(network, samples, stopping, _calibration.MAX_PAIRS_INTERRUPTED)
        self._record(history, stopping)
        if hooks is not None:
            hooks.end()

    def _encode(self, y: Any, n_samples: int, classes: Any, resume: bool,
                one_epoch: bool) -> Targets:
        known = self.classes_ if resume else classes
        if one_epoch and classes is not None:
            classes = _labels.known_classes(classes)
            if resume and not np.array_equal(classes, self.classes_):
                raise ValueError("`classes` is not the same as in the first call of partial_fit. "
                                 + _labels.NO_NEW_CLASSES)
            known = classes
        targets = _labels.encode(y, n_samples, known, empty=one_epoch,
                                 multilabel=self._target_kind != "labels" if resume else None)
        if one_epoch and not resume and classes is None and not targets.multilabel:
            raise ValueError("classes must be passed on the first call to partial_fit.")
        return targets

    def _start(self, targets: Targets) -> None:
        """Everything that a model has before its first epoch, except parameters."""
        rng = check_random_state(self.random_state)
        self._seed = int(rng.randint(0, 2**31 - 1)) << 32 | int(rng.randint(0, 2**31 - 1))
        self.classes_ = targets.classes
        self._target_kind = targets.kind
        loss = self.loss
        if loss == "auto":
            loss = "sigmoid" if targets.multilabel else "softmax"
        self.out_activation_ = "logistic" if loss == "sigmoid" else "softmax"
        self._label_counts = np.zeros(len(targets.classes))
        self._n_seen = 0.0
        self.calibration_ = np.array(_calibration.IDENTITY)
        self._ranker = []
        self.n_iter_ = self.t_ = self._state_start = 0
        self.loss_ = float("nan")
        self.loss_curve_ = []
        self.history_ = History({}).table
        self.validation_scores_ = self.best_validation_score_ = None

    def _split(self, weight: np.ndarray, targets: Targets,
               one_epoch: bool) -> tuple[np.ndarray, np.ndarray]:
        """Rows to train on, and rows held out for early stopping and calibration."""
        rows, n = np.flatnonzero(weight > 0), 0
        if one_epoch:
            return rows, rows[:0]
        if self.early_stopping:
            n = int(np.ceil(float(self.validation_fraction) * len(rows)))
            if n >= len(rows):
                raise ValueError(
                    f"early_stopping with validation_fraction={self.validation_fraction} holds "
                    f"out {n} of {len(rows)} samples, which leaves none to train on."
                )
        elif self.calibrate:
            n = _calibration.n_held_out(len(rows), len(self.classes_))
        order = np.random.default_rng(self._seed).permutation(rows)
        return np.sort(order[n:]), order[:n]

    def _count_labels(self, targets: Targets, weight: np.ndarray) -> None:
        """Label frequencies, for initial biases and inclusion probabilities."""
        matrix = targets.matrix
        repeated = np.repeat(weight, np.diff(matrix.indptr))
        self._label_counts = self._label_counts + np.bincount(
            matrix.indices, repeated, minlength=len(self.classes_))
        self._n_seen = self._n_seen + float(weight.sum(dtype=np.float64))

    def _recipe(self, n_samples: int) -> Recipe:
        size = self.batch_size
        if size == "auto":
            size = auto_batch_size(n_samples)
        return Recipe(
            loss="sigmoid" if self.out_activation_ == "logistic" else "softmax",
            solver=self._step_rule,
            learning_rate=self.learning_rate, learning_rate_init=float(self.learning_rate_init),
            beta_1=float(self.beta_1), beta_2=float(self.beta_2), epsilon=float(self.epsilon),
            batch_size=min(int(size), n_samples), dropout=float(self.dropout),
            shuffle=self.shuffle, gradient_threshold=float(self.gradient_threshold),
            plan=self._sampling_plan(),
        )

    @property
    def _step_rule(self) -> str:
        """Adam whose moving average of gradients is the gradient needn't keep it."""
        return "rmsprop" if self.solver == "adam" and self.beta_1 == 0 else self.solver

    def _sampling_plan(self) -> SamplingPlan:
        n_classes = len(self.classes_)
        return SamplingPlan(
            sampling=self.sampling, n_random=min(int(self.n_random), n_classes),
            share_random=self.share_random, n_candidates=min(int(self.n_candidates), n_classes),
            min_collisions=int(self.min_collisions), hash_function=self.hash_function,
            hash_length=None if self.hash_length is None else int(self.hash_length),
            n_tables=int(self.n_tables), bucket_size=int(self.bucket_size),
            insertion=self.insertion, center=self.center,
            rebuild_interval=int(self.rebuild_interval), rebuild_growth=float(self.rebuild_growth),
            redraw_every=int(self.redraw_every),
        )

    def _new_network(self, samples: Samples, labels: CSR, recipe: Recipe, widths: list[int],
                     per_class: np.ndarray | None, one_epoch: bool) -> Network:
        counts, n = self._label_counts, self._n_seen
        if recipe.loss == "sigmoid":
            prior = (counts + 0.5) / (n + 1)
            bias = np.log(prior) - np.log1p(-prior)
        else:
            bias = np.log((counts + 0.5) / (counts.sum() + 0.5 * len(counts)))
        if per_class is not None:
            bias[per_class > 0] += np.log(per_class[per_class > 0])  # as the odds are weighted
        network = initialise(samples.X.shape[1], widths, bias,
                             np.random.RandomState(self._seed % 2**32), self.dtype,
                             samples.n_threads)
        if self.init == "labels" and not one_epoch:
            weight = np.zeros_like(samples.weight)
            weight[samples.rows] = samples.weight[samples.rows]
            index_features(network, samples.X, labels, weight, samples.n_threads)
        for layer in network.layers:
            layer.reset_state(recipe.solver, samples.n_threads)
        return network

    def _resumed_network(self, widths: list[int], n_threads: int) -> Network:
        """A copy of the fitted parameters, to be trained further."""
        network = self._network()
        fitted = [len(bias) for bias in self.intercepts_[:-1]]
        if widths != fitted:
            raise ValueError(f"hidden_layer_sizes is {widths}, but the model to be trained further "
                             f"has {fitted}.")
        if _state.read_only(network, self._optimizer_state):
            raise ValueError("The parameters of this model are read-only (mapped with "
                             "mmap_mode='r', the default of SlideClassifier.load), so it can't be "
                             "trained further. Load it with mmap_mode=None, or 'c'.")
        saved, solver = self._optimizer_state, self._step_rule
        if not _state.fits(saved, network, solver, self.dtype):
            saved, self._state_start = [], self.t_
        network = _state.resumed(network, solver, self.dtype, saved, n_threads)
        self._optimizer_state.clear()  # it belongs to the network now, or to none
        return network

    def _adopt(self, network: Network, keep_state: bool) -> None:
        """Make `network` this model's, before training: whatever happens then, there is a model."""
        self.__dict__.update(_state.as_attributes(network))
        self._optimizer_state = _state.optimizer_state(network) if keep_state else []
        self._activation_mean = np.zeros(network.output.weights.shape[1], np.float32)
        self._index, self._pruning = None, _prediction.Pruning()

    @property
    def _one_of_all(self) -> bool:
        """Whether scores go into a softmax over all classes, of which a sample has one."""
        return self.out_activation_ == "softmax" and self._target_kind == "labels"

    def _wants_ranker(self, samples: Samples) -> bool:
        return self.ranker == "linear" or (self.ranker == "auto" and (
            samples.targets.multilabel or len(samples.held_out) >= _calibration.MIN_ROWS))

    def _fit_ranker(self, network: Network, samples: Samples) -> None:
        ranker = fit_ranker(network, samples.X, samples.targets.matrix, samples.weight,
                            samples.rows, float(self.C), self._seed, samples.n_threads)
        held_out = samples.held_out[:_calibration.MAX_ROWS]
        if len(held_out) >= _calibration.MIN_ROWS:
            ranker = choose_penalty(ranker, network, samples.X, samples.targets.matrix, held_out,
                                    self._one_of_all, samples.n_threads)
        if self.ranker == "linear" or ranker.penalty > 0:
            self._ranker = ranker.arrays

    def _finish(self, network: Network, samples: Samples, stopping: EarlyStopping | None,
                max_pairs: int) -> None:
        """What follows the last epoch; can be repeated."""
        if stopping is not None:
            stopping.restore_best()
        _state.check_finite(network)
        self.__dict__.update(self._derived(network, samples, max_pairs))

    def _derived(self, network: Network, samples: Samples, max_pairs: int) -> State:
        """Attributes that follow from trained parameters. What prediction keeps isn't there yet:
        another thread may have left what it made of the weights before they were as they are."""
        X, rows, n_threads = samples.X, samples.rows, samples.n_threads
        some = rows[np.linspace(0, len(rows) - 1, min(len(rows), MEAN_ROWS)).astype(np.intp)]
        hidden = _prediction.hidden_activations(network, X, some, n_threads)
        attributes = {"_activation_mean": hidden.mean(axis=0), "_index": None,
                      "_pruning": _prediction.Pruning()}
        held_out = samples.held_out[:_calibration.n_looked_at(len(self.classes_), max_pairs)]
        if len(held_out) >= _calibration.MIN_ROWS and self.calibrate:
            attributes["calibration_"] = calibrate(
                network, _state.as_ranker(self.__dict__), X, samples.targets.matrix, held_out,
                self._one_of_all, n_threads)
        return attributes

    def _as_stopped(self, network: Network, samples: Samples,
                    stopping: EarlyStopping | None) -> State:
        """Attributes of the model as if training had stopped now, sharing no array with it."""
        best = stopping.best_network() if stopping is not None else None
        network = best if best is not None else network.copy()
        return {**_state.as_attributes(network), "_optimizer_state": [], "_ranker": [],
                **self._derived(network, samples, _calibration.MAX_PAIRS)}

    def _record(self, history: History, stopping: EarlyStopping | None) -> None:
        """What has been trained so far; can be repeated."""
        self.history_ = history.table
        self.loss_curve_ = list(history.table["loss"])
        self.n_iter_ = len(self.loss_curve_)
        if self.loss_curve_:
            self.loss_ = self.loss_curve_[-1]
        if stopping is not None and stopping.scores:
            scores = history.table["validation_score"]
            self.validation_scores_ = [score for score in scores if not np.isnan(score)]
            self.best_validation_score_ = float(stopping.best_score)

    # ------------------------------------------------------------- prediction

    def predict(self, X: MatrixLike) -> Any:
        """Labels, or the label set of each sample if y was an indicator.

        Parameters
        ----------
        X : {array-like, sparse matrix, dataframe} of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        y : ndarray of shape (n_samples,), or indicator of shape (n_samples, n_classes)
            The class with the best score; or, in the format of the y of `fit` (CSR if that was
            sparse), ones for all classes with a probability above 0.5. Works for any number of
            classes.
        """
        network, ranker, X, n_threads = self._prepare(X)
        rows = np.arange(X.n_rows)
        if self._target_kind == "labels":
            best, scores = _prediction.topk(network, ranker, X, rows, 1, n_threads, self._pruning)
            _check_scores(scores, rows)
            return self.classes_[best[:, 0]]
        threshold = np.nextafter(np.float32(_calibration.threshold(self.calibration_)),
                                 np.float32(-np.inf))
        found = []
        for place, column, score in _prediction.scores_above(threshold, network, ranker, X, rows,
                                                             n_threads, self._pruning):
            _check_scores(score[:, None], place)
            # float32 finds what may be positive, float64 decides, as in predict_proba.
            positive = _calibration.log_odds(self.calibration_, score) > 0
            found.append((place[positive], column[positive]))
        return _labels.decode_indicator(found, (X.n_rows, len(self.classes_)), self._target_kind)

    def predict_topk(
        self, X: MatrixLike, k: int | None = None, *, method: Literal["exact", "lsh"] = "exact"
    ) -> tuple[NDArray[Any], NDArray[np.float64]]:
        """The k best classes of each sample.

        Works at any number of classes: beside the result it needs at most some 16 MiB (64 samples
        a thread at least), never an array of shape (n_samples, n_classes). Where it pays, 8-bit
        codes of the output layer, under a third of its size, are made once some thousand samples
        were predicted, and kept until training goes on; results are the same bits.

        Parameters
        ----------
        X : {array-like, sparse matrix, dataframe} of shape (n_samples, n_features)
            Samples.
        k : int, default=None
            At most the number of classes. None: 5, or all classes if there are fewer.
        method : {"exact", "lsh"}, default="exact"
            "exact" finds the best of all classes. "lsh" scores the `n_candidates` classes that
            collide most often in hash tables, which are built at the first call, with the hashing
            parameters of the estimator; a sample for which that gives fewer than k is scored
            exactly.

        Returns
        -------
        labels : ndarray of shape (n_samples, k)
            Entries of `classes_` (column numbers for an indicator), best first; ties in the order
            of `classes_`.
        scores : ndarray of shape (n_samples, k), float64
            If y was an indicator: calibrated log-odds, ``1 / (1 + exp(-score))`` being the
            probability; otherwise the logits of `decision_function`.

        Raises
        ------
        ValueError
            k is not an integer in [1, n_classes], `method` is unknown, or a parameter of hashing is
            out of range.
        """
        network, ranker, X, n_threads = self._prepare(X)
        n_classes = len(self.classes_)
        k = _checked_k(k, n_classes, "the number of classes")
        rows = np.arange(X.n_rows)
        if method == "exact":
            best, scores = _prediction.topk(network, ranker, X, rows, k, n_threads,
                                             self._pruning)
        elif method == "lsh":
            check_parameters(self)
            index = self._hash_index(network, n_threads)
            n_candidates = min(n_classes, max(int(self.n_candidates), k))
            best, scores = _prediction.lsh_topk(network, ranker, index, X, rows, k, n_candidates,
                                                n_threads)
        else:
            raise ValueError(f"method must be 'exact' or 'lsh', got {method!r}.")
        _check_scores(scores, rows)
        return self.classes_[best], _calibration.log_odds(self.calibration_, scores)

    def similar_labels(self, labels: Any, k: int | None = None) -> (
            tuple[NDArray[Any], NDArray[np.float64]]):
        """The k classes most like some class: greatest cosine of the output layer's weights.

        Exact, in bounded memory: a part of the output layer at a time.

        Parameters
        ----------
        labels : label or array-like of shape (n_labels,)
            Entries of `classes_` (column numbers for an indicator).
        k : int, default=None
            Less than the number of classes. None: 5, or all others if there are fewer.

        Returns
        -------
        labels : ndarray of shape (n_labels, k), or (k,) for a single label
            Entries of `classes_`, best first, without the label itself; ties in the order of
            `classes_`.
        similarities : ndarray of that shape, float64
            Cosines, in [-1, 1].

        Raises
        ------
        ValueError
            A label that the model doesn't know, or k is not an integer in [1, n_classes - 1].
        """
        check_is_fitted(self)
        k = _checked_k(k, len(self.classes_) - 1, "the number of other classes")
        rows = class_indices(labels, self.classes_, self._target_kind != "labels")
        places, cosines = nearest_rows(self._network().output.weights, np.atleast_1d(rows), k,
                                       effective_n_threads(self.n_jobs))
        shape = (*rows.shape, k)
        return self.classes_[places].reshape(shape), cosines.astype(np.float64).reshape(shape)

    def decision_function(self, X: MatrixLike) -> NDArray[np.float64]:
        """Scores of all classes.

        Parameters
        ----------
        X : {array-like, sparse matrix, dataframe} of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        scores : ndarray of shape (n_samples, n_classes) or (n_samples,) if binary, float64
            Calibrated log-odds if y was an indicator, otherwise logits, divided by their
            temperature. Binary: log-odds of ``classes_[1]``.

        Raises
        ------
        ValueError
            The result would have more than 2**28 entries (2 GiB): use `predict_topk`.
        """
        scores = self._all_scores(X)
        if self._target_kind == "labels" and scores.shape[1] == 2:
            if self.out_activation_ == "logistic":
                scores = log_expit(scores)
            return scores[:, 1] - scores[:, 0]
        return scores

    def predict_proba(self, X: MatrixLike) -> NDArray[np.float64]:
        """Probabilities of all classes.

        Parameters
        ----------
        X : {array-like, sparse matrix, dataframe} of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes), float64
            If y was an indicator, each class's own probability; otherwise rows sum to 1.

        Raises
        ------
        ValueError
            The result would have more than 2**28 entries (2 GiB): use `predict_topk`.
        """
        scores = self._all_scores(X)
        if self._target_kind != "labels":
            return expit(scores, out=scores)
        if self.out_activation_ == "softmax":
            return softmax(scores, axis=1)
        return np.exp(self._log_proba(scores))

    def predict_log_proba(self, X: MatrixLike) -> NDArray[np.float64]:
        """Logarithms of `predict_proba`, without its underflow.

        Parameters
        ----------
        X : {array-like, sparse matrix, dataframe} of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        log_proba : ndarray of shape (n_samples, n_classes), float64
        """
        return self._log_proba(self._all_scores(X))

    def score(self, X: MatrixLike, y: TargetLike, sample_weight: ArrayLike | None = None) -> float:
        """Accuracy: the share of samples whose label, or whole label set, is predicted.

        For very many labels hardly ever what one wants to know: see `slidelearn.metrics`.

        Parameters
        ----------
        X : {array-like, sparse matrix, dataframe} of shape (n_samples, n_features)
            Samples.
        y : array-like of shape (n_samples,) or {array-like, sparse} of shape \
                (n_samples, n_classes)
            True labels, in the form of the y of `fit`.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.

        Returns
        -------
        score : float
        """
        predicted = self.predict(X)
        if issparse(y) and issparse(predicted) and y.shape[1] == 1:
            # scikit-learn takes one column for labels, but can't read them from a sparse matrix.
            y, predicted = y.toarray().ravel(), predicted.toarray().ravel()
        return accuracy_score(y, predicted, sample_weight=sample_weight)

    # ------------------------------------------------------------ interchange

    def export(self, path: str | PathLike[str], *,
               dtype: Literal["float32", "bfloat16"] | None = None,
               hash_tables: bool = False) -> None:
        """Write the model as one file from which `load` maps it into memory.

        The file holds what prediction needs, not the optimizer's memory nor `history_`. It is in
        the safetensors format, of arrays and text: nothing in it is code.

        Parameters
        ----------
        path : str or path-like
            The file, which appears when it is complete, and replaces what was there.
        dtype : {"float32", "bfloat16"} or None, default=None
            How the weights of the output layer are stored, see `dtype` of the class; None is as
            they are. They are rounded to the nearest.
        hash_tables : bool, default=False
            Also write the tables for ``predict_topk(method="lsh")``, 4 bytes a class and table.
            Without, they are made at the first such call.

        Returns
        -------
        None

        Raises
        ------
        ValueError
            An unknown dtype, or labels other than booleans, integers, floats of at most 64
            bits, and strings.

        Notes
        -----
        A `class_weight` that is a dict and a `random_state` that is no int aren't stored.
        """
        check_is_fitted(self)
        state, tables = _export.with_dtype(self.__dict__, dtype), {}
        if hash_tables:
            check_parameters(self)
            tables = self._sampling_plan().built_index(
                _state.as_network(state).output, self._seed, self._activation_mean,
                effective_n_threads(self.n_jobs)).tables
        _export.write_model(path, state, self._get_param_names(), tables)

    @classmethod
    def load(cls, path: str | PathLike[str], *,
             mmap_mode: Literal["r", "c"] | None = "r") -> Self:
        """Read a model that `export` wrote.

        Parameters
        ----------
        path : str or path-like
            The file. With `mmap_mode` it must stay as it is while the model is in use; exporting
            to the same path again is fine, because that makes another file.
        mmap_mode : {"r", "c"} or None, default="r"
            - "r": the weights are the file itself, mapped read-only. That takes milliseconds, and
              processes on one machine share its memory. The model can't be trained further.
            - "c": the same, but what training changes is copied.
            - None: the file is read.

        Returns
        -------
        model : SlideClassifier
            Fitted, with the same predictions, bit by bit, as the model that was exported (with
            another `dtype`: as that, rounded), and without history: `loss_curve_` is empty.

        Raises
        ------
        ValueError
            The file is of another format, damaged, or not from `export`. Dtypes, shapes and indices
            are checked, so that such a file can do no harm. Values of weights are not: NaN is
            reported when a score is.
        """
        model = cls()
        _export.read_model(path, mmap_mode, model)
        return model

    def to_onnx(self, k: int | None = None, *, sparse: bool = False) -> ModelProto:
        """`predict_topk` as an ONNX model, for onnxruntime and the like.

        Exact search of the network and its linear rankers, in standard operators (opset 18). Needs
        the package ``onnx``. Write it by ``onnx.save``.

        Parameters
        ----------
        k : int, default=None
            Classes of each sample, at most the number of classes. None: 5, or all classes if there
            are fewer.
        sparse : bool, default=False
            False: the input is "X", a dense float32 array of shape (n_samples, n_features).
            True: the inputs are the arrays of a CSR matrix, "indptr" and "indices" as int64 and
            "data" as float32. Rows are padded to the longest and scored together, with arrays of
            shape (n_samples, n_classes): pass some hundred samples at a time.

        Returns
        -------
        model : onnx.ModelProto
            Outputs "labels" and "scores" of shape (n_samples, k), best first, as those of
            `predict_topk`: ties in the order of `classes_`; labels int64 for an indicator, else of
            the dtype of `classes_`; scores double. Sums are in another order than here, so that
            scores differ in their last digits, and classes whose scores do may change places. A
            bfloat16 output layer stays bfloat16 in the file.

        Raises
        ------
        ValueError
            k is not an integer in [1, n_classes], the arrays are larger than the 2 GiB that an
            ONNX file can hold, or labels are neither numbers nor strings.
        TypeError
            k is a path.
        ImportError
            onnx isn't installed.
        """
        check_is_fitted(self)
        if isinstance(k, (str, PathLike)):
            raise TypeError("to_onnx returns the model and takes no path: write it by "
                            "onnx.save(model.to_onnx(), path).")
        k = _checked_k(k, len(self.classes_), "the number of classes")
        classes = self.classes_ if self._target_kind == "labels" else None
        return _onnx.to_onnx(self._network(), self._fitted_ranker(), self.calibration_, classes,
                             self.n_features_in_, k, bool(sparse))

    def _log_proba(self, scores: np.ndarray) -> NDArray[np.float64]:
        if self._target_kind != "labels":
            return log_expit(scores)
        if self.out_activation_ == "logistic":
            scores = log_expit(scores)
        return log_softmax(scores, axis=1)

    def _all_scores(self, X: MatrixLike) -> NDArray[np.float64]:
        network, ranker, X, n_threads = self._prepare(X)
        n_classes = len(self.classes_)
        if X.n_rows * n_classes > MAX_DENSE_SCORES:
            raise ValueError(
                f"Scores of {X.n_rows} samples and {n_classes} classes would be a dense array of "
                f"more than 2**28 entries (2 GiB). Use predict_topk for the best classes of each "
                f"sample, or at most {MAX_DENSE_SCORES // n_classes} samples a call."
            )
        result = np.empty((X.n_rows, n_classes))
        rows = np.arange(X.n_rows)
        for place, scores in _prediction.score_chunks(network, ranker, X, rows, n_threads):
            _check_scores(scores, rows[place])
            result[place] = _calibration.log_odds(self.calibration_, scores)
        return result

    def _prepare(self, X: MatrixLike) -> tuple[Network, Ranker | None, CSR, int]:
        check_is_fitted(self)
        return (self._network(), _state.as_ranker(self.__dict__), check_X(self, X, reset=False),
                effective_n_threads(self.n_jobs))

    # Without docstrings, so that documentation shows what the class says of these attributes.

    @property
    def coefs_(self) -> tuple[NDArray[np.float32], ...]:
        if not self.__sklearn_is_fitted__():
            raise AttributeError("The model isn't fitted yet, so it has no coefs_.")
        return _state.public_coefs(self._coefs)

    @property
    def ranker_coef_(self) -> Any:
        ranker = self._fitted_ranker()
        return None if ranker is None else ranker.coef

    @property
    def ranker_intercept_(self) -> NDArray[np.float32] | None:
        ranker = self._fitted_ranker()
        return None if ranker is None else ranker.intercept

    @property
    def ranker_penalty_(self) -> float | None:
        ranker = self._fitted_ranker()
        return None if ranker is None else ranker.penalty

    def _fitted_ranker(self) -> Ranker | None:
        if not self.__sklearn_is_fitted__():
            raise AttributeError("The model isn't fitted yet, so it has no ranker.")
        return _state.as_ranker(self.__dict__)

    def _network(self) -> Network:
        return _state.as_network(self.__dict__)

    def _hash_index(self, network: Network, n_threads: int) -> LSHIndex:
        plan, weights = self._sampling_plan(), network.output.weights
        tables = self._index  # another thread may set it meanwhile
        if (tables is None or tables[0] != plan
                or tables[2].ctypes.data != weights.ctypes.data):
            index = plan.built_index(network.output, self._seed, self._activation_mean, n_threads)
            tables = self._index = plan, index, weights
        return tables[1]

    def _adopt_tables(self, tables: Mapping[str, np.ndarray]) -> None:
        """Use hash tables from a file."""
        check_parameters(self)
        plan, output = self._sampling_plan(), self._network().output
        self._index = plan, plan.make_index(output, self._seed).adopt(tables), output.weights

    # -------------------------------------------------- scikit-learn protocol

    def __getstate__(self) -> State:
        state = super().__getstate__()
        if "_index" in state:  # hash tables follow from weights and seed, codes from weights
            state = {**state, "_index": None, "_pruning": None}
        return _state.stamped(state)

    def __setstate__(self, state: State) -> None:
        super().__setstate__(_state.unstamped(state, type(self)))
        if self.__sklearn_is_fitted__():
            self._index, self._pruning = None, _prediction.Pruning()

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_coefs")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.classifier_tags.multi_label = True
        return tags


class NonFiniteScoresError(ValueError):
    """The scores of a row of X overflow."""

    def __init__(self, row: int) -> None:
        super().__init__(row)
        self.row = row

    def __str__(self) -> str:
        return (f"The scores of row {self.row} of X are not finite: its values are too large for "
                "this model.")


@contextmanager
def _unchanged_on_error(estimator: Any) -> Iterator[None]:
    """Put all attributes back if the block raises."""
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        estimator.__dict__ = before
        raise


def auto_batch_size(n_samples: int) -> int:
    """The power of two in [16, 128] that makes an epoch some 100 to 200 steps, if there is one."""
    return int(np.clip(2 ** int(np.log2(max(1, n_samples // 100))), 16, 128))


def n_epochs(max_iter: int | Literal["auto"], n_classes: int) -> int:
    """What `max_iter` stands for: "auto" is 6 epochs up to 2^15 classes and 12 from twice as many
    on, as batches meet each less often."""
    if max_iter == "auto":
        return round(6 * float(np.clip(n_classes / 2**15, 1, 2)))
    return int(max_iter)


def _checked_k(k: object, largest: int, what: str) -> int:
    if k is None:
        k = min(DEFAULT_K, largest)
    if isinstance(k, bool) or not isinstance(k, Integral) or not 1 <= int(k) <= largest:
        raise ValueError(f"k must be an integer in [1, {largest}], {what}; got {k!r}.")
    return int(k)


def _check_scores(scores: np.ndarray, rows: np.ndarray) -> None:
    if not np.isfinite(scores).all():
        raise NonFiniteScoresError(int(rows[np.argmin(np.isfinite(scores).all(axis=1))]))
