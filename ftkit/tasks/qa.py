"""Question answering: a question and a passage in; the answer's place in the passage out."""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from ftkit.data.typed import column
from ftkit.edits import Edited
from ftkit.edits import Place as Part
from ftkit.findings import Finding, Place
from ftkit.metrics.calibration import softmax
from ftkit.tasks._base import Batch, Column, Example, Labels, Marks, Output, Prediction, Task, Weighting

if TYPE_CHECKING:
    import torch
    from datasets import Dataset

    from ftkit.metrics.tally import Tally
    from ftkit.tasks._tensors import Choices

_QUESTION_WORDS = ("who", "whose", "whom", "what", "which", "when", "where", "why", "how")


class QuestionAnswering(Task):
    """Extractive answers over windows of a passage, as SQuAD 1 and 2 ask for them (Rajpurkar et al. 2016, 2018)."""

    summary = "find the answer to a question in a passage (SQuAD 1 and 2)"
    columns = (
        Column("question", "text"),
        Column("context", "text"),
        Column("answers", "answers"),
    )
    auto_class = "AutoModelForQuestionAnswering"
    peft_type = "QUESTION_ANS"
    best_metric = "f1"
    targets = ("start_positions", "end_positions")
    per_token = True
    groups = ("title", "context")
    places_in = "context"
    baselines = ("overlap",)
    augments = ("question", "context")

    class Options(Task.Options):
        max_length: int = Field(384, gt=32)
        """Longest window in tokens, question included; longer passages are read in overlapping windows."""
        stride: int = Field(128, ge=0)
        """Tokens that neighbouring windows of one passage share."""
        answer_tokens: int = Field(30, gt=0)
        """Longest answer considered, in tokens."""
        unanswerable: bool | Literal["auto"] = "auto"
        """Whether a question may have no answer (SQuAD 2); `auto`: if some training question has none."""
        null_threshold: float = 0.0
        """`No answer` is given when its logit exceeds the best answer's by more than this."""

        @model_validator(mode="after")
        def _windows_must_advance(self) -> QuestionAnswering.Options:
            if self.stride >= self.max_length - 16:
                raise ValueError(f"stride {self.stride} leaves a window of {self.max_length} tokens no room to advance")
            return self

    # ------------------------------------------------------------------ what the data is

    def settle(self, train: Dataset | None, config: Any) -> QuestionAnswering:
        """Decides whether `no answer` is an answer."""
        if self.options.unanswerable != "auto" or train is None:
            return self
        unanswerable = any(not answers["text"] for answers in column(train, "answers"))
        return type(self)(self.options.model_copy(update={"unanswerable": unanswerable}))

    def shortened(self, positions: int, tokenizer: Any) -> QuestionAnswering:
        """Windows, and what they share, that fit into the checkpoint's positions."""
        if self.options.max_length <= positions:
            return self
        stride = min(self.options.stride, positions // 3)
        return type(self)(self.options.model_copy(update={"max_length": positions, "stride": stride}))

    def check(self, split: Dataset, labels: Labels) -> Iterator[Finding]:
        """Unanswerable questions that the options rule out."""
        if self.options.unanswerable is not True:
            rows = [
                row
                for row, answers in zip(column(split, "row"), column(split, "answers"), strict=True)
                if not answers["text"]
            ]
            if rows:
                what = "a question has no answer, and an answer is always given (task.unanswerable is not true)"
                yield Finding("unanswerable", "warning", what, tuple(map(Place, rows)))

    # ------------------------------------------------------------------ the model

    def model_settings(self, labels: Labels) -> dict[str, Any]:
        """A logit for an answer's start and one for its end, however many labels the checkpoint's own head has."""
        return {"num_labels": 2}

    # ------------------------------------------------------------------ how rows are varied

    def kept_parts(self, example: Example) -> dict[str, list[Part]]:
        """The answers."""
        answers = example["answers"]
        places = zip(answers["answer_start"], answers["text"], strict=True)
        return {"context": [(start, start + len(text)) for start, text in places]}

    def edited(self, example: Example, texts: Mapping[str, Edited]) -> dict[str, Any]:
        """Each answer stands where it says."""
        row = super().edited(example, texts)
        if "context" in texts:
            parts = [texts["context"].kept(*place)[0] for place in self.kept_parts(example)["context"]]
            row["answers"] = {**example["answers"], "answer_start": parts}
        return row

    # ------------------------------------------------------------------ how rows become tensors

    def encode(self, batch: Batch, tokenizer: Any, labels: Labels) -> Any:
        """Windows over each passage, behind its question; targets are token places, 0 where there is no answer."""
        questions = self._short_questions(batch["question"], tokenizer)
        encoded = tokenizer(
            questions,
            batch["context"],
            truncation="only_second",
            max_length=self.options.max_length,
            stride=self.options.stride,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        example = encoded.pop("overflow_to_sample_mapping")
        offsets = [_context_offsets(encoded, i) for i in range(len(example))]
        encoded.pop("offset_mapping")
        cut = [questions[i] != batch["question"][i] for i in example]
        rows = {**encoded, "example": example, "offsets": offsets, "truncated": cut}
        if "answers" in batch:
            read = _read(example, offsets)
            places = [_place(offsets[i], batch["answers"][number], *read[number]) for i, number in enumerate(example)]
            rows["start_positions"] = [start for start, _ in places]
            rows["end_positions"] = [end for _, end in places]
        return rows

    def _short_questions(self, questions: list[str], tokenizer: Any) -> list[str]:
        """Questions cut so that each window has room for the passage."""
        most = (self.options.max_length - self.options.stride) // 2
        offsets = tokenizer(questions, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        return [
            question if len(places) <= most else question[: places[most - 1][1]]
            for question, places in zip(questions, offsets, strict=True)
        ]

    # ------------------------------------------------------------------ the model

    def loss(self, outputs: Any, batch: Mapping[str, torch.Tensor], weighting: Weighting) -> torch.Tensor:
        """The mean of the start's and the end's cross-entropy, summed over windows.

        Padding is no place to choose: a window's loss does not depend on how long its neighbours are.
        """
        real, smoothing = batch["attention_mask"].bool(), weighting.label_smoothing
        start = _place_loss(outputs.start_logits, batch["start_positions"], real, smoothing)
        end = _place_loss(outputs.end_logits, batch["end_positions"], real, smoothing)
        return (start + end) / 2

    def loss_size(self, batch: Mapping[str, torch.Tensor], weighting: Weighting) -> torch.Tensor:
        """Windows."""
        places = batch["start_positions"]
        return places.new_tensor(places.numel()).float()

    def choices(self, outputs: Any, batch: Mapping[str, torch.Tensor], weighting: Weighting) -> Choices:
        """The start and the end of each window, half a target each, among its real tokens."""
        import torch

        from ftkit.tasks._tensors import Choices

        padding = ~batch["attention_mask"].bool().repeat_interleave(2, 0)
        logits = torch.stack([outputs.start_logits, outputs.end_logits], 1).flatten(0, 1).float()
        count = len(batch["attention_mask"])
        row = torch.arange(count, device=logits.device).repeat_interleave(2)
        weight = torch.full((2 * count,), 0.5, device=logits.device)
        return Choices(logits.masked_fill(padding, -float("inf")), weight, row, count, "one", padding)

    # ------------------------------------------------------------------ how outputs become answers

    def decode(
        self,
        outputs: Sequence[Output],
        encoded: Batch,
        examples: Sequence[Example],
        tokenizer: Any,
        labels: Labels,
    ) -> list[Prediction]:
        """{"answer", "start", "end", "score"}: the best span over all windows; "" and nulls for no answer."""
        best: list[tuple[float, Prediction] | None] = [None] * len(examples)
        null = [np.inf] * len(examples)
        for output, i, offsets in zip(outputs, encoded["example"], encoded["offsets"], strict=True):
            start, end = output["start_logits"].astype(np.float64), output["end_logits"].astype(np.float64)
            null[i] = min(null[i], start[0] + end[0])
            found = self._best_span(start, end, offsets)
            if found and (best[i] is None or found[0] > best[i][0]):
                best[i] = (found[0], _answer(examples[i]["context"], *found[1:]))
        return [self._choose(found, empty) for found, empty in zip(best, null, strict=True)]

    def _best_span(
        self, start: np.ndarray, end: np.ndarray, offsets: list[list[int]]
    ) -> tuple[float, int, int, float] | None:
        """(logit, first character, last character + 1, probability) of a window's best span, None if it has none."""
        inside = np.array([place[1] > place[0] for place in offsets])
        if not inside.any():
            return None
        places = np.flatnonzero(inside)
        length = places[None, :] - places[:, None]
        legal = (length >= 0) & (length < self.options.answer_tokens)
        logits = np.where(legal, start[places][:, None] + end[places][None, :], -np.inf)
        first, last = (places[i] for i in np.unravel_index(logits.argmax(), logits.shape))
        probability = softmax(start)[first] * softmax(end)[last]
        return float(logits.max()), offsets[first][0], offsets[last][1], float(probability)

    def _choose(self, found: tuple[float, Prediction] | None, null: float) -> Prediction:
        allowed = self.options.unanswerable is True
        if found is None or (allowed and null - found[0] > self.options.null_threshold):
            surplus = null - (found[0] if found else -np.inf)
            score = float(1 / (1 + np.exp(-surplus))) if np.isfinite(surplus) else 1.0
            return {"answer": "", "start": None, "end": None, "score": score}
        return found[1]

    def tally(self, predictions: Sequence[Prediction], examples: Any) -> Tally:
        """Of exact match and token F1 as SQuAD's own scripts give them; both halves apart where some have no answer."""
        from ftkit.metrics.answers import answer_tally

        return answer_tally(*self.answers(predictions, examples))

    def answers(self, predictions: Sequence[Prediction], examples: Any) -> tuple[list[Any], list[Any]]:
        """Answers, and lists of right answers."""
        return [prediction["answer"] for prediction in predictions], [list(a["text"]) for a in examples["answers"]]

    def placed(self, prediction: Prediction, place: Callable[[int, int], tuple[str, int, int]]) -> Prediction:
        """The answer, where there is one."""
        if prediction["start"] is None:
            return prediction
        text, start, end = place(prediction["start"], prediction["end"])
        return {**prediction, "answer": text, "start": start, "end": end}

    def render(self, example: Example, prediction: Prediction) -> str:
        """The question, and the passage around the answer."""
        if prediction["start"] is None:
            return f"{example['question']}\n  (no answer)"
        context, start, end = example["context"], prediction["start"], prediction["end"]
        around = f"{context[max(0, start - 60) : start]}[{context[start:end]}]{context[end : end + 60]}"
        return f"{example['question']}\n  ...{around}..."

    # ------------------------------------------------------------------ where the model goes wrong

    def traits(self, example: Example) -> dict[str, str]:
        """The question's word and how long the answer is."""
        return {
            "question word": _question_word(example["question"]),
            "answer's length": _answer_length(example["answers"]["text"]),
        }

    def marks(self, example: Example, prediction: Prediction) -> Marks:
        """The first right answer, and the one that was given."""
        answers = example["answers"]
        first = zip(answers["text"][:1], answers["answer_start"][:1], strict=True)
        true = [("", at, at + len(text)) for text, at in first]
        said = [] if prediction["start"] is None else [("", prediction["start"], prediction["end"])]
        return Marks("context", true, said)


def _question_word(question: str) -> str:
    words = re.findall(r"\w+", question.casefold())
    found = next((word for word in words if word in _QUESTION_WORDS), "other")
    return "who" if found in ("whose", "whom") else found


def _answer_length(answers: Sequence[str]) -> str:
    if not answers:
        return "no answer"
    count = len(answers[0].split())
    return (
        "1 word" if count == 1 else "2 to 3 words" if count < 4 else "4 to 7 words" if count < 8 else "8 words or more"
    )


def _context_offsets(encoded: Any, i: int) -> list[list[int]]:
    """(start, end) of each token in the passage; (0, 0) for tokens of the question and special ones."""
    sides = encoded.sequence_ids(i)
    return [
        list(place) if side == 1 else [0, 0] for place, side in zip(encoded["offset_mapping"][i], sides, strict=True)
    ]


def _read(example: Sequence[int], offsets: Sequence[list[list[int]]]) -> dict[int, tuple[int, int]]:
    """Of each example the first and the last character (+ 1) of its passage that some token of a window stands for."""
    found: dict[int, tuple[int, int]] = {}
    for number, places in zip(example, offsets, strict=True):
        inside = [place for place in places if place[1] > place[0]]
        low, high = found.get(number, (sys.maxsize, 0))
        found[number] = min([low, *(start for start, _ in inside)]), max([high, *(end for _, end in inside)])
    return found


def _place(offsets: list[list[int]], answers: Mapping[str, Any], low: int, high: int) -> tuple[int, int]:
    """First and last token of the first answer, (0, 0) where the window does not hold all of it.

    What tokenizers drop at the passage's edges, before `low` and from `high` on, is in no window.
    """
    if not answers["text"]:
        return 0, 0
    text = answers["text"][0]
    begin = answers["answer_start"][0] + len(text) - len(text.lstrip())  # no token has the spaces about an answer
    begin, finish = max(begin, low), min(begin + len(text.strip()), high)
    inside = [i for i, (start, end) in enumerate(offsets) if end > start and start < finish and end > begin]
    passage = [place for place in offsets if place[1] > place[0]]
    if not inside or passage[0][0] > begin or passage[-1][1] < finish:
        return 0, 0
    return inside[0], inside[-1]


def _place_loss(logits: torch.Tensor, places: torch.Tensor, real: torch.Tensor, smoothing: float) -> torch.Tensor:
    """Cross-entropy over each window's real tokens, summed. logits and real (windows, tokens), places (windows)."""
    scores = logits.float().masked_fill(~real, -float("inf")).log_softmax(-1)
    right = -scores.gather(-1, places[:, None]).squeeze(-1)
    spread = -scores.masked_fill(~real, 0).sum(-1) / real.sum(-1)
    return ((1 - smoothing) * right + smoothing * spread).sum()


def _answer(context: str, start: int, end: int, probability: float) -> Prediction:
    while end < len(context) and unicodedata.category(context[end]).startswith("M"):
        end += 1  # a mark that the tokenizer drops belongs to its letter
    text = context[start:end]
    start += len(text) - len(text.lstrip())  # some tokenizers count the space before a word as part of it
    return {"answer": text.strip(), "start": start, "end": start + len(text.strip()), "score": probability}
