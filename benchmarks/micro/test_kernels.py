"""Wall time of single kernels at the shapes of a training batch.

    python -m pytest benchmarks/micro --benchmark-columns=min,median,rounds --benchmark-autosave
    python -m pytest benchmarks/micro --benchmark-compare --benchmark-compare-fail=min:10%

Needs pytest-benchmark. Compare minima: on a busy machine the rest is noise, and where even they
are, `instructions.py` counts.
"""

import numpy as np
import pytest
from roofline import BATCH, Batch

from slidelearn._grouping import group_batches
from slidelearn._kernels import (
    _dense,
    _hashing,
    _loss,
    _sampling,
    _simd,
    _sparse_block,
    _tables,
    _topk,
)

THREADS = [1, 2]
N_CLASSES, N_SHARED, WIDTH = 50_000, 1000, 256
N_LABELS = 5


@pytest.fixture(scope="module")
def batch():
    return Batch(N_CLASSES, N_SHARED, WIDTH)


@pytest.fixture(scope="module")
def labels():
    """(indptr, indices, rows) of one batch: labels among the first classes of the shared part."""
    rng = np.random.default_rng(0)
    indices = [np.sort(rng.choice(N_SHARED, N_LABELS, replace=False)) for _ in range(BATCH)]
    return (np.arange(BATCH + 1) * N_LABELS, np.concatenate(indices).astype(np.int32),
            np.arange(BATCH))


@pytest.mark.parametrize("n_threads", THREADS)
@pytest.mark.parametrize("kernel", ["block_logits", "quantised", "matmul"])
def test_block(benchmark, batch, kernel, n_threads):
    benchmark(getattr(batch, kernel)(n_threads))


@pytest.mark.parametrize("n_threads", THREADS)
@pytest.mark.parametrize("kernel", ["update_block", "gather_rows", "update_rows"])
def test_rows(benchmark, batch, kernel, n_threads):
    benchmark.pedantic(getattr(batch, kernel)(n_threads), setup=lambda: ((batch.rows(),), {}),
                       rounds=200, warmup_rounds=5)


@pytest.fixture
def pairs(batch):
    """Gradients of which a tenth is large, and room for the pairs of `sparsify`."""
    delta = batch.rng.choice([1e-4, 1], (BATCH, N_SHARED), p=[0.9, 0.1]).astype(np.float32)
    room = (np.empty(BATCH, np.int64), np.empty((BATCH, N_SHARED), np.int32),
            np.empty((BATCH, N_SHARED), np.float32))
    arguments = delta, N_SHARED, np.full(BATCH, 0.01, np.float32), 1, *room
    _sparse_block.sparsify(*arguments, 1)
    return arguments


@pytest.mark.parametrize("n_threads", THREADS)
def test_sparsify(benchmark, pairs, n_threads):
    benchmark(_sparse_block.sparsify, *pairs, n_threads)


@pytest.mark.parametrize("n_threads", THREADS)
def test_multiply_pairs(benchmark, batch, pairs, n_threads):
    benchmark(_sparse_block.multiply_pairs, *pairs[4:], batch.block, batch.gradient, n_threads)


@pytest.mark.parametrize("n_threads", THREADS)
def test_update_pairs(benchmark, batch, pairs, n_threads):
    n_pairs = pairs[4].sum()
    scratch = (np.empty((n_threads, WIDTH), np.float32), np.empty(n_pairs, np.int32),
               np.empty(n_pairs, np.float32), np.empty((n_threads, BATCH), np.int64),
               np.empty((n_threads, 2 * N_SHARED + 1), np.int32))

    def update(ids):
        _sparse_block.update_pairs(*pairs[4:], batch.hidden, ids, batch.optimizer, *batch.layer,
                                   *batch.bias, *scratch, n_threads)

    benchmark.pedantic(update, setup=lambda: ((batch.rows(),), {}), rounds=200, warmup_rounds=5)


@pytest.mark.parametrize("n_threads", THREADS)
def test_combine_rows(benchmark, batch, n_threads):
    kernel = batch.combine_rows(n_threads)
    ids = batch.rng.integers(0, N_CLASSES, BATCH * 75, dtype=np.int32)
    benchmark(kernel, ids)


def test_relu_dropout(benchmark, batch):
    benchmark(_dense.relu_dropout, batch.hidden.copy(), 1, 0.5, 1)


@pytest.mark.parametrize("loss", ["sigmoid", "softmax"])
def test_loss(benchmark, batch, labels, loss):
    indptr, indices, rows = labels
    slot = np.full(N_CLASSES, -1, np.int32)
    slot[:N_SHARED] = np.arange(N_SHARED)
    logits = batch.rng.standard_normal((BATCH, N_SHARED), dtype=np.float32)
    kernel = {"sigmoid": _loss.sigmoid_loss, "softmax": _loss.softmax_loss}[loss]
    weight, out = np.full(BATCH, 1 / BATCH, np.float32), np.empty(BATCH)
    nothing = np.zeros(BATCH + 1, np.int64), np.empty(0, np.float32)
    ones = np.ones(len(indices), np.float32)

    def fresh():
        return (indptr, indices, ones, rows, slot, weight, N_SHARED, logits.copy(), *nothing, out,
                1), {}

    benchmark.pedantic(kernel, setup=fresh, rounds=200, warmup_rounds=5)


def test_draw_shared(benchmark, labels):
    indptr, indices, rows = labels
    slots = np.full((1, N_CLASSES), -1, np.int32)
    shared, n_shared = np.empty((1, BATCH * N_LABELS + 300), np.int32), np.empty(1, np.int64)
    benchmark(_sampling.draw_shared, indptr, indices, rows, BATCH, 300, 1, 0, slots, shared,
              n_shared, 1)


def test_group_batches(benchmark):
    rng = np.random.default_rng(0)
    nnz = BATCH * 75
    indptr, indices = np.arange(BATCH + 1) * 75, rng.integers(0, 100_000, nnz, dtype=np.int32)
    slots = np.full((1, 100_000), -1, np.int32)
    benchmark(group_batches, indptr, indices, np.arange(BATCH), BATCH, slots)


@pytest.mark.parametrize("n_threads", THREADS)
def test_exact_topk(benchmark, batch, n_threads):
    block = 64
    hidden = np.ascontiguousarray(batch.hidden.reshape(-1, block, WIDTH).swapaxes(1, 2))
    weights, bias = batch.layer[0], batch.bias[0]
    logits = np.empty((n_threads, _topk.CLASS_BLOCK * block), np.float32)

    def fresh():
        scores = np.full((1, len(hidden), block, 5), -np.inf, np.float32)
        ids = np.full(scores.shape, np.iinfo(np.int32).max, np.int32)
        return (hidden, weights, bias, 0, N_CLASSES, 1, logits, scores, ids, n_threads), {}

    benchmark.pedantic(_topk.exact_topk, setup=fresh, rounds=10, warmup_rounds=1)


def test_column_means(benchmark, batch):
    benchmark(_hashing.column_means, batch.layer[0], np.empty(WIDTH), 1)


def test_build_tables(benchmark):
    slots = np.random.default_rng(0).integers(0, 512, (10, 10_000), dtype=np.int32)
    arguments = (slots, 128, False, np.zeros(10, np.uint64), np.zeros((1, 512), np.int32),
                 np.zeros((10, 513), np.int32), np.zeros((10, 10_000), np.int32), 1)
    benchmark(_tables.build_tables, *arguments)


@pytest.mark.parametrize("solver", ["sgd", "adagrad", "adam", "rmsprop"])
def test_step(benchmark, solver):
    g, w, m, v = (np.full(WIDTH * 100, 1e-3, np.float32) for _ in range(4))
    benchmark(_simd.step, _simd.Optimizer(solver, 1e-3, 1), g, w, m, v)
