"""Of too many rows some are looked through: at random, and all that repeat others."""

from __future__ import annotations

from pathlib import Path

import pytest
from datasets import Dataset

from ftkit.checks import _chosen
from tests.checks.planted import clean, inspected
from tests.runs import Lab

TEXTS = [f"text {number}" for number in range(190)] + [f" text  {number}" for number in range(10)]
SPLITS = {
    name: Dataset.from_dict({"text": texts, "row": range(len(texts))})
    for name, texts in (("train", TEXTS[:150]), ("test", TEXTS[150:]))
}
REPEATED = {"train": set(range(10)), "test": set(range(40, 50))}


def test_all_of_few_rows_are_looked_through() -> None:
    notes: list[str] = []
    assert _chosen.chosen(SPLITS, ["text"], notes) == ({}, 200) and not notes


def test_of_many_rows_some_are_and_all_that_repeat_others(monkeypatch: pytest.MonkeyPatch) -> None:
    notes: list[str] = []
    monkeypatch.setattr(_chosen, "ALL", 100)
    monkeypatch.setattr(_chosen, "DRAWN", 40)
    found = _chosen.chosen(SPLITS, ["text"], notes)
    assert all(REPEATED[name] <= set(places) for name, places in found.places.items())
    assert all(places == sorted(set(places)) for places in found.places.values())
    assert 40 <= sum(map(len, found.places.values())) <= 60
    assert found.repeats_of == 200 and found == _chosen.chosen(SPLITS, ["text"], [])
    assert "in 40 rows, drawn from 200, and in 20 of 20 rows that repeat" in notes[0]
    monkeypatch.setattr(_chosen, "DRAWN", 15)
    some = _chosen.chosen(SPLITS, ["text"], [])
    assert some.repeats_of == sum(map(len, some.places.values())) < 35


def test_repeats_are_a_share_of_all_rows(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = clean("classification")
    rows["train"] += rows["train"][:3]
    whole = inspected(tmp_path, lab.checkpoint("bert"), "classification", rows)
    monkeypatch.setattr(_chosen, "ALL", 10)
    monkeypatch.setattr(_chosen, "DRAWN", 12)
    some = inspected(tmp_path, lab.checkpoint("bert"), "classification", rows)
    told = [{f.kind: (len(f.places), f.of) for f in found.findings}["duplicate"] for found in (whole, some)]
    assert told[0] == told[1] == (3, sum(map(len, rows.values())))


def test_as_many_repeats_as_are_drawn_are_all_looked_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_chosen, "ALL", 100)
    monkeypatch.setattr(_chosen, "DRAWN", 20)
    assert _chosen.chosen(SPLITS, ["text"], []).repeats_of == 200


def test_conflicts_and_leaks_are_a_share_of_all_rows(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = clean("classification")
    rows["train"].append({**rows["train"][0], "label": rows["train"][1]["label"]})
    rows["test"].append(rows["train"][2])
    monkeypatch.setattr(_chosen, "ALL", 10)
    monkeypatch.setattr(_chosen, "DRAWN", 12)
    found = {f.kind: f.of for f in inspected(tmp_path, lab.checkpoint("bert"), "classification", rows).findings}
    assert found["conflict"] == found["leak"] == sum(map(len, rows.values()))
