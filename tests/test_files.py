"""Files are written whole or not at all, and are told apart by what they hold."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import itertools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ftkit.errors import DataError, MachineError, RecipeError
from ftkit.files import (
    SEAL,
    amend,
    broken,
    expanded,
    is_sealed,
    locked,
    owner,
    previous,
    replacing,
    seal,
    sha256,
    write_json,
)


def test_failed_write_of_a_file_keeps_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"ü": 1})
    with pytest.raises(TypeError):
        write_json(path, {"ü": object()})
    with pytest.raises(ZeroDivisionError), replacing(path) as beside:
        beside.write_text("half")
        raise ZeroDivisionError
    assert json.loads(path.read_text(encoding="utf-8")) == {"ü": 1} and "ü" in path.read_text(encoding="utf-8")
    assert [found.name for found in tmp_path.iterdir()] == ["a.json"]


def test_folder_is_replaced_whole_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    for text in ("old", "new"):
        with replacing(tmp_path / "model") as beside:
            beside.mkdir()
            (beside / text).write_text(text)
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["model"] and not previous(tmp_path / "model")


def test_hash_is_of_the_bytes(tmp_path: Path) -> None:
    content = bytes(range(256)) * 4096
    (tmp_path / "a").write_bytes(content)
    assert sha256(tmp_path / "a") == hashlib.sha256(content).hexdigest()


def test_home_is_a_folder_that_is_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert expanded("~/a", RecipeError) == tmp_path / "a"
    assert expanded("a/~b", RecipeError) == Path("a/~b")
    with pytest.raises(MachineError, match="~nobody-here is no home folder on this machine") as caught:
        expanded("~nobody-here/a", MachineError)
    assert caught.value.message.startswith("~nobody-here/a:")


def test_a_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    end = os.open(pipe, os.O_RDWR)
    with replacing(pipe) as path, path.open("w") as file:
        file.write("text")
    assert os.read(end, 10) == b"text" and pipe.is_fifo()
    os.close(end)


# ---------------------------------------------------------------------- seals


def sealed(folder: Path) -> Path:
    (folder / "inner").mkdir(parents=True)
    (folder / "weights.bin").write_bytes(bytes(range(256)))
    (folder / "inner" / "two  spaces.json").write_text("{}")
    seal(folder)
    return folder


def test_a_sealed_folder_is_whole_and_sha256sum_says_so_too(tmp_path: Path) -> None:
    folder = sealed(tmp_path / "a")
    assert broken(folder) == []
    assert subprocess.run(["sha256sum", "--check", "--strict", SEAL], cwd=folder, capture_output=True).returncode == 0
    (folder / "more.txt").write_text("what came later is no fault")
    assert broken(folder) == []


def test_every_flipped_bit_of_a_sealed_folder_is_noticed(tmp_path: Path) -> None:
    folder = sealed(tmp_path / "a")
    for file in [path for path in folder.rglob("*") if path.is_file()]:
        whole = file.read_bytes()
        for place, bit in itertools.product(range(len(whole)), (0, 5) if file.name == SEAL else (0,)):
            file.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << bit)]) + whole[place + 1 :])
            assert broken(folder), f"byte {place} of {file.name}"
        file.write_bytes(whole)
    assert broken(folder) == []


def test_what_is_wrong_with_a_sealed_folder_is_named(tmp_path: Path) -> None:
    folder = sealed(tmp_path / "a")
    (folder / "weights.bin").write_bytes(b"torn")
    (folder / "inner" / "two  spaces.json").unlink()
    assert broken(folder) == ["inner/two  spaces.json is missing", "weights.bin is not as it was written"]
    (folder / SEAL).unlink()
    assert broken(folder) == [f"it has no {SEAL} that can be read"]


# ---------------------------------------------------------------------- leftovers


def gone() -> int:
    """The number of a process that has ended."""
    with subprocess.Popen(["true"]) as process:
        return process.pid


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path) -> None:
    dead = owner().replace(f"-{os.getpid()}", f"-{gone()}")
    living = owner().replace(f"-{os.getpid()}", f"-{os.getppid()}")
    elsewhere = f"0badc0de-{gone()}"
    for who in (dead, living, elsewhere):
        (tmp_path / f".model.writing-{who}").mkdir()
        (tmp_path / f".model.writing-{who}" / "weights").write_text("half")
        (tmp_path / f".scores.json.writing-{who}").write_text("half")
    write_json(tmp_path / "new.json", {})
    left = {path.name for path in tmp_path.iterdir()}
    kept = {f".{name}.writing-{who}" for name in ("model", "scores.json") for who in (living, elsewhere)}
    assert left == {"new.json", *kept}


def test_one_file_of_a_sealed_folder_is_replaced_with_its_seal(tmp_path: Path) -> None:
    folder = sealed(tmp_path / "a")
    amend(folder, "inner/two  spaces.json", "[]")
    assert broken(folder) == [] and (folder / "inner" / "two  spaces.json").read_text() == "[]"
    amend(folder, "new.json", "{}")
    (folder / "new.json").write_text("{ }")
    (folder / "weights.bin").write_bytes(b"torn")
    amend(folder, "inner/two  spaces.json", "{}")
    assert broken(folder) == ["new.json is not as it was written", "weights.bin is not as it was written"]


def test_a_replacement_that_fails_leaves_a_sealed_folder_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = sealed(tmp_path / "a")
    monkeypatch.setattr("ftkit.files._write_seal", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        amend(folder, "weights.bin", "other")
    assert broken(folder) == [] and [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_disk_without_second_names_gets_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object) -> None:
        raise OSError("not supported")

    folder = sealed(tmp_path / "a")
    monkeypatch.setattr(os, "link", no_links)
    amend(folder, "inner/two  spaces.json", "[]")
    assert broken(folder) == []


KILLED = """
import resource, signal, sys
from pathlib import Path
from ftkit.files import seal
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # the system kills who writes more than that to one file
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
seal(Path(sys.argv[1]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="of Linux it is known when it kills for a file's size")
def test_a_kill_in_the_midst_of_sealing_leaves_no_half_of_a_seal(tmp_path: Path) -> None:
    folder = sealed(tmp_path / "a")
    before = (folder / SEAL).read_bytes()
    for _ in range(2):
        code = subprocess.run([sys.executable, "-c", KILLED, folder], check=False).returncode
        assert code == -signal.SIGXFSZ
        assert not is_sealed(folder) or (folder / SEAL).read_bytes() == before
        (folder / SEAL).unlink(missing_ok=True)  # the next is the folder's first
    seal(folder)
    assert broken(folder) == []
    assert {path.name for path in folder.iterdir()} == {"weights.bin", "inner", SEAL}


def test_the_seal_that_another_process_writes_is_none_of_the_files(tmp_path: Path) -> None:
    folder = sealed(tmp_path / "a")
    theirs = folder / f".{SEAL}.writing-{owner().rpartition('-')[0]}-{os.getppid()}"
    theirs.write_text("half")
    seal(folder)
    assert theirs.exists()
    theirs.unlink()
    assert broken(folder) == []


@pytest.mark.parametrize("size", range(0, 260, 13))
def test_a_seal_that_was_cut_is_noticed(tmp_path: Path, size: int) -> None:
    folder = sealed(tmp_path / "a")
    whole = (folder / SEAL).read_bytes()
    (folder / SEAL).write_bytes(whole[:size])
    assert size >= len(whole) or broken(folder) == [f"it has no {SEAL} that can be read"]


def test_what_is_locked_is_one_processs_alone(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "new.txt"):
        with (
            locked(path, DataError("taken")),
            pytest.raises(DataError, match="taken"),
            locked(path, DataError("taken")),
        ):
            pass
        with locked(path, DataError("taken")):
            pass


def test_where_a_file_system_has_no_locks_work_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    with locked(tmp_path / "new.txt", DataError("taken")):
        pass
