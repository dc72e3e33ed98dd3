from __future__ import annotations

import numpy as np
import pytest
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st

from ftkit.baselines import textrank
from ftkit.baselines.textrank import TextRank, ranks
from ftkit.tasks.summarization import Summarization


def summary(document: str, length: int = 1, train: str | None = None) -> str:
    baseline, said = TextRank(), ["It was so. " * length]
    learned = Dataset.from_dict({"document": [document if train is None else train], "summary": [said]})
    baseline.fit(learned, Summarization(Summarization.Options()), ())
    (answer,) = baseline.predict(Dataset.from_dict({"document": [document]}))
    return str(answer["summary"])


def test_ranks_of_a_star_by_hand() -> None:
    """The middle m has m = 0.15 / 3 + 0.85 * (all of two ends), each end 0.15 / 3 + 0.85 * m / 2."""
    star = np.array([[0, 2, 2], [2, 0, 0], [2, 0, 0]], dtype=float)
    middle = (0.05 + 0.85 * 0.1) / (1 - 0.85**2)
    end = 0.05 + 0.85 * middle / 2
    assert ranks(star) == pytest.approx([middle, end, end])


def test_heavier_edge_carries_more() -> None:
    graph = np.array([[0, 3, 1], [3, 0, 0], [1, 0, 0]], dtype=float)
    first, heavy, light = ranks(graph)
    assert first > heavy > light
    assert heavy == pytest.approx(0.05 + 0.85 * first * 3 / 4)


def test_node_without_edges_votes_for_all_alike() -> None:
    assert ranks(np.zeros((4, 4))) == pytest.approx([0.25] * 4)
    assert ranks(np.ones((1, 1))) == pytest.approx([1.0])


@given(st.integers(1, 8), st.integers(0, 2**32 - 1))
def test_ranks_are_the_leading_eigenvector(n: int, seed: int) -> None:
    half = np.random.default_rng(seed).random((n, n))
    likeness = half + half.T
    found = ranks(likeness)
    assert found.sum() == pytest.approx(1) and (found > 0).all()
    edges = likeness - np.diag(np.diag(likeness))
    if n > 1:
        surfer = 0.15 / n + 0.85 * edges / edges.sum(-1, keepdims=True)
        values, vectors = np.linalg.eig(surfer.T)
        leading = np.real(vectors[:, np.argmax(np.real(values))])
        assert found == pytest.approx(leading / leading.sum(), abs=1e-6)


def test_sentence_that_the_others_resemble_is_chosen() -> None:
    document = "It rained. Red boats. Boats sail. Red boats sail far. Sail far. Nobody spoke."
    assert summary(document) == "Red boats sail far."


def test_sentences_keep_their_order() -> None:
    document = "Bells ring. Old red boats sail. Dogs bark. Red boats sail far. Old boats sail far."
    assert summary(document, 3) == "Old red boats sail. Red boats sail far. Old boats sail far."


def test_few_sentences_are_given_whole() -> None:
    assert summary("Only one sentence here") == "Only one sentence here"
    assert summary("One. Two.", 5) == "One. Two."
    assert summary("") == ""


def test_words_that_training_lacks() -> None:
    assert summary("Alpha beta. Gamma delta.", train="") == "Alpha beta."
    assert summary("Alpha beta. Gamma delta.", train="Other words.") == "Alpha beta."


def test_script_without_spaces() -> None:
    assert summary("天气很好。我们去公园看花。公园的花很好看。他走了。") == "公园的花很好看。"


def test_long_documents_are_ranked_by_their_first_sentences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(textrank, "SENTENCES", 2)
    assert summary("It rained. Nobody spoke. Red boats sail. Red boats sail far. Red boats.") == "It rained."
