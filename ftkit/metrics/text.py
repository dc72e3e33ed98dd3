"""Overlap of generated texts with references (ROUGE, Lin 2004)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

from ftkit.metrics import Scores, require_pairs
from ftkit.metrics.tally import MeanTally, means

_TYPES = ("rouge1", "rouge2", "rougeL")


def rouge(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> Scores:
    """Mean F-measure of `rouge1`, `rouge2` and `rougeL`, as the rouge-score package gives it with no stemmer.

    Of a text's references the best counts, for each type on its own. Words are made of a-z and digits only:
    texts in another script score 0. Raises ValueError for a prediction that has no reference.
    """
    return rouge_tally(predictions, references).scores()


def rouge_tally(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> MeanTally:
    """What each text adds to `rouge`."""
    require_pairs(references, predictions)
    scorer = _scorer()
    rows = []
    for row, (prediction, accepted) in enumerate(zip(predictions, references, strict=True)):
        if not len(accepted):
            raise ValueError(f"prediction {row} has no reference")
        rows.append(scorer.score_multi(accepted, prediction))
    return means({name: [row[name].fmeasure for row in rows] for name in _TYPES})


def most_alike(texts: Sequence[str]) -> int:
    """The number of the text that has most words and pairs of words in common with all: the mean of both F-measures.

    The first of several that have as much.
    """
    grams = []
    for text in texts:
        words = _WORD.findall(text.lower())
        grams.append((Counter(words), Counter(pairwise(words))))
    alike = [sum(_overlap(mine, other) for other in grams) for mine in grams]
    return alike.index(max(alike))


_WORD = re.compile(r"\w+")


def _overlap(one: Sequence[Counter[Any]], other: Sequence[Counter[Any]]) -> float:
    return sum(2 * (a & b).total() / max(1, a.total() + b.total()) for a, b in zip(one, other, strict=True))


def _scorer() -> Any:
    from rouge_score.rouge_scorer import RougeScorer
    from rouge_score.tokenizers import DefaultTokenizer

    tokenizer = DefaultTokenizer(use_stemmer=False)
    # A prediction is scored against each of its references, and its words are the same each time.
    tokenizer.tokenize = lru_cache(maxsize=64)(tokenizer.tokenize)
    return RougeScorer(_TYPES, tokenizer=tokenizer)
