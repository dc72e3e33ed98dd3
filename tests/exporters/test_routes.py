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
from tests.runs import Lab, assert_close, read_jsonl, rows, write_rows
from tests.serving.served import answered, listening, server_of

COUNT, AT_ONCE = 500, 50


def told(answer: dict[str, Any]) -> Any:
    """What an answer says, without how sure it is."""
    if "entities" in answer:
        return [(one["start"], one["end"], one["type"]) for one in answer["entities"]]
    return answer["label"]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("kind", ["single", "ner"])
def test_all_roads_lead_to_the_same_answers(lab: Lab, tmp_path: Path, kind: str, method: str) -> None:
    run = lab.train(kind, f"method={method}", "train.epochs=8", "train.learning_rate=5e-3").run
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
        assert_close(served, python, 1e-5)
        parity = json.loads((source / MANIFEST).read_text())["parity"] if name else {"tolerance": 1e-2}
        flips = sum(told(one) != told(other) for one, other in zip(python, exact, strict=True))
        print(kind, method, name, flips, parity["tolerance"])
        if name and exporters.find(name).tolerance is not None:
            assert_close(python, exact, parity["tolerance"])
