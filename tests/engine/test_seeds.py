"""Several seeds: each a run of its own, one kept, the spread told."""

from __future__ import annotations

import json
import shutil
import statistics
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ftkit.engine import seeds
from ftkit.engine.evaluate import evaluate
from ftkit.engine.train import plan, train
from ftkit.errors import RecipeError
from ftkit.run import RunDirectory
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
    run = train(lab.recipe("single", "train.seeds=2", *LEARN), lab.new()).run
    parts = [weights(path) for path in sorted((run / "seeds").iterdir())]
    for name, value in load_file(run / "model" / "model.safetensors").items():
        torch.testing.assert_close(value, (parts[0][name] + parts[1][name]) / 2)


def test_lora_keeps_one_of_its_seeds(lab: Lab) -> None:
    run = lab.train("single", "method=lora", "train.seeds=2", *LEARN).run
    kept = (run / "model" / "adapter_model.safetensors").read_bytes()
    assert kept in [(path / "model" / "adapter_model.safetensors").read_bytes() for path in (run / "seeds").iterdir()]


@pytest.mark.slow
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


def test_seeds_are_checked_before_they_are_trained(lab: Lab) -> None:
    with pytest.raises(RecipeError, match="go beyond 4294967295"):
        lab.recipe("single", "train.seeds=2", "train.seed=4294967295")
    with pytest.raises(RecipeError, match=r"train\.seeds: there are no validation rows"):
        plan(lab.recipe("single", "train.seeds=2", "data.validation=null"), 1)


def test_seeds_of_an_untrained_model_and_of_one_that_errs(lab: Lab) -> None:
    """Nothing is logged without a step; of the errors of numbers the least is best."""
    assert lab.train("single", "train.seeds=2", "train.epochs=0").scores
    run = lab.train("regression", "train.seeds=2", "method=lora", "train.epochs=1").run
    each = [scores(path)["validation"]["mse"]["value"] for path in sorted((run / "seeds").iterdir())]
    assert scores(run)["validation"]["mse"]["value"] == min(each)


def test_rows_that_were_cut_are_told(lab: Lab) -> None:
    told: list[str] = []
    train(lab.recipe("single", "train.seeds=2", "train.epochs=0", "task.max_length=4"), lab.new(), 1, say=told.append)
    assert any("training rows were cut to task.max_length=4" in message for message in told)


def test_of_errors_the_least_is_kept_with_what_its_training_told(lab: Lab, tmp_path: Path) -> None:
    recipe = ("regression", "train.seeds=3", *LEARN)
    done = lab.train(*recipe).run
    parts = sorted((done / "seeds").iterdir(), key=lambda path: -scores(path)["validation"]["mse"]["value"])
    each = [scores(path)["validation"]["mse"]["value"] for path in parts]
    assert scores(done)["validation"]["mse"]["value"] <= min(each) < max(each)
    again = RunDirectory.open(Path(shutil.copytree(done, tmp_path / "again")))
    shutil.rmtree(again.model)
    told = seeds.keep_best(again, lab.prepared(*recipe), [RunDirectory.open(path) for path in parts])
    assert (again.path / "log.jsonl").read_bytes() == (parts[-1] / "log.jsonl").read_bytes()
    assert parts[-1].name in told or "average" in told


def test_the_recipes_metric_chooses_the_seed(lab: Lab) -> None:
    done = lab.train("regression", "train.seeds=4", "train.metric=pearson", "method=head", *LEARN).run
    each = [scores(path)["validation"] for path in (done / "seeds").iterdir()]
    assert scores(done)["validation"]["pearson"]["value"] >= max(one["pearson"]["value"] for one in each)
