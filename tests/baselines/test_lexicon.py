from __future__ import annotations

from datasets import Dataset

from ftkit.baselines.lexicon import Lexicon, polarities
from ftkit.tasks._base import Prediction
from ftkit.tasks.sentiment import Sentiment

GOOD = ["What a wonderful, happy day!", "I love this excellent book.", "Great fun, and a superb ending."]
BAD = ["A horrible, sad day.", "I hate this awful book.", "Boring, and a terrible ending."]
PLAIN = ["The shop opens at nine.", "It has two floors.", "The bus stops there."]


def fitted(texts: list[str], labels: list[str]) -> Lexicon:
    baseline, task = Lexicon(), Sentiment(Sentiment.Options())
    baseline.fit(Dataset.from_dict({"text": texts, "label": labels}), task, tuple(sorted(set(labels))))
    return baseline


def answers(baseline: Lexicon, *texts: str) -> list[Prediction]:
    return baseline.predict(Dataset.from_dict({"text": list(texts)}))


def labels(baseline: Lexicon, *texts: str) -> list[str]:
    return [answer["label"] for answer in answers(baseline, *texts)]


def test_rules_know_negation_and_boosters() -> None:
    good, not_good, very_good, nothing = polarities(["It is good", "It is not good", "It is very good", ""])
    assert not_good < nothing == 0 < good < very_good


def test_two_labels_whatever_their_names() -> None:
    baseline = fitted(GOOD + BAD, ["zebra"] * 3 + ["ape"] * 3)
    assert labels(baseline, "A lovely, great film", "The worst, ugly film") == ["zebra", "ape"]


def test_three_labels() -> None:
    baseline = fitted(GOOD + PLAIN + BAD, ["2"] * 3 + ["1"] * 3 + ["0"] * 3)
    assert labels(baseline, "A lovely, great film", "A film", "The worst, ugly film") == ["2", "1", "0"]


def test_equally_near_labels_are_given_by_frequency() -> None:
    baseline = fitted(["一本书", "两本书", "三本书"], ["a", "b", "b"])
    assert answers(baseline, "书") == [{"label": "b", "score": 0.5}]


def test_score_says_how_near() -> None:
    baseline = fitted(GOOD + BAD, ["good"] * 3 + ["bad"] * 3)
    near, far = answers(baseline, GOOD[1], "It has two floors.")
    assert 0.5 <= far["score"] < near["score"] <= 1


def test_only_label_is_given() -> None:
    assert answers(fitted(GOOD, ["good"] * 3), "", "x") == [{"label": "good", "score": 1.0}] * 2


def test_serves_rows_with_one_label() -> None:
    assert Lexicon().serves(Sentiment(Sentiment.Options()))
    assert not Lexicon().serves(Sentiment(Sentiment.Options(kind="regression")))
