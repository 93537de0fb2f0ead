"""`export` and `load`: the same predictions from a mapped file, and no file that does harm."""

import copy
import json
import pickle

import numpy as np
import pytest
from conftest import assert_same_state, small, snapshot
from sklearn.exceptions import NotFittedError
from test_persistence import MAKERS, SETTINGS, assert_same_predictions

from slidelearn import SlideClassifier, _safetensors, _state
from slidelearn._bfloat16 import as_dtype
from slidelearn._lsh import LSHIndex
from slidelearn._safetensors import Tensor

LOST = {"_optimizer_state", "history_", "loss_curve_", "validation_scores_"}


def exported(model, path, mmap_mode="r", **options):
    model.export(path, **options)
    return SlideClassifier.load(path, mmap_mode=mmap_mode)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


# ---- what is there is the same -----------------------------------------------------------------

@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("setting", SETTINGS)
def test_round_trip(tiny, path, setting, kind):
    X, y = tiny[0], MAKERS[kind](tiny[1])
    model = small(**SETTINGS[setting]).fit(X, y)
    for mode in ("r", "c", None):
        found = exported(model, path, mode)
        assert found.get_params() == model.get_params()
        assert_same_predictions(found, model, X)
        before, after = (snapshot(one) for one in (model, found))
        assert before.keys() == after.keys()
        for name in before.keys() - LOST:
            assert_same_state(after[name], before[name])
        assert found.loss_curve_ == [] and found._optimizer_state == []
        for again in (pickle.loads(pickle.dumps(found)), copy.deepcopy(found)):
            assert_same_predictions(again, model, X)


def test_large_enough_for_all_searches(extreme, path):
    X, Y = extreme
    model = small(ranker="linear").fit(X, Y)
    found = exported(model, path)
    assert_same_predictions(found, model, X[:500])
    assert_same_state(found.similar_labels([3, 7]), model.similar_labels([3, 7]))


LABELS = {
    "int8": np.arange(4).astype(np.int8) - 2, "uint16": np.arange(4).astype(np.uint16),
    "uint32": np.arange(4).astype(np.uint32), "float": np.arange(4.0), "bool": np.arange(2) > 0,
    "text": np.array(["", "a", "étiquette", "\U0001f600"]),
    "objects": np.array(["", "a", "étiquette", "\U0001f600"], object),
    "numpy strings": np.array([np.str_("a"), np.str_("étiquette"), "b"], object),
}


@pytest.mark.parametrize("kind", LABELS)
def test_labels(tiny, path, kind):
    classes = LABELS[kind]
    model = small().fit(tiny[0], classes[np.arange(12) % len(classes)])
    found = exported(model, path)
    assert_same_state(found.classes_, model.classes_)
    assert_same_state(found.predict(tiny[0]), model.predict(tiny[0]))


def test_labels_that_cannot_be_exported(tiny, path):
    model = small().fit(tiny[0], np.arange(12) % 2)
    for classes, words in ((np.array(["1", "2"], "M8[s]"), "classes_ has dtype datetime64"),
                           (np.array([1, "2"], object), "dtype object with others than strings"),
                           (np.array([1, 2], np.complex64), "classes_ has dtype complex64, which"),
                           (np.array(["a", "b\0"], object), "null character")):
        model.classes_ = classes
        with pytest.raises(ValueError, match=words):
            model.export(path)
    assert not path.exists()


@pytest.mark.skipif(np.dtype(np.longdouble).itemsize == 8, reason="longdouble is float64")
def test_long_doubles_cannot_be_exported(tiny, path):
    model = small().fit(tiny[0], (np.arange(12) % 2).astype(np.longdouble))
    with pytest.raises(ValueError, match=f"classes_ has dtype {np.dtype(np.longdouble)}, which "
                       "can't be exported: only booleans, integers, floats of at most 64"):
        model.export(path)


def test_feature_names(tiny, path):
    pd = pytest.importorskip("pandas")
    X = pd.DataFrame(tiny[0].toarray(), columns=[*"abcd", "ß"])
    model = small().fit(X, tiny[1])
    found = exported(model, path)
    assert_same_state(found.feature_names_in_, model.feature_names_in_)
    assert_same_predictions(found, model, X)


@pytest.mark.parametrize("kind", MAKERS)
def test_other_dtypes(tiny, path, kind):
    X, y = tiny[0], MAKERS[kind](tiny[1])
    wide, narrow = (small(dtype=dtype).fit(X, y) for dtype in ("float32", "bfloat16"))
    assert_same_predictions(exported(narrow, path, dtype="float32"), narrow, X)
    assert SlideClassifier.load(path).get_params()["dtype"] == "float32"
    rounded = copy.deepcopy(wide)
    rounded._coefs[-1] = as_dtype(wide._coefs[-1].T, "bfloat16").T
    found = exported(wide, path, dtype="bfloat16")
    assert found._coefs[-1].dtype == np.uint16 and found.dtype == "bfloat16"
    assert_same_predictions(found, rounded, X)


def test_parameters_that_files_cannot_hold(tiny, path):
    model = small(class_weight={0: 2.0}, random_state=np.random.RandomState(0),
                  hidden_layer_sizes=np.array([8, 4]), learning_rate_init=np.float32(0.5),
                  max_iter=np.int64(1), shuffle=np.bool_(True), dropout=0)
    found = exported(model.fit(*tiny), path).get_params()
    assert found == {**model.get_params(), "class_weight": None, "random_state": None,
                     "hidden_layer_sizes": (8, 4)}


HASHING = {
    "simhash": {}, "dwta": {"hash_function": "dwta", "insertion": "reservoir", "bucket_size": 5},
    "minhash": {"hash_function": "minhash", "center": False}, "wta": {"hash_function": "wta"},
}


@pytest.mark.parametrize("dtype", [None, "bfloat16"])
@pytest.mark.parametrize("case", HASHING)
def test_hash_tables(extreme, path, monkeypatch, case, dtype):
    X, Y = extreme[0][:500], extreme[1][:500]
    model = small(n_tables=20, n_candidates=10, **HASHING[case]).fit(X, Y)
    expected = exported(model, path, dtype=dtype).predict_topk(X, k=3, method="lsh")
    size = path.stat().st_size
    found = exported(model, path, dtype=dtype, hash_tables=True)
    assert path.stat().st_size - size >= 20 * 400 * 4
    with monkeypatch.context() as patched:
        patched.setattr(LSHIndex, "build", None)  # they needn't be made
        for n_jobs in (1, 2):
            found.set_params(n_jobs=n_jobs)
            assert_same_state(found.predict_topk(X, k=3, method="lsh"), expected)
        assert isinstance(root(found._index[1].ids), np.memmap)
    found.set_params(n_tables=3)  # others do
    model.set_params(n_tables=3)
    if dtype is None:
        assert_same_state(found.predict_topk(X, k=3, method="lsh"),
                          model.predict_topk(X, k=3, method="lsh"))
    assert pickle.loads(pickle.dumps(found))._index is None


# ---- mapping -----------------------------------------------------------------------------------

def root(array):
    """The array at the bottom of a chain of views."""
    while isinstance(getattr(array, "base", None), np.ndarray):
        array = array.base
    return array


def test_arrays_are_the_file(tiny, path):
    found = exported(small(ranker="linear").fit(*tiny), path)
    arrays = [*found._coefs, *found.intercepts_, *found._ranker, found.calibration_]
    assert all(isinstance(root(array), np.memmap) for array in arrays)
    assert not any(array.flags.writeable for array in arrays)
    start = root(arrays[0]).ctypes.data
    assert {(array.ctypes.data - start) % 64 for array in arrays if array.size} == {0}


def test_training_further(tiny, path):
    X, Y = tiny
    model = small().fit(X, Y)
    found = exported(model, path)
    before = path.read_bytes()
    for call in (found.partial_fit, SlideClassifier.load(path).set_params(warm_start=True).fit):
        with pytest.raises(ValueError, match=r"read-only.*mmap_mode=None, or 'c'"):
            call(X, Y)
    assert_same_predictions(found, model, X)
    model.partial_fit(X, Y)
    for mode in ("c", None):
        trained = SlideClassifier.load(path, mmap_mode=mode).partial_fit(X, Y)
        assert_same_state(trained.coefs_, model.coefs_)
        assert len(trained.history_["loss"]) == 1
    found.fit(X, Y)
    assert path.read_bytes() == before


def test_exporting_over_a_file_in_use(tiny, path):
    X, Y = tiny
    one, other = small().fit(X, Y), small(random_state=1).fit(X, Y)
    found = exported(one, path)
    assert_same_predictions(exported(other, path), other, X)
    assert_same_predictions(found, one, X)
    found.export(path)  # its own file, once more
    assert_same_predictions(SlideClassifier.load(path), one, X)


# ---- the format --------------------------------------------------------------------------------

def test_the_package_reads_and_writes_such_files(tiny, path):
    numpy_io = pytest.importorskip("safetensors.numpy")
    safetensors = pytest.importorskip("safetensors")
    model = small(ranker="linear").fit(*tiny)
    model.export(path)
    tensors = numpy_io.load_file(path)
    np.testing.assert_array_equal(tensors["output.weights"], model.coefs_[-1].T)
    np.testing.assert_array_equal(tensors["ranker.data"], model.ranker_coef_.data)
    with safetensors.safe_open(path, framework="np") as file:
        metadata = file.metadata()
    numpy_io.save_file(tensors, path, metadata)
    assert_same_predictions(SlideClassifier.load(path), model, tiny[0])
    small(dtype="bfloat16").fit(*tiny).export(path)
    with safetensors.safe_open(path, framework="np") as file:
        assert file.get_slice("output.weights").get_dtype() == "BF16"
    numpy_io.save_file(tensors, path)
    with pytest.raises(ValueError, match="export didn't write it"):
        SlideClassifier.load(path)


# ---- errors ------------------------------------------------------------------------------------

def test_wrong_calls(tiny, path, tmp_path):
    with pytest.raises(NotFittedError):
        small().export(path)
    model = small().fit(*tiny)
    with pytest.raises(ValueError, match="dtype must be 'float32', 'bfloat16' or None, got 'f4'"):
        model.export(path, dtype="f4")
    with pytest.raises(FileNotFoundError):
        SlideClassifier.load(path)
    model.export(path)
    with pytest.raises(ValueError, match="mmap_mode must be 'r', 'c' or None, got 'w'"):
        SlideClassifier.load(path, mmap_mode="w")
    with pytest.raises(OSError, match="directory"):
        SlideClassifier.load(tmp_path)


@pytest.mark.parametrize("mmap_mode", ["r", None])
def test_other_formats(tiny, path, monkeypatch, mmap_mode):
    model = small().fit(*tiny)
    with monkeypatch.context() as patched:
        patched.setattr(_state, "FORMAT", 12)
        model.export(path)
    with pytest.raises(ValueError, match=r"model\.safetensors: This model was saved by slidelearn "
                                         r".* in format 12; slidelearn .* reads format 1 only"):
        SlideClassifier.load(path, mmap_mode=mmap_mode)
    path.write_bytes(pickle.dumps(model))
    with pytest.raises(ValueError, match=r"not an exported model.*a pickle, which joblib\.load"):
        SlideClassifier.load(path, mmap_mode=mmap_mode)


def loads_and_predicts_or_refuses(path, X):
    """False if the file is refused; else the model is used."""
    try:
        model = SlideClassifier.load(path)
    except ValueError as error:
        assert str(error).startswith(str(path))
        return False
    for call in (model.predict, model.predict_proba, lambda X: model.predict_topk(X, k=2),
                 lambda X: model.predict_topk(X, k=2, method="lsh")):
        try:
            call(X)
        except (ValueError, TypeError) as error:  # scores or parameters
            assert str(error)
    return True


def test_truncated_and_lengthened(tiny, path):
    small().fit(*tiny).export(path)
    whole = path.read_bytes()
    for part in (*(whole[:n] for n in range(0, len(whole), 13)), whole[:-1], whole + b"0"):
        path.write_bytes(part)
        assert not loads_and_predicts_or_refuses(path, tiny[0])


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_flipped_bytes(tiny, path, kind, dtype):
    X, y = tiny[0], MAKERS[kind](tiny[1])
    small(dtype=dtype, ranker="linear").fit(X, y).export(path)
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    length = int.from_bytes(whole[:8].tobytes(), "little")
    rng = np.random.default_rng(0)
    refused = 0
    for trial in range(300):
        broken = whole.copy()
        stop = 8 + length if trial % 2 else len(whole)
        place = rng.integers(0, stop, 1 + trial % 3)
        broken[place] = rng.integers(0, 256, len(place)) if trial % 4 else 255
        path.write_bytes(broken.tobytes())
        refused += not loads_and_predicts_or_refuses(path, X)
    assert refused > 100


def rewritten(path, change):
    """Write the file again with another header; `change` gets it, and the model's description."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + length])
    model = json.loads(header["__metadata__"]["slidelearn"])
    change(header, model)
    if isinstance(header.get("__metadata__"), dict) and "slidelearn" in header["__metadata__"]:
        header["__metadata__"]["slidelearn"] = json.dumps(model)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 64)
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length:])


def put(*keys, value):
    """Change a place of the header, or (if it begins with "model") of the description."""
    def change(header, model):
        *way, last = keys
        place = {"model": model}.get(way[0] if way else "", header)
        for key in way[place is model:]:
            place = place[key]
        if value is ...:
            del place[last]
        else:
            place[last] = value
    return change


HEADERS = {
    "no weights": put("output.weights", value=...), "no ranker part": put("ranker.data", value=...),
    "entry": put("output.weights", value=3), "dtype": put("output.weights", "dtype", value="F128"),
    "dtype list": put("output.weights", "dtype", value=["F32"]),
    "smaller dtype": put("output.weights", "dtype", value="F16"),
    "same size": put("output.weights", "dtype", value="I32"),
    "shape": put("output.weights", "shape", value=[16, 4]),
    "flat": put("output.weights", "shape", value=[64]),
    "shape of text": put("output.weights", "shape", value="44"),
    "negative": put("output.weights", "shape", value=[-4, -16]),
    "floats": put("output.weights", "shape", value=[4.0, 16.0]),
    "huge": put("output.weights", "shape", value=[2**40, 2**40]),
    "zeros": put("output.weights", "shape", value=[2**61, 0]),
    "deep": put("output.weights", "shape", value=[4, 16] + [1] * 40),
    "offsets": put("output.weights", "data_offsets", value=[0, 2**40]),
    "negative offsets": put("output.weights", "data_offsets", value=[-256, 0]),
    "backwards": put("output.weights", "data_offsets", value=[256, 0]),
    "three offsets": put("output.weights", "data_offsets", value=[0, 256, 512]),
    "unaligned": put("output.weights", "data_offsets", value=[1, 257]),
    "overlap": put("output.weights", "data_offsets", value=[64, 320]),
    "gap": put("_gap.output.bias", value=...),
    "no metadata": put("__metadata__", value=...), "metadata": put("__metadata__", value=3),
    "metadata numbers": put("__metadata__", "_slidelearn_format", value=1),
    "no format": put("__metadata__", "_slidelearn_format", value=...),
    "no JSON": put("__metadata__", "slidelearn", value="{"),
    "no attributes": put("model", "attributes", value=...),
    "attributes": put("model", "attributes", value=[1]),
    "no parameter dict": put("model", "parameters", value="abc"),
    "unknown parameter": put("model", "parameters", "alpha", value=1),
    "no seed": put("model", "attributes", "_seed", value=...),
    "features": put("model", "attributes", "n_features_in_", value=6),
    "many features": put("model", "attributes", "n_features_in_", value=2**40),
    "kind": put("model", "attributes", "_target_kind", value="labels"),
    "kind list": put("model", "attributes", "_target_kind", value=["matrix"]),
}


@pytest.mark.parametrize("case", HEADERS)
def test_tampered_headers(tiny, path, case):
    small(ranker="linear").fit(*tiny).export(path)
    rewritten(path, lambda header, model: None)
    assert loads_and_predicts_or_refuses(path, tiny[0])
    rewritten(path, lambda *both: HEADERS[case](*both))
    if case == "no JSON":
        data = path.read_bytes()
        path.write_bytes(data.replace(b'"slidelearn": "{\\"', b'"slidelearn": "[\\"'))
    assert not loads_and_predicts_or_refuses(path, tiny[0])


@pytest.mark.parametrize("header", [b"[]", b"null", b"{", b"\xff{}", b"[" * 50_000, b'{"a": 1e999}',
                                    b'{"a": {"dtype": "U8", "shape": [], "data_offsets": [0, 1]}}'])
def test_headers_of_any_kind(path, header):
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(ValueError, match="damaged"):
        SlideClassifier.load(path)


def test_tampered_arrays(tiny, path):
    """Indices, order and characters are checked though they are mapped."""
    X, Y = tiny

    def fails(change, y=Y):
        small(ranker="linear", n_tables=3, bucket_size=2).fit(X, y).export(path, hash_tables=True)
        tensors, metadata = _safetensors.read(path, None)
        change(tensors)
        _safetensors.write(path, tensors, metadata)
        assert not loads_and_predicts_or_refuses(path, X)

    for value in (-1, 5, 2**31 - 1):
        fails(lambda tensors, value=value: tensors["ranker.indices"].array.__setitem__(0, value))
    for place, value in ((0, 1), (0, -1), (1, 2**40), (2, -5)):
        fails(lambda tensors, value=value, place=place:
              tensors["ranker.indptr"].array.__setitem__(place, value))
    for value in (-1, 4, 2**31 - 1):
        fails(lambda tensors, value=value: tensors["tables.ids"].array[1].__setitem__(0, value))
    for place, value in ((0, 1), (0, -1), (1, 3), (1, -5), (-1, 5), (-1, 2**31 - 1), (-1, -1)):
        fails(lambda tensors, value=value, place=place:
              tensors["tables.indptr"].array[2].__setitem__(place, value))
    for row in range(4):
        fails(lambda tensors, row=row: tensors["tables.ids"].array.__setitem__(slice(None), row))
    for place in ((2, 1), (2, slice(None)), slice(None)):  # the first row of a table, again
        fails(lambda tensors, place=place: tensors["tables.ids"].array.__setitem__(
            place, tensors["tables.ids"].array[2, 0]))
    for name in ("indptr", "ids", "query_mean"):
        fails(lambda tensors, name=name: tensors.pop(f"tables.{name}"))
        fails(lambda tensors, name=name: tensors.__setitem__(
            f"tables.{name}", Tensor.of(tensors[f"tables.{name}"].array[..., :-1])))
    fails(lambda tensors: tensors["tables.query_mean"].array.__setitem__(0, np.inf))
    fails(lambda tensors: tensors["output.bias"].array.__setitem__(0, np.nan))
    labels = np.array(["a", "b", "c"] * 4)
    fails(lambda tensors: tensors["classes"].array.__setitem__((0, 0), 0x110000), labels)
    fails(lambda tensors: tensors["classes"].array.__setitem__((0, 0), ord("c")), labels)
