"""A trained model as graphs of tensors alone: what is traced for runtimes that know nothing of PyTorch's modules.

A model that reads is one graph, `model`, from the tokenizer's tensors to logits. One that writes gives, beside the
logits, what the next step needs of this one (keys and values), so that no step computes an earlier one again:
`model` of a causal checkpoint; `encoder` and `decoder` of an encoder-decoder, where the first reads a text once and
gives each decoder layer's keys and values of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import DynamicCache, EncoderDecoderCache
from transformers.cache_utils import DynamicLayer

from ftkit.errors import CheckpointError, one_line
from ftkit.exporters._graphs import quiet
from ftkit.tasks._base import Task

Tensors = tuple[torch.Tensor, ...]


@dataclass(frozen=True)
class Graph:
    """A module of tensors in and out, with what it is to be traced on."""

    module: nn.Module
    inputs: dict[str, torch.Tensor]
    moving: dict[str, tuple[int, ...]]
    """The dimensions of each input that vary."""
    outputs: tuple[str, ...]

    def onnx(self) -> Any:
        """The graph as ONNX knows it. Raises CheckpointError for an architecture that can't be traced."""
        names = list(self.inputs)
        shapes = tuple(dict.fromkeys(self.moving[name], torch.export.Dim.DYNAMIC) for name in names)
        try:
            with torch.no_grad(), quiet():
                program = torch.onnx.export(
                    self.module,
                    tuple(self.inputs.values()),
                    dynamo=True,
                    dynamic_shapes=(shapes,),
                    input_names=names,
                    output_names=list(self.outputs),
                    verbose=False,
                )
        except torch.onnx.errors.OnnxExporterError as error:
            raise CheckpointError(
                f"{type(self.module).__name__}: the model can't be traced: {one_line(error)}",
                "--format checkpoint exports every architecture",
            ) from error
        assert program is not None
        return _bare(program.model_proto)


def _bare(graph: Any) -> Any:
    """Without the tracer's notes: where in which file of this machine a step stands in code, and shapes inside.

    The quantizer takes these shapes for other than its own.
    """
    del graph.graph.value_info[:]
    for part in (graph, graph.graph, *graph.graph.node, *graph.graph.input, *graph.graph.output):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    return graph


def graphs(model: Any, task: Task, batch: Mapping[str, torch.Tensor], writes: bool) -> dict[str, Graph]:
    """The graphs that answer as `model` does, by name; `batch` are a few rows of different lengths."""
    model.requires_grad_(False)
    if not writes:
        inputs = dict(batch)
        reading = _Reading(model, task, list(inputs))
        outputs = tuple(name for name, value in task.forward(model, inputs).items() if name.endswith("logits"))
        return {"model": Graph(reading, inputs, dict.fromkeys(inputs, (0, 1)), outputs)}
    return _encoder_decoder(model, batch) if model.config.is_encoder_decoder else _causal(model, batch)


def keys_and_values(cache: Any) -> list[torch.Tensor]:
    """Of each layer of a cache, one after the other. Raises CheckpointError where some forget what lies far back."""
    if odd := [type(layer).__name__ for layer in cache.layers if type(layer) is not DynamicLayer]:
        raise CheckpointError(f"its layers keep keys and values in a {odd[0]}, of which no graph is made")
    return [tensor for layer in cache.layers for tensor in (layer.keys, layer.values)]


def past_names(count: int) -> list[str]:
    """Names of so many keys and values, as graphs take them."""
    return [f"past.{i // 2}.{'value' if i % 2 else 'key'}" for i in range(count)]


class _Reading(nn.Module):
    """Logits of the task's inputs."""

    def __init__(self, model: nn.Module, task: Task, names: Sequence[str]) -> None:
        super().__init__()
        self.model, self.task, self.names = model, task, names

    def forward(self, *inputs: torch.Tensor) -> Tensors:
        outputs = self.task.forward(self.model, dict(zip(self.names, inputs, strict=True)))
        return tuple(value for name, value in outputs.items() if name.endswith("logits"))


class _Part(nn.Module):
    """What of a model becomes a graph."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model


class _Causal(_Part):
    """Logits of the tokens that follow the past ones, and the new tokens' keys and values."""

    def forward(self, *inputs: torch.Tensor) -> Tensors:
        ids, mask, places, *past = inputs
        cache = _cache(past)
        found = self.model(
            input_ids=ids, attention_mask=mask, position_ids=places, past_key_values=cache, use_cache=True
        )
        return (found.logits, *_new(cache, ids.shape[1]))


class _Encoder(_Part):
    """Keys and values that decoder layers read of the text, in one tensor (rows, 2 x layers, heads, length, size)."""

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        ids, mask = inputs
        model: Any = self.model
        states = model.get_encoder()(input_ids=ids, attention_mask=mask).last_hidden_state
        cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
        model.get_decoder()(  # any first token: what it adds itself is dropped
            input_ids=ids[:, :1] * 0,
            encoder_hidden_states=states,
            encoder_attention_mask=mask,
            past_key_values=cache,
            use_cache=True,
        )
        return torch.stack(keys_and_values(cache.cross_attention_cache), 1)


class _Decoder(_Part):
    """Logits of the tokens that follow the past ones, and the new tokens' own keys and values."""

    def forward(self, *inputs: torch.Tensor) -> Tensors:
        ids, mask, read, *past = inputs
        cache = EncoderDecoderCache(_cache(past), _cache(read.unbind(1)))
        states = read.new_zeros(mask.shape[0], mask.shape[1], 1)  # its keys and values stand for it
        found = self.model(
            decoder_input_ids=ids,
            encoder_outputs=(states,),
            attention_mask=mask,
            past_key_values=cache,
            use_cache=True,
        )
        return (found.logits, *_new(cache.self_attention_cache, ids.shape[1]))


def _cache(tensors: Sequence[torch.Tensor]) -> DynamicCache:
    cache = DynamicCache()
    for layer, (keys, values) in enumerate(zip(tensors[::2], tensors[1::2], strict=True)):
        cache.update(keys, values, layer)
    return cache


def _new(cache: Any, count: int) -> list[torch.Tensor]:
    return [tensor[:, :, -count:] for tensor in keys_and_values(cache)]


def _causal(model: Any, batch: Mapping[str, torch.Tensor]) -> dict[str, Graph]:
    """Traced on the last two tokens of the batch, behind all others."""
    ids, mask = batch["input_ids"], batch["attention_mask"]
    places = (mask.cumsum(-1) - 1).clamp(min=0)
    before = {"input_ids": ids[:, :-2], "attention_mask": mask[:, :-2], "position_ids": places[:, :-2]}
    with torch.no_grad():
        past = keys_and_values(model(**before, use_cache=True).past_key_values)
    inputs = {"input_ids": ids[:, -2:], "attention_mask": mask, "position_ids": places[:, -2:]}
    return {"model": _writing(_Causal(model), inputs, past)}


def _encoder_decoder(model: Any, batch: Mapping[str, torch.Tensor]) -> dict[str, Graph]:
    """The decoder is traced on two tokens behind two others; which ones does not matter."""
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    encoder = _Encoder(model)
    tokens = inputs["input_ids"][:, :2]
    with torch.no_grad():
        read = encoder(*inputs.values())
        cache = model(**inputs, decoder_input_ids=tokens, use_cache=True).past_key_values
    past = keys_and_values(cache.self_attention_cache)
    step = {"input_ids": tokens, "attention_mask": inputs["attention_mask"], "read": read}
    decoder = _writing(_Decoder(model), step, past)
    decoder.moving["read"] = (0, 3)
    return {"encoder": Graph(encoder, inputs, dict.fromkeys(inputs, (0, 1)), ("read",)), "decoder": decoder}


def _writing(module: nn.Module, inputs: dict[str, torch.Tensor], past: Sequence[torch.Tensor]) -> Graph:
    names = past_names(len(past))
    moving: dict[str, tuple[int, ...]] = {**dict.fromkeys(inputs, (0, 1)), **dict.fromkeys(names, (0, 2))}
    outputs = ("logits", *(name.replace("past", "new") for name in names))
    return Graph(module, {**inputs, **dict(zip(names, past, strict=True))}, moving, outputs)
