"""Several seeds: each a run of its own, one kept, the spread told."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ftkit.engine import seeds
from ftkit.engine.evaluate import evaluate
from ftkit.engine.train import train
from ftkit.errors import RecipeError
from tests.runs import Lab, weights

LEARN = ("train.learning_rate=0.02", "train.epochs=2")


@pytest.fixture(scope="module")
def done(lab: Lab) -> Path:
    return lab.train("single", "train.seeds=3", "train.seed=5", *LEARN).run


def scores(run: Path) -> dict[str, dict[str, dict[str, float]]]:
    found: dict[str, dict[str, dict[str, float]]] = json.loads((run / "scores.json").read_text())["scores"]
    return found


def test_each_seed_is_the_run_that_it_is_alone(lab: Lab, done: Path) -> None:
    alone = lab.train("single", "train.seed=6", *LEARN)
    ours, theirs = weights(done / "seeds" / "6"), weights(alone.run)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert scores(done / "seeds" / "6") == alone.scores
    assert sorted(path.name for path in (done / "seeds").iterdir()) == ["5", "6", "7"]


def test_mean_and_spread_are_those_of_the_seeds(done: Path) -> None:
    told = json.loads((done / "scores.json").read_text())["seeds"]
    each = [scores(done / "seeds" / str(seed)) for seed in (5, 6, 7)]
    for split in ("validation", "test"):
        values = [one[split]["accuracy"]["value"] for one in each]
        assert told[split]["accuracy"]["each"] == values
        assert told[split]["accuracy"]["value"] == pytest.approx(statistics.fmean(values))
        assert told[split]["accuracy"]["sd"] == pytest.approx(statistics.stdev(values))


def test_none_is_better_by_validation_than_the_kept_one(done: Path) -> None:
    kept = scores(done)["validation"]["accuracy"]["value"]
    each = [scores(done / "seeds" / str(seed))["validation"]["accuracy"]["value"] for seed in (5, 6, 7)]
    assert kept >= max(each)
    assert evaluate(done).scores == scores(done)["test"]
    if kept == max(each):
        first = (done / "seeds" / str(5 + each.index(kept)) / "model" / "model.safetensors").read_bytes()
        assert (done / "model" / "model.safetensors").read_bytes() == first


def test_averaged_weights_are_kept_where_they_are_better(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    original = seeds.evaluation.score

    def better(*given: object) -> object:
        found = original(*given)  # type: ignore[arg-type]
        if len(given) == 3:  # of the average alone, not of each seed
            found.scores["accuracy"]["value"] = 2.0
        return found

    monkeypatch.setattr(seeds.evaluation, "score", better)
    run = lab.train("single", "train.seeds=2", *LEARN).run
    parts = [weights(path) for path in sorted((run / "seeds").iterdir())]
    for name, value in load_file(run / "model" / "model.safetensors").items():
        torch.testing.assert_close(value, (parts[0][name] + parts[1][name]) / 2)


def test_lora_keeps_one_of_its_seeds(lab: Lab) -> None:
    run = lab.train("single", "method=lora", "train.seeds=2", *LEARN).run
    kept = (run / "model" / "adapter_model.safetensors").read_bytes()
    assert kept in [(path / "model" / "adapter_model.safetensors").read_bytes() for path in (run / "seeds").iterdir()]


def test_several_processes_train_each_seed(lab: Lab) -> None:
    recipe = lab.recipe("single", "train.seeds=2", "train.epochs=1")
    run = train(recipe, lab.new(), 2)
    assert set(run.seeds) == {"validation", "test"}
    first, second = (weights(path) for path in sorted((run.run / "seeds").iterdir()))
    assert any(not torch.equal(first[name], second[name]) for name in first)


def test_no_validation_rows_no_choice(lab: Lab) -> None:
    path = lab.new()
    with pytest.raises(RecipeError, match=r"train\.seeds: there are no validation rows"):
        train(lab.recipe("single", "train.seeds=2", "data.validation=null"), path, 1)
    assert not path.exists()


def test_folds_and_seeds_are_not_for_one_recipe(lab: Lab) -> None:
    with pytest.raises(RecipeError, match=r"train\.seeds and train\.folds"):
        lab.recipe("single", "train.seeds=2", "train.folds=2")
