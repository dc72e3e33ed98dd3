"""Variants of rows: whatever the row, its entities and answers are there, and say what they said."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ftkit import plugins
from ftkit.augmenters._base import Augmenter
from ftkit.augmenters._variants import Made, variants
from ftkit.metrics import spans
from ftkit.plugins import Choice
from ftkit.settings import AugmentSpec
from ftkit.tasks._base import Task
from tests.augmenters import rows
from tests.augmenters.conftest import NAMES, Tools

Row = dict[str, Any]
TRUE = [name for name in NAMES if not plugins.find("augmenter", name, object).flips]  # type: ignore[attr-defined]
"""Those that leave a label as it is."""
ROWS = {"text": rows.marked_texts(), "tokens": rows.tagged_tokens(), "qa": rows.questions()}


def task(name: str, **options: Any) -> Task:
    return plugins.resolve("task", Choice(name=name, **options), Task)


def made(tools: Tools, it: Task, given: list[Row], by: list[str], strength: float = 0.3, **spec: Any) -> Made:
    named = [(name, tools(name, strength)) for name in by]
    return variants(given, it, named, AugmentSpec(**spec), it.opposites(("negative", "positive")))


def entities(it: Task, row: Row) -> list[tuple[str, str]]:
    """Type and words of each entity, as the task reads the row; what it reads agrees with itself."""
    unified = it.unify({name: [value] for name, value in row.items()})
    text, tokens, tags = (unified[name][0] for name in ("text", "tokens", "tags"))
    assert len(tokens) == len(tags) == len(unified["spans"][0])
    assert [text[start:end] for start, end in unified["spans"][0]] == tokens
    found = [(entity["type"], text[entity["start"] : entity["end"]]) for entity in unified["entities"][0]]
    if "text" not in row:
        assert [(kind, " ".join(tokens[a:b])) for kind, a, b in spans.entities(tags)] == found
    return found


def check_entities(it: Task, original: Row, variant: Row) -> None:
    assert entities(it, variant) == entities(it, original)
    one, other = (it.unify({name: [value] for name, value in row.items()})["tags"][0] for row in (original, variant))
    assert [tag for tag in one if tag != "O"] == [tag for tag in other if tag != "O"]


def check_answers(it: Task, original: Row, variant: Row) -> None:
    answers = variant["answers"]
    assert answers["text"] == original["answers"]["text"]
    for start, text in zip(answers["answer_start"], answers["text"], strict=True):
        assert variant["context"][start : start + len(text)] == text
    assert variant["group"] == original["group"]


def hold(tools: Tools, shape: str, examples: int) -> Counter[str]:
    """How many variants each augmenter made of so many rows; each variant kept what it must."""
    it, check = (task("qa"), check_answers) if shape == "qa" else (task("ner"), check_entities)
    count: Counter[str] = Counter()

    @settings(max_examples=examples, suppress_health_check=list(HealthCheck), database=None)
    @given(ROWS[shape], st.integers(0, 9), st.sampled_from([0.1, 0.5, 1.0]))
    def run(row: Row, seed: int, strength: float) -> None:
        before = json.dumps(row)
        found = made(tools, it, [row], TRUE, strength, seed=seed)
        assert json.dumps(row) == before
        for variant in found.variants:
            count[variant.by] += 1
            check(it, row, variant.row)
            assert variant.row["row"] == row["row"] and variant.origin == 0
            assert variant.row.keys() == row.keys()
            assert any(variant.row[column] != row[column] for column in it.augments if column in row)

    run()
    return count


@pytest.mark.parametrize("shape", ROWS)
def test_entities_and_answers_stay(tools: Tools, shape: str) -> None:
    count = hold(tools, shape, 100)
    assert count.keys() == set(TRUE) and min(count.values()) > 2


@pytest.mark.slow
@pytest.mark.parametrize("shape", ROWS)
def test_entities_and_answers_stay_in_ten_thousand_rows(tools: Tools, shape: str) -> None:
    count = hold(tools, shape, 3_400)
    assert min(count.values()) > 170


def test_two_entities_do_not_become_one_where_a_word_between_them_goes(tools: Tools) -> None:
    """In IO tags nothing else tells them apart."""
    row = {"tokens": ["Ada", "film", "Ada"], "tags": ["I-PER", "O", "I-PER"], "row": 1}
    (variant,) = made(tools, task("ner"), [row], ["delete"]).variants
    assert variant.row["tokens"] == ["Ada", "Ada"] and variant.row["tags"] == ["B-PER", "B-PER"]


def reviews(count: int) -> list[Row]:
    return [{"text": f"A good film about house {n} that we love", "label": "positive", "row": n} for n in range(count)]


def test_an_antonym_turns_the_label_and_that_is_counted(tools: Tools) -> None:
    found = made(tools, task("sentiment"), reviews(3), ["antonym", "swap"])
    flipped = [variant for variant in found.variants if variant.by == "antonym"]
    assert found.flipped == len(flipped) == 3
    assert {variant.row["label"] for variant in flipped} == {"negative"}
    assert {variant.row["label"] for variant in found.variants if variant.by == "swap"} == {"positive"}


def test_both_texts_of_a_pair_are_varied(tools: Tools) -> None:
    row = {"text": "A cheap film", "text_pair": "It began quickly", "label": "same", "row": 1}
    (variant,) = made(tools, task("classification"), [row], ["synonym"]).variants
    assert variant.row["text"] != row["text"] and variant.row["text_pair"] != row["text_pair"]
    assert variant.texts.keys() == {"text", "text_pair"}


def test_a_rows_variants_depend_on_no_other_row(tools: Tools) -> None:
    it, given = task("sentiment"), reviews(30)
    spec = {"copies": 2, "share": 0.7}
    all_of_them = made(tools, it, given, ["swap", "keyboard"], **spec).variants
    some = made(tools, it, given[10:20][::-1], ["swap", "keyboard"], **spec).variants
    wanted = [(v.row, v.by) for v in all_of_them if 10 <= v.origin < 20]
    assert sorted(map(str, wanted)) == sorted(str((v.row, v.by)) for v in some)


def test_share_and_copies_say_how_many(tools: Tools) -> None:
    it, given = task("sentiment"), reviews(400)
    found = made(tools, it, given, ["keyboard"], share=0.25, copies=3)
    assert 60 <= len({variant.origin for variant in found.variants}) <= 140
    assert len(found.variants) + found.repeated == 3 * len({variant.origin for variant in found.variants})
    assert len(made(tools, it, given, ["keyboard"]).variants) == 400


def test_the_seed_decides(tools: Tools) -> None:
    it, given = task("sentiment"), reviews(20)
    one, again, other = (made(tools, it, given, ["swap"], seed=seed).variants for seed in (1, 1, 2))
    assert [v.row for v in one] == [v.row for v in again] != [v.row for v in other]


def test_what_is_there_already_is_left_out_and_counted(tools: Tools) -> None:
    given = [
        {"text": "film", "label": "a", "row": 1},
        {"text": "movie", "label": "a", "row": 2},
        {"text": "house", "label": "b", "row": 3},
    ]
    found = made(tools, task("classification"), given, ["synonym"])
    assert not found.variants and found.repeated == 2 and found.unchanged == 1


def test_two_augmenters_of_one_name_vary_other_rows() -> None:
    given = [
        {"row": number, "text": f"the quick brown fox number {number} jumps", "label": "a"} for number in range(60)
    ]
    it = plugins.resolve("task", Choice(name="classification"), Task)
    swap = plugins.resolve("augmenter", Choice(name="swap"), Augmenter)
    made = variants(given, it, [("swap", swap), ("swap", swap)], AugmentSpec(share=0.5, strength=0.3), {})
    by: dict[str, set[int]] = {}
    for variant in made.variants:
        by.setdefault(variant.by, set()).add(variant.origin)
    assert by.keys() == {"swap", "swap-2"} and by["swap"] - by["swap-2"] and by["swap-2"] - by["swap"]
