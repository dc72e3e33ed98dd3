"""Where a model goes wrong: its confusions, the kinds of rows that it does worse on, and its worst mistakes.

What is found is plain data, kept in the run; a report only shows it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from datasets import Dataset

from ftkit.data.split import numbered
from ftkit.engine import attribution
from ftkit.engine.model import Trained
from ftkit.engine.scoring import Scored
from ftkit.metrics import intervals
from ftkit.metrics.intervals import Resampling
from ftkit.metrics.tally import Floats, LabelTally, MeanTally, MomentTally, Tally, means
from ftkit.settings import EvaluateSpec
from ftkit.tasks._base import Example, Prediction, Span, Task

ERRORS = 30
"""Mistakes that are kept."""
EXPLAINED = 8
"""Mistakes of which the words are weighed."""
_LONGEST = 1200
"""Characters that are kept of a text, around what matters in it."""
_NAME = 80
_MOST_SLICES = 30
_WORD = re.compile(r"\w+")

Json = dict[str, Any]


def analysis(
    trained: Trained,
    found: Scored,
    predictions: Sequence[Prediction],
    rows: Dataset,
    settings: EvaluateSpec,
    metric: str,
    truncated: Sequence[bool] = (),
    seen: Collection[str] = (),
    explained: int = EXPLAINED,
) -> Json:
    """Confusions, slices and mistakes of one scored split, as plain JSON.

    metric: the one that decides. truncated: of each row whether it was cut. seen: the words (`words`) of the training
    rows. explained: of how many mistakes the words are weighed. Little where the task keeps no tally.
    """
    if found.evidence is None:
        return {"rows": len(rows)}
    task, tally, groups = trained.task, found.evidence.tally, found.evidence.groups
    if metric not in tally.scores():
        metric = task.decider()
    resampling = Resampling(settings.level, settings.resamples)
    result: Json = {"rows": len(rows), "level": settings.level, "metric": metric}
    if metric in tally.scores():
        result["slices"] = _slices(task, tally, groups, rows, resampling, metric, truncated, seen)
    if table := _confusion(trained, predictions, rows, tally):
        result["confusion"] = table
    return {**result, "errors": _errors(trained, predictions, rows, tally, metric, truncated, explained)}


def words(task: Task, rows: Iterable[Example]) -> set[str]:
    """Every word of some rows' inputs, in lower case."""
    return {word for row in rows for text in task.texts(row).values() for word in _split(text)}


def _split(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


# ---------------------------------------------------------------------- slices


class Slice(NamedTuple):
    """Rows that are alike in something."""

    name: str
    places: np.ndarray


def _slices(
    task: Task,
    tally: Tally,
    groups: Sequence[int] | None,
    rows: Dataset,
    resampling: Resampling,
    metric: str,
    truncated: Sequence[bool],
    seen: Collection[str],
) -> list[Json]:
    found: list[Json] = []
    for by, slices in _kinds(task, tally, rows, truncated, seen):
        # Among rows of one label macro averages say little; the share of right ones is the label's recall.
        name = "accuracy" if by == "true label" else metric
        alone = _alone(tally, name)
        whole = alone.scores()[name]["value"]
        each = [_slice(one, alone, groups, resampling, name) for one in slices if _is_asked(alone, one)]
        for score in each:
            score["worse"] = _is_worse(score, whole, name in task.lower_is_better)
        if len(each) > 1:
            found.append({"by": by, "metric": name, "whole": whole, "slices": each})
    return found


def _is_asked(tally: Tally, one: Slice) -> bool:
    """Whether any row of a slice has what a mean is taken of; or a label or an entity, true or predicted."""
    if isinstance(tally, LabelTally):
        _, said, true = tally.counts(np.asarray(tally.rows[one.places].sum(axis=0), float))
        return bool((said + true).any())
    return not isinstance(tally, MeanTally) or any(tally.of(name)[1][one.places].any() for name in tally.names)


def _alone(tally: Tally, metric: str) -> Tally:
    """A tally of one metric, where it can be told from the others: quicker to draw from."""
    if isinstance(tally, LabelTally) and metric == "accuracy":
        return means({metric: tally.right.tolist()})
    if isinstance(tally, MeanTally):
        values, asked = tally.of(metric)
        return means({metric: [v if a else None for v, a in zip(values.tolist(), asked.tolist(), strict=True)]})
    return tally


def _is_worse(score: Mapping[str, Any], whole: float, lower_is_better: bool) -> bool:
    """Whether the interval lies wholly on the bad side of the whole's value."""
    return "low" in score and bool(score["low"] > whole if lower_is_better else score["high"] < whole)


def _kinds(
    task: Task, tally: Tally, rows: Dataset, truncated: Sequence[bool], seen: Collection[str]
) -> Iterator[tuple[str, list[Slice]]]:
    texts, traits = [], []
    for row in rows:
        texts.append([_split(text) for text in task.texts(row).values()])
        traits.append(task.traits(row))
    lengths = [sum(map(len, parts)) for parts in texts]
    yield (
        "length in words",
        _ranges(lengths, 4, lambda low, high: f"{low:.0f}" if low == high else f"{low:.0f} to {high:.0f}"),
    )
    if isinstance(tally, LabelTally) and tally.kind == "single":
        yield "true label", _named(tally.truth, len(tally.names))
    groups = rows["group"] if "group" in rows.column_names else []
    if len(set(groups) - {None}) <= min(_MOST_SLICES, len(rows) // 2):
        yield "group", _named(groups)
    if any(truncated):
        yield "cut to task.max_length", _named(["cut" if cut else "whole" for cut in truncated])
    if seen:
        shares = [_unseen([word for part in parts for word in part], seen) for parts in texts]
        yield "words that training never saw", _ranges(shares, 3, _percents)
    for by in dict.fromkeys(by for each in traits for by in each):
        yield by, _named([each.get(by) for each in traits])


def _percents(low: float, high: float) -> str:
    return f"{low:.0%}" if f"{low:.0%}" == f"{high:.0%}" else f"{low:.0%} to {high:.0%}"


def _ranges(values: Sequence[float], parts: int, name: Callable[[float, float], str]) -> list[Slice]:
    """Rows in `parts` of equal size by a value; equal values stay together, so that there may be fewer."""
    array = np.asarray(values, dtype=float)
    edges = np.unique(np.quantile(array, np.arange(1, parts) / parts))
    numbers = np.searchsorted(edges, array, side="left")
    inside = [np.flatnonzero(numbers == number) for number in np.unique(numbers)]
    return [Slice(name(array[places].min(), array[places].max()), places) for places in inside]


def _named(values: Sequence[str | None], most: int = _MOST_SLICES) -> list[Slice]:
    """Rows of equal value, the most frequent first; those of none are left out."""
    array = np.asarray(values, dtype=object)
    counts = Counter(value for value in values if value is not None).most_common(most)
    return [Slice(value[:_NAME], np.flatnonzero(array == value)) for value, _ in counts]


def _unseen(row: Sequence[str], seen: Collection[str]) -> float:
    return sum(word not in seen for word in row) / max(1, len(row))


def _slice(one: Slice, tally: Tally, groups: Sequence[int] | None, resampling: Resampling, metric: str) -> Json:
    """The metric of some rows."""
    part = replace(tally, rows=tally.rows[one.places])
    inside = None if groups is None else numbered([groups[i] for i in one.places])
    if inside and len(set(inside)) in (1, len(inside)):  # one document alone can't be drawn again
        inside = None
    scores, _ = intervals.scores(part, inside, resampling)
    return {"name": one.name, "rows": len(one.places), **scores[metric]}


# ---------------------------------------------------------------------- confusions


def _confusion(trained: Trained, predictions: Sequence[Prediction], rows: Dataset, tally: Tally) -> Json | None:
    """{"true", "said", "counts"}: how often what is true was answered as what; None where there are no labels."""
    if not isinstance(tally, LabelTally) or tally.kind == "multi":
        return None
    if tally.kind == "entities":
        told = [trained.task.marks(row, prediction) for row, prediction in zip(rows, predictions, strict=True)]
        marks = [each for each in told if each]
        return entity_confusion([each.true for each in marks], [each.said for each in marks]) if marks else None
    said, true = trained.task.answers(predictions, rows)
    names = [*trained.labels, *sorted({*said, *true} - set(trained.labels))]
    place = {name: i for i, name in enumerate(names)}
    counts = np.zeros((len(names), len(names)), dtype=int)
    np.add.at(counts, ([place[name] for name in true], [place[name] for name in said]), 1)
    return {"true": names, "said": names, "counts": counts.tolist()}


def entity_confusion(truth: Sequence[Sequence[Span]], found: Sequence[Sequence[Span]]) -> Json:
    """Types against types; each true entity is paired with the one that was found at its place, or overlaps it most.

    Two more columns count entities of the right type with other edges and missed ones, one more row those that were
    found where there is none.
    """
    types = sorted({kind for row in (*truth, *found) for kind, _, _ in row})
    place = {kind: i for i, kind in enumerate(types)}
    counts = np.zeros((len(types) + 1, len(types) + 2), dtype=int)
    for true, said in zip(truth, found, strict=True):
        for one, other in pairs(true, said):
            row = len(types) if one is None else place[one[0]]
            if other is None:
                column = len(types) + 1
            else:
                edges = one is not None and one[0] == other[0] and one != other
                column = len(types) if edges else place[other[0]]
            counts[row, column] += 1
    return {"true": [*types, "no entity"], "said": [*types, "other edges", "missed"], "counts": counts.tolist()}


def pairs(truth: Sequence[Span], found: Sequence[Span]) -> list[tuple[Span | None, Span | None]]:
    """Each entity once, with the one of the other side at its place, or that shares most characters with it."""
    overlaps = [
        ((one == other) + (one[1:] == other[1:]), min(one[2], other[2]) - max(one[1], other[1]), i, j)
        for i, one in enumerate(truth)
        for j, other in enumerate(found)
        if one[1] < other[2] and other[1] < one[2]
    ]
    taken: tuple[dict[int, int], set[int]] = ({}, set())
    for _, _, i, j in sorted(overlaps, key=lambda o: (-o[0], -o[1], o[2], o[3])):
        if i not in taken[0] and j not in taken[1]:
            taken[0][i] = j
            taken[1].add(j)
    paired: list[tuple[Span | None, Span | None]] = [
        (one, found[taken[0][i]] if i in taken[0] else None) for i, one in enumerate(truth)
    ]
    return paired + [(None, other) for j, other in enumerate(found) if j not in taken[1]]


# ---------------------------------------------------------------------- mistakes


def _errors(
    trained: Trained,
    predictions: Sequence[Prediction],
    rows: Dataset,
    tally: Tally,
    metric: str,
    truncated: Sequence[bool],
    explained: int,
) -> Json:
    """{"order", "wrong", "rows"}: the worst mistakes, with texts, marks in them, and words weighed."""
    task = trained.task
    goodness, order = _goodness(tally, metric, task.lower_is_better)
    surety = np.array([-1.0 if (sure := task.confidence(p)) is None else sure for p in predictions])
    wrong = np.flatnonzero(goodness < 1)
    worst = wrong[np.lexsort((wrong, -surety[wrong], goodness[wrong]))][:ERRORS]
    answers, truth = task.answers([predictions[i] for i in worst], rows.select(worst))
    weighed = _weighed(trained, tally, rows, worst[:explained], answers, truth)
    shown = []
    for place, i in enumerate(worst.tolist()):
        row, prediction = rows[i], predictions[i]
        marked = task.marks(row, prediction)
        places = {marked.column: _marks(marked.true, marked.said)} if marked else {}
        words_of = weighed[place] if place < len(weighed) else None
        shown.append(
            {
                "row": row.get("row", i + 1),
                "texts": [_part(name, text, places.get(name, []), words_of) for name, text in task.texts(row).items()],
                **_said(tally, answers[place], truth[place]),
                **({"confidence": float(surety[i])} if surety[i] >= 0 else {}),
                **(
                    {} if order == "confidence" else {"score": float(goodness[i] if goodness[i] >= 0 else -goodness[i])}
                ),
                **({"cut": True} if truncated and truncated[i] else {}),
                **({"gap": words_of.gap} if words_of else {}),
            }
        )
    return {"order": order, "wrong": len(wrong), "rows": shown}


def _goodness(tally: Tally, metric: str, lower_is_better: Collection[str]) -> tuple[Floats, str]:
    """How well each row was answered, 1 where nothing is wrong, and the name of what mistakes are ordered by."""
    if isinstance(tally, MomentTally):
        return np.where(tally.errors > 0, -tally.errors, 1.0), "absolute error"
    if isinstance(tally, MeanTally):
        name = metric if metric in tally.names else tally.names[0]
        values, asked = tally.of(name)
        if name in lower_is_better:
            return np.where(asked & (values > 0), -values, 1.0), name
        return np.where(asked, values, 1.0), name
    assert isinstance(tally, LabelTally), "evidence keeps no others"
    right = tally.right
    if tally.kind == "single":
        return right, "confidence"
    name = "f1" if tally.kind == "entities" else "micro_f1"
    wrong = np.flatnonzero(right == 0)
    for part in np.array_split(wrong, len(wrong) // 1000 + 1):
        right[part] = np.minimum(tally.measure(tally.rows[part].toarray())[name], np.nextafter(1, 0))
    return right, "f1"


def _said(tally: Tally, answer: Any, truth: Any) -> Json:
    """Truth and answer where the text's marks don't say them."""
    if isinstance(tally, LabelTally) and tally.kind == "entities":
        return {}
    return {"truth": _short(truth), "answer": _short(answer)}


def _short(value: Any) -> Any:
    if isinstance(value, str):
        return value[:_LONGEST]
    return [_short(one) for one in value] if isinstance(value, (list, tuple)) else value


def _marks(truth: Sequence[Span], found: Sequence[Span]) -> list[Json]:
    """Places in a text: what is true (`missed`), what was answered (`wrong`), and what is both (`right`)."""
    return [mark for one, other in pairs(truth, found) for mark in _pair_marks(one, other)]


def _pair_marks(true: Span | None, said: Span | None) -> list[Json]:
    if true and said and true[1:] == said[1:]:
        if true[0] == said[0]:
            return [_mark("right", true)]
        return [_mark("wrong", said) | {"truth": true[0]}]
    return [*([_mark("missed", true)] if true else []), *([_mark("wrong", said)] if said else [])]


def _mark(kind: str, span: Span) -> Json:
    return {"kind": kind, "label": span[0], "start": span[1], "end": span[2]}


def _weighed(
    trained: Trained, tally: Tally, rows: Dataset, worst: np.ndarray, answers: Sequence[Any], truth: Sequence[Any]
) -> list[attribution.Explained | None]:
    if not isinstance(tally, LabelTally) or tally.kind == "multi":
        return []
    entities = tally.kind == "entities"
    asked = [
        (rows[i], "", "") if entities else (rows[i], said, true)
        for i, said, true in zip(worst.tolist(), answers, truth, strict=False)
    ]
    return attribution.explain(trained, asked)


def _part(name: str, text: str, marks: Sequence[Json], explained: attribution.Explained | None) -> Json:
    """A text, or what is around its marks where it is long, with marks and weights counted from there."""
    first = min((mark["start"] for mark in marks if mark["kind"] != "right"), default=0)
    begin = max(0, min(first - _LONGEST // 3, len(text) - _LONGEST))
    end = begin + _LONGEST
    part: Json = {"column": name, "text": text[begin:end], "before": begin, "after": max(0, len(text) - end)}
    if kept := _inside(marks, begin, end):
        part["marks"] = kept
    if explained:
        found = [word._asdict() for word in explained.words if word.column == name]
        most = max((abs(word.weight) for word in explained.words), default=0.0) or 1.0
        part["weights"] = [
            [word["start"], word["end"], round(word["weight"] / most, 3)] for word in _inside(found, begin, end)
        ]
    return part


def _inside(places: Iterable[Json], begin: int, end: int) -> list[Json]:
    """Those that lie between, counted from `begin`; what reaches over an edge is cut there."""
    return [
        {**p, "start": max(p["start"], begin) - begin, "end": min(p["end"], end) - begin}
        for p in places
        if p["start"] < end and p["end"] > begin
    ]
