"""SlideClassifier: the scikit-learn face of the network."""

from __future__ import annotations

from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from scipy.special import expit, log_expit, log_softmax, softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from . import _calibration, _labels, _prediction
from ._active import SamplingPlan
from ._compat import Interval, StrOptions, _fit_context
from ._fitting import EarlyStopping, run_epochs
from ._network import Layer, Network, initialise
from ._threads import effective_n_threads
from ._training import Recipe, Trainer, log_inclusion
from ._validation import CSR, check_weights, check_X
from .metrics import ndcg_at_k

MAX_DENSE_SCORES = 2**28  # entries of a dense result: 2 GiB of float64
MEAN_ROWS = 1000  # samples whose mean activation centres the hash tables of prediction


class SlideClassifier(ClassifierMixin, BaseEstimator):
    """Neural network for very many classes, trained on small active sets of output neurons.

    A network with ReLU hidden layers whose output layer may have 10^3 to 10^6 neurons. For each
    batch only the neurons of its labels and some sampled ones are computed and updated, so that
    the cost of a sample hardly depends on the number of classes. Sampling can be random and
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

    solver : {"adam", "adagrad", "sgd"}, default="adam"
        Optimizer; each steps only the weights that a batch touched. "adam" keeps two numbers a
        weight during training, "adagrad" one, "sgd" none.

    learning_rate : {"linear", "constant"}, default="linear"
        Schedule of the rate: "linear" falls to 0 at the end of `fit`. `partial_fit`, whose end
        isn't known, always uses "constant".

    learning_rate_init : float, default=0.006
        Learning rate at the start.

    beta_1, beta_2 : float, default=0.9 and 0.999
        Decay rates of Adam's moving averages, in [0, 1).

    epsilon : float, default=1e-8
        Added to the denominator of "adam" and "adagrad".

    batch_size : int or "auto", default="auto"
        Samples a step. "auto" is the power of two that makes an epoch some 150 to 300 steps, at
        least 16 and at most 128.

    max_iter : int, default=10
        Epochs.

    dropout : float, default=0.5
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

    n_candidates : int, default=256
        Most classes that hashing adds to the active set of a sample, or that prediction by
        hashing looks at.

    min_collisions : int, default=2
        Collisions that a candidate needs under ``sampling="threshold"``.

    hash_function : {"simhash", "wta", "dwta", "minhash"}, default="simhash"
        Family of hash functions, see `slidelearn._lsh`.

    hash_length : int or None, default=None
        Codes that together index one table (K in [1]_); None is 9 for "simhash", else 6.

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
        With an indicator y, hold out 1 sample in 20 (at most 500, none if that is under 20) and
        scale scores by Platt's method so that `predict_proba` can be taken at its word and 0.5 is
        a sensible threshold. With `early_stopping` the validation part serves for this.

    shuffle : bool, default=True
        Visit samples in a new random order each epoch.

    warm_start : bool, default=False
        `fit` goes on from the parameters of the last call.

    random_state : int, RandomState instance or None, default=None
        Seeds initial weights, order, dropout and sampling. With an int, `fit` gives the same bits
        whatever `n_jobs` is.

    n_jobs : int or None, default=None
        Threads; None is 1 unless in a `joblib.parallel_config` context, -1 is all processors.

    verbose : int, default=0
        1 prints a line an epoch and, in a terminal or notebook, shows a progress bar; 2 leaves the
        bar standing.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels, or column numbers if y was an indicator.

    coefs_ : list of ndarray, float32
        ``coefs_[i]`` of shape (n_in, n_out) holds the weights of layer i. The last one is stored
        in column order, so that a class's weights lie together.

    intercepts_ : list of ndarray of shape (n_out,), float32

    calibration_ : ndarray of shape (2,)
        Slope and intercept applied to the scores of a multi-label model.

    n_features_in_ : int

    feature_names_in_ : ndarray of shape (n_features_in_,)
        Only if X had string feature names.

    n_iter_ : int
        Epochs done.

    t_ : int
        Optimizer steps done.

    loss_ : float
        Mean loss over the last epoch.

    loss_curve_ : list of float
        Mean loss over each epoch.

    validation_scores_ : list of float or None
        nDCG@5 after each epoch if `early_stopping`.

    best_validation_score_ : float or None

    References
    ----------
    .. [1] Chen, Medini, Farwell, Gobriel, Tai and Shrivastava (2020), "SLIDE: In Defense of Smart
       Algorithms over Hardware Acceleration for Large-Scale Deep Learning Systems", MLSys,
       arXiv:1903.03129.

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

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "loss": [StrOptions({"auto", "sigmoid", "softmax"})],
        "solver": [StrOptions({"adam", "adagrad", "sgd"})],
        "learning_rate": [StrOptions({"linear", "constant"})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "sampling": [StrOptions({"random", "vanilla", "topk", "threshold", "all"})],
        "n_random": [Interval(Integral, 0, None, closed="left")],
        "share_random": ["boolean"],
        "n_candidates": [Interval(Integral, 1, 2**31 - 1, closed="both")],
        "min_collisions": [Interval(Integral, 1, None, closed="left")],
        "hash_function": [StrOptions({"simhash", "wta", "dwta", "minhash"})],
        "hash_length": [None, Interval(Integral, 1, 63, closed="both")],
        "n_tables": [Interval(Integral, 1, 2**15, closed="both")],
        "bucket_size": [Interval(Integral, 1, 2**31 - 1, closed="both")],
        "insertion": [StrOptions({"fifo", "reservoir"})],
        "center": ["boolean"],
        "rebuild_interval": [Interval(Integral, 1, None, closed="left")],
        "rebuild_growth": [Interval(Real, 1, None, closed="left")],
        "redraw_every": [Interval(Integral, 0, None, closed="left")],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "calibrate": ["boolean"],
        "shuffle": ["boolean"],
        "warm_start": ["boolean"],
        "random_state": ["random_state"],
        "n_jobs": [None, Integral],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        hidden_layer_sizes=(256,),
        *,
        loss="auto",
        solver="adam",
        learning_rate="linear",
        learning_rate_init=0.006,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-8,
        batch_size="auto",
        max_iter=10,
        dropout=0.5,
        sampling="random",
        n_random=300,
        share_random=True,
        n_candidates=256,
        min_collisions=2,
        hash_function="simhash",
        hash_length=None,
        n_tables=50,
        bucket_size=128,
        insertion="fifo",
        center=True,
        rebuild_interval=50,
        rebuild_growth=1.05,
        redraw_every=0,
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=3,
        tol=1e-4,
        calibrate=True,
        shuffle=True,
        warm_start=False,
        random_state=None,
        n_jobs=None,
        verbose=0,
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.loss = loss
        self.solver = solver
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.dropout = dropout
        self.sampling = sampling
        self.n_random = n_random
        self.share_random = share_random
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

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Train for `max_iter` epochs.

        Parameters
        ----------
        X : {array-like, sparse matrix, dataframe} of shape (n_samples, n_features)
            CSR float32 is used as it is; anything else is converted.
        y : array-like of shape (n_samples,) or {array-like, sparse} of shape \
                (n_samples, n_classes)
            Labels of any dtype, or an indicator of zeros and ones. Rows without labels are legal.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative factors of the samples' losses.

        Returns
        -------
        self : SlideClassifier

        Raises
        ------
        ValueError
            Invalid parameters or input, or divergence. A model that was fitted before stays as it
            was (after a divergence with `warm_start`: as the last good batch left it).
        """
        with _unchanged_on_error(self):
            self._fit(X, y, sample_weight, None, self.warm_start and hasattr(self, "coefs_"))
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """Train for one epoch on a part of the data, from where the last call stopped.

        Uses a constant learning rate and holds nothing out: scores are as calibrated as the last
        `fit` left them, or not at all.

        Parameters
        ----------
        X : {array-like, sparse matrix, dataframe} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or {array-like, sparse} of shape \
                (n_samples, n_classes)
        classes : array-like of shape (n_classes,), default=None
            All labels that will ever occur. Needed at the first call if y is labels; an indicator
            says it by its columns.
        sample_weight : array-like of shape (n_samples,), default=None

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
            self._fit(X, y, sample_weight, classes, hasattr(self, "coefs_"), partial=True)
        return self

    def _fit(self, X, y, sample_weight, classes, resume, partial=False):
        n_threads = effective_n_threads(self.n_jobs)
        X = check_X(self, X, reset=not resume)
        targets = self._encode(y, X.n_rows, classes, resume, partial)
        weight = check_weights(sample_weight, X)
        if not resume:
            self._start(targets)
        rows = np.flatnonzero(weight > 0)
        rows, held_out = (rows, rows[:0]) if partial else self._hold_out(rows, targets)
        self._count_labels(targets, weight)
        recipe = self._recipe(targets, len(rows), partial)
        network = self._resume_network() if resume else self._new_network(X, recipe)
        max_iter = 1 if partial else self.max_iter
        trainer = Trainer(
            network, X, targets.matrix, weight,
            log_inclusion(self._label_counts / self._n_seen, len(self.classes_), recipe.plan,
                          recipe.batch_size),
            recipe, n_steps=max_iter * -(-len(rows) // recipe.batch_size), steps_before=self.t_,
            key=(self._seed + self.t_) % 2**64, n_threads=n_threads,
        )
        stopping = None
        if self.early_stopping and len(held_out):
            stopping = EarlyStopping(
                lambda: _ndcg(network, X, targets, held_out, n_threads), network, self.tol,
                self.n_iter_no_change,
            )
        try:
            losses = run_epochs(trainer, rows, max_iter, self.verbose, stopping)
        finally:
            self.t_ += trainer.step
        _check_finite(network)
        self._store(network, losses, stopping, keep_state=partial or self.warm_start)
        self._activation_mean = _prediction.hidden_activations(
            network, X, rows[:MEAN_ROWS], n_threads).mean(axis=0)
        if len(held_out) and targets.multilabel and self.calibrate:
            self.calibration_ = _calibrate(network, X, targets.matrix, held_out, n_threads)

    def _encode(self, y, n_samples, classes, resume, partial):
        known = self.classes_ if resume else classes
        if partial and classes is not None:
            classes = np.asarray(classes)
            if classes.ndim != 1 or len(classes) == 0:
                raise ValueError("classes must be a non-empty 1-D array of labels.")
            classes = np.unique(classes)
            if resume and not np.array_equal(classes, self.classes_):
                raise ValueError("`classes` is not the same as in the first call of partial_fit.")
            known = classes
        targets = _labels.encode(y, n_samples, known)
        if partial and not resume and classes is None and not targets.multilabel:
            raise ValueError("classes must be passed on the first call to partial_fit.")
        if resume and targets.multilabel != (self._target_kind != "labels"):
            raise ValueError("y must be of the kind that the model was fitted with: "
                             + ("an indicator." if self._target_kind != "labels" else "labels."))
        return targets

    def _start(self, targets):
        """Everything that a model has before its first epoch, except parameters."""
        rng = check_random_state(self.random_state)
        self._seed = int(rng.randint(0, 2**31 - 1)) << 32 | int(rng.randint(0, 2**31 - 1))
        self.classes_ = targets.classes
        self._target_kind = targets.kind
        self._label_counts = np.zeros(len(targets.classes))
        self._n_seen = 0.0
        self.calibration_ = np.array(_calibration.IDENTITY)
        self.n_iter_ = self.t_ = 0
        self.loss_curve_ = []
        self.validation_scores_ = self.best_validation_score_ = None
        self._optimizer_state = []

    def _hold_out(self, rows, targets):
        """Split off the samples for early stopping and calibration."""
        n = 0
        if self.early_stopping:
            n = int(np.ceil(self.validation_fraction * len(rows)))
            if n >= len(rows):
                raise ValueError(
                    f"early_stopping with validation_fraction={self.validation_fraction} holds "
                    f"out {n} of {len(rows)} samples, which leaves none to train on."
                )
        elif self.calibrate and targets.multilabel:
            n = _calibration.n_held_out(len(rows), len(self.classes_))
        order = np.random.default_rng([self._seed, self.t_]).permutation(rows)
        return np.sort(order[n:]), np.sort(order[:n])

    def _count_labels(self, targets, weight):
        matrix = targets.matrix
        repeated = np.repeat(weight, np.diff(matrix.indptr))
        self._label_counts = self._label_counts + np.bincount(
            matrix.indices, repeated, minlength=len(self.classes_))
        self._n_seen = self._n_seen + matrix.n_rows

    def _recipe(self, targets, n_samples, partial):
        loss = self._effective_loss
        size = self.batch_size
        if size == "auto":
            size = int(np.clip(2 ** int(np.log2(max(1, n_samples // 150))), 16, 128))
        plan = SamplingPlan(
            self.sampling, min(self.n_random, len(self.classes_)), self.share_random,
            min(self.n_candidates, len(self.classes_)), self.min_collisions, self.hash_function,
            self.hash_length, self.n_tables, self.bucket_size, self.insertion, self.center,
            self.rebuild_interval, self.rebuild_growth, self.redraw_every,
        )
        return Recipe(
            loss, self.solver, "constant" if partial else self.learning_rate,
            self.learning_rate_init, self.beta_1, self.beta_2, self.epsilon,
            min(size, n_samples), self.dropout, self.shuffle, plan,
        )

    @property
    def _effective_loss(self):
        if self.loss != "auto":
            return self.loss
        return "softmax" if self._target_kind == "labels" else "sigmoid"

    def _new_network(self, X, recipe):
        widths = _check_widths(self.hidden_layer_sizes)
        counts, n = self._label_counts, self._n_seen
        if recipe.loss == "sigmoid":
            prior = (counts + 0.5) / (n + 1)
            bias = np.log(prior) - np.log1p(-prior)
        else:
            bias = np.log((counts + 0.5) / (counts.sum() + 0.5 * len(counts)))
        network = initialise(X.shape[1], widths, bias, np.random.RandomState(self._seed % 2**32))
        for layer in network.layers:
            layer.reset_state(recipe.solver)
        return network

    def _resume_network(self):
        """The fitted parameters, to be trained further in place."""
        network = self._network()
        if not all(layer.weights.flags.writeable and layer.bias.flags.writeable
                   for layer in network.layers):
            raise ValueError("The parameters of this model are read-only (loaded with "
                             "mmap_mode='r'?), so it can't be trained further. Load it without "
                             "mmap_mode, or with mmap_mode='c'.")
        fits = len(self._optimizer_state) == len(network.layers)
        for i, layer in enumerate(network.layers):
            layer.reset_state(self.solver)
            state = (layer.weights_m, layer.weights_v, layer.bias_m, layer.bias_v)
            saved = self._optimizer_state[i] if fits else None
            if saved is not None and all(a.shape == b.shape for a, b in
                                         zip(saved, state, strict=True)):
                layer.weights_m, layer.weights_v, layer.bias_m, layer.bias_v = saved
        return network

    def _store(self, network, losses, stopping, keep_state):
        layers = network.layers
        self.coefs_ = [layer.weights for layer in layers[:-1]] + [layers[-1].weights.T]
        self.intercepts_ = [layer.bias for layer in layers]
        self._optimizer_state = [
            [layer.weights_m, layer.weights_v, layer.bias_m, layer.bias_v] for layer in layers
        ] if keep_state else []
        self.n_iter_ += len(losses)
        self.loss_curve_ = [*self.loss_curve_, *losses]
        self.loss_ = self.loss_curve_[-1] if self.loss_curve_ else float("nan")
        if stopping is not None:
            self.validation_scores_ = [*(self.validation_scores_ or []), *stopping.scores]
            self.best_validation_score_ = float(stopping.best_score)
        self._index = None

    # ------------------------------------------------------------- prediction

    def predict(self, X):
        """Labels, or the label set of each sample if y was an indicator.

        Parameters
        ----------
        X : {array-like, sparse matrix, dataframe} of shape (n_samples, n_features)

        Returns
        -------
        y : ndarray of shape (n_samples,), or indicator of shape (n_samples, n_classes)
            The class with the best score; or, in the format of the y of `fit` (CSR if that was
            sparse), ones for all classes with a probability above 0.5. Works for any number of
            classes.
        """
        network, X, n_threads = self._prepare(X)
        rows = np.arange(X.n_rows)
        if self._target_kind == "labels":
            best, _ = _prediction.exact_topk(network, X, rows, 1, n_threads)
            return self.classes_[best[:, 0]]
        slope, intercept = self.calibration_
        counts, found = np.zeros(X.n_rows, np.int64), []
        for place, scores in _prediction.score_chunks(network, X, rows, n_threads):
            # float32 finds what may be positive, float64 decides, as in predict_proba.
            row, column = np.nonzero(scores > np.nextafter(np.float32(-intercept / slope),
                                                           np.float32(-np.inf)))
            positive = slope * scores[row, column].astype(np.float64) + intercept > 0
            row, column = row[positive], column[positive]
            counts[place] = np.bincount(row, minlength=len(scores))
            found.append(column.astype(np.int32))
        indptr = np.concatenate([[0], np.cumsum(counts)])
        indices = np.concatenate(found) if found else np.empty(0, np.int32)
        return _labels.decode_indicator(indptr, indices, len(self.classes_), self._target_kind)

    def predict_topk(self, X, k=5, *, method="exact"):
        """The k best classes of each sample.

        Works at any number of classes: beside the result it needs at most some 16 MiB (64 samples
        a thread at least), never an array of shape (n_samples, n_classes).

        Parameters
        ----------
        X : {array-like, sparse matrix, dataframe} of shape (n_samples, n_features)
        k : int, default=5
            At most the number of classes.
        method : {"exact", "lsh"}, default="exact"
            "exact" scores every class. "lsh" scores the `n_candidates` classes that collide most
            often in hash tables, which are built at the first call, with the hashing parameters
            of the estimator; a sample for which that gives fewer than k is scored exactly.

        Returns
        -------
        labels : ndarray of shape (n_samples, k)
            Entries of `classes_` (column numbers for an indicator), best first; ties in the order
            of `classes_`.
        scores : ndarray of shape (n_samples, k), float64
            If y was an indicator: calibrated log-odds, ``1 / (1 + exp(-score))`` being the
            probability; otherwise the scores of `decision_function` before softmax.

        Raises
        ------
        ValueError
            k is not an integer in [1, n_classes], or `method` is unknown.
        """
        network, X, n_threads = self._prepare(X)
        n_classes = len(self.classes_)
        if isinstance(k, bool) or not isinstance(k, Integral) or not 1 <= k <= n_classes:
            raise ValueError(f"k must be an integer in [1, {n_classes}], the number of classes; "
                             f"got {k!r}.")
        rows = np.arange(X.n_rows)
        if method == "exact":
            best, scores = _prediction.exact_topk(network, X, rows, int(k), n_threads)
        elif method == "lsh":
            index = self._hash_index(network, n_threads)
            n_candidates = min(n_classes, max(self.n_candidates, int(k)))
            best, scores = _prediction.lsh_topk(network, index, X, rows, int(k), n_candidates,
                                                n_threads)
        else:
            raise ValueError(f"method must be 'exact' or 'lsh', got {method!r}.")
        slope, intercept = self.calibration_
        return self.classes_[best], slope * scores.astype(np.float64) + intercept

    def decision_function(self, X):
        """Scores of all classes.

        Parameters
        ----------
        X : {array-like, sparse matrix, dataframe} of shape (n_samples, n_features)

        Returns
        -------
        scores : ndarray of shape (n_samples, n_classes) or (n_samples,) if binary, float64
            Calibrated log-odds if y was an indicator, logits otherwise. Binary: log-odds of
            ``classes_[1]``.

        Raises
        ------
        ValueError
            The result would have more than 2**28 entries (2 GiB): use `predict_topk`.
        """
        scores = self._all_scores(X)
        if self._target_kind == "labels" and scores.shape[1] == 2:
            log_proba = self._log_proba(scores)
            return log_proba[:, 1] - log_proba[:, 0]
        return scores

    def predict_proba(self, X):
        """Probabilities of all classes.

        Parameters
        ----------
        X : {array-like, sparse matrix, dataframe} of shape (n_samples, n_features)

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
            return expit(scores)
        if self._effective_loss == "softmax":
            return softmax(scores, axis=1)
        return np.exp(self._log_proba(scores))

    def predict_log_proba(self, X):
        """Logarithms of `predict_proba`, without its underflow.

        Parameters
        ----------
        X : {array-like, sparse matrix, dataframe} of shape (n_samples, n_features)

        Returns
        -------
        log_proba : ndarray of shape (n_samples, n_classes), float64
        """
        return self._log_proba(self._all_scores(X))

    def _log_proba(self, scores):
        if self._target_kind != "labels":
            return log_expit(scores)
        if self._effective_loss == "sigmoid":
            scores = log_expit(scores)
        return log_softmax(scores, axis=1)

    def _all_scores(self, X):
        network, X, n_threads = self._prepare(X)
        n_classes = len(self.classes_)
        if X.n_rows * n_classes > MAX_DENSE_SCORES:
            raise ValueError(
                f"Scores of {X.n_rows} samples and {n_classes} classes would be a dense array of "
                f"more than 2**28 entries (2 GiB). Use predict_topk for the best classes of each "
                f"sample, or at most {MAX_DENSE_SCORES // n_classes} samples a call."
            )
        result = np.empty((X.n_rows, n_classes))
        for place, scores in _prediction.score_chunks(network, X, np.arange(X.n_rows), n_threads):
            result[place] = scores
        slope, intercept = self.calibration_
        result *= slope
        result += intercept
        return result

    def _prepare(self, X) -> tuple[Network, CSR, int]:
        check_is_fitted(self)
        return self._network(), check_X(self, X, reset=False), effective_n_threads(self.n_jobs)

    def _network(self) -> Network:
        """The fitted parameters, checked, because kernels trust shapes and dtypes."""
        coefs = [*self.coefs_[:-1], self.coefs_[-1].T]
        widths = [self.n_features_in_, *(len(bias) for bias in self.intercepts_)]
        if len(coefs) != len(self.intercepts_) or len(coefs) < 2:
            raise ValueError("coefs_ and intercepts_ must have one entry a layer.")
        if widths[-1] != len(self.classes_):
            raise ValueError(f"The output layer has {widths[-1]} neurons for {len(self.classes_)} "
                             "classes.")
        for i, (weights, bias) in enumerate(zip(coefs, self.intercepts_, strict=True)):
            shape = (widths[i], widths[i + 1])
            if i == len(coefs) - 1:
                shape = shape[::-1]
            for name, array, expected in (("coefs_", weights, shape),
                                          ("intercepts_", bias, shape[-1:])):
                if name == "intercepts_" and i == len(coefs) - 1:
                    expected = shape[:1]
                if (array.dtype != np.float32 or array.shape != expected
                        or not array.flags.c_contiguous):
                    raise ValueError(f"{name}[{i}] must be a contiguous float32 array of "
                                     f"{expected}, found {array.dtype} {array.shape}.")
        return Network([Layer(*pair) for pair in zip(coefs, self.intercepts_, strict=True)])

    def _hash_index(self, network, n_threads):
        if self._index is None:
            plan = self._recipe(None, 1, False).plan
            index = plan.make_index(network.output, self._seed % 2**64, n_threads)
            self._index = index.build(network.output.weights, network.output.bias,
                                      self._activation_mean)
        self._index.n_threads = n_threads
        return self._index

    # -------------------------------------------------- scikit-learn protocol

    def __getstate__(self):
        state = super().__getstate__()
        if "_index" in state:  # hash tables follow from weights and seed
            state = {**state, "_index": None}
        return state

    def __setstate__(self, state):
        super().__setstate__(state)
        if hasattr(self, "coefs_"):
            self._network()

    def __sklearn_is_fitted__(self):
        return hasattr(self, "coefs_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.classifier_tags.multi_label = True
        return tags


@contextmanager
def _unchanged_on_error(estimator):
    """Put all attributes back if the block raises."""
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


def _check_widths(hidden_layer_sizes) -> list[int]:
    widths = np.atleast_1d(np.asarray(hidden_layer_sizes))
    if widths.ndim != 1 or len(widths) == 0 or widths.dtype.kind not in "iu" or widths.min() < 1:
        raise ValueError(f"hidden_layer_sizes must be a non-empty sequence of positive integers, "
                         f"got {hidden_layer_sizes!r}.")
    return [int(width) for width in widths]


def _check_finite(network: Network) -> None:
    for i, layer in enumerate(network.layers):
        for name, array in (("coefs_", layer.weights), ("intercepts_", layer.bias)):
            if not (np.isfinite(array.sum(dtype=np.float64)) or np.isfinite(array).all()):
                raise ValueError(f"Training diverged: {name}[{i}] has non-finite entries. Lower "
                                 "learning_rate_init or scale X.")


def _ndcg(network, X, targets, rows, n_threads) -> float:
    k = min(5, targets.matrix.shape[1])
    best, _ = _prediction.exact_topk(network, X, rows, k, n_threads)
    return float(ndcg_at_k(_indicator_rows(targets.matrix, rows), best, k=k))


def _calibrate(network, X, labels, rows, n_threads) -> np.ndarray:
    histogram = _calibration.ScoreHistogram()
    for place, scores in _prediction.score_chunks(network, X, rows, n_threads):
        truth = _indicator_rows(labels, rows[place]).tocoo()
        histogram.add(scores, scores[truth.row, truth.col])
    return np.array(_calibration.platt_scaling(histogram))


def _indicator_rows(labels: CSR, rows):
    from scipy.sparse import csr_matrix

    matrix = csr_matrix((labels.data, labels.indices, labels.indptr), shape=labels.shape)
    return matrix[rows]
