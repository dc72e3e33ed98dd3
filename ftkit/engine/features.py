"""Outputs of frozen layers on disk: computed once, read through the page cache ever after.

A store is a folder of segments: a file of rows, mapped into memory, and beside it an index. What two trainings write
at once lies in two segments, and a segment counts from when its index is whole. A row is found by the hash of what
it was computed from, so that folds, seeds and sweeps over the same texts share it. The index holds a checksum of each
row, which is looked at when this process first reads it: a segment with a damaged row is removed, and its rows computed
anew. Who has a store open holds a shared lock on it, and only what nobody holds is removed to make room.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import struct
import time
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import xxhash

from ftkit.files import replacing

_SEGMENT = 1 << 26
"""Bytes of a segment while it is written, or of its one row where that is larger."""
_ABANDONED = 86_400
"""Seconds after which a segment without an index is nobody's."""
KEY = 16
"""Bytes of a row's hash."""


class FeatureStore:
    """Rows of shape (tokens, width) by the hash of what they were computed from; `open` finds or makes one.

    Where there is no more room, `put` keeps no more, and `full` says so: a store never ends a training.
    """

    @classmethod
    def open(cls, parent: Path, name: str, width: int, dtype: torch.dtype, most: int) -> FeatureStore:
        """The store `name` of those in `parent`, which hold at most `most` bytes together.

        Raises OSError where the folder can't be made or read.
        """
        folder = parent / name
        folder.mkdir(parents=True, exist_ok=True)
        os.utime(folder)
        store = cls(folder, width, dtype, most)
        fcntl.flock(store.lock, fcntl.LOCK_SH)
        _tidy(folder)
        _make_room(parent, most // 2)
        store.refresh()
        return store

    def __init__(self, folder: Path, width: int, dtype: torch.dtype, most: int) -> None:
        self.folder, self.width, self.dtype, self.most = folder, width, dtype, most
        self.lock = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT)
        self.full = False
        self._index: dict[bytes, tuple[int, int, int]] = {}
        self._unread: dict[bytes, int] = {}
        """Checksums of rows that this process has not read yet."""
        self._segments: list[torch.Tensor] = []
        self._paths: list[Path] = []
        self._known: set[str] = set()
        self._path: Path | None = None
        self._writing = self._end = 0
        self._written: list[tuple[bytes, int, int, int]] = []

    def __contains__(self, key: bytes) -> bool:
        """Whether a row is held, whole."""
        if key not in self._index:
            return False
        known = self._unread.pop(key, None)
        if known is None or _checksum(self._row(key)) == known:
            return True
        self._forget(self._index[key][0])
        return False

    def get(self, keys: Sequence[bytes]) -> list[torch.Tensor]:
        """The rows, each (its tokens, width). Raises KeyError for one that is not held."""
        if missing := [key for key in keys if key not in self]:
            raise KeyError(missing[0])
        return [self._row(key) for key in keys]

    def put(self, key: bytes, row: torch.Tensor) -> None:
        """Keep a row, if there is room."""
        count = row.shape[0]
        if key in self._index or not self._reserve(count):
            return
        self._segments[self._writing][self._end : self._end + count] = row
        self._index[key] = (self._writing, self._end, count)
        self._written.append((key, self._end, count, _checksum(self._row(key))))
        self._end += count

    def flush(self) -> None:
        """Let others, and later trainings, read what was put."""
        if self._path is None:
            return
        path, written, end = self._path, self._written, self._end
        self._path, self._written, self._end = None, [], 0
        try:
            _publish(path, written, end * self.width * self.dtype.itemsize)
            self._known.add(path.name)
        except OSError:
            self.full = True

    def refresh(self) -> None:
        """Find what other processes have written since."""
        for index in sorted(self.folder.glob("*.npz")):
            path = index.with_suffix(".rows")
            if path.name in self._known:
                continue
            self._known.add(path.name)
            try:
                self._read(index, path)
            except _UNREADABLE:  # torn, damaged, or half removed
                index.unlink(missing_ok=True)

    def close(self) -> None:
        """Publish what was put, and let go of the folder."""
        self.flush()
        os.close(self.lock)

    def _read(self, index: Path, path: Path) -> None:
        with np.load(index, allow_pickle=False) as found:
            keys, places, sums = found["keys"], found["places"], found["sums"]
        rows = self._map(path)
        if (keys.shape, places.shape, sums.shape) != ((len(sums), KEY), (len(sums), 2), (len(sums),)) or (
            len(sums) and (places.min() < 0 or places.sum(axis=1).max() > len(rows))
        ):
            raise ValueError(f"{index} does not fit {path}")
        self._add(path, rows)
        names = [key.tobytes() for key in keys]
        self._index.update(
            {key: (len(self._segments) - 1, *place) for key, place in zip(names, places.tolist(), strict=True)}
        )
        self._unread.update(zip(names, sums.tolist(), strict=True))

    def _row(self, key: bytes) -> torch.Tensor:
        segment, start, count = self._index[key]
        return self._segments[segment][start : start + count]

    def _add(self, path: Path, rows: torch.Tensor) -> None:
        self._segments.append(rows)
        self._paths.append(path)

    def _forget(self, segment: int) -> None:
        """Remove a damaged segment: who has its file open goes on with what is whole of it."""
        lost = [key for key, place in self._index.items() if place[0] == segment]
        for key in lost:
            del self._index[key]
            self._unread.pop(key, None)
        for path in (self._paths[segment].with_suffix(".npz"), self._paths[segment]):
            path.unlink(missing_ok=True)

    def _reserve(self, count: int) -> bool:
        """Whether `count` tokens fit into the segment being written, or into a new one."""
        if self._path and self._end + count <= len(self._segments[self._writing]):
            return True
        self.flush()
        room, needed = self.most - _bytes(self.folder.parent), count * self.width * self.dtype.itemsize
        size = max(needed, min(_SEGMENT, room))
        self.full = self.full or needed > room or not self._begin(size)
        return not self.full

    def _begin(self, size: int) -> bool:
        """Begin a segment; tells whether the disk has room."""
        path = self.folder / f"{secrets.token_hex(8)}.rows"
        try:
            with path.open("wb") as file:
                _allocate(file.fileno(), size)  # a full disk is told here, not by a signal later
        except OSError:
            path.unlink(missing_ok=True)
            return False
        self._path, self._writing, self._end = path, len(self._segments), 0
        self._add(path, self._map(path))
        return True

    def _map(self, path: Path) -> torch.Tensor:
        tokens = path.stat().st_size // (self.width * self.dtype.itemsize)
        with torch.inference_mode(False):  # validation opens segments that training goes on with
            flat = torch.from_file(str(path), shared=True, size=tokens * self.width, dtype=self.dtype)
            return flat.view(tokens, self.width)


_UNREADABLE = (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error, struct.error)


def _checksum(row: torch.Tensor) -> int:
    return xxhash.xxh3_64_intdigest(row.view(torch.uint8).numpy().data)


def _publish(path: Path, written: list[tuple[bytes, int, int, int]], size: int) -> None:
    """Cut the segment to what was written, see it to the disk, and write its index."""
    with path.open("r+b") as file:
        file.truncate(size)
        os.fsync(file.fileno())
    keys = np.frombuffer(b"".join(key for key, *_ in written), np.uint8).reshape(-1, KEY)
    places = np.array([place for _, *place, _ in written], np.int64).reshape(-1, 2)
    sums = np.array([known for *_, known in written], np.uint64)
    with replacing(path.with_suffix(".npz")) as beside, beside.open("wb") as file:
        np.savez(file, keys=keys, places=places, sums=sums)


def _allocate(file: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size)
        return
    block = bytes(1 << 20)  # macOS has no call for it
    while size > 0:
        size -= os.write(file, block[:size])


def _tidy(folder: Path) -> None:
    """Remove segments that a killed process left without an index."""
    for path in folder.glob("*.rows"):
        if not path.with_suffix(".npz").exists() and time.time() - _touched(path) > _ABANDONED:
            path.unlink(missing_ok=True)


def _make_room(parent: Path, most: int) -> None:
    """Remove stores that nobody has open, the longest unused first, until all hold at most `most` bytes."""
    for store in sorted((path for path in parent.iterdir() if path.is_dir()), key=_touched):
        if _bytes(parent) <= most:
            return
        if _unused(store):
            shutil.rmtree(store, ignore_errors=True)


def _unused(store: Path) -> bool:
    try:
        lock = os.open(store / ".lock", os.O_RDWR | os.O_CREAT)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(lock)
    return True


def _bytes(folder: Path) -> int:
    """Size of all files below a folder, where others may be removing some."""
    return sum(_stat(path).st_size for path in folder.rglob("*.*") if path.suffix in (".rows", ".npz"))


def _touched(path: Path) -> float:
    return _stat(path).st_mtime


def _stat(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except FileNotFoundError:
        return os.stat_result((0,) * 10)
