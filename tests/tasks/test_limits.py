"""What does not fit: cut, counted and said, and never longer than the checkpoint can read."""

from __future__ import annotations

from typing import Any

import pytest

from ftkit.data.balance import balanced_weights
from ftkit.engine.pretrained import within_positions
from ftkit.errors import CheckpointError
from ftkit.tasks.classification import Classification
from ftkit.tasks.ner import NamedEntities
from ftkit.tasks.qa import QuestionAnswering
from ftkit.tasks.summarization import Summarization
from tests.tiny import tiny, tiny_tokenizer

LONG = "the film was a long and very good film about a dog and a garden " * 30


def limited(task: Any, architecture: str, positions: int, **config: Any) -> Any:
    model = tiny(architecture, "CAUSAL_LM" if architecture == "gpt2" else "SEQ_CLS", max_position_embeddings=positions)
    return within_positions(task, model.config, tiny_tokenizer(architecture))


def test_inputs_are_no_longer_than_the_checkpoint_has_positions() -> None:
    task = limited(Classification(Classification.Options()), "bert", 64)
    assert task.options.max_length == 64
    encoded = task.encode({"text": [LONG, "a film"]}, tiny_tokenizer("bert"), ())
    assert len(encoded["input_ids"][0]) == 64
    assert encoded["truncated"] == [True, False]


def test_roberta_numbers_positions_from_behind_its_padding() -> None:
    model = tiny("roberta", "SEQ_CLS", max_position_embeddings=66)
    task = within_positions(Classification(Classification.Options()), model.config, tiny_tokenizer("roberta"))
    assert task.options.max_length == 66 - model.config.pad_token_id - 1


def test_a_task_that_fits_is_left_alone() -> None:
    task = Classification(Classification.Options(max_length=32))
    assert limited(task, "bert", 64) is task


def test_windows_of_qa_fit_and_still_advance() -> None:
    task = limited(QuestionAnswering(QuestionAnswering.Options()), "bert", 64)
    assert task.options.max_length == 64 and task.options.stride == 21
    question = "who saw the dog " * 20
    encoded = task.encode({"question": [question], "context": [LONG]}, tiny_tokenizer("bert"), ())
    assert max(len(ids) for ids in encoded["input_ids"]) <= 64 and len(encoded["example"]) > 3
    assert all(encoded["truncated"]), "the question was cut"


def test_prompt_document_and_summary_fit_together() -> None:
    options = Summarization.Options(family="causal", target_length=20)
    model = tiny("gpt2", "CAUSAL_LM", n_positions=128)
    tokenizer = tiny_tokenizer("gpt2")
    task = within_positions(Summarization(options), model.config, tokenizer)
    encoded = task.encode({"document": [LONG], "summary": [[LONG]]}, tokenizer, ())
    assert len(encoded["input_ids"][0]) <= 128
    assert encoded["truncated"] == [True]


def test_no_room_for_a_document_is_a_sentence() -> None:
    options = Summarization.Options(family="causal", target_length=125)
    model = tiny("gpt2", "CAUSAL_LM", n_positions=128)
    with pytest.raises(CheckpointError, match="128 positions"):
        within_positions(Summarization(options), model.config, tiny_tokenizer("gpt2"))


def test_a_summary_that_is_cut_is_counted() -> None:
    task = Summarization(Summarization.Options(family="causal", target_length=8))
    batch = {"document": ["a film", "a dog"], "summary": [["a film"], [LONG]]}
    assert task.encode(batch, tiny_tokenizer("gpt2"), ())["truncated"] == [False, True]


def test_a_window_that_begins_inside_a_word_gives_that_piece_no_tag() -> None:
    task = NamedEntities(NamedEntities.Options(max_length=12, stride=2))
    word = "filmdoggardenfilmdoggardenfilmdoggarden"
    batch = {"tokens": [[word, "a"]], "tags": [["B-X", "O"]]}
    encoded = task.encode(batch, tiny_tokenizer("bert"), ("O", "B-X", "I-X"))
    assert len(encoded["example"]) > 1, "the word must span windows for this to be a test"
    assert sum(label == 1 for window in encoded["labels"] for label in window) == 1


def test_balanced_weights_of_several_labels_are_negatives_over_positives() -> None:
    values = [["a"], ["a", "b"], [], ["a"]]
    assert balanced_weights(values, ("a", "b", "c")) == (1 / 3, 3.0, 1.0)
