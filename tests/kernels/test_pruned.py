"""Pruned search: the same bits as the search that scores every class."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slidelearn import _prediction, _pruning
from slidelearn._kernels import _pruned, _simd
from slidelearn._network import Layer, Network
from tests import reference
from tests.kernels.test_topk import all_logits
from tests.levels import SEEDS, at_every_level, frozen

QUICK = settings(max_examples=30, deadline=None)
WIDTHS = st.sampled_from([1, 2, 3, 4, 5, 15, 16, 17, 33, 64, 129])
N_CLASSES = st.sampled_from([1, 2, 31, 32, 33, 64, 65, 200, 1000])
KINDS = ("normal", "integers", "equal", "zero", "one axis", "tiny", "denormal", "huge", "mixed",
         "outliers", "inf", "nan")


def draw_matrix(rng, shape, kind):
    """Float32 numbers of some kind."""
    x = rng.standard_normal(shape)
    if kind == "integers":
        x = rng.integers(-2, 3, shape)
    elif kind == "equal":
        x = np.broadcast_to(x[:1], shape)
    elif kind == "zero":
        x = np.zeros(shape)
    elif kind == "one axis":
        x = x * (np.arange(shape[-1]) == shape[-1] // 2)
    elif kind == "mixed":  # a row each
        x = x * 10.0 ** rng.integers(-44, 30, (shape[0], *[1] * (len(shape) - 1)))
    elif kind == "outliers":
        x = np.where(rng.random(shape) < 0.05, 1e6 * x, x)
    elif kind in ("inf", "nan"):
        x = np.where(rng.random(shape) < 0.02, {"inf": -np.inf, "nan": np.nan}[kind], x)
    return frozen(x * {"tiny": 1e-18, "denormal": 1e-40, "huge": 1e18}.get(kind, 1.0))


def pruned_topk(hidden, weights, bias, k, n_threads):
    network = Network([Layer(weights, bias)])
    layer = _pruning.prune(network.output, hidden, n_threads)
    classes, scores, usable = _pruning.topk(layer, hidden, k, n_threads)
    rest = np.flatnonzero(~usable)
    if len(rest):
        classes[rest], scores[rest] = _prediction.topk_of_activations(network, hidden[rest], k,
                                                                      n_threads)
    return classes, scores, usable


@QUICK
@given(n=st.sampled_from([1, 2, 11, 12, 13, 40, 130]), n_classes=N_CLASSES, width=WIDTHS,
       seed=SEEDS, kinds=st.tuples(*3 * [st.sampled_from(KINDS)]),
       share=st.sampled_from([0.0, 0.02, 0.5, 1.0]))
def test_same_bits_as_without_pruning(n, n_classes, width, seed, kinds, share):
    rng = np.random.default_rng(seed)
    hidden = np.abs(draw_matrix(rng, (n, width), kinds[0]))
    weights = draw_matrix(rng, (n_classes, width), kinds[1])
    bias = draw_matrix(rng, (n_classes,), kinds[2])
    k = max(1, int(share * n_classes))

    def run(n_threads):
        network = Network([Layer(weights, bias)])
        plain = _prediction.topk_of_activations(network, hidden, k, n_threads)
        found = pruned_topk(hidden, weights, bias, k, n_threads)
        for a, b in zip(plain, found, strict=False):
            assert a.tobytes() == b.tobytes()
        return found

    at_every_level(run, threads=(1, 3))


@QUICK
@given(n=st.sampled_from([1, 5, 30]), width=WIDTHS, seed=SEEDS, strong=st.booleans(),
       k=st.sampled_from([1, 5, 64]))
def test_equals_stable_sort_of_all_logits(n, width, seed, strong, k):
    rng = np.random.default_rng(seed)
    spectrum = 0.9 ** np.arange(width)
    weights = frozen(rng.standard_normal((700, width)) * spectrum)
    hidden = frozen(np.maximum(rng.standard_normal((n, width)) + 0.5, 0) * spectrum)
    bias = frozen(rng.standard_normal(700) * (3 if strong else 0.1))

    def run(n_threads):
        classes, scores, usable = pruned_topk(hidden, weights, bias, k, n_threads)
        assert usable.all()
        return classes, scores, all_logits(hidden, weights, bias)

    for classes, scores, logits in at_every_level(run, threads=(1, 2)).values():
        expected = reference.topk(logits, k)
        np.testing.assert_array_equal(classes, expected)
        np.testing.assert_array_equal(scores, np.take_along_axis(logits, expected, 1))


@QUICK
@given(n=st.sampled_from([1, 7, 12, 33]), groups=st.integers(1, 9), data=st.data(), seed=SEEDS,
       lanes=st.sampled_from([1, _pruned.SAMPLES, _pruned.CLASSES]),
       kind=st.sampled_from(KINDS[:10]))
def test_quantise(n, groups, data, seed, lanes, kind):
    depth, split = 4 * groups, 4 * data.draw(st.integers(0, groups))
    rng = np.random.default_rng(seed)
    x = draw_matrix(rng, (n, depth), kind)
    n_padded = -(-n // lanes) * lanes

    def run(n_threads):
        codes, stats = np.zeros(n_padded * depth, np.uint8), np.zeros((n, 2, 5))
        _pruned.quantise(x, split, lanes, 128, codes, stats, n_threads)
        return codes, stats

    for codes, stats in at_every_level(run, threads=(1, 2)).values():
        whole = codes.reshape(-1, groups, lanes, 4).swapaxes(1, 2).reshape(n_padded, depth)[:n]
        whole = whole.astype(int) - 128
        assert np.abs(whole).max(initial=0) <= 127
        for side, part in enumerate((slice(0, split), slice(split, depth))):
            scale, length, lost, kept, total = stats[:, side].T
            exact, q = x[:, part].astype(np.float64), whole[:, part]
            near = scale[:, None] * q
            np.testing.assert_allclose(length, np.linalg.norm(exact, axis=1), rtol=1e-12)
            np.testing.assert_allclose(lost, np.linalg.norm(exact - near, axis=1), rtol=1e-9)
            np.testing.assert_allclose(kept, np.linalg.norm(near, axis=1), rtol=1e-12)
            np.testing.assert_array_equal(total, q.sum(axis=1))
            normal = scale > 1e-30
            assert (np.abs(exact - near)[normal] <= 0.501 * scale[normal, None]).all()


@QUICK
@given(width=WIDTHS, seed=SEEDS, kinds=st.tuples(*3 * [st.sampled_from(KINDS[:5])]))
def test_bounds_hold(width, seed, kinds):
    """The second bound minus twice the margin, the score in many digits, and the two bounds."""
    rng = np.random.default_rng(seed)
    hidden = np.abs(draw_matrix(rng, (24, width), kinds[0]))
    weights, bias = draw_matrix(rng, (100, width), kinds[1]), draw_matrix(rng, (100,), kinds[2])
    layer = _pruning.prune(Layer(weights, bias), hidden[:10], 1)
    codes, _, sample, usable = _pruning._query(layer, hidden, 1)
    assert usable.all()
    if not _simd.has_sample_rows():
        codes = codes.reshape(2, -1, _pruned.SAMPLES, 4).swapaxes(1, 2)
    q = codes.reshape(24, -1).astype(float)
    w = layer.codes.swapaxes(1, 2).reshape(128, -1).astype(float) - 128
    of_class = {name: layer.classes[:, i].ravel().astype(float)
                for name, i in _pruned.CLASS_NUMBERS.items()}
    of_sample = {name: sample[:, i:i + 1].astype(float)
                 for name, i in _pruned.SAMPLE_NUMBERS.items()}
    split, there = 4 * layer.groups1, layer.order.ravel() >= 0
    first = (q[:, :split] @ w[:, :split].T) * of_class["scale1"] * of_sample["scale1"]
    second = first + (q[:, split:] @ w[:, split:].T) * of_class["scale2"] * of_sample["scale2"]
    upper1 = of_class["base"] + first + of_class["bound1"] * of_sample["bound1"]
    margin = of_class["bound2"] * of_sample["bound2"]
    upper2 = of_class["base"] + second + margin
    lower2 = upper2 - 2 * (margin + of_class["slack"])
    order = layer.order.ravel()[there]
    score = hidden.astype(np.float128) @ weights.astype(np.float128).T + bias
    for exact in (score[:, order], all_logits(hidden, weights, bias)[:, order]):
        assert (exact <= upper1[:, there]).all()
        assert (exact <= upper2[:, there]).all()
        assert (exact >= lower2[:, there]).all()
    tiles = layer.order.size // _pruned.CLASSES
    for tile in range(tiles):
        of_tile = layer.order[tile][layer.order[tile] >= 0]
        limit = layer.most[tile, 0] + layer.most[tile, 1] * of_sample["norm"][:, 0]
        assert (score[:, of_tile].max(axis=1) <= limit).all()


@pytest.mark.parametrize("k", [1, 40, 300])
def test_many_candidates_are_scored_before_the_memory_runs_out(k):
    rng = np.random.default_rng(0)
    weights = np.tile(rng.standard_normal((1, 8)).astype(np.float32), (5000, 1))
    hidden = np.abs(rng.standard_normal((3, 8))).astype(np.float32)

    def run(n_threads):
        return pruned_topk(hidden, weights, np.zeros(5000, np.float32), k, n_threads)

    for classes, _, _ in at_every_level(run).values():
        np.testing.assert_array_equal(classes, np.tile(np.arange(k), (3, 1)))


def test_samples_that_cannot_be_quantised():
    rng = np.random.default_rng(0)
    hidden = np.abs(rng.standard_normal((30, 20))).astype(np.float32)
    hidden[3], hidden[7, 2], hidden[11, 5], hidden[20] = 0, np.inf, np.nan, 1e30
    weights = rng.standard_normal((300, 20)).astype(np.float32)
    layer = _pruning.prune(Layer(weights, np.zeros(300, np.float32)), hidden, 1)
    usable = _pruning.topk(layer, hidden, 3, 1)[2]
    assert np.flatnonzero(~usable).tolist() == [7, 11, 20]


def test_most_classes_of_a_layer_with_few_directions_are_ruled_out():
    rng = np.random.default_rng(0)
    spectrum = 0.8 ** np.arange(64)
    weights = (rng.standard_normal((6400, 64)) * spectrum).astype(np.float32)
    hidden = (np.abs(rng.standard_normal((48, 64))) * spectrum).astype(np.float32)
    layer = _pruning.prune(Layer(weights, np.zeros(6400, np.float32)), hidden, 1)
    logits = hidden @ weights.T
    fifth = np.sort(logits, axis=1)[:, -5]
    margins = (np.median(layer.classes[:, _pruned.CLASS_NUMBERS["bound2"]])
               * _pruning._query(layer, hidden, 1)[2][:, _pruned.SAMPLE_NUMBERS["bound2"]])
    assert (margins < 0.05 * (fifth - np.median(logits, axis=1))).all()


@pytest.mark.parametrize("level", _simd.available_levels())
def test_level_says_whether_pruning_pays(level):
    before = _simd.get_level()
    try:
        _simd.set_level(level)
        assert _pruning.pays(10**6, 5, 10**6, 128) == (level in ("avx512vnni", "amx"))
        assert not _pruning.pays(10, 5, 10**6, 128)
        assert not _pruning.pays(10**6, 5, 100, 128)
        assert not _pruning.pays(10**6, 10**5, 10**6, 128)
    finally:
        _simd.set_level(before)
