"""What the scores of a split were taken of, row by row: enough to compare two models without asking them again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from ftkit.errors import RunError
from ftkit.metrics.tally import LabelTally, MeanTally, MomentTally, Tally

_KINDS: dict[str, type[Tally]] = {"labels": LabelTally, "means": MeanTally, "moments": MomentTally}
_NO_CONTENT = frozenset({"row", "id", "group"})
"""Columns that say where a row is from, not what is in it."""


@dataclass(frozen=True)
class Evidence:
    """A split's tally, the document that each row belongs to, and a fingerprint of each row."""

    tally: Tally
    groups: tuple[int, ...] | None
    """A number for each document (rows that belong to none have a number of their own); None where no row has one."""
    rows: NDArray[np.uint64]

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
        with path.open("wb") as file:
            np.savez_compressed(file, detail=np.array(json.dumps(detail)), rows=self.rows, **arrays)

    @classmethod
    def load(cls, path: Path) -> Evidence:
        """Read what `save` wrote. Raises RunError where it can't be read."""
        from scipy.sparse import csr_array

        try:
            with np.load(path, allow_pickle=False) as file:
                detail = json.loads(str(file["detail"]))
                rows = csr_array((file["data"], file["indices"], file["indptr"]), shape=tuple(file["shape"]))
                groups = tuple(file["groups"].tolist()) if "groups" in file else None
                more = {"kind": detail["of"]} if detail["of"] else {}
                return cls(_KINDS[detail["kind"]](tuple(detail["names"]), rows, **more), groups, file["rows"])
        except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile) as error:
            raise RunError(
                f"{path} can't be read: {error}", "remove the file: `ftkit compare` then scores the run again"
            ) from error


def fingerprints(rows: Iterable[Mapping[str, Any]]) -> NDArray[np.uint64]:
    """64 bits of a hash of each row's content, its targets included and its number left out."""
    found = []
    for row in rows:
        content = {name: value for name, value in row.items() if name not in _NO_CONTENT}
        text = json.dumps(content, sort_keys=True, ensure_ascii=False, default=str)
        found.append(int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big"))
    return np.array(found, dtype=np.uint64)
