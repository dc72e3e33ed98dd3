"""The data that ships with ftkit: a JSON Lines file a task, already split."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from ftkit.errors import DataError, nearest


def names() -> list[str]:
    """Names of the shipped samples, sorted."""
    return sorted(path.stem for path in _folder().glob("*.jsonl"))


def sample(name: str) -> Path:
    """The file of a shipped sample; DataError for a name that does not ship."""
    known = names()
    if name not in known:
        near = nearest(name, known)
        guess = f"did you mean sample:{near}? " if near else ""
        raise DataError(f"no sample is called {name!r}", f"{guess}samples: {', '.join(known)}")
    return _folder() / f"{name}.jsonl"


def _folder() -> Path:
    return Path(str(files("ftkit").joinpath("samples")))
