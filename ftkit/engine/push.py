"""A run or an export, put on the Hub as one commit.

What is pushed is a sealed folder, file by file as its seal names them; whatever else lies beside them stays here. So
no data, predictions or logs go along, and a file that names a path of this machine is refused (`_refuse_private`).

Who has what in a repository is left alone:

- One that is not there is made, private unless `public` is said.
- One that is empty, or holds what ftkit has pushed there before, gets a new commit. That replaces the files of the
  former push, keeps all others, and is told with the commit that it follows, which the Hub keeps. A card that was
  edited on the Hub since is somebody's work, though, and counts as what ftkit has not pushed.
- Anything else is changed with `force` alone: then the commit leaves the new files and nothing else.

All of a push is one commit, with the commit before it as its parent: an upload that is cut short, or that somebody
else's commit overtakes, leaves the repository as it was and can be called again (a repository or a branch that was
made for it stays, empty or as `main` is).
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, constants, errors, get_token
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils._validators import validate_repo_id

import ftkit
from ftkit import checkpoints, hub, trust
from ftkit.checkpoints.folder import CARD, CONTRACT
from ftkit.engine import contract as contracts
from ftkit.engine import model as models
from ftkit.engine.export import export
from ftkit.errors import CheckpointError, FTKitError, MachineError, RunError, chain, one_line, problems, some
from ftkit.files import SEAL, is_sealed, sealed, sha256
from ftkit.run import RunDirectory
from ftkit.terminal import Say, silence

_HUBS_OWN = ".gitattributes"
"""What the Hub puts into each repository."""
_LOG_IN = (
    "make one with write access at {hub}/settings/tokens, then `hf auth login`; HF_TOKEN goes first where it is set"
)


@dataclass(frozen=True)
class Pushed:
    """What a push has done, or would do."""

    repo: str
    url: str
    revision: str
    private: bool
    files: dict[str, int]
    """Name -> bytes of each file that the repository has now of this push."""
    changed: list[str] = field(default_factory=list)
    """Of these, what is new there, or another than it was."""
    removed: list[str] = field(default_factory=list)
    """What the commit takes away."""
    commit: str | None = None
    """None where it was tried alone."""

    def as_json(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        return {
            "repo": self.repo,
            "url": self.url,
            "revision": self.revision,
            "commit": self.commit,
            "private": self.private,
            "files": self.files,
            "changed": self.changed,
            "removed": self.removed,
        }


@dataclass(frozen=True)
class _Standing:
    """A repository as it is before a push."""

    repo: str
    branch: str
    unasked: str = ""
    """Why the Hub was not asked."""
    exists: bool = False
    has_branch: bool = False
    private: bool = True
    commit: str | None = None
    tree: Mapping[str, RepoFile] = field(default_factory=dict)
    pushed: tuple[str, ...] = ()
    """Those of an earlier push."""
    edited: bool = False
    """Whether the card is another one than was pushed."""

    @property
    def files(self) -> tuple[str, ...]:
        """The names of what it holds."""
        return tuple(self.tree)


def push(
    source: str | Path,
    repo: str,
    say: Say = silence,
    *,
    public: bool = False,
    revision: str | None = None,
    message: str | None = None,
    force: bool = False,
    dry_run: bool = False,
    data: str | None = None,
    rows: int | None = None,
) -> Pushed:
    """Put the model of a run, or an export as it is, into a repository of the Hub; a name alone is the person's own.

    A run is pushed as `export` writes it as a checkpoint, proven on `rows` of its held-out rows, or of the file `data`.
    With `dry_run` all is asked and nothing changed; without the Hub, or a login, it is said what was not asked. Raises
    FTKitError where the Hub, its repository or what is to be pushed is not fit for it, GateError where the export does
    not answer as the run does.
    """
    folder = None if RunDirectory.is_run(source) else _export(source)
    _refuse_name(repo)
    api, branch = HfApi(), revision or constants.DEFAULT_REVISION
    if dry_run and (why := _unasked()):
        standing = _Standing(repo if "/" in repo else f"<you>/{repo}", branch, why)
    else:
        with _asking(repo):
            standing = _standing(api, _writable(api, repo), branch)
    _refuse_standing(standing, public, force)
    with tempfile.TemporaryDirectory(prefix="ftkit-push-") as made:
        if folder is None:
            folder = export(source, Path(made) / "model", "checkpoint", say, data=data, rows=rows, called=standing.repo)
        files = [*sealed(folder), SEAL]
        _refuse_private(folder, files, source)
        removed = _removed(standing, files, force)
        told = Pushed(
            standing.repo,
            f"{constants.ENDPOINT}/{standing.repo}",
            standing.branch,
            standing.private if standing.exists else not public,
            {name: (folder / name).stat().st_size for name in sorted(files)},
            [name for name in sorted(files) if not _is_there(standing.tree.get(name), folder / name)],
            removed,
        )
        _tell(standing, told, say, dry_run)
        if dry_run:
            return told
        with _asking(standing.repo):
            commit = _commit(api, standing, told, folder, message or f"Push a model of ftkit {ftkit.__version__}")
            _verify(api, standing.repo, commit, folder, files)
    if commit == standing.commit:
        say(f"{standing.repo} holds these files already: there is no new commit")
    return replace(told, commit=commit)


def _export(source: str | Path) -> Path:
    """The folder of an export that is whole. Raises RunError or CheckpointError where it is none, or harmed."""
    folder = Path(os.path.expanduser(source))
    if not (folder / CONTRACT).is_file():
        inner = [str(found.parent) for found in sorted(folder.glob(f"*/{CONTRACT}"))]
        hint = f"name one of {', '.join(inner)}" if inner else "`hf upload` puts any other folder on the Hub"
        raise RunError(f"{folder} is neither a run nor an export of ftkit", hint)
    if not is_sealed(folder):
        raise RunError(
            f"{folder} has no {SEAL}: whoever pulls it could not tell that it is whole", "export the run again"
        )
    trust.refuse_links(folder)
    models.refuse_damaged(folder)
    contracts.read(folder)
    return folder


def _refuse_name(repo: str) -> None:
    """Raises CheckpointError for what can't be a repository's name."""
    try:
        validate_repo_id(repo)
    except errors.HFValidationError as error:
        raise CheckpointError(f"{repo!r} can't be a repository's name: {one_line(error)}", "write org/name") from error


_NOBODY = "nobody is logged in at the Hub: there is no token"


def _unasked() -> str:
    """Why the Hub can't be asked; empty where it can."""
    if reason := hub.unreachable():
        return f"the Hub ({constants.ENDPOINT}) can't be reached: {reason}"
    return _NOBODY if get_token() is None else ""


def _writable(api: HfApi, repo: str) -> str:
    """The repository with its owner. Raises MachineError without a token, and for one that may not write there."""
    hub.require()
    log_in = _LOG_IN.format(hub=constants.ENDPOINT)
    if get_token() is None:
        raise MachineError(_NOBODY, log_in)
    known = api.whoami()
    user = str(known["name"])
    name = repo if "/" in repo else f"{user}/{repo}"
    if known.get("auth", {}).get("accessToken", {}).get("role") == "read":
        raise MachineError(f"the token of {user} may only read, and not write to {name}", log_in)
    owner, roles = name.split("/")[0], {org["name"]: org.get("roleInOrg") for org in known.get("orgs", ())}
    if owner != user and roles.get(owner, "read") == "read":
        what = f"may only read in {owner}" if owner in roles else f"is not of {owner}"
        hint = f"ask its owner, name one of your own, or {log_in}"
        raise MachineError(f"the token may not write to {name}: {user} {what}", hint)
    return name


def _standing(api: HfApi, repo: str, branch: str) -> _Standing:
    """What the Hub has under a name; a branch that is not there begins as the main one is."""
    try:
        main = api.model_info(repo)
    except errors.GatedRepoError:
        raise
    except errors.RepositoryNotFoundError:
        return _Standing(repo, branch)
    try:
        info, has_branch = api.model_info(repo, revision=branch), True
    except errors.RevisionNotFoundError:
        info, has_branch = main, False
    commit = str(info.sha)
    files = {path: entry for path, entry in _tree(api, repo, commit).items() if path != _HUBS_OWN}
    standing = _Standing(repo, branch, "", True, has_branch, bool(info.private), commit, files)
    if not {CONTRACT, SEAL} <= set(files):
        return standing
    with tempfile.TemporaryDirectory(prefix="ftkit-push-") as folder:
        for name in {SEAL, CARD} & set(files):
            api.hf_hub_download(repo, name, revision=commit, local_dir=folder)
        try:
            known = sealed(Path(folder))
        except ValueError:
            return standing
        edited = CARD in files and sha256(Path(folder) / CARD) != known.get(CARD)
    return replace(standing, pushed=(*known, SEAL), edited=edited)


def _tree(api: HfApi, repo: str, commit: str) -> dict[str, RepoFile]:
    entries = api.list_repo_tree(repo, recursive=True, revision=commit)
    return {entry.path: entry for entry in entries if isinstance(entry, RepoFile)}


def _is_there(entry: RepoFile | None, file: Path) -> bool:
    """Whether the Hub has a file as it is here."""
    if entry is None:
        return False
    return bool(entry.lfs.sha256 == sha256(file) if entry.lfs else entry.blob_id == hub.git_hash(file))


def _refuse_standing(standing: _Standing, public: bool, force: bool) -> None:
    """Raises CheckpointError where the repository must not be changed so, for all reasons at once."""
    name, found, hints = standing.repo, [], []
    if standing.files and not standing.pushed and not force:
        found.append(f"it holds what ftkit has not pushed ({some(standing.files, 3)})")
        hints.append("name another one, or say --force: the new commit then leaves nothing else")
    if standing.edited and not force:
        found.append(f"its {CARD} was edited since it was pushed, and would be replaced")
        hints.append("say --force to replace it; the commit before keeps it")
    if standing.exists and not standing.private and not public:
        found.append("it is public")
        hints.append("say --public if everybody may have the model")
    if ".gitignore" in standing.files:
        found.append("it has a .gitignore, by which the Hub leaves files out")
        hints.append("remove that file on the Hub first")
    if found:
        raise problems(CheckpointError, name, found, "; ".join(hints))


def _removed(standing: _Standing, files: list[str], force: bool) -> list[str]:
    """What the commit takes away: of an earlier push what the new one has not, with `force` all that is not of it."""
    old = standing.files if force else tuple(set(standing.pushed) & set(standing.files))
    return sorted(set(old) - set(files))


def _refuse_private(folder: Path, files: list[str], source: str | Path) -> None:
    """Raises RunError where a file names a folder of this machine, which is nobody else's business, and no use there.

    Looked for in all files, weights and graphs too, are the person's home, this environment, the caches of ftkit and
    the Hub, the current folder, where the run or the export lies, and the paths that its recipe and its contract name.
    """
    homes = (Path.home(), Path.cwd(), sys.prefix, checkpoints.cache(), constants.HF_HUB_CACHE, source, folder)
    names = {f"{path}/" for home in homes for path in (Path(home).absolute(), Path(home).resolve()) if path.name}
    raws = [contracts.read(folder).model_dump()]
    raws += [RunDirectory.open(source).recipe.model_dump()] if RunDirectory.is_run(source) else []
    names |= {str(path) for raw in raws for path in trust.paths(raw) if path.name}
    names |= {name for raw in raws for name in trust.code(raw) if name.endswith(".py")}
    looked_for, found = [name.encode() for name in sorted(names)], []
    for name in files:
        content = (folder / name).read_bytes()
        likely = looked_for if b"\0" not in content else [path for path in looked_for if len(path) >= _TELLING]
        if private := [_around(content, path) for path in likely if path in content]:
            found.append(f"{name} names {max(private, key=len)}")
    if found:
        hint = "push the run itself, which needs no base; a task that is a file of one's own can't be pushed by ftkit"
        raise problems(RunError, f"{source} tells of this machine", found, hint)


_TELLING = 6
"""Bytes from which on a path that stands among weights does not stand there by chance."""


def _around(content: bytes, path: bytes) -> str:
    """The whole path of which the beginning was found."""
    start = content.index(path)
    end = next(
        (i for i in range(start, min(len(content), start + 300)) if content[i] in b"\"'`\n\0"), start + len(path)
    )
    return content[start:end].decode("utf-8", "replace")


def _tell(standing: _Standing, told: Pushed, say: Say, dry_run: bool) -> None:
    """Say what is sent where, and what becomes of what is there."""
    where = f"{told.url}, branch {told.revision}"
    kind = "private" if told.private else "public"
    if standing.unasked:
        say(f"note: {standing.unasked}; so it was not asked who may write to {told.repo}, nor what is there already")
    elif not standing.exists:
        say(f"{'would make' if dry_run else 'making'} the {kind} repository {told.repo}")
    elif not standing.has_branch:
        say(f"{'would make' if dry_run else 'making'} the branch {told.revision} of {told.repo}, as main is")
    size = sum(told.files[name] for name in told.changed)
    same = len(told.files) - len(told.changed)
    count = f"{len(told.changed)} of {len(told.files)}" if same else f"{len(told.files)}"
    others = "; the others are there as they are" if same else ""
    say(f"{'would send' if dry_run else 'sending'} {count} files, {size / 1e6:,.1f} MB, to {where} ({kind}){others}")
    if dry_run:
        for name, length in told.files.items():
            say(f"  {name}: {length:,} bytes{'' if name in told.changed else ', as it is there'}")
    if (told.changed or told.removed) and standing.files and standing.commit:
        gone = f"; it removes {some(told.removed, 5)}" if told.removed else ""
        say(f"note: {told.repo} is not empty: a new commit follows {standing.commit[:12]}, which stays there{gone}")


def _commit(api: HfApi, standing: _Standing, told: Pushed, folder: Path, message: str) -> str:
    """Make what is lacking, and send all files in one commit; its id."""
    parent = standing.commit
    if not standing.exists:
        api.create_repo(standing.repo, private=told.private)
        parent = str(api.model_info(standing.repo).sha)
    if standing.branch != constants.DEFAULT_REVISION and not standing.has_branch:
        api.create_branch(standing.repo, branch=standing.branch, revision=parent)
    sent = [CommitOperationAdd(name, str(folder / name)) for name in told.files]
    gone = [CommitOperationDelete(name, is_folder=False) for name in told.removed]
    made = api.create_commit(
        standing.repo, [*sent, *gone], commit_message=message, revision=standing.branch, parent_commit=parent
    )
    return str(made.oid)


def _verify(api: HfApi, repo: str, commit: str, folder: Path, files: list[str]) -> None:
    """Raises MachineError where the Hub has other files than were sent."""
    there, wrong = _tree(api, repo, commit), []
    for name in files:
        if not _is_there(there.get(name), folder / name):
            wrong.append(f"{name} is {'not as it was sent' if name in there else 'missing'}")
    if wrong:
        raise problems(MachineError, f"commit {commit} of {repo}", wrong, "push again")


_LIBRARYS: tuple[type[Exception], ...] = (*hub.connection_errors(), RuntimeError, ValueError)
"""What the library raises where it can't send, or is told by the Hub that a file or a card is not taken."""


@contextmanager
def _asking(repo: str) -> Iterator[None]:
    """While this lasts, what the Hub's library raises is an FTKitError that says what to do, without the token."""
    try:
        yield
    except FTKitError:
        raise
    except UnicodeEncodeError:
        raise MachineError("the token has letters that no token has", _LOG_IN.format(hub=constants.ENDPOINT)) from None
    except errors.HfHubHTTPError as error:
        raise _refusal(repo, error) from None  # a chain of errors may show the request, and its headers
    except _LIBRARYS as error:
        status = [one for one in chain(error) if isinstance(one, errors.HfHubHTTPError)]
        if status:
            raise _refusal(repo, status[0]) from None
        causes = [_without_token(one) for one in chain(error)]
        raise MachineError(
            f"{repo}: the Hub ({constants.ENDPOINT}) did not take it: {'; '.join(dict.fromkeys(causes))}",
            "nothing was committed: call it again",
        ) from None


def _refusal(repo: str, error: errors.HfHubHTTPError) -> FTKitError:
    """What an answer of the Hub means."""
    address, status = constants.ENDPOINT, error.response.status_code
    said = _without_token(error.server_message or error)
    if status == 401:
        return MachineError(f"the Hub ({address}) refuses the token", _LOG_IN.format(hub=address))
    if status == 403:
        hint = f"ask its owner, name one of your own, or {_LOG_IN.format(hub=address)}"
        return MachineError(f"the token may not write to {repo}: {said}", hint)
    if status in (409, 412):
        return CheckpointError(f"{repo} was changed meanwhile, and not by this push: {said}", "look, and push again")
    what, hint = hub.meaning(error)
    return MachineError(f"{repo}: {_without_token(what)}", f"{hint}; nothing was committed")


def _without_token(said: object) -> str:
    """What the library says, in one line: some of its errors show the header that the token stands in."""
    token = get_token()
    return one_line(str(said).replace(token, "hf_...") if token else said)
