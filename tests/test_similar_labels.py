"""similar_labels: exact nearest rows of the output layer, by cosine."""

import numpy as np
import pytest
from conftest import small
from hypothesis import given, settings
from hypothesis import strategies as st

from slidelearn import _similar
from slidelearn._similar import nearest_rows


@pytest.fixture(scope="module")
def fitted(multiclass):
    return small().fit(*multiclass)


def cosines(weights):
    weights = weights.astype(np.float64)
    norms = np.linalg.norm(weights, axis=1, keepdims=True)
    unit = weights / np.where(norms > 0, norms, 1)
    return unit @ unit.T


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(2, 70), width=st.sampled_from([1, 3, 16, 33]),
       chunk=st.sampled_from([1, 40, 300, 2**22]), n_threads=st.sampled_from([1, 2]))
def test_nearest_rows(seed, n, width, chunk, n_threads):
    rng = np.random.default_rng(seed)
    weights = rng.integers(-1, 2, (n, width)).astype(np.float32)  # ties, copies, rows of zeros
    rows = rng.integers(0, n, 5)
    k = int(rng.integers(1, n))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_similar, "CHUNK_FLOATS", chunk)
        places, found = nearest_rows(weights, rows, k, n_threads)
    exact = cosines(weights)[rows]
    assert places.shape == found.shape == (5, k)
    for row, mine, scores, truth in zip(rows, places, found, exact, strict=True):
        assert row not in mine and len(set(mine)) == k
        np.testing.assert_allclose(scores, truth[mine], atol=1e-6)
        others = np.delete(truth, row)
        np.testing.assert_allclose(scores, np.sort(others)[::-1][:k], atol=1e-6)
        assert (np.diff(scores) <= 0).all()
        ties = np.diff(scores) == 0
        assert (np.diff(mine)[ties] > 0).all()


def test_chunks_and_threads_change_no_bit(fitted, monkeypatch):
    weights = fitted.coefs_[-1].T
    expected = nearest_rows(weights, np.arange(60), 7, 1)
    for chunk, n_threads in ((1, 2), (16 * 23, 1), (16 * 59, 2)):
        monkeypatch.setattr(_similar, "CHUNK_FLOATS", chunk)
        for found, other in zip(nearest_rows(weights, np.arange(60), 7, n_threads), expected,
                                strict=True):
            np.testing.assert_array_equal(found, other)


def test_labels(fitted):
    truth = cosines(fitted.coefs_[-1].T)
    np.fill_diagonal(truth, -np.inf)
    names, scores = fitted.similar_labels(["class 07", "class 59"], k=3)
    order = np.argsort(-truth[[7, 59]], axis=1)[:, :3]
    np.testing.assert_array_equal(names, fitted.classes_[order])
    np.testing.assert_allclose(scores, np.take_along_axis(truth[[7, 59]], order, 1), atol=1e-6)
    assert scores.dtype == np.float64
    one, its = fitted.similar_labels("class 07", k=3)
    np.testing.assert_array_equal(one, names[0])
    np.testing.assert_array_equal(its, scores[0])
    every = fitted.similar_labels("class 00", k=59)[0]
    assert sorted(every) == fitted.classes_[1:].tolist()
    assert [a.shape for a in fitted.similar_labels([], k=2)] == [(0, 2), (0, 2)]


def test_columns_of_an_indicator(tiny):
    labels, _ = small().fit(*tiny).similar_labels(np.array([3, 0]), k=3)
    assert labels.dtype.kind == "i" and sorted(labels[0]) == [0, 1, 2]
    assert labels.shape == (2, 3)
    with pytest.raises(ValueError, match=r"dtype <U4, but classes_ of int64 \(column numbers"):
        small().fit(*tiny).similar_labels("name", k=3)


def test_like_classes_are_found():
    """Two names of the same thing, half of the samples each."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 20, 2000)
    X = np.eye(20)[y] + 0.1 * rng.random((2000, 20))
    twins = y + 20 * rng.integers(0, 2, 2000)
    model = small(max_iter=10).fit(X, twins)
    nearest = model.similar_labels(np.arange(40), k=1)[0][:, 0]
    assert (nearest % 20 == np.arange(40) % 20).mean() > 0.9


@pytest.mark.parametrize("labels, match", [
    ("class 99", "'class 99' is none of the 60 classes"), (["class 01", "x"], "'x' is none"),
    (3, "labels are of dtype int64"), (None, r"None is none of the 60 .* which are strings"),
    ([["class 01"]], r"1-D array of labels, got .*\(1, 1\)"),
], ids=str)
def test_bad_labels(fitted, labels, match):
    with pytest.raises(ValueError, match=match):
        fitted.similar_labels(labels)


@pytest.mark.parametrize("labels", [4, -1, [0, 10**12], 1.5, float("nan")])
def test_bad_columns(tiny, labels):
    with pytest.raises(ValueError, match="is none of the 4 classes"):
        small().fit(*tiny).similar_labels(labels, k=1)


@pytest.mark.parametrize("k", [0, 4, 2.0, True])
def test_bad_k(tiny, k):
    with pytest.raises(ValueError, match=r"k must be an integer in \[1, 3\]"):
        small().fit(*tiny).similar_labels(0, k=k)


def test_not_fitted():
    with pytest.raises(ValueError, match="not fitted"):
        small().similar_labels(0)
