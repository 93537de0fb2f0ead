"""The input layer in slices of columns: when it is cut, and that nothing can be seen of it."""

import numpy as np
import pytest
from conftest import assert_same_model, assert_same_state, small, snapshot

from slidelearn import _training
from slidelearn._memory import CACHE_LINE
from slidelearn._network import Layer
from slidelearn._slices import MIN_ENTRIES, MIN_USES, Slices, n_slices


def layer(n_rows, width):
    return Layer(np.zeros((n_rows, width), np.float32), np.zeros(width, np.float32))


@pytest.mark.parametrize("width, n_threads, expected", [
    (256, 1, 1), (256, 2, 2), (256, 3, 2), (256, 64, 2), (384, 3, 3), (384, 4, 3), (512, 3, 2),
    (255, 2, 1), (258, 2, 1), (288, 2, 2), (0, 2, 1),
])
def test_slices_have_whole_cache_lines_and_are_wide(width, n_threads, expected):
    assert n_slices(layer(10, width), 10 * MIN_USES, 5, n_threads) == expected


def test_what_is_used_little_or_large_is_not_cut():
    assert n_slices(layer(10, 256), 10 * MIN_USES - 1, 5, 2) == 1
    n_samples = 10 * MIN_USES
    assert n_slices(layer(10, 256), MIN_ENTRIES * n_samples - 1, n_samples, 2) == 1
    assert n_slices(layer(10, 256), MIN_ENTRIES * n_samples, n_samples, 2) == 2
    large = np.lib.stride_tricks.as_strided(np.zeros(256, np.float32), (2**17 + 1, 256), (0, 4))
    assert n_slices(Layer(large, large[0]), np.inf, 5, 2) == 1
    assert n_slices(Layer(large[1:], large[0]), np.inf, 5, 2) == 2


@pytest.mark.parametrize("solver", ["sgd", "adagrad", "adam", "rmsprop"])
def test_what_is_cut_is_put_together_again(solver):
    rng = np.random.default_rng(0)
    whole = layer(50, 192)
    whole.reset_state(solver)
    parameters = [whole.weights, whole.weights_m, whole.weights_v]
    for parameter in parameters:
        parameter[...] = rng.random(parameter.shape)
    expected = [parameter.copy() for parameter in parameters]
    slices = Slices(whole, 3)
    cut = slices.weights, slices.weights_m, slices.weights_v
    for parameter, values, part in zip(parameters, expected, cut, strict=True):
        np.testing.assert_array_equal(part, np.split(values, 3, axis=1))
        assert part.size == 0 or part.ctypes.data % CACHE_LINE == 0
        parameter[...] = np.nan
    slices.settle()
    for parameter, values in zip(parameters, expected, strict=True):
        np.testing.assert_array_equal(parameter, values)


@pytest.fixture
def cuts(monkeypatch):
    """Into how many slices each trainer cut its input layer; appended to."""
    numbers = []

    def recorded(*args):
        numbers.append(n_slices(*args))
        return numbers[-1]

    monkeypatch.setattr(_training, "n_slices", recorded)
    return numbers


@pytest.mark.parametrize("setting", [
    {}, dict(solver="sgd", learning_rate_init=0.5), dict(solver="adagrad"), dict(beta_1=0.9),
    dict(early_stopping=True, n_iter_no_change=1), dict(hidden_layer_sizes=(384, 20)),
    dict(dtype="bfloat16"),
], ids=str)
def test_the_same_model(extreme, cuts, setting):
    X, Y = extreme
    setting = {"hidden_layer_sizes": (384,), **setting}
    expected = small(**setting, n_jobs=1).fit(X, Y)
    for n_jobs in (2, 3, 5):
        assert_same_model(small(**setting, n_jobs=n_jobs).fit(X, Y), expected)
    assert cuts == [1, 2, 3, 3]


def test_further_training_goes_on_with_the_same_optimizer_state(extreme, cuts):
    X, Y = extreme
    models = [small(hidden_layer_sizes=(256,), n_jobs=n_jobs) for n_jobs in (1, 2)]
    for model in models:
        model.partial_fit(X, Y).partial_fit(X[::-1], Y[::-1])
    assert_same_model(models[1], models[0])
    assert cuts == [1, 1, 2, 2]


def test_the_monitor_sees_what_is_trained(extreme, cuts):
    seen = {1: [], 2: []}
    for n_jobs, epochs in seen.items():
        small(hidden_layer_sizes=(256,), max_iter=3, n_jobs=n_jobs).fit(
            *extreme, monitor=lambda i, model, row, to=epochs: to.append(model.coefs_[0].copy()))
    np.testing.assert_array_equal(seen[1], seen[2])
    assert not np.array_equal(seen[1][0], seen[1][1])
    assert cuts == [1, 2]


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_interrupted_training_leaves_what_was_learnt(extreme, cuts, monkeypatch, method):
    train_batch, models = _training.Trainer.train_batch, []

    def interrupted(trainer, batch):
        if trainer.step == 15:
            raise KeyboardInterrupt
        return train_batch(trainer, batch)

    monkeypatch.setattr(_training.Trainer, "train_batch", interrupted)
    for n_jobs in (1, 2):
        models.append(small(hidden_layer_sizes=(256,), n_jobs=n_jobs))
        with pytest.warns(UserWarning, match="interrupted"):
            getattr(models[-1], method)(*extreme)
    states = [snapshot(model) for model in models]
    for state in states:
        del state["n_jobs"]
    assert_same_state(states[1], states[0])
    assert models[0].t_ == 15 and cuts == [1, 2]
