"""The first steps tell what the whole will take, and leave nothing behind."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest

from ftkit.engine import machine, trial
from ftkit.engine.prepare import encode_training, prepare
from ftkit.engine.train import plan
from tests.runs import Lab


def test_time_grows_with_the_epochs(lab: Lab) -> None:
    once = plan(lab.recipe("single", "train.epochs=1"))
    often = plan(lab.recipe("single", "train.epochs=50"))
    assert once["seconds"] < often["seconds"]
    assert once["memory"] > 10**7
    assert once["batch"] >= 1
    json.dumps(once)


def test_a_plan_is_made_without_a_warning(lab: Lab) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        plan(lab.recipe("single", "train.epochs=1", "train.class_weights=balanced"))


def test_what_is_told_is_near_what_it_takes(lab: Lab) -> None:
    settings = ("train.epochs=6", "data.validation=null", "data.test=null", "train.seed=8")
    told = plan(lab.recipe("single", *settings))["seconds"]
    took = lab.train("single", *settings).train_seconds
    assert took / 6 < told < 6 * took


def test_nothing_is_left_behind(lab: Lab, tmp_path: Path) -> None:
    prepared = lab.prepared("single")
    runs = sorted(lab.folder.rglob("*"))
    found = trial.measure(prepared, encode_training(prepared, prepared.splits["train"])[0])
    assert sorted(lab.folder.rglob("*")) == runs
    assert set(found) == {"seconds", "memory", "batch"}


def test_a_recipe_with_fewer_steps_than_are_tried(lab: Lab) -> None:
    assert plan(lab.recipe("single", "train.epochs=1", "data.limit=9", "train.batch=5"))["steps"] == 2


def test_no_epochs_are_not_measured(lab: Lab) -> None:
    assert "seconds" not in plan(lab.recipe("single", "train.epochs=0"))


def test_the_first_epoch_the_later_ones_and_folds_are_reckoned_apart(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = lab.prepared("single")
    encoded = encode_training(prepared, prepared.splits["train"])[0]
    tokens = sum(encoded["length"])
    times = [9.0, 2.0, 2.0, 2.0, 0.5, 0.5, 0.5, 0.5]  # the very first warms up; frozen layers are found in the second
    monkeypatch.setattr(trial, "_steps", lambda *_, **__: (tokens // 2, times))
    for folds, factor in ((None, 1), (3, 3)):
        recipe = lab.recipe("single", "train.epochs=5", *([f"train.folds={folds}"] if folds else []))
        told = trial.measure(prepare(recipe), encoded)["seconds"]
        assert told == pytest.approx(factor * 8 * (2.0 + 4 * 0.5), rel=0.02)


def test_a_plans_memory_is_its_own(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    forgotten: list[None] = []
    monkeypatch.setattr(machine, "forget_peak", lambda: forgotten.append(None))
    plan(lab.recipe("single", "train.epochs=1"))
    assert forgotten
