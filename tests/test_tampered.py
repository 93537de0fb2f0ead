"""Whatever stands in a saved model: loading refuses it, or what loads predicts without a crash."""

import copy
import pickle

import numpy as np
import pytest
from conftest import small

from slidelearn import SlideClassifier

NAMES = [f"feature {i}" for i in range(5)]


def filled(value):
    """Mutation: the first entry becomes `value`, if the array can hold it."""
    def mutate(array):
        array = array.copy(order="K")
        array.flat[0] = value
        return array
    return mutate


ARRAY_MUTATIONS = {
    "None": lambda a: None,
    "list": lambda a: a.tolist(),
    "text": lambda a: "text",
    "shorter": lambda a: a[:-1].copy(order="K"),
    "longer": lambda a: np.concatenate([a, a[:1]]),
    "empty": lambda a: a[:0],
    "another axis": lambda a: a[None].copy(order="K"),
    "flat": lambda a: a.ravel(order="K").copy(),
    "scalar": lambda a: a[(0,) * a.ndim],
    "0-d": lambda a: np.array(a.flat[0], a.dtype),
    "float64": lambda a: a.astype(np.float64),
    "float16": lambda a: a.astype(np.float16),
    "int64": lambda a: a.astype(np.int64),
    "uint8": lambda a: a.astype(np.uint8),
    "complex": lambda a: a.astype(np.complex64),
    "object": lambda a: a.astype(object),
    "objects of None": lambda a: np.full(a.shape, None),
    "dates": lambda a: np.zeros(a.shape, "M8[s]"),
    "records": lambda a: np.zeros(a.shape, [("x", np.float32)]),
    "text array": lambda a: a.astype(str),
    "swapped": lambda a: a.astype(a.dtype.newbyteorder()),
    "masked": lambda a: np.ma.array(a, mask=np.arange(a.size).reshape(a.shape) % 2 == 0),
    "repeated": lambda a: np.broadcast_to(a[:1], a.shape),
    "reversed": lambda a: a[::-1],
    "reversed copy": lambda a: a[::-1].copy(order="K"),
    "strided": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "unaligned": lambda a: np.frombuffer(b"." + a.tobytes("A"), a.dtype, a.size, 1).reshape(
        a.shape, order="F" if a.flags.f_contiguous else "C"),
    "nan": filled(np.nan), "inf": filled(np.inf), "-inf": filled(-np.inf),
    "negative": filled(-1), "huge": filled(3e38), "big": filled(2**31 - 1),
    "bigger": filled(2**62), "lowest": filled(-(2**63)),
}
OTHER_MUTATIONS = {
    "None": None, "text": "text", "-1": -1, "0": 0, "2.5": 2.5, "nan": float("nan"),
    "inf": float("inf"), "2**31": 2**31, "2**53": 2**53, "2**64": 2**64, "2**70": 2**70,
    "True": True, "numpy int": np.int64(3), "bytes": b"labels", "list": [], "dict": {},
    "tuple": (1, 2), "list of None": [None, None], "array": np.zeros((2, 2), np.float32),
    "object": SlideClassifier(), "type": int, "labels": "labels", "matrix": "matrix",
}


@pytest.fixture(scope="module", params=["indicator", "labels", "bfloat16", "numbers"])
def fitted(request):
    """State of a model with everything that one can have, and samples that it knows."""
    pd = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.random((12, 5), dtype=np.float32), columns=NAMES)
    Y = (rng.random((12, 4)) < 0.4).astype(np.int64)
    y = {"labels": np.array(["a", "b", "c", "d"] * 3), "numbers": np.arange(12) % 4 - 1}.get(
        request.param, Y)
    dtype = "bfloat16" if request.param == "bfloat16" else "float32"
    model = small(warm_start=True, ranker="linear", hidden_layer_sizes=(8, 4), dtype=dtype,
                  n_tables=3).fit(X, y)
    return model.__getstate__(), X, y


def paths(state, names):
    """Each attribute, and what the lists in it hold."""
    for name in names:
        yield (name,)
        if isinstance(state[name], list):
            yield from ((name, *path) for path in _inside(state[name]))


def _inside(values):
    for i, value in enumerate(values):
        yield (i,)
        if isinstance(value, list):
            yield from ((i, *path) for path in _inside(value))


def value_at(state, path):
    for step in path:
        state = state[step]
    return state


def replaced(state, path, value):
    """A copy of the state with another value at one place."""
    changed = copy.copy(state)
    changed[path[0]] = replaced(state[path[0]], path[1:], value) if path[1:] else value
    return changed


def use(model, X, y):
    """All that reads a model's arrays, and training on."""
    n = len(model.classes_)
    assert model.predict(X).shape[0] == 12
    assert model.predict_proba(X).shape == (12, n)
    for method in ("exact", "lsh"):
        labels, scores = model.predict_topk(X, k=2, method=method)
        assert labels.shape == scores.shape == (12, 2)
    model.similar_labels(model.classes_[:2], k=2)
    model.partial_fit(X, y)
    model.predict_topk(X, k=2)


def survives(state, X, y, errors=ValueError):
    """Whether the state can be loaded; what loads is used."""
    try:
        model = SlideClassifier()
        model.__setstate__(copy.deepcopy(state))
        pickle.loads(pickle.dumps(model))
    except ValueError:
        return False
    try:
        use(model, X, y)
    except errors as error:  # such as scores that aren't finite
        assert str(error)
    return True


def test_the_state_itself_survives(fitted):
    assert survives(*fitted, errors=())


@pytest.mark.filterwarnings("ignore:.*(overflow|invalid|cast|precision)")
@pytest.mark.filterwarnings("ignore::numpy.exceptions.ComplexWarning")
@pytest.mark.parametrize("mutation", ARRAY_MUTATIONS)
def test_arrays(fitted, mutation):
    state, X, y = fitted
    tried = 0
    for path in paths(state, state):
        array = value_at(state, path)
        if not isinstance(array, np.ndarray):
            continue
        try:
            value = ARRAY_MUTATIONS[mutation](array)
        except (ValueError, TypeError, OverflowError, IndexError):
            continue  # no such array
        tried += 1
        survives(replaced(state, path, value), X, y)
    assert tried


@pytest.mark.parametrize("mutation", OTHER_MUTATIONS)
def test_other_values(fitted, mutation):
    state, X, y = fitted
    names = set(state) - set(SlideClassifier._get_param_names())
    for path in paths(state, sorted(names)):
        survives(replaced(state, path, OTHER_MUTATIONS[mutation]), X, y)


@pytest.mark.parametrize("fitted", ["indicator"], indirect=True)
@pytest.mark.parametrize("mutation", OTHER_MUTATIONS)
def test_parameters(fitted, mutation):
    """Their types are checked where they are used."""
    state, X, y = fitted
    for name in SlideClassifier._get_param_names():
        survives(replaced(state, (name,), OTHER_MUTATIONS[mutation]), X, y, (ValueError, TypeError))


def test_refused_values(fitted):
    """What wouldn't be noticed later."""
    state, X, y = fitted
    refused = {
        ("classes_",): state["classes_"][::-1].copy(), ("calibration_",): np.zeros(4),
        ("_label_counts",): np.full(4, np.nan), ("_n_seen",): float("nan"),
        ("intercepts_", 2): np.full(4, np.inf, np.float32),
        ("_activation_mean",): np.full(4, np.nan, np.float32), ("n_features_in_",): 5.0,
        ("feature_names_in_",): np.array([*NAMES[:4], 5], object), ("predict",): 3,
        ("_ranker", 0): np.array([0, -1, 2, 3, 4]), ("_ranker", 4): np.array([np.nan], np.float32),
    }
    for path, value in refused.items():
        assert not survives(replaced(state, path, value), X, y), path
    falls = state["_ranker"][0].copy()
    falls[1:3] = 2**40, 2**40 - 2**63 - 1  # no difference is negative in 64 bits
    assert not survives(replaced(state, ("_ranker", 0), falls), X, y)
    start = int(np.flatnonzero(np.diff(state["_ranker"][0]) > 1)[0])
    place = int(state["_ranker"][0][start])
    for two in (state["_ranker"][1][place:place + 2][::-1], state["_ranker"][1][place]):
        features = state["_ranker"][1].copy()
        features[place:place + 2] = two  # that descend, or are the same
        assert not survives(replaced(state, ("_ranker", 1), features), X, y)
    same = np.repeat(state["classes_"][:1], 4)
    assert not survives(replaced(state, ("classes_",), same), X, y)


def test_missing_and_additional_attributes(fitted):
    state, X, y = fitted
    for name in state:
        less = {key: value for key, value in state.items() if key != name}
        kept = name in {"_index", "_pruning", "feature_names_in_", "_slidelearn_version",
                        "_state_start"}
        assert survives(less, X, y, errors=()) == kept, name
    assert survives({**state, "my_note": "x", "feature_names_in": None}, X, y, errors=())


def test_derived_state_is_not_believed(fitted):
    state, X, y = fitted
    model = SlideClassifier()
    model.__setstate__({**state, "_index": (model, "tables"), "_pruning": "codes"})
    assert model._index is None
    use(model, X, y)


def test_parameters_that_contradict_the_arrays(fitted):
    state, X, y = fitted
    model = SlideClassifier()
    model.__setstate__({**state, "hidden_layer_sizes": (99,)})
    assert model.predict_topk(X, k=2)[0].shape == (12, 2)
    with pytest.raises(ValueError, match="hidden_layer_sizes"):
        model.partial_fit(X, y)
