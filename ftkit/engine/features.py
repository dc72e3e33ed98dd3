"""Outputs of frozen layers on disk: computed once, read through the page cache ever after.

A store is a folder of segments: a file of rows, mapped into memory, and beside it an index. What two trainings write
at once lies in two segments, and a segment counts from when its index is whole. A row is found by the hash of what
it was computed from, so that folds, seeds and sweeps over the same texts share it.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from ftkit.files import replacing

_SEGMENT = 1 << 26
"""Bytes of a segment, or of its one row where that is larger."""
_ABANDONED = 86_400
"""Seconds after which a segment without an index is nobody's."""
KEY = 16
"""Bytes of a row's hash."""


class FeatureStore:
    """Rows of shape (tokens, width) by the hash of their texts' tokens; at most `most` bytes in all stores.

    `parent` holds all stores. Where there is no more room, `put` keeps no more, and `full` says so.
    """

    def __init__(self, parent: Path, name: str, width: int, dtype: torch.dtype, most: int) -> None:
        self.folder, self.width, self.dtype = parent / name, width, dtype
        self.folder.mkdir(parents=True, exist_ok=True)
        os.utime(self.folder)
        self.room = most - _make_room(parent, self.folder, most)
        self.full = False
        self._index: dict[bytes, tuple[int, int, int]] = {}
        self._segments: list[torch.Tensor] = []
        self._known: set[str] = set()
        self._path: Path | None = None
        self._writing = self._end = 0
        self._written: list[tuple[bytes, int, int]] = []
        self.refresh()

    def __contains__(self, key: bytes) -> bool:
        return key in self._index

    def get(self, keys: Sequence[bytes]) -> list[torch.Tensor]:
        """The rows, each (its tokens, width). Raises KeyError for one that is not held."""
        places = [self._index[key] for key in keys]
        return [self._segments[segment][start : start + count] for segment, start, count in places]

    def put(self, key: bytes, row: torch.Tensor) -> None:
        """Keep a row, if there is room."""
        count = row.shape[0]
        if key in self._index or not self._reserve(count):
            return
        self._segments[self._writing][self._end : self._end + count] = row
        self._index[key] = (self._writing, self._end, count)
        self._written.append((key, self._end, count))
        self._end += count

    def flush(self) -> None:
        """Let others, and later trainings, read what was put."""
        if self._path is None:
            return
        keys = np.frombuffer(b"".join(key for key, _, _ in self._written), np.uint8).reshape(-1, KEY)
        places = np.array([place for _, *place in self._written], np.int64).reshape(-1, 2)
        with replacing(self._path.with_suffix(".npz")) as beside, beside.open("wb") as file:
            np.savez(file, keys=keys, places=places)
        self._known.add(self._path.name)
        self._path, self._written = None, []

    def refresh(self) -> None:
        """Find what other processes have written since."""
        for index in sorted(self.folder.glob("*.npz")):
            path = index.with_suffix(".rows")
            if path.name in self._known or not path.exists():
                continue
            self._known.add(path.name)
            with np.load(index) as found:
                keys, places = found["keys"], found["places"]
            self._segments.append(self._map(path))
            entries = zip(keys, places.tolist(), strict=True)
            self._index.update({key.tobytes(): (len(self._segments) - 1, *place) for key, place in entries})

    def _reserve(self, count: int) -> bool:
        """Whether `count` tokens fit into the segment being written, or into a new one."""
        if self._path and self._end + count <= len(self._segments[self._writing]):
            return True
        self.flush()
        size = max(_SEGMENT, count * self.width * self.dtype.itemsize)
        self.full = self.full or size > self.room or not self._open(size)
        return not self.full

    def _open(self, size: int) -> bool:
        """Begin a segment; tells whether the disk has room."""
        path = self.folder / f"{secrets.token_hex(8)}.rows"
        try:
            with path.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, size)  # a full disk is told here, not by a signal later
        except OSError:
            path.unlink(missing_ok=True)
            return False
        self.room -= size
        self._path, self._writing, self._end = path, len(self._segments), 0
        self._segments.append(self._map(path))
        return True

    def _map(self, path: Path) -> torch.Tensor:
        tokens = path.stat().st_size // (self.width * self.dtype.itemsize)
        with torch.inference_mode(False):  # validation opens segments that training goes on with
            flat = torch.from_file(str(path), shared=True, size=tokens * self.width, dtype=self.dtype)
            return flat.view(tokens, self.width)


def _make_room(parent: Path, mine: Path, most: int) -> int:
    """Remove what was abandoned, and other stores, the longest unused first; the bytes in all that stay."""
    for path in mine.glob("*.rows"):
        if not path.with_suffix(".npz").exists() and time.time() - path.stat().st_mtime > _ABANDONED:
            path.unlink()
    stores = sorted((path for path in parent.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime)
    sizes = {store: sum(file.stat().st_size for file in store.iterdir()) for store in stores}
    for store in stores:
        if store != mine and sum(sizes.values()) > most // 2:
            shutil.rmtree(store)
            del sizes[store]
    return sum(sizes.values())
