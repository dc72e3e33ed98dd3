"""Comparisons of real runs: what may be compared, what decides, and what is said."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ftkit
from ftkit.engine.compare import Comparison, compare
from ftkit.engine.train import train
from ftkit.errors import CheckpointError, RunError
from ftkit.metrics import classification, intervals
from ftkit.metrics.evidence import Evidence
from ftkit.metrics.tally import Tally, moments
from ftkit.recipe import override, parse_recipe
from ftkit.run import RunDirectory
from tests.command import environment
from tests.runs import LINES, USUAL, Lab, loose, read_jsonl, write_rows

KINDS = ["single", "multi", "regression", "ner", "qa", "qa2", "seq2seq"]


def copied(run: Path, to: Path, tally: Tally | None = None, **changes: Any) -> Path:
    """A copy of a run with other evidence of its test rows."""
    shutil.copytree(run, to)
    path = RunDirectory.open(to).evidence("test")
    evidence = Evidence.load(path)
    dataclasses.replace(evidence, tally=tally or evidence.tally, **changes).save(path)
    return to


def labelled(predicted: list[str], truth: list[str]) -> Tally:
    return classification.single_label_tally(truth, predicted, ["arts", "sport", "trade"])


def only(found: Comparison) -> Any:
    (other,) = found.comparisons
    return other


@pytest.fixture(scope="module")
def full(lab: Lab) -> Path:
    return lab.trained("single", "full").run


@pytest.fixture(scope="module")
def learned(lab: Lab) -> Path:
    """A run that has learned what it was taught, with enough test rows to tell."""
    folder = lab.folder / "learned"
    rows = [
        {"text": f"{line} {other}", "label": ("arts", "sport", "trade")[i % 3]}
        for i, line in enumerate(LINES[:6])
        for other in LINES[6:16]
    ]
    path = write_rows(folder / "rows.jsonl", rows)
    raw = {
        "task": "classification",
        "model": {"checkpoint": str(lab.checkpoint("bert"))},
        "data": {"train": str(path), "validation": str(path), "test": str(path)},
    }
    settings = (*USUAL, "train.epochs=6", "train.learning_rate=5e-3")
    return train(parse_recipe(override(raw, settings), "learned"), folder / "run").run


# ------------------------------------------------------------------ what is found


@pytest.mark.parametrize("kind", KINDS)
def test_two_methods_differ_by_what_their_scores_do(lab: Lab, kind: str) -> None:
    one, other = lab.train(kind), lab.trained(kind, "lora" if kind == "multi" else "full")
    found = compare([one.run, other.run])
    assert [entry.name for entry in found.entries] == [str(one.run), str(other.run)]
    told = only(found)
    assert found.entries[0].scores.keys() == told.all.keys()
    for name, difference in told.all.items():
        assert found.entries[0].scores[name] == one.scores["test"][name]
        values = [run.scores["test"][name]["value"] for run in (one, other)]
        assert difference.value == pytest.approx(values[1] - values[0], abs=1e-9)
        assert difference.low <= difference.value <= difference.high


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_is_exactly_as_good_as_itself(lab: Lab, kind: str) -> None:
    run = lab.train(kind).run
    told = only(compare([run, run]))
    assert told.verdict == "not distinguishable"
    assert {difference[:4] for difference in told.all.values()} == {(0, 0, 0, 1)}
    assert "exactly as" in told.sentence("it")
    assert told.settings == {}


def test_the_splits_own_scores_are_compared(lab: Lab, full: Path) -> None:
    found = compare([full, lab.train("single").run], split="validation")
    assert found.entries[0].scores == lab.trained("single", "full").scores["validation"]


def test_settings_that_differ_are_told_and_no_others(lab: Lab, full: Path) -> None:
    told = only(compare([full, lab.train("single", "method={name: lora, rank: 2}", "train.learning_rate=0.02").run]))
    assert told.settings == {"method": ("full", "lora"), "method.rank": (None, 2)}
    taught = lab.train("single", f"objective={{name: distill, teacher: {full}}}", "train.learning_rate=0.02").run
    told = only(compare([taught, full]))
    assert told.settings == {"objective": ("distill", "labels"), "objective.teacher": (str(full), None)}


def test_better_and_worse_are_told_with_the_size_of_the_difference(full: Path, tmp_path: Path) -> None:
    truth = ["arts"] * 7
    right = copied(full, tmp_path / "right", labelled(truth, truth))
    wrong = copied(full, tmp_path / "wrong", labelled(["sport"] * 7, truth))
    near = copied(full, tmp_path / "near", labelled(["sport", *truth[1:]], truth))
    found = compare([right, wrong, near])
    assert [other.verdict for other in found.comparisons] == ["worse", "not distinguishable"]
    assert found.worse == [str(wrong)]
    worse, same = found.comparisons
    assert (worse.difference.value, worse.difference.p) == (-1, pytest.approx(2 * 0.5**7))
    assert worse.sentence("R").startswith(f"{wrong} is worse than R: accuracy -1.0000")
    assert same.difference.least is None
    assert "at this size (n = 7; just one of them is right on 1: too few to tell any)" in same.sentence("R")
    assert only(compare([wrong, right])).verdict == "better"


def test_the_difference_that_could_be_told_is_said_of_the_rows_that_differ(full: Path, tmp_path: Path) -> None:
    truth, wrong = ["arts"] * 7, ["sport"] * 7
    one = copied(full, tmp_path / "one", labelled(["sport", *truth[1:]], truth))
    other = copied(full, tmp_path / "other", labelled(["arts", *wrong[1:]], truth))
    told = only(compare([one, other])).sentence("R")
    assert "(n = 7; just one of them is right on 7: a difference of 1.000 or more could be told)" in told
    assert "(n = 7; by how the answers differ: " in only(compare([one, other], metric="f1")).sentence("R")


def test_less_of_an_error_is_better(lab: Lab, tmp_path: Path) -> None:
    run, truth = lab.train("regression").run, np.linspace(-1, 1, 7)
    near = copied(run, tmp_path / "near", moments(truth, truth + 0.01))
    far = copied(run, tmp_path / "far", moments(truth, truth * 0.5 + 0.9))
    told = only(compare([near, far]))
    assert (told.metric, told.verdict) == ("mse", "worse")
    assert told.difference.value > 0
    assert only(compare([far, near])).verdict == "better"


def test_the_deciding_metric_is_the_one_named_else_the_recipes_else_the_tasks(lab: Lab, full: Path) -> None:
    chosen = lab.train("single", "train.metric=weighted_f1").run
    assert compare([full, chosen]).metric == "accuracy"
    assert compare([chosen, full]).metric == "weighted_f1"
    assert compare([chosen, full], metric="mcc").metric == "mcc"
    with pytest.raises(RunError, match=r"no score acuracy(.|\n)*--metric accuracy"):
        compare([chosen, full], metric="acuracy")


def test_metric_that_the_evidence_lacks_leaves_the_choice_to_the_task(full: Path, tmp_path: Path) -> None:
    """As a run of an older version may have it."""
    run = loose(full, tmp_path / "run")
    recipe = (run / "recipe.yaml").read_text()
    assert "  metric: null\n" in recipe
    (run / "recipe.yaml").write_text(recipe.replace("  metric: null\n", "  metric: bleu\n"))
    assert compare([run, full]).metric == "accuracy"


# ------------------------------------------------------------------ seeds


def test_seeds_of_one_recipe_are_one_entry_beside_another(lab: Lab, full: Path) -> None:
    seeds = [lab.train("single", f"train.seed={seed}") for seed in (13, 14, 15)]
    found = compare([seeds[0].run, full, seeds[1].run, seeds[2].run])
    assert [len(entry.models) for entry in found.entries] == [3, 1]
    values = [run.scores["test"]["accuracy"]["value"] for run in seeds]
    score = found.entries[0].scores["accuracy"]
    assert score["each"] == values
    assert (score["value"], score["sd"]) == (pytest.approx(np.mean(values)), pytest.approx(np.std(values, ddof=1)))
    told = only(found)
    ours = [Evidence.load(RunDirectory.open(run.run).evidence("test")).tally for run in seeds]
    other = Evidence.load(RunDirectory.open(full).evidence("test")).tally
    assert told.all == intervals.differences([other], ours)
    assert list(told.settings) == ["train.learning_rate"]
    assert found.as_json()["entries"][0]["runs"] == [str(run.run) for run in seeds]


def test_seeds_alone_are_compared_with_each_other(lab: Lab) -> None:
    found = compare([lab.train("single", f"train.seed={seed}").run for seed in (13, 14, 15)])
    assert [len(entry.models) for entry in found.entries] == [1, 1, 1]
    assert found.comparisons[0].settings == {"train.seed": (13, 14)}


def test_the_same_seed_twice_is_no_second_seed(lab: Lab, full: Path) -> None:
    run = lab.train("single", "train.seed=13").run
    assert [len(entry.models) for entry in compare([run, run, full]).entries] == [1, 1, 1]


# ------------------------------------------------------------------ baselines, exports, runs without evidence


def test_baselines_are_named_by_their_run_or_stand_for_the_first_ones(lab: Lab, full: Path, tmp_path: Path) -> None:
    run = copied(full, tmp_path / "run")
    evidence = Evidence.load(RunDirectory.open(run).evidence("test"))
    path = RunDirectory.open(run).evidence("test.most")
    dataclasses.replace(evidence, tally=labelled(["arts"] * 7, ["arts"] * 5 + ["trade"] * 2)).save(path)
    found = compare([run, "most", f"{run}:most", full])
    named = {entry.name: entry for entry in found.entries}
    assert named["most"].scores["accuracy"]["value"] == pytest.approx(5 / 7)
    assert named["most"].scores == named[f"{run}:most"].scores
    assert compare([f"{run}:most", full]).entries[0].scores == named["most"].scores
    with pytest.raises(RunError, match=r"no baseline 'least' scored on test; it has .*most"):
        compare([run, "least"])


def test_run_without_evidence_is_scored_now(full: Path, tmp_path: Path) -> None:
    bare = Path(shutil.copytree(full, tmp_path / "bare"))
    shutil.rmtree(bare / "evidence")
    told: list[str] = []
    assert only(compare([full, bare], say=told.append)).difference[:4] == (0, 0, 0, 1)
    assert only(compare([bare, full])).difference[:4] == (0, 0, 0, 1)
    assert any("scored now" in line for line in told)


@pytest.mark.parametrize("kind", ["single", "ner", "qa", "regression"])
def test_export_is_scored_on_the_runs_rows_and_is_as_good(lab: Lab, tmp_path: Path, kind: str) -> None:
    run = lab.trained(kind, "full").run
    told = only(compare([run, ftkit.export(run, tmp_path / "out")]))
    assert told.difference.value == pytest.approx(0, abs=1e-4)
    assert told.settings == {}


def test_export_with_permuted_labels_is_worse(learned: Path, tmp_path: Path) -> None:
    right = ftkit.export(learned, tmp_path / "right")
    wrong = loose(right, tmp_path / "wrong")
    for name in ("config.json", "ftkit.json"):
        content = json.loads((wrong / name).read_text())
        if name == "config.json":
            names = [content["id2label"][str(i)] for i in range(3)]
            content["id2label"] = {str(i): names[(i + 1) % 3] for i in range(3)}
            content["label2id"] = {names[(i + 1) % 3]: i for i in range(3)}
        else:
            content["labels"] = [names[(i + 1) % 3] for i in range(3)]
        (wrong / name).write_text(json.dumps(content))
    found = compare([learned, right, wrong])
    assert [other.verdict for other in found.comparisons] == ["not distinguishable", "worse"]
    assert found.comparisons[1].difference.p < 0.001


def test_exports_alone_have_no_rows(full: Path, tmp_path: Path) -> None:
    out = ftkit.export(full, tmp_path / "out")
    with pytest.raises(RunError, match="only a run remembers its test rows"):
        compare([out, out])
    with pytest.raises(RunError, match="nothing to compare"):
        compare([full])


# ------------------------------------------------------------------ what can't be compared


def test_other_rows_are_refused_with_their_number_and_the_first(lab: Lab, full: Path, tmp_path: Path) -> None:
    rows = Evidence.load(RunDirectory.open(full).evidence("test")).rows
    changed = rows.copy()
    changed[[2, 5]] += 1
    run = copied(full, tmp_path / "changed", rows=changed)
    turned = copied(full, tmp_path / "turned", rows=rows[::-1])
    share = lab.train("single", "data.test=0.25").run
    with pytest.raises(RunError) as caught:
        compare([full, run, turned, share, full])
    lines = str(caught.value).splitlines()
    assert lines[0] == f"these can't be compared with {full} on test: 3 problems"
    assert lines[1] == f"  - {run} was scored on other rows: 2 differ, the first is row 3"
    assert lines[2] == f"  - {turned} was scored on the same rows in another order"
    assert lines[3].startswith(f"  - {share} was scored on other rows: ")


def test_model_of_a_run_is_scored_on_the_first_ones_rows(lab: Lab, full: Path) -> None:
    share = lab.train("single", "data.test=0.25").run
    assert len(compare([full, share / "model"]).entries) == 2


@pytest.mark.parametrize("other", ["regression", "ner"])
def test_other_tasks_are_refused(lab: Lab, full: Path, tmp_path: Path, other: str) -> None:
    run = lab.train(other).run
    with pytest.raises(RunError, match="of another task"):
        compare([full, run])
    if other == "ner":
        with pytest.raises(RunError, match="different tasks"):
            compare([full, ftkit.export(run, tmp_path / "out")])


def test_task_that_keeps_no_evidence_is_refused(lab: Lab, full: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.py"
    own.write_text(
        "from ftkit.tasks.classification import Classification\n\n\n"
        "class Own(Classification):\n"
        "    def tally(self, predictions, examples):\n        return None\n\n"
        "    def score(self, predictions, examples):\n"
        "        return {'accuracy': {'value': 0.5, 'n': len(predictions)}}\n"
    )
    run = train(lab.recipe("single", f"task={own}"), tmp_path / "run").run
    with pytest.raises(RunError, match=r"what all rows score together(.|\n)*`tally`"):
        compare([full, run])


@pytest.mark.parametrize("first", [0, 1])
def test_a_run_without_the_split_is_scored_on_the_others_rows(lab: Lab, full: Path, first: int) -> None:
    bare = lab.train("single", "data.test=0", "train.learning_rate=2e-3").run
    said: list[str] = []
    found = compare([(full, bare), (bare, full)][first], say=said.append)
    assert found.entries[first].scores == lab.trained("single", "full").scores["test"]
    assert found.entries[1 - first].scores["accuracy"]["n"] == 7
    assert f"note: {bare} has no test rows of its own: it is scored on those of {full}" in said
    assert set(only(found).settings) == {"data.test", "train.learning_rate"}


def test_rows_that_have_changed_are_told(lab: Lab, full: Path, tmp_path: Path) -> None:
    path = write_rows(tmp_path / "test.jsonl", read_jsonl(lab.file("single", "test")))
    run = lab.train("single", f"data.test={path}").run
    write_rows(path, read_jsonl(path)[:-1])
    said: list[str] = []
    with pytest.raises(RunError, match="was scored on other rows"):
        compare([run, run / "model"], say=said.append)
    assert any("has changed since the run was trained" in line for line in said)


def test_split_that_a_run_does_not_have_is_refused(lab: Lab, full: Path, tmp_path: Path) -> None:
    out = ftkit.export(full, tmp_path / "out")
    for source in (full, out):
        with pytest.raises(RunError, match="no dev split; it has train"):
            compare([full, source], split="dev")


def test_folder_that_is_nothing_is_refused(full: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        compare([full, tmp_path / "nothing" / "here"])


def test_two_runs_are_compared_without_the_heavy_libraries(lab: Lab, full: Path) -> None:
    script = (
        "import sys\nfrom ftkit.cli import main\n"
        f"sys.argv = ['ftkit', 'compare', {str(full)!r}, {str(lab.train('single').run)!r}]\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert stop.code in (0, None)\n"
        "print('LOADED', [name for name in ('torch', 'transformers', 'datasets', 'peft') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment())
    assert done.stdout.splitlines()[-1] == "LOADED []", done.stderr
