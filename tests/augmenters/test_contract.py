"""What every augmenter in the folder keeps: the seed decides alone, and nothing but words that may change changes."""

from __future__ import annotations

import json
import subprocess
import sys
from random import Random, getstate

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ftkit import plugins
from ftkit.augmenters._base import Augmenter
from ftkit.augmenters._words import Words
from ftkit.edits import Edited
from tests.augmenters import rows
from tests.augmenters.conftest import NAMES, Tools
from tests.command import environment

MODELS = ("contextual", "backtranslate")
"""These ask a model, which takes its time."""
TEXT = "The film was cheap, and I love a good story that began quickly: never bad, always http://x.y/z for $5.00!"
POLAR = "We love this good little house."
few = settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
many = settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])


def number(name: str) -> settings:
    return few if name in MODELS else many


def changed(tool: Augmenter, words: Words, seed: int) -> Edited:
    return Edited(words.text, tuple(tool.edits(words, Random(seed))))


@pytest.mark.parametrize("name", NAMES)
def test_describes_itself_and_every_option(name: str) -> None:
    found = plugins.find("augmenter", name, Augmenter)
    assert found.summary
    assert all(field.description for field in found.Options.model_fields.values())


@pytest.mark.parametrize("name", NAMES)
def test_changes_an_english_sentence_and_the_same_seed_changes_it_alike(tools: Tools, name: str) -> None:
    tool, words = tools(name), Words(POLAR if name == "antonym" else TEXT)
    found = [changed(tool, words, seed).text for seed in range(8)]
    assert any(text != words.text for text in found)
    assert [changed(tool, words, seed).text for seed in range(8)] == found
    if name not in ("antonym", "backtranslate"):  # the one turns all that it can, the other draws nothing
        assert len(set(found)) > 1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "text", ["", " ", "\n", "word", "film", "good", "...", "日本語", "$5.00", "a", "A b"], ids=repr
)
def test_takes_any_text(tools: Tools, name: str, text: str) -> None:
    for words in (Words(text), Words([text]), Words([])):
        for seed in range(3):
            changed(tools(name), words, seed)


@pytest.mark.parametrize("name", NAMES)
def test_only_free_words_change(tools: Tools, name: str) -> None:
    """Whatever the text, what is no word stands as it stood, in its order, and so does what must stay."""

    @number(name)
    @given(st.data(), rows.texts(), st.integers(0, 99))
    def check(data: st.DataObject, text: str, seed: int) -> None:
        kept = data.draw(rows.places(text, apart=False))
        words = Words(text, kept)
        edited = changed(tools(name), words, seed)
        for start, end in kept:
            edited.kept(start, end)
        for edit in edited.edits:
            assert text[edit.start : edit.end] != edit.text
        if name != "backtranslate":
            free = [words.places[i] for i in words.free]
            for start, end, _ in edited.edits:
                assert any(start <= first and last <= end for first, last in free)
                assert not outside(text, start, end, free).strip(" ")

    check()


def outside(text: str, start: int, end: int, words: list[tuple[int, int]]) -> str:
    """What a part of a text holds besides words."""
    return "".join(text[i] for i in range(start, end) if not any(first <= i < last for first, last in words))


@pytest.mark.parametrize("name", NAMES)
def test_one_word_at_least_is_left(tools: Tools, name: str) -> None:
    @number(name)
    @given(rows.texts(), st.integers(0, 99))
    def check(text: str, seed: int) -> None:
        if len(Words(text)):
            assert changed(tools(name, strength=1.0), Words(text), seed).text.strip()

    check()


@pytest.mark.parametrize("name", NAMES)
def test_random_numbers_of_others_go_on_undisturbed(tools: Tools, name: str) -> None:
    tool = tools(name)
    changed(tool, Words(TEXT), 0)
    before, arrays = getstate(), np.random.get_state()[1].tolist()
    changed(tool, Words(TEXT), 1)
    assert getstate() == before and np.random.get_state()[1].tolist() == arrays


SCRIPT = """
import json, sys
from random import Random
from ftkit import plugins
from ftkit.augmenters._base import Augmenter
from ftkit.augmenters._words import Words
found = {}
for name in json.loads(sys.argv[1]):
    tool = plugins.resolve("augmenter", plugins.Choice(name=name, strength=0.5), Augmenter)
    found[name] = [tuple(tool.edits(Words(sys.argv[2]), Random(seed))) for seed in range(20)]
print(json.dumps(found))
"""


@pytest.mark.slow
def test_another_process_writes_the_same_whatever_its_hash_seed(tools: Tools) -> None:
    """nlpaug's own list of spelling mistakes is in another order in each process."""
    names = [name for name in NAMES if not tools.options(name) and name not in ("synonym", "antonym", "insert")]
    command = [sys.executable, "-c", SCRIPT, json.dumps(names), TEXT]
    for seed in "12":
        done = subprocess.run(command, env=environment(PYTHONHASHSEED=seed), capture_output=True, text=True, check=True)
        for name, found in json.loads(done.stdout).items():
            assert found == [[*map(list, tools(name, 0.5).edits(Words(TEXT), Random(seed)))] for seed in range(20)]
