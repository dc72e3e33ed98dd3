"""The gate's judgement: each way in which an export may differ has its sentence, and what is allowed is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ftkit import exporters
from ftkit.engine import gate
from ftkit.engine.gate import Allowed, Proof, refuse
from ftkit.engine.parity import Measured
from ftkit.errors import GateError
from ftkit.settings import EvaluateSpec

RUN = Measured(
    labels=["arts", "trade"],
    options={"temperature": 1.5},
    rows=7,
    spread=4.0,
    scores={"accuracy": {"value": 0.9, "n": 7}, "mse": {"value": 0.2, "n": 7}},
    seconds={"1": 0.02, "32": 0.4},
)


def proof(found: Measured, metric: str = "accuracy", sign: int = 1) -> Proof:
    return Proof("onnx", RUN, found, metric, sign, 1e-3, 0.005, average=1e-4)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"labels": ["trade", "arts"]}, "its labels are trade, arts, the run's arts, trade"),
        ({"options": {"temperature": 1.0}}, "its task.temperature is 1.0, the run's 1.5"),
        ({"data": {"clean": ["html"]}}, "it reads rows in another way"),
        ({"other_tokens": 3}, "other tokens than the run's, of row 3 first"),
        ({"difference": 0.5, "row": 2}, r"its logits differ by up to 0.5 \(row 2\), and 0.001 is allowed"),
        ({"difference": 9e-4, "average": 8e-4}, "its logits differ by 0.0008 on average, and 0.0001 is allowed"),
        ({"difference": float("inf")}, "another number of logits"),
        ({"difference": float("nan")}, "its logits differ"),
        ({"scores": {"accuracy": {"value": 0.8}}}, "its accuracy is 0.8000, the run's 0.9000: worse by 0.1000"),
        ({"error": "torn\nfile"}, "it does not answer: torn file"),
    ],
)
def test_each_difference_has_its_sentence(change: dict[str, object], said: str) -> None:
    with pytest.raises(GateError, match=said) as caught:
        refuse([proof(RUN), proof(replace(RUN, **change))])  # type: ignore[arg-type]
    assert caught.value.exit_code == 4 and caught.value.message.count("onnx:") == 1


def test_what_is_allowed_passes() -> None:
    near = replace(RUN, difference=1e-3, scores={"accuracy": {"value": 0.896}})
    refuse([proof(RUN), proof(near)])
    assert proof(replace(RUN, scores={"accuracy": {"value": 0.95}})).drop == pytest.approx(-0.05)


def test_less_is_worse_where_less_is_better() -> None:
    more = replace(RUN, scores={"mse": {"value": 0.3}})
    assert proof(more, "mse", -1).faults() == [
        "its mse is 0.3000, the run's 0.2000: worse by 0.1000, and 0.005 is allowed"
    ]
    assert not proof(replace(RUN, scores={"mse": {"value": 0.1}}), "mse", -1).faults()


@pytest.mark.parametrize(("metric", "decides", "drop"), [("mse", "mse", 0.1), ("f1", "accuracy", -0.05)])
def test_the_task_says_which_score_is_better_when_lower(
    monkeypatch: pytest.MonkeyPatch, metric: str, decides: str, drop: float
) -> None:
    found = replace(RUN, scores={"accuracy": {"value": 0.95}, "mse": {"value": 0.3}})
    monkeypatch.setattr(gate, "in_a_fresh_process", lambda *given: (RUN, [found]))
    trained: Any = SimpleNamespace(source=Path("run"), task=SimpleNamespace(sign={"mse": -1, "accuracy": 1}.get))
    folders: Any = [(exporters.find("onnx"), "onnx", Path("out"))]
    rows: Any = None
    (proof,) = gate.prove(trained, folders, rows, EvaluateSpec(), metric, Allowed())
    assert proof.metric == decides and proof.drop == pytest.approx(drop)


def test_a_person_allows_more_or_less_than_the_format() -> None:
    exact, rounding = exporters.find("onnx"), exporters.find("onnx-int8")
    assert Allowed().of(exact, RUN) == (1e-3, 0.005)
    assert Allowed().of(rounding, replace(RUN, rows=1000)) == (rounding.share * 4.0, 0.01)
    assert Allowed(0.5, 0.0).of(rounding, RUN) == (0.5, 0.0)
    assert Allowed().average(rounding, RUN) == rounding.average * 4.0
    assert Allowed().average(exact, RUN) == Allowed(0.5).average(rounding, RUN) == float("inf")


def test_rounding_may_tip_one_of_few_answers_and_no_second() -> None:
    for name, allowed in (("onnx-int8", 1), ("torch-bf16", 1), ("onnx", 0), ("checkpoint", 0)):
        limits = Allowed().of(exporters.find(name), RUN)
        for tipped in range(3):
            found = replace(RUN, scores={"accuracy": {"value": 0.9 - tipped / 7 + 1e-9}})
            assert bool(Proof(name, RUN, found, "accuracy", 1, *limits).faults()) == (tipped > allowed)


def test_an_adapters_size_tells_its_base() -> None:
    adapter = replace(RUN, bytes=92_000_000, base_bytes=91_500_000)
    assert ", 92.0 MB, 91.5 of them its base, 20.00 ms" in proof(adapter).sentence()


def test_times_are_told_by_the_row_and_by_the_runs_speed() -> None:
    told = proof(replace(RUN, seconds={"1": 0.01, "32": 0.16})).sentence()
    assert told.endswith(
        "10.00 ms a row with 1 at once (2.0x the run's speed), 5.00 ms a row with 32 at once (2.5x the run's speed)"
    )


def test_a_task_without_scores_is_judged_by_its_logits() -> None:
    bare = replace(RUN, scores={})
    assert Proof("onnx", bare, bare, "", 1, 1e-3, 0.005).faults() == []
    assert "no score" in Proof("onnx", bare, bare, "", 1, 1e-3, 0.005).sentence()


def test_an_error_may_grow_by_a_share_of_itself_whatever_its_unit() -> None:
    bf16 = exporters.find("torch-bf16")
    for unit in (1e-3, 1.0, 1e9):
        _, drop = Allowed().of(bf16, RUN, unit)
        assert drop == bf16.allow_drop * unit
    assert Allowed(allow_drop=0.1).of(bf16, RUN, 5.0)[1] == 0.1


def test_an_errors_drop_is_a_share_of_the_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "in_a_fresh_process", lambda *given: (RUN, [RUN]))
    trained: Any = SimpleNamespace(source=Path("run"), task=SimpleNamespace(sign={"mse": -1, "accuracy": 1}.get))
    onnx, rows = exporters.find("onnx"), None
    told = []
    for metric in ("mse", "accuracy"):
        (proof,) = gate.prove(trained, [(onnx, "onnx", Path("out"))], rows, EvaluateSpec(), metric, Allowed())
        told.append(proof.allow_drop)
    assert told == [onnx.allow_drop * 0.2, onnx.allow_drop]
