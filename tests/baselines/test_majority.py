from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.metrics import f1_score

from ftkit.baselines.majority import Majority
from ftkit.tasks._base import Prediction
from ftkit.tasks.classification import Classification

LABELS = ("a", "b", "c", "d")


def answer(kind: Any, truth: list[Any]) -> Prediction:
    baseline, rows = Majority(), Dataset.from_dict({"text": [""] * len(truth), "label": truth})
    baseline.fit(rows, Classification(Classification.Options(kind=kind)), LABELS)
    first, *others = baseline.predict(rows)
    assert all(other == first for other in others)
    return first


@given(st.lists(st.sampled_from(LABELS), min_size=1))
def test_label_and_its_share_are_those_of_scikit_learn(truth: list[str]) -> None:
    inputs = np.zeros((len(truth), 1))
    dummy = DummyClassifier(strategy="prior").fit(inputs, truth)
    found = answer("single", truth)
    assert found["label"] == dummy.predict(inputs)[0]
    assert found["score"] == pytest.approx(dummy.predict_proba(inputs).max())


@given(st.lists(st.floats(-1e6, 1e6), min_size=1))
def test_mean_is_that_of_scikit_learn(truth: list[float]) -> None:
    inputs = np.zeros((len(truth), 1))
    expected = DummyRegressor().fit(inputs, truth).predict(inputs[:1])[0]
    assert answer("regression", truth)["value"] == pytest.approx(expected, abs=1e-6)


@settings(max_examples=30)
@given(st.lists(st.lists(st.sampled_from(LABELS), unique=True), min_size=1, max_size=8))
def test_no_set_of_labels_has_a_better_micro_f1(truth: list[list[str]]) -> None:
    true = np.array([[label in row for label in LABELS] for row in truth])

    def f1(labels: tuple[str, ...]) -> float:
        said = np.array([[label in labels for label in LABELS]] * len(truth))
        return float(f1_score(true, said, average="micro", zero_division=0))

    found = answer("multi", truth)
    best = max(f1(labels) for size in range(len(LABELS) + 1) for labels in combinations(LABELS, size))
    assert f1(tuple(found["labels"])) == pytest.approx(best)
    assert found["scores"] == {label: sum(label in row for row in truth) / len(truth) for label in found["labels"]}
