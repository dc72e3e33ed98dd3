"""Writing: greedy or beam search, where a causal model's rows leave the batch as soon as they have ended.

`generate` of transformers computes finished rows on until the longest has ended; with greedy search they are dropped
here, out of the cache too, and what is written is the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache, NoRepeatNGramLogitsProcessor

Settings = Mapping[str, Any]
"""As `generate` of transformers takes them: what `Task.generation` gives."""


def write(model: Any, batch: Mapping[str, torch.Tensor], settings: Settings) -> list[np.ndarray]:
    """The tokens written behind each row of a batch that is padded on the left, or for an encoder's batch, in answer.

    A row ends with its end token; what follows it, if anything does, are padding tokens.
    """
    inputs = {name: value for name, value in batch.items() if name != "position_ids"}
    if model.config.is_encoder_decoder:
        return list(model.generate(**inputs, **settings).cpu().numpy())
    if settings["num_beams"] > 1 or _guided(model.generation_config):
        return list(model.generate(**inputs, **settings)[:, inputs["input_ids"].shape[1] :].cpu().numpy())
    return _greedy(model, inputs["input_ids"], inputs["attention_mask"], settings)


_UNGUIDED = {
    "bos_token_id",
    "do_sample",
    "eos_token_id",
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
"""What a checkpoint's generation settings may name without a say in what greedy search writes."""


def _guided(config: Any) -> bool:
    """Whether the checkpoint's own settings (penalties, forced tokens) change what is written."""
    return any(name not in _UNGUIDED and not name.startswith("_") for name in config.to_diff_dict())


def _greedy(model: Any, ids: torch.Tensor, mask: torch.Tensor, settings: Settings) -> list[np.ndarray]:
    cache, start, most = DynamicCache(config=model.config), ids.shape[1], settings["max_new_tokens"]
    repeats = settings["no_repeat_ngram_size"]
    allowed = NoRepeatNGramLogitsProcessor(repeats) if repeats else None
    written: list[np.ndarray] = [np.empty(0)] * len(ids)
    rows = torch.arange(len(ids), device=ids.device)
    places, fed = (mask.cumsum(-1) - 1).clamp(min=0), ids
    while len(rows):
        logits = model(
            input_ids=fed,
            attention_mask=mask,
            position_ids=places,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
        logits = logits.float()
        fed = (allowed(ids, logits) if allowed else logits).argmax(-1, keepdim=True)
        ids = torch.cat([ids, fed], -1)
        ended = (fed[:, 0] == settings["eos_token_id"]) | (ids.shape[1] - start == most)
        for place in ended.nonzero()[:, 0].tolist():
            written[rows[place]] = ids[place, start:].cpu().numpy()
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], -1)
        places = places[:, -1:] + 1
        if ended.any():
            going = (~ended).nonzero()[:, 0]
            rows, ids, mask, places, fed = rows[going], ids[going], mask[going], places[going], fed[going]
            cache.batch_select_indices(going)
    return written
