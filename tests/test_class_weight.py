"""class_weight: what it means for labels and for indicators."""

import copy

import numpy as np
import pytest
import scipy.sparse as sp
from conftest import assert_same_model, small
from sklearn.utils.class_weight import compute_class_weight

from slidelearn._class_weight import class_weights
from slidelearn._labels import encode
from slidelearn.metrics import label_propensities

LOSSES = ["sigmoid", "softmax"]
NAN = float("nan")


@pytest.fixture(scope="module")
def data(extreme):
    return extreme[0][:800], extreme[1][:800]


@pytest.fixture(scope="module")
def labels(multiclass):
    return multiclass[0][:600], multiclass[1][:600]


def weights_of(class_weight, y, sample_weight=None, one_epoch=False):
    n = y.shape[0]
    sample_weight = np.ones(n) if sample_weight is None else sample_weight
    return class_weights(class_weight, encode(y, n), sample_weight, one_epoch)


# ---- the weights themselves --------------------------------------------------------------------

def test_balanced_labels(labels):
    y = labels[1]
    found = weights_of("balanced", y)
    np.testing.assert_allclose(found, compute_class_weight("balanced", classes=np.unique(y), y=y))


def test_balanced_counts_weighted_samples(labels):
    y = labels[1]
    repeats = np.random.default_rng(0).integers(1, 4, len(y))
    found = weights_of("balanced", y, repeats.astype(float))
    np.testing.assert_allclose(found, weights_of("balanced", np.repeat(y, repeats)))


def test_balanced_indicator(data):
    counts = np.asarray(data[1].sum(axis=0)).ravel()
    found = weights_of("balanced", data[1])
    present = counts > 0
    np.testing.assert_allclose(found[present] * counts[present], counts[present].mean())
    assert (found[~present] == 1).all()


def test_propensity(data):
    np.testing.assert_allclose(weights_of("propensity", data[1]), 1 / label_propensities(data[1]))
    weight = np.ones(800)
    weight[:100] = 0
    np.testing.assert_allclose(weights_of("propensity", data[1], weight),
                               1 / label_propensities(data[1][100:]))


def test_dict():
    y = np.array(["b", "a", "c", "a"])
    raw = weights_of({"a": 2, "c": np.float32(0.5)}, y, one_epoch=True)
    np.testing.assert_array_equal(raw, [2, 1, 0.5])
    np.testing.assert_allclose(weights_of({"a": 2, "c": 0.5}, y), raw / (5.5 / 4))
    Y = sp.csr_matrix([[1, 0, 1], [0, 1, 0]])
    np.testing.assert_array_equal(weights_of({2: 0.0, 0: 3}, Y), [3, 1, 0])
    assert weights_of(None, Y) is None


def test_a_label_missing_from_a_fold_is_no_error():
    """As in scikit-learn: while every class of y has a weight, others may have one, too."""
    np.testing.assert_array_equal(
        weights_of({"a": 1, "b": 2, "z": 9}, np.array(["a", "b"]), one_epoch=True), [1, 2])


@pytest.mark.parametrize("weight, match", [
    ({7: 2.0}, "key 7, but y has the columns 0 to 3"), ({"a": 1.0}, "key 'a', but y has the col"),
    ({0: -1.0}, r"class_weight\[0\] must be a finite number"), ({0: NAN}, r"\[0\] must be a fin"),
    ({0: "2"}, r"class_weight\[0\] must be"), ({0: float("inf")}, r"\[0\] must be a finite"),
    (dict.fromkeys(range(4), 0.0), "class_weight is 0 for all labels"),
], ids=str)
def test_bad_dicts(tiny, weight, match):
    for method in ("fit", "partial_fit"):
        with pytest.raises(ValueError, match=match):
            getattr(small(class_weight=weight), method)(*tiny)


def test_bad_keys_of_labels(labels):
    with pytest.raises(ValueError, match="key 'clas 01', but it is none of the 60 classes"):
        small(class_weight={"clas 01": 2.0}).fit(*labels)


@pytest.mark.parametrize("weight", ["balanced", "propensity"])
def test_partial_fit_knows_no_frequencies(tiny, weight):
    with pytest.raises(ValueError, match=f"'{weight}' is not supported for partial_fit"):
        small(class_weight=weight).partial_fit(*tiny)


def test_propensity_of_two_samples():
    with pytest.raises(ValueError, match="needs at least 3 samples, got 2"):
        small(class_weight="propensity").fit(np.eye(2), np.eye(2, dtype=int))


# ---- what they do ------------------------------------------------------------------------------

@pytest.mark.parametrize("loss", LOSSES)
def test_ones_change_nothing(data, labels, loss):
    for X, y in (data, labels):
        ones = dict.fromkeys(range(400) if sp.issparse(y) else np.unique(y), 1.0)
        assert_same_model(small(loss=loss, class_weight=ones).fit(X, y),
                          small(loss=loss).fit(X, y))
        named = {key: 1 for key in list(ones)[:3]}
        assert_same_model(small(loss=loss, class_weight=named).fit(X, y),
                          small(loss=loss).fit(X, y))


@pytest.mark.parametrize("loss", LOSSES)
def test_labels_weigh_like_samples(labels, loss):
    """Trained on, that is; the initial biases know of class_weight alone."""
    X, y = labels
    model = small(loss=loss).partial_fit(X, y, classes=np.unique(y))
    names = np.unique(y)
    weight = dict(zip(names, np.random.default_rng(0).uniform(0.5, 2, len(names)), strict=True))
    by_class = copy.deepcopy(model).set_params(class_weight=weight)
    by_class.partial_fit(X, y)
    sample_weight = np.array([weight[label] for label in y])
    by_sample = copy.deepcopy(model).partial_fit(X, y, sample_weight=sample_weight)
    # sample_weight is scaled to a mean of 1, class_weight of partial_fit isn't
    np.testing.assert_allclose(by_class.loss_, by_sample.loss_ * sample_weight.mean(), rtol=0.02)
    scaled = {name: value / sample_weight.mean() for name, value in weight.items()}
    by_class = copy.deepcopy(model).set_params(class_weight=scaled).partial_fit(X, y)
    np.testing.assert_allclose(by_class.loss_, by_sample.loss_, rtol=1e-5)
    np.testing.assert_allclose(by_class.coefs_[-1], by_sample.coefs_[-1], atol=1e-3)


@pytest.mark.parametrize("multilabel", [False, True])
@pytest.mark.parametrize("loss", LOSSES)
def test_what_weighs_more_is_predicted_more_often(data, labels, loss, multilabel):
    X, y = data if multilabel else labels
    heavy = np.arange(0, 400, 2) if multilabel else np.unique(y)[::2]
    shares = []
    for factor in (1.0, 20.0):
        model = small(loss=loss, class_weight=dict.fromkeys(heavy.tolist(), factor),
                      max_iter=4, C=0.1).fit(X, y)  # a greater C separates all samples anyway
        shares.append(np.isin(model.predict_topk(X, k=1)[0], heavy).mean())
    assert shares[1] > shares[0] + 0.1


@pytest.mark.parametrize(("weight", "loss"), [
    ("balanced", "sigmoid"), ("balanced", "softmax"), ("propensity", "softmax"),
])
def test_rare_labels_gain(data, loss, weight):
    X, Y = data
    counts = np.asarray(Y.sum(axis=0)).ravel()
    setting = {"loss": loss, "hidden_layer_sizes": (64,), "max_iter": 8}
    plain, weighted = (
        counts[small(class_weight=cw, **setting).fit(X, Y).predict_topk(X, k=3)[0]].mean()
        for cw in (None, weight))
    assert weighted < plain


def test_weight_zero_removes_the_samples_of_a_label(labels):
    X, y = labels
    gone = y == y[0]
    model = small(class_weight={y[0]: 0}).fit(X, y)
    assert model.history_["loss"] and y[0] in model.classes_
    assert (model.predict(X) == y[0]).sum() == 0
    assert gone.any()


def test_threads_give_the_same_bits(data):
    one, two = (small(class_weight="propensity", n_jobs=n).fit(*data) for n in (1, 2))
    assert_same_model(one, two)


def test_sparse_and_dense_indicators_agree(data):
    X, Y = data
    assert_same_model(small(class_weight="balanced").fit(X, Y),
                      small(class_weight="balanced").fit(X, Y.toarray()))
