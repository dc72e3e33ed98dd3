"""The files of a run as they are; what a run lacks is empty."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ftkit.errors import RunError, every, one_line
from ftkit.recipe import read_raw
from ftkit.run import DATA, ENVIRONMENT, RECIPE, SCORES, RunDirectory

Json = dict[str, Any]
UNREADABLE = (ArithmeticError, AttributeError, LookupError, OSError, RecursionError, TypeError, ValueError)
"""What files of a shape that ftkit does not write lead to."""
HINT = "it is not as ftkit wrote it: bring back the file as it was, or remove it"


@dataclass(frozen=True)
class Run:
    """A run's files."""

    name: str
    path: Path
    recipe: Json
    recipe_text: str
    scores: Json
    """scores.json, or empty."""
    environment: Json
    data: Json
    log: list[Json]
    analysis: dict[str, Json]
    """By split."""

    def metric(self) -> str:
        """The metric that decides; the first score where the run does not say."""
        if "metric" in self.scores:
            return str(self.scores["metric"])
        found = [each["metric"] for each in self.analysis.values() if "metric" in each]
        return str(found[0] if found else next(iter(next(iter(self.splits().values()), {})), ""))

    def splits(self) -> dict[str, Json]:
        """Scores by split, the test rows first."""
        found = self.scores.get("scores") or {}
        order = sorted(found, key=lambda name: _USUAL.index(name) if name in _USUAL else len(_USUAL))
        return {name: found[name] for name in order}

    def with_one_file_less(self) -> Iterator[tuple[str, Run]]:
        """Each file's name, and the run as if that file held nothing."""
        for name in ("scores", "environment", "data"):
            nothing: dict[str, Any] = {name: {}}
            yield f"{name}.json", replace(self, **nothing)
        yield "log.jsonl", replace(self, log=[])
        for split in self.analysis:
            yield f"analysis/{split}.json", replace(self, analysis={**self.analysis, split: {}})
        yield RECIPE, replace(self, recipe={})


_USUAL = ("test", "validation")


def read_runs(sources: Sequence[str | Path]) -> list[Run]:
    """The runs, each under a name of its own. Raises RunError with what is wrong with all of them."""
    if not sources:
        raise RunError("there is no run to report", "name one or more run directories")
    found = every([lambda source=source: _read(Path(source)) for source in sources])  # type: ignore[misc]
    return [_renamed(run, found) for run in found]


def _renamed(run: Run, runs: Sequence[Run]) -> Run:
    """The run under as much of its path as tells it from the others."""
    paths = {other.path for other in runs}
    for count in range(1, len(run.path.parts)):
        tail = run.path.parts[-count:]
        if sum(path.parts[-count:] == tail for path in paths) == 1:
            return replace(run, name="/".join(tail))
    return run


def told(error: Exception) -> str:
    """What an error says, with its kind, as "KeyError: 'value'"; of the system's the reason alone."""
    return getattr(error, "strerror", None) or f"{type(error).__name__}: {one_line(error)}"


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except UNREADABLE as error:
        raise RunError(f"{path} can't be read: {told(error)}", HINT) from error


def _read(source: Path) -> Run:
    with _reading(source):
        path = RunDirectory.open(source).path
        splits = sorted(file.stem for file in (path / "analysis").glob("*.json"))
    with _reading(path / RECIPE):
        recipe, text = read_raw(path / RECIPE), (path / RECIPE).read_text(encoding="utf-8")
    return Run(
        name=path.name,
        path=path,
        recipe=recipe,
        recipe_text=text,
        scores=_json(path / f"{SCORES}.json"),
        environment=_json(path / f"{ENVIRONMENT}.json"),
        data=_json(path / f"{DATA}.json"),
        log=_lines(path / "log.jsonl"),
        analysis={split: _json(path / "analysis" / f"{split}.json") for split in splits},
    )


def _json(path: Path) -> Json:
    with _reading(path):
        return _object(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _lines(path: Path) -> list[Json]:
    """A log's entries; the last line of a training that was killed may be torn."""
    with _reading(path):
        text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    found = []
    for number, line in lines:
        try:
            found.append(_object(line))
        except UNREADABLE as error:
            if number < lines[-1][0] or not isinstance(error, json.JSONDecodeError):
                raise RunError(f"{path}, line {number} can't be read: {told(error)}", HINT) from error
    return found


def _object(text: str) -> Json:
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError(f"it holds no object, but a {type(found).__name__}")
    return found
