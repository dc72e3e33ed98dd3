"""The files of a run as they are; what a run lacks is empty."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ftkit.errors import RunError, every
from ftkit.recipe import read_raw
from ftkit.run import RECIPE, RunDirectory

Json = dict[str, Any]


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
        order = sorted(found, key=lambda name: ("test", "validation").index(name) if name in _USUAL else len(_USUAL))
        return {name: found[name] for name in order}


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


def _read(source: Path) -> Run:
    run = RunDirectory.open(source)
    log = run.path / "log.jsonl"
    splits = sorted(path.stem for path in (run.path / "analysis").glob("*.json"))
    return Run(
        name=run.path.name,
        path=run.path,
        recipe=read_raw(run.path / RECIPE),
        recipe_text=(run.path / RECIPE).read_text(encoding="utf-8"),
        scores=_json(run, "scores"),
        environment=_json(run, "environment"),
        data=_json(run, "data"),
        log=_lines(log) if log.is_file() else [],
        analysis={name: _json(run, f"analysis/{name}") for name in splits},
    )


def _json(run: RunDirectory, name: str) -> Json:
    if not (run.path / f"{name}.json").is_file():
        return {}
    found = run.read_json(name)
    if not isinstance(found, dict):
        raise RunError(f"{run.path / f'{name}.json'} holds no object", "it was changed by hand; score the run again")
    return found


def _lines(path: Path) -> list[Json]:
    """A log's entries; the last line of a training that was killed may be torn."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    found = []
    for number, line in enumerate(lines, 1):
        try:
            found.append(json.loads(line))
        except ValueError as error:
            if number < len(lines):
                raise RunError(f"{path}, line {number} can't be read: {error}") from error
    return found
