"""Words from a masked language model: whole words, in the text as it was, from a checkpoint that can."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ftkit import plugins
from ftkit.augmenters._base import Augmenter
from ftkit.augmenters._words import Words, is_word
from ftkit.augmenters.contextual import Contextual
from ftkit.edits import Edited
from ftkit.errors import CheckpointError
from ftkit.plugins import Choice
from tests.augmenters import rows
from tests.augmenters.conftest import Tools
from tests.tiny import save_tiny

TEXT = "The Waiter forgot our ORDER twice (for $5.00), and he never said sorry."


def contextual(tools: Tools, architecture: str) -> Contextual:
    choice = Choice(name="contextual", checkpoint=str(tools.checkpoint(architecture)), among=50, strength=0.5)
    found: Contextual = plugins.resolve("augmenter", choice, Augmenter)  # type: ignore[assignment]
    return found


@pytest.mark.parametrize("architecture", ["bert", "roberta"])
def test_content_words_become_other_whole_words(tools: Tools, architecture: str) -> None:
    tool, words = contextual(tools, architecture), Words(TEXT)
    changed: dict[str, str] = {}
    for seed in range(10):
        changed |= {words[i]: new for i, new in tool.change(words, Random(seed)).items()}
    assert {"forgot", "twice", "sorry"} & changed.keys()
    assert not {"The", "our", "never", "he", "and"} & changed.keys()
    for old, new in changed.items():
        assert is_word(new) and new.casefold() != old.casefold() and new.isascii()
        assert new.isupper() == (old == "ORDER") or len(new) == 1
        assert new[0].isupper() == old[0].isupper()


def test_the_model_reads_the_text_around_the_word(tools: Tools) -> None:
    tool, words = contextual(tools, "bert"), Words(TEXT)
    assert tool._masked(words, 1) == TEXT.replace("Waiter", "[MASK]")
    long = Words("word " * 3000)
    assert 0 < len(tool._masked(long, 1500)) < 900


def test_a_text_with_a_mask_of_its_own_is_left_alone(tools: Tools) -> None:
    words = Words("the film [MASK] ended quickly")
    masked = [contextual(tools, "bert")._masked(words, i) for i in range(len(words))]
    assert [bool(text) for text in masked] == [False, False, True, False, False]


@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(text=rows.texts(), seed=st.integers(0, 9))
def test_any_text_is_read(tools: Tools, text: str, seed: int) -> None:
    tool = tools_roberta(tools)
    words = Words(text)
    assert all(is_word(new) for new in tool.change(words, Random(seed)).values())
    Edited(text, tuple(tool.edits(words, Random(seed))))


def tools_roberta(tools: Tools) -> Contextual:
    if "roberta" not in tools.made:
        tools.made["roberta"] = contextual(tools, "roberta")
    return tools.made["roberta"]  # type: ignore[return-value]


def test_a_checkpoint_without_the_head_is_refused(tmp_path: Path) -> None:
    """Its head would be random, and so would be its words."""
    choice = Choice(name="contextual", checkpoint=str(save_tiny(tmp_path / "base", "bert")))
    with pytest.raises(CheckpointError, match="was not trained to fill masks"):
        plugins.resolve("augmenter", choice, Augmenter).prepare()
