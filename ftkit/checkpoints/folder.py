"""What a folder must hold to be a checkpoint, and the SHA-256 of its weights."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ftkit.errors import MachineError
from ftkit.files import expanded, sha256, write_json

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
SHARDS = "model.safetensors.index.json"
_PICKLES = ("pytorch_model*.bin", "model*.bin", "*.pth", "*.ckpt", "*.pkl")
_TOKENIZERS = ("tokenizer.json", "vocab.*", "*.model", "bpe.codes")


@dataclass(frozen=True)
class Located:
    """Where a checkpoint's files are, and which weights they hold."""

    name: str
    """As it was asked for."""
    path: Path
    """A local folder that transformers loads without a network."""
    source: Literal["folder", "cache", "hub", "package index"]
    """`cache` is ftkit's or the Hub's; `hub` and `package index` were asked just now."""
    sha256: str
    """Of the weights; of the list of their hashes where they are split over several files."""
    revision: str = ""
    """The Hub's commit, where there is one."""


def cache() -> Path:
    """Where ftkit keeps what it fetched: `$FTKIT_CACHE`, `$XDG_CACHE_HOME/ftkit` or `~/.cache/ftkit`."""
    if own := os.environ.get("FTKIT_CACHE"):
        return expanded(own, MachineError).absolute()
    return expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache", MachineError).absolute() / "ftkit"


def is_trained_run(path: Path) -> bool:
    """Whether `path` is a run directory with the model that came of its recipe."""
    return (path / "recipe.yaml").is_file() and (path / "model").is_dir()


def lacks(folder: Path) -> list[str]:
    """Why `folder` can't be loaded as a checkpoint, a clause for each reason; empty when it can."""
    return [*_config_faults(folder), *_weight_faults(folder), *_tokenizer_faults(folder)]


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that transformers would read; those an index names may be missing."""
    if (folder / WEIGHTS).is_file() or not (folder / SHARDS).is_file():
        return [folder / WEIGHTS]
    shards = json.loads((folder / SHARDS).read_text(encoding="utf-8"))["weight_map"].values()
    return [folder / name for name in sorted(set(shards))]


def weights_sha256(folder: Path) -> str:
    """SHA-256 of the weights, in hex; of the list of hashes where there are several files.

    In a folder that holds no whole model, such as an adapter's, all of its safetensors files are weights.
    """
    whole = [file for file in weight_files(folder) if file.is_file()]
    hashes = file_hashes(folder, whole or sorted(folder.glob("*.safetensors")))
    if len(hashes) == 1:
        return next(iter(hashes.values()))
    listing = "".join(f"{digest}  {name}\n" for name, digest in sorted(hashes.items()))
    return hashlib.sha256(listing.encode()).hexdigest()


def file_hashes(folder: Path, files: Iterable[Path]) -> dict[str, str]:
    """File name -> SHA-256 in hex; a file is read again only when its size or its time of change is new."""
    memo = cache() / "hashes" / f"{hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:32]}.json"
    known = _read_memo(memo)
    found = {file.name: _hash_once(file, known.get(file.name)) for file in files}
    if any(known.get(name) != entry for name, entry in found.items()):
        # The memo only saves time, and a cache that can't be written is no reason to refuse a checkpoint.
        with contextlib.suppress(OSError):
            memo.parent.mkdir(parents=True, exist_ok=True)
            write_json(memo, {**known, **found})
    return {name: digest for name, (_, _, digest) in found.items()}


def _config_faults(folder: Path) -> Iterator[str]:
    if not (folder / CONFIG).is_file():
        yield "there is no config.json"
        return
    try:
        json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except ValueError as error:
        yield f"config.json is not JSON ({error})"


def _weight_faults(folder: Path) -> Iterator[str]:
    try:
        files = weight_files(folder)
    except (ValueError, KeyError, AttributeError, TypeError):
        yield f"{SHARDS} is not a list of weight files"
        return
    for file in files:
        if file.is_file():
            yield from _file_faults(file)
        elif pickles := sorted(found.name for pattern in _PICKLES for found in folder.glob(pattern)):
            yield f"its weights are pickle files ({', '.join(pickles)}), which can run code when read"
        else:
            yield f"there is no {file.name}"


def has_tokenizer(folder: Path) -> bool:
    """Whether the folder holds a tokenizer or a vocabulary to make one of."""
    return any(found for pattern in _TOKENIZERS for found in folder.glob(pattern))


def _tokenizer_faults(folder: Path) -> Iterator[str]:
    if not has_tokenizer(folder):
        yield "there is no tokenizer (tokenizer.json, or a vocabulary)"


def _file_faults(file: Path) -> Iterator[str]:
    """What a look at the header of a safetensors file shows: no header, or fewer bytes than it promises."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if not 2 <= length <= size - 8:
            yield f"{file.name} is not a safetensors file (a pointer that git-lfs left, or cut short)"
            return
        try:
            header = json.loads(stream.read(length))
            ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        except (ValueError, KeyError, AttributeError, TypeError):
            yield f"{file.name} is not a safetensors file"
            return
    if (whole := 8 + length + max(ends, default=0)) != size:
        yield f"{file.name} has {size:,} bytes of {whole:,}"


_Entry = tuple[int, int, str]
"""Size in bytes, time of change in ns, SHA-256 in hex."""


def _read_memo(memo: Path) -> dict[str, _Entry]:
    try:
        entries = json.loads(memo.read_text(encoding="utf-8"))
        return {name: (size, changed, digest) for name, (size, changed, digest) in entries.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}  # Absent, unreadable or of another make: everything is hashed again.


def _hash_once(file: Path, known: _Entry | None) -> _Entry:
    stat = file.stat()
    if known and known[:2] == (stat.st_size, stat.st_mtime_ns):
        return known
    return (stat.st_size, stat.st_mtime_ns, sha256(file))
