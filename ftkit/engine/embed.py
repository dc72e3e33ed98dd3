"""What a pretrained checkpoint makes of texts, without training it: the mean of its last layer's tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from ftkit.engine import machine
from ftkit.engine.infer import batches
from ftkit.engine.memory import Limit
from ftkit.engine.pretrained import refuse_token
from ftkit.errors import CheckpointError, one_line
from ftkit.terminal import Progress

_TOKENS = 8192
"""That go through the model at once, padding included."""
_LONGEST = 256
"""Tokens of a text that are read."""
Vectors = NDArray[np.float32]


class Embedder:
    """A checkpoint's encoder, in the precision that training on this machine would have."""

    def __init__(self, folder: Path, split: bool, progress: Progress) -> None:
        """`split` says that texts come as lists of words. Raises CheckpointError for what can't be loaded."""
        try:
            self.tokenizer = transformers.AutoTokenizer.from_pretrained(
                folder, trust_remote_code=False, **({"add_prefix_space": True} if split else {})
            )
            model = transformers.AutoModel.from_pretrained(
                folder, dtype=torch.float32, trust_remote_code=False, use_safetensors=True
            )
        except (OSError, ValueError, KeyError) as error:
            raise CheckpointError(f"{folder}: can't be loaded: {one_line(error)}") from error
        model = getattr(model, "encoder", model) if model.config.is_encoder_decoder else model
        self.model: Any = model.to(machine.device()).eval()
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        self.split, self.progress = split, progress

    def texts(self, columns: Sequence[Sequence[str]]) -> Vectors:
        """(rows, width) of texts, or of pairs of texts, a column each."""
        found = np.zeros((len(columns[0]), self.model.config.hidden_size), dtype=np.float32)
        for places, states, mask, _ in self._states([list(column) for column in columns]):
            weights = mask[..., None]
            found[places] = ((states * weights).sum(1) / weights.sum(1).clamp(min=1)).cpu().numpy()
        return found

    def words(self, rows: Sequence[Sequence[str]]) -> list[Vectors]:
        """(words, width) of each row: a word's first token. Words beyond the longest text are zeros."""
        found = [np.zeros((len(words), self.model.config.hidden_size), dtype=np.float32) for words in rows]
        for places, states, _, word_ids in self._states([list(rows)]):
            for row, i in enumerate(places):
                for token, word in reversed(list(enumerate(word_ids[row]))):  # the first one is written last
                    if word is not None:
                        found[i][word] = states[row, token].cpu().numpy()
        return found

    def _states(
        self, columns: list[list[Any]]
    ) -> Iterator[tuple[list[int], torch.Tensor, torch.Tensor, list[list[int | None]]]]:
        """(rows, last states, mask, each token's word) of some rows at a time, the longest first."""
        longest = min(_LONGEST, getattr(self.model.config, "max_position_embeddings", None) or _LONGEST)
        settings = {"truncation": True, "max_length": longest, "is_split_into_words": self.split}
        lengths = [len(ids) for ids in self.tokenizer(*columns, **settings)["input_ids"]]
        low = machine.precision("auto") == "bf16"
        done = 0
        with self.progress.over(len(lengths), "reading") as advance:
            for places in batches(lengths, Limit(_TOKENS)):
                some = [[column[i] for i in places] for column in columns]
                encoded = self.tokenizer(*some, padding=True, return_tensors="pt", **settings)
                refuse_token(self.model, int(encoded["input_ids"].max()), self.tokenizer)
                inputs = {name: value.to(machine.device()) for name, value in encoded.items()}
                with torch.inference_mode(), torch.autocast(machine.device().type, torch.bfloat16, enabled=low):
                    states = self.model(**inputs).last_hidden_state.float()
                words = [encoded.word_ids(i) for i in range(len(places))]
                yield places, states, inputs["attention_mask"].float(), words
                advance(done := done + len(places))
