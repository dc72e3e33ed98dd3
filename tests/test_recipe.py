"""A recipe is complete, strict and typed, and reads back as it was written."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ftkit import plugins, yaml12
from ftkit.errors import RecipeError
from ftkit.explain import choices, explain
from ftkit.recipe import Recipe, changed, load_recipe, override, parse_recipe, unused_without_validation
from ftkit.run import RunDirectory
from ftkit.settings import DataSpec
from tests.command import ftkit

LEAST: dict[str, Any] = {"task": "sentiment", "model": {"checkpoint": "minilm"}}


def write(path: Path, **more: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({**LEAST, **more}))
    return path


SETTINGS = ["task", "method", "objective"] + [
    f"{section}.{name}"
    for section, field in Recipe.model_fields.items()
    if section not in ("task", "method", "objective")
    for name in field.annotation.model_fields  # type: ignore[union-attr]
]


# ---------------------------------------------------------------------- complete


def test_two_settings_are_enough_and_all_others_are_filled_in() -> None:
    recipe = parse_recipe(LEAST, "least")
    written = yaml.safe_load(recipe.dump())
    for name in SETTINGS:
        place = written
        for part in name.split("."):
            assert part in place, name
            place = place[part]
    assert written["method"] == {"name": "full"} and written["task"]["max_length"] == 256
    assert recipe.train.batch == 16 and recipe.data.validation == 0.1


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x85\u2028\u2029\ufeff"), min_size=1)
AWKWARD = st.sampled_from(
    (
        "1e5",
        "5e-5",
        "no",
        "on",
        "yes",
        "TRUE",
        "null",
        "~",
        "1_000",
        "0x1f",
        "-0x1f",
        "0o17",
        "0b11",
        "010",
        "08",
        "2026-11-22",
        "1:30",
        "=",
        "<<",
        "0.5",
        "12",
    )
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25)
@given(labels=st.lists(TEXTS | AWKWARD, min_size=2, max_size=5, unique=True), rate=st.floats(1e-9, 1.0))
def test_written_recipe_reads_back_the_same(tmp_path: Path, labels: list[str], rate: float) -> None:
    raw = {**LEAST, "data": {"labels": labels, "columns": {"text": labels[0]}}, "train": {"learning_rate": rate}}
    recipe = parse_recipe(raw, "given")
    (tmp_path / "recipe.yaml").write_text(recipe.dump(), encoding="utf-8")
    for again in (load_recipe(tmp_path / "recipe.yaml"), RunDirectory(tmp_path).recipe):
        assert again.dump() == recipe.dump()
        assert again.data.labels == tuple(labels) and again.train.learning_rate == rate


def test_recipe_never_changes() -> None:
    recipe = parse_recipe(LEAST, "least")
    with pytest.raises(ValueError, match="frozen"):
        recipe.train.batch = 3  # type: ignore[misc]


# ---------------------------------------------------------------------- values as a person writes them


VALUES = {
    "train.learning_rate=5e-5": 5e-5,
    "train.learning_rate=1E-3": 1e-3,
    "train.learning_rate=.001": 1e-3,
    "train.epochs=3": 3.0,
    "train.epochs=0.5": 0.5,
    "train.epochs=auto": "auto",
    "train.patience=null": None,
    "train.class_weights={no: 2, yes: 1}": {"no": 2.0, "yes": 1.0},
    "train.evaluate_every=epoch": "epoch",
    "train.evaluate_every=50": 50,
    "data.labels=[no, yes]": ("no", "yes"),
    "data.labels=[0, 1]": ("0", "1"),
    "data.labels={0: bad, 1: good}": {"0": "bad", "1": "good"},
    "data.labels=[010, 08, -7, 0o17, 0x1F]": ("10", "8", "-7", "15", "31"),
    "data.labels=[12:30, 1_000, 0b11, -0x1f, 0o8]": ("12:30", "1_000", "0b11", "-0x1f", "0o8"),
    "data.columns={text: 0, label: stars}": {"text": 0, "label": "stars"},
    "data.validation=0.2": 0.2,
    "data.validation=null": None,
    "data.test=a.csv": str(Path.cwd() / "a.csv"),
    "data.delimiter='|'": "|",
    "data.delimiter==": "=",
    "model.checkpoint=org/name": "org/name",
}


@pytest.mark.parametrize("setting", VALUES)
def test_value_is_what_a_person_means(tmp_path: Path, setting: str) -> None:
    recipe = load_recipe(write(tmp_path / "mine.yaml"), [setting])
    section, name = setting.split("=")[0].split(".")
    value = getattr(getattr(recipe, section), name)
    assert value == VALUES[setting] and type(value) is type(VALUES[setting])


@pytest.mark.parametrize("written", ["5e-5", "5.0e-05", "0.00005"])
def test_rates_in_a_file_are_numbers_however_they_are_written(tmp_path: Path, written: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"task: sentiment\nmodel: {{checkpoint: minilm}}\ntrain: {{learning_rate: {written}}}\n")
    assert load_recipe(path).train.learning_rate == 5e-5


TWICE = {
    "train: {epochs: 1}\ntrain: {epochs: 2}": "lines 3 and 4: 'train' is there twice",
    "train:\n  epochs: 1\n  batch: 8\n  epochs: 2": "lines 4 and 6: 'epochs' is there twice",
    "data: {labels: {01: a, 1: b}}": "line 3: '01' and '1' are the same name",
    "data: {labels: {'1': a, 1: b}}": "line 3: '1' is there twice",
    "data: {labels: {1.0: a, 1: b}}": "line 3: '1.0' and '1' are the same name",
    "data: {columns: {text: a, 'text': b}}": "line 3: 'text' is there twice",
}


@pytest.mark.parametrize("text", TWICE)
def test_name_that_is_there_twice_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"task: sentiment\nmodel: {{checkpoint: minilm}}\n{text}\n")
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    assert caught.value.message == f"{path}: {TWICE[text]}"


def test_every_name_that_is_there_twice_is_told() -> None:
    with pytest.raises(RecipeError) as caught:
        override({}, ["data={labels: {01: a, 1: b}, columns: {text: a, text: b}}"])
    told = caught.value.message.splitlines()
    assert told[0].startswith("--set data={labels") and told[0].endswith("2 problems")
    assert told[1:] == ["  - line 1: '01' and '1' are the same name", "  - line 1: 'text' is there twice"]


def test_names_that_a_merge_brings_may_be_set_again(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("task: &a {name: qa, stride: 8}\nmodel: {checkpoint: minilm}\nmethod: {<<: *a, name: full}\n")
    with pytest.raises(RecipeError, match=r"method\.stride: no such setting"):
        load_recipe(path)


@pytest.mark.parametrize("value", ["!!int many", "!!float much", "9" * 5000], ids=["int", "float", "long"])
def test_number_that_is_none_is_refused(value: str) -> None:
    with pytest.raises(RecipeError, match="not valid YAML"):
        override({}, [f"train.batch={value}"])


# ---------------------------------------------------------------------- --set


def test_later_settings_win_and_a_map_is_replaced_whole() -> None:
    raw = {"data": {"columns": {"text": "a", "label": "b"}}, "method": "lora"}
    found = override(raw, ["train.batch=4", "train.batch=8", "data.columns={text: c}", "method.rank=2", "task=qa"])
    assert found == {
        "data": {"columns": {"text": "c"}},
        "method": {"name": "lora", "rank": 2},
        "train": {"batch": 8},
        "task": "qa",
    }
    assert raw == {"data": {"columns": {"text": "a", "label": "b"}}, "method": "lora"}, "what was given is left alone"


def test_value_may_hold_an_equals_sign() -> None:
    assert override({}, ["data.delimiter='='"]) == {"data": {"delimiter": "="}}


@pytest.mark.parametrize("setting", SETTINGS)
def test_every_setting_can_be_set_to_its_default(tmp_path: Path, setting: str) -> None:
    defaults = yaml.safe_load(parse_recipe(LEAST, "least").dump())
    value = defaults
    for part in setting.split("."):
        value = value[part]
    recipe = load_recipe(write(tmp_path / "mine.yaml"), [f"{setting}={json.dumps(value)}"])
    assert recipe.dump() == parse_recipe(LEAST, "least").dump()


def test_settings_are_laid_over_a_recipe_that_is_read_already(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    given = parse_recipe(
        {**LEAST, "method": {"name": "lora", "rank": 2}, "evaluate": {"metrics": ["seqeval"]}}, "given"
    )
    recipe = changed(given, ["train.epochs=2", "data.train=rows.csv", "method.alpha=4"])
    assert recipe.train.epochs == 2 and recipe.data.train == str(tmp_path / "rows.csv")
    assert recipe.method.options == {"rank": 2, "alpha": 4} and recipe.evaluate.metrics == ("seqeval",)
    assert given.train.epochs == "auto" and changed(given, []).dump() == given.dump()
    with pytest.raises(RecipeError, match=r"train\.epoch: no such setting; did you mean train\.epochs"):
        changed(given, ["train.epoch=2"])


# ---------------------------------------------------------------------- paths


def test_paths_of_a_file_count_from_it_and_names_stay_names(tmp_path: Path) -> None:
    (tmp_path / "deep" / "weights").mkdir(parents=True)
    (tmp_path / "deep" / "weights" / "config.json").write_text("{}")
    path = write(
        tmp_path / "deep" / "mine.yaml",
        data={"train": "rows.csv", "validation": "../dev.jsonl", "test": "~/test.tsv"},
        evaluate={"metrics": ["seqeval", "./mine.py"]},
    )
    recipe = load_recipe(path)
    assert recipe.data.train == str(tmp_path / "deep" / "rows.csv")
    assert recipe.data.validation == str(tmp_path / "dev.jsonl")
    assert recipe.data.test == os.path.expanduser("~/test.tsv")
    assert recipe.evaluate.metrics == ("seqeval", str(tmp_path / "deep" / "mine.py"))
    assert recipe.model.checkpoint == "minilm"
    assert load_recipe(write(path, model={"checkpoint": "weights"})).model.checkpoint == str(
        tmp_path / "deep" / "weights"
    )


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.CSV", "rows.tsv.gz", "rows.conll", "rows.parquet"])
def test_name_of_a_data_file_is_a_path_though_it_is_not_there(tmp_path: Path, name: str) -> None:
    recipe = load_recipe(write(tmp_path / "mine.yaml", data={"train": name}))
    assert recipe.data.train == str(tmp_path / name)


def test_own_task_is_a_path(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=f"there is no file {tmp_path}/stance.py"):
        load_recipe(write(tmp_path / "mine.yaml", task="stance.py"))


@pytest.mark.parametrize(
    ("given", "is_path"),
    [
        ("./words.csv", True),
        ("../words.csv", True),
        ("words.csv", False),
        ("...", False),
        ("~5 words:", False),
        ("/ask ", False),
    ],
)
@pytest.mark.parametrize("setting", ["task", "method", "objective"])
def test_options_of_ones_own_count_from_the_file_where_they_are_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str, given: str, is_path: bool
) -> None:
    monkeypatch.setattr("ftkit.recipe._option_problems", lambda raw: [])
    monkeypatch.setattr("ftkit.recipe._contradictions", lambda recipe: [])
    raw = {"task": "ner", "model": {"checkpoint": "minilm"}, setting: {"name": "ner", "some": given}}
    path = tmp_path / "mine.yaml"
    path.write_text(yaml12.dump(raw))
    found = getattr(load_recipe(path), setting).model_dump()["some"]
    assert found == (str((tmp_path / given).resolve()) if is_path else given)


@pytest.mark.parametrize("name", ["sample:sentiment", "org/name", "org/name:config", "imdb"])
def test_samples_and_hub_ids_are_no_paths(tmp_path: Path, name: str) -> None:
    assert load_recipe(write(tmp_path / "mine.yaml", data={"train": name})).data.train == name


def test_paths_of_settings_count_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    path = write(tmp_path / "there" / "mine.yaml", data={"train": "rows.csv"})
    recipe = load_recipe(path, ["data.test=rows.csv", "model.checkpoint=../weights"])
    assert recipe.data.train == str(tmp_path / "there" / "rows.csv")
    assert recipe.data.test == str(tmp_path / "here" / "rows.csv")
    assert recipe.model.checkpoint == str(tmp_path / "weights")


# ---------------------------------------------------------------------- what is wrong, all at once


def test_every_problem_is_told_with_its_place() -> None:
    raw = {
        "task": {"name": "qa", "strid": 3},
        "model": {},
        "method": "lorra",
        "train": {"epoch": 1, "batch": "many", "schedule": "zigzag"},
        "trian": {},
    }
    with pytest.raises(RecipeError) as caught:
        parse_recipe(raw, "mine.yaml")
    message = caught.value.message
    assert message.startswith("recipe mine.yaml: 7 problems")
    for words in (
        "task.strid: no such setting; did you mean task.stride?",
        "model.checkpoint: must be set",
        "'lorra'; did you mean lora?",
        "train.epoch: no such setting; did you mean train.epochs?",
        "train.batch: must be a whole number, and it is 'many'",
        "train.schedule: must be 'linear', 'cosine'",
        "trian: no such setting; did you mean train?",
    ):
        assert words in message
    assert "recipes explain" in caught.value.hint


def test_setting_of_several_kinds_is_one_problem() -> None:
    with pytest.raises(RecipeError, match=r"train\.epochs: must be a number or must be 'auto', and it is 'fast'"):
        parse_recipe({**LEAST, "train": {"epochs": "fast"}}, "mine.yaml")
    bounded = r"train\.checkpoint_every: must be 'auto' or must be a whole number, and it is 'often'"
    with pytest.raises(RecipeError, match=bounded):
        parse_recipe({**LEAST, "train": {"checkpoint_every": "often"}}, "mine.yaml")


CONTRADICTIONS: dict[str, dict[str, Any]] = {
    "train.epochs": {"train": {"epochs": -1}},
    "train.accumulate": {"train": {"batch": 16, "accumulate": 3}},
    "train.layer_decay and train.bottom_rate": {"train": {"layer_decay": 0.9, "bottom_rate": 1e-6}},
    "train.evaluate_every": {"train": {"evaluate_every": 0}},
    "data.validation": {"data": {"validation": 1.0}},
    "data.test": {"data": {"test": -0.5}},
}


@pytest.mark.parametrize("named", CONTRADICTIONS)
def test_settings_that_cannot_be_are_refused(named: str) -> None:
    with pytest.raises(RecipeError, match=f"recipe mine.yaml: {named}: "):
        parse_recipe({**LEAST, **CONTRADICTIONS[named]}, "mine.yaml")


@pytest.mark.parametrize("setting", ["train.patience=2", "train.metric=loss", "train.evaluate_every=10"])
def test_setting_that_needs_validation_rows_is_named(setting: str) -> None:
    raw = override(LEAST, [setting, "train.batch=8"])
    name, recipe = setting.split("=")[0], parse_recipe(raw, "mine.yaml")
    assert unused_without_validation(recipe, is_tested=False) == [name]
    assert unused_without_validation(recipe, is_tested=True) == ([] if name == "train.metric" else [name])


def test_defaults_that_need_validation_rows_are_not_named() -> None:
    same = ["train.evaluate_every=auto", "train.patience=null"]
    assert unused_without_validation(parse_recipe(override(LEAST, same), "mine.yaml"), is_tested=False) == []


def test_default_is_told_on_one_line() -> None:
    assert all("\n" not in cell for row in explain() for cell in row)
    assert {row[0] for row in explain("data")} == {f"data.{name}" for name in DataSpec.model_fields}


@pytest.mark.parametrize("setting", ["task", "method", "objective", "augment.by"])
def test_choices_of_a_setting_are_told_with_what_they_are(setting: str) -> None:
    kind = "augmenter" if setting == "augment.by" else setting
    assert [name for name, _ in choices(setting)] == plugins.names(kind)
    assert all(what and "\n" not in what for _, what in choices(setting))
    printed = ftkit("recipes", "explain", setting).out.splitlines()
    assert {f"    {name}: {what}" for name, what in choices(setting)} <= set(printed)


def test_settings_that_choose_no_plugin_have_no_choices() -> None:
    assert choices("train.batch") == choices("model") == []


def marked(folder: Path, name: str) -> Path:
    """A folder that holds a file of this name, by which a run or a checkpoint is known."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("{}")
    return folder


def test_an_empty_option_is_no_path(tmp_path: Path) -> None:
    """A run writes `prefix: ''` out, beside the files that tell a run."""
    path = write(tmp_path / "recipe.yaml", task={"name": "summarization", "prefix": ""})
    marked(tmp_path, "config.json")
    assert load_recipe(path).filled()["task"]["prefix"] == ""


def test_a_run_that_is_called_as_a_starter_does_not_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    marked(tmp_path / "minilm", "recipe.yaml")
    assert load_recipe("sentiment/full").model.checkpoint == "minilm"
    assert load_recipe("sentiment/full", ["model.checkpoint=minilm"]).model.checkpoint == "minilm"
    assert load_recipe("sentiment/full", ["model.checkpoint=./minilm"]).model.checkpoint == str(tmp_path / "minilm")


def test_what_a_file_says_does_not_count_from_where_the_command_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a" / "mine.yaml", model={"checkpoint": "base"}, objective={"name": "labels"})
    marked(tmp_path / "base", "config.json")
    monkeypatch.chdir(tmp_path)
    assert load_recipe(path, ["train.epochs=1"]).model.checkpoint == "base"
    assert load_recipe(path, ["model.checkpoint=./base"]).model.checkpoint == str(tmp_path / "base")
    marked(tmp_path / "a" / "base", "config.json")
    assert load_recipe(path).model.checkpoint == str(tmp_path / "a" / "base")


def test_an_option_that_names_no_model_is_not_taken_for_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("dora", "labels-run"):
        marked(tmp_path / name, "recipe.yaml")
    assert load_recipe("sentiment/lora", ["method.variant=dora"]).method.options["variant"] == "dora"
    given = ["objective={name: distill, teacher: labels-run}"]
    assert load_recipe("sentiment/full", given).objective.options["teacher"] == str(tmp_path / "labels-run")


# ---------------------------------------------------------------------- runs are recipes too


def test_torn_recipe_of_a_run_is_named(tmp_path: Path) -> None:
    for content in ("task: [", "- a list", ""):
        (tmp_path / "recipe.yaml").write_text(content)
        with pytest.raises(RecipeError, match=r"recipe\.yaml"):
            _ = RunDirectory.open(tmp_path).recipe


# ---------------------------------------------------------------------- values that would pass for others


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("train.learning_rate=1e999", "train.learning_rate: must be a finite number"),
        ("train.learning_rate=nan", "train.learning_rate: must be a finite number"),
        ("data.validation=1e999", "data.validation: must be a finite number"),
        ("train.seed=4294967296", "train.seed: must be less than or equal to 4294967295"),
        ("data.seed=-1", "data.seed: must be greater than or equal to 0"),
        ("train.epochs=true", "train.epochs: can't be true or false"),
        ("train.evaluate_every=true", "train.evaluate_every: can't be true or false"),
        ("train.class_weights={a: true}", "train.class_weights: can't be true or false"),
        ("train.class_weights={a: 1e999}", "train.class_weights: must be a finite number"),
        ("train.class_weights={a: -1, b: 2}", "train.class_weights: must be 0, or lie between 1e-6 and 1e6"),
        ("train.class_weights={a: 1e40}", "train.class_weights: must be 0, or lie between 1e-6 and 1e6"),
        ("train.class_weights={a: 1e-300}", "train.class_weights: must be 0, or lie between 1e-6 and 1e6"),
        ("data.labels=[a, b, a]", "data.labels: must have each label once, not 'a' twice"),
        ("data.labels=[1, '1']", "data.labels: must have each label once, not '1' twice"),
        ("task={name: 5}", "task.name: must be a text"),
        ("method={name: {a: b}}", "method.name: must be a text"),
        ("model=minilm", "write `model: {checkpoint: minilm}`"),
        ("train=5", "train: must have settings inside it"),
        ("task=~nobody-of-this-name/x.py", "task: there is no file"),
    ],
)
def test_value_that_would_pass_for_another_is_refused(setting: str, said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        changed(Recipe(**LEAST), [setting])
    assert said in caught.value.message
    assert len(caught.value.message.splitlines()) == 1


def test_largest_seed_and_a_weight_of_nothing_are_taken() -> None:
    recipe = changed(Recipe(**LEAST), ["train.seed=4294967295", "data.seed=0", "train.class_weights={a: 0, b: 1}"])
    assert recipe.train.seed == 2**32 - 1
    assert recipe.train.class_weights == {"a": 0, "b": 1}


@pytest.mark.parametrize("name", ["~nobody-of-this-name/x.csv", "x" * 300 + ".csv"])
def test_path_that_no_file_system_has_is_left_to_the_reader(name: str) -> None:
    recipe = changed(Recipe(**LEAST), [f"data.train={name}"])
    assert str(recipe.data.train).endswith(name)


def test_all_that_ones_own_code_says_when_it_fails_is_told(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("raise ValueError('the first line\\nthe second line')")
    with pytest.raises(RecipeError, match=r"(?s)mine\.py can't be loaded: ValueError: the first line\nthe second line"):
        load_recipe("sentiment/full", [f"task={tmp_path / 'mine.py'}"])
