"""Speed and size have one home: what is timed is what answers, models take turns, an adapter is no use alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ftkit.engine import model as models
from ftkit.engine import speed
from ftkit.engine.export import export
from ftkit.settings import EvaluateSpec
from tests.runs import Lab


def test_models_take_turns_and_the_first_round_counts_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    def batch(name: str) -> Any:
        return lambda: order.append(name)

    clock = iter(range(10**6))
    monkeypatch.setattr(speed.time, "perf_counter", lambda: float(next(clock)))
    found = speed.by_turns([[batch("a1"), batch("a2")], [batch("b1"), batch("b2")]])
    assert order == ["a1", "b1", "b2", "a2", "b1", "a1", "a2", "b2"]
    assert found == [1.0, 1.0]


def test_a_batch_goes_the_way_of_answers(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    trained, met = models.load(lab.trained("single", "full").run), []
    run = speed.infer.run
    monkeypatch.setattr(
        speed.infer, "run", lambda *given: met.append((len(given[3]["input_ids"]), given[4])) or run(*given)
    )
    settings = EvaluateSpec(precision="bf16")
    found = speed.seconds([speed.Ready(trained, settings)], lab.prepared("single").splits["test"])
    assert found[0].keys() == {"1", "32"} and {size for size, _ in met} == {1, 32}
    assert all(given == settings for _, given in met)


def test_rows_are_taken_evenly_of_all(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    trained, met = models.load(lab.trained("single", "full").run), list[int]()
    rows, encode = lab.prepared("single").splits["test"], speed.infer.encode
    monkeypatch.setattr(
        speed.infer,
        "encode",
        lambda task, some, *rest: met.extend(one["row"] for one in some) or encode(task, some, *rest),
    )
    assert len(speed._batches(speed.Ready(trained, EvaluateSpec()), rows, 1)) == len(met) == 32
    assert met == sorted(met) and set(met) == set(rows["row"])


def test_an_adapters_size_has_its_base(lab: Lab, tmp_path: Path) -> None:
    base = sum(file.stat().st_size for file in lab.checkpoint("bert").rglob("*") if file.is_file())
    run = lab.trained("single", "lora").run
    own = sum(file.stat().st_size for file in models.load(run).source.rglob("*") if file.is_file())
    assert speed.size(models.load(run)) == (own + base, base)
    whole = lab.trained("single", "full").run
    assert speed.size(models.load(whole)).base == 0
    parity = json.loads((export(run, tmp_path / "out", "adapter") / "manifest.json").read_text())["parity"]
    assert parity["base_bytes"] == base < parity["bytes"]
