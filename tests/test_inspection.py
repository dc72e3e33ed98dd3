"""`data check` finds what training warns of, with the task as training has it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from ftkit.engine.prepare import prepare
from ftkit.inspection import Inspection, inspect, recipe_for
from ftkit.recipe import Recipe, changed, parse_recipe
from ftkit.terminal import silence
from tests.checks.planted import Rows, clean
from tests.runs import Lab, write_rows


def recipe(folder: Path, checkpoint: Path | str, task: dict[str, Any], rows: Rows, **data: Any) -> Recipe:
    files = {split: str(write_rows(folder / f"{split}.jsonl", part)) for split, part in rows.items()}
    return parse_recipe({"task": task, "model": {"checkpoint": str(checkpoint)}, "data": {**files, **data}}, "rows")


def kinds(found: Inspection) -> set[str]:
    return {finding.kind for finding in found.findings}


def unanswered() -> Rows:
    """Questions that all have answers to learn from, and one to score by that has none."""
    rows = clean("qa")
    rows["test"][0]["answers"] = {"text": [], "answer_start": []}
    return rows


@pytest.mark.parametrize("at_hand", [True, False])
def test_the_task_is_settled(lab: Lab, tmp_path: Path, at_hand: bool) -> None:
    checkpoint = lab.checkpoint("bert") if at_hand else "nobody/has-this"
    found = inspect(recipe(tmp_path, checkpoint, {"name": "qa", "max_length": 64, "stride": 16}, unanswered()))
    assert "unanswerable" in kinds(found) and not found.errors


@pytest.mark.parametrize("name, positions", [("classification", 40), ("summarization", 60)])
def test_limits_are_those_that_the_checkpoint_allows(lab: Lab, tmp_path: Path, name: str, positions: int) -> None:
    folder = Path(shutil.copytree(lab.checkpoint("bert" if name == "classification" else "llama"), tmp_path / "small"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "max_position_embeddings": positions}))
    options = {"max_length": 200} | ({"target_length": 9} if name == "summarization" else {})
    made = recipe(tmp_path, folder, {"name": name, **options}, clean(name))
    found, prepared = inspect(made), prepare(made)
    assert "too-long" in kinds(found)
    assert [str(f) for f in found.findings] == [str(warning) for warning in prepared.warnings]
    assert min(told["limit"] for told in found.lengths.values()) <= positions


def test_a_checkpoint_that_cannot_be_used_is_noted(lab: Lab, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(lab.checkpoint("bert"), tmp_path / "broken"))
    (folder / "tokenizer.json").unlink()
    found = inspect(recipe(tmp_path, folder, {"name": "classification"}, clean("classification")))
    assert any("without the checkpoint" in note and "no tokenizer" in note for note in found.notes)
    assert found.lengths["text"]["unit"] == "words"


def test_labels_that_look_like_tags_are_labels(lab: Lab, tmp_path: Path) -> None:
    rows = clean("classification")
    for row in (row for part in rows.values() for row in part if row["label"] != "arts"):
        row["label"] = "B-movie" if row["label"] == "sport" else "O"
    made = recipe(tmp_path, lab.checkpoint("bert"), {"name": "classification"}, rows)
    assert inspect(made).findings == ()
    for row in rows["test"]:
        row["label"] = "arts"
    found = inspect(recipe(tmp_path, lab.checkpoint("bert"), {"name": "classification"}, rows))
    (few,) = [finding for finding in found.findings if finding.kind == "few-rows"]
    assert "2 of 3 labels" in few.what and "B-movie 0" in few.what and "O 0" in few.what


def test_uneven_labels_name_the_setting_that_balances(lab: Lab, tmp_path: Path) -> None:
    rows = clean("classification")
    rows["train"] = [row for i, row in enumerate(rows["train"]) if row["label"] == "arts" or i < 3]
    found = inspect(recipe(tmp_path, lab.checkpoint("bert"), {"name": "classification"}, rows))
    (uneven,) = [finding for finding in found.findings if finding.kind == "imbalance"]
    assert "data.balance" in uneven.fix
    for setting in ("data.balance=weights", "train.class_weights=balanced"):
        balanced = inspect(changed(found.recipe, [setting]))
        (uneven,) = [finding for finding in balanced.findings if finding.kind == "imbalance"]
        assert uneven.fix == "look at f1 beside accuracy"
    words = clean("ner tokens")
    words["train"] = [{**row, "tags": ["B-PER"] + ["O"] * 11} for row in words["train"]]
    words["train"][0]["tags"][2] = "B-LOC"
    found = inspect(recipe(tmp_path, lab.checkpoint("bert"), {"name": "ner"}, words))
    (uneven,) = [finding for finding in found.findings if finding.kind == "imbalance"]
    assert "data.balance" not in uneven.fix


def test_a_limit_of_training_rows_is_told(lab: Lab, tmp_path: Path) -> None:
    """All rows are looked at, so that what is found does not hang on which are drawn."""
    rows = clean("classification")
    found = inspect(recipe(tmp_path, lab.checkpoint("bert"), {"name": "classification"}, rows))
    limited = inspect(changed(found.recipe, ["data.limit=5"]))
    assert not any("data.limit" in note for note in found.notes)
    assert any("draws 5 of them (data.limit)" in note for note in limited.notes)
    assert limited.rows == found.rows


@pytest.mark.parametrize("text", ["Old <main>harbour</main>", "Bread &amp; butter", "<!-- so --> it is", "a &#8217; b"])
def test_markup_is_what_cleaning_takes_out(lab: Lab, tmp_path: Path, text: str) -> None:
    rows = clean("classification")
    rows["train"][0]["text"] = f"{text} and gravel"
    made = recipe(tmp_path, lab.checkpoint("bert"), {"name": "classification"}, rows)
    (finding,) = inspect(made).findings
    assert finding.kind == "markup" and "data.clean" in finding.fix
    cleaned = recipe(tmp_path, lab.checkpoint("bert"), {"name": "classification"}, rows, clean=["html"])
    assert inspect(cleaned).findings == ()


def test_words_in_angle_brackets_are_no_markup(lab: Lab, tmp_path: Path) -> None:
    rows = clean("classification")
    rows["train"][0]["text"] = "<user> wrote that 3 < 4 and R&D; <3"
    assert inspect(recipe(tmp_path, lab.checkpoint("bert"), {"name": "classification"}, rows)).findings == ()


@pytest.mark.parametrize(
    "text, kind",
    [
        ("gold\x85 and tin", {"control"}),
        ("caf\xc3\xa9 of old", {"mojibake"}),
        ("\xe2\x80\x85x", {"control", "mojibake"}),
    ],
)
def test_a_next_line_is_no_mojibake(lab: Lab, tmp_path: Path, text: str, kind: set[str]) -> None:
    rows = clean("classification")
    rows["train"][0]["text"] = f"{text} gravel"
    assert kinds(inspect(recipe(tmp_path, lab.checkpoint("bert"), {"name": "classification"}, rows))) == kind


# ---------------------------------------------------------------------- files without a recipe


def table(path: Path, labels: tuple[str, ...] = ("arts", "sport")) -> Path:
    """Rows in an encoding that nothing tells."""
    rows = [f"Gravel and a caf\xe9 of lantern {number},{labels[number % len(labels)]}" for number in range(60)]
    path.write_text("\n".join(["wording,kind", *rows]), encoding="cp1250")
    return path


def test_settings_say_how_a_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_bytes(table(file).read_bytes().decode("cp1250").encode("utf-16-le"))
    found = recipe_for(file, ["data.encoding=utf-16-le", "data.limit=20"], silence)
    assert (found.data.encoding, found.data.limit) == ("utf-16-le", 20)
    assert inspect(found).rows["train"] > 40


def test_a_task_may_have_options(tmp_path: Path) -> None:
    file = table(tmp_path / "rows.csv", ("arts;sport", "sport", "arts", "trade;arts"))
    for setting in ("task={name: classification, kind: multi}", "task.name=classification"):
        found = recipe_for(file, [setting, "data.encoding=cp1250", "data.delimiter=;"], silence)
        assert found.task.name == "classification"
        assert found.task.options["kind"] == "multi"
