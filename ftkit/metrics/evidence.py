"""What the scores of a split were taken of, row by row: enough to compare two models without asking them again."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from ftkit.alike import folded
from ftkit.errors import RunError, one_line
from ftkit.metrics.tally import LabelTally, MeanTally, MomentTally, Tally

_KINDS: dict[str, type[Tally]] = {"labels": LabelTally, "means": MeanTally, "moments": MomentTally}
_SETS = ("single", "multi", "entities")
"""Kinds of a LabelTally."""
_UNREADABLE = (
    *(OSError, EOFError, BadZipFile, zlib.error),
    *(ArithmeticError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError, ValueError),
)
"""What a torn file, and one that something else wrote, lead to."""
_NO_CONTENT = frozenset({"row", "id", "group", "as_given"})
"""Columns that say where a row is from, not what is in it."""


@dataclass(frozen=True)
class Evidence:
    """A split's tally, the document that each row belongs to, and a fingerprint of each row."""

    tally: Tally
    groups: tuple[int, ...] | None
    """A number for each document (rows that belong to none have a number of their own); None where no row has one."""
    rows: NDArray[np.uint64]
    asked: NDArray[np.uint64] | None = None
    """A fingerprint of what each row asks, whatever its answer; a file of another version may lack them."""

    @staticmethod
    def keeps(tally: Tally) -> bool:
        """Whether a tally is of a kind that can be read back: of a person's own class it can not."""
        return type(tally) in _KINDS.values()

    def save(self, path: Path) -> None:
        """Write a .npz file."""
        rows = self.tally.rows
        kind = next(name for name, cls in _KINDS.items() if type(self.tally) is cls)
        detail = {"names": self.tally.names, "kind": kind, "of": getattr(self.tally, "kind", None)}
        arrays = {"data": rows.data, "indices": rows.indices, "indptr": rows.indptr, "shape": np.array(rows.shape)}
        if self.groups is not None:
            arrays["groups"] = np.array(self.groups)
        if self.asked is not None:
            arrays["asked"] = self.asked
        with path.open("wb") as file:
            np.savez_compressed(file, detail=np.array(json.dumps(detail)), rows=self.rows, **arrays)

    @classmethod
    def load(cls, path: Path) -> Evidence:
        """Read what `save` wrote. Raises RunError where it can't be read."""
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = dict(file)
            tally = _tally(json.loads(str(arrays["detail"])), arrays)
            groups = _groups(arrays["groups"], len(tally)) if "groups" in arrays else None
            rows, asked = arrays["rows"], arrays.get("asked")
            for found in (rows, asked):
                is_right = found is None or (found.dtype == np.uint64 and found.shape == (len(tally),))
                _require(is_right, "its rows are not those of its tally")
            return cls(tally, groups, rows, asked)
        except _UNREADABLE as error:
            raise RunError(
                f"{path} can't be read: {one_line(error) or type(error).__name__}",
                "remove the file: `ftkit compare` then scores the run again",
            ) from error


def _tally(detail: dict[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Tally:
    """The tally. Raises one of `_UNREADABLE` where its parts don't belong together."""
    from scipy.sparse import csr_array

    kind, names, of = _KINDS[detail["kind"]], detail["names"], detail["of"]
    _require(isinstance(names, list) and all(isinstance(name, str) for name in names), "its names are no texts")
    _require(len(set(names)) == len(names), "a name is there twice")
    _require(of in (_SETS if kind is LabelTally else (None,)), f"there is no tally of {of!r}")
    data, indices, indptr, shape = (arrays[name] for name in ("data", "indices", "indptr", "shape"))
    _require(data.dtype.kind in "fiu" and bool(np.isfinite(data).all()), "its data are not all finite numbers")
    _require(all(array.dtype.kind in "iu" for array in (indices, indptr, shape)), "its places are no whole numbers")
    _require(shape.shape == (2,), "its shape is not that of a table")
    columns = int(shape[1])
    if kind.blocks:
        _require(
            columns == kind.leading + kind.blocks * len(names), f"it has {columns} columns, not those of its names"
        )
    rows = csr_array((data, indices, indptr), shape=(int(shape[0]), columns))
    rows.check_format(full_check=True)
    tally = kind(tuple(names), rows, **({"kind": of} if of else {}))
    tally.measure(np.zeros(columns))  # raises where the columns are not those that it takes
    return tally


def _groups(groups: NDArray[Any], count: int) -> tuple[int, ...]:
    _require(groups.dtype.kind in "iu" and groups.shape == (count,), "its groups are not those of its rows")
    _require(bool(((groups >= 0) & (groups < count)).all()), "its groups are not numbered from 0")
    return tuple(groups.tolist())


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)


Row = Mapping[str, Any]


def fingerprints(rows: Iterable[Row]) -> NDArray[np.uint64]:
    """64 bits of a hash of each row's content, its targets included and its number left out."""
    return _hashes({name: value for name, value in row.items() if name not in _NO_CONTENT} for row in _given(rows))


def asked(rows: Iterable[Row], texts: Callable[[Row], Mapping[str, str]]) -> NDArray[np.uint64]:
    """The same of the texts alone that a row asks with, white space aside: its answer and its form don't count."""
    return _hashes(folded(texts(row).values()) for row in _given(rows))


def _given(rows: Iterable[Row]) -> Iterator[Row]:
    """The rows as they were before they were cleaned: cleaned otherwise, a row is the same."""
    for row in rows:
        given = row.get("as_given")
        yield json.loads(given)["read"] if given else row


def _hashes(values: Iterable[Any]) -> NDArray[np.uint64]:
    found = []
    for value in values:
        text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
        found.append(int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big"))
    return np.array(found, dtype=np.uint64)
