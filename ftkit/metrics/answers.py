"""Exact match and token F1 of answers, as SQuAD defines them.

Answers are compared in lower case and without ASCII punctuation, English articles and extra white space
(Rajpurkar et al. 2016). A question without references has no answer in its passage, and an empty prediction
says so (Rajpurkar, Jia and Liang 2018).
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from statistics import fmean

from ftkit.metrics import Score, Scores, require_pairs, score

_ARTICLE = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalize(answer: str) -> str:
    """The form in which answers are compared."""
    return " ".join(_ARTICLE.sub(" ", answer.lower().translate(_NO_PUNCTUATION)).split())


def exact(prediction: str, references: Sequence[str]) -> float:
    """1.0 where the prediction equals one of the references, else 0.0."""
    return float(normalize(prediction) in _normalized(references))


def token_f1(prediction: str, references: Sequence[str]) -> float:
    """F1 of the words that the prediction shares with the reference that suits it best."""
    words = normalize(prediction).split()
    return max(_overlap(words, reference.split()) for reference in _normalized(references))


def answer_scores(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> Scores:
    """Means over all questions, `exact_match` and `f1`; where some have no answer, also each kind on its own.

    These are `has_answer_exact_match`, `has_answer_f1` and `no_answer_accuracy`, each with the number of its
    questions; a kind that no question is of is left out.
    """
    require_pairs(references, predictions)
    matches = [exact(*pair) for pair in zip(predictions, references, strict=True)]
    overlaps = [token_f1(*pair) for pair in zip(predictions, references, strict=True)]
    answerable = [len(accepted) > 0 for accepted in references]
    scores = {"exact_match": _mean(matches), "f1": _mean(overlaps)}
    if all(answerable):
        return scores
    if any(answerable):
        scores["has_answer_exact_match"] = _mean(_only(matches, answerable, True))
        scores["has_answer_f1"] = _mean(_only(overlaps, answerable, True))
    scores["no_answer_accuracy"] = _mean(_only(matches, answerable, False))
    return scores


def _normalized(references: Sequence[str]) -> list[str]:
    """The references that say something, or the empty answer where none does."""
    return [text for text in map(normalize, references) if text] or [""]


def _overlap(said: list[str], true: list[str]) -> float:
    if not said or not true:
        return float(said == true)
    shared = (Counter(said) & Counter(true)).total()
    return 2 * shared / (len(said) + len(true))


def _only(values: list[float], answerable: list[bool], kind: bool) -> list[float]:
    return [value for value, is_answerable in zip(values, answerable, strict=True) if is_answerable is kind]


def _mean(values: list[float]) -> Score:
    return score(fmean(values), len(values))
