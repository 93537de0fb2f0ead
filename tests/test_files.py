"""Files that appear whole."""

import os
import stat

import pytest

from slidelearn import _files
from slidelearn._files import replacing, replacing_all

posix = pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def umask():
    """The usual one, whatever that of the tests is."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@posix
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o400, 0o755])
def test_permissions_are_kept(tmp_path, umask, mode):
    path = tmp_path / "model"
    path.write_bytes(b"older")
    path.chmod(mode)
    with replacing(path) as stream:
        stream.write(b"newer")
        stream.flush()
        temporary, = tmp_path.glob(".*.tmp")
        assert mode_of(temporary) == mode  # while it is being written, too
    assert path.read_bytes() == b"newer" and mode_of(path) == mode


@posix
def test_permissions_of_new_files_and_of_those_behind_links(tmp_path, umask):
    with replacing(tmp_path / "new") as stream:
        stream.write(b"new")
    assert mode_of(tmp_path / "new") == 0o644
    (tmp_path / "new").chmod(0o600)
    (tmp_path / "link").symlink_to("new")
    with replacing(tmp_path / "link") as stream:
        stream.write(b"newer")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "new").read_bytes() == b"newer"
    assert mode_of(tmp_path / "new") == 0o600


@pytest.mark.parametrize("fails", ["body", "chmod"])
def test_nothing_is_left_behind(tmp_path, monkeypatch, fails):
    def refused(path, mode):
        raise PermissionError(1, "Operation not permitted", str(path))

    if fails == "chmod":
        monkeypatch.setattr(os, "chmod", refused)
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"older")
    with (pytest.raises(PermissionError),
          replacing_all([tmp_path / "a", tmp_path / "b", tmp_path / "c"]) as streams):
        streams[0].write(b"newer")
        raise PermissionError
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "a": b"older", "b": b"older"}


@posix
def test_errors_name_the_file_that_was_asked_for(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"older")
    for path, kind in ((tmp_path / "none" / "x", FileNotFoundError),
                       (tmp_path / "file" / "x", NotADirectoryError)):
        for given in (path, str(path)):
            with pytest.raises(kind) as raised, replacing(given):
                pytest.fail("there is nothing to write into")
            error = raised.value
            assert error.filename == str(path) and error.filename2 is None
            assert str(error) == f"[Errno {error.errno}] {os.strerror(error.errno)}: {str(path)!r}"

    def refused(temporary, target):
        raise PermissionError(1, "Operation not permitted", str(temporary), None, str(target))

    monkeypatch.setattr(_files.os, "replace", refused)
    (tmp_path / "link").symlink_to("file")
    with pytest.raises(PermissionError) as raised, replacing(tmp_path / "link"):
        pass
    assert str(raised.value) == f"[Errno 1] Operation not permitted: {str(tmp_path / 'link')!r}"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link"]


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
