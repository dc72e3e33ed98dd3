"""Whose code may run, and whose paths are followed: one's own recipe's; what came from elsewhere must be allowed.

A run or an export is one's own where ftkit's cache remembers what it names: the code and the paths of each recipe that
was trained here. Of any other, code is not run, and no path that leaves its folder is followed, links included, unless
the person says `--allow-code` (in Python, `ftkit.trust.allow()`; for training processes, FTKIT_ALLOW_CODE=1). That is
for one process: what was let through so is not remembered, even where it is trained.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ftkit import checkpoints
from ftkit.checkpoints.hub import is_snapshot
from ftkit.errors import RunError, some
from ftkit.files import replacing

_own: set[str] = set()
"""What this process was told, for a cache that can't be written."""
_lent: set[str] = set()
"""What this process lets through because it is allowed to, and nothing else."""
VARIABLE = "FTKIT_ALLOW_CODE"
"""Of the environment: 1 says what `--allow-code` does."""
_allowed = os.environ.get(VARIABLE) == "1"
_HINT = f"say --allow-code (or set {VARIABLE}=1) if you trust it"


def allow() -> None:
    """Let every folder run the code and follow the paths that it names, in this process."""
    global _allowed
    _allowed = True


def remember(recipe: Mapping[str, Any]) -> None:
    """Note the code and the paths that a recipe names which is trained here, but for what was let through alone.

    Each has a file of its own, so that trainings that begin at once lose none of each other's.
    """
    named = {*code(recipe), *map(str, paths(recipe))} - _lent
    _own.update(named)
    for name in sorted(named):
        file = _file(name)
        if file.is_file():
            continue
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with replacing(file) as beside:
                beside.write_text(f"{name}\n", encoding="utf-8", errors="surrogateescape")
        except OSError:
            return  # `_own` serves this process; a later one asks for --allow-code, and says so


def refuse_foreign(source: object, contract: Mapping[str, Any]) -> None:
    """Raises RunError where a run's recipe or a folder's contract names code that is not known to be one's own."""
    foreign = [name for name in code(contract) if not _is_own(name)]
    if _allowed:
        _lent.update(foreign)
    elif foreign:
        raise RunError(
            f"{source} wants to run code that no recipe of yours has named: {', '.join(foreign)}",
            f"read it, and {_HINT}",
        )


def refuse_outside(source: str | Path, contract: Mapping[str, Any]) -> None:
    """Raises RunError where a run's recipe or a folder's contract names a path outside of it that is not one's own."""
    home = Path(source).resolve()
    others = [str(path) for path in paths(contract) if not path.is_relative_to(home) and not _is_own(str(path))]
    if _allowed:
        _lent.update(others)
    elif others:
        _refuse(source, "names what lies outside of it and no recipe of yours has named", others)


def refuse_links(folder: Path) -> None:
    """Raises RunError where something in a folder is a link that leaves it (but for those of the Hub's cache)."""
    if _allowed:
        return
    homes = [folder.resolve()]
    if is_snapshot(folder):
        homes.append(folder.absolute().parents[1] / "blobs")
    links = [path for path in sorted(folder.rglob("*")) if path.is_symlink()]
    leaving = [link for link in links if not any(_leads_to(link).is_relative_to(home) for home in homes)]
    if leaving:
        names = (f"{link.relative_to(folder)} -> {os.readlink(link)}" for link in leaving)
        _refuse(folder, "holds links that leave it", names)


def _refuse(source: object, what: str, names: Iterable[str]) -> None:
    raise RunError(f"{source} {what}: {some(list(names), 3)}", f"copy what is needed into it, or {_HINT}")


def _leads_to(link: Path) -> Path:
    """Where a link leads, by one step in the Hub's cache, whose blobs may be links, too; else to the end."""
    step = Path(os.path.normpath(link.absolute().parent / os.readlink(link)))
    return step if step.parent.name == "blobs" else link.resolve()


def code(raw: Mapping[str, Any]) -> list[str]:
    """Files and modules named as task, method, objective or augmenters, and metrics that are none of ftkit's own."""
    names = [
        str(choice.get("name", "")) if isinstance(choice, Mapping) else str(choice or "") for choice in _choices(raw)
    ]
    section = raw.get("evaluate")
    metrics = section.get("metrics") if isinstance(section, Mapping) else None
    listed = [str(metric) for metric in metrics] if isinstance(metrics, (list, tuple)) else []
    return [name for name in names if "." in name] + [name for name in listed if not name.startswith("ftkit/")]


def _choices(raw: Mapping[str, Any]) -> list[Any]:
    """Task, method, objective and augmenters."""
    by = raw["augment"].get("by") if isinstance(raw.get("augment"), Mapping) else None
    return [raw.get("task"), raw.get("method"), raw.get("objective"), *(by if isinstance(by, (list, tuple)) else [by])]


PATHS = (*(("data", name) for name in ("train", "validation", "test", "unlabeled")), ("model", "checkpoint"))
"""Where recipes name files, folders, or what is none (a Hub id, a share of rows)."""
MODELS = ("teacher", "checkpoint", "there", "back")
"""Options of plug-ins that name models, and what has a model."""
_NAMED = (*PATHS, ("base", "checkpoint"))
"""Where recipes and contracts do."""


def paths(raw: Mapping[str, Any]) -> Iterator[Path]:
    """What is named as data, checkpoint or an option and is a path: it looks like one, or something stands there."""
    sections = [(raw.get(section), name) for section, name in _NAMED]
    named = [section.get(name) for section, name in sections if isinstance(section, Mapping)]
    named = [one for value in named for one in (value if isinstance(value, (list, tuple)) else [value])]
    options = [option for choice in _choices(raw) if isinstance(choice, Mapping) for option in choice.items()]
    named += [value for name, value in options if name in MODELS]
    for value in [*named, *(value for name, value in options if name not in MODELS)]:
        if not isinstance(value, str) or not value or "\0" in value or "://" in value:
            continue
        path = Path(os.path.expanduser(value.partition("#")[0]))  # `book.xlsx#Sheet` is a sheet of a file
        is_text = value not in named and bool(_TEXT.search(value))
        looks_so = not is_text and (value.startswith((".", "~", "/")) or ".." in path.parts)
        if looks_so or (os.path.exists(path) and (value in named or "/" in value)):
            yield path.resolve()


_TEXT = re.compile(r"[\s{}]")
"""Tells an option that is a text for a model (`/no_think {document}`) from one that is a path."""


def _is_own(name: str) -> bool:
    """Whether a recipe that was trained here has named this."""
    return name in _own or _file(name).is_file()


def _file(name: str) -> Path:
    """The file of ftkit's cache that is there where a name is remembered, and holds it for people to read."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()
    return checkpoints.cache() / "own" / digest[:32]
