from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import numpy as np
import pytest
from datasets import Dataset
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import Ridge
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC

from ftkit.baselines import svm
from ftkit.baselines._text import stopwords
from ftkit.baselines.svm import SVM
from ftkit.tasks._base import Prediction
from ftkit.tasks.classification import Classification
from tests.runs import rows

LABELS = ("arts", "sport", "trade")


def fitted(kind: Any, train: Dataset, labels: Sequence[str] = LABELS) -> SVM:
    baseline = SVM()
    baseline.fit(train, Classification(Classification.Options(kind=kind)), tuple(labels))
    return baseline


def data(kind: str, split: str, count: int = 60) -> Dataset:
    return Dataset.from_list(rows(kind, split, count))


def plain() -> TfidfVectorizer:
    return TfidfVectorizer(token_pattern=r"[^\W_]+", ngram_range=(1, 2), sublinear_tf=True)


def test_one_label_is_as_a_plain_pipeline_has_it() -> None:
    train, test = data("single", "train"), data("single", "test")
    pipeline = make_pipeline(plain(), LinearSVC(random_state=13)).fit(train["text"], train["label"])
    found = fitted("single", train).predict(test)
    assert [row["label"] for row in found] == list(pipeline.predict(test["text"]))
    margins = np.exp(pipeline.decision_function(test["text"]))
    expected = (margins / margins.sum(-1, keepdims=True)).max(-1)
    assert [row["score"] for row in found] == pytest.approx(expected.tolist())


def test_two_labels_are_as_a_plain_pipeline_has_them() -> None:
    train, test = (data("single", split).filter(lambda row: row["label"] != "arts") for split in ("train", "test"))
    pipeline = make_pipeline(plain(), LinearSVC(random_state=13)).fit(train["text"], train["label"])
    found = fitted("single", train).predict(test)
    assert [row["label"] for row in found] == list(pipeline.predict(test["text"]))
    assert {row["label"] for row in found} == {"sport", "trade"}
    assert all(row["score"] >= 0.5 for row in found)


def test_several_labels_are_as_one_machine_each_has_them() -> None:
    train, test = data("multi", "train"), data("multi", "test")
    labels = ("calm", "long", "new")
    given = np.array([[int(label in row) for label in labels] for row in train["label"]])
    pipeline = make_pipeline(plain(), OneVsRestClassifier(LinearSVC(random_state=13))).fit(train["text"], given)
    expected = [
        [label for label, one in zip(labels, row, strict=True) if one] for row in pipeline.predict(test["text"])
    ]
    found = fitted("multi", train, labels).predict(test)
    assert [row["labels"] for row in found] == expected
    assert all(list(row["scores"]) == row["labels"] and min(row["scores"].values(), default=1) > 0.5 for row in found)


def test_numbers_are_as_ridge_regression_has_them() -> None:
    train, test = data("regression", "train"), data("regression", "test")
    pipeline = make_pipeline(plain(), Ridge()).fit(train["text"], train["label"])
    found = [row["value"] for row in fitted("regression", train, ("value",)).predict(test)]
    assert found == pytest.approx(pipeline.predict(test["text"]).tolist(), abs=1e-3)


def test_texts_of_a_pair_count_words_apart() -> None:
    random = Random(0)
    pairs = [random.sample(["red", "green", "blue", "grey"], 2) for _ in range(80)]
    columns = {"text": [a for a, _ in pairs], "text_pair": [b for _, b in pairs]}
    train = Dataset.from_dict({**columns, "label": ["yes" if a == "red" else "no" for a, _ in pairs]})
    found = [row["label"] for row in fitted("single", train, ("no", "yes")).predict(train)]
    assert found == train["label"]
    both = ColumnTransformer([(name, plain(), name) for name in columns])
    frame = train.to_pandas()
    expected = make_pipeline(both, LinearSVC(random_state=13)).fit(frame, frame["label"]).predict(frame)
    assert found == list(expected)


def test_label_that_training_lacks_is_never_given() -> None:
    train = data("single", "train").filter(lambda row: row["label"] == "sport")
    found = fitted("single", train).predict(data("single", "test"))
    assert found == [{"label": "sport", "score": 1.0}] * 60


def test_label_that_no_row_or_every_row_has() -> None:
    train = Dataset.from_dict({"text": ["one", "two", "three"], "label": [["all"], ["all", "x"], ["all"]]})
    found: list[Prediction] = fitted("multi", train, ("all", "none", "x")).predict(train)
    assert [row["labels"] for row in found] == [["all"], ["all", "x"], ["all"]]


def test_script_without_spaces_is_learned() -> None:
    good, bad = ["很好吃的菜", "味道好极了", "这里很好"], ["难吃的菜", "味道太差了", "这里很差"]
    train = Dataset.from_dict({"text": good + bad, "label": ["good"] * 3 + ["bad"] * 3})
    test = Dataset.from_dict({"text": ["菜很好", "菜太差"]})
    found = fitted("single", train, ("bad", "good")).predict(test)
    assert [row["label"] for row in found] == ["good", "bad"]


def test_texts_without_words_are_answered_by_how_frequent_labels_are() -> None:
    train = Dataset.from_dict({"text": ["", "!", "...", ""], "label": ["a", "a", "a", "b"]})
    found = fitted("single", train, ("a", "b")).predict(Dataset.from_dict({"text": ["", "a word"]}))
    assert [row["label"] for row in found] == ["a", "a"]


def test_rows_beyond_the_most_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    train = data("single", "train")
    for name, value in (("ROWS", 20), ("DECISIONS", 60), ("IN_ALL", 2000)):
        with monkeypatch.context() as patch:
            patch.setattr(svm, name, value)
            seen = fitted("single", train).vectorizers["text"].vocabulary_
        assert len(seen) < len(fitted("single", train).vectorizers["text"].vocabulary_)


def test_stopwords_do_not_count() -> None:
    train, test = data("single", "train"), data("single", "test")
    own = TfidfVectorizer(token_pattern=r"[^\W_]+", ngram_range=(1, 2), sublinear_tf=True, stop_words="english")
    pipeline = make_pipeline(own, LinearSVC(random_state=13)).fit(train["text"], train["label"])
    baseline = SVM(stopwords("english"))
    baseline.fit(train, Classification(Classification.Options()), LABELS)
    assert [row["label"] for row in baseline.predict(test)] == list(pipeline.predict(test["text"]))
    everything = SVM(stopwords(train["text"]))
    everything.fit(train, Classification(Classification.Options()), LABELS)
    assert len({row["label"] for row in everything.predict(test)}) == 1, "no word is left to tell rows apart"
