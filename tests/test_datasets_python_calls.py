"""The Python calls data set, built from small made-up packages and from a part of numpy."""

import gc
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path

import joblib
import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.utils import Bunch

from slidelearn.datasets import _python_calls as calls
from slidelearn.datasets import load_python_calls

CODE = '''
import numpy as np

def read_file(path, *, maxSize=3, **options):
    """Read it all."""
    with open(path) as stream:
        return parse(np.asarray(stream.read()))

class Reader:
    def __init__(self):
        self.setup()

    def __repr__(self):
        """Show oneself."""
        return super().__repr__()

    async def fetch_all(self, *urls):
        def fetch_one(url):
            return download(url)
        class Inner:
            def inner_method(self):
                return inside()
        return await gather(*(fetch_one(url) for url in urls), key=lambda x: lower(x))

    def get(self):
        return lookup(self)

    def silent_method(self):
        """Call nothing."""
        return self.table[0]

if True:
    try:
        def guarded_function():
            return (lambda: 1)()() + make()()
    finally:
        pass
'''


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "code.py"
    path.write_text(CODE)
    return calls.SourceFile("pack/subPack/code.py", path)


def write_package(root, n_files=20):
    """Write modules with two functions each; return their sources."""
    root.mkdir(exist_ok=True)
    for number in range(n_files):
        text = f"""
        def load_table_{"abcd"[number % 4]}(path, row{number}):
            '''Load number{number} of the tables.'''
            return frame(open(path), load_{number % 4}(path), only_{number}())

        def save_table_{number}(table):
            return table.write(sorted(table))
        """
        (root / f"module{number}.py").write_text(textwrap.dedent(text))
    return calls.list_sources(root, "pack")


# ---- functions ----------------------------------------------------------------------------


def test_functions_of_a_file(source):
    found = {function.name: function for function in calls.read_functions(source)}
    expected = {
        "read_file": {"open", "parse", "asarray", "read"},
        "Reader.__repr__": {"super", "__repr__"},
        "Reader.fetch_all": {"gather", "fetch_one", "lower"},
        "Reader.fetch_all.fetch_one": {"download"},
        "Reader.fetch_all.Inner.inner_method": {"inside"},
        "guarded_function": {"make"},
    }
    assert {name: set(function.calls) for name, function in found.items()} == {
        f"pack/subPack/code.py:{name}": names for name, names in expected.items()
    }


def test_text_of_a_function(source):
    text = calls.read_functions(source)[0].text
    assert text == "read file\npath max size options\nRead it all.\npack sub pack code"
    text = {f.name.rpartition(".")[2]: f.text for f in calls.read_functions(source)}["fetch_all"]
    assert text == "fetch all\nurls\n\npack sub pack code"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("snake_case_name", ["snake", "case", "name"]),
        ("camelCaseName", ["camel", "case", "name"]),
        ("HTTPServer", ["http", "server"]),
        ("getHTTPResponse2", ["get", "http", "response", "2"]),
        ("__init__", ["init"]),
        ("X", ["x"]),
        ("_", []),
    ],
)
def test_split_words(name, words):
    assert calls.split_words(name) == words


@pytest.mark.parametrize("code", [b"def broken(:\n", b"\x00", b"# coding: none\n", b"\xff\xfe"])
def test_files_that_do_not_parse_have_no_functions(tmp_path, code):
    path = tmp_path / "bad.py"
    path.write_bytes(code)
    assert calls.read_functions(calls.SourceFile("bad.py", path)) == []
    assert calls.read_functions(calls.SourceFile("none.py", tmp_path / "none.py")) == []


def test_warnings_of_the_sources_are_silent(tmp_path):
    path = tmp_path / "code.py"
    path.write_text("def two_words():\n    return f(1) is 3\n")
    with pytest.warns(SyntaxWarning):
        compile(path.read_text(), "code.py", "exec")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(calls.read_functions(calls.SourceFile("code.py", path))) == 1


def test_garbage_collection_is_switched_on_again(source):
    calls.read_functions(source)
    assert gc.isenabled()
    gc.disable()
    try:
        calls.read_functions(source)
        assert not gc.isenabled()
    finally:
        gc.enable()


# ---- sources ------------------------------------------------------------------------------


def test_list_sources(tmp_path):
    names = ["b.py", "a/z.py", "site-packages/other.py", "a/dist-packages/x.py", "data.txt", "a.py"]
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "broken.py").symlink_to(tmp_path / "nowhere.py")
    found = calls.list_sources(tmp_path, "pack")
    assert [source.name for source in found] == ["pack/a.py", "pack/a/z.py", "pack/b.py"]
    assert found[1].path == tmp_path / "a" / "z.py"


def test_every_package_is_found():
    names = {source.name for source in calls._find_sources(calls.PACKAGES)}
    for name in ("stdlib/ast.py", "numpy/__init__.py", "scipy/__init__.py", "sklearn/base.py"):
        assert name in names
    assert not any("site-packages" in name for name in names)


def test_split_by_file_is_fixed_and_takes_a_fifth():
    assert calls._is_test_file("stdlib/0.py") is calls._is_test_file("stdlib/0.py")
    shares = [calls._is_test_file(f"stdlib/{number}.py") for number in range(5000)]
    assert np.mean(shares) == pytest.approx(0.2, abs=0.02)
    # The split must not change by accident: published numbers hang on it.
    assert [number for number in range(20) if shares[number]] == [3, 4, 6, 10, 12, 13, 18]


# ---- data set -----------------------------------------------------------------------------


def test_build(tmp_path):
    sources = write_package(tmp_path / "pack")
    data = calls.build(sources, ["pack"], verbose=False)
    n_test_files = sum(calls._is_test_file(source.name) for source in sources)
    assert 0 < n_test_files < 20
    assert len(data.text_test) == len(data.name_test) == 2 * n_test_files
    assert len(data.text_train) == len(data.name_train) == 40 - 2 * n_test_files
    for part in ("train", "test"):
        for kind, columns in (("X", data.feature_names), ("Y", data.label_names)):
            matrix = data[f"{kind}_{part}"]
            assert isinstance(matrix, sp.csr_matrix)
            assert matrix.dtype == np.float32
            assert matrix.shape == (len(data[f"text_{part}"]), len(columns))
            assert matrix.has_sorted_indices
    assert list(data.label_names) == sorted(data.label_names)
    assert {"frame", "open", "sorted", "write"} <= set(data.label_names)
    assert not any(name.startswith("only_") for name in data.label_names)  # one caller each
    assert "number3" not in data.feature_names  # in one function
    assert "tables" in data.feature_names
    assert "pack" in data.DESCR


def test_labels_and_texts_belong_together(tmp_path):
    data = calls.build(write_package(tmp_path / "pack"), ["pack"], verbose=False)
    for part in ("train", "test"):
        for name, text, row in zip(
            data[f"name_{part}"], data[f"text_{part}"], data[f"Y_{part}"], strict=True
        ):
            is_load = ":load_table_" in name
            assert text.startswith("load table" if is_load else "save table")
            called = set(data.label_names[row.indices])
            if is_load:
                number = int(name.removeprefix("pack/module").partition(".py")[0])
                assert {"frame", "open"} <= called <= {"frame", "open", f"load_{number % 4}"}
            else:
                assert called == {"sorted", "write"}


def test_labels_come_from_the_training_part_only(tmp_path):
    sources = write_package(tmp_path / "pack")
    test_sources = [source for source in sources if calls._is_test_file(source.name)]
    for source in test_sources:
        source.path.write_text(
            "def only_in_test():\n    return fresh(), frame()\n"
            "def also_in_test():\n    return fresh()\n"
        )
    data = calls.build(sources, ["pack"], verbose=False)
    assert "fresh" not in data.label_names
    assert "fresh" not in data.feature_names
    assert {name.partition(":")[2] for name in data.name_test} == {"only_in_test"}


def test_copies_are_dropped(tmp_path):
    sources = write_package(tmp_path / "pack", 20)
    originals = calls.build(sources, ["pack"], verbose=False)
    copies = calls.build(
        [*sources, *calls.list_sources(tmp_path / "pack", "copy")], ["pack"], verbose=False
    )
    assert copies.name_train == originals.name_train
    assert copies.name_test == originals.name_test


def test_too_few_sources(tmp_path):
    message = r"Too few sources of pack: found 1 Python files with 2 functions"
    with pytest.raises(ValueError, match=message):
        calls.build(write_package(tmp_path / "pack", 1), ["pack"], verbose=False)


def test_builds_agree_across_processes(tmp_path):
    write_package(tmp_path / "pack")
    code = """
import sys, joblib
from pathlib import Path
from slidelearn.datasets import _python_calls as calls
data = calls.build(calls.list_sources(Path(sys.argv[1]), "pack"), ["pack"], verbose=False)
print(joblib.hash({key: data[key] for key in sorted(data)}))
"""
    root = str(Path(calls.__file__).parents[2])
    digests = {
        subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "pack")],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": root},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1


# ---- loading and cache --------------------------------------------------------------------


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Make the loader take a small package for every one of its own."""
    sources = write_package(tmp_path / "pack")
    monkeypatch.setattr(calls, "_find_sources", lambda _: sources)
    return sources


def test_cache_is_used(tmp_path, small, monkeypatch):
    home = tmp_path / "home"
    first = load_python_calls(data_home=home, verbose=False)
    assert isinstance(first, Bunch)
    (cached,) = home.iterdir()
    assert cached.name.startswith("slidelearn_python_calls_")
    assert cached.suffix == ".joblib"
    monkeypatch.setattr(calls, "build", None)
    second = load_python_calls(data_home=str(home))
    assert first.keys() == second.keys()
    np.testing.assert_array_equal(first.X_train.toarray(), second.X_train.toarray())
    assert first.text_test == second.text_test
    assert (home / cached.name).exists()


@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty", "other", "flipped"])
def test_damaged_cache_is_built_again(tmp_path, small, damage):
    home = tmp_path / "home"
    first = load_python_calls(data_home=home, verbose=False)
    (cached,) = home.iterdir()
    whole = cached.read_bytes()
    if damage == "other":
        joblib.dump({"label_names": 1}, cached)
    else:
        broken = {
            "truncated": whole[: len(whole) // 2],
            "garbage": b"not a pickle at all",
            "empty": b"",
            "flipped": whole[:200] + bytes(255 - byte for byte in whole[200:300]) + whole[300:],
        }
        cached.write_bytes(broken[damage])
    with pytest.warns(UserWarning, match="is damaged .* built again") as record:
        second = load_python_calls(data_home=home, verbose=False)
    assert record[0].filename == __file__
    assert first.name_train == second.name_train
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_python_calls(data_home=home, verbose=False)


def test_failed_build_leaves_no_file(tmp_path, small, monkeypatch):
    def fail(data, stream, **_):
        stream.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(calls.joblib, "dump", fail)
    with pytest.raises(OSError, match="disk full"):
        load_python_calls(data_home=tmp_path / "home", verbose=False)
    assert list((tmp_path / "home").iterdir()) == []


def test_fingerprint_covers_versions_packages_and_files(small, monkeypatch):
    digest = calls._fingerprint(("numpy",), small)
    assert calls._fingerprint(("numpy",), small) == digest
    changed = {
        calls._fingerprint(("scipy",), small),
        calls._fingerprint(("numpy",), small[:-1]),
    }
    small[0].path.write_text("")
    changed.add(calls._fingerprint(("numpy",), small))
    monkeypatch.setattr(calls.platform, "python_version", lambda: "3.99.0")
    changed.add(calls._fingerprint(("numpy",), small))
    monkeypatch.setattr(calls, "_RECIPE_VERSION", -1)
    changed.add(calls._fingerprint(("numpy",), small))
    monkeypatch.setattr(np, "__version__", "99.0")
    changed.add(calls._fingerprint(("numpy",), small))
    assert len(changed | {digest}) == 7


def test_order_of_packages_does_not_matter():
    assert calls._checked_packages(["scipy", "stdlib", "scipy"]) == ("stdlib", "scipy")


@pytest.mark.parametrize(
    ("packages", "message"),
    [
        (["numpy", "pandas"], r"Unknown packages \['pandas'\]; possible are \['stdlib', 'numpy'"),
        ([], "packages is empty"),
        ("numpy", "must be a sequence of names, got the string 'numpy'"),
    ],
)
def test_bad_packages(tmp_path, packages, message):
    with pytest.raises(ValueError, match=message):
        load_python_calls(data_home=tmp_path, packages=packages)


def test_package_without_sources(monkeypatch):
    monkeypatch.setattr(calls, "find_spec", lambda _: None)
    with pytest.raises(ValueError, match="The sources of numpy were not found"):
        calls._find_sources(["numpy"])


@pytest.mark.parametrize("verbose", [True, False])
def test_progress_is_silent_without_a_terminal(tmp_path, capsys, verbose):
    calls.build(write_package(tmp_path / "pack"), ["pack"], verbose=verbose)
    assert capsys.readouterr() == ("", "")


def test_progress_on_a_terminal(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    sources = write_package(tmp_path / "pack")
    calls.build(sources, ["pack"], verbose=True)
    assert "Python calls: 100%" in capsys.readouterr().err
    calls.build(sources, ["pack"], verbose=False)
    assert capsys.readouterr().err == ""


def test_a_part_of_numpy(tmp_path):
    sources = [s for s in calls._find_sources(["numpy"]) if s.name.startswith("numpy/lib/")]
    data = calls.build(sources, ["numpy"], verbose=False)
    assert data.X_train.shape[0] > 500
    assert data.X_test.shape[0] > 50
    assert {"asarray", "reshape", "ValueError"} <= set(data.label_names)
    counts = np.bincount(data.Y_train.indices, minlength=len(data.label_names))
    assert counts.min() >= 2
    assert np.diff(data.Y_train.indptr).min() >= 1
    assert np.diff(data.Y_test.indptr).min() >= 1
    np.testing.assert_allclose(data.X_train.multiply(data.X_train).sum(axis=1), 1, rtol=1e-4)
    modules = [{name.partition(":")[0] for name in data[f"name_{p}"]} for p in ("train", "test")]
    assert not modules[0] & modules[1]
