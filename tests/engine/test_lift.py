"""Whether variants help: the same trainings with and without them, and a verdict that follows from the interval."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ftkit.engine.lift import Lift, Lifted, _each, lift
from ftkit.errors import RecipeError
from ftkit.metrics.paired import Paired
from tests.runs import Lab

BY = "augment.by=[swap, delete]"


@pytest.fixture(scope="module")
def done(lab: Lab) -> Lifted:
    return lift(lab.recipe("single", BY), lab.folder / "studies" / "lift", each=True, seeds=2, per_label=3)


def accuracy(run: Path) -> float:
    found: float = json.loads((run / "scores.json").read_text())["scores"]["test"]["accuracy"]["value"]
    return found


def test_each_augmenter_is_measured_against_the_same_trainings(done: Lifted) -> None:
    assert [one.by for one in done.lifts] == ["swap", "delete"]
    for one in done.lifts:
        plain, varied = (
            [accuracy(done.study / f"9-{name}" / str(seed)) for seed in (13, 14)] for name in ("without", one.by)
        )
        assert list(one.found.each) == pytest.approx([b - a for a, b in zip(plain, varied, strict=True)])
        assert one.found.without == pytest.approx(sum(plain) / 2)
        assert one.found.low <= one.found.value <= one.found.high


def test_all_take_as_many_steps(done: Lifted) -> None:
    """18 rows with all variants, 8 a step, one epoch: 3 steps; 9 rows without are gone over more often."""
    for name in ("without", "swap", "delete"):
        assert json.loads((done.study / f"9-{name}" / "13" / "scores.json").read_text())["steps"] == 3
        assert "steps: 3" in (done.study / f"9-{name}" / "13" / "recipe.yaml").read_text()


@pytest.mark.parametrize("balance", ["undersample", "oversample"])
def test_balance_changes_neither_steps_nor_the_count_of_variants(lab: Lab, balance: str) -> None:
    """What it repeats or leaves out are rows of a training's own, which are other ones with variants."""
    found = lift(lab.recipe("single", "augment.by=[swap]", f"data.balance={balance}"), lab.new(), seeds=2, rows=11)
    steps = {
        json.loads((found.study / name / "13" / "scores.json").read_text())["steps"]
        for name in ("11-without", "11-swap")
    }
    assert len(steps) == 1 and 0 < found.lifts[0].variants <= 11


def test_no_side_stops_early_or_is_scored_more_often(lab: Lab) -> None:
    settings = (BY, "train.patience=1", "train.evaluate_every=epoch")
    found = lift(lab.recipe("single", *settings), lab.new(), seeds=2, per_label=3)
    kept = [(found.study / f"9-{name}" / "13" / "recipe.yaml").read_text() for name in ("without", "swap+delete")]
    assert all("patience: null" in text and "evaluate_every: auto" in text for text in kept)


def test_variants_are_of_the_drawn_rows_alone(done: Lifted) -> None:
    assert done.training_rows == 9
    for one in done.lifts:
        assert 0 < one.variants <= 9


def test_a_second_call_trains_nothing(lab: Lab, done: Lifted) -> None:
    said: list[str] = []
    again = lift(lab.recipe("single", BY), done.study, each=True, seeds=2, per_label=3, say=said.append)
    assert again == done and not [line for line in said if line.startswith("training")]
    assert json.loads((done.study / "lift.json").read_text()) == json.loads(json.dumps(done.as_json()))


def test_all_together_is_one_entry(lab: Lab) -> None:
    found = lift(lab.recipe("single", BY), lab.folder / "studies" / "together", seeds=2, rows=10)
    assert [one.by for one in found.lifts] == ["swap+delete"]
    assert found.training_rows == 10


@pytest.mark.parametrize(
    ("low", "high", "lower", "verdict"),
    [
        (0.01, 0.03, False, "helps"),
        (-0.03, -0.01, False, "hurts"),
        (-0.01, 0.03, False, "can't be told"),
        (0.01, 0.03, True, "hurts"),
        (-0.03, -0.01, True, "helps"),
    ],
)
def test_verdict(low: float, high: float, lower: bool, verdict: str) -> None:
    assert Lift("swap", 10, Paired(0.5, (low + high) / 2, low, high, ()), lower).verdict == verdict


def test_no_augmenter_and_no_labels_are_refused(lab: Lab) -> None:
    with pytest.raises(RecipeError, match="names no augmenter"):
        lift(lab.recipe("single"), lab.new())
    with pytest.raises(RecipeError, match="have no label"):
        lift(lab.recipe("ner", "augment.by=[swap]"), lab.folder / "studies" / "none", per_label=3)
    assert not (lab.folder / "studies" / "none").exists()


def test_one_augmenter_with_two_options_is_two(lab: Lab) -> None:
    by = "augment.by=[{name: keyboard, language: en}, swap, {name: keyboard, language: de}]"
    tried = _each(lab.recipe("single", by).augment)
    assert list(tried) == ["keyboard", "swap", "keyboard-2"]
    assert [spec.by[0].options.get("language") for spec in tried.values()] == ["en", None, "de"]
