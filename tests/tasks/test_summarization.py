"""Summarization: the loss is on the summary alone, whatever stands beside it in the batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError

from ftkit.engine import infer
from ftkit.errors import CheckpointError
from ftkit.settings import EvaluateSpec
from ftkit.tasks._base import Weighting
from ftkit.tasks.summarization import Summarization
from tests.tiny import SENTENCES, tiny, tiny_tokenizer, usual_kind

LINES = SENTENCES.splitlines()
BATCH: dict[str, list[Any]] = {
    "document": [" ".join(LINES[:3]), LINES[4], " ".join(LINES[5:7])],
    "summary": [[LINES[0], "A quiet film."], ["What a day!"], [LINES[5]]],
}
FAMILIES = {"t5": "seq2seq", "bart": "seq2seq", "llama": "causal", "gpt2": "causal"}


def task(family: str, **options: Any) -> Summarization:
    return Summarization(Summarization.Options(family=family, **options))


def tokenizer_of(architecture: str) -> Any:
    tokenizer = tiny_tokenizer(architecture)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def rows_of(t: Summarization, tokenizer: Any) -> list[dict[str, Any]]:
    encoded = t.encode(BATCH, tokenizer, ())
    names = [name for name in (*tokenizer.model_input_names, "labels") if name in encoded]
    return [{name: encoded[name][i] for name in names} for i in range(len(encoded["input_ids"]))]


@pytest.mark.parametrize("architecture", FAMILIES)
def test_loss_of_a_padded_batch_is_the_plain_models_over_the_same_rows(architecture: str) -> None:
    """Left padding and logits for the summary's places alone change nothing: checked against rows one by one."""
    t, tokenizer = task(FAMILIES[architecture], target_length=20), tokenizer_of(architecture)
    model = tiny(architecture, usual_kind(architecture), vocab_size=len(tokenizer))
    rows = rows_of(t, tokenizer)
    batch = t.collate(rows, tokenizer)
    with torch.no_grad():
        ours = t.loss(t.forward(model, batch), batch, Weighting()).item()
        alone = 0.0
        for row in rows:
            count = sum(label != -100 for label in row["labels"])
            alone += model(**{name: torch.tensor([row[name]]) for name in row}).loss.item() * count
    assert t.loss_size(batch, Weighting()).item() == sum(label != -100 for row in rows for label in row["labels"])
    assert ours == pytest.approx(alone, rel=1e-5)


def test_causal_targets_are_the_summary_and_its_end() -> None:
    t, tokenizer = task("causal"), tokenizer_of("llama")
    for row, summary in zip(rows_of(t, tokenizer), [*BATCH["summary"][0], *BATCH["summary"][1]], strict=False):
        targets = [label for label in row["labels"] if label != -100]
        assert targets[-1] == tokenizer.eos_token_id
        assert tokenizer.decode(targets[:-1]).strip() == summary
        assert row["input_ids"][-len(targets) :] == targets
        assert row["input_ids"].count(tokenizer.bos_token_id) == 1
        prompt = t.encode({"document": BATCH["document"]}, tokenizer, ())["input_ids"]
        assert any(row["input_ids"][: -len(targets)] == ids for ids in prompt)


def test_each_reference_is_a_training_row_and_each_document_an_answer() -> None:
    for family, architecture in (("seq2seq", "t5"), ("causal", "llama")):
        t, tokenizer = task(family), tokenizer_of(architecture)
        assert t.encode(BATCH, tokenizer, ())["example"] == [0, 0, 1, 2]
        assert t.encode({"document": BATCH["document"]}, tokenizer, ())["example"] == [0, 1, 2]


def test_long_documents_are_cut_and_marked_and_the_prompt_stays_whole() -> None:
    t, tokenizer = task("causal", max_length=8), tokenizer_of("llama")
    encoded = t.encode({"document": ["A fair price.", SENTENCES]}, tokenizer, ())
    assert encoded["truncated"] == [False, True]
    text = tokenizer.decode(encoded["input_ids"][1])
    assert text.endswith("Summary:") and "Summarize in one or two sentences" in text
    seq2seq = task("seq2seq", max_length=8, prefix="sum: ").encode({"document": [SENTENCES]}, tokenizer_of("t5"), ())
    assert tokenizer_of("t5").decode(seq2seq["input_ids"][0]).startswith("sum: ")


def test_chat_template_is_used_where_there_is_one() -> None:
    tokenizer = tokenizer_of("llama")
    tokenizer.chat_template = "{% for m in messages %}<s>{{ m.role }}: {{ m.content }}\n{% endfor %}answer: "
    ids = task("causal").encode({"document": ["A film."]}, tokenizer, ())["input_ids"][0]
    assert tokenizer.decode(ids) == "<s>user: Summarize in one or two sentences:\n\nA film.\nanswer: "


def test_family_is_the_checkpoints() -> None:
    assert task("auto").settle(None, tiny("t5", "SEQ_2_SEQ_LM").config).options.family == "seq2seq"
    assert task("auto").settle(None, tiny("llama", "CAUSAL_LM").config).causal
    with pytest.raises(CheckpointError, match="the checkpoint is causal, not seq2seq"):
        task("seq2seq").settle(None, tiny("llama", "CAUSAL_LM").config)


def test_prompt_must_say_where_the_document_goes() -> None:
    with pytest.raises(ValidationError, match="document"):
        task("causal", prompt="Summarize this.")


def test_of_candidates_the_one_most_like_all_is_kept() -> None:
    t, tokenizer = task("causal", candidates=3), tokenizer_of("llama")
    said = ["The plot makes no sense.", "A quiet film of pirates.", "The film is a quiet delight."]
    outputs = [{"candidates": [tokenizer(one, add_special_tokens=False)["input_ids"] for one in said]}]
    assert t.decode(outputs, {}, [], tokenizer, ()) == [{"summary": "The film is a quiet delight."}]


@pytest.mark.parametrize(("architecture", "more"), [("t5", {}), ("llama", {"beams": 2})])
def test_candidates_where_there_can_be_none_are_refused(architecture: str, more: dict[str, Any]) -> None:
    config = tiny(architecture, usual_kind(architecture)).config
    with pytest.raises(CheckpointError, match=r"task\.candidates"):
        task("auto", candidates=4, **more).settle(None, config)


@pytest.mark.parametrize(("family", "architecture"), [("seq2seq", "t5"), ("causal", "llama")])
def test_writing_is_told_what_the_options_say(family: str, architecture: str) -> None:
    model, tokenizer = tiny(architecture, usual_kind(architecture)), tokenizer_of(architecture)
    said = task(family, beams=3, no_repeat=2, target_length=9).generation(model.config, tokenizer)
    expected = {"num_beams": 3, "no_repeat_ngram_size": 2, "max_new_tokens": 9, "do_sample": False}
    assert {name: said[name] for name in expected} == expected
    usual = task(family).generation(model.config, tokenizer)
    assert (usual["num_beams"], usual["no_repeat_ngram_size"]) == (1, 0)


@pytest.mark.parametrize(("family", "architecture"), [("seq2seq", "t5"), ("causal", "llama")])
def test_a_long_document_keeps_its_beginning(family: str, architecture: str) -> None:
    t, tokenizer = task(family, max_length=10, prompt="<<{document}>>"), tokenizer_of(architecture)
    text = " ".join(LINES)
    ids = t.encode({"document": [text]}, tokenizer, ())["input_ids"][0]
    read = tokenizer.decode(ids, skip_special_tokens=True)
    kept = read[read.index("<<") + 2 : read.index(">>")] if family == "causal" else read
    assert text.startswith(kept)
    assert kept.startswith("The film was")
    assert len(tokenizer(kept, add_special_tokens=False)["input_ids"]) == 10


def test_there_is_room_for_all_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    t, tokenizer, seen, batches = (
        task("causal", candidates=3, target_length=7),
        tokenizer_of("llama"),
        [],
        infer.batches,
    )
    model = tiny("llama", "CAUSAL_LM", vocab_size=len(tokenizer))
    encoded = t.encode({"document": BATCH["document"]}, tokenizer, ())
    monkeypatch.setattr(
        infer, "batches", lambda lengths, most, room=0: seen.append(room) or batches(lengths, most, room)
    )
    outputs = infer.run(model, t, tokenizer, encoded, EvaluateSpec(batch_tokens=1000))
    assert seen == [21]
    for output in outputs:
        assert len(output["candidates"]) == 3
        assert (
            output["tokens"] is output["candidates"][0] or output["tokens"].tolist() == output["candidates"][0].tolist()
        )


def test_candidates_are_asked_for_at_their_temperature() -> None:
    model, tokenizer = tiny("llama", "CAUSAL_LM"), tokenizer_of("llama")
    said = task("causal", candidates=5, candidate_temperature=0.3).generation(model.config, tokenizer)
    assert (said["candidates"], said["temperature"]) == (5, 0.3)
    assert not {"candidates", "temperature"} & set(task("causal").generation(model.config, tokenizer))


def test_both_ends_or_the_last_of_a_long_document_are_read() -> None:
    document = "the film was a quiet delight from the first scene"
    for how, kept in {
        "head": "the film was a",
        "tail": "from the first scene",
        "head+tail": "the film first scene",
    }.items():
        encoded = task("seq2seq", max_length=4, truncate=how).encode(
            {"document": [document, "the first"]}, tiny_tokenizer("bert"), ()
        )
        read = tiny_tokenizer("bert").batch_decode(encoded["input_ids"], skip_special_tokens=True)
        assert read == [kept, "the first"] and encoded["truncated"] == [True, False]


def test_windows_are_refused_for_what_is_written_in_one_reading() -> None:
    with pytest.raises(ValueError, match="can't be window: a summary is written in one reading"):
        task("seq2seq", truncate="window")
