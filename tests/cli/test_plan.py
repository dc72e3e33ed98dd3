"""What a training would do, as a terminal shows it."""

from __future__ import annotations

from ftkit.cli._plan import plan_table


def test_plan_tells_rows_labels_steps_notes_and_warnings() -> None:
    plan = {
        "rows": {"train": 90, "test": 10},
        "labels": [f"label {i}" for i in range(14)],
        "epochs": 2.5,
        "steps": 15,
        "precision": "bf16",
        "checkpoint": "/some/where",
        "notes": ["a guess"],
        "warnings": ["a worry"],
    }
    lines = plan_table(plan).split("\n")
    assert lines[0].split(maxsplit=1) == ["rows", "90 train, 10 test"]
    assert lines[1].endswith("label 11 and 2 more")
    assert lines[2].split(maxsplit=1) == ["training", "2.5 epochs, 15 steps, in bf16"]
    assert lines[3].split() == ["checkpoint", "/some/where"]
    assert lines[4:] == ["note: a guess", "warning: a worry"]
    assert "labels      none" in plan_table({**plan, "labels": []})
