"""`check_task` passes what keeps the contract, and names the promise that a task breaks."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from ftkit import plugins, testing
from ftkit.errors import CheckpointError
from ftkit.tasks._base import Column, Task
from ftkit.tasks.classification import Classification
from ftkit.testing import check_task
from tests.runs import KINDS, rows
from tests.tasks.test_contract import truth

EXAMPLES = rows("single", "test")


@pytest.mark.parametrize("kind", KINDS)
def test_shipped_tasks_keep_the_contract(kind: str) -> None:
    architecture, _, task = KINDS[kind]
    found: Any = plugins.find("task", task["name"], Task)
    if architecture == "llama":
        found = type("Causal", (found,), {"auto_class": "AutoModelForCausalLM"})
    options = {name: value for name, value in task.items() if name != "name"}
    examples = rows(kind, "test")
    perfect = [truth(kind, example) for example in examples]
    assert len(check_task(found, examples, options=options, truth=perfect)) == len(examples)


def test_checkpoint_of_ones_own_is_taken(lab: Any) -> None:
    check_task(Classification, EXAMPLES, checkpoint=lab.checkpoint("roberta"))


def test_checkpoint_may_be_a_name() -> None:
    with pytest.raises(CheckpointError, match="Did you mean the starter minilm"):
        check_task(Classification, EXAMPLES, checkpoint="minilmm")


def test_promises_are_held_where_assertions_are_switched_off() -> None:
    script = "from ftkit.testing import check_task; check_task(object, [])"
    done = subprocess.run([sys.executable, "-O", "-c", script], capture_output=True, text=True, check=False)
    assert "AssertionError: check_task needs four examples or more, and got 0" in done.stderr
    source = Path(testing.__file__).read_text(encoding="utf-8")
    assert not any(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(source)))


class Bad(Classification):
    """What the tasks below break one promise of."""

    summary = "breaks a promise"


class Undescribed(Bad):
    class Options(Bad.Options):
        depth: int = 3


class Forgetful(Bad):
    columns: ClassVar[tuple[Column, ...]] = (Column("text", "text"),)


class Misnamed(Bad):
    auto_class = "AutoModelForEverything"


class Unordered(Bad):
    def labels(self, train: Any, wanted: Any = None) -> tuple[str, ...]:
        return tuple(dict.fromkeys(train["label"]))


class Peeking(Bad):
    def label_ids(self, batch: Any, labels: Any) -> dict[str, list[Any]]:
        return super().label_ids(batch, labels) or {"labels": [0] * len(batch["text"])}


class Shuffled(Bad):
    def encode(self, batch: Any, tokenizer: Any, labels: Any) -> Any:
        encoded = super().encode(batch, tokenizer, labels)
        return {**encoded, "example": list(range(len(batch["text"])))[::-1]}


class Crowded(Bad):
    def encode(self, batch: Any, tokenizer: Any, labels: Any) -> Any:
        longest = max(batch["text"], key=len)
        return super().encode({**batch, "text": [longest] * len(batch["text"])}, tokenizer, labels)


class Untaught(Bad):
    def label_ids(self, batch: Any, labels: Any) -> dict[str, list[Any]]:
        return {}


class Averaging(Bad):
    def loss(self, outputs: Any, batch: Any, weighting: Any) -> Any:
        return super().loss(outputs, batch, weighting) / len(batch["labels"])


class Counting(Bad):
    def loss_size(self, batch: Any, weighting: Any) -> Any:
        return super().loss_size(batch, weighting) ** 0


class Dropping(Bad):
    def decode(self, *arguments: Any) -> list[dict[str, Any]]:
        return super().decode(*arguments)[1:]


class Tuples(Bad):
    def decode(self, *arguments: Any) -> list[dict[str, Any]]:
        return [{**answer, "both": (1, 2)} for answer in super().decode(*arguments)]


class Arrays(Bad):
    def decode(self, outputs: Sequence[Any], *arguments: Any) -> list[dict[str, Any]]:
        return [{**a, "raw": o["logits"]} for a, o in zip(super().decode(outputs, *arguments), outputs, strict=True)]


class Numbered(Bad):
    def decode(self, *arguments: Any) -> list[dict[str, Any]]:
        return [{**answer, "place": i} for i, answer in enumerate(super().decode(*arguments))]


class Silent(Bad):
    def render(self, example: Any, prediction: Any) -> Any:
        return None


class Unscored(Bad):
    best_metric = "elegance"


class Harsh(Bad):
    def score(self, predictions: Any, examples: Any) -> Any:
        return {
            name: {**score, "value": score["value"] / 2} for name, score in super().score(predictions, examples).items()
        }


BROKEN: dict[type[Task], str] = {
    Undescribed: "Options.depth needs a sentence",
    Forgetful: "has nothing to answer",
    Misnamed: "no AutoModelForEverything",
    Unordered: "order of the labels",
    Peeking: "makes up targets",
    Shuffled: "keep the examples' order",
    Crowded: "other inputs alone",
    Untaught: "makes no labels",
    Averaging: "sum of its parts' losses",
    Counting: "loss_size of a batch",
    Dropping: "answers for 7 examples",
    Tuples: "come back from JSON",
    Arrays: "plain values",
    Numbered: "where it stands",
    Silent: "render must give text",
    Unscored: "score gives no elegance",
    Harsh: "the truth gets accuracy 0.5",
}


@pytest.mark.parametrize("task", BROKEN, ids=lambda task: task.__name__)
def test_broken_promise_is_named(task: type[Task]) -> None:
    with pytest.raises(AssertionError, match=BROKEN[task]):
        check_task(task, EXAMPLES, truth=[truth("single", example) for example in EXAMPLES])


def test_whole_of_it_passes() -> None:
    """Else each refusal above could be of something else."""
    check_task(Bad, EXAMPLES, truth=[truth("single", example) for example in EXAMPLES])
