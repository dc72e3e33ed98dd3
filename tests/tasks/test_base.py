"""What a task says where it says nothing of its own."""

from __future__ import annotations

from ftkit.tasks._base import Column, Task


class Plain(Task):
    """Says nothing of its own; its target does not stand last, and its answer has more to say."""

    columns = (Column("text", "text"), Column("label", "label"), Column("pair", "text", required=False))


def test_the_usual_answers_texts_and_confidence() -> None:
    t, found = Plain(Plain.Options()), [{"label": "a", "score": 0.75}, {}]
    assert t.answers(found, {"label": ["a", "b"], "pair": ["x", "y"]}) == (["a", None], ["a", "b"])
    assert t.texts({"text": "one", "label": "a", "pair": None}) == {"text": "one"}
    assert t.texts({"text": "one", "pair": "two"}) == {"text": "one", "pair": "two"}
    assert [t.confidence(one) for one in found] == [0.75, None]
    assert t.traits({}) == {} and t.marks({}, {}) is None and t.token_places({}, {}, None) is None
