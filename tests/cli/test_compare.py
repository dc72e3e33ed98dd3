"""`ftkit compare`: its table, its sentences, its JSON, and its exit codes."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

import ftkit
from ftkit.cli.compare import _shortened
from ftkit.metrics.classification import single_label_tally
from ftkit.metrics.evidence import Evidence
from ftkit.run import RunDirectory
from tests.command import ftkit as command
from tests.runs import Lab


@pytest.fixture(scope="module")
def right(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return answering(lab, tmp_path_factory.mktemp("right") / "right", "arts")


@pytest.fixture(scope="module")
def wrong(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return answering(lab, tmp_path_factory.mktemp("wrong") / "wrong", "sport")


def answering(lab: Lab, to: Path, label: str) -> Path:
    """A run whose test rows are all `arts`, and all answered with `label`."""
    shutil.copytree(lab.trained("single", "full").run, to)
    path = RunDirectory.open(to).evidence("test")
    evidence = Evidence.load(path)
    count = len(evidence.rows)
    dataclasses.replace(evidence, tally=single_label_tally(["arts"] * count, [label] * count, ["arts", "sport"])).save(
        path
    )
    return to


def test_table_and_sentences(right: Path, wrong: Path) -> None:
    done = command("compare", right, wrong)
    assert done.code == 0, done.err
    table, sentences = done.out.split("\n\n", 1)
    header, *rows = table.splitlines()
    assert header.split() == [str(right), str(wrong)]
    cells = {row.split()[0]: row.split()[1] for row in rows if row and row[0].islower()}
    assert cells["accuracy"] == "1.0000"
    assert sentences.startswith(f"{wrong} is worse than {right}: accuracy -1.0000 [")
    assert sentences.rstrip().endswith("(McNemar's exact test)")


def test_settings_that_differ_stand_under_the_sentence(lab: Lab) -> None:
    done = command("compare", lab.trained("single", "full").run, lab.trained("single", "lora").run)
    assert "  method: full -> lora\n" in done.out


def test_json_is_one_line_with_all_differences(right: Path, wrong: Path) -> None:
    done = command("compare", right, wrong, "--json", "--metric", "f1")
    (line,) = done.out.splitlines()
    told = json.loads(line)
    assert told == json.loads(json.dumps(ftkit.compare([right, wrong], metric="f1").as_json()))
    assert (told["split"], told["metric"], told["level"]) == ("test", "f1", 0.95)
    assert [entry["name"] for entry in told["entries"]] == [str(right), str(wrong)]
    assert told["entries"][1]["runs"] == [str(wrong)]
    (other,) = told["comparisons"]
    assert (other["name"], other["verdict"], other["metric"]) == (str(wrong), "worse", "f1")
    assert other["difference"] == other["all"]["f1"]
    assert (other["test"], other["all"]["accuracy"]["test"]) == ("randomization", "mcnemar")
    assert other["difference"].keys() == {"value", "low", "high", "p", "test", "least", "apart"}
    assert other["settings"] == {}


@pytest.mark.parametrize("swap", [False, True])
def test_gate_fails_where_one_is_worse_and_after_it_is_told(right: Path, wrong: Path, swap: bool) -> None:
    first, second = (wrong, right) if swap else (right, wrong)
    done = command("compare", first, second, "--fail-if-worse", "--json")
    assert json.loads(done.out)["comparisons"][0]["verdict"] == ("better" if swap else "worse")
    assert done.code == (0 if swap else 4)
    assert done.err == ("" if swap else f"error: {wrong} is worse than {right} in accuracy\n")


def test_seeds_are_told_one_by_one(lab: Lab) -> None:
    seeds = [lab.train("single", f"train.seed={seed}") for seed in (13, 14)]
    done = command("compare", lab.trained("single", "full").run, *(run.run for run in seeds))
    values = ", ".join(f"{run.scores['test']['accuracy']['value']:.4f}" for run in seeds)
    assert f"{seeds[0].run} (2 seeds): each seed's {values}\n" in done.out


def test_one_source_or_other_rows_are_a_fault_to_mend(lab: Lab, right: Path) -> None:
    assert command("compare", right).code == 3
    done = command("compare", right, lab.train("regression").run)
    assert (done.code, done.out) == (3, "")
    assert "of another task" in done.err


def test_paths_are_told_from_where_they_part() -> None:
    assert _shortened("/data/a/train.csv", "/data/b/train.csv") == ("a/train.csv", "b/train.csv")
    assert _shortened(5e-5, None) == ("5e-05", "null")
    assert _shortened("/data/a.csv", None) == ("/data/a.csv", "null")
