"""What tells data from other data: the SHA-256 of each file and of rows from the Hub, and what has changed since."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ftkit.data.hub import is_hub_id
from ftkit.data.read import parted
from ftkit.data.several import expand
from ftkit.data.split import SPLIT_NAMES
from ftkit.data.typed import AT_ONCE
from ftkit.errors import DataError
from ftkit.files import sha256

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset

    from ftkit.data.load import Splits
    from ftkit.settings import DataSpec


_PROBE = 2**20
"""Bytes at each end of a stream's file that tell it from others."""


def file_hashes(spec: DataSpec) -> dict[str, str]:
    """The SHA-256 of each file and folder that the data are in, by split; by file too where it has several.

    Files of a stream are told from others by less.
    """
    found = {
        split: (stamps if spec.stream and split == "train" else hashes)(spec.sources(split))
        for split in (*SPLIT_NAMES, "unlabeled")
    }
    return {
        split if len(files) == 1 else f"{split}: {file}": digest
        for split, files in found.items()
        for file, digest in files.items()
    }


def hashes(names: Sequence[str]) -> dict[str, str]:
    """The SHA-256 of each local file and folder that names and patterns stand for.

    Raises DataError where one can't be read.
    """
    return _of_each(names, sha256)


def stamps(names: Sequence[str]) -> dict[str, str]:
    """What tells each local file that names and patterns stand for from others, without reading all of it.

    It is the SHA-256 of its size and of its first and last bytes. Raises DataError where one can't be read.
    """
    return _of_each(names, _stamp)


def _of_each(names: Sequence[str], digest: Callable[[Path], str]) -> dict[str, str]:
    paths = {name: Path(parted(name)[0]) for name in expand(names)[0]}
    found: dict[str, str] = {}
    for name, path in paths.items():
        try:
            found |= {name: digest(path)} if path.exists() else {}
        except OSError as error:
            raise DataError(f"{path} can't be read: {error.strerror or error}", "check its permissions") from error
    return found


def _stamp(path: Path) -> str:
    with path.open("rb") as file:
        size = path.stat().st_size
        found = hashlib.sha256(f"{size} ".encode() + file.read(_PROBE))
        file.seek(max(0, size - _PROBE))
        found.update(file.read(_PROBE))
    return f"ends:{found.hexdigest()}"


def from_hub(spec: DataSpec, split: str) -> bool:
    """Whether the rows of a split come from the Hub, where they may change under the same name."""
    sources = spec.sources(split) or spec.sources("train")
    return len(sources) == 1 and is_hub_id(sources[0])


def hub_hashes(spec: DataSpec, loaded: Splits) -> dict[str, str]:
    """The SHA-256 of the rows of each split that comes from the Hub; of a stream, the commit."""
    return {
        name: f"commit:{loaded.stream.commit}" if loaded.stream and name == "train" else fingerprint(rows)
        for name, rows in loaded.items()
        if from_hub(spec, name)
    }


def changed_files(spec: DataSpec, recorded: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str]:
    """The data that `now` are not those of which the SHA-256s were recorded, and what happened to each.

    `now` is what `Prepared.files` or `file_hashes` gives; what that does not tell of is not compared.
    """
    was, is_ = _by_split(recorded), _by_split(now)

    def is_kept(name: str) -> bool:
        """Whether a file is there under another name because it is one of several now, or no longer."""
        split = name.partition(":")[0]
        if (split in recorded) == (split in now):
            return False
        return (name in now and now[name] in was.get(split, ())) or recorded.get(name) in is_.get(split, ())

    def happened(name: str) -> str:
        split = name.partition(":")[0]
        if name not in now:
            return "was taken away"
        joins = split in was and (split not in recorded or was[split] & is_[split])
        return "was added" if name not in recorded and joins else "has changed"

    changed = [
        name
        for name in {**now, **recorded}
        if now.get(name) != recorded.get(name) and (name in now or ":" in name) and not is_kept(name)
    ]
    return {_source(spec, name): happened(name) for name in changed}


def _by_split(hashes: Mapping[str, str]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for name, digest in hashes.items():
        found.setdefault(name.partition(":")[0], set()).add(digest)
    return found


def _source(spec: DataSpec, name: str) -> str:
    """What a person knows the data by that have a SHA-256 under `name`."""
    if ":" in name:
        return name
    sources = spec.sources(name)
    return sources[0] if sources else f"{spec.sources('train')[0]} ({name})"


def fingerprint(rows: Dataset) -> str:
    """A SHA-256 of the rows of a data set: equal for equal ones, however they are cut into parts in memory or on disk.

    It is of the bytes that Arrow has of them, so that no row becomes an object of Python's.
    """
    import pyarrow as pa

    sink = _Digest()
    arrow = rows.with_format("arrow")
    schema = pa.schema([field.remove_metadata() for field in rows.features.arrow_schema])
    with pa.ipc.new_stream(pa.PythonFile(sink, mode="w"), schema) as writer:
        for start in range(0, len(rows), AT_ONCE):
            block = cast("pa.Table", arrow[start : start + AT_ONCE]).replace_schema_metadata(None).cast(schema)
            copied = block.combine_chunks().take(pa.array(range(len(block))))  # else bits of rows around it come along
            writer.write_table(copied.combine_chunks())
    return sink.digest.hexdigest()


class _Digest:
    """A file that keeps the SHA-256 of what is written to it alone."""

    closed = False

    def __init__(self) -> None:
        self.digest = hashlib.sha256()

    def write(self, content: Any) -> int:
        self.digest.update(content)
        return len(content)

    def flush(self) -> None:
        """There is nothing that waits."""

    def close(self) -> None:
        self.closed = True
