"""Run directories made by hand, for what a small training does not give: many labels, hostile texts, missing files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ftkit.findings import Finding, Place

HOSTILE = "</script><img src=x onerror=alert(1)>\u202e&amp;<!-- 🙂 עברית"


def made(folder: Path, labels: list[str] | None = None, text: str = "A text.", recipe: str = "", **files: Any) -> Path:
    """A finished run of classification with all of its files; `files` replace some, None leaves one out."""
    names = labels or ["arts", "sport"]
    count = len(names)
    score = {"value": 0.75, "n": 84, "low": 0.61, "high": 0.85, "method": "wilson"}
    counts = [[8 if i == j else (i + j) % 3 == 1 for j in range(count)] for i in range(count)]
    part = {"column": "text", "text": text[:1200], "before": 0, "after": max(0, len(text) - 1200)}
    weights = [[0, min(4, len(text)), 0.7], [min(4, len(text)), len(text), -0.4]]
    errors = [{"row": i, "texts": [part], "truth": names[0], "answer": names[-1], "confidence": 0.9} for i in range(30)]
    errors[0]["texts"] = [{**part, "weights": weights}]
    slices = [{"name": name, "rows": 40, **score, "worse": i == 0} for i, name in enumerate(names[:2])]
    bins = [
        {"low": i / 10, "high": i / 10 + 0.1, "n": i, "confidence": i / 10 + 0.05, "accuracy": i / 12}
        for i in range(10)
    ]
    whole: dict[str, Any] = {
        "scores.json": {
            "metric": "accuracy",
            "level": 0.95,
            "scores": {
                "folds": {"accuracy": {"value": 0.7, "sd": 0.05, "n": 200, "each": [0.65, 0.7, 0.75]}},
                "validation": {"accuracy": score, "f1": score},
                "test": {"accuracy": score, "f1": score, "mse": {"value": 12.5, "n": 84}},
            },
            "seeds": {"test": {"accuracy": {"value": 0.8, "sd": 0.02, "n": 84, "each": [0.78, 0.8, 0.82]}}},
            "per_class": {
                "test": [{"label": name, "precision": 0.7, "recall": 0.8, "f1": 0.75, "n": 9} for name in names]
            },
            "baselines": {"test": {"majority": {"accuracy": {**score, "value": 0.3, "low": 0.2, "high": 0.4}}}},
            "gains": {
                "test": {
                    "baseline": "majority",
                    "metric": "accuracy",
                    "n": 84,
                    "value": 0.45,
                    "low": 0.3,
                    "high": 0.6,
                    "p": 0.001,
                    "verdict": "better",
                }
            },
            "calibration": {
                "test": {
                    "temperature": 1.7,
                    "n": 84,
                    "ece_before": 0.12,
                    "ece_after": 0.04,
                    "reliability_before": bins,
                    "reliability_after": [{**row, "accuracy": row["confidence"]} for row in bins],
                    "threshold": 0.0,
                }
            },
            "steps": 40,
            "train_seconds": 12.3,
            "examples": 100,
        },
        "environment.json": {"python": "3.11", "libraries": {"torch": "2"}, "gpus": []},
        "data.json": {
            "rows": {"train": 100, "test": 84},
            "labels": {"train": dict.fromkeys(names, 50)},
            "sha256": {"train": "ab" * 32},
            "truncated_training_rows": 3,
            "notes": [f"a note about {text[:100]}"],
            "warnings": [
                Finding("markup", "warning", text[:100], (Place(3, "train", text[:100]),)).as_json(rows=False)
            ],
        },
        "analysis/test.json": {
            "rows": 84,
            "level": 0.95,
            "metric": "accuracy",
            "slices": [{"by": "group", "metric": "accuracy", "whole": 0.9, "slices": slices}],
            "confusion": {"true": names, "said": names, "counts": [[int(n) for n in row] for row in counts]},
            "errors": {"order": "confidence", "wrong": 40, "rows": errors},
        },
    }
    log = [
        {"step": i, "epoch": i / 10, "kind": "train", "loss": 2 / (i + 1), "grad_norm": 1.0, "learning_rate": 1e-5 * i}
        for i in range(1, 41)
    ]
    log += [{"step": i, "epoch": i / 10, "kind": "validation", "accuracy": i / 50} for i in (10, 20, 30, 40)]
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(recipe or "task: classification\ntrain:\n  epochs: 3\n", encoding="utf-8")
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log), encoding="utf-8")
    for name, value in {**whole, **files}.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        if value is None:
            path.unlink(missing_ok=True)
        else:
            path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return folder
