"""The `augment` section of a recipe: short or long, complete in the run, its paths absolute, its code one's own."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from ftkit import trust
from ftkit.errors import RecipeError
from ftkit.explain import explain, schema
from ftkit.plugins import names
from ftkit.recipe import Recipe, changed, load_recipe, parse_recipe

BASE = {"task": "sentiment", "model": {"checkpoint": "minilm"}}
MINE = """
from ftkit.augmenters._base import WordAugmenter


class Mine(WordAugmenter):
    summary = "mine"

    def changed(self, word, random):
        return word + "x"
"""


def by(recipe: Recipe) -> list[str]:
    return [choice.name for choice in recipe.augment.by]


@pytest.mark.parametrize("written", ["swap", ["swap"], {"name": "swap"}, [{"name": "swap", "strength": 0.2}]])
def test_one_augmenter_needs_no_list(written: object) -> None:
    assert by(parse_recipe({**BASE, "augment": {"by": written}}, "it")) == ["swap"]


@pytest.mark.parametrize("written", [None, [], ()])
def test_no_augmenter_is_none(written: object) -> None:
    assert by(parse_recipe({**BASE, "augment": {"by": written}}, "it")) == []


def test_a_complete_recipe_has_every_option_and_says_the_same() -> None:
    recipe = parse_recipe({**BASE, "augment": {"by": ["swap", {"name": "split", "least": 6}]}}, "it")
    dumped = yaml.safe_load(recipe.dump())["augment"]
    assert dumped["by"] == [{"name": "swap", "strength": None}, {"name": "split", "strength": None, "least": 6}]
    assert {"share", "copies", "strength", "seed"} <= dumped.keys()
    assert parse_recipe(yaml.safe_load(recipe.dump()), "again").dump() == recipe.dump()


def test_strength_can_still_be_changed_for_a_complete_recipe() -> None:
    recipe = parse_recipe(yaml.safe_load(parse_recipe({**BASE, "augment": {"by": "swap"}}, "it").dump()), "again")
    assert changed(recipe, ["augment.strength=0.4"]).augment.strength == 0.4


def test_paths_count_from_the_recipes_folder(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "mlm").mkdir()
    (tmp_path / "mlm" / "config.json").write_text("{}")
    (tmp_path / "swap").mkdir()  # no file of one's own
    augment = "{by: [swap, ./mine.py, {name: contextual, checkpoint: mlm}, {name: contextual, checkpoint: org/mlm}]}"
    (tmp_path / "it.yaml").write_text(f"task: sentiment\nmodel: {{checkpoint: minilm}}\naugment: {augment}\n")
    found = load_recipe(tmp_path / "it.yaml").augment.by
    assert [choice.name for choice in found] == ["swap", str(tmp_path / "mine.py"), "contextual", "contextual"]
    assert [choice.options["checkpoint"] for choice in found[2:]] == [str(tmp_path / "mlm"), "org/mlm"]


def test_every_wrong_option_is_told_at_once() -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe({**BASE, "augment": {"by": ["swop", {"name": "split", "least": 1, "lest": 2}], "share": 2}}, "it")
    for said in ("swop", "augment.by: split.least", "augment.by: split.lest", "augment.share"):
        assert said in caught.value.message


def test_code_of_a_run_from_elsewhere_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FTKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(trust, "_own", set())
    foreign = {"task": "sentiment", "augment": {"by": [{"name": str(tmp_path / "mine.py")}, "swap"]}}
    with pytest.raises(Exception, match=r"wants to run code .*mine\.py"):
        trust.refuse_foreign("a run", foreign)
    trust.remember(foreign)
    trust.refuse_foreign("a run", foreign)


def test_settings_and_options_are_explained() -> None:
    rows = {name: sentence for name, _, _, sentence in explain("augment")}
    assert {"augment.by", "augment.share", "augment.copies", "augment.strength", "augment.seed"} <= rows.keys()
    assert any(sentence.startswith("[split]") for name, _, _, sentence in explain("augment.by.least"))
    assert all(rows.values())


def test_the_schema_knows_every_augmenter() -> None:
    listed = schema()["$defs"]["AugmentSpec"]["properties"]["by"]["anyOf"]
    one = listed[0]["anyOf"]
    assert {choice["properties"]["name"]["const"] for choice in one[1:]} == set(names("augmenter"))
    assert listed[1] == {"type": "array", "items": listed[0]}
