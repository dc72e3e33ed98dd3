"""What is read of a text that is too long: as transformers cuts it, both ends as promised, every token in a window."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ftkit.tasks._base import Task, Weighting
from ftkit.tasks._truncation import encode, ends, never_empty, rooms, token_places, windows
from ftkit.tasks.classification import Classification
from tests.tiny import CAUSAL, ENCODERS, SENTENCES, SEQ2SEQ, tiny, tiny_tokenizer

WORDS = sorted(set(SENTENCES.split()))
TEXTS = st.lists(st.sampled_from([*WORDS, "ünheard-of", "🙂"]), max_size=30).map(" ".join)
NAMES = (*ENCODERS, *SEQ2SEQ, *CAUSAL)
TOKENIZERS: dict[str, Any] = {name: tiny_tokenizer(name) for name in NAMES}


@given(st.integers(0, 60), st.integers(1, 40), st.sampled_from(["head", "tail", "head+tail"]))
def test_ends_keep_what_they_promise(length: int, room: int, how: Any) -> None:
    kept = [i for run in ends(length, room, how) for i in run]
    assert len(kept) == min(length, room) and kept == sorted(set(kept))
    if length > room:
        first = {"head": room, "tail": 0, "head+tail": room - room // 2}[how]
        assert kept == [*range(first), *range(length - room + first, length)]


@given(st.integers(0, 200), st.integers(1, 40), st.data())
def test_windows_cover_every_token_and_share_the_stride(length: int, room: int, data: st.DataObject) -> None:
    stride = data.draw(st.integers(0, room // 2))
    found = windows(length, room, stride)
    assert {i for run in found for i in run} == set(range(length))
    assert all(len(run) == room for run in found[:-1]) and len(found[-1]) <= room
    for one, other in pairwise(found):
        assert one.stop - other.start == stride and other.stop > one.stop


@given(st.lists(st.integers(0, 50), min_size=1, max_size=2), st.integers(2, 40))
def test_room_is_used_up_and_the_longer_text_is_cut_first(lengths: list[int], room: int) -> None:
    found = rooms(lengths, room)
    assert sum(found) == min(sum(lengths), room)
    assert all(own <= length for own, length in zip(found, lengths, strict=True))
    if len(lengths) == 2 and found[0] < lengths[0] and found[1] < lengths[1]:
        assert abs(found[0] - found[1]) <= 1


@settings(max_examples=30)
@given(TEXTS, TEXTS, st.integers(9, 40), st.sampled_from(["head", "tail"]))
@pytest.mark.parametrize("name", NAMES)
def test_texts_and_pairs_are_cut_as_transformers_does(name: str, text: str, pair: str, most: int, how: Any) -> None:
    tokenizer = TOKENIZERS[name]
    for texts in ([[text]], [[text], [pair]]):
        ours = encode(texts, tokenizer, how, most, 0)
        tokenizer.truncation_side = "right" if how == "head" else "left"
        try:
            theirs = tokenizer(*texts, truncation="longest_first", max_length=most)
        finally:
            tokenizer.truncation_side = "right"
        never_empty(theirs, tokenizer)
        assert {column: ours[column] for column in tokenizer.model_input_names} == dict(theirs)
        assert ours["truncated"] == [bool(theirs.encodings[0].overflowing)]


@settings(max_examples=30)
@given(TEXTS, st.integers(9, 40), st.data())
@pytest.mark.parametrize("name", NAMES)
def test_windows_are_those_of_transformers(name: str, text: str, most: int, data: st.DataObject) -> None:
    tokenizer, stride = TOKENIZERS[name], data.draw(st.integers(0, (most - 4) // 2))
    ours = encode([[text]], tokenizer, "window", most, stride)
    theirs = tokenizer([text], truncation=True, max_length=most, stride=stride, return_overflowing_tokens=True)
    never_empty(theirs, tokenizer)
    assert all(ours[column] == theirs[column] for column in tokenizer.model_input_names)
    assert not any(ours["truncated"])


@settings(max_examples=30)
@given(TEXTS, TEXTS, st.integers(9, 40), st.integers(0, 30))
@pytest.mark.parametrize("name", ["bert", "roberta", "t5"])
def test_windows_of_a_pair_read_all_of_the_longer_text(name: str, text: str, pair: str, most: int, stride: int) -> None:
    tokenizer = TOKENIZERS[name]
    found = encode([[text], [pair]], tokenizer, "window", most, stride)
    places = token_places({"text": text, "text_pair": pair}, tokenizer, "window", most, stride)
    read = [[place for place in row if place] for row in places]  # several tokens may be of one character
    whole = [
        place for place in token_places({"text": text, "text_pair": pair}, tokenizer, "head", 10**6, 0)[0] if place
    ]
    sizes = Counter(place[0] for place in whole)
    longer = "text" if sizes["text"] > sizes["text_pair"] else "text_pair"
    assert {place for row in read for place in row if place[0] == longer} == {p for p in whole if p[0] == longer}
    shorter = [[place for place in row if place[0] != longer] for row in read]
    assert all(row == shorter[0] for row in shorter)
    lost = sum(place[0] != longer for place in whole) - len(shorter[0])
    assert found["truncated"] == [lost > 0] * len(read)
    assert all(len(ids) <= most for ids in found["input_ids"])
    assert [len(ids) for ids in found["input_ids"]] == [len(row) for row in places]


def test_both_ends_are_read_of_each_text() -> None:
    tokenizer = TOKENIZERS["bert"]
    text = "the film was a sharp and good film about the old house ."
    whole = tokenizer(text)["input_ids"]
    (row,) = encode([[text]], tokenizer, "head+tail", 9, 0)["input_ids"]
    assert row == [*whole[:5], *whole[-4:]]


# ---------------------------------------------------------------------- the task

LABELS = ("a", "b", "c")


def task(kind: str = "single", **options: Any) -> Task:
    return Classification(Classification.Options(kind=kind, **options))  # type: ignore[arg-type]


@given(st.lists(TEXTS, min_size=1, max_size=4), st.sampled_from(["tail", "head+tail", "window"]))
def test_texts_that_fit_are_read_alike_in_every_way(texts: list[str], how: str) -> None:
    tokenizer = TOKENIZERS["bert"]
    usual, other = (dict(task(truncate=each).encode({"text": texts}, tokenizer, LABELS)) for each in ("head", how))
    assert other.pop("example") == list(range(len(texts)))
    assert other == usual


TRUTH: dict[str, list[Any]] = {"single": ["a", "c"], "multi": [["a", "b"], []], "regression": [0.5, -2.0]}


@pytest.mark.parametrize("kind", TRUTH)
def test_a_text_counts_once_however_many_windows_it_has(kind: str) -> None:
    """A text's loss is the mean of its windows', and a step is divided by texts."""
    model, tokenizer = (
        tiny("bert", "SEQ_CLS", labels=1 if kind == "regression" else 3, vocab_size=500),
        TOKENIZERS["bert"],
    )
    labels = ("value",) if kind == "regression" else LABELS
    weights = None if kind == "regression" else (1.0, 0.5, 3.0)
    weighting = Weighting(0.0 if kind == "regression" else 0.1, weights)
    texts = [" ".join(WORDS[:40]), "the film"]
    windowed, plain = task(kind, truncate="window", max_length=16, stride=4), task(kind, max_length=16)

    def loss(t: Task, rows: dict[str, list[Any]], chosen: list[int]) -> tuple[float, float]:
        names = [name for name in (*tokenizer.model_input_names, *t.targets) if name in rows]
        batch = t.collate([{name: rows[name][i] for name in names} for i in chosen], tokenizer)
        with torch.no_grad():
            return float(t.loss(t.forward(model, batch), batch, weighting)), float(t.loss_size(batch, weighting))

    rows = dict(windowed.encode({"text": texts, "label": TRUTH[kind]}, tokenizer, labels))
    count = rows["example"].count(0)
    assert count > 3 and rows["weight"] == [1 / count] * count + [1.0]
    alone = {name: values for name, values in rows.items() if name not in ("weight", "example")}
    each = [loss(plain, alone, [i]) for i in range(count + 1)]
    found = loss(windowed, rows, list(range(count + 1)))
    assert found[0] == pytest.approx(sum(value for value, _ in each[:count]) / count + each[-1][0], rel=1e-5)
    assert found[1] == pytest.approx(each[0][1] + each[-1][1], rel=1e-5)


def test_the_mean_of_the_windows_logits_answers_and_is_calibrated() -> None:
    logits = np.array([[1, 0, 0], [0, 4, 0], [2, 0, 0], [0, 0, 7]], dtype=np.float32)
    outputs, encoded = [{"logits": row} for row in logits], {"example": [0, 0, 0, 1]}
    mean = np.stack([logits[:3].mean(0), logits[3]])
    t = task(truncate="window")
    found = t.decode(outputs, encoded, [{}, {}], None, LABELS)
    assert [answer["label"] for answer in found] == ["b", "c"]
    exact = np.exp(mean.astype(float))
    assert [a["score"] for a in found] == pytest.approx((exact.max(1) / exact.sum(1)).tolist(), rel=1e-6)
    decisions = t.decisions(outputs, encoded, [{"label": "a"}, {"label": "c"}], LABELS)
    np.testing.assert_allclose(decisions.logits, mean, rtol=1e-6)
    assert decisions.right.tolist() == [False, True] and decisions.truth is not None
    assert decisions.truth.tolist() == [0, 2]
    several = task("multi", truncate="window").decode(outputs, encoded, [{}, {}], None, LABELS)
    assert [answer["labels"] for answer in several] == [["a", "b", "c"], ["a", "b", "c"]]
    assert several[0]["scores"]["b"] == pytest.approx(1 / (1 + np.exp(-4.0))), "the highest of its windows"
    numbers = task("regression", truncate="window").decode(
        [{"logits": np.array([v])} for v in (1.0, 2.0, 9.0)], {"example": [0, 0, 1]}, [{}, {}], None, ("value",)
    )
    assert numbers == [{"value": 1.5}, {"value": 9.0}]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"truncate": "window", "max_length": 8}, "max_length must be more than 8"),
        ({"stride": 8}, "stride is for windows"),
        ({"truncate": "middle"}, "'head', 'tail', 'head\\+tail' or 'window'"),
    ],
)
def test_options_that_can_not_go_together_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        task(**options)


@pytest.mark.parametrize(
    ("known", "token"), [((1, 2, 3), 1), ((None, 2, 3), 2), ((None, None, 3), 3), ((None, None, None), 0)]
)
def test_a_row_of_no_token_has_one_that_is_seen(known: Any, token: int) -> None:
    names = ("bos_token_id", "eos_token_id", "pad_token_id")
    columns = {"input_ids": [[5], []], "attention_mask": [[1], []], "token_type_ids": [[0], []], "length": [1, 0]}
    tokenizer = SimpleNamespace(
        model_input_names=["input_ids", "token_type_ids", "attention_mask"], **dict(zip(names, known, strict=True))
    )
    never_empty(columns, tokenizer)
    assert columns == {
        "input_ids": [[5], [token]],
        "attention_mask": [[1], [1]],
        "token_type_ids": [[0], [0]],
        "length": [1, 0],
    }
