"""Faults on purpose: bytes that flip, files that are cut, a disk that fills, a pickle that would run."""

from __future__ import annotations

import os
import pickle
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def flip(file: Path, place: int, bit: int = 0) -> None:
    """Turn one bit of a file, as a bad disk does: its size and times stay."""
    stat, content = file.stat(), bytearray(file.read_bytes())
    content[place] ^= 1 << bit
    file.write_bytes(content)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def cut(file: Path, size: int) -> None:
    """Leave the first `size` bytes of a file."""
    os.truncate(file, size)


def places(file: Path, count: int = 3) -> list[int]:
    """Some bytes of a file: its first, its last, and others at equal distances."""
    last = file.stat().st_size - 1
    return sorted({round(last * part / (count - 1)) for part in range(count)}) if last >= 0 else []


@contextmanager
def harmed(folder: Path) -> Iterator[None]:
    """Restores all files below a folder at the end."""
    whole = {file: (file.read_bytes(), file.stat()) for file in folder.rglob("*") if file.is_file()}
    try:
        yield
    finally:
        for file, (content, stat) in whole.items():
            file.write_bytes(content)
            os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))


class Marking:
    """An object whose pickle makes a file when it is read."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.marker,))


def poisoned(marker: Path) -> bytes:
    """A pickle that makes the file `marker` when it is read."""
    return pickle.dumps(Marking(marker))


@contextmanager
def small_disk(folder: Path, megabytes: float) -> Iterator[Path]:
    """A small disk of its own, mounted at `folder` (a tmpfs). Skips the test where one can't be mounted."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={int(megabytes * 1024)}k", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("this system has no `mount` to make a small disk with")
    if done.returncode:
        pytest.skip(f"only root can mount a small disk: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def full(disk: Path, leave: int = 0) -> Iterator[None]:
    """A disk with only `leave` bytes of room, until the end."""
    filler = disk / ".filler"
    stat = os.statvfs(disk)
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, stat.f_bavail * stat.f_frsize - leave))
    try:
        yield
    finally:
        filler.unlink()
