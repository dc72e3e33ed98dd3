"""Findings about labels as a whole, which belong to no row."""

from __future__ import annotations

from pathlib import Path

from ftkit.inspection import inspect
from ftkit.recipe import changed
from tests.checks.planted import clean, recipe
from tests.runs import Lab


def kinds(lab: Lab, folder: Path, train: list[str], test: list[str]) -> dict[str, str]:
    """What is found where the clean rows have these labels instead."""
    rows = clean("classification")
    for split, labels in (("train", train), ("test", test)):
        rows[split] = [{**row, "label": label} for row, label in zip(rows[split], labels, strict=False)]
    del rows["validation"]
    found = inspect(changed(recipe(folder, lab.checkpoint("bert"), "classification", rows), ["data.validation=null"]))
    return {finding.kind: finding.what for finding in found.findings}


def test_rare_labels(lab: Lab, tmp_path: Path) -> None:
    found = kinds(lab, tmp_path, ["arts"] * 30 + ["sport"] * 7, ["arts"] * 19 + ["sport"] * 5)
    assert found.keys() == {"few-rows"} and "sport 7" in found["few-rows"]


def test_uneven_labels(lab: Lab, tmp_path: Path) -> None:
    found = kinds(lab, tmp_path, ["arts"] * 50 + ["sport"] * 5, ["arts"] * 19 + ["sport"] * 5)
    assert found.keys() == {"few-rows", "imbalance"} and "10 times as many" in found["imbalance"]


def test_labels_that_drift(lab: Lab, tmp_path: Path) -> None:
    found = kinds(lab, tmp_path, ["arts", "sport"] * 30, ["arts"] * 5 + ["sport"] * 19)
    assert found.keys() == set(), "24 rows may differ so by chance"
    found = kinds(lab, tmp_path, ["arts"] * 50 + ["sport"] * 10, ["arts"] * 5 + ["sport"] * 19)
    assert found.keys() == {"drift"} and "'arts' 83.3% there, 20.8% here" in found["drift"]
