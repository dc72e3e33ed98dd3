"""Likely label errors: planted ones are found, a row's own label is never learned from when it is judged."""

from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
import pytest

from ftkit.data.load import load
from ftkit.engine import noise
from ftkit.engine.noise import Judged, out_of_fold
from ftkit.errors import RecipeError
from ftkit.findings import Finding
from ftkit.plugins import resolve
from ftkit.recipe import Recipe
from ftkit.tasks._base import Task
from ftkit.terminal import Progress
from tests.runs import Lab, Rows, write_rows

WORDS = {
    "praise": ("lovely", "warm", "splendid", "kind", "bright", "fresh"),
    "blame": ("cold", "rude", "dull", "broken", "stale", "noisy"),
}
THINGS = ("room", "soup", "waiter", "garden", "bed", "view", "coffee", "staircase")


def opinions(count: int) -> Rows:
    random = Random(5)
    labels = [random.choice(sorted(WORDS)) for _ in range(count)]
    said = [" and ".join(random.sample(WORDS[label], 2)) for label in labels]
    return [
        {"text": f"the {random.choice(THINGS)} was {words}", "label": label}
        for words, label in zip(said, labels, strict=True)
    ]


def found_in(recipe: Recipe) -> tuple[list[Finding], str]:
    task = resolve("task", recipe.task, Task)
    loaded = load(recipe.data, task.shapes())
    return noise.find(recipe, loaded, loaded.shape, Progress(show=False))


def test_planted_label_errors_are_the_first_suspects(lab: Lab) -> None:
    rows = opinions(200)
    planted = set(Random(1).sample(range(200), 12))
    for i in planted:
        rows[i]["label"] = "blame" if rows[i]["label"] == "praise" else "praise"
    file = write_rows(lab.folder / "noise" / "train.jsonl", rows)
    (finding,), note = found_in(lab.recipe("single", f"data.train={file}", "data.validation=0", "data.test=null"))
    first = [place.row - 1 for place in finding.places[:12]]
    assert len(set(first) & planted) >= 11
    assert all(place.split == "train" and "seems likelier" in place.text for place in finding.places)
    assert "9" in note.split("%")[0]


def test_clean_labels_raise_no_alarm(lab: Lab) -> None:
    file = write_rows(lab.folder / "noise" / "clean.jsonl", opinions(200))
    findings, _ = found_in(lab.recipe("single", f"data.train={file}", "data.validation=0", "data.test=null"))
    assert findings == []


def test_words_with_the_wrong_type_are_found(lab: Lab, tmp_path: Path) -> None:
    random = Random(2)
    rows = [
        {"tokens": ["we", "met", name, "again"], "tags": ["O", "O", tag, "O"]}
        for name, tag in random.choices((("Marta", "B-PER"), ("Lisbon", "B-LOC")), k=80)
    ]
    planted = [3, 17, 42]
    for i in planted:
        rows[i]["tags"] = ["O", "O", "B-LOC" if rows[i]["tags"][2] == "B-PER" else "B-PER", "O"]
    file = write_rows(tmp_path / "train.jsonl", rows)
    (finding,), _ = found_in(lab.recipe("ner", f"data.train={file}", "data.validation=0", "data.test=null"))
    assert {place.row - 1 for place in finding.places[:3]} == set(planted)


def test_rows_of_one_group_are_held_out_together() -> None:
    """Twins would give each other away: with them in one group, the wrong label of both is found."""
    random = np.random.default_rng(0)
    twins = random.normal(size=(40, 5))
    features, given = np.repeat(twins, 2, axis=0), np.repeat((twins[:, 0] > 0).astype(int), 2)
    given[:2] = 1 - given[:2]
    groups = [str(i // 2) for i in range(80)]
    judged = noise.Judged([("train", i, "") for i in range(80)], list(map(str, given)), features, groups, "texts")
    probabilities = noise.out_of_fold(judged, given, 2)
    assert probabilities[0] == pytest.approx(probabilities[1])
    assert probabilities[0, given[0]] < 0.5


@pytest.mark.parametrize("kind", ["multi", "regression", "qa"])
def test_other_targets_are_refused(lab: Lab, kind: str) -> None:
    with pytest.raises(RecipeError, match="--noise"):
        found_in(lab.recipe(kind))


def test_labels_that_are_too_rare_are_not_judged(lab: Lab) -> None:
    with pytest.raises(RecipeError, match="fewer than two labels"):
        file = lab.file("single", "test")
        found_in(lab.recipe("single", f"data.train={file}", "data.validation=0", "data.test=null"))


@pytest.mark.parametrize("documents", [2, 3])
def test_few_documents_are_few_folds(lab: Lab, documents: int) -> None:
    rows = [{**row, "group": str(i % documents)} for i, row in enumerate(opinions(60))]
    file = write_rows(lab.folder / "noise" / f"of{documents}.jsonl", rows)
    settings = (f"data.train={file}", "data.validation=0", "data.test=null", "data.group=group")
    _, note = found_in(lab.recipe("single", *settings))
    assert "of the labels are those" in note


def test_label_of_one_document_is_not_judged(lab: Lab) -> None:
    rows = [{**row, "group": "all" if row["label"] == "praise" else str(i)} for i, row in enumerate(opinions(60))]
    file = write_rows(lab.folder / "noise" / "one.jsonl", rows)
    settings = (f"data.train={file}", "data.validation=0", "data.test=null", "data.group=group")
    with pytest.raises(RecipeError, match="fewer than two labels"):
        found_in(lab.recipe("single", *settings))


def test_checkpoint_that_has_learned_may_know_the_labels(lab: Lab) -> None:
    file = write_rows(lab.folder / "noise" / "known.jsonl", opinions(60))
    settings = (f"data.train={file}", "data.validation=0", "data.test=null")
    run = lab.train("single", *settings).run
    _, note = found_in(lab.recipe("single", *settings, f"model.checkpoint={run}"))
    assert f"(but {run} may have, in its own training)" in note


def test_rows_are_judged_by_the_one_label_that_the_others_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise, "part", lambda *_, **__: [(range(4, 8), range(4)), (range(4), range(4, 8))])
    judged = Judged([], ["a"] * 4 + ["b"] * 4, np.eye(8), [str(i // 2) for i in range(8)], "label")
    given = np.array([0] * 4 + [1] * 4)
    assert out_of_fold(judged, given, 2).tolist() == [[0, 1]] * 4 + [[1, 0]] * 4
