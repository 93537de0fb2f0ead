"""The text format of the Extreme Classification Repository."""

import gzip
import io
import os
import pathlib
import re
from contextlib import closing

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.datasets import load_svmlight_file
from sklearn.utils.multiclass import type_of_target

from slidelearn.datasets import _xmc, dump_xmc_file, iter_xmc_file, load_xmc_file

GOOD = b"""5 4 6
0,5 0:0.5 3:-2e-3
 1:1 2:2.5
5
 \n\
2,1\t3:4
"""
GOOD_X = [[0.5, 0, 0, -0.002], [0, 1, 2.5, 0], [0] * 4, [0] * 4, [0, 0, 0, 4]]
GOOD_Y = [[1, 0, 0, 0, 0, 1], [0] * 6, [0, 0, 0, 0, 0, 1], [0] * 6, [0, 1, 1, 0, 0, 0]]


def load(text, **kwargs):
    return load_xmc_file(io.BytesIO(text), **kwargs)


def parse_slowly(text, dtype=np.float32):
    stream = io.BytesIO(text)
    header = _xmc.read_header(stream, "slow")
    return _xmc._parse_slowly(stream, "slow", header, np.dtype(dtype))


def parse_fast(text, dtype=np.float32):
    stream = io.BytesIO(text)
    header = _xmc.read_header(stream, "fast")
    return _xmc._parse_fast(stream, header, np.dtype(dtype))


def assert_same(first, second):
    """Both pairs of matrices agree bit by bit."""
    for one, other in zip(first, second, strict=True):
        assert one.shape == other.shape
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one.indptr, other.indptr)
        np.testing.assert_array_equal(one.indices, other.indices)
        assert one.data.tobytes() == other.data.tobytes()


@pytest.mark.parametrize("parse", [load, parse_fast, parse_slowly])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_good_file(parse, dtype):
    X, Y = parse(GOOD, dtype=dtype)
    assert isinstance(X, sp.csr_matrix)
    assert isinstance(Y, sp.csr_matrix)
    assert X.dtype == dtype
    assert Y.dtype == np.float32
    assert X.indices.dtype == Y.indices.dtype == np.int32
    np.testing.assert_array_equal(X.toarray(), np.array(GOOD_X, dtype=dtype))
    np.testing.assert_array_equal(Y.toarray(), GOOD_Y)
    assert type_of_target(Y) == "multilabel-indicator"


def test_windows_line_ends_and_missing_last_line_end():
    expected = load(GOOD)
    assert_same(load(GOOD.replace(b"\n", b"\r\n")), expected)
    assert_same(load(GOOD[:-1]), expected)


def test_unsorted_features_are_sorted_with_their_values():
    X, Y = load(b"1 4 3\n2,0 3:3 0:1 2:2\n")
    np.testing.assert_array_equal(X.indices, [0, 2, 3])
    np.testing.assert_array_equal(X.data, [1, 2, 3])
    np.testing.assert_array_equal(Y.indices, [0, 2])


def test_explicit_zeros_are_stored():
    X, _ = load(b"1 4 3\n2 0:0 3:-0.0\n")
    assert X.nnz == 2
    assert X.data.tobytes() == np.array([0.0, -0.0], dtype=np.float32).tobytes()


@pytest.mark.parametrize("text", [b"0 3 2\n", b"2 0 0\n \n \n", b"2 3 2\n0\n1\n", b"1 3 0\n 1:2"])
def test_files_without_rows_features_or_labels(text):
    n_samples, n_features, n_labels = map(int, text.split(b"\n")[0].split())
    X, Y = load(text)
    assert X.shape == (n_samples, n_features)
    assert Y.shape == (n_samples, n_labels)
    assert_same(parse_slowly(text), (X, Y))


def test_good_files_do_not_take_the_slow_pass(monkeypatch):
    monkeypatch.setattr(_xmc, "_parse_slowly", None)
    assert load(GOOD)[0].shape == (5, 4)


def test_streams_that_cannot_seek(tmp_path):
    class Pipe(io.BytesIO):
        def seekable(self):
            return False

        def seek(self, *_):
            raise io.UnsupportedOperation

    assert_same(load_xmc_file(Pipe(GOOD)), load(GOOD))
    with pytest.raises(ValueError, match="line 2: blank line"):
        load_xmc_file(Pipe(b"1 2 3\n\n"))


def test_file_object_is_read_from_where_it_stands_and_stays_open():
    stream = io.BytesIO(b"something else\n" + GOOD)
    stream.readline()
    assert_same(load_xmc_file(stream), load(GOOD))
    assert not stream.closed
    stream = io.BytesIO(b"something else\n1 4 3\n2,0 3:3 0:1 2:2\n")
    stream.readline()
    assert load_xmc_file(stream)[0].nnz == 3  # by the slow pass


def test_text_mode_is_refused():
    with pytest.raises(ValueError, match="binary mode"):
        load_xmc_file(io.StringIO("1 2 3\n"))


@pytest.mark.parametrize("dtype", [np.float16, np.int64, "complex64"])
def test_other_dtypes_are_refused(dtype):
    with pytest.raises(ValueError, match="dtype must be float32 or float64"):
        load(GOOD, dtype=dtype)


BAD_HEADERS = [
    b"",
    b"\n",
    b"1 2\n",
    b"1 2 3 4\n",
    b"a b c\n",
    b"1 -2 3\n",
    b"1.0 2 3\n",
    b"0,1 2:3\n",
]


@pytest.mark.parametrize("header", BAD_HEADERS)
def test_bad_headers(header):
    with pytest.raises(ValueError, match=r"<file object>, line 1: expected the header"):
        load(header)


# What follows the header "3 5 4" and two good rows, and the message about line 4.
BAD_ROWS = {
    "blank": (b"\n", "blank line"),
    "blank windows": (b"\r\n", "blank line"),
    "comment": (b"1 2:3 # why\n", "expected 'feature:value', got '#'"),
    "comment line": (b"# why\n", "label '#' is not an integer"),
    "comment value": (b"1 2:3#4\n", "value '3#4' of feature 2 is not a finite"),
    "query": (b"1 qid:3 2:3\n", "feature 'qid' is not an integer"),
    "query first": (b"qid:3 2:3\n", "feature 'qid' is not an integer"),
    "large label": (b"4 2:3\n", "label 4 is outside the range 0 to 3 of the header"),
    "negative label": (b"1,-1 2:3\n", "label -1 is outside the range 0 to 3"),
    "fractional label": (b"1.5 2:3\n", "label '1.5' is not an integer"),
    "infinite label": (b"1e999 2:3\n", "label '1e999' is not an integer"),
    "word label": (b"one 2:3\n", "label 'one' is not an integer"),
    "nan label": (b"nan 2:3\n", "label 'nan' is not an integer"),
    "underscored label": (b"0_1 2:3\n", "label '0_1' is not an integer"),
    "no label": (b"1,,2 2:3\n", "label '' is not an integer"),
    "odd label": (b"+-1 2:3\n", r"label '\+-1' is not an integer"),
    "second label token": (b"1 2 2:3\n", "expected 'feature:value', got '2'"),
    "repeated label": (b"2,0,2 2:3\n", "label 2 is given twice"),
    "large feature": (b"1 5:3\n", "feature 5 is outside the range 0 to 4 of the header"),
    "huge feature": (b"1 3000000000:3\n", "feature 3000000000 is outside the range"),
    "gigantic feature": (
        b"1 30000000000000000000:3\n",
        "feature 30000000000000000000 is outside the range",
    ),
    "negative feature": (b"1 -1:3\n", "feature -1 is outside the range 0 to 4"),
    "fractional feature": (b"1 1.5:3\n", "feature '1.5' is not an integer"),
    "underscored feature": (b"1 0_1:3\n", "feature '0_1' is not an integer"),
    "word feature": (b"1 one:3\n", "feature 'one' is not an integer"),
    "labels with colon": (b"1,2:3\n", "feature '1,2' is not an integer"),
    "repeated feature": (b"1 2:3 2:3\n", "feature 2 is given twice"),
    "repeated unsorted feature": (b"1 2:3 1:1 2:3\n", "feature 2 is given twice"),
    "no value": (b"1 2:\n", "value '' of feature 2 is not a finite number in float32"),
    "word value": (b"1 2:x\n", "value 'x' of feature 2 is not a finite number"),
    "two values": (b"1 2:3:4\n", "value '3:4' of feature 2 is not a finite number"),
    "odd value": (b"1 2:1e+\n", r"value '1e\+' of feature 2 is not a finite number"),
    "underscored value": (b"1 2:1_0\n", "value '1_0' of feature 2 is not a finite number"),
    "nan value": (b"1 2:nan\n", "value 'nan' of feature 2 is not a finite number"),
    "infinite value": (b"1 2:-inf\n", "value '-inf' of feature 2 is not a finite number"),
    "overflowing value": (b"1 2:1e39\n", "value '1e39' of feature 2 is not a finite number"),
    "comma in value": (b"1 2:3,4\n", "value '3,4' of feature 2 is not a finite number"),
    "line feed inside": (b"1 2:3\r3:4\n", r"value '3\\r3:4' of feature 2"),
    "vertical tab": (b"1 2:3\v3:4\n", r"value '3\\x0b3:4' of feature 2"),
    "zero byte": (b"1 2:3\0\n", r"value '3\\x00' of feature 2"),
    "not ascii": ("1 ½:3\n".encode(), "feature '½' is not an integer"),
    "too few rows": (b"", "the file ends after 2 of the 3 rows of the header"),
    "long token": (b"x" * 50 + b"\n", f"label '{'x' * 40}'... is not an integer"),
}


@pytest.mark.parametrize(("row", "message"), BAD_ROWS.values(), ids=BAD_ROWS.keys())
def test_bad_rows(tmp_path, row, message):
    path = tmp_path / "bad.txt"
    path.write_bytes(b"3 5 4\n0 1:1\n \n" + row)
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))}, line 4: {message}"):
        load_xmc_file(path)


def test_too_many_rows():
    with pytest.raises(ValueError, match="line 4: more rows than the 2 of the header"):
        load(b"2 5 4\n0 1:1\n1 1:1\n2 1:1\n")


@pytest.mark.parametrize("text", [b"1 0 3\n 0:1\n", b"1 3 0\n0 1:1\n"])
def test_headers_without_features_or_labels(text):
    with pytest.raises(ValueError, match=r"line 2: (feature|label) 0 is outside the empty range"):
        load(text)


def test_blank_line_at_the_end():
    with pytest.raises(ValueError, match="line 3: more rows than the 1 of the header"):
        load(b"1 5 4\n0 1:1\n\n")


def test_a_bad_line_far_down_is_found():
    rows = [b"%d %d:1\n" % (number % 7, number % 11) for number in range(20_000)]
    rows[15_000] = b"7 3:1\n"
    with pytest.raises(ValueError, match="line 15002: label 7 is outside the range 0 to 6"):
        load(b"20000 11 7\n" + b"".join(rows))


@pytest.mark.parametrize("suffix", ["", ".gz", ".bz2"])
@pytest.mark.parametrize("as_path", [str, pathlib.Path])
def test_files_and_compression(tmp_path, suffix, as_path):
    path = as_path(tmp_path / f"data.txt{suffix}")
    dump_xmc_file(*load(GOOD), path)
    start = pathlib.Path(path).read_bytes()[:3]
    assert start.startswith({"": b"5 4", ".gz": b"\x1f\x8b", ".bz2": b"BZh"}[suffix])
    assert_same(load_xmc_file(path), load(GOOD))


def test_bad_line_in_compressed_file(tmp_path):
    path = tmp_path / "data.txt.gz"
    path.write_bytes(gzip.compress(b"1 5 4\n4 1:1\n"))
    with pytest.raises(ValueError, match=r"data.txt.gz, line 2: label 4 is outside"):
        load_xmc_file(path)


def test_truncated_compressed_file(tmp_path):
    path = tmp_path / "data.txt.gz"
    path.write_bytes(gzip.compress(b"1 5 4\n4 1:1\n")[:-12])
    with pytest.raises(ValueError, match=r"data.txt.gz: the compressed file is damaged"):
        load_xmc_file(path)


@pytest.mark.parametrize("name", ["data.txt.gz", "data.txt.bz2"])
@pytest.mark.parametrize("damage", [lambda data: b"1 5 4\n4 1:1\n",
                                    lambda data: data + b"rubbish", lambda data: data[:-12]])
@pytest.mark.parametrize("parse", [load_xmc_file, lambda path: list(iter_xmc_file(path))])
def test_damaged_compressed_files(tmp_path, name, damage, parse):
    path = tmp_path / name
    dump_xmc_file([[1.0] * 9] * 99, [[1]] * 99, path)
    path.write_bytes(damage(path.read_bytes()))
    if name.endswith("bz2") and b"rubbish" in path.read_bytes():
        parse(path)  # what follows is left out, as by Python's bz2
        return
    words = f"^{re.escape(str(path))}: the compressed file is damaged: "
    with pytest.raises(ValueError, match=words):
        parse(path)


def test_failures_of_reading_are_no_damage():
    class Failing(io.BytesIO):
        def readline(self, *_):
            raise error

    for error in (OSError(5, "Input/output error"), io.UnsupportedOperation("not readable")):
        with pytest.raises(type(error)) as raised:
            load_xmc_file(Failing())
        assert raised.value is error


@pytest.mark.parametrize("path", [None, 5, b"data.txt", [b"1 2 3"]])
@pytest.mark.parametrize("parse", [load_xmc_file, iter_xmc_file])
def test_what_is_neither_a_name_nor_a_file(path, parse):
    with pytest.raises(TypeError, match="^path must be a str, a path-like or a binary file object, "
                                        f"got {type(path).__name__}"):
        parse(path)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_xmc_file(tmp_path / "none.txt")


# ---- writing ------------------------------------------------------------------------------


def test_written_text(tmp_path):
    path = tmp_path / "data.txt"
    dump_xmc_file(*load(GOOD), path)
    expected = b"5 4 6\n0,5 0:0.5 3:-0.00200000009\n 1:1 2:2.5\n5\n \n1,2 3:4\n"
    assert path.read_bytes() == expected


def test_scikit_learn_reads_the_rows(tmp_path):
    path = tmp_path / "data.txt"
    X, Y = load(b"2 4 3\n0,2 1:0.5\n1 3:2\n")
    dump_xmc_file(X, Y, path)
    with open(path, "rb") as stream:
        stream.readline()
        features, labels = load_svmlight_file(
            stream, n_features=4, multilabel=True, zero_based=True
        )
    np.testing.assert_array_equal(features.toarray(), X.toarray())
    assert labels == [(0, 2), (1,)]


@st.composite
def data_sets(draw, dtype):
    n_samples, n_features, n_labels = (draw(st.integers(1, 6)) for _ in range(3))
    width = 8 * np.dtype(dtype).itemsize
    values = st.floats(width=width, allow_nan=False, allow_infinity=False)
    X = sp.csr_matrix(draw(hnp.arrays(bool, (n_samples, n_features))), dtype=dtype)
    X.data = draw(hnp.arrays(dtype, X.nnz, elements=values))
    return X, sp.csr_matrix(draw(hnp.arrays(bool, (n_samples, n_labels))), dtype=np.float32)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_round_trip_is_exact(tmp_path, dtype):
    path = tmp_path / "data.txt"

    @settings(max_examples=150, deadline=None)
    @given(data_sets(dtype))
    def check(data_set):
        dump_xmc_file(*data_set, path)
        assert_same(load_xmc_file(path, dtype=dtype), data_set)
        assert_same(parse_slowly(path.read_bytes(), dtype), data_set)

    check()


@settings(max_examples=300, deadline=None)
@given(st.text("0123 ,:.-e#q\n\t", max_size=30))
def test_the_fast_pass_accepts_nothing_that_the_slow_one_refuses(rows):
    text = b"2 4 3\n" + rows.encode()
    try:
        fast = parse_fast(text)
    except (ValueError, OverflowError):
        return
    assert_same(fast, parse_slowly(text))


def test_many_blocks_of_rows(tmp_path):
    rng = np.random.RandomState(0)
    n_samples = 2 * _xmc._ROWS_PER_BLOCK + 17
    X = sp.random(n_samples, 50, 0.05, "csr", np.float32, random_state=rng)
    Y = (sp.random(n_samples, 20, 0.1, "csr", random_state=rng) > 0).astype(np.float32)
    X.sort_indices()
    Y.sort_indices()
    dump_xmc_file(X, Y, tmp_path / "data.txt")
    assert_same(load_xmc_file(tmp_path / "data.txt"), (X, Y))


def test_input_is_made_canonical_and_left_alone(tmp_path):
    X = sp.csr_matrix(([1.0, 2.0, 4.0], [2, 0, 2], [0, 3]), shape=(1, 3), dtype=np.float32)
    Y = sp.csr_matrix(([1, 0], [1, 0], [0, 2]), shape=(1, 2))
    dump_xmc_file(X, Y, tmp_path / "data.txt")
    assert (tmp_path / "data.txt").read_bytes() == b"1 3 2\n1 0:2 2:5\n"
    np.testing.assert_array_equal(X.indices, [2, 0, 2])
    np.testing.assert_array_equal(X.data, [1, 2, 4])
    np.testing.assert_array_equal(Y.data, [1, 0])


@pytest.mark.parametrize("convert", [np.asarray, sp.coo_array, sp.csc_matrix, sp.lil_matrix, list])
def test_kinds_of_matrices(tmp_path, convert):
    X, Y = convert(np.array([[0.0, 1.5]])), convert(np.array([[True, False]]))
    dump_xmc_file(X, Y, tmp_path / "data.txt")
    assert (tmp_path / "data.txt").read_bytes() == b"1 2 2\n0 1:1.5\n"


@pytest.mark.parametrize("order", ["<", ">"])
def test_float16_is_written_as_float32(tmp_path, order):
    X, Y = np.array([[0.1, 0, 6e4]], dtype=f"{order}f2"), np.array([[1, 0]], dtype=f"{order}f2")
    dump_xmc_file(X, Y, tmp_path / "data.txt")
    assert (tmp_path / "data.txt").read_bytes() == b"1 3 2\n0 0:0.0999755859 2:60000\n"


def broken(matrix):
    matrix.indices[-1] = 7
    return matrix


BAD_DUMPS = [
    ([[1.0]], [[1], [0]], "X has 1 rows but Y has 2"),
    ([[1.0, np.nan]], [[1]], r"X\[0, 1\] is nan: only finite"),
    (sp.csr_matrix([[0.0], [np.inf]]), [[1], [1]], r"X\[1, 0\] is inf: only finite"),
    (broken(sp.csr_matrix([[1.0]])), [[1]], "X is not a valid CSR matrix: column index 7 in row 0"),
    ([[1.0]], broken(sp.csc_matrix([[1]])), "Y is not a valid CSC matrix: row index 7 in column 0"),
    ([[1.0]], [[2]], r"Y\[0, 0\] is 2: an indicator has only 0 and 1"),
    ([[1.0], [2.0]], [[0, 1], [0, 0.5]], r"Y\[1, 1\] is 0.5: an indicator"),
    ([1.0], [[1]], "X must be a two-dimensional matrix of real numbers, got 1 dim"),
    ([[1.0]], [1], "Y must be a two-dimensional matrix"),
    ([[1j]], [[1]], "X must be a two-dimensional matrix of real numbers"),
    ([["a"]], [[1]], "X must be a two-dimensional matrix of real numbers"),
]


@pytest.mark.parametrize(("X", "Y", "message"), BAD_DUMPS)
def test_bad_data_is_not_written(tmp_path, X, Y, message):
    with pytest.raises(ValueError, match=message):
        dump_xmc_file(X, Y, tmp_path / "data.txt")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, suffix):
    path = tmp_path / f"data.txt{suffix}"
    path.write_bytes(b"old")
    X, Y = load(GOOD)

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(_xmc, "_block", fail)
    with pytest.raises(OSError, match="disk full"):
        dump_xmc_file(X, Y, path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == [path.name]


def test_compressed_files_are_reproducible(tmp_path):
    X, Y = load(GOOD)
    dump_xmc_file(X, Y, tmp_path / "one.gz")
    dump_xmc_file(X, Y, tmp_path / "two.gz")
    assert (tmp_path / "one.gz").read_bytes() == (tmp_path / "two.gz").read_bytes()
    assert (tmp_path / "one.gz").read_bytes()[4:8] == bytes(4)  # no time stamp


# ---- a part at a time ---------------------------------------------------------------------


class CountingLines(io.BytesIO):
    """A file that counts the rows that were read."""

    n_read = 0

    def __next__(self):
        self.n_read += 1
        return super().__next__()


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_parts_are_the_file(size, dtype, tmp_path):
    (tmp_path / "good.txt.gz").write_bytes(gzip.compress(GOOD))
    expected = load(GOOD, dtype=dtype)
    for file in (io.BytesIO(GOOD), tmp_path / "good.txt.gz"):
        parts = list(iter_xmc_file(file, chunk_size=size, dtype=dtype))
        assert [X.shape[0] for X, _ in parts] == [min(size, 5 - start)
                                                  for start in range(0, 5, size)]
        assert_same(map(sp.vstack, zip(*parts, strict=True)), expected)


def test_parts_are_read_when_asked_for():
    stream = CountingLines(b"1000 2 2\n" + b"1 0:1\n" * 1000)
    with closing(iter_xmc_file(stream, chunk_size=10)) as parts:
        for n in (10, 20):
            next(parts)
            assert stream.n_read == n


def test_bad_lines_of_parts():
    parts = iter_xmc_file(io.BytesIO(b"4 3 3\n0 0:1\n1 2:1 0:1\n2 x:1\n0 0:1\n"), chunk_size=2)
    np.testing.assert_array_equal(next(parts)[0].toarray(), [[1, 0, 0], [1, 0, 1]])
    with pytest.raises(ValueError, match="line 4: feature 'x' is not an integer"):
        next(parts)
    for n, message in ((3, "line 5: more rows than the 3"), (5, "line 6: the file ends after 4")):
        broken = io.BytesIO(b"%d 3 3\n" % n + b"0 0:1\n" * 4)
        with pytest.raises(ValueError, match=message):
            list(iter_xmc_file(broken, chunk_size=3))


@pytest.mark.parametrize("size", [0, -1, 1.5, True, "1"])
def test_size_of_parts_is_checked(size):
    with pytest.raises(ValueError, match="chunk_size must be a positive integer"):
        iter_xmc_file(io.BytesIO(GOOD), chunk_size=size)


def test_what_is_no_file_is_written_into():
    dump_xmc_file(*load(GOOD), os.devnull)
    assert not os.path.isfile(os.devnull)
