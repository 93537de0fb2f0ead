"""Models written and read again; state that doesn't fit together is refused."""

import copy
import pickle

import joblib
import numpy as np
import pytest
from conftest import assert_same_state, small, snapshot

SETTINGS = {
    "plain": {}, "warm": {"warm_start": True}, "sgd": {"warm_start": True, "solver": "sgd"},
    "adagrad": {"warm_start": True, "solver": "adagrad", "hidden_layer_sizes": (8, 4)},
    "early": {"early_stopping": True},
    "bfloat16": {"warm_start": True, "dtype": "bfloat16"},
}
MAKERS = {"csr": lambda Y: Y, "dense": lambda Y: Y.toarray(),
          "labels": lambda Y: np.array([f"label {row.argmax()}" for row in Y.toarray()])}


def predictions(model, X):
    return [model.predict_topk(X, k=2), model.predict_topk(X, k=2, method="lsh"),
            model.predict_proba(X)]


def assert_same_predictions(found, expected, X):
    assert_same_state(predictions(found, X), predictions(expected, X))


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("setting", SETTINGS)
def test_pickle(tiny, setting, kind):
    X, y = tiny[0], MAKERS[kind](tiny[1])
    model = small(**SETTINGS[setting]).fit(X, y)
    expected = predictions(model, X)
    for copied in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert_same_state(snapshot(copied), snapshot(model))
        assert_same_state(predictions(copied, X), expected)
        again = pickle.loads(pickle.dumps(model))
        assert_same_state(snapshot(copied.partial_fit(X, y)), snapshot(again.partial_fit(X, y)))


def test_hash_tables_are_not_pickled(tiny):
    model = small(n_tables=200).fit(*tiny)
    size = len(pickle.dumps(model))
    model.predict_topk(tiny[0], k=1, method="lsh")
    assert len(pickle.dumps(model)) == size


def test_unfitted(tiny):
    model = pickle.loads(pickle.dumps(small()))
    assert model.get_params() == small().get_params()
    model.fit(*tiny)


@pytest.mark.parametrize("compress", [0, 3])
def test_joblib(tiny, tmp_path, compress):
    model = small().fit(*tiny)
    joblib.dump(model, tmp_path / "model", compress=compress)
    found = joblib.load(tmp_path / "model")
    assert_same_state(snapshot(found), snapshot(model))
    assert_same_predictions(found, model, tiny[0])


@pytest.mark.parametrize(("warm_start", "dtype"), [(False, "float32"), (True, "float32"),
                                                   (True, "bfloat16")])
def test_memory_mapped(extreme, tmp_path, warm_start, dtype):
    X, Y = extreme[0][:200], extreme[1][:200]
    model = small(warm_start=warm_start, dtype=dtype).fit(X, Y)
    joblib.dump(model, tmp_path / "model")
    for mode in ("r", "c"):
        found = joblib.load(tmp_path / "model", mmap_mode=mode)
        assert isinstance(found._coefs[-1], np.memmap)
        assert_same_predictions(found, model, X)
        np.testing.assert_array_equal(found.predict(X).toarray(), model.predict(X).toarray())
        if mode == "c":
            found.partial_fit(X, Y)
            continue
        kept = pickle.dumps(found)
        with pytest.raises(ValueError, match=r"read-only.*mmap_mode"):
            found.partial_fit(X, Y)
        with pytest.raises(ValueError, match=r"read-only.*mmap_mode"):
            found.set_params(warm_start=True).fit(X, Y)
        assert pickle.dumps(found.set_params(warm_start=warm_start)) == kept
        assert_same_predictions(found, model, X)
        found.set_params(warm_start=False).fit(X, Y)  # a new start writes nothing
    assert_same_predictions(joblib.load(tmp_path / "model"), model, X)


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("setting", SETTINGS)
def test_skops(tiny, kind, setting):
    io = pytest.importorskip("skops.io")
    X, y = tiny[0], MAKERS[kind](tiny[1])
    model = small(**SETTINGS[setting]).fit(X, y)
    model.predict_topk(X, k=1, method="lsh")
    written = io.dumps(model)
    trusted = io.get_untrusted_types(data=written)
    assert set(trusted) <= {"slidelearn._classifier.SlideClassifier"}
    found = io.loads(written, trusted=trusted)
    assert_same_state(snapshot(found), snapshot(model))
    assert_same_predictions(found, model, X)


# ---- tampered state ----------------------------------------------------------------------------

def replaced(index, change, attribute):
    def tamper(state):
        arrays = list(state[attribute])
        arrays[index] = change(arrays[index])
        state[attribute] = arrays
    return tamper


def assigned(attribute, value):
    def tamper(state):
        state[attribute] = value(state[attribute]) if callable(value) else value
    return tamper


TAMPERED = {
    "fewer features": replaced(0, lambda a: a[:-1], "_coefs"),
    "wider": replaced(0, lambda a: np.zeros((len(a), 17), np.float32), "_coefs"),
    "float64": replaced(0, lambda a: a.astype(np.float64), "_coefs"),
    "byte order": replaced(0, lambda a: a.astype(">f4"), "_coefs"),
    "fortran": replaced(0, np.asfortranarray, "_coefs"),
    "strided": replaced(0, lambda a: np.repeat(a, 2, axis=1)[:, ::2], "_coefs"),
    "fewer classes": replaced(1, lambda a: np.asfortranarray(a[:, :-1]), "_coefs"),
    "row order": replaced(1, np.ascontiguousarray, "_coefs"),
    "unaligned": replaced(1, lambda a: np.frombuffer(b"." + a.tobytes("F"), np.float32, a.size, 1)
                          .reshape(a.shape, order="F"), "_coefs"),
    "list": replaced(1, lambda a: a.tolist(), "_coefs"),
    "None": replaced(1, lambda a: None, "_coefs"),
    "one layer": assigned("_coefs", lambda coefs: coefs[:1]),
    "no layers": assigned("_coefs", []),
    "three biases": assigned("intercepts_", lambda biases: [*biases, biases[0]]),
    "short bias": replaced(1, lambda a: a[:-1], "intercepts_"),
    "short hidden bias": replaced(0, lambda a: a[:-1], "intercepts_"),
    "float64 bias": replaced(0, lambda a: a.astype(float), "intercepts_"),
    "strided bias": replaced(1, lambda a: np.repeat(a, 2)[::2], "intercepts_"),
    "2-D bias": replaced(1, lambda a: a[None], "intercepts_"),
    "more classes": assigned("classes_", np.arange(5)),
    "2-D classes": assigned("classes_", lambda classes: classes[None]),
    "list of classes": assigned("classes_", lambda classes: classes.tolist()),
    "no classes": assigned("classes_", np.arange(0)),
    "features": assigned("n_features_in_", 6),
    "calibration": assigned("calibration_", np.ones(3)),
    "calibration type": assigned("calibration_", [0.0, 0.0, 1.0, 1.0]),
    "counts": assigned("_label_counts", np.ones(3)),
    "mean": assigned("_activation_mean", np.zeros(3, np.float32)),
    "seed type": assigned("_seed", "1"), "seed": assigned("_seed", -1),
    "big seed": assigned("_seed", 2**64),
    "steps": assigned("t_", -1), "steps type": assigned("t_", 1.5),
    "kind": assigned("_target_kind", "tuple"), "activation": assigned("out_activation_", "tanh"),
    "optimizer layers": assigned("_optimizer_state", lambda saved: saved[:1]),
    "optimizer arrays": replaced(0, lambda arrays: arrays[:3], "_optimizer_state"),
    "optimizer shape": replaced(1, lambda arrays: [arrays[0][:-1], *arrays[1:]],
                                "_optimizer_state"),
    "optimizer dtype": replaced(1, lambda arrays: [arrays[0].astype(float), *arrays[1:]],
                                "_optimizer_state"),
    "optimizer bias": replaced(1, lambda arrays: [*arrays[:3], arrays[3][:-1]],
                               "_optimizer_state"),
    "half an optimizer": replaced(1, lambda arrays: [arrays[0], np.empty((0, 0), np.float32),
                                                     *arrays[2:]], "_optimizer_state"),
}


@pytest.mark.parametrize("case", TAMPERED)
def test_tampered_state_is_refused(tiny, case):
    model = small(warm_start=True).fit(*tiny)
    state = model.__getstate__()
    TAMPERED[case](state)
    with pytest.raises(ValueError, match=r"must|neurons|lack"):
        small().__setstate__(state)
    if case in ("byte order", "strided", "strided bias", "unaligned"):
        return  # pickle mends these
    vars(model).update(state)
    tampered = pickle.dumps(model)
    with pytest.raises(ValueError, match=r"must|neurons|lack"):
        pickle.loads(tampered)


TAMPERED_BFLOAT16 = {
    "bits of the input": replaced(0, lambda a: a.astype(np.uint16), "_coefs"),
    "signed": replaced(1, lambda a: a.view(np.int16), "_coefs"),
    "half": replaced(1, lambda a: a.view(np.float16), "_coefs"),
    "float32": replaced(1, lambda a: np.asfortranarray(a, np.float32), "_coefs"),
    "row order": replaced(1, np.ascontiguousarray, "_coefs"),
    "fewer classes": replaced(1, lambda a: np.asfortranarray(a[:, :-1]), "_coefs"),
    "optimizer dtype": replaced(1, lambda arrays: [arrays[0].astype(np.float32), *arrays[1:]],
                                "_optimizer_state"),
    "optimizer bias": replaced(1, lambda arrays: [*arrays[:2], arrays[2].astype(np.uint16),
                                                  arrays[3]], "_optimizer_state"),
}


@pytest.mark.parametrize("case", TAMPERED_BFLOAT16)
def test_tampered_bfloat16_is_refused(tiny, case):
    state = small(warm_start=True, dtype="bfloat16").fit(*tiny).__getstate__()
    TAMPERED_BFLOAT16[case](state)
    with pytest.raises(ValueError, match="must be"):
        small().__setstate__(state)


@pytest.mark.parametrize("name", ["intercepts_", "classes_", "calibration_", "_seed", "t_",
                                  "_activation_mean", "_optimizer_state", "n_features_in_"])
def test_missing_attributes_are_named(tiny, name):
    model = small().fit(*tiny)
    state = model.__getstate__()
    del state[name]
    with pytest.raises(ValueError, match=f"no attribute '{name}'"):
        small().__setstate__(state)


@pytest.mark.parametrize("method", ["predict", "predict_proba", "decision_function",
                                    "predict_topk"])
def test_parameters_set_by_hand_are_checked(tiny, method):
    model = small().fit(*tiny)
    model.coefs_[0] = model.coefs_[0][:, :-1]
    options = {"k": 2} if method == "predict_topk" else {}
    with pytest.raises(ValueError, match=r"coefs_\[0\] must be"):
        getattr(model, method)(tiny[0], **options)
    model.coefs_[0] = np.zeros((5, 16), np.float32)
    getattr(model, method)(tiny[0], **options)
