"""SQuAD 1.1 and 2.0 (Rajpurkar et al. 2016, 2018)."""

from __future__ import annotations

from typing import Any

from ftkit.data.formats._base import Source, Table
from ftkit.errors import DataError


def read(source: Source, articles: list[Any]) -> Table:
    """The questions of articles, one a row; some have no answers."""
    rows: list[dict[str, Any]] = []
    for number, article in enumerate(articles, 1):
        try:
            rows += [_question(article, part, question) for part in article["paragraphs"] for question in part["qas"]]
        except (KeyError, TypeError, AttributeError) as error:
            lack = f"lacks {error}" if isinstance(error, KeyError) else f"is not laid out as SQuAD's are ({error})"
            hint = "an article has paragraphs; each has context and qas; each of these has question and answers"
            raise DataError(f"{source.name}: article {number} {lack}", hint) from error
    return source.table(rows, unit="question")


def _question(article: dict[str, Any], paragraph: dict[str, Any], question: dict[str, Any]) -> dict[str, Any]:
    row = {
        "id": question.get("id"),
        "title": article.get("title"),
        "context": paragraph["context"],
        "question": question["question"],
    }
    if "answers" not in question and not question.get("is_impossible"):
        return row
    answers = [] if question.get("is_impossible") else question["answers"]
    texts, starts = [a["text"] for a in answers], [a["answer_start"] for a in answers]
    return {**row, "answers": {"text": texts, "answer_start": starts}}
