"""The model behind a server: inputs in, answers out, all through the one `Predictor`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ftkit
from ftkit.engine import attribution
from ftkit.engine.predict import Predictor
from ftkit.engine.served import is_served
from ftkit.errors import DataError
from ftkit.serving.batching import length
from ftkit.serving.limits import Limits
from ftkit.serving.messages import About, Answers, Explanation, Word
from ftkit.tasks._base import Task

Row = dict[str, Any]


class TooLarge(Exception):
    """A row of more characters than are taken."""


class ServedModel:
    """A predictor in the terms of requests."""

    def __init__(self, predictor: Predictor, name: str, limits: Limits) -> None:
        self.predictor, self.name, self.limits = predictor, name, limits
        self.task = predictor.trained.task

    def rows(self, inputs: Sequence[Any]) -> list[Row]:
        """Inputs as rows. Raises DataError for those that can't be read, TooLarge for the first that is too long."""
        rows = self.predictor.rows(inputs)
        for number, row in enumerate(rows, 1):
            if (found := length(row)) > self.limits.characters:
                raise TooLarge(f"input {number} has {found} characters, and {self.limits.characters} are taken")
        return rows

    def answers(self, found: Sequence[tuple[Row, bool]]) -> Answers:
        """What was found for the rows of a request."""
        return Answers(answers=[answer for answer, _ in found], cut=[cut for _, cut in found])

    @property
    def explains(self) -> bool:
        """Whether words can be weighed: where the task names a rival, and the model has gradients."""
        return type(self.task).rival is not Task.rival and not is_served(self.predictor.trained.model)

    def explain(self, row: Row) -> Explanation:
        """The answer to a row, and its words weighed. Raises DataError where it can't be answered."""
        ((answer, cut),) = self.predictor.each([row])
        example = self.predictor.read([row])[0]
        found = attribution.explain_new(self.predictor.trained, example, self.predictor.settings)
        texts = self.task.texts(example)
        if found is None or not found.words:
            return Explanation(answer=answer, cut=cut, texts=texts, words=None, instead_of=None)
        most = max(abs(word.weight) for word in found.words) or 1.0
        columns = {word.column for word in found.words}
        texts |= {name: example[name] for name in columns - set(texts)}
        words = [Word(column=w.column, start=w.start, end=w.end, weight=w.weight / most) for w in found.words]
        return Explanation(answer=answer, cut=cut, texts=texts, words=words, instead_of=found.instead_of)

    def about(self) -> About:
        """What a client may want to know of the model."""
        trained = self.predictor.trained
        return About(
            model=self.name,
            ftkit=ftkit.__version__,
            task=str(trained.contract.task["name"]),
            labels=list(trained.labels),
            columns=[[f"{c.name}{'' if c.required else '?'}" for c in shape] for shape in self.task.input_shapes()],
            limits=self.limits.model_dump(),
        )

    def warm_up(self) -> None:
        """Answer something, so that the first request doesn't wait for what is done once."""
        first = [column for column in self.task.shapes()[0] if column.is_input and column.required]
        try:
            self.predictor.each([{c.name: "Hello." if c.kind == "text" else ["Hello", "."] for c in first}])
        except DataError:
            return  # a task of one's own may take other texts only; nothing is lost but a little time
