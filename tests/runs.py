"""Small data of every kind of task, recipes that learn it on tiny checkpoints, and runs that tests share."""

from __future__ import annotations

import json
import pickle
import re
import shutil
from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from itertools import combinations, product
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from filelock import FileLock
from safetensors.torch import load_file

from ftkit import trust
from ftkit.engine import gate, infer, parity, speed
from ftkit.engine import model as models
from ftkit.engine.export import export
from ftkit.engine.finish import Finished
from ftkit.engine.prepare import Prepared, prepare
from ftkit.engine.train import train
from ftkit.errors import FTKitError
from ftkit.files import SEAL
from ftkit.recipe import Recipe, override, parse_recipe
from ftkit.settings import EvaluateSpec
from tests.tiny import SENTENCES, save_tiny

LINES = SENTENCES.splitlines()
Rows = list[dict[str, Any]]
SIZES = {"train": 22, "validation": 6, "test": 7}
"""Rows of each split: with 8 a step, an epoch has two whole steps and one of 6 rows."""


def single(random: Random) -> dict[str, Any]:
    return {"text": text(random), "label": random.choice(("arts", "sport", "trade"))}


def long(random: Random) -> dict[str, Any]:
    return {"text": " ".join(random.sample(LINES, random.randint(1, 7))), "label": single(random)["label"]}


def multi(random: Random) -> dict[str, Any]:
    return {"text": text(random), "label": sorted(random.sample(("calm", "long", "new"), random.randint(0, 3)))}


def regression(random: Random) -> dict[str, Any]:
    return {"text": text(random), "label": round(random.uniform(-1, 1), 3)}


def ner(random: Random) -> dict[str, Any]:
    written = text(random)
    names = [match.span() for match in re.finditer(r"(?<=\w )[A-Z][a-z]+", written)]
    return {
        "text": written,
        "entities": [{"start": a, "end": b, "type": random.choice(("LOC", "PER"))} for a, b in names],
    }


def qa(random: Random) -> dict[str, Any]:
    context = " ".join(random.sample(LINES, random.randint(2, 5)))
    answer = random.choice(list(re.finditer(r"\w+ \w+", context)))
    found = {"text": [answer.group()], "answer_start": [answer.start()]}
    return {"question": "What is said about it?", "context": context, "answers": found}


def qa2(random: Random) -> dict[str, Any]:
    row = qa(random)
    return row if random.random() < 0.6 else {**row, "answers": {"text": [], "answer_start": []}}


def summary(random: Random) -> dict[str, Any]:
    lines = random.sample(LINES, random.randint(2, 4))
    references = [" ".join(line.split()[: random.randint(3, 8)]) for line in lines[: random.randint(1, 2)]]
    return {"document": " ".join(lines), "summary": references}


def text(random: Random) -> str:
    return " ".join(random.sample(LINES, random.choice((1, 1, 2, 3))))


WRITTEN = {"target_length": 12, "max_length": 96}
KINDS: dict[str, tuple[str, Callable[[Random], dict[str, Any]], dict[str, Any]]] = {
    "single": ("bert", single, {"name": "classification"}),
    "windows": ("bert", long, {"name": "classification", "max_length": 24, "truncate": "window", "stride": 6}),
    "multi": ("bert", multi, {"name": "classification", "kind": "multi"}),
    "regression": ("bert", regression, {"name": "classification", "kind": "regression"}),
    "ner": ("bert", ner, {"name": "ner", "max_length": 32, "stride": 8}),
    "qa": ("bert", qa, {"name": "qa", "max_length": 64, "stride": 16}),
    "qa2": ("bert", qa2, {"name": "qa", "max_length": 64, "stride": 16}),
    "seq2seq": ("t5", summary, {"name": "summarization", **WRITTEN}),
    "causal": ("llama", summary, {"name": "summarization", **WRITTEN}),
}
"""Kind -> architecture, what makes a row, the task with its options. `windows`, `ner`, `qa` rows need several."""
METHODS = {
    "single": ("full", "head", "lora", "ia3", "adapter"),
    "windows": ("full", "head"),
    "multi": ("lora",),
    "regression": ("full",),
    "ner": ("full", "head", "lora", "ia3", "adapter"),
    "qa": ("full", "head", "lora", "ia3", "adapter"),
    "qa2": ("full",),
    "seq2seq": ("full", "lora", "ia3", "adapter"),
    "causal": ("full", "lora", "ia3", "adapter"),
}
CASES = [(kind, method) for kind, methods in METHODS.items() for method in methods]
"""Every kind with the methods that it is trained with."""
QUICK_CASES = {
    ("single", "full"),
    ("windows", "head"),
    ("multi", "lora"),
    ("regression", "full"),
    ("ner", "ia3"),
    ("qa", "adapter"),
    ("qa2", "full"),
    ("seq2seq", "lora"),
    ("causal", "adapter"),
}
"""Of these, some in which each kind and each method comes."""
USUAL = (
    "model.dropout=0",
    "train.precision=fp32",
    "train.batch=8",
    "train.epochs=1",
    "train.warmup=0",
    "train.schedule=constant",
    "train.learning_rate=1e-3",
)


def write_rows(path: Path, rows: Rows) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def loose(source: Path, to: Path) -> Path:
    """A copy of a trained folder without its seal, which a test may change."""
    return Path(shutil.copytree(source, to, ignore=shutil.ignore_patterns(SEAL)))


def read_jsonl(path: Path) -> Rows:
    return [json.loads(line) for line in path.read_text().split("\n") if line]  # a text may hold other line breaks


def rows(kind: str, split: str, count: int | None = None) -> Rows:
    random = Random(f"{kind}/{split}")
    return [KINDS[kind][1](random) for _ in range(count or SIZES[split])]


def slow_but(cases: Sequence[Any], quick: Collection[Hashable]) -> list[Any]:
    """Cases of a test, of which all but some are slow."""
    parts = [case if isinstance(case, tuple) else (case,) for case in cases]
    marks = [() if case in quick else pytest.mark.slow for case in cases]
    return [pytest.param(*each, marks=mark) for each, mark in zip(parts, marks, strict=True)]


def paired(*values: Sequence[Hashable]) -> list[Any]:
    """All combinations of some parameters' values; slow are those without which every two values still meet."""
    cases = list(product(*values))
    pairs = {case: set(combinations(enumerate(case), 2)) for case in cases}
    left, quick = set().union(*pairs.values()), set[Hashable]()
    while left:
        most = max(cases, key=lambda case: len(pairs[case] & left))
        quick.add(most)
        left -= pairs[most]
    return slow_but(cases, quick)


class Lab:
    """Makes each checkpoint, data file and run once.

    Tests that go on side by side, in processes of their own, find what one of them has made under `shared`;
    `folder` is this process's alone.
    """

    def __init__(self, folder: Path, shared: Path) -> None:
        self.folder, self.shared = folder, shared
        self.runs: dict[tuple[Any, ...], Finished] = {}
        self.ready: dict[tuple[Any, ...], Prepared] = {}

    def once(self, path: Path, make: Callable[[Path], Any]) -> Path:
        """What `make` writes to a path below `shared`; whoever comes while it is being made waits."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f"{path.name}.lock")):
            if not path.exists():
                make(path)
        return path

    def checkpoint(self, architecture: str) -> Path:
        return self.once(self.shared / "checkpoints" / architecture, lambda path: save_tiny(path, architecture))

    def file(self, kind: str, split: str) -> Path:
        path = self.shared / "data" / kind / f"{split}.jsonl"
        return self.once(path, lambda path: write_rows(path, rows(kind, split)))

    def recipe(self, kind: str, *settings: str) -> Recipe:
        """The kind's recipe, `settings` (as `--set` takes them) laid over what is usual here."""
        architecture, _, task = KINDS[kind]
        raw: dict[str, Any] = {
            "task": task,
            "model": {"checkpoint": str(self.checkpoint(architecture))},
            "data": {split: str(self.file(kind, split)) for split in SIZES},
        }
        return parse_recipe(override(raw, (*USUAL, *settings)), kind)

    def new(self) -> Path:
        """A path where nothing stands."""
        return self.folder / "runs" / f"{len(list((self.folder / 'runs').glob('*'))):03}"

    def prepared(self, kind: str, *settings: str) -> Prepared:
        """The kind's data, task, labels and tokenizer, which tests only read."""
        if (kind, settings) not in self.ready:
            self.ready[kind, settings] = prepare(self.recipe(kind, *settings))
        return self.ready[kind, settings]

    def train(self, kind: str, *settings: str, processes: int = 1) -> Finished:
        """The trained run of a recipe, which tests only read."""
        key = (kind, settings, processes)
        if key not in self.runs:
            recipe = self.recipe(kind, *settings)
            home = self.shared / "trained" / sha256(repr(key).encode()).hexdigest()[:12]

            def make(told: Path) -> None:
                shutil.rmtree(home, ignore_errors=True)  # of a training that failed
                told.write_bytes(pickle.dumps(train(recipe, home / "run", processes)))

            self.runs[key] = pickle.loads(self.once(home.with_suffix(".pickle"), make).read_bytes())
            trust.remember(recipe.model_dump())  # another process may have trained it, under a cache of its own
        return self.runs[key]

    def trained(self, kind: str, method: str) -> Finished:
        """The usual run of a case, with weights that have moved far enough to be told from the checkpoint's."""
        return self.train(kind, f"method={method}", f"train.learning_rate={0.002 if 'qa' in kind else 0.02}")

    def exported(self, kind: str, method: str) -> Path:
        """The plain checkpoint that `export` makes of the usual run of a case, which tests only read."""
        source = self.trained(kind, method).run
        home = self.shared / "exported" / f"{kind}-{method}"

        def make(folder: Path) -> None:
            with gate_here():
                export(source, folder)

        return self.once(home, make)


@contextmanager
def gate_here() -> Iterator[None]:
    """Exports are measured in this process, where all is imported already, and each batch once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(speed, "PATIENCE", 0.0)
        patch.setattr(gate, "in_a_fresh_process", parity.measure)
        yield


def log(run: Path, kind: str = "train") -> Rows:
    """The entries of a run's log for steps (`train`) or validations."""
    return [entry for entry in read_jsonl(run / "log.jsonl") if entry["kind"] == kind]


def curve(run: Path) -> dict[str, list[float]]:
    """Loss and gradient norm of each step."""
    return {name: [entry[name] for entry in log(run)] for name in ("loss", "grad_norm")}


def weights(run: Path) -> dict[str, torch.Tensor]:
    """The weights that a run keeps."""
    return load_file(run / "model" / "model.safetensors")


def refused(recipe: Recipe, path: Path, processes: int | None = None) -> FTKitError:
    """The error that a training ends with before its first step; that nothing is left behind is checked."""
    stands = sorted(path.parent.rglob("*")) if path.parent.exists() else None
    with pytest.raises(FTKitError) as caught:
        train(recipe, path, processes)
    assert (sorted(path.parent.rglob("*")) if path.parent.exists() else None) == stands
    return caught.value


def assert_close(ours: Any, theirs: Any, tolerance: float) -> None:
    """Equal answers, but for real numbers, which may differ by `tolerance`."""
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys()
        ours, theirs = list(ours.values()), list(theirs.values())
    if isinstance(ours, list):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert_close(one, other, tolerance)
    elif isinstance(ours, float):
        assert ours == pytest.approx(theirs, abs=tolerance, rel=0)
    else:
        assert ours == theirs


def answers(source: Path, examples: Sequence[Any], batch_tokens: int = 8192) -> Rows:
    """What a trained folder answers to prepared rows."""
    t = models.load(source)
    return list(
        infer.predict(t.model, t.task, t.tokenizer, t.labels, examples, EvaluateSpec(batch_tokens=batch_tokens))
    )
