"""Every recipe on the shelf is a program: it loads, says how to run itself, and round-trips."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from ftkit import plugins, shelf
from ftkit.errors import RecipeError
from ftkit.recipe import load_recipe, parse_recipe

WANTED = {
    *(f"sentiment/{name}" for name in ("full", "head", "lora", "adapter", "discriminative")),
    *(f"classification/{name}" for name in ("full", "lora", "multilabel", "pair")),
    *(f"{task}/distilled" for task in ("sentiment", "classification")),
    *(f"{task}/augmented" for task in ("sentiment", "classification", "ner", "qa")),
    *("ner/full", "ner/lora", "qa/full", "qa/lora", "summarization/causal-lora", "summarization/seq2seq"),
}


def test_the_shelf_has_what_the_readme_promises() -> None:
    assert set(shelf.names()) >= WANTED


@pytest.mark.parametrize("name", shelf.names())
def test_a_recipe_loads_and_its_complete_form_says_the_same(name: str) -> None:
    recipe = load_recipe(name)
    again = parse_recipe(yaml.safe_load(recipe.dump()), "dumped")
    assert again.dump() == recipe.dump()
    assert again.train == recipe.train and again.data == recipe.data and again.model == recipe.model
    assert recipe.task.name in plugins.names("task") and recipe.method.name in plugins.names("method")


@pytest.mark.parametrize("name", shelf.names())
def test_a_recipe_opens_with_what_it_is_and_how_to_run_it(name: str) -> None:
    text = shelf.find_recipe(name).read_text(encoding="utf-8")
    assert re.match(r"# [A-Z].*[.?:)]?\n#\n#   ftkit train " + re.escape(name), text), text[:200]
    assert dict(shelf.first_lines())[name]


@pytest.mark.parametrize("name", shelf.names())
def test_the_commands_in_a_recipe_set_what_there_is_to_set(name: str) -> None:
    text = shelf.find_recipe(name).read_text(encoding="utf-8")
    for line in re.findall(r"^#   (ftkit train .*)$", text, flags=re.M):
        settings = re.findall(r"--set (?:'([^']+)'|(\S+))", line.split("     #")[0])
        load_recipe(name, [quoted or plain for quoted, plain in settings])


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [("reviews.yml", "reviews.yaml"), ("sub/revews.yaml", "sub/reviews.yml"), ("sentimant/full", "sentiment/full")],
)
def test_the_nearest_recipe_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str, meant: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    for name in ("reviews.yaml", "other.yaml", "sub/reviews.yml"):
        (tmp_path / name).write_text("task: sentiment\n")
    with pytest.raises(RecipeError) as caught:
        shelf.find_recipe(wrong)
    assert f"did you mean {meant}?" in str(caught.value)
