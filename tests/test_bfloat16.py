"""SlideClassifier(dtype="bfloat16"): half the memory, nearly the same model."""

import numpy as np
import pytest
from conftest import assert_same_model, assert_same_state, precision_at_1, small, snapshot

from slidelearn import SlideClassifier
from slidelearn._initialisation import initialise


def test_half_the_memory(tiny):
    """In training and after it; biases and the layers below stay float32."""
    for solver, beta_1, n_states in (("adam", 0.9, 2), ("adam", 0, 1), ("adagrad", 0, 1),
                                     ("sgd", 0, 0)):
        model = small(dtype="bfloat16", solver=solver, beta_1=beta_1, warm_start=True).fit(*tiny)
        arrays = [model._coefs[-1], *model._optimizer_state[-1][:2]]
        assert {array.dtype for array in arrays} == {np.dtype(np.uint16)}
        assert sum(array.nbytes for array in arrays) == 2 * 16 * 4 * (1 + n_states)
        rest = [*model._coefs[:-1], *model.intercepts_, *model._optimizer_state[-1][2:],
                *model._optimizer_state[0]]
        assert {array.dtype for array in rest} == {np.dtype(np.float32)}


def test_coefs_are_numbers(tiny):
    model = small(dtype="bfloat16").fit(*tiny)
    inner, output = model.coefs_
    assert np.shares_memory(inner, model._coefs[0]) and not inner.flags.writeable
    assert output.dtype == np.float32
    assert output.shape == (16, 4) and output.flags.f_contiguous
    np.testing.assert_array_equal(output.view(np.uint32) & 0xFFFF, 0)
    np.testing.assert_array_equal(output.view(np.uint32) >> 16, model._coefs[-1])
    with pytest.raises(ValueError, match="read-only"):
        output[0, 0] = 1
    with pytest.raises(AttributeError):
        _ = small().coefs_


def test_predictions_are_those_of_the_same_weights_in_float32(extreme):
    X, Y = extreme
    model = small(dtype="bfloat16", sampling="topk").fit(X[:500], Y[:500])
    wide = small().fit(X[:500], Y[:500])
    wide.__dict__ |= {**vars(model), "_coefs": [model._coefs[0], np.array(model.coefs_[-1])],
                      "_index": None}
    for method in ("exact", "lsh"):
        assert_same_state(model.predict_topk(X, k=7, method=method),
                          wide.predict_topk(X, k=7, method=method))
    assert_same_state(model.predict_proba(X[:9]), wide.predict_proba(X[:9]))
    assert_same_state(model.similar_labels([3, 4], k=9), wide.similar_labels([3, 4], k=9))


def test_initial_weights_are_rounded():
    layers = [initialise(5, (6, 7), np.zeros(9), np.random.RandomState(0), dtype)
              for dtype in ("float32", "bfloat16")]
    exact, rounded = (network.output.weights for network in layers)
    wide = (rounded.astype(np.uint32) << 16).view(np.float32)
    np.testing.assert_allclose(wide, exact, rtol=2.0**-8)
    for a, b in zip(layers[0].layers[:-1], layers[1].layers[:-1], strict=True):
        np.testing.assert_array_equal(a.weights, b.weights)


@pytest.mark.parametrize("changes", [
    {}, {"loss": "softmax"}, {"sampling": "topk"}, {"beta_2": 0.99999},
    {"solver": "adagrad", "learning_rate_init": 0.05},
    {"solver": "sgd", "learning_rate_init": 2.0, "dropout": 0.5},
], ids=str)
def test_accuracy_is_that_of_float32(extreme, changes):
    X, Y = extreme
    found = {}
    for dtype in ("float32", "bfloat16"):
        models = [small(hidden_layer_sizes=(32,), max_iter=8, dtype=dtype, random_state=seed,
                        ranker=None, **changes).fit(X[:2000], Y[:2000]) for seed in range(3)]
        found[dtype] = (np.mean([precision_at_1(model, X[2000:], Y[2000:]) for model in models]),
                        np.mean([model.loss_ for model in models]))
    assert found["bfloat16"][0] > found["float32"][0] - 0.02
    assert found["bfloat16"][1] == pytest.approx(found["float32"][1], rel=0.03)
    assert found["float32"][0] > 0.2


def test_steps_far_below_the_resolution_add_up(tiny):
    """A rate at which no single step changes a weight of this size under rounding to nearest."""
    X, Y = tiny
    settings = dict(solver="sgd", learning_rate="constant", dropout=0.0, shuffle=False,
                    learning_rate_init=1e-4, max_iter=400, batch_size=12, calibrate=False,
                    hidden_layer_sizes=(64,), n_random=4, ranker=None)
    before = {}
    for dtype in ("float32", "bfloat16"):
        before[dtype] = [small(**{**settings, "max_iter": n, "dtype": dtype}).fit(X, Y).coefs_[-1]
                         for n in (1, 400)]
    moved = before["float32"][1] - before["float32"][0]
    found = before["bfloat16"][1] - before["bfloat16"][0]
    assert np.corrcoef(moved.ravel(), found.ravel())[0, 1] > 0.2
    slope = (moved * found).sum() / (moved**2).sum()
    assert slope == pytest.approx(1, abs=0.35)


def test_partial_fit_and_warm_start_go_on(extreme):
    X, Y = extreme[0][:300], extreme[1][:300]
    model = small(dtype="bfloat16", warm_start=True).fit(X, Y)
    kept = snapshot(model)
    state = model._optimizer_state[-1][1]
    model.partial_fit(X, Y)
    assert model._optimizer_state[-1][1] is state  # not begun anew
    assert model._coefs[-1].dtype == np.uint16
    assert (model._coefs[-1] != kept["_coefs"][-1]).any()
    assert model.fit(X, Y)._coefs[-1].dtype == np.uint16
    assert model.n_iter_ == 5


@pytest.mark.parametrize(("first", "second", "stored"), [("float32", "bfloat16", np.uint16),
                                                         ("bfloat16", "float32", np.float32)])
def test_another_dtype_converts_what_was_learnt(extreme, first, second, stored):
    X, Y = extreme[0][:300], extreme[1][:300]
    model = small(dtype=first, warm_start=True, learning_rate_init=1e-9).fit(X, Y)
    before = model.coefs_[-1].copy()
    model.set_params(dtype=second)
    assert model.predict_topk(X, k=2)[0].shape == (300, 2)  # nothing happens before training
    model.partial_fit(X, Y)
    assert model._coefs[-1].dtype == stored
    assert {a.dtype for a in model._optimizer_state[-1][:2]} == {np.dtype(stored)}
    np.testing.assert_allclose(model.coefs_[-1], before, rtol=2.0**-7)


def test_early_stopping_restores_the_best(extreme):
    X, Y = extreme[0][:400], extreme[1][:400]
    settings = dict(dtype="bfloat16", early_stopping=True, learning_rate_init=0.5, tol=0.0,
                    learning_rate="constant", n_iter_no_change=3)
    model = small(max_iter=8, **settings).fit(X, Y)
    best = int(np.argmax(model.validation_scores_)) + 1
    assert best < len(model.validation_scores_)
    again = small(max_iter=best, **settings).fit(X, Y)
    assert_same_state(again.coefs_, model.coefs_)


def test_the_monitor_sees_numbers(tiny):
    seen = []

    def monitor(i, model, row):
        seen.append(model.coefs_[-1].copy())
        model.predict_topk(tiny[0], k=2)

    model = small(dtype="bfloat16").fit(*tiny, monitor=monitor)
    assert_same_model(model, small(dtype="bfloat16").fit(*tiny))
    assert len(seen) == 2 and (seen[0] != seen[1]).any()
    np.testing.assert_array_equal(seen[1], model.coefs_[-1])


def test_divergence_is_noticed(extreme):
    X, Y = extreme[0][:300], extreme[1][:300]
    model = SlideClassifier((16,), dtype="bfloat16", solver="sgd", learning_rate_init=1e38,
                            random_state=0)
    with pytest.raises(ValueError, match="diverged"):
        model.fit(X, Y)
    assert not hasattr(model, "coefs_")
