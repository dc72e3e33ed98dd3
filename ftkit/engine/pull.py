"""A model that was pushed to the Hub, fetched into a folder: whole, or not at all.

Its seal comes first, and says which files belong to it; whatever else the repository holds stays there. Nothing of the
weights is fetched before it is known that the seal and the contract name no path outside of the folder, nor code.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.utils._validators import validate_repo_id

from ftkit import hub, trust
from ftkit.checkpoints.folder import CARD, CONTRACT
from ftkit.checkpoints.hub import library_errors
from ftkit.engine import contract as contracts
from ftkit.errors import CheckpointError, FTKitError, RunError, chain, first, one_line, problems
from ftkit.files import SEAL, broken, is_full_disk, parents, remove, replacing, seal, sealed, sha256
from ftkit.terminal import Say, silence

_CLIENTS = ".cache"
"""Where the Hub's library notes what it fetches into a folder."""


def pull(repo: str, to: Path, say: Say = silence, *, revision: str | None = None) -> Path:
    """Fetch what `push` has put into a repository of the Hub, at a branch, tag or commit, into the folder `to`.

    `to` must not exist. Raises CheckpointError where there is none, or not all of it as it was pushed, RunError where
    it names code or paths outside of it that nobody here has allowed (`ftkit.trust`), MachineError without a Hub.
    """
    if os.path.lexists(to):
        raise RunError(f"{to} exists already", "name another folder with --to, or remove it")
    commit = _commit(repo, revision)
    try:
        with parents(to), replacing(to) as beside, _called(repo, beside):
            beside.mkdir()  # where it can't be made, that is nothing of the Hub's
            _fetch(repo, commit, beside, [SEAL, CONTRACT])
            names = _names(repo, beside)
            contract = contracts.read(beside).model_dump()
            named = {name: contract[name] for name in ("task", "method")}
            trust.refuse_foreign(repo, named)
            trust.refuse_outside(beside, {**named, "base": contract["base"]})
            _fetch(repo, commit, beside, [name for name in names if name not in (SEAL, CONTRACT)])
            remove(beside / _CLIENTS)
            _check(repo, beside, say)
    except (OSError, CheckpointError) as error:
        cause = _of_disk(error, to.absolute().parent)
        if cause is None:
            raise
        if is_full_disk(cause):
            raise cause from None
        raise RunError(f"{to} can't be written: {cause.strerror or cause}", "name another with --to") from error
    say(f"{repo} at {commit[:12]}: {len(names) + 1} files")
    return to


def _of_disk(error: Exception, folder: Path) -> OSError | None:
    """What the disk failed with where things are written to; None where it was the connection."""
    if isinstance(error, OSError):
        return error
    failed = (one for one in chain(error) if isinstance(one, OSError) and one.filename)
    return next((one for one in failed if Path(os.path.abspath(one.filename)).is_relative_to(folder)), None)


@contextmanager
def _called(repo: str, folder: Path) -> Iterator[None]:
    """While this lasts, what is wrong in the folder that things are fetched into is told of the repository."""
    try:
        yield
    except FTKitError as error:
        if str(folder) not in error.message:
            raise
        message = error.message.replace(f"{folder}/", f"{repo}: ").replace(str(folder), repo)
        hint = error.hint.replace(str(folder), repo)
        raise type(error)(message, _AGAIN if isinstance(error, CheckpointError) else hint) from error


_AGAIN = "push it again: it was changed since, or pushed by another version"


def _commit(repo: str, revision: str | None) -> str:
    """The commit that a revision means now."""
    with library_errors(repo, revision):
        validate_repo_id(repo)
    hub.require()
    with library_errors(repo, revision):
        return str(HfApi().model_info(repo, revision=revision).sha)


def _fetch(repo: str, commit: str, folder: Path, names: list[str]) -> None:
    wanted = [glob.escape(name) for name in names]
    with library_errors(repo, commit):
        snapshot_download(repo, revision=commit, local_dir=folder, allow_patterns=wanted)


def _names(repo: str, folder: Path) -> list[str]:
    """The files that belong to it. Raises CheckpointError where that can't be told, or one would leave the folder."""
    lacking = [name for name in (SEAL, CONTRACT) if not (folder / name).is_file()]
    if lacking:
        raise CheckpointError(
            f"{repo} was not pushed by ftkit: it has no {' and no '.join(lacking)}",
            f"`ftkit checkpoints get {repo}` fetches any other checkpoint",
        )
    try:
        return list(sealed(folder))
    except ValueError as error:
        raise CheckpointError(one_line(error), _AGAIN) from error


def _check(repo: str, folder: Path, say: Say) -> None:
    """Raises CheckpointError where the files are not as they were pushed. A card that was edited is sealed as it is."""
    if faults := broken(folder, but={CARD}):
        raise problems(
            CheckpointError, f"{repo} is not as it was pushed", first(faults, 5), "pull it again, or push it again"
        )
    trust.refuse_links(folder)
    if (folder / CARD).is_file() and sha256(folder / CARD) != sealed(folder).get(CARD):
        say(f"note: {CARD} of {repo} was edited since it was pushed")
    if broken(folder):
        seal(folder)
