"""The page of some runs: what stands in which table and chart."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

import ftkit
from ftkit.errors import visible
from ftkit.metrics import in_table, percent
from ftkit.reporting import charts
from ftkit.reporting.reading import Run
from ftkit.reporting.templates import templates
from ftkit.reporting.text import pieces
from ftkit.tasks._base import Task

Json = dict[str, Any]
_FOLDER = Path(__file__).parent
_SMALL = 12
"""Labels up to which a confusion map stands open; of more, the largest confusions stand before it."""
_LARGEST = 20
_ERRORS = Task.lower_is_better
"""Scores that are no share of anything."""


def render(runs: Sequence[Run]) -> str:
    """The page as HTML."""
    environment = templates(_FOLDER)
    environment.filters |= {"visible": visible, "number": charts.number, "score": _score}
    environment.filters |= {"count": lambda n: f"{n:,}", "breaking": _breaking}
    environment.globals |= {"interval": charts.interval, "pieces": pieces}
    script = (_FOLDER / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page: str = environment.get_template("page.html.jinja").render(
        title=", ".join(visible(run.name, 80) for run in runs),
        made=f"ftkit {ftkit.__version__}, {datetime.now():%Y-%m-%d %H:%M}",
        style=Markup((_FOLDER / "page.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash=digest,
        runs=[_run(run) for run in runs],
        several=len(runs) > 1,
        level=_level(runs),
        scores=_scores(runs),
        curves=_curves(runs),
        differences=_differences(runs),
    )
    return page


def _breaking(name: str) -> Any:
    """A score's or setting's name that may go on in a new line behind `_` and `.`."""
    return Markup(re.sub(r"([_.])", r"\1<wbr>", str(escape(visible(name, 80)))))


def _score(value: float) -> str:
    """Three places, as many as a test set can tell apart."""
    return f"{value:.3f}" if abs(value) < 100 else charts.number(value)


def _level(runs: Sequence[Run]) -> str:
    found = {run.scores["level"] for run in runs if "level" in run.scores}
    return percent(found.pop()) if len(found) == 1 else ""


# ---------------------------------------------------------------------- scores


def _scores(runs: Sequence[Run]) -> list[Json]:
    """For each split: a table with a row for each score, the deciding one first, and a cell for each run."""
    found = []
    for split in dict.fromkeys(name for run in runs for name in run.splits()):
        cells = [run.splits().get(split, {}) for run in runs]
        names = list(dict.fromkeys([*(run.metric() for run in runs), *(name for cell in cells for name in cell)]))
        names = [name for name in names if in_table(name) and any(name in cell for cell in cells)]
        scale = _scale(score for cell in cells for name, score in cell.items() if name not in _ERRORS)
        rows = [
            {
                "name": name,
                "cells": [cell.get(name) for cell in cells],
                "n": sorted({cell[name]["n"] for cell in cells if "n" in cell.get(name, {})}),
                "drawn": name not in _ERRORS,
            }
            for name in names
        ]
        found.append({"split": split, "rows": rows, "scale": scale})
    return found


def _scale(scores: Any) -> charts.Axis:
    """An axis that holds all values and intervals; shares stay between 0 and 1."""
    values = [s[end] for s in scores for end in ("value", "low", "high") if end in s]
    inside = all(0 <= value <= 1 for value in values)
    return charts.axis(values, 0.0 if inside else None, 1.0 if inside else None)


def _baselines(run: Run) -> list[Json]:
    """For each split: the model and its baselines, a row each, by the metric that decides."""
    found: list[Json] = []
    metric = run.metric()
    known = run.scores.get("baselines") or {}
    for split, each in ((split, known[split]) for split in run.splits() if split in known):
        own = run.splits().get(split, {})
        metrics = [metric, *(name for name in own if name != metric and "_" not in name)][:4]
        rows: list[Json] = [{"name": "this model", "model": True, "cells": [own.get(name) for name in metrics]}]
        rows += [{"name": n, "model": False, "cells": [s.get(name) for name in metrics]} for n, s in each.items()]
        drawn = [row["cells"][0] for row in rows if row["cells"] and row["cells"][0]]
        verdict = _verdict((run.scores.get("gains") or {}).get(split))
        if drawn:
            found.append({"split": split, "metrics": metrics, "rows": rows, "scale": _scale(drawn), "verdict": verdict})
    return found


def _verdict(gain: Mapping[str, Any] | None) -> str:
    """Whether the model is better than the best baseline, as training found it on the same rows."""
    if not gain:
        return ""
    size = f"{gain['metric']} differs by {gain['value']:+.3f}, from {gain['low']:+.3f} to {gain['high']:+.3f}"
    joined = "from" if gain["verdict"] == "not distinguishable" else "than"
    best = f"{joined} the best baseline, {visible(gain['baseline'], 80)}"
    return f"{str(gain['verdict']).capitalize()} {best}: {size}."


# ---------------------------------------------------------------------- curves and settings


def _curves(runs: Sequence[Run]) -> list[Json]:
    """Charts over the steps with a line for each run: loss, rate, and the validation score that decides."""
    metrics = list(dict.fromkeys(run.metric() for run in runs))
    wanted = [("train", "loss", "Training loss"), ("train", "learning_rate", "Learning rate")]
    wanted += [("train", "grad_norm", "Gradient norm")]
    wanted += [("validation", name, f"Validation {name}") for name in [*metrics, "loss"]]
    found = []
    for kind, key, title in wanted:
        lines = [
            charts.Line(visible(run.name, 80), _points(run, kind, key), style, kind == "validation")
            for style, run in enumerate(runs)
        ]
        lines = [line for line in lines if line.points]
        if lines:
            found.append({"title": title, "svg": charts.lines(title, _told(title, lines), lines)})
    return found


def _points(run: Run, kind: str, key: str) -> list[tuple[float, float]]:
    rows = [entry for entry in run.log if entry.get("kind") == kind]
    return [(float(e["step"]), float(e[key])) for e in rows if isinstance(e.get(key), (int, float))]


def _told(title: str, lines: Sequence[charts.Line]) -> str:
    ends = (f"{line.name}: {charts.number(line.points[0][1])} to {charts.number(line.points[-1][1])}" for line in lines)
    return f"{title}, from the first step to the last. {'; '.join(ends)}."


def _differences(runs: Sequence[Run]) -> list[Json]:
    """Settings that are not the same in all runs, with each run's value."""
    flat = [dict(_flat(run.recipe)) for run in runs]
    names = dict.fromkeys(name for each in flat for name in each)
    rows = [{"name": name, "values": [visible(each.get(name, "not set"), 200) for each in flat]} for name in names]
    return [row for row in rows if len(set(row["values"])) > 1]


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else str(key))
    else:
        yield name, value


# ---------------------------------------------------------------------- one run


def _run(run: Run) -> Json:
    splits = [name for name in dict.fromkeys((*run.splits(), *run.analysis)) if name != "folds"]
    shown = next((name for name in splits if name in run.analysis), "")
    analysis = run.analysis.get(shown, {})
    return {
        "name": visible(run.name, 80),
        "path": visible(run.path),
        "metric": run.metric(),
        "ended": bool(run.scores),
        "headline": _headline(run),
        "baselines": _baselines(run),
        "split": shown,
        "per_class": _per_class(run, shown),
        "calibration": _calibration(run),
        "confusion": _confusion(analysis.get("confusion")),
        "slices": [_slices(each) for each in analysis.get("slices", [])],
        "errors": _errors(analysis.get("errors")),
        "data": _data(run.data),
        "recipe": visible(run.recipe_text, 100_000),
        "environment": [(name, visible(value, 200)) for name, value in _flat(run.environment) if name and value != []],
        "training": {name: run.scores[name] for name in ("steps", "train_seconds", "examples") if name in run.scores},
        "spread": _spread(run),
    }


def _headline(run: Run) -> Json | None:
    """The deciding score of the first split."""
    split, scores = next(iter(run.splits().items()), ("", {}))
    score = scores.get(run.metric())
    return {"split": split, "metric": run.metric(), "score": score} if score else None


def _per_class(run: Run, split: str) -> Json | None:
    rows = (run.scores.get("per_class") or {}).get(split)
    if not rows:
        return None
    return {"split": split, "rows": rows, "scale": charts.Axis(0.0, 1.0)}


def _calibration(run: Run) -> list[Json]:
    """For each split: reliability before and after, and the numbers that go with it."""
    found = []
    for split, each in (run.scores.get("calibration") or {}).items():
        if not isinstance(each, dict):
            continue
        names = (("reliability_before", "before"), ("reliability_after", "after"))
        known = [(name, each[key]) for key, name in names if each.get(key)]
        title = f"Reliability on {split}"
        told = "How often answers of a confidence are right; on the dashed line they are as often right as they say."
        numbers = [(name.replace("_", " "), value) for name, value in each.items() if _is_plain(value)]
        svg = charts.reliability(title, told, known) if known else None
        found.append({"split": split, "numbers": numbers, "lines": [name for name, _ in known], "svg": svg})
    return found


def _is_plain(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _confusion(table: Json | None) -> Json | None:
    """The map's rows with each cell's share of its row, and the largest confusions."""
    if table is None:
        return None
    true, said = ([visible(name, 60) for name in table[side]] for side in ("true", "said"))
    rows, largest = [], []
    for whole, name, counts in zip(table["true"], true, table["counts"], strict=True):
        total = sum(counts)
        cells = []
        for answer, other, count in zip(table["said"], said, counts, strict=True):
            right = answer == whole
            cells.append({"n": count, "share": round(100 * count / total) if total else 0, "right": right})
            if count and not right:
                largest.append({"true": name, "said": other, "n": count, "of": total, "share": count / total})
        rows.append({"name": name, "cells": cells, "n": total})
    largest.sort(key=lambda row: -row["n"])
    return {"said": said, "rows": rows, "largest": largest[:_LARGEST], "small": len(true) <= _SMALL}


def _slices(group: Json) -> Json:
    scale = _scale([*group["slices"], {"value": group["whole"]}])
    return {**group, "scale": scale, "any": any(each["worse"] for each in group["slices"])}


def _errors(errors: Json | None) -> Json | None:
    """The mistakes, and whether any text has marks or weights."""
    if errors is None:
        return None
    parts = [part for row in errors["rows"] for part in row["texts"]]
    return {**errors, "marked": any("marks" in part for part in parts), "weighed": any("weights" in p for p in parts)}


def _data(data: Json) -> Json | None:
    if not data:
        return None
    labels = data.get("labels") or {}
    names = list(dict.fromkeys(name for counts in labels.values() for name in counts))
    return {
        "rows": {**({"train": data["stream"]["rows"]} if "stream" in data else {}), **data.get("rows", {})},
        "splits": list(labels),
        "labels": [{"name": name, "counts": [labels[split].get(name, 0) for split in labels]} for name in names],
        "cut": data.get("truncated_training_rows", 0),
        "notes": data.get("notes", []),
        "findings": [_finding(each) for each in data.get("warnings", [])],
        "sha256": data.get("sha256", {}),
    }


def _finding(found: Json) -> Json:
    """What was found, with its places in words; runs of earlier versions have one place, and no count."""
    splits = ", ".join(f"{count:,} {split}" for split, count in found.get("splits", {}).items())
    share = f"{found['share']:.1%}" if found.get("share") else ""
    return {
        "kind": found.get("kind", found["level"]),
        "what": found["what"],
        "fix": found["fix"],
        "count": found.get("count", 0),
        "where": splits or found.get("where", ""),
        "share": share,
        "examples": [_example(each, found.get("units", {})) for each in found.get("examples", [])],
    }


def _example(place: Json, units: Json) -> str:
    like = f" = {_where(place['like'], units)}" if "like" in place else ""
    return f"{_where(place, units)}{like}: {place['text']}"


def _where(place: Json, units: Json) -> str:
    return place.get("at") or f"{place['split']} {units.get(place['split'], 'row')} {place['row']}"


def _spread(run: Run) -> list[Json]:
    """Scores that are means over several trainings (folds, seeds), with each one's value."""
    found = []
    seeds = {f"seeds, {split}": scores for split, scores in (run.scores.get("seeds") or {}).items()}
    for split, scores in {**run.splits(), **seeds}.items():
        rows = [
            {"name": name, "drawn": name not in _ERRORS, **score}
            for name, score in scores.items()
            if "each" in score and in_table(name)
        ]
        if rows:
            known = {"value": 0.0}
            scale = _scale([{"value": v} for row in rows for v in row["each"] if row["name"] not in _ERRORS] or [known])
            found.append({"split": split, "rows": rows, "scale": scale})
    return found
