"""Data sets on the Hub: what names one, and its splits with label numbers turned into names."""

from __future__ import annotations

import atexit
import gc
import re
import shutil
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakSet

from ftkit.data import mapped
from ftkit.data.formats._base import AT_ONCE
from ftkit.data.mapped import Mapped, Row
from ftkit.data.read import Table, looks_like_file
from ftkit.data.split import split_named
from ftkit.errors import DataError, first
from ftkit.files import SEAL, broken, is_sealed, seal
from ftkit.hub import BRIEF_SECONDS, PROBE_SECONDS, connection_errors, unreachable

if TYPE_CHECKING:
    import pyarrow as pa

_ID = re.compile(r"(?:hf://)?(?:datasets/)?(\w[\w.-]*/\w[\w.-]*)(?::([^@:]+))?(?:@(.+))?")
_OFFLINE_HINT = "name a local file, unset HF_HUB_OFFLINE if it is set, or call this again with a connection"
_VERBATIM = {"keep_default_na": False}
"""For CSV: pandas would read the texts "NA" and "null" as missing."""


def is_hub_id(source: str) -> bool:
    """Whether `source` means a data set on the Hub: `hf://...`, or `org/name` where no such path exists."""
    if source.startswith("hf://"):
        return True
    return _ID.fullmatch(source) is not None and not looks_like_file(source) and not Path(source).exists()


def hub_name(source: str) -> tuple[str, str | None] | None:
    """Name and configuration of the data set on the Hub that `source` means; None where it means none."""
    matched = _ID.fullmatch(source) if is_hub_id(source) else None
    return (matched[1], matched[2]) if matched else None


def read_hub(source: str) -> dict[str, Table]:
    """The splits of `org/name`, `org/name:config` or `hf://org/name[:config][@revision]`, by the Hub's names.

    A copy in the cache is used where the Hub can't be reached; where there is none, DataError within seconds.
    """
    name, config, revision = _parsed(source)
    reason = unreachable(BRIEF_SECONDS if _is_kept(name) else PROBE_SECONDS)
    notes = (f"{source}: the Hub is out of reach ({reason}); the copy in the cache is used",) if reason else ()
    if reason and revision:
        what = f"the Hub is out of reach ({reason}), and only it knows revision {revision}"
        raise DataError(f"{source}: {what}", _OFFLINE_HINT)
    with _no_counting(), _offline(bool(reason)):
        splits = _load(source, name, config, revision, reason)
    return {split: _table(f"{source} ({split})", data.data.table, notes) for split, data in splits.items()}


@dataclass(frozen=True)
class HubRows:
    """A split on the Hub that is fetched while it is gone through."""

    source: str
    commit: str
    data: Any

    def tables(self) -> Iterator[Table]:
        """Its rows, some at a time. Raises DataError where the connection is lost."""
        tables = self._tables()
        _STREAMS.add(tables)
        return tables

    def _tables(self) -> Generator[Table]:
        before, features = 0, self.data.features
        batches = iter(self.data.with_format("arrow").iter(AT_ONCE))
        while (batch := self._next(batches)) is not None:
            rows = _with_names(batch, features)
            numbers = range(before + 1, before + len(rows) + 1)
            before += len(rows)
            yield Table(self.source, tuple(batch.column_names), rows, numbers, "record")

    def whole(self) -> Table:
        """All of its rows."""
        parts = list(self.tables())
        rows = [row for part in parts for row in part.rows]
        if not rows:
            raise DataError(f"{self.source} has no rows", "name another split or data set")
        return Table(self.source, parts[0].columns, rows, range(1, len(rows) + 1), "record")

    def _next(self, batches: Iterator[pa.Table]) -> pa.Table | None:
        lost: tuple[type[Exception], ...] = (*connection_errors(), RuntimeError, ValueError)
        try:
            return next(batches, None)
        except lost as error:
            what = f"{self.source} can't be read on: {str(error).strip() or type(error).__name__}"
            raise DataError(what, "see to the network, and call this again") from error


_STREAMS: WeakSet[Generator[Table]] = WeakSet()
"""Those that something may still go through."""


def _close_streams() -> None:
    """Let go of what streams hold: PyArrow's threads, left running, abort the process when Python has ended."""
    for tables in list(_STREAMS):
        tables.close()
    gc.collect()


def stream_hub(source: str, split: str) -> HubRows:
    """One split of what `read_hub` reads as a whole: the one that is called so, or the only one; nothing is kept of it.

    Raises DataError where the Hub is out of reach, or has no such split.
    """
    from datasets.exceptions import DatasetsError

    name, config, revision = _parsed(source)
    if reason := unreachable(PROBE_SECONDS):
        raise DataError(f"{source}: the Hub is out of reach ({reason}), from which a stream comes", _OFFLINE_HINT)
    atexit.unregister(_close_streams)  # it is called once, of however many streams
    atexit.register(_close_streams)
    try:
        with _no_counting():
            commit = _commit(name, revision)
            found = _asked_for(name, config, commit, streaming=True)
    except (OSError, ValueError, RuntimeError, DatasetsError) as error:
        raise _not_loaded(source, error) from error
    chosen = split_called(split, found, source)
    data = found[chosen]
    return HubRows(f"{source} ({chosen})", commit, data if data.features else data._resolve_features())


def split_called(name: str, splits: Iterable[str], source: str) -> str:
    """What a source calls one of its splits: the one that `name` means, or its only one. Raises DataError for none."""
    splits = list(splits)
    called = [own for own in splits if split_named(own) == name or len(splits) == 1]
    if not called:
        raise DataError(f"{source} has no split called {name}", f"its splits: {', '.join(splits)}")
    return called[0]


def _commit(name: str, revision: str | None) -> str:
    """The commit that a data set has now, so that all that read it read the same."""
    from huggingface_hub import HfApi

    return str(HfApi().dataset_info(name, revision=revision, timeout=PROBE_SECONDS).sha)


def rows_of(table: pa.Table) -> Sequence[Row]:
    """The rows of an Arrow table; where it says what its label numbers mean, they are names (-1 is None)."""
    rows = Mapped(table, _decoder(table.schema))
    return rows if table.nbytes > mapped.LARGE else list(rows)


def _decoder(schema: pa.Schema) -> Callable[[pa.RecordBatch], list[Row]]:
    if b"huggingface" not in (schema.metadata or {}):
        return lambda batch: cast(list[Row], batch.to_pylist())
    from datasets import Features

    features = Features.from_arrow_schema(schema)
    return lambda batch: _with_names(batch, features)


# ---------------------------------------------------------------------- private


def _parsed(source: str) -> tuple[str, str | None, str | None]:
    """Name, config and revision that a source names."""
    matched = _ID.fullmatch(source)
    if matched is None:
        raise DataError(
            f"{source} does not name a data set", "write hf://org/name, hf://org/name:config or ...@revision"
        )
    return matched[1], matched[2], matched[3]


def _not_loaded(source: str, error: Exception) -> DataError:
    hint = "a name is org/name, with :config where there are several; a private one needs `hf auth login`"
    return DataError(f"{source} can't be loaded from the Hub: {str(error).strip()}", hint)


def _is_kept(name: str) -> bool:
    """Whether the cache has some copy of a data set."""
    return _cache(name).is_dir()


def _cache(name: str) -> Path:
    from datasets import config

    return Path(config.HF_DATASETS_CACHE) / name.replace("/", "___")


def _table(source: str, table: pa.Table, notes: tuple[str, ...]) -> Table:
    rows = rows_of(table)
    return Table(source, tuple(table.column_names), rows, range(1, len(rows) + 1), "record", notes)


def _with_names(batch: pa.RecordBatch | pa.Table, features: Any) -> list[Row]:
    """The rows of a batch, with names in place of label numbers."""
    return [{name: _named(value, features[name]) for name, value in row.items()} for row in batch.to_pylist()]


def _named(value: Any, feature: Any) -> Any:
    from datasets import ClassLabel, LargeList, List

    if value is None:
        return None
    if isinstance(feature, ClassLabel):
        return feature.int2str(value) if value >= 0 else None
    if isinstance(feature, (List, LargeList)):
        return [_named(item, feature.feature) for item in value]
    if isinstance(feature, dict):
        return {name: _named(item, feature[name]) for name, item in value.items()}
    return value


def _load(source: str, name: str, config: str | None, revision: str | None, reason: str) -> dict[str, Any]:
    from datasets.exceptions import DatasetsError

    _drop_damaged(source, name, reason)
    try:
        if reason:
            return _sealed(_load_cached(name, config))
        return _sealed(_asked_for(name, config, revision))
    except (OSError, ValueError, RuntimeError, DatasetsError) as error:
        if reason:
            message = f"{source} is no file here, and the Hub is out of reach with no copy in the cache: {reason}"
            raise DataError(message, _OFFLINE_HINT) from error
        raise _not_loaded(source, error) from error


def _asked_for(name: str, config: str | None, revision: str | None, **how: Any) -> dict[str, Any]:
    """The splits as the library gives them, values verbatim."""
    import datasets

    builder = datasets.load_dataset_builder(name, config, revision=revision)
    verbatim = _VERBATIM if hasattr(builder.config, "keep_default_na") else {}
    return dict(datasets.load_dataset(name, config, revision=revision, **how, **verbatim))


def _drop_damaged(source: str, name: str, reason: str) -> None:
    """Remove copies from the cache that are not as they were written, so that they are made anew.

    Raises DataError where the Hub is out of reach.
    """
    for folder in [file.parent for file in _cache(name).rglob(SEAL)]:
        faults = broken(folder)
        if faults and reason:
            what = f"the copy in the cache is damaged ({'; '.join(first(faults, 3))})"
            raise DataError(f"{source}: {what}", f"remove {folder}, and call this again with a connection")
        if faults:
            shutil.rmtree(folder)


def _sealed(splits: dict[str, Any]) -> dict[str, Any]:
    """The splits, with checksums of their files in the cache, of which the library writes none."""
    for folder in {Path(file["filename"]).parent for data in splits.values() for file in data.cache_files}:
        if not is_sealed(folder):
            with suppress(OSError):  # a cache of somebody else's
                seal(folder)
    return splits


def _load_cached(name: str, config: str | None) -> dict[str, Any]:
    """The newest copy in the cache, which is filed under the options it was read with."""
    import datasets

    try:
        return dict(datasets.load_dataset(name, config, **_VERBATIM))
    except ValueError:
        return dict(datasets.load_dataset(name, config))


@contextmanager
def _offline(switch: bool) -> Iterator[None]:
    """With `switch`, the libraries look into their caches alone instead of retrying for a minute."""
    import datasets.config
    from huggingface_hub import constants

    before = datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE
    if switch:
        datasets.config.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE = before


@contextmanager
def _no_counting() -> Iterator[None]:
    """Keep `datasets` from ringing its download counter, which is not the Hub."""
    import datasets.config

    before = datasets.config.HF_UPDATE_DOWNLOAD_COUNTS
    datasets.config.HF_UPDATE_DOWNLOAD_COUNTS = False
    try:
        yield
    finally:
        datasets.config.HF_UPDATE_DOWNLOAD_COUNTS = before
