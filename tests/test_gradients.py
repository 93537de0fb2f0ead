"""Training steps against an independent network in float64 (`reference.Network`).

Three links: its loss is written down plainly; its gradients are finite differences of that loss;
a step of `Trainer` is a step along those gradients, on the rows that the batch touched alone.
"""

from itertools import pairwise

import numpy as np
import pytest

from slidelearn import _training
from slidelearn._active import SamplingPlan
from slidelearn._initialisation import initialise
from slidelearn._kernels import _hashing
from slidelearn._training import DivergenceError, Recipe, Trainer, log_inclusion
from slidelearn._validation import CSR
from tests import reference

N, N_FEATURES, N_CLASSES, BATCH = 24, 30, 60, 9
PLAN = SamplingPlan(
    sampling="random", n_random=11, share_random=True, n_candidates=7, min_collisions=2,
    hash_function="simhash", hash_length=3, n_tables=8, bucket_size=16, insertion="fifo",
    center=True, rebuild_interval=2, rebuild_growth=1.0, redraw_every=3,
)
RECIPE = Recipe(
    loss="sigmoid", solver="sgd", learning_rate="constant", learning_rate_init=1.0, beta_1=0.9,
    beta_2=0.99, epsilon=1e-3, batch_size=BATCH, dropout=0.3, shuffle=True,
    gradient_threshold=0, plan=PLAN,
)
# (sampling, share_random): shared part alone, own parts alone, both, everything shared
MODES = [("random", True), ("random", False), ("topk", False), ("topk", True), ("vanilla", True),
         ("threshold", True), ("all", True)]


def replaced(what, **changes):
    return type(what)(**{**vars(what), **changes})


def random_csr(rng, n_rows, n_columns, counts):
    """Distinct ascending columns in each row."""
    columns = [np.sort(rng.permutation(n_columns)[:n]) for n in counts]
    indices = np.concatenate(columns).astype(np.int32)
    return CSR(np.cumsum([0, *counts]), indices,
               rng.standard_normal(len(indices)).astype(np.float32), (n_rows, n_columns))


def dense(matrix):
    out = np.zeros(matrix.shape)
    rows = np.repeat(np.arange(matrix.n_rows), np.diff(matrix.indptr))
    np.add.at(out, (rows, matrix.indices), matrix.data)
    return out


class Setting:
    """A trainer on random data, and all that its steps depend on, for the oracle."""

    def __init__(self, recipe, hidden=(16,), seed=0, steps_before=0, state_start=0, n_steps=10,
                 shift=False):
        rng = np.random.default_rng(seed)
        self.X = random_csr(rng, N, N_FEATURES, rng.integers(0, 7, N))  # empty rows among them
        self.Y = random_csr(rng, N, N_CLASSES, rng.integers(0, 4, N))
        self.Y.data[:] = 1
        self.weight = rng.random(N).astype(np.float32)
        self.network = initialise(N_FEATURES, hidden, rng.standard_normal(N_CLASSES),
                                  np.random.RandomState(seed))
        for layer in self.network.layers:
            layer.bias += 0.1 * rng.standard_normal(layer.bias.shape).astype(np.float32)
            layer.reset_state(recipe.solver)
        self.network.input.weights *= 10
        self.shift = (rng.standard_normal(N_CLASSES) if shift else np.zeros(N_CLASSES))
        self.shift = self.shift.astype(np.float32)
        self.recipe, self.key = recipe, 5
        self.trainer = Trainer(self.network, self.X, self.Y, self.weight, self.shift, recipe,
                               n_steps=n_steps, steps_before=steps_before,
                               state_start=state_start, key=self.key, n_threads=2)
        self.active = None

    def train(self, rows):
        """One step on at most `BATCH` rows."""
        batch, = self.trainer.prepare(rows)
        loss = self.trainer.train_batch(batch)
        indptr, own = self.trainer.phases.own_classes
        self.active = batch.shared, indptr[:len(rows) + 1], own
        return loss

    def batch(self, rows, step):
        """What `reference.Network.loss` takes, after `train`; everything of step `step`."""
        shared, indptr, own = self.active
        active = [np.concatenate([shared, own[a:b]]).astype(int) for a, b in pairwise(indptr)]
        labels = [self.Y.indices[self.Y.indptr[r]:self.Y.indptr[r + 1]] for r in rows]
        for mine, some in zip(labels, active, strict=True):
            assert np.isin(mine, some).all()
            assert len(np.unique(some)) == len(some)
        key = _hashing.stream_key(_hashing.stream_key(self.key, _training.KEY_DROPOUT), step)
        masks = [
            reference.dropout_mask(_hashing.stream_key(key, depth), len(rows), len(layer.bias),
                                   self.recipe.dropout)
            for depth, layer in enumerate(self.network.layers[:-1])
        ]
        shift = np.zeros(N_CLASSES)
        if len(shared) < N_CLASSES:
            shift[shared] = self.shift[shared]
        return (self.recipe.loss, dense(self.X)[rows], labels, self.weight[rows].astype(float),
                active, masks, self.recipe.dropout, shift)


def numerical_gradients(network, batch, step=1e-6):
    gradients = []
    for parameter in network.parameters:
        gradient = np.empty_like(parameter)
        for place in np.ndindex(parameter.shape):
            value = parameter[place]
            losses = []
            for sign in (1, -1):
                parameter[place] = value + sign * step
                losses.append(network.loss(*batch))
            parameter[place] = value
            gradient[place] = (losses[0] - losses[1]) / (2 * step)
        gradients.append(gradient)
    return gradients


@pytest.mark.parametrize("loss", ["sigmoid", "softmax"])
@pytest.mark.parametrize("hidden", [(6,), (5, 4)])
def test_oracle_gradients_are_finite_differences(loss, hidden):
    rng = np.random.default_rng(0)
    made = initialise(7, hidden, rng.standard_normal(9), np.random.RandomState(0))
    network = reference.Network(made)
    for parameter in network.parameters:
        parameter += 0.5 * rng.standard_normal(parameter.shape)
    X = rng.standard_normal((4, 7))
    labels = [[0, 3], [2], [], [8, 1, 4]]
    active = [[0, 3, 5], list(range(9)), [1, 2], [8, 7, 1, 4]]
    masks = [rng.random((4, width)) < 0.7 for width in hidden]
    batch = loss, X, labels, [0.5, 2.0, 1.0, 0.25], active, masks, 0.3, rng.standard_normal(9)
    pairs = zip(network.gradients(*batch), numerical_gradients(network, batch), strict=True)
    for exact, numerical in pairs:
        np.testing.assert_allclose(exact, numerical, rtol=0, atol=1e-8)


@pytest.mark.parametrize("hidden", [(16,), (1,), (17, 33)])
@pytest.mark.parametrize("loss", ["sigmoid", "softmax"])
@pytest.mark.parametrize(("sampling", "share_random"), MODES)
def test_one_step_follows_the_gradient(sampling, share_random, loss, hidden):
    plan = replaced(PLAN, sampling=sampling, share_random=share_random)
    recipe = replaced(RECIPE, loss=loss, plan=plan)
    case = Setting(recipe, hidden, shift=sampling == "random")
    before = reference.Network(case.network)
    bits = [np.copy(layer.weights) for layer in case.network.layers]
    rows = np.random.default_rng(1).permutation(N)[:BATCH]
    found_loss = case.train(rows)
    batch = case.batch(rows, 0)
    shared, _, own = case.active
    assert bool(len(shared)) == (share_random or sampling == "all")
    assert bool(len(own)) == (sampling not in ("random", "all") or not share_random)

    np.testing.assert_allclose(found_loss, before.loss(*batch) * BATCH, rtol=1e-5)
    after = reference.Network(case.network)
    changed = zip(before.parameters, after.parameters, before.gradients(*batch), strict=True)
    for old, new, gradient in changed:
        np.testing.assert_allclose(old - new, gradient, rtol=2e-5, atol=5e-7)
    for layer, old, touched in zip((case.network.input, case.network.output),
                                   (bits[0], bits[-1]), touched_rows(case, rows), strict=True):
        assert len(touched) < len(old) or sampling == "all"
        untouched = np.setdiff1d(np.arange(len(old)), touched)
        np.testing.assert_array_equal(layer.weights[untouched], old[untouched])


def touched_rows(case, rows):
    """Of the first and of the last layer."""
    shared, _, own = case.active
    return np.flatnonzero(dense(case.X)[rows].any(axis=0)), np.union1d(shared, own)


@pytest.mark.parametrize(("learning_rate", "planned"), [("constant", 6), ("linear", 6),
                                                       ("linear", None)])
@pytest.mark.parametrize("solver", reference.KEPT)
@pytest.mark.parametrize(("sampling", "share_random"), [("random", True), ("topk", True),
                                                        ("vanilla", False)])
def test_solvers_step_touched_rows_alone(sampling, share_random, solver, learning_rate, planned):
    plan = replaced(PLAN, sampling=sampling, share_random=share_random)
    recipe = replaced(RECIPE, solver=solver, plan=plan, learning_rate=learning_rate,
                      learning_rate_init=0.02)
    n_steps, steps_before, state_start = 6, 300, 297
    case = Setting(recipe, (16, 17), steps_before=steps_before, state_start=state_start,
                   n_steps=planned)
    oracle = reference.Network(case.network)
    n_layers = len(oracle.weights)
    states = [(np.zeros_like(p), np.zeros_like(p)) for p in oracle.parameters]
    rng = np.random.default_rng(2)
    for step in range(n_steps):
        rows = rng.permutation(N)[:BATCH if step % 2 else 4]
        old = [(layer.weights.copy(), layer.weights_m.copy(), layer.weights_v.copy(),
                layer.bias.copy()) for layer in case.network.layers]
        case.train(rows)
        gradients = oracle.gradients(*case.batch(rows, step))
        features, classes = touched_rows(case, rows)
        touched = {0: features, n_layers - 1: classes, 2 * n_layers - 1: classes}
        rate = 0.02 * {("constant", 6): 1, ("linear", 6): 1 - step / 6,
                       ("linear", None): (1 + (steps_before + step) / 500) ** -0.5,
                       }[learning_rate, planned]
        optimizer = reference.Optimizer(solver, rate, steps_before - state_start + step + 1,
                                        recipe.beta_1, recipe.beta_2, recipe.epsilon)
        for i, (parameter, gradient) in enumerate(zip(oracle.parameters, gradients, strict=True)):
            some = touched.get(i, np.arange(len(parameter)))
            m, v = (state[some] for state in states[i])
            stepped = parameter[some]
            optimizer.step(gradient[some], stepped, m, v)
            parameter[some], states[i][0][some], states[i][1][some] = stepped, m, v
        for i, layer in enumerate(case.network.layers):
            np.testing.assert_allclose(layer.weights, oracle.weights[i], rtol=0, atol=2e-5)
            np.testing.assert_allclose(layer.bias, oracle.bias[i], rtol=0, atol=2e-5)
        for i, some in ((0, features), (n_layers - 1, classes)):
            layer = case.network.layers[i]
            rest = np.setdiff1d(np.arange(len(layer.weights)), some)
            assert len(rest)
            for now, then in zip((layer.weights, layer.weights_m, layer.weights_v), old[i],
                                 strict=False):
                if now.size:
                    np.testing.assert_array_equal(now[rest], then[rest])
        rest = np.setdiff1d(np.arange(N_CLASSES), classes)
        np.testing.assert_array_equal(case.network.output.bias[rest], old[-1][3][rest])


@pytest.fixture
def logits_of_floats(monkeypatch):
    """No products of bytes, so that a threshold changes nothing but gradients."""
    monkeypatch.setattr(_training._quantised, "MAX_WIDTH", 0)


@pytest.mark.parametrize("sampling", ["random", "topk"])
def test_logits_of_bytes_are_near_those_of_floats(sampling):
    recipe = replaced(RECIPE, plan=replaced(PLAN, sampling=sampling))
    exact, near = (Setting(replaced(recipe, gradient_threshold=t)) for t in (0, 1e-30))
    losses = [case.train(np.arange(BATCH)) for case in (exact, near)]
    assert losses[0] != losses[1]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-3)


def test_very_wide_layers_have_exact_logits(monkeypatch):
    """Sums of bytes have 32 bits."""
    for width in (15, 16):  # of the hidden layer: 16
        monkeypatch.setattr(_training._quantised, "MAX_WIDTH", width)
        exact, case = (Setting(replaced(RECIPE, gradient_threshold=t)) for t in (0, 0.01))
        losses = [one.train(np.arange(BATCH)) for one in (exact, case)]
        assert (losses[0] == losses[1]) == (width == 15)


@pytest.mark.usefixtures("logits_of_floats")
@pytest.mark.parametrize("loss", ["sigmoid", "softmax"])
@pytest.mark.parametrize("sampling", ["random", "topk"])
def test_sparse_gradients_are_right_on_average(sampling, loss, monkeypatch):
    recipe = replaced(RECIPE, loss=loss, plan=replaced(PLAN, sampling=sampling))
    rows = np.arange(BATCH)
    monkeypatch.setattr(_training, "MAX_DENSITY", 1)

    def change(threshold):
        case = Setting(replaced(recipe, gradient_threshold=threshold), (16, 7))
        before = reference.Network(case.network).parameters
        case.train(rows)
        after = reference.Network(case.network).parameters
        return np.concatenate([(a - b).ravel() for a, b in zip(after, before, strict=True)])

    exact = change(0)
    found = np.empty((400, len(exact)))
    for i in range(len(found)):
        monkeypatch.setattr(_training, "KEY_GRADIENT", 100 + i)
        found[i] = change(0.3)
    spread = found.std(axis=0)
    assert (spread > 1e-3 * np.abs(exact).max()).sum() > 100
    error = np.abs(found.mean(axis=0) - exact)
    assert (error <= 6 * spread / len(found)**0.5 + 1e-6).all()


def test_the_threshold_follows_the_number_of_pairs():
    """It doubles while too many pairs are left, to 1/8 at most, and falls back to what it was."""
    trainer = Setting(replaced(RECIPE, gradient_threshold=0.02)).trainer
    densities, given = iter([0.5, 0.2, 0.1, 0.2, 0.2, 0.04, 0.05, 0.04, 0.04, 0.04]), []

    class Phases:
        def run(self, *arguments):
            given.append(arguments)
            self.density = next(densities)
            return 1.0

    batch, = trainer.prepare(np.arange(BATCH))
    trainer.phases = Phases()
    for _ in range(10):
        trainer.train_batch(batch)
    assert [arguments[5] for arguments in given] == [1, 2, 4, 4, 4, 4, 2, 2, 1, 1]


def test_a_coarser_threshold_leaves_fewer_pairs():
    densities = []
    for coarseness in (1, 4):
        case = Setting(replaced(RECIPE, gradient_threshold=1.0))
        case.trainer._coarseness = coarseness
        case.train(np.arange(BATCH))
        densities.append(case.trainer.phases.density)
    assert densities[0] > 2 * densities[1] > 0


@pytest.mark.parametrize("solver", ["adagrad", "adam", "rmsprop"])
def test_classes_without_a_pair_are_left_alone(solver, monkeypatch):
    monkeypatch.setattr(_training, "MAX_DENSITY", 1)
    case = Setting(replaced(RECIPE, solver=solver, gradient_threshold=1.0))
    output = case.network.output
    output.bias -= 3
    arrays = (output.weights, output.weights_m, output.weights_v, output.bias, output.bias_m,
              output.bias_v)
    arrays = [a for a in arrays if a.size]
    before = [a.copy() for a in arrays]
    case.train(np.arange(BATCH))
    phases = case.trainer.phases
    chosen = [places[:count] for places, count in zip(phases.places, phases.counts, strict=True)]
    stepped = case.active[0][np.unique(np.concatenate(chosen))]
    rest = np.setdiff1d(np.arange(N_CLASSES), stepped)
    assert 0 < len(stepped) < len(case.active[0])
    for now, then in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(now[rest], then[rest])
        assert (now[stepped] != then[stepped]).reshape(len(stepped), -1).any(axis=1).all()


@pytest.mark.usefixtures("logits_of_floats")
def test_many_pairs_are_all_of_them():
    dense, sparse = (Setting(replaced(RECIPE, gradient_threshold=t)) for t in (0, 1e-9))
    losses = [case.train(np.arange(BATCH)) for case in (dense, sparse)]
    assert losses[0] == losses[1]
    for layer, other in zip(dense.network.layers, sparse.network.layers, strict=True):
        np.testing.assert_array_equal(layer.weights, other.weights)


def test_where_every_class_is_active_no_correction_is_made():
    """Too many random classes for the room that a batch's labels leave: all of them, as with
    sampling="all", whatever the probabilities of being drawn are, and with exact gradients."""
    plan = replaced(PLAN, n_random=N_CLASSES // 2)
    case = Setting(replaced(RECIPE, plan=plan, gradient_threshold=0.3), shift=True)
    full = Setting(replaced(RECIPE, plan=replaced(PLAN, sampling="all")))
    rows = np.arange(BATCH)
    assert case.train(rows) == full.train(rows)
    assert len(case.active[0]) == N_CLASSES
    for layer, other in zip(case.network.layers, full.network.layers, strict=True):
        np.testing.assert_array_equal(layer.weights, other.weights)
        np.testing.assert_array_equal(layer.bias, other.bias)


@pytest.mark.parametrize("sampling", ["random", "topk"])
@pytest.mark.parametrize("n_random", [N_CLASSES // 2 + 1, N_CLASSES, 10**12])
def test_draws_of_more_than_half_are_all_classes(sampling, n_random):
    """Without shared draws, too: a few classes would have no negatives otherwise."""
    plan = replaced(PLAN, sampling=sampling, n_random=n_random, share_random=False)
    case = Setting(replaced(RECIPE, plan=plan))
    case.train(np.arange(BATCH))
    np.testing.assert_array_equal(case.active[0], np.arange(N_CLASSES))


@pytest.mark.parametrize("share_random", [True, False])
@pytest.mark.parametrize("sampling", ["random", "vanilla", "topk", "threshold"])
def test_labels_of_nearly_all_classes(sampling, share_random):
    """Drawing ends though there is hardly a class left to draw."""
    for n_random in (0, 1, N_CLASSES // 2):
        plan = replaced(PLAN, sampling=sampling, share_random=share_random, n_random=n_random,
                        n_candidates=2**31 - 1)
        case = Setting(replaced(RECIPE, plan=plan))
        rng = np.random.default_rng(0)
        counts = rng.integers(N_CLASSES - 1, N_CLASSES + 1, N)
        case.Y = random_csr(rng, N, N_CLASSES, counts)
        trainer = Trainer(case.network, case.X, case.Y, case.weight, case.shift, case.recipe,
                          n_steps=3, steps_before=0, state_start=0, key=1, n_threads=2)
        for batch in trainer.prepare(rng.permutation(N)):
            assert np.isfinite(trainer.train_batch(batch))


@pytest.mark.parametrize("place", ["input", "output"])
@pytest.mark.parametrize("loss", ["sigmoid", "softmax"])
def test_divergence_leaves_the_network_alone(loss, place):
    case = Setting(replaced(RECIPE, loss=loss, plan=replaced(PLAN, sampling="all")))
    getattr(case.network, place).weights[:, 3] = np.nan
    before = [layer.weights.copy() for layer in case.network.layers]
    with pytest.raises(DivergenceError, match="the loss is nan at batch 1"):
        case.train(np.arange(BATCH))
    for layer, old in zip(case.network.layers, before, strict=True):
        np.testing.assert_array_equal(layer.weights, old)


def test_log_inclusion():
    plan = replaced(PLAN, n_random=10)
    frequency = np.array([0.0, 0.01, 0.5, 1.0])
    found = log_inclusion(frequency, 100, plan, 8)
    np.testing.assert_allclose(found, np.log(1 - 0.9 * (1 - frequency) ** 8), rtol=1e-5)
    assert found.dtype == np.float32
    nothing_drawn = log_inclusion(frequency, 100, replaced(plan, n_random=0), 8)
    assert np.isfinite(nothing_drawn).all()  # a class without samples is never there
    np.testing.assert_allclose(nothing_drawn[1:], np.log(1 - (1 - frequency[1:]) ** 8), rtol=1e-5)
    for other in (replaced(plan, sampling="topk"), replaced(plan, share_random=False),
                  replaced(plan, n_random=51)):
        assert not log_inclusion(frequency, 100, other, 8).any()
