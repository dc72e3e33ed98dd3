"""Models whose logits another runtime computes: they stand where a PyTorch model stands, all else stays the same.

`infer` and `generate` ask them what they ask a model. What a text is made of and what an answer means is the task's
in either case.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import transformers
from torch import nn
from transformers import DynamicCache, EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput, CausalLMOutputWithPast, Seq2SeqLMOutput

from ftkit.engine.graphs import past_names
from ftkit.errors import CheckpointError
from ftkit.exporters._base import Session
from ftkit.tasks._base import Labels, Task


class Served(nn.Module):
    """What reads: logits of the task's inputs."""

    device = torch.device("cpu")
    alone = False

    def __init__(self, config: Any, sessions: Mapping[str, Session], labels: Labels) -> None:
        super().__init__()
        self.config, self.graph, self.labels = config, sessions["model"], labels

    def read(self, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The logits of a batch by name. Raises CheckpointError where they are not one for each label."""
        found = {name: torch.from_numpy(value) for name, value in _run(self.graph, batch).items()}
        if self.labels and (width := found["logits"].shape[-1]) != len(self.labels):
            raise CheckpointError(
                f"the graph gives {width} numbers, and {len(self.labels)} labels are named", "export the run again"
            )
        return found


def model(
    config: Any, generation: Any, sessions: Mapping[str, Session], task: Task, labels: Labels, alone: bool
) -> Any:
    """What stands in the model's place for the graphs of a folder, which take each row `alone` or several."""
    found = _model(config, generation, sessions, task, labels)
    found.alone = alone
    return found


def _model(config: Any, generation: Any, sessions: Mapping[str, Session], task: Task, labels: Labels) -> Any:
    writes = "decoder" in sessions or any(name.startswith("past.") for name in sessions["model"].inputs)
    if not writes:
        return Served(config, sessions, labels)
    library = getattr(transformers, task.model_class(config))
    with torch.device("meta"):  # no weights: graphs compute
        shell = library.from_config(config)
    kind, ours = type(shell), _EncoderDecoder if config.is_encoder_decoder else _Causal
    shell.__class__ = type(f"Served{kind.__name__}", (ours, kind), {})
    for name in list(shell._modules):
        delattr(shell, name)
    shell.config, shell.generation_config, shell.sessions = config, generation, dict(sessions)
    return shell


def is_served(model: Any) -> bool:
    """Whether another runtime than PyTorch computes."""
    return isinstance(model, (Served, _Writer))


def takes_one(model: Any) -> bool:
    """Whether a model has to be given one row at a time."""
    return is_served(model) and bool(model.alone)


class _Writer:
    """What generation of transformers, and our own, asks of a model that writes."""

    sessions: dict[str, Session]
    device = torch.device("cpu")
    dtype = torch.float32

    def _step(self, graph: str, inputs: Mapping[str, torch.Tensor], cache: Any) -> torch.Tensor:
        """The logits of the next tokens; their keys and values are added to the cache."""
        session, rows = self.sessions[graph], len(inputs["input_ids"])
        names = [name for name in session.inputs if name.startswith("past.")]
        past = {name: _past(cache, i, session.inputs[name], rows) for i, name in enumerate(past_names(len(names)))}
        found = {name: torch.from_numpy(value) for name, value in _run(session, {**inputs, **past}).items()}
        for layer in range(len(names) // 2):
            cache.update(found[f"new.{layer}.key"], found[f"new.{layer}.value"], layer)
        return found["logits"]


class _Causal(_Writer):
    def forward(  # type: ignore[no-untyped-def]
        self,
        input_ids=None,
        attention_mask=None,
        position_ids=None,
        past_key_values=None,
        use_cache=None,
        logits_to_keep=0,
        **others,
    ) -> CausalLMOutputWithPast:
        cache = DynamicCache() if past_key_values is None else past_key_values
        before = cache.get_seq_length()
        if attention_mask is None:
            attention_mask = torch.ones(len(input_ids), before + input_ids.shape[1], dtype=torch.long)
        if position_ids is None:
            position_ids = (attention_mask.cumsum(-1) - 1).clamp(min=0)[:, -input_ids.shape[1] :]
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask, "position_ids": position_ids}
        logits = self._step("model", inputs, cache)
        return CausalLMOutputWithPast(logits=logits[:, -logits_to_keep:], past_key_values=cache)


class _EncoderDecoder(_Writer):
    def get_encoder(self, *names: Any) -> Any:
        return _Encoder(self.sessions["encoder"])

    def forward(  # type: ignore[no-untyped-def]
        self,
        input_ids=None,
        attention_mask=None,
        decoder_input_ids=None,
        encoder_outputs=None,
        past_key_values=None,
        use_cache=None,
        **others,
    ) -> Seq2SeqLMOutput:
        if encoder_outputs is None:
            encoder_outputs = self.get_encoder()(input_ids, attention_mask)
        cache = EncoderDecoderCache(DynamicCache(), DynamicCache()) if past_key_values is None else past_key_values
        inputs = {
            "input_ids": decoder_input_ids,
            "attention_mask": attention_mask,
            "read": encoder_outputs.last_hidden_state,
        }
        logits = self._step("decoder", inputs, cache.self_attention_cache)
        return Seq2SeqLMOutput(logits=logits, past_key_values=cache, encoder_last_hidden_state=inputs["read"])


class _Encoder(nn.Module):
    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **others: Any) -> BaseModelOutput:
        found = _run(self.session, {"input_ids": input_ids, "attention_mask": attention_mask})
        return BaseModelOutput(last_hidden_state=torch.from_numpy(found["read"]))


def _past(cache: Any, number: int, shape: tuple[int | None, ...], rows: int) -> torch.Tensor:
    """Keys or values of one layer; of no tokens where there are none yet."""
    if cache.get_seq_length() == 0:
        return torch.zeros(rows, shape[1] or 0, 0, shape[3] or 0)
    layer = cache.layers[number // 2]
    found: torch.Tensor = layer.values if number % 2 else layer.keys
    return found


def _run(session: Session, inputs: Mapping[str, torch.Tensor]) -> dict[str, np.ndarray]:
    """What a graph gives for those of the inputs that it takes."""
    feeds = {name: np.ascontiguousarray(inputs[name].cpu().numpy()) for name in session.inputs}
    return dict(session(feeds))
