"""The first steps tell what the whole will take, and leave nothing behind."""

from __future__ import annotations

import json
from pathlib import Path

from ftkit.engine import trial
from ftkit.engine.train import plan
from tests.runs import Lab


def test_time_grows_with_the_epochs_and_the_batch_with_short_rows(lab: Lab) -> None:
    once = plan(lab.recipe("single", "train.epochs=1"))
    often = plan(lab.recipe("single", "train.epochs=50"))
    assert once["seconds"] < often["seconds"]
    assert once["memory"] > 10**7
    assert once["batch"] > 16
    json.dumps(once)


def test_what_is_told_is_near_what_it_takes(lab: Lab) -> None:
    settings = ("train.epochs=6", "data.validation=null", "data.test=null", "train.seed=8")
    told = plan(lab.recipe("single", *settings))["seconds"]
    took = lab.train("single", *settings).train_seconds
    assert took / 6 < told < 6 * took


def test_nothing_is_left_behind(lab: Lab, tmp_path: Path) -> None:
    prepared = lab.prepared("single")
    runs = sorted(lab.folder.rglob("*"))
    found = trial.measure(prepared)
    assert sorted(lab.folder.rglob("*")) == runs
    assert set(found) == {"seconds", "memory", "batch"}


def test_a_recipe_with_fewer_steps_than_are_tried(lab: Lab) -> None:
    assert plan(lab.recipe("single", "train.epochs=1", "data.limit=9", "train.batch=5"))["steps"] == 2


def test_no_epochs_are_not_measured(lab: Lab) -> None:
    assert "seconds" not in plan(lab.recipe("single", "train.epochs=0"))
