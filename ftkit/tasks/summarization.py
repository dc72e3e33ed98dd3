"""Summarization: a document in, a shorter text out, by a sequence-to-sequence or a causal checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from ftkit.errors import CheckpointError, one_line
from ftkit.tasks._base import Batch, Column, Example, Labels, Limit, Output, Prediction, Task, Weighting
from ftkit.tasks._tensors import IGNORED
from ftkit.tasks._truncation import ends

if TYPE_CHECKING:
    import torch
    from datasets import Dataset

    from ftkit.metrics.tally import Tally
    from ftkit.tasks._tensors import Choices


_MARGIN = 2
"""Tokens by which a document and what stands around it may come out longer together than apart."""


class Summarization(Task):
    """Learns to write the summary of a document; the loss is on the summary's tokens alone."""

    summary = "write a short version of a document"
    columns = (Column("document", "text", in_parts=True), Column("summary", "references"))
    auto_class = "AutoModelForSeq2SeqLM"
    peft_type = "SEQ_2_SEQ_LM"
    best_metric = "rougeL"
    baselines = ("lead", "textrank")

    class Options(Task.Options):
        max_length: int = Field(1024, gt=0)
        """Longest document in tokens; what is beyond is cut, and counted."""
        truncate: Literal["head", "tail", "head+tail"] = "head"
        """What is read of a longer document: its `head`, its `tail`, or half of each (`head+tail`)."""
        target_length: int = Field(128, gt=0)
        """Longest summary in tokens, in training and in writing."""
        family: Literal["auto", "seq2seq", "causal"] = "auto"
        """How the checkpoint writes: T5 and BART `seq2seq`, SmolLM2 and GPT `causal`; `auto` asks its config."""
        prefix: str = ""
        """Put before each document for a sequence-to-sequence checkpoint, as T5 wants (`summarize: `)."""
        prompt: str = "Summarize in one or two sentences:\n\n{document}"
        """What a causal checkpoint is asked, `{document}` in it; sent through its chat template where it has one."""
        beams: int = Field(1, gt=0)
        """Summaries followed at once while writing."""
        no_repeat: int = Field(0, ge=0)
        """Longest run of tokens that may not occur twice in a summary; 0 allows all."""
        # Minimum Bayes risk decoding (Kumar and Byrne 2004, Eikema and Aziz 2022). One candidate is the likeliest word
        # by word, the others are drawn, always the same for the same document; 8 take three times as long as 1.
        candidates: int = Field(1, gt=0, le=64)
        """Summaries that a causal checkpoint writes of a document; the one that has most in common with all is kept."""
        candidate_temperature: float = Field(0.5, ge=0.01, le=100)
        """How freely the other candidates are drawn: lower ones are more alike."""

        @field_validator("truncate", mode="before")
        @classmethod
        def _reads_once(cls, value: Any) -> Any:
            if value == "window":
                why = "can't be window: a summary is written in one reading of its document; head+tail reads both ends"
                raise PydanticCustomError("window", why)
            return value

        @field_validator("prompt")
        @classmethod
        def _has_a_place_for_the_document(cls, value: str) -> str:
            if "{document}" not in value:
                raise ValueError("it must say {document} where the document goes")
            return value

    # ------------------------------------------------------------------ what the data and the model are

    def settle(self, train: Dataset | None, config: Any) -> Summarization:
        """Decides which family the checkpoint is of."""
        if config is None:
            return self
        found = "seq2seq" if config.is_encoder_decoder else "causal"
        if self.options.family not in ("auto", found):
            raise CheckpointError(f"task.family: the checkpoint is {found}, not {self.options.family}")
        if self.options.candidates > 1 and (found == "seq2seq" or self.options.beams > 1):
            raise CheckpointError(
                "task.candidates: only a causal checkpoint, without task.beams, writes more than one",
                "set task.candidates to 1",
            )
        return type(self)(self.options.model_copy(update={"family": found}))

    def limits(self) -> tuple[Limit, ...]:
        """Of documents and of summaries."""
        options = self.options
        return (
            Limit(("document",), options.max_length, "task.max_length", special=False),
            Limit(("summary",), options.target_length, "task.target_length", special=False),
        )

    def model_class(self, config: Any) -> str:
        """Sequence-to-sequence or causal, as the config says."""
        return "AutoModelForSeq2SeqLM" if config.is_encoder_decoder else "AutoModelForCausalLM"

    def peft_name(self) -> str:
        """Sequence-to-sequence or causal, as the checkpoint is."""
        return "CAUSAL_LM" if self.causal else "SEQ_2_SEQ_LM"

    def shortened(self, positions: int, tokenizer: Any) -> Summarization:
        """Documents that fit into the checkpoint's positions with what is written around, and behind, them."""
        around = self._prompt("", tokenizer) if self.causal else self.options.prefix
        taken = len(tokenizer(around)["input_ids"]) + _MARGIN + (self.options.target_length if self.causal else 0)
        room = positions - taken
        if room < 1:
            raise CheckpointError(
                f"the checkpoint has {positions} positions, and {taken} of them go to the prompt and the summary",
                "lower task.target_length, or take a checkpoint that reads more",
            )
        if self.options.max_length <= room:
            return self
        return type(self)(self.options.model_copy(update={"max_length": room}))

    @property
    def causal(self) -> bool:
        """Whether one stack reads the document and writes the summary."""
        return bool(self.options.family == "causal")

    # ------------------------------------------------------------------ how rows become tensors

    def encode(self, batch: Batch, tokenizer: Any, labels: Labels) -> Any:
        """A row for each document; in training, for each of its references."""
        pairs = [(i, None) for i in range(len(batch["document"]))]
        if "summary" in batch:
            pairs = [(i, reference) for i, references in enumerate(batch["summary"]) for reference in references]
        documents, cut = self._documents(batch["document"], tokenizer)
        encode = self._causal_row if self.causal else self._seq2seq_row
        rows = [encode(documents[i], reference, tokenizer) for i, reference in pairs]
        shortened = [row.pop("shortened") or cut[i] for row, (i, _) in zip(rows, pairs, strict=True)]
        columns = {name: [row[name] for row in rows] for name in rows[0]} if rows else {}
        return {**columns, "example": [i for i, _ in pairs], "truncated": shortened}

    def _documents(self, documents: list[str], tokenizer: Any) -> tuple[list[str], list[bool]]:
        """Documents cut to `max_length` tokens, and which ones were."""
        most = self.options.max_length
        places = tokenizer(documents, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        cut = [len(row) > most for row in places]
        return [self._cut(d, row) if c else d for d, row, c in zip(documents, places, cut, strict=True)], cut

    def _cut(self, document: str, places: list[tuple[int, int]]) -> str:
        parts = []
        for run in ends(len(places), self.options.max_length, self.options.truncate):
            begin = places[run.start][0] if run.start else 0
            end = places[run.stop - 1][1] if run.stop < len(places) else len(document)
            parts.append(document[begin:end])
        return " ".join(parts)

    def _seq2seq_row(self, document: str, reference: str | None, tokenizer: Any) -> dict[str, Any]:
        row = {**tokenizer(self.options.prefix + document), "shortened": False}
        if reference is not None:
            target = tokenizer(text_target=reference, truncation=True, max_length=self.options.target_length)
            row |= {"labels": target["input_ids"], "shortened": bool(target.encodings[0].overflowing)}
        return row

    def _causal_row(self, document: str, reference: str | None, tokenizer: Any) -> dict[str, Any]:
        """The prompt, and behind it, in training, the summary and the token that ends it."""
        prompt = tokenizer(self._prompt(document, tokenizer), add_special_tokens=False)["input_ids"]
        if reference is None:
            return {"input_ids": prompt, "attention_mask": [1] * len(prompt), "shortened": False}
        summary = reference if tokenizer.chat_template else f" {reference}"
        whole = tokenizer(summary, add_special_tokens=False)["input_ids"]
        target = [*whole[: self.options.target_length - 1], tokenizer.eos_token_id]
        ids = prompt + target
        labels = [IGNORED] * len(prompt) + target
        cut = len(whole) >= self.options.target_length
        return {"input_ids": ids, "attention_mask": [1] * len(ids), "labels": labels, "shortened": cut}

    def _prompt(self, document: str, tokenizer: Any) -> str:
        from jinja2 import TemplateError

        asked = self.options.prompt.replace("{document}", document)
        if not tokenizer.chat_template:
            return f"{tokenizer.bos_token or ''}{asked}\n\nSummary:"
        message = [{"role": "user", "content": asked}]
        try:
            text: str = tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
        except TemplateError as error:  # of a stranger's checkpoint, it runs in a sandbox
            raise CheckpointError(
                f"the checkpoint's chat template can't be used: {one_line(error)}",
                "mend it, or take another checkpoint",
            ) from error
        return text

    def collate(self, rows: list[dict[str, Any]], tokenizer: Any) -> dict[str, torch.Tensor]:
        """Padded on the left for a causal checkpoint, so that all rows end together; targets as long as they are."""
        from ftkit.tasks._tensors import collate

        if self.causal:
            batch = collate(rows, tokenizer, self.targets, per_token=True, side="left")
            batch["position_ids"] = (batch["attention_mask"].cumsum(-1) - 1).clamp(min=0)
            return batch
        width = max(len(row.get("labels", ())) for row in rows)
        padded = [
            {**row, "labels": row["labels"] + [IGNORED] * (width - len(row["labels"]))} if "labels" in row else row
            for row in rows
        ]
        inputs = [{name: value for name, value in row.items() if name != "labels"} for row in padded]
        batch = collate(inputs, tokenizer, (), per_token=False)
        if width:
            import torch

            batch["labels"] = torch.tensor([row["labels"] for row in padded])
        return batch

    # ------------------------------------------------------------------ the model

    def forward(self, model: Any, batch: Mapping[str, torch.Tensor]) -> Any:
        """Logits for the summary's places only (the vocabulary's projection is a fifth of a small model's work)."""
        if not self.causal:
            return model(**batch)
        written = _written(batch["labels"])
        return model(**{k: v for k, v in batch.items() if k != "labels"}, logits_to_keep=written + 1)

    def loss(self, outputs: Any, batch: Mapping[str, torch.Tensor], weighting: Weighting) -> torch.Tensor:
        """Cross-entropy of the summary's tokens, summed."""
        from ftkit.tasks._tensors import cross_entropy

        if not self.causal:
            return cross_entropy(outputs.logits, batch["labels"], weighting)
        written = _written(batch["labels"])
        return cross_entropy(outputs.logits[:, -written - 1 : -1], batch["labels"][:, -written:], weighting)

    def choices(self, outputs: Any, batch: Mapping[str, torch.Tensor], weighting: Weighting) -> Choices:
        """The next token at each place of a summary."""
        from ftkit.tasks._tensors import choices

        logits, labels = outputs.logits, batch["labels"]
        if self.causal:
            written = _written(labels)
            logits, labels = logits[:, -written - 1 : -1], labels[:, -written:]
        return choices(logits, labels, weighting, kind="token")

    # ------------------------------------------------------------------ how outputs become answers

    def generation(self, config: Any, tokenizer: Any) -> dict[str, Any]:
        """Greedy search, beam search or drawing, as the options say."""
        settings: dict[str, Any] = {
            "max_new_tokens": self.options.target_length,
            "num_beams": self.options.beams,
            "no_repeat_ngram_size": self.options.no_repeat,
            "do_sample": False,
            "pad_token_id": tokenizer.pad_token_id,
        }
        if self.causal:
            settings["eos_token_id"] = tokenizer.eos_token_id
        if self.options.candidates > 1:
            settings |= {"candidates": self.options.candidates, "temperature": self.options.candidate_temperature}
        return settings

    def decode(
        self,
        outputs: Sequence[Output],
        encoded: Batch,
        examples: Sequence[Example],
        tokenizer: Any,
        labels: Labels,
    ) -> list[Prediction]:
        """{"summary"}: what was written, special tokens left out; of several candidates the one most like all."""
        from ftkit.metrics.text import most_alike

        found: list[Prediction] = []
        for output in outputs:
            texts = tokenizer.batch_decode(output["candidates"], skip_special_tokens=True)
            found.append({"summary": texts[most_alike(texts)].strip()})
        return found

    def tally(self, predictions: Sequence[Prediction], examples: Any) -> Tally:
        """Of ROUGE-1, -2 and -L; of several references the best counts."""
        from ftkit.metrics.text import rouge_tally

        return rouge_tally(*self.answers(predictions, examples))

    def answers(self, predictions: Sequence[Prediction], examples: Any) -> tuple[list[Any], list[Any]]:
        """Summaries, and lists of reference summaries."""
        return [prediction["summary"] for prediction in predictions], [list(r) for r in examples["summary"]]

    def render(self, example: Example, prediction: Prediction) -> str:
        """The summary, and how the document begins."""
        return f"{prediction['summary']}\n  ({example['document'][:80]}...)"


def _written(targets: torch.Tensor) -> int:
    """How many last places of a batch hold every target."""
    first = (targets != IGNORED).any(0).nonzero()[0].item()
    return targets.shape[1] - int(first)
