"""`ftkit eval`: a run, an export or a plain checkpoint is scored as training scored it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.command import Done, ftkit
from tests.runs import Lab, write_rows


def scores(done: Done) -> dict[str, Any]:
    assert done.code == 0, done.err
    (line,) = done.out.splitlines()
    found: dict[str, Any] = json.loads(line)["scores"]
    return found


@pytest.mark.parametrize("kind", ["single", "multi", "regression", "ner", "qa2", "seq2seq"])
def test_each_split_gets_the_scores_that_training_told(lab: Lab, kind: str) -> None:
    trained = lab.trained(kind, "lora" if kind == "multi" else "full")
    for split in ("validation", "test"):
        assert scores(ftkit("eval", trained.run, "--split", split, "--json")) == {split: trained.scores[split]}


def test_json_names_the_source_and_scores_each_label(lab: Lab) -> None:
    trained = lab.trained("single", "full")
    told = json.loads(ftkit("eval", trained.run, "--json").out)
    assert told["run"] == str(trained.run)
    assert told["per_class"] == {"test": trained.breakdown["test"]}


def test_tables_hold_scores_and_labels(lab: Lab) -> None:
    trained = lab.trained("single", "full")
    done = ftkit("eval", trained.run)
    lines = {line.split()[0]: line.split()[1:] for line in done.out.splitlines() if line.strip()}
    accuracy = trained.scores["test"]["accuracy"]
    interval = f"[{accuracy['low']:.3f}, {accuracy['high']:.3f}]"
    assert " ".join(lines["accuracy"]) == f"{accuracy['value']:.4f} {interval}"
    assert "95% intervals" in done.out
    for row in trained.breakdown["test"]:
        name = next(value for value in row.values() if isinstance(value, str))
        assert lines[name][:3] == [f"{row[metric]:.4f}" for metric in ("precision", "recall", "f1")]


def test_without_intervals_no_line_stands_empty_for_them(lab: Lab) -> None:
    done = ftkit("eval", lab.train("regression", "evaluate.resamples=0").run)
    assert done.code == 0 and "[low, high]" not in done.out
    assert "" not in done.out.splitlines()


def test_file_is_scored_under_its_own_name(lab: Lab, tmp_path: Path) -> None:
    trained = lab.trained("single", "full")
    rows = [json.loads(line) for line in lab.file("single", "test").read_text().splitlines()]
    path = write_rows(tmp_path / "more.jsonl", [{"said": row["text"], "kind": row["label"]} for row in rows])
    columns = ("--set", "data.columns={text: said, label: kind}")
    assert scores(ftkit("eval", trained.run, "--data", path, *columns, "--json")) == {
        "more.jsonl": trained.scores["test"]
    }


@pytest.mark.parametrize("contract", [True, False], ids=["export", "plain checkpoint"])
@pytest.mark.parametrize("kind", ["single", "ner", "qa"])
def test_export_scores_as_its_run_with_and_without_the_contract(
    lab: Lab, tmp_path: Path, kind: str, contract: bool
) -> None:
    trained = lab.trained(kind, "full")
    ftkit("export", trained.run, "--to", tmp_path / "out")
    if not contract:
        (tmp_path / "out" / "ftkit.json").unlink()
        (tmp_path / "out" / "SHA256SUMS").unlink()
    found = scores(ftkit("eval", tmp_path / "out", "--data", lab.file(kind, "test"), "--json"))
    best = {"single": "accuracy"}.get(kind, "f1")
    assert found["test.jsonl"][best]["value"] == pytest.approx(trained.scores["test"][best]["value"], abs=1e-4)


@pytest.mark.parametrize(
    "line", ["eval {}", "eval {} --data {}/test.jsonl", "predict {} text", "export {} --to {}/out"]
)
def test_recipe_edited_after_training_is_told_in_one_line(lab: Lab, tmp_path: Path, line: str) -> None:
    run = Path(shutil.copytree(lab.trained("single", "full").run, tmp_path / "run"))
    shutil.copy(lab.file("single", "test"), run / "test.jsonl")
    words = line.format(run, run).split()
    assert "recipe" not in ftkit(*words).err
    shutil.rmtree(run / "out", ignore_errors=True)
    recipe = run / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("epochs: 1", "epochs: 7"))
    done = ftkit(*words)
    assert done.code == 0
    (told,) = [said for said in done.err.splitlines() if "recipe" in said]
    assert told == f"warning: {recipe} has changed since the run was trained; the model has not"
