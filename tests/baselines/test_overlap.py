from __future__ import annotations

from typing import Any

from datasets import Dataset

from ftkit.baselines.overlap import Overlap
from ftkit.tasks._base import Prediction
from ftkit.tasks.qa import QuestionAnswering

CONTEXT = "The mill was built in 1702. A fire destroyed the roof in 1840. The mill is now a museum."


def fitted(contexts: list[str], answered: list[bool]) -> Overlap:
    answers: list[Any] = [
        {"text": [c[:3]], "answer_start": [0]} if known else {"text": [], "answer_start": []}
        for c, known in zip(contexts, answered, strict=True)
    ]
    rows = Dataset.from_dict({"question": ["What?"] * len(contexts), "context": contexts, "answers": answers})
    baseline = Overlap()
    baseline.fit(rows, QuestionAnswering(QuestionAnswering.Options()), ())
    return baseline


def asked(baseline: Overlap, question: str, context: str = CONTEXT) -> Prediction:
    (answer,) = baseline.predict(Dataset.from_dict({"question": [question], "context": [context]}))
    if answer["start"] is not None:
        assert answer["answer"] == context[answer["start"] : answer["end"]]
    return answer


def test_sentence_that_repeats_the_question_is_given() -> None:
    found = asked(fitted([CONTEXT], [True]), "What destroyed the roof?")
    assert found["answer"] == "A fire destroyed the roof in 1840."
    assert 0.5 < found["score"] < 1


def test_rare_words_count_more() -> None:
    context = "In the end the bell of the church fell. A clock chimed."
    many = [f"In the end of the church {i}." for i in range(20)]
    assert asked(fitted(many, [True] * 20), "In the end, what clock?", context)["answer"] == "A clock chimed."


def test_nothing_shared_gives_the_first_sentence() -> None:
    found = asked(fitted([CONTEXT], [True]), "Who?")
    assert (found["answer"], found["score"]) == ("The mill was built in 1702.", 0.0)


def test_no_answer_only_where_most_questions_have_none() -> None:
    nothing = {"answer": "", "start": None, "end": None, "score": 0.75}
    assert asked(fitted([CONTEXT] * 4, [True, False, False, False]), "What roof?") == nothing
    assert asked(fitted([CONTEXT] * 2, [True, False]), "What roof?")["answer"].startswith("A fire")


def test_passage_without_words() -> None:
    assert asked(fitted([CONTEXT], [True]), "What?", " ") == {"answer": "", "start": None, "end": None, "score": 1.0}


def test_script_without_spaces() -> None:
    context = "磨坊建于一七〇二年。大火烧毁了屋顶。现在是博物馆。"
    assert asked(fitted([context], [True]), "什么烧毁了屋顶", context)["answer"] == "大火烧毁了屋顶。"


def test_stopwords_do_not_count() -> None:
    context = "Was it in the mill that the fire was? It was the old roof."
    question = "What was it that was in the roof?"
    plain, baseline = fitted([context], [True]), fitted([context], [True])
    baseline.stopwords = frozenset({"what", "was", "it", "that", "in", "the"})
    assert asked(plain, question, context)["answer"].startswith("Was it")
    assert asked(baseline, question, context)["answer"] == "It was the old roof."
