"""Writing: greedy, by beam search or by drawing; a causal model's rows leave the batch as soon as they have ended.

`generate` of transformers computes finished rows on until the longest has ended. Here they are dropped, out of the
cache too, a document is read once for all its candidates, and what greedy search writes is the same.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache, NoRepeatNGramLogitsProcessor

from ftkit.engine.nonfinite import not_finite
from ftkit.errors import RecipeError

Settings = Mapping[str, Any]
"""As `generate` of transformers takes them: what `Task.generation` gives."""


def write(model: Any, batch: Mapping[str, torch.Tensor], settings: Settings) -> list[list[np.ndarray]]:
    """What is written behind each row of a batch that is padded on the left, or for an encoder's batch, in answer.

    One row of tokens each; with `candidates`, so many: the greedy one, and others drawn at `temperature` by numbers
    that come of the row alone. What follows an end token, if anything does, are padding tokens. Raises RecipeError for
    candidates of a checkpoint that has generation settings of its own, CheckpointError for outputs that are no numbers.
    """
    inputs = {name: value for name, value in batch.items() if name != "position_ids"}
    check(model, settings)
    asked, count, temperature = _asked(settings), settings.get("candidates", 1), settings.get("temperature", 1.0)
    if not _by_hand(model, asked):
        start = 0 if model.config.is_encoder_decoder else inputs["input_ids"].shape[1]
        return [[row] for row in model.generate(**inputs, **asked)[:, start:].cpu().numpy()]
    return _Writing(model, inputs["input_ids"], inputs["attention_mask"], asked, count, temperature).done()


def check(model: Any, settings: Settings) -> None:
    """Raises RecipeError for candidates that the model does not write; called before training, too."""
    asked = _asked(settings)
    if settings.get("candidates", 1) > 1 and not _by_hand(model, asked):
        others = ", ".join(sorted(_own(model) - _UNHEEDED - set(asked))) or "others than greedy search's"
        raise RecipeError(
            f"task.candidates: the checkpoint has generation settings of its own ({others}), with which it writes one",
            "set task.candidates to 1, or take them out of its generation_config.json",
        )


def _asked(settings: Settings) -> dict[str, Any]:
    """The settings that `generate` of transformers takes."""
    return {name: value for name, value in settings.items() if name not in ("candidates", "temperature")}


_HERE = {"max_new_tokens", "num_beams", "no_repeat_ngram_size", "do_sample", "pad_token_id", "eos_token_id"}
"""Settings that are heeded here; with any other, `generate` of transformers writes."""
_UNHEEDED = {
    "bos_token_id",
    "max_length",
    "output_attentions",
    "output_hidden_states",
    "pad_token_id",
    "temperature",
    "top_k",
    "top_p",
    "transformers_version",
    "use_cache",
}
"""What a checkpoint's own settings may name without a say in what greedy search writes."""


def _by_hand(model: Any, asked: Settings) -> bool:
    """Whether the loop here writes what `generate` would."""
    greedy = asked.get("num_beams", 1) == 1 and not asked.get("do_sample") and set(asked) <= _HERE
    plain = _own(model) <= _UNHEEDED | set(asked) and isinstance(asked.get("eos_token_id"), int)
    cached = getattr(model, "_supports_default_dynamic_cache", lambda: True)() and not model.config.is_encoder_decoder
    return greedy and plain and cached


def _own(model: Any) -> set[str]:
    """The names of what the checkpoint's generation settings say."""
    return {name for name in model.generation_config.to_diff_dict() if not name.startswith("_")}


class _Writing:
    """The candidates of a batch while they are written, a token each at a time."""

    def __init__(
        self, model: Any, ids: torch.Tensor, mask: torch.Tensor, settings: Settings, count: int, temperature: float
    ) -> None:
        self.model, self.settings, self.count, self.temperature = model, settings, count, temperature
        self.ids, self.mask, self.start = ids, mask, ids.shape[1]
        self.cache = DynamicCache(config=model.config)
        repeats = settings.get("no_repeat_ngram_size", 0)
        self.allowed = NoRepeatNGramLogitsProcessor(repeats) if repeats else None

    def done(self) -> list[list[np.ndarray]]:
        """The tokens of each row's candidates."""
        most, rows = self.settings["max_new_tokens"], len(self.ids)
        draws = torch.stack([_draws(row[real], self.count, most) for row, real in self._rows()]).flatten(0, 1)
        places = (self.mask.cumsum(-1) - 1).clamp(min=0)
        logits = self._logits(self.ids, places).repeat_interleave(self.count, 0)
        self.ids, self.mask = (x.repeat_interleave(self.count, 0) for x in (self.ids, self.mask))
        places = places[:, -1:].repeat_interleave(self.count, 0)
        self.cache.batch_repeat_interleave(self.count)
        written: list[np.ndarray] = [np.empty(0)] * len(self.ids)
        going = torch.arange(len(self.ids), device=self.ids.device)
        for step in range(most):
            token = self._choose(logits, draws[going.cpu(), step].to(logits.device))
            self.ids = torch.cat([self.ids, token], -1)
            ended = (token[:, 0] == self.settings["eos_token_id"]) | (step == most - 1)
            for place in ended.nonzero()[:, 0].tolist():
                written[going[place]] = self.ids[place, self.start :].cpu().numpy()
            self.mask = torch.cat([self.mask, self.mask.new_ones(len(self.mask), 1)], -1)
            places = places + 1
            if ended.any():
                kept = (~ended).nonzero()[:, 0]
                if not len(kept):
                    break
                going, places, token = going[kept], places[kept], token[kept]
                self.ids, self.mask = self.ids[kept], self.mask[kept]
                self.cache.batch_select_indices(kept)
            logits = self._logits(token, places)
        return [written[i : i + self.count] for i in range(0, rows * self.count, self.count)]

    def _rows(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        return zip(self.ids.cpu(), self.mask.bool().cpu(), strict=True)

    def _logits(self, ids: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """Of the next token of each row (rows, vocabulary), in float32."""
        outputs = self.model(
            input_ids=ids,
            attention_mask=self.mask,
            position_ids=places,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits: torch.Tensor = outputs.logits[:, -1].float()
        if not logits.isfinite().all():
            raise not_finite()
        return logits

    def _choose(self, logits: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
        """The next tokens (rows, 1): the likeliest where the draw is none, else that at which the sum passes it."""
        if self.allowed:
            logits = self.allowed(self.ids, logits)
        token = logits.argmax(-1, keepdim=True)
        drawn = (draws >= 0).nonzero()[:, 0]
        if len(drawn):
            sums = (logits[drawn] / self.temperature).softmax(-1).cumsum(-1)
            token[drawn] = torch.searchsorted(sums, draws[drawn, None] * sums[:, -1:])
        return token


def _draws(ids: torch.Tensor, count: int, most: int) -> torch.Tensor:
    """Numbers above 0 to 1 for each candidate and place (count, most), always the same for the same row; -1: none."""
    seed = zlib.crc32(ids.numpy().tobytes())
    draws = 1 - torch.rand(count, most, generator=torch.Generator().manual_seed(seed))  # 0 would be any first token
    draws[0] = -1
    return draws
