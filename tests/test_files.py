"""What is written is whole or not there, whoever else writes the same."""

import errno
import hashlib
import os
import pathlib
import signal
import subprocess
import sys
import threading

import pytest

from keras_resnet.data.bad_examples import remembered
from keras_resnet.files import (
    WRITING,
    keras_home,
    local_path,
    read_json,
    replace_file,
    replaced,
    sha256_of,
    write_json,
)
from keras_resnet.runs.load import load
from keras_resnet.runs.places import where
from keras_resnet.targets import check_place, check_target
from tests.helpers import file_systems
from tests.helpers.file_systems import bucket, refusing, unflushed  # noqa: F401


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("value", [None, 3, ["photos"], b"photos"])
def test_what_is_no_path_is_said_to_be_none(value):
    for read in (load, lambda value: where(value or 0)):
        with pytest.raises(ValueError, match="must be a path: .* Received: "):
            read(value)


@pytest.fixture
def no_home(monkeypatch):
    """A process without a home folder, as of a number that is no user in a container."""
    pwd = pytest.importorskip("pwd")

    def nobody(uid):
        raise KeyError(uid)

    monkeypatch.delenv("HOME")
    monkeypatch.delenv("KERAS_HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)


@pytest.mark.parametrize("path", ["~", "~/runs"])
def test_without_a_home_folder_nothing_is_made_in_a_folder_named_so(path, no_home):
    with pytest.raises(ValueError, match="no home folder. Received: .* Set .* HOME"):
        local_path(path)
    assert local_path("~old copy") == pathlib.Path("~old copy")  # A name like others.


def test_keras_home_is_where_keras_looks(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "cache" / "keras"))
    assert keras_home() == tmp_path / "cache" / "keras"
    monkeypatch.setenv("KERAS_HOME", "~/cache")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert keras_home() == tmp_path / "cache"
    monkeypatch.delenv("KERAS_HOME")
    assert keras_home() == tmp_path / ".keras"
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # A read-only home.
    assert keras_home() == pathlib.Path("/tmp/.keras")


def test_keras_home_without_a_home_folder_is_that_of_keras(no_home):
    assert keras_home() == pathlib.Path("/tmp/.keras")


def test_a_file_takes_the_place_of_the_old_one(tmp_path):
    file = tmp_path / "new folder" / "a.json"
    write_json(file, {"é": [1, None]})
    write_json(file, {"b": 2})
    assert read_json(file) == {"b": 2}
    assert names(file.parent) == ["a.json"]


def test_a_folder_takes_the_place_of_the_old_one(tmp_path):
    for name in ("old", "new"):
        with replaced(tmp_path / "folder") as new:
            new.mkdir()
            (new / name).write_text("text")
    assert names(tmp_path / "folder") == ["new"]
    assert names(tmp_path) == ["folder"]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_fails_halfway_changes_nothing(tmp_path, kind):
    path = tmp_path / "path"
    if kind == "folder":
        path.mkdir()
        (path / "old").write_text("old")
    else:
        path.write_text("old")

    def fail(new):
        if kind == "folder":
            new.mkdir()
            new = new / "half"
        new.write_text("half")
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space"), replaced(path) as new:
        fail(new)
    assert names(tmp_path) == ["path"]
    assert (path / "old" if kind == "folder" else path).read_text() == "old"


def write_folder(path, text, *files):
    with replaced(path, "sign") as new:
        for file in files:
            (new / file).parent.mkdir(parents=True, exist_ok=True)
            (new / file).write_text(text)
        (new / "empty").mkdir()


OLD = ("sign", "a/only_old", "a/both")
NEW = ("sign", "b/only_new", "a/both")


def test_a_bucket_takes_folders_file_by_file(tmp_path, bucket):  # noqa: F811
    for text, files in (("old", OLD), ("new", NEW)):
        write_folder(tmp_path / "folder", text, *files)
        assert file_systems.names(tmp_path / "folder") == sorted(files)
        assert (tmp_path / "folder/a/both").read_text() == text
        assert (tmp_path / "folder/empty").is_dir()
    assert names(tmp_path) == ["folder"]


@pytest.mark.parametrize("at", ["sign", "a/both", "b/only_new"])
def test_what_a_bucket_refuses_halfway_comes_back(tmp_path, monkeypatch, bucket, at):  # noqa: F811
    write_folder(tmp_path / "folder", "old", *OLD)
    writing = lambda path: "old" not in pathlib.Path(path).parts[-3:]  # noqa: E731
    with monkeypatch.context() as patch:
        refusing(
            patch,
            lambda path: (
                str(path).endswith(at) and WRITING in str(path) and writing(path)
            ),
            errno.EIO,
        )
        with pytest.raises(OSError, match="Input/output"):
            write_folder(tmp_path / "folder", "new", *NEW)
    assert file_systems.names(tmp_path / "folder") == sorted(OLD)
    assert (tmp_path / "folder/a/both").read_text() == "old"
    assert names(tmp_path) == ["folder"]


@pytest.mark.parametrize("at", ["a/only_old", "b/only_new"])
def test_a_signal_halfway_brings_the_old_files_back(tmp_path, monkeypatch, bucket, at):  # noqa: F811
    write_folder(tmp_path / "folder", "old", *OLD)
    asked = []

    def interrupt(path):
        """Comes once, as a signal does."""
        if str(path).endswith(at) and not asked:
            asked.append(path)
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        refusing(patch, interrupt, 0)
        with pytest.raises(KeyboardInterrupt):
            write_folder(tmp_path / "folder", "new", *NEW)
    assert file_systems.names(tmp_path / "folder") == sorted(OLD)
    assert (tmp_path / "folder/a/both").read_text() == "old"
    assert names(tmp_path) == ["folder"]


def test_the_sign_of_a_folder_goes_first_and_comes_last(tmp_path, monkeypatch, bucket):  # noqa: F811
    moved = []
    write_folder(tmp_path / "folder", "old", *OLD)
    refusing(monkeypatch, lambda path: moved.append(str(path)), 0)
    write_folder(tmp_path / "folder", "new", *NEW)
    signs = [path.endswith("/sign") for path in moved if not os.path.isdir(path)]
    files = signs[-len(OLD) - len(NEW) :]
    assert files == [True, *5 * [False]][:3] + [False, False, True]


def test_what_another_process_puts_there_meanwhile_is_not_removed(
    tmp_path, monkeypatch
):
    def refuse(path):
        if WRITING in str(path) and os.path.isdir(path):
            (tmp_path / "folder").mkdir(exist_ok=True)
            (tmp_path / "folder/theirs").write_text("theirs")
        return WRITING in str(path) and "/old" not in str(path)

    refusing(monkeypatch, refuse, errno.ENOTEMPTY)
    with pytest.raises(OSError, match="not empty"):
        write_folder(tmp_path / "folder", "new", *NEW)
    assert file_systems.names(tmp_path / "folder") == ["theirs"]


def test_what_cant_come_back_is_not_removed(tmp_path, monkeypatch):
    write_folder(tmp_path / "folder", "old", *OLD)
    moves = []

    def refuse(path):
        moves.append(path)
        return len(moves) > 1  # All but the first, by which the old one is moved away.

    refusing(monkeypatch, refuse, errno.EIO)
    with pytest.raises(OSError, match="Input/output"):
        write_folder(tmp_path / "folder", "new", *NEW)
    (left,) = tmp_path.glob(f"{WRITING}*")
    assert file_systems.names(left / "old") == sorted(OLD)


def test_a_system_that_keeps_nothing_by_itself_is_written_to(tmp_path, unflushed):  # noqa: F811
    write_json(tmp_path / "a.json", 1)
    write_folder(tmp_path / "folder", "new", *NEW)
    assert read_json(tmp_path / "a.json") == 1
    check_place(tmp_path / "more", "`out`")


def test_a_disk_that_is_full_when_it_keeps_a_file_says_so(tmp_path, monkeypatch):
    write_json(tmp_path / "a.json", "old")

    def full(number):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_json(tmp_path / "a.json", "new")
    assert read_json(tmp_path / "a.json") == "old"


def test_a_file_that_may_only_be_read_is_moved_all_the_same(tmp_path):
    def write(new):
        new.write_text("text")
        new.chmod(0o444)

    replace_file(tmp_path / "file", write)
    assert (tmp_path / "file").read_text() == "text"


def test_a_system_that_replaces_no_files_is_said_before_the_work(tmp_path, monkeypatch):
    refusing(monkeypatch, os.path.isfile, errno.ENOSYS)
    with pytest.raises(PermissionError, match="can't be made and replaced.*not impl"):
        check_place(tmp_path / "new", "`out`")
    assert not names(tmp_path)


def test_a_file_takes_the_place_of_no_folder(tmp_path):
    (tmp_path / "full.csv").mkdir()
    (tmp_path / "full.csv/photo").write_text("mine")
    with pytest.raises(IsADirectoryError, match="full.csv must be a file"):
        replace_file(tmp_path / "full.csv", lambda new: new.write_text("table"))
    assert (tmp_path / "full.csv/photo").read_text() == "mine"
    assert names(tmp_path) == ["full.csv"]


def test_a_place_where_nothing_can_be_made_is_said_before_the_work(
    tmp_path, monkeypatch
):
    check_place(tmp_path / "new/folder/file", "`out`")
    assert not names(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(FileExistsError, match="`out` must lie in a folder.*is a file"):
        check_place(tmp_path / "file/below", "`out`")

    def refuse(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("tempfile.TemporaryDirectory", refuse)
    with pytest.raises(PermissionError, match="`out` can't be written.*Read-only"):
        check_place(tmp_path / "new", "`out`")


def test_a_folder_comes_back_where_the_new_one_cannot_take_its_place(tmp_path):
    (tmp_path / "path").mkdir()
    with pytest.raises(FileNotFoundError), replaced(tmp_path / "path"):
        pass  # Nothing is written.
    assert names(tmp_path) == ["path"]


def test_what_is_written_has_the_rights_of_other_files(tmp_path):
    (tmp_path / "plain").write_text("")
    write_json(tmp_path / "a.json", 1)
    modes = {path.stat().st_mode for path in tmp_path.iterdir()}
    assert len(modes) == 1


def test_several_may_write_the_same_file(tmp_path):
    file, errors = tmp_path / "a.json", []
    both = threading.Barrier(2)

    def write(number):
        def slowly(new):
            new.write_text(str(number))
            both.wait(10)  # Both have begun, and none has ended.

        try:
            replace_file(file, slowly)
        except Exception as error:
            errors.append(error)

    writers = [threading.Thread(target=write, args=(number,)) for number in (1, 2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert not errors
    assert read_json(file) in (1, 2)
    assert names(tmp_path) == ["a.json"]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows")
def test_a_killed_process_leaves_the_old_file_and_a_name_that_says_it(tmp_path):
    write_json(tmp_path / "a.json", "old")
    code = (
        "import os, pathlib, signal, sys\n"
        "from keras_resnet.files import replace_file\n"
        "def die(new):\n"
        "    new.write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "replace_file(pathlib.Path(sys.argv[1]), die)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.json")])
    assert read_json(tmp_path / "a.json") == "old"
    left = [name for name in names(tmp_path) if name != "a.json"]
    assert len(left) == 1
    assert left[0].startswith(f"{WRITING}a.json")
    write_json(tmp_path / "a.json", "new")
    assert read_json(tmp_path / "a.json") == "new"


def test_sha256_is_that_of_the_contents(tmp_path):
    (tmp_path / "file").write_bytes(b"contents")
    assert sha256_of(tmp_path / "file") == hashlib.sha256(b"contents").hexdigest()


def test_only_what_an_export_wrote_is_overwritten(tmp_path):
    target = tmp_path / "folder"
    check_target(target, "sign", overwrite=False)
    target.mkdir()
    with pytest.raises(FileExistsError, match="must not exist yet"):
        check_target(target, "sign", overwrite=False)
    with pytest.raises(FileExistsError, match="which has no sign"):
        check_target(target, "sign", overwrite=True)
    (target / "sign").write_text("")
    check_target(target, "sign", overwrite=True)
    with pytest.raises(FileExistsError, match="sign is a file"):
        check_target(target / "sign" / "below", "sign", overwrite=True)


def test_bad_examples_are_remembered_whole_or_not_at_all(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    looked = []

    def look():
        looked.append(1)
        return {3: "no image"}

    def twice():
        return [remembered("key", look, count=5, what="data") for _ in range(2)]

    def cut_short(source, target):
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", cut_short)
        assert twice() == 2 * [{3: "no image"}]
        assert len(looked) == 2  # Nothing was kept, not even a half.
    assert not list(tmp_path.rglob("*.json"))
    assert twice() == 2 * [{3: "no image"}]
    assert len(looked) == 3
