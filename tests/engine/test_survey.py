"""A survey measures all formats alike: the same rows, by turns; and keeps nothing that nobody asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset

from ftkit import exporters
from ftkit.engine import elsewhere, evaluate, survey
from ftkit.engine import model as models
from ftkit.errors import RunError
from ftkit.settings import EvaluateSpec
from tests.command import ftkit
from tests.runs import KINDS, METHODS, Lab


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measured in this process, where all is imported already, and once."""

    def run(module: str, job: Mapping[str, Any], rows: Dataset) -> dict[str, Any]:
        assert module == survey.__name__
        places = [(name, format, Path(folder)) for name, format, folder in job["places"]]
        settings = EvaluateSpec.model_validate(job["settings"])
        found = survey.measure(places, rows, settings, job["metric"], Path(job["aside"]))
        return {"lines": [asdict(line) for line in found]}

    monkeypatch.setattr(elsewhere, "run", run)


SLOW = [pytest.param(kind, marks=pytest.mark.slow) for kind in ("multi", "regression", "qa", "seq2seq")]


@pytest.mark.parametrize("kind", ["single", "ner", *SLOW])
def test_every_kind_of_task_is_surveyed(lab: Lab, here: None, kind: str) -> None:
    run = lab.trained(kind, METHODS[kind][0]).run
    found = survey.survey(run, formats=["torch-bf16"])
    assert [line.format for line in found.lines] == ["fp32", "torch-bf16"]
    first, second = found.lines
    own = evaluate.evaluate(run, precision="fp32")
    assert first.score["value"] == pytest.approx(own.scores[found.metric]["value"])
    assert first.difference is None and second.difference is not None
    assert second.difference["value"] == pytest.approx(second.score["value"] - first.score["value"])
    for line in found.lines:
        assert not line.error and line.bytes > 0 and set(line.milliseconds) == {"1", "32"}
        assert all(0 < value < 1e5 for value in line.milliseconds.values())
    assert second.bytes < first.bytes and KINDS[kind]


def test_runs_beside_it_are_measured_against_the_first(lab: Lab, here: None) -> None:
    run, other = lab.trained("single", "full").run, lab.train("single", "model.layers=1").run
    found = survey.survey(run, [other], ["torch-bf16"])
    assert [(line.model, line.format) for line in found.lines] == [
        (str(one), format) for one in (run, other) for format in ("fp32", "torch-bf16")
    ]
    third = found.lines[2]
    assert third.difference is not None
    assert third.difference["value"] == pytest.approx(third.score["value"] - found.lines[0].score["value"])
    assert third.difference["low"] <= third.difference["value"] <= third.difference["high"]
    assert third.bytes < found.lines[0].bytes


def test_each_format_is_asked_in_its_precision_and_timed_by_the_row(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, score = list[str](), evaluate.score

    def scored(trained: models.Trained, rows: Dataset, spec: EvaluateSpec) -> Any:
        asked.append(spec.precision)
        return score(trained, rows, spec)

    monkeypatch.setattr(evaluate, "score", scored)
    monkeypatch.setattr(survey.machine, "has_bf16", lambda: True)
    monkeypatch.setattr(survey.speed, "seconds", lambda ready, rows: [{"1": 0.002, "32": 0.032} for _ in ready])
    folder, rows = lab.trained("single", "full").run / "model", lab.prepared("single").splits["test"]
    places = [("run", "fp32", folder), ("run", "torch-bf16", folder)]
    found = survey.measure(places, rows, EvaluateSpec(), "accuracy", tmp_path)
    assert asked == ["fp32", "bf16"]
    assert all(line.milliseconds == pytest.approx({"1": 2.0, "32": 1.0}) for line in found)


@pytest.mark.slow
def test_an_adapter_is_measured_merged_too(lab: Lab, here: None) -> None:
    said: list[str] = []
    found = survey.survey(lab.trained("single", "lora").run, say=said.append)
    assert [line.format for line in found.lines] == ["fp32", *(name for name in exporters.names() if name != "adapter")]
    assert not any(line.error for line in found.lines) and not said
    merged = found.lines[1]
    assert merged.format == "checkpoint" and found.lines[0].bytes > merged.bytes  # which needs no base


@pytest.mark.parametrize(
    ("method", "listed", "why"),
    [
        ("full", ["onnx", "onnx-int8", "openvino", "torch-bf16"], ""),
        ("lora", ["checkpoint", "onnx", "onnx-int8", "openvino", "torch-bf16"], ""),
        ("adapter", ["onnx", "onnx-int8", "openvino"], "adapters can't be merged"),
    ],
)
def test_all_formats_but_what_the_run_is_itself_are_surveyed(
    lab: Lab, method: str, listed: list[str], why: str
) -> None:
    said: list[str] = []
    assert list(survey._chosen(models.load(lab.trained("single", method).run), (), said.append)) == listed
    assert [why in note for note in said] == ([True, True] if why else [])


def test_models_of_other_tasks_are_refused(lab: Lab, here: None) -> None:
    with pytest.raises(RunError, match="is of another task, or of other labels"):
        survey.survey(lab.trained("single", "full").run, [lab.trained("ner", "full").run])


def test_models_of_other_labels_are_refused(lab: Lab) -> None:
    trained = models.load(lab.trained("single", "full").run)
    survey._refuse_unlike(trained, [replace(trained, labels=trained.labels[::-1])])
    with pytest.raises(RunError, match="is of another task, or of other labels"):
        survey._refuse_unlike(trained, [replace(trained, labels=("arts", "sport", "tirade"))])


def test_nothing_is_measured_against_a_run_that_does_not_answer(
    lab: Lab, here: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*given: Any) -> Any:
        raise RunError("not a number")

    monkeypatch.setattr(evaluate, "score", fails)
    with pytest.raises(RunError, match="does not answer: not a number"):
        survey.survey(lab.trained("single", "full").run, formats=["torch-bf16"])


# ---------------------------------------------------------------------- the command


def test_the_command_prints_a_table_and_leaves_nothing(
    lab: Lab, here: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = lab.trained("single", "full").run
    done = ftkit("export", run, "--survey", "--format", "torch-bf16", "--rows", 5)
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert lines[0].split()[:3] == ["run", "format", "MB"] and len(lines) == 4
    assert "5 held-out rows" in lines[-1] and not list(tmp_path.iterdir())


def test_the_command_prints_json_and_keeps_what_it_is_told_to(lab: Lab, here: None, tmp_path: Path) -> None:
    run = lab.trained("single", "full").run
    flags = ("--format", "torch-bf16", "--to", tmp_path / "out", "--tolerance", 9, "--allow-drop", 1)
    done = ftkit("export", run, "--survey", "--json", *flags)
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert [line["format"] for line in told["lines"]] == ["fp32", "torch-bf16"]
    assert (tmp_path / "out" / "manifest.json").is_file()


@pytest.mark.parametrize("flags", [(), ("--to", "out", "--json"), ("--to", "out", "--beside", "other")])
def test_flags_that_do_not_go_together_are_refused(flags: tuple[str, ...], tmp_path: Path) -> None:
    assert ftkit("export", tmp_path, *flags).code == 2


@pytest.mark.slow
def test_it_is_measured_in_a_process_of_its_own(lab: Lab) -> None:
    found = survey.survey(lab.trained("single", "full").run, formats=["torch-bf16"], rows=4)
    assert found.rows == 4 and not any(line.error for line in found.lines)
