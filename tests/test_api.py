"""The commands as functions take what the command line takes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import ftkit
from ftkit import api
from ftkit.errors import RecipeError, RunError
from ftkit.run import RunDirectory
from tests.runs import Lab, read_jsonl, write_rows


@pytest.mark.parametrize("kind", ["object", "file"])
def test_settings_are_laid_over_a_recipe_however_it_is_given(lab: Lab, tmp_path: Path, kind: str) -> None:
    recipe = lab.recipe("single")
    (tmp_path / "mine.yaml").write_text(recipe.dump())
    source = recipe if kind == "object" else tmp_path / "mine.yaml"
    assert api.plan(source, ["train.epochs=2"])["steps"] == 6
    with pytest.raises(RecipeError, match=r"train\.epoch: no such setting"):
        ftkit.train(source, ["train.epoch=2"], tmp_path / "new")


def test_a_recipe_made_in_python_is_checked_and_its_paths_count_from_here(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = lab.recipe("single")
    wrong = recipe.model_copy(update={"train": recipe.train.model_copy(update={"seeds": 2, "folds": 2})})
    with pytest.raises(RecipeError, match=r"train\.seeds and train\.folds"):
        ftkit.train(wrong, run=tmp_path / "new")
    assert not (tmp_path / "new").exists()
    write_rows(tmp_path / "here.jsonl", read_jsonl(lab.file("single", "train")))
    monkeypatch.chdir(tmp_path)
    relative = recipe.model_copy(update={"data": recipe.data.model_copy(update={"train": "here.jsonl"})})
    trained = ftkit.train(relative, run="new")
    assert RunDirectory.open(trained.run).recipe.data.train == str(tmp_path / "here.jsonl")


def test_training_keeps_the_settings_and_tells_what_it_reads(lab: Lab, tmp_path: Path) -> None:
    told: list[str] = []
    rows = read_jsonl(lab.file("single", "train"))
    path = write_rows(tmp_path / "notes.jsonl", [{"review": row["text"], "label": row["label"]} for row in rows])
    settings = ["train.epochs=0.4", f"data.train={path}"]
    trained = ftkit.train(lab.recipe("single"), settings, tmp_path / "new", say=told.append)
    assert RunDirectory.open(trained.run).recipe.train.epochs == 0.4
    assert any("'text' is read from column 'review'" in note for note in told)


def test_a_tilde_is_the_home_folder_wherever_a_run_is_named(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    recipe = lab.recipe("single", "train.epochs=0", "data.validation=null", "data.test=null")
    assert api.resume("~/run", recipe).run == tmp_path / "run"
    assert api.resume("~/run", recipe).run == api.resume("~/run").run == tmp_path / "run"
    with pytest.raises(RunError, match="exists already"):
        api.train(recipe, run="~/run")
    assert api.export("~/run", "~/model", data=lab.file("single", "test"))
    assert (tmp_path / "model" / "config.json").is_file()


def test_existing_run_is_refused_before_anything_is_read(lab: Lab, tmp_path: Path) -> None:
    settings = ["data.train=missing.csv"]
    for call in (api.plan, api.train):
        with pytest.raises(RunError, match="exists already"):
            call(lab.recipe("single"), settings, tmp_path)


def test_file_is_scored_as_settings_say_it_is_read(lab: Lab, tmp_path: Path) -> None:
    trained = lab.trained("single", "full")
    rows = read_jsonl(lab.file("single", "test"))
    path = write_rows(tmp_path / "more.jsonl", [{"said": row["text"], "kind": row["label"]} for row in rows])
    found = ftkit.evaluate(trained.run, data=str(path), settings=["data.columns={text: said, label: kind}"])
    assert found.scores == trained.scores["test"]


def test_run_of_a_name_too_long_is_refused(lab: Lab, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"can't be made: .*too long"):
        api.plan(lab.recipe("single"), run=tmp_path / ("x" * 300))


def test_a_study_trains_alone_whatever_a_launcher_has_left(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29555"}
    for name, value in left.items():
        monkeypatch.setenv(name, value)
    recipe = lab.recipe("single", "augment.by=[swap]", "train.epochs=1")
    assert ftkit.lift(recipe, run=tmp_path / "study", seeds=2, per_label=3).seeds == 2
    assert {name: os.environ[name] for name in left} == left


@pytest.mark.parametrize("call", ["check_data", "resume", "launch"])
def test_code_that_was_edited_is_loaded_anew_at_each_call(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    forgotten: list[None] = []
    monkeypatch.setattr(api, "forget_changed", lambda: forgotten.append(None))
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(lab.recipe("single").dump())
    if call == "check_data":
        api.check_data(str(recipe))
    elif call == "resume":
        api.resume(lab.trained("single", "full").run)
    else:
        api.launch(str(recipe), "torchrun", machines=1, processes=1)
    assert forgotten


@pytest.mark.parametrize("call", [api.curve, api.lift])
def test_a_study_of_a_stream_is_refused_by_its_command(lab: Lab, tmp_path: Path, call: Any) -> None:
    recipe = lab.recipe("single", "data.stream=true", "train.steps=2", "train.epochs=auto", "augment.by=[]")
    name = "ftkit data curve" if call is api.curve else "ftkit augment --lift"
    with pytest.raises(RecipeError, match=f"`{name}` goes over all rows"):
        call(recipe, run=tmp_path / "study")


@pytest.mark.parametrize("call", [api.train, api.plan, api.resume])
def test_each_call_gives_its_place_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, call: Any) -> None:
    def taken(*_: Any) -> None:
        os.environ.pop("WORLD_SIZE", None)
        raise RunError("it has begun")

    monkeypatch.setenv("WORLD_SIZE", "1")
    monkeypatch.setattr(api, "_checked", taken)
    with pytest.raises(RunError, match="it has begun"):
        call(*([tmp_path] if call is api.resume else []), "mine.yaml")
    assert os.environ.get("WORLD_SIZE") == "1"
