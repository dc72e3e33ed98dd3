"""Classification: a text, or a pair of texts, in; one label, several, or a number out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from ftkit.data.balance import names
from ftkit.data.typed import column
from ftkit.errors import DataError, nearest
from ftkit.findings import Finding, Place, listed
from ftkit.metrics.calibration import Decisions, softmax
from ftkit.tasks import _truncation as truncation
from ftkit.tasks._base import Batch, Column, Example, Labels, Limit, Output, Prediction, Task, TokenPlace, Weighting
from ftkit.tasks._truncation import Truncation

if TYPE_CHECKING:
    import torch
    from datasets import Dataset

    from ftkit.metrics.tally import Tally
    from ftkit.tasks._tensors import Choices

_LEAST = 8
"""Tokens that a window must be longer than: what a tokenizer puts around two texts, and something of both."""
_SECOND = "text_pair"
"""The column of the second text, where rows have one."""
_TARGET_KIND: dict[str, Any] = {"single": "label", "multi": "labels", "regression": "number"}


class Classification(Task):
    """One label, several labels, or a number for a text or a pair of texts."""

    summary = "label a text or a pair of texts: one label, several, or a number"
    columns: ClassVar[tuple[Column, ...]] = (
        Column("text", "text"),
        Column("text_pair", "text", required=False),
        Column("label", "label"),
    )
    auto_class = "AutoModelForSequenceClassification"
    peft_type = "SEQ_CLS"
    best_metric = "accuracy"
    baselines: ClassVar[tuple[str, ...]] = ("majority", "svm")
    augments = ("text", "text_pair")

    class Options(Task.Options):
        kind: Literal["single", "multi", "regression"] = "single"
        """One label a row, any number of labels, or a number."""
        truncate: Truncation = "head"
        """Read of a longer text: its `head`, `tail`, half of each (`head+tail`), or all of it, `window` by window."""
        stride: int = Field(64, ge=0)
        """Tokens that neighbouring windows of one text share; at most half a window."""
        pairs: bool | Literal["auto"] = "auto"
        """Whether a second text, `text_pair`, belongs to each row: `auto` is as the training rows have it."""
        threshold: float = Field(0.5, gt=0, lt=1)
        """With several labels: the probability from which a label is given."""
        temperature: float = Field(1.0, ge=0.01, le=100)
        """Divides the logits before they become probabilities; fitted on the validation rows by training."""
        abstain: float = Field(0.0, ge=0, lt=1)
        """Answers with a lower probability are withheld."""

        @field_validator("temperature", "abstain")
        @classmethod
        def _of_one_label(cls, value: float, info: ValidationInfo) -> float:
            kind, usual = info.data.get("kind", "single"), cls.model_fields[str(info.field_name)].default
            if kind != "single" and value != usual:
                raise PydanticCustomError("one_label", "is for one label a row, and the kind is {kind}", {"kind": kind})
            return value

        @model_validator(mode="after")
        def _windows_have_room(self) -> Classification.Options:
            windows = self.truncate == "window"
            if windows and self.max_length <= _LEAST:
                raise PydanticCustomError(
                    "room", f"max_length must be more than {_LEAST} where texts are read in windows"
                )
            if not windows and self.stride != type(self).model_fields["stride"].default:
                raise PydanticCustomError(
                    "stride", "stride is for windows: set truncate to window, or leave stride out"
                )
            return self

    @property
    def targets(self) -> tuple[str, ...]:
        """The labels; of windows also the share of its text that each is."""
        return ("labels", "weight") if self.keeps_together else ("labels",)

    @property
    def keeps_together(self) -> bool:
        """The windows of a text: their losses' mean is the text's."""
        return bool(self.options.truncate == "window")

    # ------------------------------------------------------------------ what the data is

    def shapes(self) -> tuple[tuple[Column, ...], ...]:
        """The columns, with the target of the kind that the options ask for; and with the second text, or without."""
        kind, pairs = _TARGET_KIND[self.options.kind], self.options.pairs
        columns = [c if c.is_input else c._replace(kind=kind) for c in self.columns]
        if pairs is False:
            columns = [c for c in columns if c.name != _SECOND]
        elif pairs is True:
            columns = [c._replace(required=True) if c.name == _SECOND else c for c in columns]
        return (tuple(columns),)

    def settle(self, train: Dataset | None, config: Any) -> Classification:
        """Whether rows are pairs, as those that are learned from: others would be answered, and not as was trained."""
        if self.options.pairs != "auto" or train is None or all(column.name != _SECOND for column in self.columns):
            return self
        pairs = _SECOND in train.column_names
        return type(self)(self.options.model_copy(update={"pairs": pairs}))

    def labels(self, train: Dataset, wanted: Sequence[str] | None = None) -> Labels:
        """Label names, sorted (by value where all are whole numbers), or `wanted` as it is."""
        if self.options.kind == "regression":
            return ("value",)
        found = {label for value in column(train, "label") for label in names(value)}
        unknown = sorted(found - set(wanted)) if wanted else []
        if unknown:
            raise DataError(
                f"data.labels does not list {listed(unknown)}, which the training rows have",
                "add what is missing, or rename it with a mapping: data.labels={found: wanted}",
            )
        labels = tuple(wanted) if wanted else self.order(found)
        least = 1 if self.options.kind == "multi" else 2
        if len(labels) < least:
            raise DataError(
                f"the training rows have too few different labels, {len(found)}: {listed(sorted(found))}",
                f"{least} or more are needed; is the right column mapped in data.columns?",
            )
        return labels

    def order(self, found: set[str]) -> Labels:
        """`found` in the order in which labels are numbered."""
        numeric = all(label.removeprefix("-").isdecimal() for label in found)
        return tuple(sorted(found, key=(lambda label: (int(label), label)) if numeric else None))

    def check(self, split: Dataset, labels: Labels) -> Iterator[Finding]:
        """Labels that the model does not know, each with its rows and the nearest known one."""
        if self.options.kind == "regression":
            return
        rows: dict[str, list[Place]] = {}
        for value, row in zip(column(split, "label"), column(split, "row"), strict=True):
            for label in names(value):
                if label not in labels:
                    rows.setdefault(label, []).append(Place(row))
        for label, places in rows.items():
            meant = nearest(label, labels, 0.8)
            yield Finding(
                "unknown-label",
                "error",
                f"label {label!r} is none of the labels that were trained: {listed(labels)}",
                tuple(places),
                f"did you mean {meant!r}? data.labels={{...}} renames labels"
                if meant
                else "train on rows that have it, or leave these rows out",
            )

    def limits(self) -> tuple[Limit, ...]:
        """Of the text, or of both texts together; none where all is read in windows."""
        if self.options.truncate == "window":
            return ()
        return (Limit(("text", "text_pair"), self.options.max_length, "task.max_length"),)

    # ------------------------------------------------------------------ how rows become tensors

    def encode(self, batch: Batch, tokenizer: Any, labels: Labels) -> Any:
        """One encoded row a text, or one for each of its windows; `truncated` says which texts were cut.

        Of a pair the longer text is read in windows, and the other one is in each of them; what it has beyond half a
        window is cut.
        """
        texts = [batch["text"], batch["text_pair"]] if batch.get("text_pair") else [batch["text"]]
        options, targets = self.options, self.label_ids(batch, labels)
        if options.truncate == "head":
            encoded = tokenizer(*texts, truncation="longest_first", max_length=options.max_length)
            truncation.never_empty(encoded, tokenizer)
            cut = [bool(encoding.overflowing) for encoding in encoded.encodings]
            return {**encoded, "truncated": cut, **targets}
        rows = truncation.encode(texts, tokenizer, options.truncate, options.max_length, options.stride)
        targets = {name: [values[i] for i in rows["example"]] for name, values in targets.items()}
        if targets and self.keeps_together:
            windows = Counter(rows["example"])
            targets["weight"] = [1 / windows[i] for i in rows["example"]]
        return {**rows, **targets}

    def label_ids(self, batch: Batch, labels: Labels) -> dict[str, list[Any]]:
        """The targets: a class number, 0/1 for each class, or a number; nothing where the batch has no labels."""
        if "label" not in batch:
            return {}
        if self.options.kind == "regression":
            return {"labels": [float(value) for value in batch["label"]]}
        number = {name: index for index, name in enumerate(labels)}
        if self.options.kind == "single":
            return {"labels": [number[value] for value in batch["label"]]}
        return {"labels": [[float(name in value) for name in labels] for value in batch["label"]]}

    # ------------------------------------------------------------------ the model

    def model_settings(self, labels: Labels) -> dict[str, Any]:
        """The labels, and the kind of problem in the library's own word, so that others read the model right."""
        kinds = {
            "single": "single_label_classification",
            "multi": "multi_label_classification",
            "regression": "regression",
        }
        return {**super().model_settings(labels), "problem_type": kinds[self.options.kind]}

    def loss(self, outputs: Any, batch: Mapping[str, torch.Tensor], weighting: Weighting) -> torch.Tensor:
        """Cross-entropy, binary cross-entropy over all labels, or squared error, summed over the batch.

        Of a text's windows each counts for its share of the text.
        """
        import torch.nn.functional as F

        from ftkit.tasks._tensors import class_weights, cross_entropy

        share = batch.get("weight")
        if self.options.kind == "single":
            return cross_entropy(outputs.logits, batch["labels"], weighting, share)
        logits, targets = outputs.logits.float(), batch["labels"].float()
        if self.options.kind == "regression":
            each = F.mse_loss(logits.squeeze(-1), targets, reduction="none")
            return each.sum() if share is None else (each * share).sum()
        smoothing = weighting.label_smoothing
        targets = targets * (1 - smoothing) + smoothing / 2
        weight = class_weights(weighting, logits)
        each = F.binary_cross_entropy_with_logits(logits, targets, pos_weight=weight, reduction="none")
        return each.sum() if share is None else (each * share[:, None]).sum()

    def loss_size(self, batch: Mapping[str, torch.Tensor], weighting: Weighting) -> torch.Tensor:
        """Texts (weighed where classes are), or texts times labels where one may have several."""
        from ftkit.tasks._tensors import target_weight

        share, labels = batch.get("weight"), batch["labels"]
        if self.options.kind == "single":
            return target_weight(labels, weighting, share)
        if share is None:
            return labels.new_tensor(labels.numel()).float()
        return share.sum() * (labels.shape[1] if self.options.kind == "multi" else 1)

    def choices(self, outputs: Any, batch: Mapping[str, torch.Tensor], weighting: Weighting) -> Choices:
        """One for each text, or window of one, which counts for its share; weights of classes are for one label."""
        import torch

        from ftkit.tasks._tensors import Choices, choices

        share, labels, logits = batch.get("weight"), batch["labels"], outputs.logits
        if self.options.kind == "single":
            return choices(logits, labels, weighting, share)
        count = len(labels)
        weight = torch.ones(count, device=logits.device) if share is None else share
        kind: Literal["each", "number"] = "each" if self.options.kind == "multi" else "number"
        return Choices(logits, weight, torch.arange(count, device=logits.device), count, kind)

    # ------------------------------------------------------------------ how outputs become answers

    def decode(
        self,
        outputs: Sequence[Output],
        encoded: Batch,
        examples: Sequence[Example],
        tokenizer: Any,
        labels: Labels,
    ) -> list[Prediction]:
        """{"label", "score"}; {"labels", "scores"} where several may be given; {"value"} for a number.

        A text's windows answer together: see `joined`. A label whose probability lies below `abstain` stands under
        "withheld", and "label" is None.
        """
        logits = self.joined(outputs, encoded)
        if self.options.kind == "regression":
            return [{"value": float(row[0])} for row in logits]
        if self.options.kind == "multi":
            return [self._given(row, labels) for row in 1 / (1 + np.exp(-logits))]
        scores = softmax(logits, self.options.temperature).max(-1)
        return [self._one(labels[i], float(score)) for i, score in zip(logits.argmax(-1), scores, strict=True)]

    def joined(self, outputs: Sequence[Output], encoded: Batch) -> np.ndarray:
        """(examples, outputs), in float64: the mean over an example's windows; of several labels each one's highest.

        Measured on made-up documents with parts on several topics, one seed each: of one label, the mean of logits was
        as good as the mean of probabilities and means weighed by tokens (0.829, 0.816, 0.819 of 293 right), the highest
        logit far worse (0.590); where each topic was a label, the highest was better (micro-F1 0.870, the mean 0.777).
        """
        logits = np.stack([output["logits"] for output in outputs]).astype(np.float64)
        example = encoded.get("example", range(len(outputs)))
        _, first, windows = np.unique(example, return_index=True, return_counts=True)
        if self.options.kind == "multi":
            return np.maximum.reduceat(logits, first)
        return np.add.reduceat(logits, first) / windows[:, None]

    def _one(self, label: str, score: float) -> Prediction:
        if score < self.options.abstain:
            return {"label": None, "score": score, "withheld": label}
        return {"label": label, "score": score}

    def _given(self, probabilities: np.ndarray, labels: Labels) -> Prediction:
        given = {name: float(p) for name, p in zip(labels, probabilities, strict=True) if p >= self.options.threshold}
        return {"labels": list(given), "scores": given}

    def calibrates(self) -> bool:
        """Where a row has one label."""
        return bool(self.options.kind == "single")

    def decisions(
        self, outputs: Sequence[Output], encoded: Batch, examples: Sequence[Example], labels: Labels
    ) -> Decisions:
        """One for each row."""
        logits = self.joined(outputs, encoded).astype(np.float32)
        number = {name: index for index, name in enumerate(labels)}
        truth = np.array([number[example["label"]] for example in examples])
        return Decisions(logits, np.arange(len(truth)), logits.argmax(-1) == truth, truth)

    def tally(self, predictions: Sequence[Prediction], examples: Any) -> Tally:
        """Of accuracy, precision, recall and F1; of numbers, of errors and correlations."""
        from ftkit.metrics import classification as metrics

        predicted, truth = self.answers(predictions, examples)
        if self.options.kind == "regression":
            return metrics.regression_tally(truth, predicted)
        measure = metrics.multi_label_tally if self.options.kind == "multi" else metrics.single_label_tally
        return measure(truth, predicted, _all_labels(truth, predicted))

    def decider(self) -> str:
        """Accuracy; micro-F1 over labels where a row may have several, and the squared error of numbers."""
        return {"single": self.best_metric, "multi": "micro_f1", "regression": "mse"}[self.options.kind]

    def answers(self, predictions: Sequence[Prediction], examples: Any) -> tuple[list[Any], list[Any]]:
        """Labels (withheld ones too), lists of labels, or numbers."""
        name = {"single": "label", "multi": "labels", "regression": "value"}[self.options.kind]
        return [prediction.get("withheld", prediction[name]) for prediction in predictions], list(examples["label"])

    def render(self, example: Example, prediction: Prediction) -> str:
        """The label, its probability, and the text."""
        text = " | ".join(
            str(example[column.name]) for column in self.columns if column.is_input and example.get(column.name)
        )
        if "withheld" in prediction:
            return f"(withheld: {prediction['withheld']}, {prediction['score']:.2f})  {text}"
        if self.options.kind == "single":
            return f"{prediction['label']} ({prediction['score']:.2f})  {text}"
        if self.options.kind == "regression":
            return f"{prediction['value']:.3f}  {text}"
        given = ", ".join(f"{name} ({p:.2f})" for name, p in prediction["scores"].items())
        return f"{given or '(none)'}  {text}"

    # ------------------------------------------------------------------ where the model goes wrong

    def token_places(self, example: Example, encoded: Batch, tokenizer: Any) -> list[list[TokenPlace]] | None:
        """Where each token stands, in the text or in its pair; of all windows."""
        texts = {name: example[name] for name in ("text", "text_pair") if example.get(name) is not None}
        options = self.options
        again = truncation.encode(
            [[text] for text in texts.values()], tokenizer, options.truncate, options.max_length, options.stride
        )
        if again["input_ids"] != encoded["input_ids"]:  # a subclass encodes otherwise
            return None
        return truncation.token_places(texts, tokenizer, options.truncate, options.max_length, options.stride)

    def rival(
        self, example: Example, outputs: Sequence[Output], encoded: Batch, labels: Labels
    ) -> tuple[Example, str, str] | None:
        """The label answered, and the next likely one, where a row has one label."""
        if self.options.kind != "single" or len(labels) < 2:
            return None
        said, other = self.joined(outputs, encoded)[0].argsort()[::-1][:2]
        return example, labels[said], labels[other]


def _all_labels(truth: Sequence[Any], predicted: Sequence[Any]) -> list[str]:
    return sorted({label for value in (*truth, *predicted) for label in names(value)})
