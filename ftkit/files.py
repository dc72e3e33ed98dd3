"""Files: written whole or not at all, told apart by their SHA-256."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ftkit.errors import FTKitError, MachineError, chain


def expanded(path: str | Path, fault: type[FTKitError]) -> Path:
    """`path` with `~` and `~user` as the folders they mean. Raises `fault` where this machine has no such user."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        user = Path(path).parts[0]
        raise fault(f"{path}: {user} is no home folder on this machine", "write the path in full") from error


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hex; of a folder, that of the names and SHA-256s of all files in it."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        lines = "".join(f"{sha256(file)}  {file.relative_to(path).as_posix()}\n" for file in files)
        return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_full_disk(error: BaseException) -> bool:
    """Whether an error, or one that it came from, is the disk's: safetensors and arrow wrap it in their own."""
    full = (errno.ENOSPC, errno.EDQUOT)
    return any(getattr(one, "errno", None) in full or "No space left" in str(one) for one in chain(error))


@contextmanager
def full_disk_told(hint: str = "free some space, or name another folder") -> Iterator[None]:
    """While this lasts, a full disk is a MachineError with this hint."""
    try:
        yield
    except Exception as error:
        if isinstance(error, FTKitError) or not is_full_disk(error):
            raise
        raise MachineError("the disk is full: nothing half-written was kept", hint) from error


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file, whole or not at all."""
    with replacing(path) as beside:
        beside.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


SEAL = "SHA256SUMS"
"""The file that tells the SHA-256 of all others in its folder, as `sha256sum --check` reads it."""


def seal(folder: Path) -> None:
    """See all files of a folder to the disk, and write down their SHA-256: from then on it is complete."""
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file != folder / SEAL)
    for file in files:
        flush(file)
    lines = [f"{sha256(file)}  {file.relative_to(folder).as_posix()}\n" for file in files]
    (folder / SEAL).write_text("".join(lines), encoding="utf-8")
    flush(folder / SEAL)
    flush(folder)


def broken(folder: Path) -> list[str]:
    """What is wrong with a sealed folder, a sentence for each file; that it has no seal, where it has none."""
    try:
        text = (folder / SEAL).read_bytes().decode("utf-8")
        sealed = [tuple(line.split("  ", 1)) for line in text.removesuffix("\n").split("\n")]
        return [fault for known, name in sealed if (fault := _fault(folder / name, known, name))]
    except (OSError, ValueError):
        return [f"it has no {SEAL} that can be read"]


def _fault(file: Path, known: str, name: str) -> str:
    if not file.is_file():
        return f"{name} is missing"
    return "" if sha256(file) == known else f"{name} is not as it was written"


def flush(path: Path) -> None:
    """See a file, or the names in a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to, moved over it at the end; on an error `path` stays as it was.

    What is neither file nor folder (a pipe, /dev/stdout) is written to itself.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        yield path
        return
    beside = path.with_name(f".{path.name}.writing-{os.getpid()}")
    _remove(beside)
    try:
        yield beside
        if path.is_dir():
            _swap(path, beside)
        else:
            os.replace(beside, path)
        for left in previous(path) if path.is_dir() else []:
            shutil.rmtree(left)
    finally:
        _remove(beside)


def previous(path: Path) -> list[Path]:
    """Folders that stood at `path` before, the latest first; only a killed process leaves one."""
    found = [other for other in path.parent.iterdir() if other.name.startswith(f".{path.name}.previous-")]
    return sorted(found, key=lambda other: -other.stat().st_mtime)


def _swap(path: Path, beside: Path) -> None:
    """Move the folder `path` out of the way, and `beside` to its place."""
    before = path.with_name(f".{path.name}.previous-{secrets.token_hex(4)}")
    try:
        os.rename(path, before)
        os.rename(beside, path)
    finally:
        if not path.exists():  # whatever went wrong: the folder before is better than none
            os.rename(before, path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
