"""Question answering: answers keep their place through windows, and what no window holds is no answer."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ftkit.tasks._base import Weighting
from ftkit.tasks.qa import QuestionAnswering, _answer
from tests.runs import SIZES, Lab
from tests.tiny import SENTENCES, tiny, tiny_tokenizer

CONTEXT = SENTENCES.replace("\n", " ")
WORDS = [match.span() for match in re.finditer(r"\w+", CONTEXT)]
TOKENIZERS = {name: tiny_tokenizer(name) for name in ("bert", "roberta")}


def task(**options: Any) -> QuestionAnswering:
    return QuestionAnswering(QuestionAnswering.Options(**{"max_length": 64, "stride": 24, **options}))


def batch(question: str, first: int, last: int) -> dict[str, Any]:
    start, end = WORDS[first][0], WORDS[last][1]
    return {
        "question": [question],
        "context": [CONTEXT],
        "answers": [{"text": [CONTEXT[start:end]], "answer_start": [start]}],
    }


def gold(encoded: dict[str, Any]) -> list[dict[str, np.ndarray]]:
    """Logits that say the targets of each window, with more certainty where the answer is there."""
    outputs = []
    for ids, start, end in zip(encoded["input_ids"], encoded["start_positions"], encoded["end_positions"], strict=True):
        at_start, at_end = np.zeros((2, len(ids)), np.float32)
        at_start[start] += 9 if start else 5
        at_end[end] += 9 if start else 5
        outputs.append({"start_logits": at_start, "end_logits": at_end})
    return outputs


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["bert", "roberta"]),
    st.integers(0, len(WORDS) - 6),
    st.integers(0, 3),
    st.sampled_from(["Who?", "What is said about the river in the middle of the town and its bridges?"]),
)
def test_right_logits_give_the_answer_at_its_place(name: str, first: int, length: int, question: str) -> None:
    t, rows = task(unanswerable=True), batch(question, first, first + length)
    encoded = t.encode(rows, TOKENIZERS[name], ())
    assert len(encoded["input_ids"]) > 5 and max(map(len, encoded["input_ids"])) <= 64
    examples = [{key: values[0] for key, values in rows.items()}]
    (answer,) = t.decode(gold(encoded), encoded, examples, TOKENIZERS[name], ())
    assert answer["start"] == rows["answers"][0]["answer_start"][0]
    assert answer["answer"] == rows["answers"][0]["text"][0] == CONTEXT[answer["start"] : answer["end"]]
    assert t.score([answer], {"answers": rows["answers"]})["exact_match"]["value"] == 1


@settings(max_examples=30, deadline=None)
@given(st.integers(0, len(WORDS) - 6))
def test_windows_that_cut_an_answer_have_none(first: int) -> None:
    rows = batch("Who?", first, first + 4)
    encoded = task().encode(rows, TOKENIZERS["bert"], ())
    begin = rows["answers"][0]["answer_start"][0]
    finish = begin + len(rows["answers"][0]["text"][0])
    whole = 0
    for offsets, start, end in zip(
        encoded["offsets"], encoded["start_positions"], encoded["end_positions"], strict=True
    ):
        inside = [place for place in offsets if place[1] > place[0]]
        if inside[0][0] <= begin and inside[-1][1] >= finish:
            assert (offsets[start][0], offsets[end][1]) == (begin, finish)
            whole += 1
        else:
            assert (start, end) == (0, 0)
    assert whole >= 1


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize(("before", "after"), [(" ", ""), ("", " "), (" ", "  ")])
def test_spaces_about_an_answer_do_not_make_it_none(name: str, before: str, after: str) -> None:
    rows = batch("Who?", 3, 4)
    start, text = rows["answers"][0]["answer_start"][0], rows["answers"][0]["text"][0]
    begin, finish = start - len(before), start + len(text) + len(after)
    rows["context"] = [rows["context"][0][: start + len(text)] + " " + rows["context"][0][start + len(text) :]]
    plain = task().encode(rows, TOKENIZERS[name], ())
    spaced = {"text": [rows["context"][0][begin:finish]], "answer_start": [begin]}
    found = task().encode({**rows, "answers": [spaced]}, TOKENIZERS[name], ())
    for side in ("start_positions", "end_positions"):
        assert found[side] == plain[side] and any(plain[side])


def test_long_question_is_cut_and_every_window_reads_on() -> None:
    t, rows = task(), batch(CONTEXT, 3, 4)
    encoded = t.encode(rows, TOKENIZERS["bert"], ())
    assert max(map(len, encoded["input_ids"])) <= 64
    covered = {i for window in encoded["offsets"] for start, end in window for i in range(start, end)}
    assert {i for i, character in enumerate(CONTEXT) if not character.isspace()} <= covered
    starts = [next(place[0] for place in window if place[1]) for window in encoded["offsets"]]
    assert starts == sorted(set(starts))


def test_unanswerable_is_settled_by_the_training_questions() -> None:
    answered = [{"text": ["a"], "answer_start": [0]}]
    none: list[dict[str, list[Any]]] = [{"text": [], "answer_start": []}]
    assert task().settle(Dataset.from_dict({"answers": answered}), None).options.unanswerable is False
    assert task().settle(Dataset.from_dict({"answers": answered + none}), None).options.unanswerable is True
    (issue,) = task(unanswerable=False).check(Dataset.from_dict({"row": [1, 2], "answers": answered + none}), ())
    assert (issue.level, [place.row for place in issue.places]) == ("warning", [2])


def test_no_answer_is_given_where_it_is_likelier_and_allowed() -> None:
    rows = batch("Who?", 0, 0)
    rows["answers"] = [{"text": [], "answer_start": []}]
    examples = [{key: values[0] for key, values in rows.items()}]
    t = task(unanswerable=True)
    encoded = t.encode(rows, TOKENIZERS["bert"], ())
    assert set(encoded["start_positions"]) == {0}
    (answer,) = t.decode(gold(encoded), encoded, examples, None, ())
    assert answer == {"answer": "", "start": None, "end": None, "score": pytest.approx(1, abs=1e-4)}
    (forced,) = task(unanswerable=False).decode(gold(encoded), encoded, examples, None, ())
    (lenient,) = task(unanswerable=True, null_threshold=11).decode(gold(encoded), encoded, examples, None, ())
    assert forced["answer"] and lenient["answer"]
    assert "(no answer)" in t.render(examples[0], answer)


def test_answers_are_no_longer_than_allowed() -> None:
    t = task(answer_tokens=3, unanswerable=False)
    encoded = t.encode(batch("Who?", 0, 0), TOKENIZERS["bert"], ())
    outputs = []
    for window in encoded["offsets"]:
        places = [i for i, (start, end) in enumerate(window) if end > start]
        logits = {name: np.zeros(len(window), np.float32) for name in ("start_logits", "end_logits")}
        logits["start_logits"][places[0]], logits["end_logits"][places[-1]] = 9, 9
        outputs.append(logits)
    (answer,) = t.decode(outputs, encoded, [{"context": CONTEXT}], None, ())
    assert 0 < len(TOKENIZERS["bert"](answer["answer"], add_special_tokens=False)["input_ids"]) <= 3


def test_windows_must_advance() -> None:
    with pytest.raises(ValidationError, match="no room to advance"):
        task(max_length=64, stride=50)


def encoded_rows() -> list[dict[str, Any]]:
    t = task(max_length=48, stride=8)
    encoded = t.encode(batch("Who?", 30, 31), TOKENIZERS["bert"], ())
    names = ("input_ids", "token_type_ids", "attention_mask", "start_positions", "end_positions")
    return [{name: encoded[name][i] for name in names} for i in range(len(encoded["input_ids"]))]


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss_is_the_models_own_and_does_not_look_at_padding(smoothing: float) -> None:
    t, model = task(), tiny("bert", "QUESTION_ANS", vocab_size=len(TOKENIZERS["bert"]))
    rows = encoded_rows()
    assert len({len(row["input_ids"]) for row in rows}) == 2
    weighting = Weighting(smoothing)
    together = t.collate(rows, TOKENIZERS["bert"])
    with torch.no_grad():
        ours = t.loss(t.forward(model, together), together, weighting) / t.loss_size(together, weighting)
        alone = []
        for row in rows:
            single = t.collate([row], TOKENIZERS["bert"])
            out = model(**{k: v for k, v in single.items() if "positions" not in k})
            reference = torch.nn.CrossEntropyLoss(label_smoothing=smoothing)
            alone.append(
                (
                    reference(out.start_logits, single["start_positions"])
                    + reference(out.end_logits, single["end_positions"])
                )
                / 2
            )
            if not smoothing:
                assert alone[-1].item() == pytest.approx(model(**single).loss.item(), rel=1e-6)
    assert ours.item() == pytest.approx(torch.stack(alone).mean().item(), rel=1e-6)


PASSAGE = "alpha beta gamma"
OFFSETS = [[0, 0], [0, 5], [6, 10], [11, 16], [0, 0]]
"""One window over PASSAGE: a special token, three words, a special token."""


def answer_from(t: QuestionAnswering, *windows: tuple[list[float], list[float]]) -> dict[str, Any]:
    """What windows over PASSAGE, each with its start and end logits, are decoded to."""
    outputs = [{"start_logits": np.array(start), "end_logits": np.array(end)} for start, end in windows]
    encoded: dict[str, list[Any]] = {"example": [0] * len(windows), "offsets": [OFFSETS] * len(windows)}
    (answer,) = t.decode(outputs, encoded, [{"context": PASSAGE}], None, ())
    return answer


def test_an_answer_never_ends_before_it_starts() -> None:
    answer = answer_from(task(unanswerable=False), ([0, 0, 5, 9, 0], [0, 9, 5, 0, 0]))
    assert (answer["answer"], answer["start"], answer["end"]) == ("beta", 6, 10)


LOGITS = st.lists(st.floats(-5, 5, width=32), min_size=5, max_size=5)


@given(LOGITS, LOGITS, st.integers(1, 3))
def test_the_best_span_is_the_best_of_all_that_are_tried_one_by_one(
    start: list[float], end: list[float], longest: int
) -> None:
    answer = answer_from(task(unanswerable=False, answer_tokens=longest), (start, end))
    legal = [(i, j) for i in (1, 2, 3) for j in range(i, min(i + longest, 4))]
    best = max(start[i] + end[j] for i, j in legal)
    (found,) = [(i, j) for i, j in legal if (OFFSETS[i][0], OFFSETS[j][1]) == (answer["start"], answer["end"])]
    assert start[found[0]] + end[found[1]] == pytest.approx(best)
    assert answer["answer"] == PASSAGE[answer["start"] : answer["end"]]


def test_an_answers_score_is_the_starts_times_the_ends_probability() -> None:
    start, end = np.log([1, 4, 1, 1, 1]).tolist(), np.log([1, 1, 6, 1, 1]).tolist()
    answer = answer_from(task(unanswerable=False), (start, end))
    assert answer == {"answer": "alpha beta", "start": 0, "end": 10, "score": pytest.approx(4 / 8 * 6 / 10)}


def test_no_answer_must_be_likelier_in_every_window() -> None:
    """Its score is the lowest over the windows, as in SQuAD's own scripts, whichever window comes first."""
    t, ends = task(unanswerable=True), [0.0] * 5
    sure, unsure = ([8.0, 0, 0, 0, 0], ends), ([2.0, 0, 5, 0, 0], ends)
    assert answer_from(t, sure, unsure)["answer"].startswith("beta")
    assert answer_from(t, unsure, sure)["answer"].startswith("beta")
    alike = ([8.0, 0, 5, 0, 0], ends)
    assert answer_from(t, sure, alike)["answer"] == answer_from(t, alike, sure)["answer"] == ""
    assert answer_from(t, sure, alike)["score"] == pytest.approx(1 / (1 + np.exp(-3)))


def test_each_of_several_right_answers_is_right() -> None:
    right = {"text": ["one", "two words", "three"], "answer_start": [0, 4, 14]}
    for said, score in (("one", 1), ("two words", 1), ("three", 1), ("four", 0)):
        scores = task().score([{"answer": said}], {"answers": [right]})
        assert (scores["exact_match"]["value"], scores["f1"]["value"]) == (score, score), said


@pytest.mark.parametrize(
    ("question", "answers", "expected"),
    [
        ("WHOSE cat is it?", ["Anna"], ("who", "1 word")),
        ("In which town, and where?", ["in Rome", "Rome"], ("which", "2 to 3 words")),
        ("Name it.", ["a b c d"], ("other", "4 to 7 words")),
        ("How?", ["a b c d e f g h"], ("how", "8 words or more")),
        ("", [], ("other", "no answer")),
    ],
)
def test_traits_are_the_questions_word_and_the_answers_length(
    question: str, answers: list[str], expected: tuple[str, str]
) -> None:
    found = task().traits({"question": question, "answers": {"text": answers, "answer_start": [0] * len(answers)}})
    assert found == {"question word": expected[0], "answer's length": expected[1]}


def test_marks_are_the_first_right_answer_and_the_given_one() -> None:
    two = {"answers": {"text": ["one", "two words"], "answer_start": [0, 4]}}
    none: dict[str, Any] = {"answers": {"text": [], "answer_start": []}}
    given, nothing = {"answer": "two", "start": 4, "end": 7}, {"answer": "", "start": None, "end": None}
    assert task().marks(two, given) == ("context", [("", 0, 3)], [("", 4, 7)])
    assert task().marks(two, nothing) == ("context", [("", 0, 3)], [])
    assert task().marks(none, given) == ("context", [], [("", 4, 7)])


@pytest.mark.parametrize(("unanswerable", "warned"), [(True, False), (False, True), ("auto", True)])
def test_questions_without_an_answer_are_warned_of_where_one_is_always_given(unanswerable: Any, warned: bool) -> None:
    """Of a plain checkpoint nobody knows, and it answers always."""
    rows = Dataset.from_dict(
        {"question": ["Who?"], "context": [CONTEXT], "answers": [{"text": [], "answer_start": []}], "row": [4]}
    )
    found = list(task(unanswerable=unanswerable).check(rows, ()))
    assert bool(found) == warned and all(finding.kind == "unanswerable" for finding in found)


MARKED = [("a cafe\u0301", "cafe\u0301"), ("a cafe\u0301.", "cafe\u0301"), ("वह दिल्ली में", "में"), ("वह दिल्ली में है।", "में")]


@pytest.mark.parametrize(("context", "answer"), MARKED)
def test_marks_that_the_tokenizer_drops_are_part_of_the_answer(context: str, answer: str) -> None:
    answers = {"text": [answer], "answer_start": [context.index(answer)]}
    rows = {"question": ["Who?"], "context": [context], "answers": [answers]}
    encoded = task(unanswerable=True).encode(rows, TOKENIZERS["bert"], ())
    example = {name: values[0] for name, values in rows.items()}
    (found,) = task(unanswerable=True).decode(gold(encoded), encoded, [example], TOKENIZERS["bert"], ())
    assert found["answer"] == answer and found["start"] == context.index(answer)


def test_what_the_tokenizer_drops_at_the_passages_edge_does_not_make_an_answer_none() -> None:
    answers = {"text": ["\u200eParis"], "answer_start": [0]}
    rows = {"question": ["Who?"], "context": ["\u200eParis is"], "answers": [answers]}
    assert any(task().encode(rows, TOKENIZERS["bert"], ())["start_positions"])


def test_a_checkpoint_whose_head_has_other_labels_answers_questions(lab: Lab) -> None:
    start = lab.trained("single", "full").run
    assert lab.train("qa", f"model.checkpoint={start}").scores["test"]["f1"]["n"] == SIZES["test"]


def test_marks_of_every_kind_are_part_of_their_letter() -> None:
    assert [_answer(text, 0, 1, 0.5)["answer"] for text in ("\u0915\u093e.", "e\u0301.", "1\u20e3.")] == [
        "\u0915\u093e",
        "e\u0301",
        "1\u20e3",
    ]
