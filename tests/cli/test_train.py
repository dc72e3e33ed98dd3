"""`ftkit train`: what it prints, where the run goes, and what paths count from."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
from pathlib import Path

import pytest

from tests.command import command, environment, ftkit, process, stands
from tests.runs import Lab, rows, write_rows

KEYS = {
    "run",
    "level",
    "scores",
    "per_class",
    "calibration",
    "metric",
    "baselines",
    "gains",
    "seeds",
    "steps",
    "train_seconds",
    "examples",
}


@pytest.fixture
def recipe(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe in the current folder that trains in a second."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mine.yaml"
    path.write_text(lab.recipe("single").dump())
    return path


def test_json_is_one_object_with_the_scores_that_the_run_keeps(recipe: Path) -> None:
    done = ftkit("train", recipe, "--run", "new", "--json")
    assert done.code == 0
    (line,) = done.out.splitlines()
    told = json.loads(line)
    assert told.keys() == KEYS
    assert Path(told["run"]) == recipe.parent / "new"
    assert told["scores"].keys() == {"validation", "test"}
    for split, count in (("validation", 6), ("test", 7)):
        assert {"accuracy", "precision", "recall", "f1", "micro_f1", "weighted_f1"} <= told["scores"][split].keys()
        for score in told["scores"][split].values():
            assert score.keys() >= {"value", "n"} and score["n"] == count and 0 <= score["value"] <= 1
    assert told["steps"] == 3 and told["examples"] == 22 and 0 < told["train_seconds"] < 60
    assert json.loads((recipe.parent / "new" / "scores.json").read_text()) == told


def shown(score: dict[str, float]) -> str:
    """A score as the table has it, with its interval."""
    return f"{score['value']:.4f} [{score['low']:.3f}, {score['high']:.3f}]"


def test_table_holds_the_scores_that_json_has(recipe: Path) -> None:
    done = ftkit("train", recipe, "--run", "new")
    scores = json.loads(Path("new/scores.json").read_text())["scores"]
    table = {line.split()[0]: line.split()[1:] for line in done.out.splitlines() if line.strip()}
    assert table["validation"] == ["test"]
    for name in ("accuracy", "precision", "recall", "f1"):
        assert " ".join(table[name]) == " ".join(shown(scores[split][name]) for split in ("validation", "test"))
    assert table["rows"] == ["6", "7"]
    assert done.out.splitlines()[-1].startswith("3 steps in ") and done.out.rstrip().endswith(
        str(recipe.parent / "new")
    )
    assert f"next: ftkit predict {recipe.parent / 'new'} --input FILE; ftkit eval" in done.err


def test_without_intervals_no_line_stands_empty_for_them(recipe: Path) -> None:
    done = ftkit("train", recipe, "--set", "evaluate.resamples=0", "--set", "train.epochs=0", "--run", "new")
    assert done.code == 0 and "[low, high]" not in done.out
    assert "\n\n\n" not in done.out


def test_run_is_called_after_its_recipe_and_the_time(recipe: Path) -> None:
    told = json.loads(ftkit("train", "mine.yaml", "--json").out)
    assert re.fullmatch(re.escape(f"{recipe.parent}/runs/mine-") + r"\d{8}-\d{6}", told["run"])
    assert Path(told["run"], "model").is_dir()


def test_notes_go_to_stderr_alone_and_progress_to_terminals_alone(recipe: Path) -> None:
    """In a process of its own, where libraries write what they like to either stream."""
    write_rows(Path("notes.jsonl"), [{"review": row["text"], "label": row["label"]} for row in rows("single", "train")])
    settings = ("--set", "data.train=notes.jsonl", "--set", "data.limit=20")
    done = process(recipe.parent, "train", "mine.yaml", *settings, "--run", "new", "--json")
    assert done.code == 0
    assert json.loads(done.out).keys() == KEYS and done.out.count("\n") == 1
    notes = done.err.splitlines()
    assert all(note.startswith(("note: ", "warning: ")) for note in notes), done.err
    assert any("'text' is read from column 'review'" in note for note in notes)
    assert any("20 of 22 training rows are used" in note for note in notes)


def test_terminal_sees_one_live_line(recipe: Path) -> None:
    """Stderr is a terminal and stdout none: the line comes and goes on the one, the object stands on the other."""
    ours, theirs = pty.openpty()
    line = command("train", recipe, "--set", "train.epochs=40", "--run", "new", "--json")
    shown = environment(TERM="xterm", COLUMNS="120")
    with subprocess.Popen(line, env=shown, cwd=recipe.parent, stdout=subprocess.PIPE, stderr=theirs) as training:
        os.close(theirs)
        seen = read_all(ours)
        assert training.stdout is not None
        assert json.loads(training.stdout.read()).keys() == KEYS
    assert training.returncode == 0
    screen = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen)
    assert re.search(r"training .*/120 loss \d\.\d{4}  rate \d\.\de-\d\d  [\d,]+ examples/s  \d+:\d\d left", screen)
    assert re.search(r"validation accuracy \d\.\d{4}", screen)
    told = screen.count("warning: ") + screen.count("note: ")
    assert screen.count("\n") - told <= 6, "the line is drawn over, not printed again and again"


def read_all(terminal: int) -> str:
    """What a terminal is shown until its last writer has gone."""
    shown = b""
    while select.select([terminal], [], [], 60)[0]:
        try:
            shown += os.read(terminal, 65536)
        except OSError:
            break
    os.close(terminal)
    return shown.decode()


@pytest.mark.usefixtures("brief_trial")
def test_dry_run_tells_the_plan_and_writes_nothing(recipe: Path) -> None:
    before = stands(recipe.parent)
    table = ftkit("train", "mine.yaml", "--dry-run", "--set", "train.epochs=2")
    assert table.code == 0
    for words in (
        "22 train, 6 validation, 7 test",
        "arts, sport, trade",
        "2 epochs, 6 steps, in fp32",
        "checkpoints/bert",
    ):
        assert words in table.out
    plan = json.loads(ftkit("train", "mine.yaml", "--dry-run", "--json").out)
    assert plan["rows"] == {"train": 22, "validation": 6, "test": 7} and plan["steps"] == 3
    assert plan["labels"] == ["arts", "sport", "trade"] and plan["notes"] == []
    assert any("have fewer than 8 train rows to learn by" in warning for warning in plan["warnings"])
    assert stands(recipe.parent) == before


@pytest.mark.usefixtures("brief_trial")
def test_plan_is_what_training_does(recipe: Path) -> None:
    settings = ("--set", "train.epochs=1.5", "--set", "train.batch=5", "--json")
    plan = json.loads(ftkit("train", "mine.yaml", *settings, "--dry-run").out)
    told = json.loads(ftkit("train", "mine.yaml", *settings, "--run", "new").out)
    assert plan["steps"] == told["steps"] and plan["rows"]["train"] == told["examples"]


@pytest.mark.usefixtures("brief_trial")
def test_paths_in_a_recipe_count_from_it_and_paths_of_flags_from_here(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, here = tmp_path / "there", tmp_path / "here"
    for folder, count in ((there, 10), (here, 12)):
        write_rows(folder / "rows.jsonl", rows("single", "train", count))
    source = f"task: classification\nmodel: {{checkpoint: {lab.checkpoint('bert')}}}\ndata: {{train: rows.jsonl}}\n"
    (there / "mine.yaml").write_text(source)
    monkeypatch.chdir(here)
    for settings, counts, folder in (((), 10, there), (("--set", "data.train=rows.jsonl"), 12, here)):
        plan = json.loads(ftkit("train", "../there/mine.yaml", *settings, "--dry-run", "--json").out)
        assert sum(plan["rows"].values()) == counts, folder
    ftkit("train", "../there/mine.yaml", "--set", "train.epochs=0", "--run", "new")
    kept = (here / "new" / "recipe.yaml").read_text()
    assert str(there / "rows.jsonl") in kept


def test_run_trains_again_from_its_own_recipe_anywhere(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ftkit("train", "mine.yaml", "--run", "one")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert ftkit("train", "../one", "--run", "two").code == 0
    weights = [
        (folder / "model" / "model.safetensors").read_bytes() for folder in (tmp_path / "one", elsewhere / "two")
    ]
    assert weights[0] == weights[1]
    assert (tmp_path / "one/recipe.yaml").read_text() == (elsewhere / "two/recipe.yaml").read_text()


def test_cross_validation_tells_mean_and_spread(recipe: Path) -> None:
    done = ftkit("train", "mine.yaml", "--set", "train.folds=2", "--run", "new", "--json")
    accuracy = json.loads(done.out)["scores"]["folds"]["accuracy"]
    assert accuracy.keys() == {"value", "sd", "n", "each"} and accuracy["n"] == 22
    assert [line for line in done.err.splitlines() if line.startswith("fold ")] == ["fold 1 of 2", "fold 2 of 2"]


@pytest.mark.slow
def test_two_processes_are_a_flag_away(recipe: Path) -> None:
    done = process(recipe.parent, "train", "mine.yaml", "--processes", 2, "--run", "new", "--json")
    assert done.code == 0 and json.loads(done.out)["steps"] == 3
    assert json.loads(Path("new/environment.json").read_text())["processes"] == 2
