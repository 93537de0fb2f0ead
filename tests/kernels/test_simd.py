"""Leaf functions: close to float64, the same bits with 8 and with 16 lanes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slidelearn._kernels import _simd
from tests import reference
from tests.levels import SEEDS, SIZES, at_every_level, frozen, guarded

EPS = np.finfo(np.float32).eps
MANY = settings(max_examples=60, deadline=None)


def test_levels():
    levels = _simd.available_levels()
    assert levels[0] == "scalar"
    before = _simd.get_level()
    assert before in levels
    with pytest.raises(ValueError, match=r"'mmx' is not available here; available: scalar"):
        _simd.set_level("mmx")
    assert _simd.get_level() == before


@MANY
@given(n=SIZES, seed=SEEDS)
def test_axpy(n, seed):
    rng = np.random.default_rng(seed)
    a = np.float32(rng.standard_normal())
    x, start = frozen(rng.standard_normal(n)), rng.standard_normal(n).astype(np.float32)

    def run(n_threads):
        y, check = guarded(start)
        _simd.axpy(a, x, y)
        check()
        return (y,)

    exact = np.float64(a) * x + start
    for (y,) in at_every_level(run, (1,)).values():
        np.testing.assert_allclose(y, exact, rtol=0, atol=EPS * (1 + np.abs(exact).max(initial=0)))


@MANY
@given(n=SIZES, seed=SEEDS)
def test_dot_and_maximum(n, seed):
    rng = np.random.default_rng(seed)
    x, y = frozen(rng.standard_normal((2, n)))
    products = x.astype(np.float64) * y

    def run(n_threads):
        return np.float32(_simd.dot(x, y)), np.float32(_simd.maximum(x))

    for dot, maximum in at_every_level(run, (1,)).values():
        assert abs(dot - products.sum()) <= 8 * EPS * np.abs(products).sum()
        assert maximum == x.max(initial=-np.inf)


@MANY
@given(n=SIZES, seed=SEEDS, scale=st.sampled_from([0.1, 5.0, 40.0, 1000.0]))
def test_exp_sum(n, seed, scale):
    z = (scale * np.random.default_rng(seed).standard_normal(n)).astype(np.float32)
    shift = z.max(initial=0)

    def run(n_threads):
        out, check = guarded(z)
        total = _simd.exp_sum(shift, out)
        check()
        return out, np.float64(total)

    exact = np.exp(np.maximum(np.float64(z - shift), -87))
    for out, total in at_every_level(run, (1,)).values():
        np.testing.assert_allclose(out, exact, rtol=2 * EPS)
        np.testing.assert_allclose(total, out.sum(dtype=np.float64), rtol=1e-14)


@MANY
@given(n=SIZES, seed=SEEDS, scale=st.sampled_from([0.1, 5.0, 40.0, 1000.0]))
def test_sigmoid_sum(n, seed, scale):
    z = (scale * np.random.default_rng(seed).standard_normal(n)).astype(np.float32)

    def run(n_threads):
        out, check = guarded(z)
        total = _simd.sigmoid_sum(out)
        check()
        return out, np.float64(total)

    for out, total in at_every_level(run, (1,)).values():
        np.testing.assert_allclose(out, reference.sigmoid(np.maximum(z, -87)), rtol=4 * EPS)
        assert (out > 0).all()
        exact = reference.log1p_exp(z)
        np.testing.assert_allclose(total, exact.sum(), rtol=4 * EPS, atol=1e-37 * n)


@pytest.mark.parametrize("n", [1, 7, 8, 16, 17, 70])
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_what_is_not_finite_reaches_the_sums(n, value):
    for place in {0, n // 2, n - 1}:
        z = np.zeros(n, np.float32)
        z[place] = value

        def run(n_threads, z=z):
            a, b = z.copy(), z.copy()
            return np.isnan(_simd.exp_sum(0, a)), np.float64(_simd.sigmoid_sum(b)), np.isnan(a)

        for exp_is_nan, log_sum, where in at_every_level(run, (1,)).values():
            assert exp_is_nan == np.isnan(value)
            assert (where == np.isnan(z)).all()
            np.testing.assert_allclose(log_sum, reference.log1p_exp(z).sum(), rtol=1e-6,
                                       atol=1e-37)


@MANY
@given(n=SIZES, seed=SEEDS, solver=st.sampled_from(list(reference.KEPT)),
       t=st.sampled_from([1, 2, 1000, 10**9]))
def test_step(n, seed, solver, t):
    rng = np.random.default_rng(seed)
    g, w, m = rng.standard_normal((3, n)).astype(np.float32)
    v = rng.random(n, dtype=np.float32)
    if solver == "adagrad":
        m = np.abs(m)
    g[rng.random(n) < 0.2] = 0
    g = frozen(g)
    settings = solver, 0.01, t

    def run(n_threads):
        arrays = [guarded(a if i in reference.KEPT[solver] else [])
                  for i, a in enumerate((w, m, v))]
        _simd.step(_simd.Optimizer(*settings), g, *(array for array, _ in arrays))
        for _, check in arrays:
            check()
        return tuple(array for array, _ in arrays)

    expected = [array.astype(np.float64) for array in (w, m, v)]
    reference.Optimizer(*settings).step(g, *expected)
    for stepped in at_every_level(run, (1,)).values():
        for array, wanted in zip(stepped, expected, strict=True):
            if array.size:
                # v loses digits where it is far smaller than g^2
                np.testing.assert_allclose(array, wanted, rtol=1e-5, atol=3e-5)


@pytest.mark.parametrize("gradient", [0.0, 1e-45, 1e-30, 1e-24, 1e-22, 1e-20, 1e-18])
@pytest.mark.parametrize("solver", ["adagrad", "adam", "rmsprop"])
def test_tiny_gradients_and_no_epsilon(solver, gradient):
    """No step is longer than a few times the rate, though squares underflow."""
    for beta_2 in (0.0, 0.999, 0.9999):
        w, m, v = np.zeros((3, 20), np.float32)
        optimizer = _simd.Optimizer(solver, 0.1, 1, beta_2=beta_2, epsilon=1e-60)
        _simd.step(optimizer, np.full(20, gradient, np.float32), w, m, v)
        assert (np.abs(w) <= 0.2).all()
        if gradient == 0:
            assert (w == 0).all()


@settings(max_examples=100, deadline=None)
@given(rows=SIZES, columns=SIZES, depth=st.sampled_from([0, 1, 2, 17, 64]), seed=SEEDS,
       layout=st.sampled_from(["C", "F", "strided", "reversed"]), integers=st.booleans())
def test_gemm(rows, columns, depth, seed, layout, integers):
    rng = np.random.default_rng(seed)

    def draw(*shape):
        values = rng.integers(-4, 5, shape) if integers else rng.standard_normal(shape)
        return values.astype(np.float32)

    a, b, start = draw(rows, depth), frozen(draw(depth, columns)), draw(rows, columns)
    exact = a.astype(np.float64) @ b + start
    if layout == "strided":
        a = np.repeat(np.repeat(a, 2, axis=0), 3, axis=1)[::2, ::3]
    elif layout == "reversed":
        a = a[::-1, ::-1].copy()[::-1, ::-1]
    else:
        a = np.array(a, order=layout)
    a.flags.writeable = False

    def run(n_threads):
        c, check = guarded(start)
        _simd.gemm(a, b, c)
        check()
        return (c,)

    for (c,) in at_every_level(run, (1,)).values():
        if integers:
            np.testing.assert_array_equal(c, exact)
        else:
            np.testing.assert_allclose(c, exact, rtol=0, atol=EPS * 20 * (1 + depth))


def test_gemm_is_one_chain_for_each_element():
    rng = np.random.default_rng(0)
    a, b = frozen(rng.standard_normal((7, 50))), frozen(rng.standard_normal((50, 9)))
    start = rng.standard_normal((7, 9)).astype(np.float32)

    def run(n_threads):
        c = start.copy()
        _simd.gemm(a, b, c)
        return (c,)

    expected = [[reference.chain(start[i, j], a[i], b[:, j]) for j in range(9)] for i in range(7)]
    np.testing.assert_array_equal(at_every_level(run, (1,))["scalar"][0], expected)
