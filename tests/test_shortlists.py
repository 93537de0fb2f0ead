"""Shortlists from products of bytes: the best by logits of rounded rows, whatever the order."""

import numpy as np
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from slidelearn import _prediction, _shortlists
from slidelearn._bfloat16 import as_dtype, as_float32
from slidelearn._kernels import _quantised
from slidelearn._network import Layer, Network
from slidelearn._validation import canonical_csr
from tests import reference
from tests.levels import SEEDS, at_every_level, frozen

QUICK = settings(max_examples=30, deadline=None)


def best(output, hidden, k, n_threads):
    search = _shortlists._Search(output, hidden.mean(axis=0), k, n_threads)
    return search.run(hidden)


def check(output, hidden, k):
    weights = as_float32(output.weights)
    expected = reference.topk(reference.quantised_block_logits(hidden, weights, output.bias), k)
    found = at_every_level(lambda n_threads: best(output, hidden, k, n_threads), threads=(1, 3))
    for classes, enough in found.values():
        assert enough.all()
        np.testing.assert_array_equal(classes, expected)


@QUICK
@given(n=st.sampled_from([1, 11, 13, 40]), n_classes=st.sampled_from([64, 65, 100, 300, 1000]),
       width=st.sampled_from([1, 3, 16, 37]), k=st.sampled_from([1, 2, 33, 64]), seed=SEEDS,
       dtype=st.sampled_from(["float32", "bfloat16"]))
def test_the_best_by_rounded_logits(n, n_classes, width, k, seed, dtype):
    rng = np.random.default_rng(seed)
    weights = as_dtype(frozen(rng.standard_normal((n_classes, width))), dtype)
    check(Layer(weights, frozen(rng.standard_normal(n_classes))),
          frozen(np.maximum(rng.standard_normal((n, width)), 0)), k)


@QUICK
@given(n_values=st.sampled_from([1, 2, 5]), k=st.sampled_from([1, 5, 64]), seed=SEEDS)
def test_of_equal_logits_the_smaller_class(n_values, k, seed):
    """More of them than there is room for candidates."""
    rng = np.random.default_rng(seed)
    bias = rng.integers(0, n_values, 700)
    check(Layer(frozen(np.ones((700, 4))), frozen(bias)), frozen(np.ones((25, 4))), k)


def test_many_small_blocks(monkeypatch):
    monkeypatch.setattr(_shortlists, "KERNEL_WORK", 1)
    monkeypatch.setattr(_shortlists, "CHUNK_FLOATS", 100)
    rng = np.random.default_rng(0)
    check(Layer(frozen(rng.standard_normal((500, 20))), frozen(rng.standard_normal(500))),
          frozen(np.abs(rng.standard_normal((100, 20)))), 64)


def setting(n_classes=3000, spoil=()):
    """A network whose first layer hands X on, X being activations."""
    rng = np.random.default_rng(0)
    X = np.abs(rng.standard_normal((50, 24)))
    X[list(spoil)] = 1e38
    identity = Layer(np.eye(24, dtype=np.float32) * 10, np.zeros(24, np.float32))
    output = Layer(frozen(rng.standard_normal((n_classes, 24))), frozen(np.zeros(n_classes)))
    matrix = canonical_csr(sp.csr_array(X.astype(np.float32)))
    labels = canonical_csr(sp.csr_array((50, n_classes), dtype=np.float32))
    return Network([identity, output]), matrix, labels


def test_nearly_the_exact_ones():
    network, X, labels = setting()
    rows = np.arange(50)
    near = _shortlists.shortlists(network, X, labels, rows, 0, 2)
    exact, _ = _prediction.exact_topk(network, X, rows, 64, 1)
    assert near.shape == exact.shape
    assert (near != exact).any()
    shared = [len(np.intersect1d(a, b)) for a, b in zip(near, exact, strict=True)]
    assert np.mean(shared) > 0.97 * 64
    assert (near[:, 0] == exact[:, 0]).mean() > 0.9


def test_samples_whose_logits_overflow_are_scored_by_floats():
    """One activation of 1e39 is infinite, and no logit of the row a number."""
    network, X, labels = setting(spoil=[7, 30])
    rows = np.arange(50)
    near = _shortlists.shortlists(network, X, labels, rows, 0, 2)
    exact, _ = _prediction.exact_topk(network, X, rows, 64, 1)
    np.testing.assert_array_equal(near[[7, 30]], exact[[7, 30]])
    assert (np.sort(near, axis=1)[:, :-1] < np.sort(near, axis=1)[:, 1:]).all()


def test_very_wide_layers_are_scored_by_floats(monkeypatch):
    assert 127**2 * _quantised.MAX_WIDTH < 2**31
    network, X, labels = setting()
    rows = np.arange(50)
    exact, _ = _prediction.exact_topk(network, X, rows, 64, 1)
    for width in (23, 24):
        monkeypatch.setattr(_quantised, "MAX_WIDTH", width)
        found = _shortlists.shortlists(network, X, labels, rows, 0, 2)
        assert np.array_equal(found, exact) == (width == 23)


def test_few_classes_are_scored_by_floats():
    network, X, labels = setting(_shortlists.MIN_CLASSES - 1)
    rows = np.arange(3, 50)
    exact, _ = _prediction.exact_topk(network, X, rows, 64, 1)
    np.testing.assert_array_equal(_shortlists.shortlists(network, X, labels, rows, 0, 2), exact)
