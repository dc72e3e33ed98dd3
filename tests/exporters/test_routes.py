"""The same rows on every road: Python, `ftkit predict`, `ftkit serve`, and all of that with each export."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ftkit import exporters
from ftkit.engine.export import MANIFEST, export
from ftkit.engine.predict import Predictor
from tests.command import ftkit
from tests.exporters.cases import offered
from tests.runs import LINES, Lab, assert_close, read_jsonl, rows, write_rows
from tests.serving.served import answered, listening, server_of

COUNT, AT_ONCE, ALONE = 500, 50, 100
TIPPED = 0.01
"""Share of rows where formats that round may say something else than the run: where it is in two minds."""
RUNS = [("single", "full", 1e-3), ("single", "lora", 5e-3), ("ner", "full", 1e-3)]
"""Kind, method and a learning rate at which it learns."""


def told(answer: dict[str, Any]) -> Any:
    """What an answer says, without how sure it is."""
    if "entities" in answer:
        return [(one["start"], one["end"], one["type"]) for one in answer["entities"]]
    return answer["label"]


def rounds(name: str) -> bool:
    """Whether a format's numbers are rounded; the run's own are not, here."""
    return bool(name) and exporters.find(name).tolerance is None


def apart(name: str) -> float:
    """How far a format's numbers for a row may lie from each other, whatever rows are beside it."""
    alone = bool(name) and exporters.find(name).alone
    return 0.0 if alone else 0.01 if rounds(name) else 1e-5


def learnable(kind: str, name: str, count: int) -> list[dict[str, Any]]:
    """Rows whose labels follow from their words."""
    made = rows(kind, name, count)
    for row in made:
        if kind == "ner":
            for one in row["entities"]:
                one["type"] = "PER" if (one["end"] - one["start"]) % 2 else "LOC"
        else:
            first = next(i for i, line in enumerate(LINES) if row["text"].startswith(line))
            row["label"] = ("arts", "sport", "trade")[first % 3]
    return made


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "method", "rate"), RUNS)
def test_all_roads_lead_to_the_same_answers(lab: Lab, tmp_path: Path, kind: str, method: str, rate: float) -> None:
    taught = write_rows(tmp_path / "taught.jsonl", learnable(kind, "taught", 120))
    settings = (
        f"data.train={taught}",
        "data.validation=null",
        f"method={method}",
        "train.epochs=24",
        f"train.learning_rate={rate}",
    )
    run = lab.train(kind, *settings).run
    texts = [{"text": row["text"]} for row in rows(kind, "roads", COUNT)]
    file = write_rows(tmp_path / "rows.jsonl", texts)
    exact = list(Predictor(run, precision="fp32")(texts))
    assert len({str(told(answer)) for answer in exact}) > 2
    export(run, tmp_path / "out", offered(method))
    for name in ("", *offered(method)):
        source = tmp_path / "out" / name if name else run
        python = list(Predictor(source)(texts))
        assert ftkit("predict", source, "--input", file, "--output", tmp_path / f"{name}.jsonl").code == 0
        assert read_jsonl(tmp_path / f"{name}.jsonl") == python
        with listening(server_of(source)) as client:
            served = [each for i in range(0, COUNT, AT_ONCE) for each in answered(client, texts[i : i + AT_ONCE])]
            served += [each for text in texts[:ALONE] for each in answered(client, [text])]
        assert list(map(told, served)) == list(map(told, [*python, *python[:ALONE]])), name
        assert_close(served, [*python, *python[:ALONE]], apart(name))
        tolerance = json.loads((source / MANIFEST).read_text())["parity"]["tolerance"] if name else 1e-5
        same = [pair for pair in zip(python, exact, strict=True) if told(pair[0]) == told(pair[1])]
        assert COUNT - len(same) <= (COUNT * TIPPED if rounds(name) else 0), name
        for found, known in same:
            assert_close(found, known, tolerance)
