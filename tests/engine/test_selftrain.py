"""Self-training: what a round learns from, what is kept, and what is told of it."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from ftkit.errors import RecipeError
from tests.runs import Lab, Rows, answers, refused, rows, weights, write_rows

LEARN = ("train.learning_rate=0.02", "evaluate.calibrate=false")


def plain(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture(scope="module")
def texts(lab: Lab) -> Path:
    """Some of which stand in the test rows, which must not be learned from."""
    own = [{"text": row["text"]} for row in rows("single", "unlabeled", 30)]
    held = [{"text": f" {row['text']}  "} for row in rows("single", "test")]
    return write_rows(lab.folder / "data" / "single" / "unlabeled.jsonl", [*own, *held])


@pytest.fixture(scope="module")
def said(lab: Lab, texts: Path) -> Rows:
    """What the training without them answers to the texts that no held-out row has."""
    held = {plain(row["text"]) for split in ("test", "validation") for row in rows("single", split)}
    free = [row for row in map(json.loads, texts.read_text().splitlines()) if plain(row["text"]) not in held]
    assert len(free) < 37
    return answers(lab.train("single", *LEARN).run, free)


@pytest.fixture(scope="module")
def sure(said: Rows) -> float:
    """A probability that about half of the answers have."""
    return statistics.median(answer["score"] for answer in said)


@pytest.fixture(scope="module")
def run(lab: Lab, texts: Path, sure: float) -> Path:
    settings = (f"data.unlabeled={texts}", f"data.unlabeled_confidence={sure}", "data.unlabeled_rounds=2")
    return lab.train("single", *LEARN, *settings).run


def told(run: Path) -> dict[str, Any]:
    return json.loads((run / "self_training.json").read_text())


def test_the_first_round_is_the_training_without(lab: Lab, run: Path) -> None:
    alone = lab.train("single", *LEARN)
    first = json.loads((run / "rounds" / "0" / "scores.json").read_text())
    assert first["scores"] == alone.scores
    assert first["examples"] == 22


def test_texts_are_learned_from_under_the_labels_that_the_round_before_is_sure_of(
    run: Path, said: Rows, sure: float
) -> None:
    labels = Counter(answer["label"] for answer in said if answer["score"] >= sure)
    found = told(run)
    assert found["texts"] == len(said)
    assert 0 < labels.total() < len(said)
    assert found["rounds"][1]["labels"] == dict(labels)
    assert json.loads((run / "rounds" / "1" / "scores.json").read_text())["examples"] == 22 + labels.total()


def test_the_best_round_by_validation_is_kept_and_scored(run: Path) -> None:
    found = told(run)
    values = [one["validation"] for one in found["rounds"]]
    assert found["kept"] == values.index(max(values))
    scores = json.loads((run / "scores.json").read_text())["scores"]
    assert scores["validation"]["accuracy"]["value"] == max(values)
    assert scores["test"]["accuracy"]["value"] == found["rounds"][found["kept"]]["test"]
    assert not list((run / "rounds").glob("*/model"))


def test_the_difference_told_is_the_last_round_s(run: Path) -> None:
    found = told(run)
    assert found["difference"]["value"] == pytest.approx(found["rounds"][-1]["test"] - found["rounds"][0]["test"])
    assert found["verdict"] in ("better", "worse", "not distinguishable")


def test_where_nothing_is_sure_the_model_is_the_one_without(lab: Lab, texts: Path) -> None:
    run = lab.train("single", *LEARN, f"data.unlabeled={texts}", "data.unlabeled_confidence=0.9999").run
    assert told(run)["kept"] == 0 and "difference" not in told(run)
    alone = weights(lab.train("single", *LEARN).run)
    assert all(torch.equal(value, alone[name]) for name, value in weights(run).items())


@pytest.mark.parametrize("kind", ["multi", "regression", "ner", "qa"])
def test_tasks_without_one_sure_label_refuse_it(lab: Lab, texts: Path, kind: str) -> None:
    assert "data.unlabeled" in str(refused(lab.recipe(kind, f"data.unlabeled={texts}"), lab.new()))


def test_what_does_not_go_together_is_refused(lab: Lab, texts: Path) -> None:
    with pytest.raises(RecipeError, match=r"data\.unlabeled and train\.seeds"):
        lab.recipe("single", f"data.unlabeled={texts}", "train.seeds=2")
    assert "one process" in str(refused(lab.recipe("single", f"data.unlabeled={texts}"), lab.new(), processes=2))
    assert "validation" in str(
        refused(lab.recipe("single", f"data.unlabeled={texts}", "data.validation=null"), lab.new())
    )
    held = lab.file("single", "test")
    assert "no text that no held-out row has" in str(refused(lab.recipe("single", f"data.unlabeled={held}"), lab.new()))
