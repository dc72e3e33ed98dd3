"""What a run has learned from is told wherever it is to count as new."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ftkit.engine import learned
from ftkit.engine.compare import compare
from ftkit.engine.evaluate import evaluate
from ftkit.engine.preflight import cleared
from ftkit.engine.survey import survey
from ftkit.engine.train import train
from ftkit.errors import RunError
from ftkit.metrics.evidence import asked
from ftkit.run import RunDirectory
from tests.runs import KINDS, Lab, loose, rows, write_rows


def mixed(lab: Lab, folder: Path, kind: str = "single", old: int = 3, turned: bool = False) -> Path:
    """A file with some rows that are trained on (with others' labels, and spaces, when `turned`), and all test rows."""
    known = [dict(row) for row in rows(kind, "train")[:old]]
    for row, other in zip(known, rows(kind, "train")[old:] if turned else [], strict=False):
        row |= {name: other[name] for name in ("label", "labels", "score", "summary") if name in row}
        row |= {
            name: f" {row[name]} " for name in ("text", "question", "document") if name in row and "entities" not in row
        }
    return write_rows(folder / "mixed.jsonl", [*known, *rows(kind, "test")])


ASKS = ("text", "question", "context", "document")


def asks(row: dict[str, Any]) -> str:
    return json.dumps([row.get(name) for name in ASKS])


@pytest.mark.parametrize("kind", KINDS)
def test_eval_tells_rows_that_were_learned_from(lab: Lab, tmp_path: Path, kind: str) -> None:
    run, said = lab.trained(kind, "full").run, list[str]()
    evaluate(run, "train", say=said.append)
    assert not any("has learned" in line for line in said)
    evaluate(run, data=str(mixed(lab, tmp_path, kind)), say=said.append)
    known = {asks(row) for row in rows(kind, "train")}
    twice = sum(asks(row) in known for row in rows(kind, "test"))
    count = f"{3 + twice} of the {3 + len(rows(kind, 'test'))} rows of mixed.jsonl"
    assert any(f"{run} has learned from {count}" in line for line in said)
    said.clear()
    evaluate(run, data=str(mixed(lab, tmp_path, kind, turned=True)), say=said.append)
    assert any(f"{run} has learned from {count}" in line for line in said), "whatever is to be answered"
    said.clear()
    evaluate(run, say=said.append)
    assert any("has learned" in line for line in said) == bool(twice)


def test_cleaned_rows_are_known_by_what_they_were(lab: Lab, tmp_path: Path) -> None:
    run = lab.train("single", "data.clean=[lowercase]").run
    other = lab.train("single").run
    assert set(learned.by(run)) == set(learned.by(other))
    assert learned.by(run / "model").size == learned.by(run).size > 0
    assert not learned.by(run / "evidence").size, "what else lies in a run is not its model"
    assert not learned.by(tmp_path).size and not learned.by(lab.checkpoint("bert")).size


def test_a_run_that_begins_with_another_has_learned_its_rows_too(lab: Lab, tmp_path: Path) -> None:
    """The first one's training rows are the second one's test rows."""
    base = lab.train("single").run
    given = (f"model.checkpoint={base}", f"data.train={lab.file('single', 'test')}", "data.validation=0.3")
    recipe = lab.recipe("single", *given, f"data.test={mixed(lab, tmp_path)}")
    (warning,) = [found for found in cleared(recipe).warnings if found.kind == "learned"]
    assert warning.splits == {"test": 3} and f"{base} has learned from this held-out row" in warning.what
    done = train(recipe, tmp_path / "run")
    told = json.loads((done.run / "data.json").read_text())["warnings"]
    assert "learned" in {each["kind"] for each in told}
    assert set(learned.by(base)) < set(learned.by(done.run))


def test_a_run_of_which_nothing_is_known_is_told_where_it_is_begun_with(lab: Lab, tmp_path: Path) -> None:
    base = Path(shutil.copytree(lab.train("single").run, tmp_path / "base"))
    recipe = lab.recipe("single", f"model.checkpoint={base}")
    assert not any("nothing tells" in note for note in cleared(recipe).notes)
    (base / "learned.npy").unlink()
    (note,) = [note for note in cleared(recipe).notes if "nothing tells" in note]
    assert note == f"nothing tells which rows {base} has learned from: held-out rows may be among them"
    alone = lab.recipe("single", f"model.checkpoint={base}", "data.validation=null", "data.test=null")
    assert not any("nothing tells" in note for note in cleared(alone).notes), "no row counts as new"


def test_a_teachers_rows_are_no_new_ones_to_its_student(lab: Lab, tmp_path: Path) -> None:
    teacher = lab.train("single").run
    given = (f"objective={{name: distill, teacher: '{teacher}'}}", f"data.test={mixed(lab, tmp_path)}")
    (warning,) = [found for found in cleared(lab.recipe("single", *given)).warnings if found.kind == "learned"]
    assert warning.count == 3 and str(teacher) in warning.what
    alike = lab.recipe("single", f"objective={{name: distill, teacher: '{teacher}'}}")
    assert not [found for found in cleared(alike).warnings if found.kind == "learned"]


def turned(lab: Lab, folder: Path) -> Path:
    """A run that has learned from the test rows, with the first three held out."""
    held = write_rows(folder / "held.jsonl", rows("single", "test")[:3])
    rest = write_rows(folder / "rest.jsonl", [*rows("single", "test")[3:], *rows("single", "train")])
    recipe = lab.recipe("single", f"data.train={rest}", f"data.test={held}")
    return train(recipe, folder / "turned").run


def test_what_one_of_several_has_learned_is_told_or_left_out(lab: Lab, tmp_path: Path) -> None:
    run, other, said = lab.train("single").run, turned(lab, tmp_path), list[str]()
    count = len(rows("single", "test"))
    found = survey(run, [other], ["checkpoint"], say=said.append)
    assert found.rows == 3
    assert f"note: {other} has learned from {count - 3} of the {count} rows: they are left out for all" in said
    with pytest.raises(RunError, match="no row that none of these models has learned from"):
        survey(run, [other], ["checkpoint"], data=str(lab.file("single", "train")))
    beside = lab.recipe("single", f"data.train={lab.file('single', 'test')}")
    third = train(beside, tmp_path / "third").run
    compare([run, third], say=said.append)
    assert (
        f"warning: {third} has learned from all {count} rows of test: its score there says little of new texts" in said
    )
    assert not any(str(run) in line and "has learned" in line for line in said)


def test_a_damaged_file_is_told(lab: Lab, tmp_path: Path) -> None:
    run = RunDirectory.create(lab.recipe("single"), tmp_path / "run")
    run.publish()
    assert run.learned() is None
    run.write_learned(asked(rows("single", "train"), lambda row: {"text": row["text"]}))
    found = run.learned()
    assert found is not None and found.dtype == np.uint64
    path = run.path / "learned.npy"
    for content in (b"", path.read_bytes()[:-3], b"\x93NUMPY"):
        path.write_bytes(content)
        with pytest.raises(RunError, match=r"learned.npy is damaged"):
            learned.by(run.path)
    for other in (np.arange(3), np.zeros((2, 2), np.uint64)):
        np.save(path, other)
        with pytest.raises(RunError, match=r"learned\.npy is damaged"):
            learned.by(run.path)


def test_rows_that_folds_hold_out_are_no_new_ones_either(lab: Lab) -> None:
    run = lab.trained("single", "full").run
    recipe = lab.recipe("single", f"model.checkpoint={run}", "train.folds=3", "data.validation=0", "data.test=null")
    (warning,) = (each for each in cleared(recipe).warnings if each.kind == "learned")
    assert len(warning.places) == len(rows("single", "train")) and "folds" in warning.fix


def test_a_run_of_which_nothing_is_known_is_told_for_folds_and_parts(lab: Lab, tmp_path: Path) -> None:
    run = loose(lab.trained("single", "full").run, tmp_path / "run")
    (run / "learned.npy").unlink()
    recipe = lab.recipe("single", f"model.checkpoint={run}", "train.folds=3", "data.validation=0", "data.test=null")
    assert any("nothing tells which rows" in note for note in cleared(recipe).notes)
    assert any("nothing tells which rows" in line for line in learned.of_parts(cleared(recipe)))


def test_beside_folds_other_rows_are_held_out_as_well(lab: Lab, tmp_path: Path) -> None:
    many = rows("single", "train")
    run = lab.train(
        "single",
        f"data.train={write_rows(tmp_path / 'one.jsonl', many[:12])}",
        "data.validation=null",
        "data.test=null",
    ).run
    train, test = write_rows(tmp_path / "train.jsonl", many[12:]), write_rows(tmp_path / "test.jsonl", many[:3])
    recipe = lab.recipe(
        "single",
        f"model.checkpoint={run}",
        f"data.train={train}",
        f"data.test={test}",
        "data.validation=null",
        "train.folds=2",
    )
    (warning,) = (each for each in cleared(recipe).warnings if each.kind == "learned")
    assert {place.split for place in warning.places} == {"test"} and "data.seed as in its recipe" in warning.fix
