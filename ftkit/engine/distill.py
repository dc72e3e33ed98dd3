"""The teacher of `objective: distill`: what it says of the training rows, found once before the first step.

Of whole texts it is asked in its own way, by its own tokenizer, as it would answer them; of tokens it reads the
student's rows, which takes the same tokenizer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from accelerate.utils import gather_object
from datasets import Dataset, concatenate_datasets

from ftkit.data.typed import AT_ONCE, in_parts
from ftkit.engine import infer, pretrained
from ftkit.engine import model as models
from ftkit.engine.asking import spec_of
from ftkit.engine.nonfinite import not_finite
from ftkit.engine.prepare import Prepared
from ftkit.engine.served import is_served
from ftkit.errors import RecipeError
from ftkit.objectives._base import TEACHER
from ftkit.tasks._base import Task, Weighting
from ftkit.tasks._tensors import Choices
from ftkit.tasks.classification import Classification
from ftkit.terminal import Say, silence

Told = dict[str, list[Any]]
"""Encoded column -> what a teacher says of one row."""
_FEW = 64


def check(prepared: Prepared) -> None:
    """Raises FTKitError where the objective can't serve the task, or its teacher can't teach it."""
    objective = prepared.objective
    objective.check(prepared.task)
    if objective.teacher is None:
        return
    if prepared.stream:
        raise RecipeError(
            "objective: a teacher answers all rows before the first step, and a stream has no end",
            "--set data.stream=false, or leave the objective out",
        )
    teacher = models.load(objective.teacher)
    if is_served(teacher.model):
        raise _refused(teacher, f"is an export as {teacher.contract.format}", "name the run that it comes of")
    if not prepared.task.is_like(teacher.task) or _kind(prepared.task) != _kind(teacher.task):
        raise _refused(teacher, "is of another task than the recipe", "train a teacher on the same task")
    _refuse_other_texts(prepared, teacher)
    if _kind(prepared.task) != "regression" and set(prepared.labels) != set(teacher.labels):
        raise _refused(
            teacher,
            f"knows the labels {', '.join(teacher.labels)}, and the data has {', '.join(prepared.labels)}",
            "train it on the same labels; data.labels renames them",
        )
    if not isinstance(prepared.task, Classification):
        _refuse_other_tokens(prepared, teacher)


def _refused(teacher: models.Trained, what: str, hint: str) -> RecipeError:
    return RecipeError(f"objective.teacher: {teacher.source} {what}", hint)


def _kind(task: Task) -> Any:
    """Of texts: one label, several, or a number."""
    return getattr(task.options, "kind", None)


def _reads_pairs(task: Task) -> bool | None:
    """Whether its rows are pairs of texts; None where nobody knows, as of a plain checkpoint."""
    pairs = getattr(task.options, "pairs", "auto")
    if pairs == "auto":
        return None if any(column.name == "text_pair" for column in task.columns) else False
    return bool(pairs)


def _refuse_other_texts(prepared: Prepared, teacher: models.Trained) -> None:
    """Raises RecipeError where the teacher would be asked otherwise than it learned to answer."""
    ours, theirs = (_reads_pairs(task) for task in (prepared.task, teacher.task))
    if None not in (ours, theirs) and ours != theirs:
        read, had = ("pairs of texts" if pairs else "single texts" for pairs in (theirs, ours))
        raise _refused(teacher, f"reads {read}, and the data has {had}", "train it on texts like these")
    cleaned = [", ".join(steps or ()) for steps in (teacher.contract.data.get("clean"), prepared.recipe.data.clean)]
    if cleaned[0] != cleaned[1]:
        what = f"reads texts after data.clean=[{cleaned[0]}], and the recipe has [{cleaned[1]}]"
        raise _refused(teacher, what, f"--set 'data.clean=[{cleaned[0]}]'")


def _refuse_other_tokens(prepared: Prepared, teacher: models.Trained) -> None:
    """Raises RecipeError where the teacher can't read the student's rows."""
    own, config = prepared.task, teacher.model.config
    few = prepared.splits["train"].select(range(min(_FEW, len(prepared.splits["train"]))))
    rows = [
        own.encode(few.to_dict(), tokenizer, prepared.labels) for tokenizer in (prepared.tokenizer, teacher.tokenizer)
    ]
    if prepared.tokenizer.get_vocab() != teacher.tokenizer.get_vocab() or rows[0]["input_ids"] != rows[1]["input_ids"]:
        raise _refused(
            teacher,
            "has another tokenizer than the checkpoint, and this task's targets are tokens, which then are others",
            "take a checkpoint of the teacher's family",
        )
    if own.model_class(config) != own.model_class(pretrained.read_config(prepared.base.path)):
        raise _refused(teacher, "writes in another way than the checkpoint", "take a checkpoint of its family")
    if (fitting := pretrained.within_positions(own, config, teacher.tokenizer)) is not own:
        raise _refused(
            teacher,
            f"reads {fitting.options.max_length} tokens, and task.max_length is {own.options.max_length}",
            f"set task.max_length={fitting.options.max_length}",
        )


def with_answers(
    prepared: Prepared,
    train: Dataset,
    places: Sequence[int],
    rows: Dataset,
    rank: int = 0,
    world: int = 1,
    say: Say = silence,
) -> Dataset:
    """The encoded `rows` (of those of `train` at `places`) with what the teacher says of each; as they are without one.

    Each of `world` processes asks it of a share of them, and all have all then.
    """
    objective = prepared.objective
    if objective.teacher is None:
        return rows
    say(f"the teacher {objective.teacher} answers {len(rows)} training rows")
    teacher = models.load(objective.teacher)
    asked = _Asked(prepared, teacher, objective)
    if isinstance(prepared.task, Classification):
        texts = in_parts(
            _shared(len(places), rank, world, lambda at: asked.texts(list(train.select([places[i] for i in at]))))
        )
        answers = texts.select(rows["example"]) if "example" in rows.column_names else texts
    else:
        answers = in_parts(_shared(len(rows), rank, world, lambda at: asked.tokens(list(rows.select(at)))))
    return concatenate_datasets([rows, answers], axis=1)


def _shared(count: int, rank: int, world: int, ask: Any) -> Iterator[dict[str, list[Any]]]:
    """What is said of all rows, some at a time, each process asking for its share."""
    for start in range(0, count, AT_ONCE):
        chunk = range(start, min(start + AT_ONCE, count))
        own = chunk[rank::world]
        found: list[tuple[int, Told]] = gather_object(list(zip(own, ask(own), strict=True)))
        told = [answer for _, answer in sorted(found, key=lambda pair: pair[0])]
        yield {name: [np.asarray(row[name], _type(name)) for row in told] for name in told[0]}


def _type(column: str) -> type[np.generic]:
    """Of numbers that are kept: places in a vocabulary, or what the teacher says."""
    return np.float32 if column == TEACHER else np.int32


class _Asked:
    """A teacher that answers rows."""

    def __init__(self, prepared: Prepared, teacher: models.Trained, objective: Any) -> None:
        self.task, self.tokenizer, self.objective, self.teacher = prepared.task, prepared.tokenizer, objective, teacher
        self.settings = spec_of(teacher, prepared.recipe)
        same = teacher.labels if _kind(self.task) != "regression" else prepared.labels
        self.order = [same.index(label) for label in prepared.labels]

    def texts(self, examples: list[dict[str, Any]]) -> list[Told]:
        """Of whole texts, read as the teacher reads them."""
        t = self.teacher
        if not examples:
            return []
        encoded = infer.encode(t.task, examples, t.tokenizer, t.labels)
        outputs = infer.run(t.model, t.task, t.tokenizer, encoded, self.settings)
        assert isinstance(t.task, Classification)
        return [{TEACHER: row.tolist()} for row in t.task.joined(outputs, encoded)[:, self.order]]

    def tokens(self, rows: list[dict[str, Any]]) -> list[Told]:
        """Of the targets of encoded rows."""
        return infer.looked_at(self.teacher.model, self.task, self.tokenizer, rows, self.settings, self._look)

    def _look(self, outputs: Any, batch: Any) -> list[Told]:
        choices: Choices = self.task.choices(outputs, batch, Weighting())
        if not bool(choices.logits[choices.real].isfinite().all()):
            raise not_finite()
        if self.order:
            choices = choices._replace(logits=choices.logits[:, self.order])
        told = self.objective.told(choices)
        return [{name: values[i] for name, values in told.items()} for i in range(choices.rows)]
