"""Data sets and helpers that several test modules share."""

import copy
import os

import hypothesis
import numpy as np
import pytest
import scipy.sparse as sp

from slidelearn import SlideClassifier
from slidelearn._history import DETERMINISTIC
from slidelearn.datasets import make_extreme_classification

# Where a change is judged, the same examples every time; elsewhere hypothesis looks for new ones.
hypothesis.settings.register_profile("fixed", derandomize=True)
if os.environ.get("CI"):
    hypothesis.settings.load_profile("fixed")


@pytest.fixture(scope="session")
def extreme():
    """A multi-label problem that can be learnt: 3,000 samples, 400 classes; X and Y are CSR."""
    X, Y = make_extreme_classification(3000, 600, 400, n_nonzeros=20, noise=0.3, random_state=0)
    return X, Y


@pytest.fixture(scope="session")
def multiclass():
    """1,500 samples with one of 60 classes each, as strings."""
    X, Y = make_extreme_classification(1500, 300, 60, n_nonzeros=15, n_labels=1, noise=0.3,
                                       random_state=1)
    names = np.array([f"class {i:02}" for i in range(60)])
    return X, names[Y.indices]


@pytest.fixture
def tiny():
    """A dozen samples with 5 features and 4 classes, CSR."""
    rng = np.random.default_rng(0)
    X = sp.csr_matrix(rng.random((12, 5), dtype=np.float32))
    Y = sp.csr_matrix((rng.random((12, 4)) < 0.4).astype(np.int64))
    return X, Y


def small(**parameters):
    """An estimator that is quick to fit."""
    return SlideClassifier(**{"hidden_layer_sizes": (16,), "max_iter": 2, "random_state": 0,
                              **parameters})


def snapshot(model):
    """A deep copy of everything that a model holds, except how long it took."""
    state = copy.deepcopy({name: value for name, value in vars(model).items()
                           if name not in ("_index", "_pruning")})
    if "history_" in state:
        state["history_"] = {name: state["history_"][name] for name in DETERMINISTIC}
    return state


def assert_same_state(found, expected):
    """Equality of two nested states, bit by bit and dtype by dtype."""
    assert type(found) is type(expected)
    if isinstance(found, np.ndarray):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected, strict=True)
    elif isinstance(found, dict):
        assert found.keys() == expected.keys()
        for key in found:
            assert_same_state(found[key], expected[key])
    elif isinstance(found, list | tuple):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same_state(one, other)
    elif isinstance(found, float) and np.isnan(found):
        assert np.isnan(expected)
    else:
        assert found == expected


def assert_same_model(found, expected):
    """Equality of the parameters and of what they were learnt by."""
    for name in ("coefs_", "intercepts_", "classes_", "calibration_", "loss_curve_", "t_"):
        assert_same_state(getattr(found, name), getattr(expected, name))


def precision_at_1(model, X, Y):
    """Share of the samples whose best class is right; Y is an indicator or labels."""
    best = model.predict_topk(X, k=1)[0][:, 0]
    if sp.issparse(Y):
        return float(np.asarray(Y.tocsr()[np.arange(len(best)), best]).mean())
    return float((best == Y).mean())
