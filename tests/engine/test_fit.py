"""One training: what it records."""

from __future__ import annotations

import json

import pytest

from ftkit.engine import pretrained
from ftkit.methods._layers import trainable
from tests.runs import CASES, Lab, log


@pytest.mark.parametrize(("kind", "method"), [case for case in CASES if case[0] in ("single", "causal")])
def test_environment_counts_what_learned(lab: Lab, kind: str, method: str) -> None:
    run = lab.trained(kind, method)
    found = json.loads((run.run / "environment.json").read_text())
    prepared = lab.prepared(kind, f"method={method}")
    built = pretrained.build(prepared.base.path, prepared.task, prepared.labels)
    peft_type = "CAUSAL_LM" if kind == "causal" else prepared.task.peft_type
    assert (found["trainable_parameters"], found["parameters"]) == trainable(prepared.method.apply(built, peft_type))
    assert (found["precision"], found["processes"], found["epochs"]) == ("fp32", 1, 1)


def test_log_tells_loss_norm_and_rate_of_each_step_and_the_validations(lab: Lab) -> None:
    run = lab.train("regression", "train.epochs=2")
    assert [entry.keys() >= {"step", "epoch", "loss", "grad_norm", "learning_rate"} for entry in log(run.run)] == [
        True
    ] * 6
    assert [(entry["step"], entry["epoch"]) for entry in log(run.run, "validation")] == [(3, 1), (6, 2)]
