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

from ftkit.metrics import Scores, require_pairs
from ftkit.metrics.tally import MeanTally, means

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


def answer_tally(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> MeanTally:
    """What each question adds to `answer_scores`."""
    require_pairs(references, predictions)
    pairs = list(zip(predictions, references, strict=True))
    matches, overlaps = [exact(*pair) for pair in pairs], [token_f1(*pair) for pair in pairs]
    answerable = [len(accepted) > 0 for accepted in references]
    values: dict[str, list[float | None]] = {"exact_match": [*matches], "f1": [*overlaps]}
    if not all(answerable):
        values["has_answer_exact_match"] = _only(matches, answerable, True)
        values["has_answer_f1"] = _only(overlaps, answerable, True)
        values["no_answer_accuracy"] = _only(matches, answerable, False)
    return means(values)


def answer_scores(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> Scores:
    """Means over all questions, `exact_match` and `f1`; where some have no answer, also each kind on its own.

    These are `has_answer_exact_match`, `has_answer_f1` and `no_answer_accuracy`, each with the number of its
    questions; a kind that no question is of is left out.
    """
    return answer_tally(predictions, references).scores()


def _normalized(references: Sequence[str]) -> list[str]:
    """The references that say something, or the empty answer where none does."""
    return [text for text in map(normalize, references) if text] or [""]


def _overlap(said: list[str], true: list[str]) -> float:
    if not said or not true:
        return float(said == true)
    shared = (Counter(said) & Counter(true)).total()
    return 2 * shared / (len(said) + len(true))


def _only(values: list[float], answerable: list[bool], kind: bool) -> list[float | None]:
    """The values of one kind of question, None for the others."""
    return [value if is_answerable is kind else None for value, is_answerable in zip(values, answerable, strict=True)]
