"""`ftkit recipes`: the shelf listed, shown, copied; every setting explained."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ftkit import explain, plugins, shelf
from ftkit.methods._base import Method
from ftkit.objectives._base import Objective
from ftkit.tasks._base import Task
from tests.command import ftkit
from tests.runs import Lab
from tests.test_recipe import SETTINGS

BASES: tuple[tuple[str, Any], ...] = (("task", Task), ("method", Method), ("objective", Objective))


def test_list_has_a_line_for_each_recipe() -> None:
    lines = ftkit("recipes", "list").out.splitlines()
    assert [line.split()[0] for line in lines] == shelf.names()
    assert all(len(line.split()) > 4 for line in lines)


def test_shown_and_copied_recipes_are_the_shelfs_own(tmp_path: Path) -> None:
    shown = ftkit("recipes", "show", "ner/full").out
    assert shown == (shelf.SHELF / "ner/full.yaml").read_text()
    done = ftkit("recipes", "copy", "ner/full", tmp_path / "mine.yaml")
    assert done.out == f"{tmp_path / 'mine.yaml'}\n" and (tmp_path / "mine.yaml").read_text() == shown
    assert ftkit("recipes", "copy", "ner/full", tmp_path).out == f"{tmp_path / 'full.yaml'}\n"


def test_copied_recipe_trains(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ftkit("recipes", "copy", "classification/full", "mine.yaml")
    settings = (f"model.checkpoint={lab.checkpoint('bert')}", "data.limit=20", "train.epochs=1")
    sets = [word for setting in settings for word in ("--set", setting)]
    told = json.loads(ftkit("train", "mine.yaml", *sets, "--run", "new", "--json").out)
    assert told["examples"] == 20 and "test" in told["scores"]


def test_every_setting_is_explained_in_a_sentence_with_type_and_default() -> None:
    settings = ("task", "method", "objective", "augment.by")
    choices = [f"    {name}: {what}" for setting in settings for name, what in explain.choices(setting)]
    printed = ftkit("recipes", "explain").out.splitlines()
    assert set(choices) <= set(printed)
    lines = [line for line in printed if line not in choices]
    explained = {}
    for heading, sentence in zip(lines[::2], lines[1::2], strict=True):
        found = re.fullmatch(r"(\S+)  \((.+); default (.*)\)", heading)
        assert found, heading
        assert re.fullmatch(r"    (\[\w+\] )?\S.{10,}[.`)]", sentence), (heading, sentence)
        explained[found[1]] = found[2]
    assert {*SETTINGS} - {"train.sharding", "model.prune"} <= {*explained}  # sections, of which each part is
    assert "train.sharding.stage" in explained
    for setting, base in BASES:
        for name in plugins.names(setting):
            options = plugins.find(setting, name, base).Options.model_fields
            assert {f"{setting}.{field}" for field in options} <= set(explained)
    assert explained["train.batch"] == "int" and "null" in explained["train.folds"]


@pytest.mark.parametrize(
    ("prefix", "first"), [("train.batch", "train.batch"), ("data", "data.train"), ("method", "method")]
)
def test_part_of_the_settings_is_explained_alone(prefix: str, first: str) -> None:
    headings = [line.split()[0] for line in ftkit("recipes", "explain", prefix).out.splitlines() if line[0] != " "]
    assert headings[0] == first
    assert all(name == prefix or name.startswith(f"{prefix}.") for name in headings)


def test_schema_describes_every_setting_and_every_plug_in() -> None:
    schema = json.loads(ftkit("recipes", "schema").out)
    assert schema["required"] == ["task", "model"] and schema["additionalProperties"] is False
    for setting in SETTINGS:
        section, _, name = setting.partition(".")
        described = definition(schema, schema["properties"][section])["properties"][name] if name else None
        if described is not None:
            assert described["description"], setting
    for setting in ("task", "method", "objective"):
        choices = schema["properties"][setting]["anyOf"]
        assert choices[0]["type"] == "string"
        assert [choice["properties"]["name"]["const"] for choice in choices[1:]] == plugins.names(setting)
        for choice in choices[1:]:
            assert choice["additionalProperties"] is False
            assert all(p.get("description") for name, p in choice["properties"].items() if name != "name")


def test_references_of_the_schema_lead_somewhere() -> None:
    text = ftkit("recipes", "schema").out
    schema = json.loads(text)
    for name in re.findall(r'"\$ref": "#/\$defs/(\w+)"', text):
        assert name in schema["$defs"]


@pytest.mark.parametrize("name", shelf.names())
def test_recipes_on_the_shelf_keep_to_the_schema(name: str) -> None:
    """As far as names go: each section's settings, and each plug-in's options, are among the schema's."""
    schema = json.loads(ftkit("recipes", "schema").out)
    raw = yaml.safe_load((shelf.SHELF / f"{name}.yaml").read_text())
    assert set(raw) <= set(schema["properties"])
    for section, value in raw.items():
        if isinstance(value, str):
            continue
        place = schema["properties"][section]
        if section in ("task", "method", "objective"):
            place = next(c for c in place["anyOf"][1:] if c["properties"]["name"]["const"] == value["name"])
        assert set(value) <= set(definition(schema, place)["properties"])


def definition(schema: dict, place: dict) -> dict:  # type: ignore[type-arg]
    """What a place of the schema says, its reference followed."""
    while "$ref" in place or "allOf" in place:
        place = place["allOf"][0] if "allOf" in place else schema["$defs"][place["$ref"].rpartition("/")[2]]
    return place
