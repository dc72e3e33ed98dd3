"""A task of one's own is one file beside a recipe: it trains, evaluates, predicts and exports like any other."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pytest

from ftkit import plugins
from ftkit.tasks._base import Task
from ftkit.testing import check_task
from tests.command import ftkit
from tests.runs import LINES, Lab, read_jsonl, write_rows

STANCE = '''
from ftkit.tasks.classification import Classification
from ftkit.tasks._base import Column


class Stance(Classification):
    """Does the text favour, oppose, or ignore its target?"""

    summary = "stance of a text towards a target"
    columns = (Column("text", "text"), Column("target", "text"), Column("label", "label"))
    best_metric = "f1"

    def encode(self, batch, tokenizer, labels):
        cut = {"truncation": "only_second", "max_length": self.options.max_length}
        return tokenizer(batch["target"], batch["text"], **cut) | self.label_ids(batch, labels)
'''
WORDS = '''
from ftkit.tasks._base import Column, Task


class WordCount(Task):
    """How many words a text has, as a regression from scratch."""

    summary = "count the words of a text"
    columns = (Column("text", "text"), Column("count", "number"))
    auto_class = "AutoModelForSequenceClassification"
    peft_type = "SEQ_CLS"
    best_metric = "mae"

    class Options(Task.Options):
        scale: float = 10.0
        """What a count is divided by before the model sees it."""

    def encode(self, batch, tokenizer, labels):
        encoded = dict(tokenizer(batch["text"], truncation=True, max_length=self.options.max_length))
        if "count" in batch:
            encoded["labels"] = [count / self.options.scale for count in batch["count"]]
        return encoded

    def model_settings(self, labels):
        return {"num_labels": 1}

    def loss(self, outputs, batch, weighting):
        return (outputs.logits.float().squeeze(-1) - batch["labels"]).abs().sum()

    def decode(self, outputs, encoded, examples, tokenizer, labels):
        return [{"count": float(output["logits"][0]) * self.options.scale} for output in outputs]

    def score(self, predictions, examples):
        errors = [abs(p["count"] - count) for p, count in zip(predictions, examples["count"], strict=True)]
        return {"mae": {"value": sum(errors) / len(errors), "n": len(errors)}}

    def render(self, example, prediction):
        return f"{prediction['count']:.1f} words: {example['text']}"
'''
TONGUES = '''
from ftkit.tasks._base import Column, Task


class Tongues(Task):
    """Which language each word is of: a label a token, from scratch."""

    summary = "tell the language of each word"
    columns = (Column("tokens", "tokens"), Column("tags", "tags"))
    auto_class = "AutoModelForTokenClassification"
    peft_type = "TOKEN_CLS"
    best_metric = "accuracy"
    splits_words = True
    per_token = True

    def labels(self, train, wanted=None):
        return tuple(sorted({tag for tags in train["tags"] for tag in tags}))

    def encode(self, batch, tokenizer, labels):
        cut = {"truncation": True, "max_length": self.options.max_length}
        encoded = tokenizer(batch["tokens"], is_split_into_words=True, **cut)
        words = [encoded.word_ids(i) for i in range(len(batch["tokens"]))]
        rows = {**encoded, "words": words}
        if "tags" in batch:
            rows["labels"] = [
                [-100 if word is None else labels.index(tags[word]) for word in row]
                for row, tags in zip(words, batch["tags"], strict=True)
            ]
        return rows

    def decode(self, outputs, encoded, examples, tokenizer, labels):
        answers = []
        for output, words, example in zip(outputs, encoded["words"], examples, strict=True):
            best = output["logits"].argmax(-1)
            first = {word: int(best[i]) for i, word in reversed(list(enumerate(words))) if word is not None}
            answers.append({"tongues": [labels[first.get(i, 0)] for i in range(len(example["tokens"]))]})
        return answers

    def score(self, predictions, examples):
        pairs = [
            (guess, tag)
            for p, tags in zip(predictions, examples["tags"], strict=True)
            for guess, tag in zip(p["tongues"], tags, strict=True)
        ]
        return {"accuracy": {"value": sum(guess == tag for guess, tag in pairs) / len(pairs), "n": len(pairs)}}
'''


def stance(random: Random) -> dict[str, Any]:
    line, label = random.choice(LINES), random.choice(("against", "favour", "none"))
    return {"text": line, "target": random.choice(("trains", "books")), "label": label}


def words(random: Random) -> dict[str, Any]:
    text = " ".join(random.choice(LINES).split()[: random.randint(1, 12)])
    return {"text": text, "count": len(text.split())}


def tongues(random: Random) -> dict[str, Any]:
    tokens = [random.choice(("the", "river", "films", "der", "fluss", "und")) for _ in range(random.randint(2, 9))]
    return {"tokens": tokens, "tags": ["de" if token in ("der", "fluss", "und") else "en" for token in tokens]}


class Own(NamedTuple):
    """A task of one's own: its file, what makes a row, what an answer has, a row to answer."""

    source: str
    row: Any
    keys: set[str]
    ask: str


OWN = {
    "stance": Own(STANCE, stance, {"label", "score"}, '{"text": "I like trains.", "target": "trains"}'),
    "words": Own(WORDS, words, {"count"}, "five words in a row"),
    "tongues": Own(TONGUES, tongues, {"tongues"}, '{"tokens": ["der", "river"]}'),
}


def write(lab: Lab, folder: Path, name: str) -> Path:
    """The task's file, its data, and a recipe that names both by their place beside it."""
    random, own = Random(name), OWN[name]
    (folder / f"{name}.py").write_text(own.source)
    for split, count in (("train", 48), ("test", 12)):
        write_rows(folder / f"{split}.jsonl", [own.row(random) for _ in range(count)])
    recipe = folder / "mine.yaml"
    recipe.write_text(
        f"task: ./{name}.py\nmodel: {{checkpoint: {lab.checkpoint('bert')}, dropout: 0}}\n"
        "data: {train: train.jsonl, test: test.jsonl}\n"
        "train: {epochs: 8, batch: 8, learning_rate: 2e-3, precision: fp32}\n"
    )
    return recipe


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("name", OWN)
def test_own_task_trains_evaluates_predicts_and_exports(lab: Lab, tmp_path: Path, name: str, method: str) -> None:
    recipe, own = write(lab, tmp_path, name), OWN[name]
    done = ftkit("train", recipe, "--set", f"method={method}", "--run", tmp_path / "run", "--json")
    assert done.code == 0, done.err
    scores = json.loads(done.out)["scores"]["test"]
    if name != "stance":
        untrained = ftkit("train", recipe, "--set", "train.epochs=0", "--run", tmp_path / "untrained", "--json")
        (metric,) = scores
        before = json.loads(untrained.out)["scores"]["test"][metric]["value"]
        better = scores[metric]["value"] < before / 2 if metric == "mae" else scores[metric]["value"] > before + 0.2
        assert better, f"the task learns what it is taught: {before} before, {scores} after"
    assert json.loads(ftkit("eval", tmp_path / "run", "--json").out)["scores"]["test"] == scores
    done = ftkit("predict", tmp_path / "run", "--input", tmp_path / "test.jsonl")
    answers = [json.loads(line) for line in done.out.splitlines()]
    assert answers == read_jsonl(tmp_path / "run" / "predictions" / "test.jsonl") and len(answers) == 12
    assert ftkit("export", tmp_path / "run", "--to", tmp_path / "out").code == 0
    told = [
        json.loads(ftkit("predict", place, own.ask, "--json").out) for place in (tmp_path / "run", tmp_path / "out")
    ]
    assert told[0].keys() == told[1].keys() == own.keys
    shown = ftkit("predict", tmp_path / "out", own.ask)
    assert shown.code == 0 and shown.out.strip()


@pytest.mark.parametrize("name", OWN)
def test_own_task_keeps_the_contract(lab: Lab, tmp_path: Path, name: str) -> None:
    write(lab, tmp_path, name)
    found = plugins.find("task", str(tmp_path / f"{name}.py"), Task)
    assert len(check_task(found, read_jsonl(tmp_path / "test.jsonl"))) == 12


def test_options_of_ones_own_are_typed_and_kept(lab: Lab, tmp_path: Path) -> None:
    recipe = write(lab, tmp_path, "words")
    wrong = ftkit("train", recipe, "--set", "task={name: ./words.py, scale: big}", "--run", tmp_path / "run")
    assert wrong.code == 3  # a path in --set counts from the current folder
    wrong = ftkit("train", recipe, "--set", "task.scale=big", "--set", "task.scael=1", "--run", tmp_path / "run")
    assert wrong.code == 3 and "task.scale: must be a number" in wrong.err and "did you mean task.scale?" in wrong.err
    assert ftkit("train", recipe, "--set", "task.scale=100", "--run", tmp_path / "run").code == 0
    assert "scale: 100.0" in (tmp_path / "run" / "recipe.yaml").read_text()


def test_own_task_runs_in_several_folds(lab: Lab, tmp_path: Path) -> None:
    recipe = write(lab, tmp_path, "stance")
    done = ftkit(
        "train", recipe, "--set", "train.folds=2", "--set", "train.epochs=1", "--run", tmp_path / "run", "--json"
    )
    told = json.loads(done.out)
    assert (
        told["scores"]["folds"]["f1"]["n"]
        == told["examples"]
        == len(read_jsonl(tmp_path / "run/predictions/folds.jsonl"))
    )


def test_own_task_whose_file_is_gone_is_named(lab: Lab, tmp_path: Path) -> None:
    recipe = write(lab, tmp_path, "stance")
    ftkit("train", recipe, "--set", "train.epochs=0", "--run", tmp_path / "run")
    (tmp_path / "stance.py").rename(tmp_path / "moved.py")
    done = ftkit("predict", tmp_path / "run", OWN["stance"].ask)
    assert done.code == 3 and "there is no file" in done.err and "stance.py" in done.err
