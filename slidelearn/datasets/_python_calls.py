"""The "Python calls" data set: which functions does a function call?

Everything that turns the installed Python sources into a labelled text corpus belongs here:
finding the files, taking functions out of them, splitting, vectorising and caching.
"""

import ast
import gc
import hashlib
import os
import pickle
import platform
import re
import sysconfig
import warnings
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import numpy as np
import scipy.sparse as sp
from sklearn.datasets import get_data_home
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import MultiLabelBinarizer
from sklearn.utils import Bunch

from .._files import replacing
from .._progress import tqdm

__all__ = ["load_python_calls"]

PACKAGES = ("stdlib", "numpy", "scipy", "sklearn")
_RECIPE_VERSION = 1  # to be raised with every change of what the built data set contains
_SKIPPED_DIRECTORIES = frozenset({"site-packages", "dist-packages", "__pycache__"})
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)
_TEST_SHARE = 0.2
_MIN_CALLERS = 2

# What unpickling a truncated or overwritten file may raise, but not what opening one may.
_DAMAGE = (
    pickle.UnpicklingError,
    zlib.error,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    OverflowError,
    TypeError,
    ValueError,
)

_DESCR = """\
Python calls data set
---------------------

Which functions does a Python function call, judging by its name, the names of its arguments and
its docstring? The data set is built from the Python sources of the installation itself:
{packages}; the tests of these packages are included.

One sample is a function or method whose name has at least two words or which has a docstring.
Its text is made of the words of its name, of its arguments, its docstring and the path of its
module. Its labels are the names of the functions that its body calls (of ``a.b.c()`` the name
is ``c``), if at least {min_callers} functions of the training part call them. Functions that call
none of these are left out, and of exact copies only the first is kept.

A file belongs to the test part, with all its functions, when a hash of its path says so: about
one file in five. The features are tf-idf weights of the words that occur in at least two functions
of the training part.

    training functions  {n_train:>9,d}
    test functions      {n_test:>9,d}
    features            {n_features:>9,d}
    labels              {n_labels:>9,d}
    labels per function {labels_per_row:>9.2f}

The contents depend on the versions of Python and of the packages, hence results are comparable
within one installation only. The sources keep the licences of their projects.
"""


class SourceFile(NamedTuple):
    """A Python file and the name that stands for it on every machine."""

    name: str
    path: Path


@dataclass(frozen=True)
class Function:
    """What the data set knows of one function."""

    name: str
    text: str
    calls: frozenset[str]
    is_test: bool


def load_python_calls(
    *,
    data_home: str | os.PathLike[str] | None = None,
    packages: Sequence[str] = PACKAGES,
    verbose: bool = True,
) -> Bunch:
    """Load (or build) the Python calls data set: predict what a function calls.

    A real multi-label data set of extreme classification that needs no download: it is made
    from the Python sources of the standard library, numpy, scipy and scikit-learn as they are
    installed, tests included. A sample is a function or method; its features are the words of
    its name, arguments, docstring and module path; its labels are the names of the functions
    it calls. The first call builds it, which takes half a minute of a free core; later calls read a
    cached file.

    Parameters
    ----------
    data_home : str or path-like, default=None
        Directory of the cached file. By default scikit-learn's,
        see :func:`sklearn.datasets.get_data_home`.
    packages : sequence of {"stdlib", "numpy", "scipy", "sklearn"}, default=all four
        Whose sources to use. Order and repetition do not matter.
    verbose : bool, default=True
        Whether to show the progress of building. Even then nothing is shown when the standard
        error stream is neither a terminal nor a notebook's with ipywidgets.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        Dictionary-like object with the attributes:

        X_train, X_test : csr_matrix of shape (n_samples, n_features), dtype float32
            Tf-idf weights; the rows have unit length. Vocabulary and weights come from the
            training part.
        Y_train, Y_test : csr_matrix of shape (n_samples, n_labels), dtype float32
            Label indicator: 1.0 where the function calls the label.
        text_train, text_test : list of str
            The texts behind the features.
        name_train, name_test : list of str
            Path of the module and qualified name of each function.
        feature_names : ndarray of shape (n_features,), dtype object
            The word of each column of ``X``.
        label_names : ndarray of shape (n_labels,), dtype object
            The name of the called function for each column of ``Y``.
        DESCR : str
            Full description of the data set.

    Raises
    ------
    ValueError
        If a package is unknown, if `packages` is empty, or if the sources found are too few to
        make a data set of (an installation without its ``.py`` files).

    Warns
    -----
    UserWarning
        If the cached file is damaged; it is then built again.

    Notes
    -----
    The result is the same for every build from the same source files. A digest of the versions
    of Python and the packages and of the list of files is part of the name of the cached file,
    hence an upgrade leads to a new one; files that are no longer needed can be deleted. Like
    all caches of scikit-learn the file is a pickle: `data_home` must be a directory that only
    trusted users can write to.

    Examples
    --------
    >>> from slidelearn.datasets import load_python_calls
    >>> data = load_python_calls()  # doctest: +SKIP
    >>> data.X_train.shape  # doctest: +SKIP
    (60605, 16994)
    """
    names = _checked_packages(packages)
    sources = _find_sources(names)
    file_name = f"slidelearn_python_calls_{_fingerprint(names, sources)}.joblib"
    path = Path(get_data_home(data_home)) / file_name
    data = _read_cache(path)
    if data is None:
        data = build(sources, names, verbose=verbose)
        with replacing(path) as stream:
            joblib.dump(data, stream, compress=("zlib", 3))
    return data


# ---- cache --------------------------------------------------------------------------------


def _checked_packages(packages: Sequence[str]) -> tuple[str, ...]:
    """Return the packages in their standard order, each once."""
    if isinstance(packages, str):
        raise ValueError(f"packages must be a sequence of names, got the string {packages!r}.")
    unknown = [name for name in packages if name not in PACKAGES]
    if unknown:
        raise ValueError(f"Unknown packages {unknown}; possible are {list(PACKAGES)}.")
    if not packages:
        raise ValueError(f"packages is empty; possible are {list(PACKAGES)}.")
    return tuple(name for name in PACKAGES if name in packages)


def _fingerprint(packages: Sequence[str], sources: Sequence[SourceFile]) -> str:
    """Digest everything that the built data set depends on."""
    # All three packages count even when only one is a source: they build and pickle the arrays.
    versions = [f"{name} {import_module(name).__version__}" for name in PACKAGES[1:]]
    recipe = [f"recipe {_RECIPE_VERSION}", f"python {platform.python_version()}", *packages]
    # The same version of Python comes with or without its tests.
    files = [f"{source.name} {source.path.stat().st_size}" for source in sources]
    text = "\n".join([*recipe, *versions, *files])
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _read_cache(path: Path) -> Bunch | None:
    """Read a cached data set; None if there is none or if it is damaged."""
    try:
        data = joblib.load(path)
        if not isinstance(data, Bunch) or "label_names" not in data:
            raise ValueError("not a data set")
    except FileNotFoundError:
        return None
    except _DAMAGE as error:
        warnings.warn(
            f"The cached file {path} is damaged ({error}); it is built again.",
            UserWarning,
            stacklevel=3,
        )
        return None
    return data


# ---- sources ------------------------------------------------------------------------------


def _package_root(package: str) -> Path:
    """Find the directory of a package's sources."""
    if package == "stdlib":
        return Path(sysconfig.get_paths()["stdlib"])
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(f"The sources of {package} were not found.")
    return Path(spec.submodule_search_locations[0])


def _find_sources(packages: Iterable[str]) -> list[SourceFile]:
    """List the Python files of the packages in an order that does not depend on the machine."""
    return [source for name in packages for source in list_sources(_package_root(name), name)]


def list_sources(root: Path, package: str) -> list[SourceFile]:
    """List the Python files beneath a directory, sorted by name.

    Parameters
    ----------
    root : pathlib.Path
        The directory. Installed third-party packages beneath it are left out.
    package : str
        What the names of the files start with.

    Returns
    -------
    sources : list of SourceFile
    """
    sources = []
    for directory, subdirectories, files in os.walk(root):
        subdirectories[:] = [name for name in subdirectories if name not in _SKIPPED_DIRECTORIES]
        for file in files:
            path = Path(directory, file)
            if path.suffix == ".py" and path.is_file():
                name = "/".join((package, *path.relative_to(root).parts))
                sources.append(SourceFile(name, path))
    return sorted(sources)


def _is_test_file(name: str) -> bool:
    """Assign a file to the test part by a hash of its name."""
    digest = hashlib.sha256(name.encode()).digest()
    return int.from_bytes(digest[:8], "big") < _TEST_SHARE * 2**64


# ---- functions ----------------------------------------------------------------------------


def read_functions(source: SourceFile) -> list[Function]:
    """Take the functions out of a Python file.

    Parameters
    ----------
    source : SourceFile
        A file that cannot be read or parsed has no functions.

    Returns
    -------
    functions : list of Function
        Those with a telling name or a docstring that call anything, in order of appearance.
    """
    try:
        tree = _parse(source.path.read_bytes())
    except (SyntaxError, ValueError, RecursionError, MemoryError, OSError):
        return []
    is_test = _is_test_file(source.name)
    functions = []
    for qualified_name, node in _walk_functions(tree, ""):
        text = _describe(node, source.name)
        calls = frozenset(() if text is None else _calls(node))
        if text is not None and calls:
            functions.append(Function(f"{source.name}:{qualified_name}", text, calls, is_test))
    return functions


def _parse(code: bytes) -> ast.AST:
    """Parse a file, with no warnings about its invalid escapes and the like."""
    # Trees have no cycles; the collector would double the time by walking over their nodes.
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(code)
    finally:
        if was_enabled:
            gc.enable()


def _walk_functions(tree: ast.AST, prefix: str) -> Iterator[tuple[str, Any]]:
    """Yield the qualified name and the node of each function, nested ones included."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (*_FUNCTION, ast.ClassDef)):
            name = prefix + node.name
            if not isinstance(node, ast.ClassDef):
                yield name, node
            yield from _walk_functions(node, name + ".")
        elif not isinstance(node, ast.expr):
            yield from _walk_functions(node, prefix)


def _calls(function: Any) -> Iterator[str]:
    """Yield the names called in the body of a function, but not in functions inside it."""
    pending: list[ast.AST] = list(function.body)
    while pending:
        node = pending.pop()
        if isinstance(node, (*_FUNCTION, ast.ClassDef)):
            continue
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name):
                yield node.func.id
            elif isinstance(node.func, ast.Attribute):
                yield node.func.attr
        pending.extend(ast.iter_child_nodes(node))


def _describe(function: Any, file_name: str) -> str | None:
    """Write the text of a function; None if neither name nor docstring tell anything."""
    docstring = ast.get_docstring(function) or ""
    words = split_words(function.name)
    is_special = function.name.startswith("__") and function.name.endswith("__")
    if not docstring and (is_special or len(words) < 2):
        return None
    arguments = [word for name in _argument_names(function.args) for word in split_words(name)]
    place = split_words(file_name.removesuffix(".py"))
    return "\n".join([" ".join(words), " ".join(arguments), docstring, " ".join(place)])


def _argument_names(arguments: ast.arguments) -> list[str]:
    """List the names of the arguments, without that of the instance or the class."""
    nodes = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    nodes += filter(None, (arguments.vararg, arguments.kwarg))
    return [node.arg for node in nodes if node.arg not in ("self", "cls")]


def split_words(name: str) -> list[str]:
    """Split an identifier in snake_case or CamelCase into its words, in lower case.

    Parameters
    ----------
    name : str

    Returns
    -------
    words : list of str

    Examples
    --------
    >>> split_words("_parseHTTPHeader_v2")
    ['parse', 'http', 'header', 'v', '2']
    """
    return [word.lower() for word in _WORD.findall(name)]


# ---- data set -----------------------------------------------------------------------------


def build(sources: Sequence[SourceFile], packages: Sequence[str], *, verbose: bool) -> Bunch:
    """Build the data set from Python files.

    Parameters
    ----------
    sources : sequence of SourceFile
        The files, in the order that the samples will have.
    packages : sequence of str
        Names for the description.
    verbose : bool
        Whether to show the progress, if on a terminal.

    Returns
    -------
    data : Bunch
        As :func:`load_python_calls` returns it.

    Raises
    ------
    ValueError
        If the files do not have functions enough for both parts.
    """
    progress = tqdm(sources, desc="Python calls", unit="file", disable=None if verbose else True)
    functions = _without_copies(f for source in progress for f in read_functions(source))
    train = [function for function in functions if not function.is_test]
    labels = _frequent_calls(train)
    train = [function for function in train if function.calls & labels]
    test = [function for function in functions if function.is_test and function.calls & labels]
    if not train or not test:
        found = f"{len(sources)} Python files with {len(functions)} functions that call others"
        raise ValueError(f"Too few sources of {', '.join(packages)}: found {found}.")
    data = _vectorised(train, test, sorted(labels))
    data.DESCR = _description(data, packages)
    return data


def _without_copies(functions: Iterable[Function]) -> list[Function]:
    """Keep the first of the functions that agree in everything but where they are."""
    # Vendored code would put the same function into both parts.
    distinct: dict[Any, Function] = {}
    for function in functions:
        qualified_name = function.name.partition(":")[2]
        content = function.text.rpartition("\n")[0]  # without the words of the path
        distinct.setdefault((qualified_name, content, function.calls), function)
    return list(distinct.values())


def _frequent_calls(train: Iterable[Function]) -> set[str]:
    """Find the names that enough functions call."""
    counts = Counter(call for function in train for call in function.calls)
    return {call for call, count in counts.items() if count >= _MIN_CALLERS}


def _vectorised(train: list[Function], test: list[Function], labels: list[str]) -> Bunch:
    """Turn functions into the matrices and lists of the data set."""
    vectorizer = TfidfVectorizer(sublinear_tf=True, dtype=np.float32, min_df=2)
    binarizer = MultiLabelBinarizer(classes=labels, sparse_output=True)
    known = frozenset(labels)
    data = Bunch()
    binarizer.fit([])
    for part, functions in (("train", train), ("test", test)):
        text = [function.text for function in functions]
        transform = vectorizer.fit_transform if part == "train" else vectorizer.transform
        indicator = binarizer.transform([function.calls & known for function in functions])
        data[f"X_{part}"] = _sorted_csr(transform(text))
        data[f"Y_{part}"] = _sorted_csr(indicator)
        data[f"text_{part}"] = text
        data[f"name_{part}"] = [function.name for function in functions]
    data.feature_names = vectorizer.get_feature_names_out()
    data.label_names = np.array(labels, dtype=object)
    return data


def _sorted_csr(matrix: Any) -> sp.csr_matrix:
    """Return a matrix as float32 CSR whose rows are sorted: sets do not iterate in fixed order."""
    csr = sp.csr_matrix(matrix, dtype=np.float32)
    csr.sort_indices()
    return csr


def _description(data: Bunch, packages: Sequence[str]) -> str:
    """Fill in the description."""
    n_train, n_labels = data.Y_train.shape
    return _DESCR.format(
        packages=", ".join(packages),
        min_callers=_MIN_CALLERS,
        n_train=n_train,
        n_test=data.Y_test.shape[0],
        n_features=len(data.feature_names),
        n_labels=n_labels,
        labels_per_row=data.Y_train.nnz / n_train,
    )
