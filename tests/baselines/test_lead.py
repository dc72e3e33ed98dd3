from __future__ import annotations

from datasets import Dataset

from ftkit.baselines.lead import Lead, usual_length
from ftkit.tasks.summarization import Summarization

DOCUMENT = "Dr. Marlin came first.  Then came the frogs! Nobody left. The end."


def summaries(*lengths: int) -> Dataset:
    said = [["It was so. " * length] for length in lengths]
    return Dataset.from_dict({"document": [DOCUMENT] * len(said), "summary": said})


def beginning(length: int, document: str) -> str:
    baseline = Lead()
    baseline.fit(summaries(length), Summarization(Summarization.Options()), ())
    (answer,) = baseline.predict(Dataset.from_dict({"document": [document]}))
    return str(answer["summary"])


def test_length_is_the_mean_of_all_references() -> None:
    assert usual_length(summaries(1, 2, 5)) == 3
    assert usual_length(Dataset.from_dict({"summary": [["One. Two."], ["One. Two. Three. Four.", "A. B."]]})) == 2
    assert usual_length(Dataset.from_dict({"summary": [[""]]})) == 1


def test_sentences_are_taken_as_they_stand() -> None:
    assert beginning(1, DOCUMENT) == "Dr. Marlin came first."
    assert beginning(2, DOCUMENT) == "Dr. Marlin came first.  Then came the frogs!"


def test_short_and_empty_documents_are_given_whole() -> None:
    assert beginning(3, " One sentence ") == "One sentence"
    assert beginning(1, "") == ""


def test_other_scripts() -> None:
    assert beginning(1, "今天很好。明天下雨。") == "今天很好。"
    assert beginning(1, "यह पहला है। यह दूसरा है।") == "यह पहला है।"
