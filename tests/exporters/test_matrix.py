"""Every task x method x format that is offered answers as its run does, and is refused where it was harmed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from ftkit import exporters
from ftkit.engine import model as models
from ftkit.engine import speed
from ftkit.engine.export import export
from ftkit.engine.predict import Predictor
from ftkit.errors import CheckpointError, GateError, RunError
from ftkit.files import broken
from tests.exporters import harms
from tests.exporters.cases import (
    ALL,
    FORMATS,
    METHODS,
    QUICK,
    REST,
    WHOLE,
    WRITING,
    Case,
    inputs,
    offered,
    run_example,
)
from tests.runs import KINDS, Lab, assert_close

NEAR = {"adapter": 0.0, "checkpoint": 1e-5}
"""How far numbers of an answer may lie from the run's, in formats that round nothing; 0.002 in graphs."""


def test_every_pair_of_task_method_and_format_is_among_the_quick_cases() -> None:
    met = {(case.kind, case.method, name) for case in QUICK for name in case.formats}
    every = met | {(case.kind, case.method, name) for case in REST for name in case.formats}
    assert len(every) == sum(len(offered(case.method)) for case in QUICK)
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert {(each[one], each[other]) for each in met} == {(each[one], each[other]) for each in every}


@pytest.mark.parametrize("case", ALL, ids=str)
def test_it_answers_as_its_run(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: Case) -> None:
    harms.trace_once(monkeypatch)
    told: list[str] = []
    export(case.run(lab), tmp_path / "out", case.formats, told.append)
    known = list(Predictor(case.run(lab), precision="fp32")(inputs(lab, case.kind)))
    for name in case.formats:
        folder = case.folder(tmp_path / "out", name)
        assert not broken(folder) and any(line.startswith(f"{name}: logits within") for line in told)
        predictor, rows = Predictor(folder), inputs(lab, case.kind)
        found = list(predictor(rows))
        if exporters.find(name).alone:
            assert [next(predictor([row])) for row in rows] == found
        assert [answer.keys() for answer in found] == [answer.keys() for answer in known]
        if exporters.find(name).tolerance is not None:
            assert_close(found, known, NEAR.get(name, 2e-3))
    if "checkpoint" in case.formats:
        plain_transformers(models.load(case.run(lab)), case.folder(tmp_path / "out", "checkpoint"))


@torch.no_grad()
def plain_transformers(trained: models.Trained, folder: Path) -> None:
    """With nothing of ftkit a checkpoint has the run's logits and labels."""
    model = getattr(transformers, trained.task.model_class(trained.model.config)).from_pretrained(folder).eval()
    text = "The council of Leeds will vote on the budget in Madrid."
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    batch = dict(tokenizer([text, text[:30]], padding=True, return_tensors="pt"))
    if model.config.is_encoder_decoder:
        batch["decoder_input_ids"] = torch.tensor([[0, 5, 6], [0, 7, 8]])
    ours, theirs = trained.model(**batch), model(**batch)
    for name in [name for name in theirs if name.endswith("logits")]:
        torch.testing.assert_close(ours[name], theirs[name], atol=1e-5, rtol=0)
    if trained.labels:
        assert tuple(model.config.id2label.values()) == trained.labels


@pytest.mark.parametrize("method", METHODS)
def test_what_is_not_offered_is_refused(lab: Lab, tmp_path: Path, method: str) -> None:
    for name in set(FORMATS) - set(offered(method)):
        with pytest.raises((RunError, CheckpointError), match=r"has no adapter|can't be merged"):
            export(lab.trained("single", method).run, tmp_path / "out", name)
        assert not (tmp_path / "out").exists()


# ------------------------------------------------------------------ harm


def possible(kind: str) -> list[str]:
    """The harms that change what a task's models answer."""
    one = [] if kind in (*WRITING, "regression") else ["permuted_labels"]
    named = [] if kind.startswith("qa") or not one else ["renamed_labels"]
    return [*one, *named, "dropped_head", "random_layer", "other_tokenizer"]


QUICK_HARMS = {
    "single": "permuted_labels",
    "windows": "dropped_head",
    "multi": "random_layer",
    "regression": "other_tokenizer",
    "ner": "renamed_labels",
    "qa": "permuted_labels",
    "qa2": "dropped_head",
    "seq2seq": "random_layer",
    "causal": "other_tokenizer",
}
"""Each harm in every format, and of every kind of task: to the cases of `WHOLE`."""


def harmed() -> list[Any]:
    """Cases with harms; all but a few are slow."""
    return [
        pytest.param(
            case,
            harm,
            marks=[] if case.method == WHOLE[case.kind] and QUICK_HARMS[case.kind] == harm else pytest.mark.slow,
            id=f"{case}-{harm}",
        )
        for case in [*QUICK, *REST]
        for harm in possible(case.kind)
        if reached(case, harm)
    ]


def reached(case: Case, harm: str) -> set[str]:
    """The formats of a case that a harm is carried to: an output layer over the vocabulary is no adapter's."""
    return set(case.formats) - ({"adapter"} if harm == "dropped_head" and case.kind in WRITING else set())


@pytest.mark.parametrize(("case", "harm"), harmed())
def test_what_was_harmed_on_the_way_is_refused(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: Case, harm: str
) -> None:
    """In each format, with exit code 4, and nothing is left."""
    harms.do(harm, case.run(lab), monkeypatch)
    monkeypatch.setattr(speed, "SIZES", ())
    with pytest.raises(GateError) as caught:
        export(case.run(lab), tmp_path / "deep" / "out", case.formats)
    assert caught.value.exit_code == 4
    told = [line.removeprefix("  - ").partition(": ") for line in caught.value.message.split("\n")[1:]]
    assert {name for name, _, said in told if said.startswith(harms.SAID[harm])} == reached(case, harm)
    assert not (tmp_path / "deep").exists()


# ------------------------------------------------------------------ the program in each folder


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_its_example_runs(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """That of graphs with the runtime alone."""
    harms.trace_once(monkeypatch)
    case = Case(kind, "lora", offered("lora"))
    export(case.run(lab), tmp_path / "out", case.formats)
    for name in case.formats:
        alone = not exporters.find(name).is_torch
        told = run_example(tmp_path / "out" / name, alone)
        assert told.strip() or kind in (*WRITING, "qa2")
