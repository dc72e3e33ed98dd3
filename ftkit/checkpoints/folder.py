"""What a folder must hold to be a checkpoint, and the SHA-256 of its weights."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ftkit.errors import MachineError
from ftkit.files import expanded, sha256

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
SHARDS = "model.safetensors.index.json"
ADAPTER = "adapter_config.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
CONTRACT = "ftkit.json"
"""What a folder that ftkit trained or exported promises; its files are listed in its seal."""
MARK = "ftkit_version"
"""In an export's config: other programs that fetch it leave the contract behind, and keep this."""
CARD = "README.md"
"""The model card: a text for people, which nothing reads, and which the Hub has a page to edit."""
_OTHERS_MEAN = {
    "quantization_config": "ftkit reads weights that are not quantized",
    "transformers_weights": f"ftkit reads {WEIGHTS}",
}
_OTHERS = _OTHERS_MEAN.keys()
"""Settings of a config that make transformers read something else, and fetch code for it."""
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
    """Where ftkit keeps all that outlives a command: `$FTKIT_CACHE`, `$XDG_CACHE_HOME/ftkit` or `~/.cache/ftkit`."""
    if own := os.environ.get("FTKIT_CACHE"):
        return expanded(own, MachineError).absolute()
    return expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache", MachineError).absolute() / "ftkit"


def is_trained_run(path: Path) -> bool:
    """Whether `path` is a run directory with the model that came of its recipe."""
    return (path / "recipe.yaml").is_file() and (path / "model").is_dir()


def is_export(folder: Path) -> bool:
    """Whether the config says that ftkit wrote it, and a contract with it."""
    try:
        return MARK in json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False


def lacks(folder: Path) -> list[str]:
    """Why `folder` can't be loaded as a checkpoint, a clause for each reason; empty when it can."""
    return [*_config_faults(folder), *_weight_faults(folder), *_tokenizer_faults(folder)]


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that transformers would read; those an index names may be missing.

    Raises ValueError where the index names a file of another folder, or none that is safetensors.
    """
    if (folder / WEIGHTS).is_file() or not (folder / SHARDS).is_file():
        return [folder / WEIGHTS]
    shards = json.loads((folder / SHARDS).read_text(encoding="utf-8"))["weight_map"].values()
    if odd := [str(name) for name in shards if not re.fullmatch(r"[\w][\w.-]*\.safetensors", name)]:
        raise ValueError(f"it names {odd[0]}")
    return [folder / name for name in sorted(set(shards))]


def weights_sha256(folder: Path) -> str:
    """SHA-256 of the weights, in hex; of the list of hashes where there are several files.

    In a folder that holds no whole model, such as an adapter's, all of its safetensors files are weights.
    """
    whole = [file for file in weight_files(folder) if file.is_file()]
    hashes = file_hashes(whole or sorted(folder.glob("*.safetensors")))
    if len(hashes) == 1:
        return next(iter(hashes.values()))
    listing = "".join(f"{digest}  {name}\n" for name, digest in sorted(hashes.items()))
    return hashlib.sha256(listing.encode()).hexdigest()


def file_hashes(files: Iterable[Path]) -> dict[str, str]:
    """File name -> SHA-256 in hex; a process reads a file again only when its size or its time of change is new."""
    return {file.name: _hash_once(file) for file in files}


def _config_faults(folder: Path) -> Iterator[str]:
    if not (folder / CONFIG).is_file():
        yield "there is no config.json"
        return
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except ValueError as error:
        yield f"config.json is not JSON ({error})"
        return
    if not isinstance(config, dict):
        yield "config.json holds no settings"
        return
    for name in _OTHERS & config.keys():
        yield f"config.json has {name}: {_OTHERS_MEAN[name]}"
    attention = [config.get(name) for name in ("attn_implementation", "_attn_implementation")]
    if kernels := [str(named) for named in attention if "/" in str(named)]:
        yield f"config.json wants {kernels[0]} for its attention, which is code of the Hub"
    if (folder / ADAPTER).is_file():
        yield f"an adapter ({ADAPTER}) lies beside the weights: merge it into them"


def _weight_faults(folder: Path) -> Iterator[str]:
    try:
        files = weight_files(folder)
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        yield f"{SHARDS} is not a list of weight files beside it ({error})"
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
    try:
        settings = json.loads((folder / TOKENIZER_CONFIG).read_text(encoding="utf-8"))
        files = settings.get("fast_tokenizer_files") or []
        if odd := [str(name) for name in files if os.path.basename(name) != name]:
            yield f"{TOKENIZER_CONFIG} names a file of another folder, {odd[0]}"
    except FileNotFoundError:
        return
    except (ValueError, AttributeError, TypeError) as error:
        yield f"{TOKENIZER_CONFIG} can't be read ({error})"


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


_hashes: dict[Path, tuple[int, int, str]] = {}
"""Size in bytes, time of change in ns, and SHA-256 in hex of what this process has read. No process trusts another's:
a byte that flips on a disk changes neither size nor time."""


def _hash_once(file: Path) -> str:
    stat, path = file.stat(), file.absolute()
    known = _hashes.get(path)
    if known is None or known[:2] != (stat.st_size, stat.st_mtime_ns):
        known = _hashes[path] = (stat.st_size, stat.st_mtime_ns, sha256(file))
    return known[2]
