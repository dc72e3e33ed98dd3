"""`data check --noise`: labels that are likely wrong, found by models that did not learn from them.

Confident learning (Northcutt, Jiang and Chuang 2021) on out-of-fold probabilities of a linear model over what the
recipe's checkpoint makes of the texts and, for whole texts, TF-IDF of their words beside it. No weight of the
checkpoint is trained.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ftkit.data.load import Splits
from ftkit.engine import learned
from ftkit.engine import model as models
from ftkit.engine.embed import Embedder, Vectors
from ftkit.engine.folds import part
from ftkit.errors import MachineError, RecipeError, one_line
from ftkit.findings import Finding, Place, located
from ftkit.inspection import Inspection
from ftkit.metrics import spans
from ftkit.recipe import Recipe
from ftkit.tasks._base import Column
from ftkit.terminal import Progress

_FOLDS = 5
_WEIGHT = 1.5
"""Of what the checkpoint says beside the words (each has length 1)."""
_STRENGTH = {"texts": 5.0, "words": 0.1}
"""Inverse of the linear model's regularization."""
_LEAST = 2 * _FOLDS
"""Rows of a label below which it is not judged: some fold would know none of it."""
_MOST_WORDS = 60_000
"""Words that are judged; of more, the first sentences."""


class Judged(NamedTuple):
    """What is judged: rows, or words of rows."""

    places: list[tuple[str, int, str]]
    """Split, row number and text of each."""
    labels: list[str]
    features: Any
    """(judged, features), sparse or not."""
    groups: list[str]
    """Of each, what must be held out together."""
    kind: str


def _require() -> None:
    """Raises MachineError where cleanlab is not installed."""
    if importlib.util.find_spec("cleanlab") is None:
        raise MachineError("--noise needs the library cleanlab", "pip install 'ftkit[noise]'")


def with_suspects(found: Inspection, progress: Progress) -> Inspection:
    """What was found, and labels that are likely wrong; these wait until rows that can't be read are mended."""
    _require()
    if found.errors:
        return replace(found, notes=(*found.notes, "--noise: labels are judged once the errors are mended"))
    suspected, note = find(found.recipe, found.splits, found.splits.shape, progress)
    listed = (*found.findings, *located(suspected, found.splits.numbering))
    return replace(found, findings=listed, notes=(*found.notes, note))


def find(recipe: Recipe, loaded: Splits, shape: Sequence[Column], progress: Progress) -> tuple[list[Finding], str]:
    """Likely label errors, the most suspicious first, and how well the judge knows the labels, for a person.

    Raises RecipeError for a task without labels to judge.
    """
    judged = _judged(recipe, loaded, shape, progress)
    judged = _of_known_labels(judged)
    names = sorted(set(judged.labels))
    if len(names) < 2:
        what = f"--noise: fewer than two labels have {_LEAST} rows or more, of two documents where rows belong to some"
        raise RecipeError(what, "it takes more rows")
    given = np.array([names.index(label) for label in judged.labels])
    probabilities = out_of_fold(judged, given, len(names))
    agreed = float((probabilities.argmax(1) == given).mean())
    places = []
    for i in suspects(given, probabilities):
        split, row, text = judged.places[i]
        likelier = int(probabilities[i].argmax())
        said = f"{text!r} is {names[given[i]]}; {names[likelier]} seems likelier ({probabilities[i, likelier]:.2f})"
        places.append(Place(row, split, said))
    what = "the label is likely wrong; the most suspicious come first"
    found = [Finding("label-noise", "warning", what, tuple(places), "read them again, from the first", len(given))]
    note = f"--noise: {agreed:.0%} of the labels are those that a model gives that did not learn from the row itself"
    if len(learned.by(recipe.model.checkpoint)):
        note += f" (but {recipe.model.checkpoint} may have, in its own training)"
    return (found if places else []), f"{note}; of what is suspected, some are its own mistakes"


def suspects(given: NDArray[np.int64], probabilities: NDArray[np.float64]) -> list[int]:
    """Places whose label is likely wrong, those with the least probability first."""
    from cleanlab.filter import find_label_issues

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = find_label_issues(
            given, probabilities, filter_by="confident_learning", return_indices_ranked_by="self_confidence", n_jobs=1
        )
    return [int(i) for i in found]


def out_of_fold(judged: Judged, given: NDArray[np.int64], classes: int) -> NDArray[np.float64]:
    """(judged, classes): probabilities of a linear model that learned from the other folds."""
    from sklearn.linear_model import LogisticRegression

    found = np.zeros((len(given), classes))
    units = len(set(judged.groups))
    groups = None if units == len(judged.groups) else judged.groups
    for kept, held in part(len(given), min(_FOLDS, units), seed=0, labels=judged.labels, groups=groups):
        known = np.unique(given[kept])
        if len(known) == 1:
            found[held, known[0]] = 1
            continue
        model = LogisticRegression(C=_STRENGTH[judged.kind], max_iter=300)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of steps that ran out, which a rank does not mind
            model.fit(judged.features[kept], given[kept])
        found[np.ix_(held, model.classes_)] = model.predict_proba(judged.features[held])
    return found


def _judged(recipe: Recipe, loaded: Splits, shape: Sequence[Column], progress: Progress) -> Judged:
    base = models.locate_base(recipe.model.checkpoint, recipe.model.revision)
    kinds = {column.kind: column.name for column in shape}
    if "label" in kinds:
        texts = [column.name for column in shape if column.kind == "text"]
        return _texts(loaded, texts, kinds["label"], Embedder(base.path, False, progress))
    if "tags" in kinds:
        return _words(loaded, kinds["tokens"], kinds["tags"], Embedder(base.path, True, progress))
    listed = " and ".join(column.name for column in shape if not column.is_input)
    raise RecipeError(f"--noise: only labels of texts, and tags of words, can be judged, not {listed}", "leave it out")


def _texts(loaded: Splits, columns: Sequence[str], label: str, embedder: Embedder) -> Judged:
    from scipy.sparse import csr_matrix, hstack
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.preprocessing import normalize

    rows = [(name, row) for name, split in loaded.items() for row in split]
    texts = [[row[column] or "" for _, row in rows] for column in columns]
    together = [" \n".join(parts) for parts in zip(*texts, strict=True)]
    meant = csr_matrix(normalize(embedder.texts(texts)) * _WEIGHT)
    try:
        said = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2).fit_transform(together)
        features = hstack([meant, said]).tocsr()
    except ValueError:  # no word is there twice
        features = meant
    places = [(name, row["row"], _short(text)) for (name, row), text in zip(rows, together, strict=True)]
    groups = [_group(name, row) for name, row in rows]
    return Judged(places, [row[label] for _, row in rows], features, groups, "texts")


def _words(loaded: Splits, tokens: str, tags: str, embedder: Embedder) -> Judged:
    rows, count = [], 0
    for name, split in loaded.items():
        for row in split:
            count += len(row[tokens])
            if count > _MOST_WORDS:
                break
            rows.append((name, row))
    vectors: list[Vectors] = embedder.words([row[tokens] for _, row in rows])
    places, labels, groups = [], [], []
    for name, row in rows:
        types = ["O"] * len(row[tokens])
        for kind, first, last in spans.entities(row[tags]):
            types[first:last] = [kind] * (last - first)
        places += [(name, row["row"], word) for word in row[tokens]]
        labels += types
        groups += [_group(name, row)] * len(types)
    return Judged(places, labels, np.concatenate(vectors), groups, "words")


def _group(split: str, row: dict[str, Any]) -> str:
    return str(row.get("group") or f"{split} {row['row']}")


def _short(text: str) -> str:
    return one_line(text, 60)


def _of_known_labels(judged: Judged) -> Judged:
    """Without those whose label is too rare to be judged, or stands in one group alone: no other fold knows it."""
    counts = Counter(judged.labels)
    groups = Counter(label for label, _ in {*zip(judged.labels, judged.groups, strict=True)})
    kept = [i for i, label in enumerate(judged.labels) if counts[label] >= _LEAST and groups[label] > 1]
    if len(kept) == len(judged.labels):
        return judged
    return Judged(
        [judged.places[i] for i in kept],
        [judged.labels[i] for i in kept],
        judged.features[kept],
        [judged.groups[i] for i in kept],
        judged.kind,
    )
