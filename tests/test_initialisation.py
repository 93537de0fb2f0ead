"""Where training starts: random weights, and features placed by the labels of their samples."""

import numpy as np
import pytest
import scipy.sparse as sp

from slidelearn import SlideClassifier, _initialisation
from slidelearn._bfloat16 import as_float32
from slidelearn._initialisation import ACTIVATION_SCALE, index_features, initialise
from slidelearn._validation import CSR

N, N_FEATURES, N_CLASSES = 70, 40, 30


def random_csr(rng, n_columns, mean):
    """Some rows are empty, some columns, too."""
    matrix = sp.random(N, n_columns, mean / n_columns, "csr", random_state=rng)
    matrix.data[:] = rng.standard_normal(matrix.nnz)
    return CSR(matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32),
               matrix.data.astype(np.float32), matrix.shape)


def dense(matrix):
    return sp.csr_matrix((matrix.data.astype(float), matrix.indices, matrix.indptr),
                         matrix.shape).toarray()


def expected_direction(network, X, labels, weight):
    """What is added to the input layer, up to its scale: plain numpy in float64."""
    codes = as_float32(network.output.weights).astype(float)
    for layer in reversed(network.middle):
        codes = codes @ layer.weights.T.astype(float)
    contexts = dense(labels) @ codes
    contexts -= np.average(contexts, axis=0, weights=weight)
    return dense(X).T @ (weight[:, None] * contexts)


@pytest.fixture(params=[((12,), "float32"), ((12,), "bfloat16"), ((9, 14, 5), "float32"),
                        ((9, 5), "bfloat16")], ids=str)
def setting(request):
    widths, dtype = request.param
    rng = np.random.default_rng(0)
    X, labels = random_csr(rng, N_FEATURES, 5), random_csr(rng, N_CLASSES, 2)
    labels.data[:] = np.abs(labels.data)
    weight = rng.random(N).astype(np.float32)
    weight[::7] = 0
    network = initialise(N_FEATURES, widths, np.zeros(N_CLASSES), np.random.RandomState(1), dtype)
    return network, X, labels, weight


@pytest.mark.parametrize("chunk", [1, 16, 1000])
@pytest.mark.parametrize("n_threads", [1, 3])
def test_features_are_sums_of_label_rows(setting, chunk, n_threads, monkeypatch):
    network, X, labels, weight = setting
    monkeypatch.setattr(_initialisation, "CHUNK", chunk)
    random = network.copy()
    index_features(network, X, labels, weight, n_threads)
    for before, after in zip(random.layers[1:], network.layers[1:], strict=True):
        np.testing.assert_array_equal(before.weights, after.weights)
    change = (network.input.weights - random.input.weights).astype(float)
    direction = expected_direction(random, X, labels, weight.astype(float))
    scale = (change * direction).sum() / (direction * direction).sum()
    np.testing.assert_allclose(change, scale * direction, atol=1e-5 * np.abs(change).max())
    assert np.log2(scale) == pytest.approx(np.round(np.log2(scale)), abs=1e-4)
    hidden = dense(X)[weight > 0] @ change
    size = np.sqrt((hidden**2).mean())
    assert ACTIVATION_SCALE / 2**0.51 < size < ACTIVATION_SCALE * 2**0.51


def test_any_number_of_threads_gives_the_same_bits(setting, monkeypatch):
    network, X, labels, weight = setting
    monkeypatch.setattr(_initialisation, "CHUNK", 16)
    other = network.copy()
    index_features(network, X, labels, weight, 1)
    index_features(other, X, labels, weight, 3)
    np.testing.assert_array_equal(network.input.weights, other.input.weights)


def test_no_more_samples_are_measured_than_there_need_be(setting, monkeypatch):
    network, X, labels, weight = setting
    monkeypatch.setattr(_initialisation, "MAX_MEASURED", 5)
    measured = []
    combine_rows = _initialisation._rows.combine_rows

    def recorded(indptr, indices, data, rows, *rest):
        measured.append(rows)
        combine_rows(indptr, indices, data, rows, *rest)

    monkeypatch.setattr(_initialisation._rows, "combine_rows", recorded)
    index_features(network, X, labels, weight, 1)
    (rows,) = measured
    assert len(rows) == 5 and (weight[rows] > 0).all()
    assert rows[-1] > N // 2


@pytest.mark.parametrize("what", ["no features", "no labels", "all the same labels", "overflow"])
def test_nothing_to_tell(setting, what):
    """What would be 0, or too large for float32, is left out."""
    network, X, labels, weight = setting
    if what == "no features":
        X.data[:] = 0
    elif what == "no labels":
        labels.data[:] = 0
    elif what == "all the same labels":
        labels = CSR(3 * np.arange(N + 1), np.tile(np.int32([2, 5, 7]), N),
                     np.ones(3 * N, np.float32), (N, N_CLASSES))
    else:
        X.data[:] = 3e38
    random = network.copy()
    index_features(network, X, labels, weight, 2)
    np.testing.assert_array_equal(network.input.weights, random.input.weights)


def start(X, Y, sample_weight=None, **parameters):
    """Input weights before the first epoch, or all but."""
    model = SlideClassifier(hidden_layer_sizes=(16,), max_iter=1, learning_rate_init=1e-30,
                            random_state=0, ranker=None, **parameters)
    return model.fit(X, Y, sample_weight).coefs_[0]


def test_init_of_the_classifier(extreme):
    X, Y = extreme[0][:500], extreme[1][:500]
    random, placed = start(X, Y, init="random"), start(X, Y)
    assert random.std() == pytest.approx(0.02, rel=0.05)
    hidden = X @ (placed - random)
    assert ACTIVATION_SCALE / 2 < np.sqrt((hidden**2).mean()) < ACTIVATION_SCALE * 2
    partial = SlideClassifier(hidden_layer_sizes=(16,), learning_rate_init=1e-30, random_state=0)
    np.testing.assert_array_equal(partial.partial_fit(X, Y).coefs_[0], random)


def test_samples_that_are_not_trained_on_do_not_count(extreme):
    X, Y = extreme[0][:500], extreme[1][:500].tolil()
    weight = np.ones(500)
    weight[:50] = 0
    before = start(X, Y.tocsr(), sample_weight=weight)
    Y[:50] = Y[50:100]
    np.testing.assert_array_equal(start(X, Y.tocsr(), sample_weight=weight), before)
