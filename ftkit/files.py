"""Files: written whole or not at all, told apart by their SHA-256."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import socket
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
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


def sha256_together(files: Iterable[Path]) -> str:
    """One SHA-256, in hex, of the names and the SHA-256s of some files, in their order."""
    return hashlib.sha256("".join(f"{file.name} {sha256(file)}\n" for file in files).encode()).hexdigest()


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
def full_disk_told(
    hint: Callable[[], str] = lambda: "free some space, or name another folder",
) -> Iterator[None]:
    """While this lasts, a full disk is a MachineError with this hint."""
    try:
        yield
    except Exception as error:
        if isinstance(error, FTKitError) or not is_full_disk(error):
            raise
        raise MachineError("the disk is full: nothing half-written was kept", hint()) from error


@contextmanager
def locked(path: Path, fault: FTKitError) -> Iterator[None]:
    """A folder, or a file (made where there is none), that is this process's alone while this lasts; else `fault`.

    The lock is the system's: it ends with the process, and with those that it has started meanwhile, however they end.
    Where a file system has none, two processes are not kept apart.
    """
    held = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT, 0o666)
    try:
        os.set_inheritable(held, True)
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(held)
        raise fault from error
    except OSError:
        pass
    try:
        yield
    finally:
        os.close(held)


def printable(name: str) -> str:
    """A file's name as UTF-8 can write it: other bytes in it as `\\xNN`."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file, whole or not at all."""
    with replacing(path) as beside:
        beside.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


SEAL = "SHA256SUMS"
"""The file that tells the SHA-256 of all others in its folder, as `sha256sum --check` reads it."""
_END = "# these are all, and the SHA-256 of these lines is "


def seal(folder: Path) -> None:
    """See all files of a folder to the disk, and write down their SHA-256: from then on it is complete."""
    tidy(folder, _WRITING)
    files = sorted(file for file in folder.rglob("*") if file.is_file() and not _is_seal(file, folder))
    for file in files:
        flush(file)
    _write_seal(folder, {file.relative_to(folder).as_posix(): sha256(file) for file in files})


def amend(folder: Path, name: str, text: str) -> None:
    """Replace one file of a sealed folder, and what its seal says of that file, both or neither.

    The other files keep their bytes and their SHA-256 in the seal, so that damage to them is not sealed in.
    """
    with replacing(folder) as beside:
        shutil.copytree(folder, beside, copy_function=_link)
        (beside / name).unlink(missing_ok=True)
        (beside / name).write_text(text, encoding="utf-8")
        flush(beside / name)
        if is_sealed(folder):
            _write_seal(beside, {**sealed(folder), name: sha256(beside / name)})


def is_sealed(folder: Path) -> bool:
    """Whether the folder has a seal, whole or not."""
    return (folder / SEAL).is_file()


def broken(folder: Path, but: Container[str] = ()) -> list[str]:
    """What is wrong with a sealed folder, a sentence for each file; that it has no seal, where it has none.

    The files named in `but` are not looked at.
    """
    try:
        known = {name: digest for name, digest in sealed(folder).items() if name not in but}
        return [fault for name, digest in known.items() if (fault := _fault(folder / name, digest, name))]
    except (OSError, ValueError):
        return [f"it has no {SEAL} that can be read"]


def _is_seal(file: Path, folder: Path) -> bool:
    """Whether a file is the folder's seal, or one that a process is writing."""
    return file.parent == folder and (file.name == SEAL or file.name.startswith(f".{SEAL}.{_WRITING}"))


def _write_seal(folder: Path, hashes: Mapping[str, str]) -> None:
    """Write a folder's seal, whole or not at all: others may read the folder meanwhile, or share the seal by a link."""
    lines = "".join(f"{hashes[name]}  {name}\n" for name in sorted(hashes))
    with replacing(folder / SEAL) as beside:
        beside.write_text(f"{lines}{_END}{_digest(lines)}\n", encoding="utf-8")
        flush(beside)
    flush(folder)


def sealed(folder: Path) -> dict[str, str]:
    """Name -> SHA-256 of the files that a seal tells of.

    Raises OSError or ValueError where it is none, is cut, or names what lies outside of the folder.
    """
    text = (folder / SEAL).read_bytes().decode("utf-8", "replace")  # what is no text is no seal
    lines, end, digest = text.rpartition(_END)
    if not end or digest != f"{_digest(lines)}\n":
        raise ValueError(f"{folder / SEAL} is cut, or was changed")
    pairs = [line.split("  ", 1) for line in lines.removesuffix("\n").split("\n")] if lines else []
    if outside := [name for _, name in pairs if not _is_inside(name)]:
        raise ValueError(f"{folder / SEAL} names what lies outside of the folder: {', '.join(outside)}")
    return {name: known for known, name in pairs}


def _is_inside(name: str) -> bool:
    """Whether a name that a seal has is of a file in the folder or below it."""
    return not {"", ".", ".."} & set(name.split("/")) and "\0" not in name


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def _fault(file: Path, known: str, name: str) -> str:
    if not file.is_file():
        return f"{name} is missing"
    return "" if sha256(file) == known else f"{name} is not as it was written"


def _link(source: str, target: str) -> None:
    """The same file under another name, or a copy where the disk knows no second name."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def flush(path: Path) -> None:
    """See a file, or the names in a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


_WRITING = "writing-"


def owner() -> str:
    """What the name of an unfinished file or folder ends with, to tell whether its process still runs."""
    return f"{_here()}-{os.getpid()}"


@cache
def _here() -> str:
    """This machine, as far as its processes are numbered together: folders may be shared with others."""
    space = Path("/proc/self/ns/pid")
    numbered = os.readlink(space) if space.is_symlink() else ""
    return hashlib.sha256(f"{socket.gethostname()} {numbered}".encode()).hexdigest()[:8]


def tidy(folder: Path, kind: str) -> None:
    """Remove what processes of this machine that are gone have left in a folder under `.NAME.<kind><owner>`."""
    for left in folder.glob(f".*.{kind}{_here()}-*"):
        number = left.name.rpartition(f".{kind}{_here()}-")[2].partition("-")[0]
        if number.isdecimal() and not _runs(int(number)):
            with suppress(OSError):  # another process may be at it, too
                remove(left)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # somebody else's
    return True


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to, moved over it at the end; on an error `path` stays as it was.

    What is neither file nor folder (a pipe, /dev/stdout) is written to itself.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        yield path
        return
    beside = path.with_name(f".{path.name}.{_WRITING}{owner()}")
    remove(beside)
    tidy(path.parent, _WRITING)
    try:
        yield beside
        if beside.is_file():
            flush(beside)  # a rename may reach the disk before what is renamed
        if path.is_dir():
            _swap(path, beside)
        else:
            os.replace(beside, path)
        flush(path.parent)
        for left in previous(path) if path.is_dir() else []:
            remove(left)
    finally:
        remove(beside)


@contextmanager
def parents(path: Path) -> Iterator[None]:
    """While this lasts, the folders above `path` are there; on an error those that were made are gone again."""
    made = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        for folder in made:
            with suppress(OSError):  # somebody else has put something there
                folder.rmdir()
        raise


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


def remove(path: Path) -> None:
    """Remove what stands at `path`, if something does: a file, a folder with all in it, a link but not its aim."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
