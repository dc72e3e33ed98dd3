"""A training from a stream: each row once a pass, the same for any processes, gone on with to the last bit."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftkit import api
from ftkit.cli._plan import plan_table
from ftkit.engine import streamed
from ftkit.engine.adamw import RowAdamW
from ftkit.engine.checkpoint import Checkpoints
from ftkit.engine.prepare import prepare
from ftkit.engine.streamed import Streamed, shuffled
from ftkit.engine.train import plan, resume, train
from ftkit.errors import DataError, Interrupted, RecipeError, RunError
from ftkit.inspection import inspect
from ftkit.recipe import Recipe
from tests.engine.test_resume import DROPOUT, Stops, same, stopped
from tests.engine.test_trainer import assert_same_training, assert_same_weights
from tests.runs import KINDS, Lab, curve, log, refused, rows, write_rows

LABELS = {
    "single": "[arts, sport, trade]",
    "windows": "[arts, sport, trade]",
    "multi": "[calm, long, new]",
    "ner": "[LOC, PER]",
}
NONE = ("data.validation=0", "data.test=null")


def settings(kind: str = "single", count: int = 5, *more: str) -> tuple[str, ...]:
    labels = (f"data.labels={LABELS[kind]}",) if kind in LABELS else ()
    return ("data.stream=true", "train.epochs=auto", f"train.steps={count}", *labels, *more)


def told(run: Path) -> Any:
    return json.loads((run / "data.json").read_text())


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows of one step, so that a pass has several."""
    monkeypatch.setattr(streamed, "WINDOW", 1)


# ---------------------------------------------------------------------- the order


@given(st.integers(0, 60), st.integers(1, 70), st.integers(0, 5))
def test_each_row_is_drawn_once_from_what_is_held(count: int, size: int, seed: int) -> None:
    found = [row["n"] for row in shuffled(({"n": i} for i in range(count)), size, Random(seed))]
    assert sorted(found) == list(range(count))
    assert all(number < place + size for place, number in enumerate(found))
    assert size > 1 or found == list(range(count))


def test_rows_that_are_all_held_are_drawn_in_no_order() -> None:
    found = [row["n"] for row in shuffled(({"n": i} for i in range(50)), 100, Random(0))]
    assert found != list(range(50)) == sorted(found)


def passes(lab: Lab, kind: str, count: int, *more: str) -> list[list[list[int]]]:
    """The row numbers of each step, by pass."""
    source = Streamed(prepare(lab.recipe(kind, *settings(kind, count, *more))))
    found: list[list[list[int]]] = []
    for number in range(count):
        step = [row["row"] for row in source[number]]
        while len(found) <= source.at.passes:
            found.append([])
        found[source.at.passes].append(step)
    return found


@pytest.mark.usefixtures("narrow")
def test_each_pass_has_all_rows_in_an_order_of_its_own(lab: Lab) -> None:
    first, second = passes(lab, "single", 6)
    for each in (first, second):
        assert sorted(row for step in each for row in step) == list(range(1, 23))
        assert [len(step) for step in each] == [8, 8, 6]
    assert first != second
    assert [sorted(step) for step in first] != [sorted(step) for step in second], "other rows meet in a step"
    assert passes(lab, "single", 3)[0] == first
    assert passes(lab, "single", 3, "train.seed=4")[0] != first
    in_order = passes(lab, "single", 3, "data.shuffle_buffer=1")[0]
    assert [sorted(step) for step in in_order] == [list(range(1, 9)), list(range(9, 17)), list(range(17, 23))]


def test_windows_of_a_text_stay_in_one_step(lab: Lab) -> None:
    (found,) = passes(lab, "windows", 3)
    homes = Counter(row for step in found for row in set(step))
    assert set(homes) == set(range(1, 23)) and set(homes.values()) == {1}
    assert sum(map(len, found)) > 22


# ---------------------------------------------------------------------- the training


@pytest.mark.parametrize("kind", KINDS)
def test_every_task_learns_from_a_stream(lab: Lab, kind: str) -> None:
    done = lab.train(kind, *settings(kind, 4))
    assert done.steps == 4 and done.scores["test"]
    assert len(curve(done.run)["loss"]) == 4
    data = told(done.run)
    assert "train" not in data["rows"] and data["rows"]["validation"] == 6
    assert data["stream"]["rows"] == done.examples == 22
    assert data["sha256"]["train"].startswith("ends:")
    assert not done.baselines


def test_rows_of_steps_that_are_never_taken_do_not_count(lab: Lab) -> None:
    """A window is wider than all that is left of the training."""
    source = Streamed(prepare(lab.recipe("single", *settings("single", 2))))
    assert sum(len(source[number]) for number in range(2)) == source.learned == 16


@pytest.mark.usefixtures("narrow")
def test_rows_are_counted(lab: Lab) -> None:
    found = told(lab.train("single", *settings("single", 2)).run)["stream"]
    assert (found["rows"], found["rows_again"], found["whole_passes"]) == (16, 0, 0)
    found = told(lab.train("single", *settings("single", 5)).run)["stream"]
    assert (found["rows"], found["rows_again"], found["left_out"], found["whole_passes"]) == (22, 16, 0, 1)
    for count, again in ((3, 0), (6, 22)):  # the last step ends a pass
        found = told(lab.train("single", *settings("single", count)).run)["stream"]
        assert (found["rows"], found["rows_again"], found["whole_passes"]) == (22, again, 1 + again // 22)


def test_it_is_the_training_on_rows_at_hand_where_the_order_is_the_same(lab: Lab) -> None:
    """One step of all rows, whatever their order."""
    usual = ("train.batch=22", "train.optimizer=sgd", "train.learning_rate=0.1", *NONE)
    there = lab.train("single", "train.epochs=auto", "train.steps=3", *usual)
    assert_same_training(there, lab.train("single", *settings("single", 3, *usual)))


@pytest.mark.slow
def test_two_processes_train_as_one_does(lab: Lab) -> None:
    usual = ("train.optimizer=sgd", "train.learning_rate=0.1", *NONE)
    one = lab.train("single", *settings("single", 5, *usual))
    two = lab.train("single", *settings("single", 5, *usual), processes=2)
    assert_same_training(one, two)
    assert_same_weights(one, two)
    assert told(one.run)["stream"] == {**told(two.run)["stream"]}


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize(("kind", "at"), [("single", (3, 4)), ("windows", (2,)), ("qa", (4, 5, 6))])
def test_a_stopped_training_ends_as_one_that_was_not(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, kind: str, at: tuple[int, ...]
) -> None:
    given = settings(kind, 7, "model.dropout=0.2", "train.precision=auto", "train.evaluate_every=3")
    whole, path = lab.train(kind, *given), lab.new()
    Stops(monkeypatch, at)
    stopped(lab.recipe(kind, *given), path, len(at))
    same(path, whole.run)
    assert told(path)["stream"] == told(whole.run)["stream"]


def test_several_seeds_each_go_through_the_stream(lab: Lab) -> None:
    done = lab.train("single", *settings("single", 3, "train.seeds=2"))
    assert done.steps == 6 and set(done.seeds) == {"validation", "test"}
    assert curve(done.run / "seeds" / "13") != curve(done.run / "seeds" / "14")


def test_frozen_layers_keep_nothing(lab: Lab) -> None:
    done = lab.train("single", *settings("single", 6, "method=head"))
    assert done.steps == 6


def test_its_scores_can_be_made_again_without_the_stream(lab: Lab) -> None:
    done = lab.train("single", *settings())
    assert api.evaluate(done.run, say=lambda _: None).scores == done.scores["test"]


# ---------------------------------------------------------------------- rows that can't be used


def spoilt(lab: Lab, folder: Path, row: dict[str, Any]) -> str:
    """A file with one bad row behind those that are looked at."""
    found = rows("single", "stream", 40)
    return f"data.train={write_rows(folder / 'spoilt.jsonl', [*found[:30], row, *found[30:]])}"


@pytest.fixture
def short_sighted(monkeypatch: pytest.MonkeyPatch) -> None:
    from ftkit.data import stream
    from ftkit.data.formats import _base

    monkeypatch.setattr(stream, "LOOKED_AT", 16)
    monkeypatch.setattr(_base, "AT_ONCE", 8)


@pytest.mark.usefixtures("narrow", "short_sighted")
def test_a_bad_row_stops_the_training_which_is_saved(lab: Lab, tmp_path: Path) -> None:
    bad = spoilt(lab, tmp_path, {"text": "a", "label": "nowhere"})
    path = tmp_path / "run"
    recipe = lab.recipe("single", *settings("single", 9, bad, "data.shuffle_buffer=8", *NONE))
    with pytest.raises(DataError, match=r"spoilt.jsonl, line 31: column 'label' has a label that data.labels lacks"):
        train(recipe, path)
    steps_done = len(log(path))
    assert steps_done > 0
    assert Checkpoints(path / "checkpoints").steps()[0] == steps_done
    with pytest.raises(DataError, match="line 31"):
        resume(path)


@pytest.mark.usefixtures("narrow", "short_sighted")
def test_bad_rows_are_skipped_and_counted(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = spoilt(lab, tmp_path, {"text": "a"})
    given = settings("single", 6, bad, "data.bad_rows=skip", *NONE)
    said: list[str] = []
    whole = train(lab.recipe("single", *given), tmp_path / "whole", say=said.append)
    assert "note: 1 row of the stream left out, which can't be read or labelled" in said
    found = told(whole.run)["stream"]
    assert (found["rows"], found["left_out"], found["rows_again"]) == (40, 1, 8)
    Stops(monkeypatch, (3,))
    stopped(lab.recipe("single", *given), tmp_path / "run", 1)
    same(tmp_path / "run", whole.run)
    assert told(tmp_path / "run")["stream"] == found


@pytest.mark.usefixtures("narrow", "short_sighted")
def test_what_only_the_task_can_tell_of_a_row(lab: Lab, tmp_path: Path) -> None:
    """An entity of a type that is not listed is found by the task, not by the column's kind."""
    found = rows("ner", "stream", 30)
    strange = {"text": "Over there is Rome.", "entities": [{"start": 14, "end": 18, "type": "ODD"}]}
    bad = f"data.train={write_rows(tmp_path / 'ner.jsonl', [*found, strange])}"
    with pytest.raises(DataError, match=r"ner.jsonl, line 31.*type 'ODD' is none of those"):
        train(lab.recipe("ner", *settings("ner", 9, bad, "data.shuffle_buffer=8", *NONE)), tmp_path / "run")
    done = train(lab.recipe("ner", *settings("ner", 9, bad, "data.bad_rows=skip", *NONE)), tmp_path / "skipped")
    assert told(done.run)["stream"]["left_out"] == 1


def test_bad_rows_among_the_first(lab: Lab, tmp_path: Path) -> None:
    found = [*rows("single", "stream", 20), {"text": "a"}, {"text": "b", "label": "nowhere"}]
    path = write_rows(tmp_path / "a.jsonl", found)
    given = settings("single", 4, f"data.train={path}", *NONE)
    error = refused(lab.recipe("single", *given), tmp_path / "runs" / "run")
    assert "line 21" in str(error) and "line 22" in str(error) and "data.bad_rows=skip" in str(error)
    done = train(lab.recipe("single", *given, "data.bad_rows=skip"), tmp_path / "run")
    assert told(done.run)["stream"]["left_out"] == 2


# ---------------------------------------------------------------------- what is asked beforehand


def test_all_that_a_stream_can_not_do_is_said_at_once(lab: Lab) -> None:
    with pytest.raises(RecipeError) as caught:
        lab.recipe(
            "single",
            "data.stream=true",
            "data.validation=0.2",
            "data.test=0.1",
            "data.limit=5",
            "data.balance=oversample",
            "data.unlabeled=x.csv",
            "train.folds=2",
            "augment.by=swap",
            "train.evaluate_every=epoch",
        )
    said = str(caught.value)
    names = ("validation", "test", "limit", "balance", "unlabeled", "labels")
    for name in ("train.steps", "train.folds", "augment.by", "evaluate_every", *(f"data.{name}:" for name in names)):
        assert name in said
    with pytest.raises(RecipeError, match=r"data.bad_rows: only rows of a stream"):
        lab.recipe("single", "data.bad_rows=skip")
    with pytest.raises(RecipeError, match=r"train.steps: must be less than or equal to 1000000000"):
        lab.recipe("single", "train.epochs=auto", f"train.steps={10**20}")
    with pytest.raises(RecipeError, match=r"train.steps and train.epochs: both say"):
        lab.recipe("single", "train.steps=3", "train.epochs=2")


def test_labels_have_to_be_listed(lab: Lab, tmp_path: Path) -> None:
    error = refused(lab.recipe("single", *settings()[:3]), tmp_path / "run")
    assert "data.labels must list all labels" in error.message and "data.labels=[arts, sport, trade]" in error.hint


@pytest.mark.parametrize("call", ["noise", "fix", "curve", "augment", "lift"])
def test_what_goes_over_all_rows_is_refused(lab: Lab, tmp_path: Path, call: str) -> None:
    recipe = lab.recipe("single", *settings())
    calls: dict[str, Any] = {
        "noise": lambda: api.check_data(recipe, noise=True),
        "fix": lambda: api.check_data(recipe, fix=tmp_path / "to"),
        "curve": lambda: api.curve(recipe),
        "augment": lambda: api.augment(recipe),
        "lift": lambda: api.lift(recipe),
    }
    with pytest.raises(RecipeError, match=r"goes over all rows, and data.stream is set"):
        calls[call]()


def test_dry_run_measures_a_few_steps(lab: Lab) -> None:
    found = plan(lab.recipe("single", *settings("single", 50)))
    assert found["steps"] == 50 and found["epochs"] is None and found["seconds"] > 0
    assert found["rows"] == {"validation": 6, "test": 7}
    assert found["stream"]["rows"] == 400 and found["stream"]["bad_rows"] == "stop"
    assert "train a stream, 6 validation, 7 test" in plan_table(found) and "400 rows are learned" in plan_table(found)


@pytest.mark.usefixtures("short_sighted")
def test_data_check_looks_at_the_first_rows(lab: Lab) -> None:
    found = inspect(lab.recipe("single", *settings()))
    assert found.rows["train"] == 16
    assert any("a stream, of which the first 16 rows were looked at" in note for note in found.notes)


def turned(path: Path) -> None:
    """The last row first."""
    path.write_text("".join(reversed(path.read_text().splitlines(keepends=True))))


def test_a_file_that_was_written_again_is_not_gone_on_with(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_rows(tmp_path / "a.jsonl", rows("single", "stream", 30))
    Stops(monkeypatch, (2,))
    with pytest.raises(Interrupted, match="saved"):
        train(lab.recipe("single", *settings("single", 5, f"data.train={path}")), tmp_path / "run")
    path.write_text(path.read_text())
    with pytest.raises(RunError, match=r"a.jsonl was written again since it began"):
        resume(tmp_path / "run")
    turned(path)
    with pytest.raises(RunError, match=r"a.jsonl has changed since it began"):
        resume(tmp_path / "run")
    path.rename(tmp_path / "b.jsonl")
    with pytest.raises(RunError, match=r"can't be gone on with: \S*/a.jsonl is gone") as caught:
        resume(tmp_path / "run")
    assert "did you mean" not in str(caught.value)


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("step", [2, 5])
def test_a_file_that_is_written_meanwhile_stops_the_training(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """In the middle, and after the last row was read."""
    path = write_rows(tmp_path / "a.jsonl", rows("single", "stream", 30))
    original = RowAdamW.step

    def written(self: RowAdamW, *given: Any, **named: Any) -> Any:
        nonlocal step
        step -= 1
        if not step:
            turned(path)
        return original(self, *given, **named)

    monkeypatch.setattr(RowAdamW, "step", written)
    with pytest.raises(DataError, match=r"a\.jsonl changed while it was read"):
        train(lab.recipe("single", *settings("single", 5, f"data.train={path}", *NONE)), tmp_path / "run")
    assert not (tmp_path / "run" / "scores.json").exists()
    with pytest.raises(RunError, match=r"a\.jsonl"):
        resume(tmp_path / "run")


# ---------------------------------------------------------------------- steps without a stream


def test_steps_in_place_of_epochs(lab: Lab) -> None:
    epochs = lab.train("single", *DROPOUT, "train.evaluate_every=epoch")
    there = ("train.epochs=auto", "train.evaluate_every=epoch")
    counted = lab.train("single", *DROPOUT[::2], *there, "train.steps=6")
    assert curve(counted.run) == curve(epochs.run) and counted.scores == epochs.scores
    few = lab.train("single", "train.epochs=auto", "train.steps=2")
    assert few.steps == 2 and len(log(few.run, "validation")) == 2
    found: Recipe = lab.recipe("single", "train.epochs=auto", "train.steps=7")
    assert plan(found)["steps"] == 7
