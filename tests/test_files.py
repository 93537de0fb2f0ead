"""Files that appear whole."""

import os

import pytest

from slidelearn import _files
from slidelearn._files import replacing_all


def test_nothing_is_left_behind(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"older")
    with (pytest.raises(PermissionError),
          replacing_all([tmp_path / "a", tmp_path / "b", tmp_path / "c"]) as streams):
        streams[0].write(b"newer")
        raise PermissionError
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "a": b"older", "b": b"older"}


def test_all_are_complete_before_the_first_is_replaced(tmp_path, monkeypatch):
    paths = [tmp_path / name for name in "abc"]
    for path in paths:
        path.write_bytes(b"older")
    replaced, original = [], os.replace

    def replace(temporary, target):
        if not replaced:
            assert [path.read_bytes() for path in paths] == [b"older"] * 3
            assert sorted(path.read_bytes() for path in tmp_path.glob(".*.tmp")) == [
                b"newer 0", b"newer 1", b"newer 2"]
        if len(replaced) == 2:
            raise OSError(5, "Input/output error")
        replaced.append(target)
        original(temporary, target)

    monkeypatch.setattr(_files.os, "replace", replace)
    with pytest.raises(OSError, match="Input/output"), replacing_all(paths) as streams:
        for i, stream in enumerate(streams):
            stream.write(b"newer %d" % i)
    assert replaced == paths[:2]
    assert [path.read_bytes() for path in paths] == [b"newer 0", b"newer 1", b"older"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c"]


def test_what_is_no_file_is_written_into(tmp_path):
    with replacing_all([os.devnull, tmp_path / "new"]) as streams:
        for stream in streams:
            stream.write(b"new")
    assert not os.path.isfile(os.devnull) and (tmp_path / "new").read_bytes() == b"new"
