"""Sentences written anew: those that may change as a whole, and none that holds what must stay."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from ftkit import plugins
from ftkit.augmenters._base import Augmenter
from ftkit.augmenters._words import Words
from ftkit.augmenters.backtranslate import Backtranslate
from ftkit.edits import Edited
from ftkit.errors import CheckpointError
from ftkit.plugins import Choice
from tests.augmenters.conftest import Tools

TEXT = "The film was long.  We left early!\nNobody in Paris knew."


def test_sentences_without_what_must_stay_are_translated_there_and_back(tools: Tools) -> None:
    tool, words = tools("backtranslate", strength=1.0), Words(TEXT, [(46, 51)])
    edits = tool.edits(words, Random(0))
    places = {(0, 18), (20, 34)}
    assert {(edit.start, edit.end) for edit in edits} <= places and edits
    again = tool.edits(words, Random(0))
    assert list(edits) == list(again)
    text = Edited(TEXT, tuple(edits)).text
    assert text.endswith("\nNobody in Paris knew.") and text != TEXT


def test_strength_is_the_share_of_sentences(tools: Tools) -> None:
    assert len(tools("backtranslate", strength=0.1).edits(Words(TEXT), Random(0))) <= 1


def test_what_is_written_does_not_depend_on_what_is_beside_it(tools: Tools) -> None:
    """The model reads one text's sentences at a time, whatever other rows there are."""
    tool = tools("backtranslate", strength=1.0)
    alone = tool.edits(Words("We left early!"), Random(0))
    assert [edit.text for edit in tool.edits(Words("We left early!"), Random(5))] == [edit.text for edit in alone]


def test_a_checkpoint_that_is_not_there_is_told(tools: Tools, tmp_path: Path) -> None:
    choice = Choice(name="backtranslate", there=str(tools.checkpoint("bart")), back=str(tmp_path / "none"))
    with pytest.raises(CheckpointError, match="there is no folder"):
        plugins.resolve("augmenter", choice, Augmenter).prepare()


def test_strength_of_sentences_is_the_recipes_unless_it_is_set() -> None:
    assert Backtranslate.Options(there="a", back="b").strength is None
