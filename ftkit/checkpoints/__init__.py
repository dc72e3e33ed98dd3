"""What a checkpoint's name means, and where its files are."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ftkit import terminal
from ftkit.checkpoints import hub
from ftkit.checkpoints.folder import Located, cache, has_tokenizer, is_trained_run, lacks, weights_sha256
from ftkit.checkpoints.starters import STARTERS, cached_folder, fetch, is_cached
from ftkit.errors import CheckpointError, nearest, problems
from ftkit.terminal import Say

__all__ = [
    "STARTERS",
    "Located",
    "at_hand",
    "cache",
    "catalog",
    "has_tokenizer",
    "hub_id",
    "lacks",
    "locate",
    "weights_sha256",
]


def locate(checkpoint: str, revision: str | None = None, say: Say = terminal.say) -> Located:
    """The local folder that a checkpoint's name means, fetched if need be.

    A name is a local folder with a config.json, a starter (`minilm`, `smollm2`), or a Hub id. A starter
    with a `revision` is its Hub id. What is local is found without a network.

    Raises:
        CheckpointError: there is no such checkpoint, it can't be reached, or it is not one that ftkit reads.
        MachineError: the cache can't be written.
    """
    if not checkpoint:
        raise _not_a_name(checkpoint)
    path = Path(os.path.expanduser(checkpoint))  # Unlike Path's own, it leaves an unknown ~user as it is.
    if (path / "config.json").is_file() or _is_path(checkpoint):
        return _folder(checkpoint, path, revision)
    if checkpoint in STARTERS:
        starter = STARTERS[checkpoint]
        return fetch(starter, say) if revision is None else hub.locate(starter.hub_id, revision, say)
    if path.exists():
        return _folder(checkpoint, path, revision)
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", checkpoint, re.ASCII):
        raise _not_a_name(checkpoint)
    try:
        return hub.locate(checkpoint, revision, say)
    except CheckpointError as error:
        raise CheckpointError(error.message, _suggestion(checkpoint) + error.hint) from error


def at_hand(checkpoint: str, revision: str | None = None) -> Path | None:
    """The folder of a checkpoint that is here already; None where it would have to be fetched, or is none."""
    path = Path(os.path.expanduser(checkpoint))
    if (path / "config.json").is_file():
        return path.absolute()
    if checkpoint in STARTERS and revision is None:
        return cached_folder(STARTERS[checkpoint]) if is_cached(STARTERS[checkpoint]) else None
    name = STARTERS[checkpoint].hub_id if checkpoint in STARTERS else checkpoint
    return hub.cached(name, revision) if re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name, re.ASCII) else None


def hub_id(checkpoint: str) -> str:
    """The Hub's name of a checkpoint; empty for a folder of this machine."""
    if checkpoint in STARTERS:
        return STARTERS[checkpoint].hub_id
    return "" if os.path.exists(os.path.expanduser(checkpoint)) or _is_path(checkpoint) else checkpoint


def catalog() -> list[dict[str, str | int | bool]]:
    """The starter checkpoints: what they are, where they come from, and whether ftkit's cache has them."""
    return [
        {
            "name": starter.name,
            "what": starter.what,
            "parameters": starter.parameters,
            "license": starter.license,
            "hub_id": starter.hub_id,
            "package": f"{starter.package} {starter.version}",
            "note": starter.note,
            "cached": is_cached(starter),
            "folder": str(cached_folder(starter)),
        }
        for starter in STARTERS.values()
    ]


def _is_path(checkpoint: str) -> bool:
    deep = checkpoint.count("/") > 1 and "://" not in checkpoint
    local = checkpoint.startswith((".", "/", "~", "runs/")) or (
        "/" in checkpoint and Path(checkpoint).parent.is_dir()  # beside what is there, and not on the Hub
    )
    return local or deep or "\\" in checkpoint


def _folder(checkpoint: str, path: Path, revision: str | None) -> Located:
    if path.is_file():
        raise CheckpointError(f"{path} is a file; a checkpoint is a folder", f"Perhaps {path.parent.absolute()}")
    if not path.is_dir():
        there = next(parent for parent in path.absolute().parents if parent.exists())
        raise CheckpointError(f"there is no folder {path.absolute()}", f"As far as {there} it exists")
    if is_trained_run(path):
        raise CheckpointError(f"{path} is a run directory", f"Its model is {path / 'model'}")
    if faults := lacks(path):
        raise problems(CheckpointError, f"{path} is not a checkpoint that ftkit reads", faults, _hint(path))
    if revision is not None:
        hint = "Leave model.revision out, or name a checkpoint of the Hub"
        raise CheckpointError(f"{path} is a folder and has no revision {revision}", hint)
    return Located(checkpoint, path.absolute(), "folder", weights_sha256(path))


def _hint(folder: Path) -> str:
    """The way out for a folder that is no checkpoint."""
    if (folder / "adapter_config.json").is_file():
        return "It holds an adapter alone: merge it into its base model, or train from the base model"
    if any(folder.glob("*.bin")):
        return "If you trust it, load it with transformers and `save_pretrained` it: that writes safetensors"
    if inner := sorted(found.parent for found in folder.glob("*/config.json")):
        return f"Perhaps {inner[0]}"
    return "A checkpoint is a folder as `save_pretrained` of a model and its tokenizer writes it"


def _not_a_name(checkpoint: str) -> CheckpointError:
    if page := re.match(r"https?://[^/]+/([\w.-]+/[\w.-]+)", checkpoint):
        return CheckpointError(f"{checkpoint} is an address, not a checkpoint's name", f"Write {page[1]}")
    return CheckpointError(
        f"{checkpoint!r} can't be a checkpoint's name",
        "Give a starter (`ftkit checkpoints list`), a Hub id such as org/name, or a local folder",
    )


def _suggestion(checkpoint: str) -> str:
    """The starter that was perhaps meant, as a sentence; empty where none is near."""
    by_id = {starter.hub_id.lower(): name for name, starter in STARTERS.items()}
    meant = by_id.get(checkpoint.lower()) or nearest(checkpoint, STARTERS, 0.6)
    return f"Did you mean the starter {meant}? " if meant else ""
