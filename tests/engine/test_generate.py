"""What is written is what transformers writes, though rows leave the batch as they end."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ftkit.engine.generate import _Writing, check, write
from ftkit.errors import RecipeError
from tests.tiny import tiny

PAD = 0
ENDS = {"llama": 5, "gpt2": 88, "t5": 1, "bart": 94}
"""Tokens that the models below come to write, each after a while of its own for most rows."""


def model_that_ends(architecture: str) -> Any:
    """A random model that does not write the same token for ever."""
    model = tiny(architecture, "SEQ_2_SEQ_LM" if architecture in ("t5", "bart") else "CAUSAL_LM")
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(5 if weight.ndim > 1 else 1)
    model.generation_config.eos_token_id = ENDS[architecture]
    return model


def padded(lengths: list[int], seed: int = 0) -> dict[str, torch.Tensor]:
    """Rows of random tokens, padded on the left."""
    width, random = max(lengths), torch.Generator().manual_seed(seed)
    mask = (torch.arange(width) >= width - torch.tensor(lengths)[:, None]).long()
    ids = torch.randint(8, 99, (len(lengths), width), generator=random)
    return {"input_ids": ids * mask + PAD * (1 - mask), "attention_mask": mask}


def settings_of(model: Any, **changes: Any) -> dict[str, Any]:
    usual = {"max_new_tokens": 12, "num_beams": 1, "no_repeat_ngram_size": 0, "do_sample": False}
    return usual | {"pad_token_id": PAD, "eos_token_id": model.generation_config.eos_token_id} | changes


def theirs(model: Any, batch: dict[str, torch.Tensor], asked: dict[str, Any]) -> list[list[int]]:
    with torch.no_grad():
        tokens = model.generate(**batch, **asked)
    start = 0 if model.config.is_encoder_decoder else batch["input_ids"].shape[1]
    return [until_end(row, asked) for row in tokens[:, start:].tolist()]


def until_end(row: list[int], asked: dict[str, Any]) -> list[int]:
    end = asked["eos_token_id"]
    return row[: row.index(end) + 1] if end in row else row


def ours(model: Any, batch: dict[str, torch.Tensor], asked: dict[str, Any]) -> list[list[int]]:
    with torch.inference_mode():
        return [until_end(row.tolist(), asked) for (row,) in write(model, batch, asked)]


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
@pytest.mark.parametrize("repeats", [0, 2])
def test_greedy_search_writes_what_transformers_writes(architecture: str, repeats: int) -> None:
    model, ends = model_that_ends(architecture), set()

    @settings(max_examples=15, deadline=None)
    @given(lengths=st.lists(st.integers(1, 12), min_size=1, max_size=6), seed=st.integers(0, 999))
    def check(lengths: list[int], seed: int) -> None:
        batch, asked = padded(lengths, seed), settings_of(model, no_repeat_ngram_size=repeats)
        found = ours(model, batch, asked)
        assert found == theirs(model, batch, asked)
        ends.update(len(row) for row in found)

    check()
    assert len(ends) > 3  # rows did end at different places


def test_ended_rows_are_computed_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = model_that_ends("llama"), padded([9, 3, 5, 7, 4], seed=3)
    asked = settings_of(model)
    rows: list[int] = []
    model.register_forward_pre_hook(lambda _, args, given: rows.append(len(given["input_ids"])), with_kwargs=True)
    written = ours(model, batch, asked)
    assert sum(rows) == sum(len(row) for row in written)
    assert rows[0] == 5 > rows[-1]


@pytest.mark.parametrize("setting", [{"repetition_penalty": 5.0}, {"min_new_tokens": 6}, {"suppress_tokens": [9, 10]}])
def test_what_a_checkpoint_asks_for_is_done(setting: dict[str, Any]) -> None:
    model, batch = model_that_ends("llama"), padded([9, 3, 5, 7, 4], seed=3)
    asked = settings_of(model)
    plain = ours(model, batch, asked)
    for name, value in setting.items():
        setattr(model.generation_config, name, value)
    assert ours(model, batch, asked) == theirs(model, batch, asked) != plain


@pytest.mark.parametrize(("architecture", "beams"), [("llama", 3), ("t5", 1), ("bart", 1), ("t5", 3)])
def test_beams_and_encoders_go_to_transformers(architecture: str, beams: int) -> None:
    model, batch = model_that_ends(architecture), padded([6, 6, 6])
    asked = settings_of(model, num_beams=beams)
    found = ours(model, batch, asked)
    assert found == theirs(model, batch, asked)
    assert any(len(row) > 1 for row in found)


@pytest.mark.parametrize("more", [{"repetition_penalty": 5.0}, {"min_new_tokens": 6}, {"eos_token_id": [5, 86]}])
def test_what_a_task_asks_for_is_done(more: dict[str, Any]) -> None:
    """Settings that the loop here does not know are `generate`'s affair."""
    model, batch = model_that_ends("llama"), padded([9, 3, 5, 7, 4], seed=3)
    asked = settings_of(model, **more)
    with torch.inference_mode():
        found = [row.tolist() for (row,) in write(model, batch, asked)]
        tokens = model.generate(**batch, **asked)[:, batch["input_ids"].shape[1] :].tolist()
    assert found == tokens


def test_few_settings_are_enough() -> None:
    model, batch = model_that_ends("llama"), padded([4, 4])
    with torch.inference_mode():
        assert [len(row) for (row,) in write(model, batch, {"max_new_tokens": 3})] == [3, 3]


# ---------------------------------------------------------------------- candidates


def drawn(model: Any, batch: dict[str, torch.Tensor], **asked: Any) -> list[list[list[int]]]:
    """Each row's candidates."""
    wanted = settings_of(model, **({"candidates": 5, "temperature": 1.0} | asked))
    with torch.inference_mode():
        return [[until_end(one.tolist(), wanted) for one in each] for each in write(model, batch, wanted)]


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_candidates_are_the_greedy_one_and_others(architecture: str) -> None:
    model, batch = model_that_ends(architecture), padded([9, 3, 5, 7, 4], seed=3)
    found = drawn(model, batch)
    assert [each[0] for each in found] == ours(model, batch, settings_of(model))
    assert all(len(each) == 5 for each in found)
    assert all(len({tuple(one) for one in each}) > 1 for each in found)


def test_a_row_draws_the_same_whatever_stands_beside_it() -> None:
    model, lengths = model_that_ends("llama"), [9, 3, 5, 7, 4]
    batch = padded(lengths, seed=3)
    found = drawn(model, batch)
    assert found == drawn(model, batch)
    for place, length in enumerate(lengths):
        alone = {name: value[place : place + 1, -length:] for name, value in batch.items()}
        assert drawn(model, alone) == [found[place]]


def test_candidates_are_drawn_as_often_as_they_are_likely() -> None:
    """Of the first token, over many rows that say the same in different words."""
    model = model_that_ends("llama")
    with torch.no_grad():
        model.get_output_embeddings().weight.zero_()
        model.get_output_embeddings().weight[[3, 4]] = torch.tensor([[0.0], [0.04]])
        counted: Counter[int] = Counter()
        wanted: Counter[int] = Counter()
        for seed in range(40):
            batch = padded([4] * 8, seed)
            shares = (model(**batch).logits[:, -1] / 0.7).softmax(-1).mean(0)
            for token, share in enumerate(shares.tolist()):
                wanted[token] += share * 8 * 9  # type: ignore[assignment]
            found = drawn(model, batch, candidates=10, temperature=0.7, max_new_tokens=1)
            counted.update(one[0] for each in found for one in each[1:])
    for token in (3, 4):
        assert abs(counted[token] - wanted[token]) < 5 * wanted[token] ** 0.5


def test_low_temperatures_draw_the_likeliest() -> None:
    model, batch = model_that_ends("llama"), padded([9, 3, 5, 7, 4], seed=3)
    assert all(len({tuple(one) for one in each}) == 1 for each in drawn(model, batch, temperature=1e-4))


def test_no_candidate_repeats_what_may_not_be_repeated() -> None:
    model, batch = model_that_ends("gpt2"), padded([9, 3, 5, 7, 4], seed=3)
    for each in drawn(model, batch, no_repeat_ngram_size=1, temperature=0.3):
        assert all(len(set(one)) == len(one) for one in each)


def test_candidates_that_would_not_be_written_are_refused() -> None:
    model, batch = model_that_ends("llama"), padded([4, 4])
    model.generation_config.repetition_penalty = 1.1
    asked = settings_of(model, candidates=3, temperature=0.5)
    with pytest.raises(RecipeError, match=r"task\.candidates.*repetition_penalty"):
        check(model, asked)
    with torch.inference_mode(), pytest.raises(RecipeError):
        write(model, batch, asked)
    check(model, settings_of(model))


def test_the_highest_draw_is_still_a_token() -> None:
    """Shares of a large vocabulary do not sum up to 1 in float32."""
    writing = object.__new__(_Writing)
    writing.allowed, writing.temperature = None, 1.0
    logits = torch.randn(64, 50_000, generator=torch.Generator().manual_seed(0))
    assert writing._choose(logits, torch.full((64,), 1 - 2.0**-24)).max() < 50_000


def test_what_comes_next_is_chosen_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    model, seen, choose = model_that_ends("llama"), [], _Writing._choose
    monkeypatch.setattr(
        _Writing, "_choose", lambda self, logits, draws: seen.append(logits.dtype) or choose(self, logits, draws)
    )
    with torch.autocast("cpu", torch.bfloat16):
        ours(model, padded([4, 3]), settings_of(model))
    assert set(seen) == {torch.float32}


def test_drawing_that_a_task_asks_for_is_done() -> None:
    model, given = model_that_ends("llama"), padded([9, 3, 5, 7, 4], seed=3)
    asked = settings_of(model, do_sample=True)
    with torch.inference_mode():
        torch.manual_seed(0)
        found = [row.tolist() for (row,) in write(model, given, asked)]
        torch.manual_seed(0)
        assert found == model.generate(**given, **asked)[:, given["input_ids"].shape[1] :].tolist()
    assert [row[:3] for row in found] != [row[:3] for row in ours(model, given, settings_of(model))]


def test_given_positions_are_left_to_transformers() -> None:
    model, given = model_that_ends("gpt2"), padded([9, 3, 5, 7, 4], seed=3)
    places = (given["attention_mask"].cumsum(-1) - 1).clamp(min=0)
    asked = settings_of(model, num_beams=3)
    assert ours(model, given | {"position_ids": places}, asked) == ours(model, given, asked)
    seen: list[set[str]] = []
    generate = model.generate
    model.generate = lambda **told: seen.append(set(told)) or generate(**told)
    ours(model, given | {"position_ids": places}, asked)
    assert "position_ids" not in seen[0]


def test_a_checkpoints_beams_are_followed_where_nothing_else_is_asked() -> None:
    model, batch = model_that_ends("llama"), padded([9, 3, 5, 7, 4], seed=3)
    model.generation_config.num_beams = 3
    asked = {"max_new_tokens": 8, "pad_token_id": PAD, "eos_token_id": ENDS["llama"]}
    assert ours(model, batch, asked) == theirs(model, batch, asked) != ours(model, batch, asked | {"num_beams": 1})
