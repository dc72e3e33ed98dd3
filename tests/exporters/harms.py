"""Harms between a run and its exports: what no gate may let through, whatever the format.

A harm to the model reaches formats that PyTorch reads with the model, and graphs by their weights: one is traced of
the whole model, and gets the harmed one's weights in the places of these.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from ftkit.engine import export as exporting
from ftkit.engine import model as models
from ftkit.engine.contract import Contract
from ftkit.engine.model import Trained
from ftkit.methods._layers import blocks, head_modules, plain_model

_TRACED: dict[Path, dict[str, Any]] = {}
"""Run -> its graphs: the tracer takes longer than all else."""
_trace = exporting.Material.graphs


def permuted_labels(trained: Trained) -> Trained:
    """The outputs in another order than the labels, or an answer's end in the place of its start."""
    width = len(trained.labels) or 2
    for layer in _head(trained):
        if layer.out_features == width:
            layer.weight.data, layer.bias.data = (value.data.roll(1, 0) for value in (layer.weight, layer.bias))
    return trained


def dropped_head(trained: Trained) -> Trained:
    """A head that was never trained; where there is none, an output layer over the vocabulary."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        for layer in _head(trained) or [plain_model(trained.model).get_output_embeddings()]:
            layer.weight.data = torch.randn_like(layer.weight) * 0.5
    return trained


def random_layer(trained: Trained) -> Trained:
    """One layer of weights drawn anew: of those that the method keeps, where it does not keep all."""
    model = trained.model
    core = plain_model(model)
    middle = blocks(core)[len(blocks(core)) // 2]
    inside = [(name, weight) for name, weight in core.named_parameters() if name.startswith(f"{middle}.")]
    small = [weight for name, weight in inside if "lora_" in name or "ia3_" in name or ".adapter." in name]
    with torch.random.fork_rng():
        torch.manual_seed(5)
        for weight in small or [weight for _, weight in inside if weight.dim() > 1]:
            weight.data = torch.randn_like(weight) * 2
    return trained


def other_tokenizer(folder: Path) -> None:
    """The numbers of a tokenizer's words, each another's."""
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    vocabulary = tokenizer["model"]["vocab"]
    words = [piece for piece in vocabulary if piece.strip("Ġ#").isalpha()]
    numbers = [vocabulary[word] for word in words]
    vocabulary |= dict(zip(words, numbers[1:] + numbers[:1], strict=True))
    path.write_text(json.dumps(tokenizer))


def renamed_labels(folder: Path) -> None:
    """The labels by their names in another order."""
    contract = json.loads((folder / "ftkit.json").read_text())
    labels = contract["labels"][1:] + contract["labels"][:1]
    (folder / "ftkit.json").write_text(json.dumps({**contract, "labels": labels}))
    if (folder / "config.json").exists():  # an adapter has none
        config = json.loads((folder / "config.json").read_text())
        numbers = {"id2label": dict(enumerate(labels)), "label2id": {name: i for i, name in enumerate(labels)}}
        (folder / "config.json").write_text(json.dumps({**config, **numbers}))


SAID = {
    "permuted_labels": "its logits differ",
    "dropped_head": "its logits differ",
    "random_layer": "its logits differ",
    "other_tokenizer": "its tokenizer makes other tokens than the run's",
    "renamed_labels": "its labels are",
}
"""Each harm, and what the gate says of it."""


def trace_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the graphs of a run that are traced first serve all its exports."""
    monkeypatch.setattr(exporting.Material, "graphs", _traced)


def do(name: str, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have each export of a run harmed on its way."""
    harm, load, save = globals()[name], models.load, models.save_beside

    def saved(folder: Path, tokenizer: Any, contract: Contract) -> None:
        save(folder, tokenizer, contract)
        harm(folder)

    def graphs(material: Any) -> dict[str, Any]:
        return _with_weights(_traced(material), _merged(load(run)), _merged(harm(load(run))))

    if name in ("other_tokenizer", "renamed_labels"):
        trace_once(monkeypatch)
        monkeypatch.setattr(exporting.models, "save_beside", saved)
    else:
        monkeypatch.setattr(exporting.Material, "graphs", graphs)
        monkeypatch.setattr(exporting.Material, "trained", lambda material: harm(load(material.source)))


class _Untouched(exporting.Material):
    """A run's model as it is, whatever is done to others."""

    def trained(self) -> Trained:
        return models.load(self.source)


def _traced(material: Any) -> dict[str, Any]:
    run = Path(material.source)
    if run not in _TRACED:
        _TRACED[run] = _trace(_Untouched(run, material.rows))
    return _TRACED[run]


def _merged(trained: Trained) -> dict[str, np.ndarray]:
    """The weights of the model that is traced."""
    model = trained.method.merge(trained.model) if trained.method.peft else trained.model
    return {name: weight.detach().numpy().copy() for name, weight in plain_model(model).named_parameters()}


def _with_weights(
    graphs: Mapping[str, Any], before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    """Copies of graphs in which weights, as they are or transposed, are exchanged."""
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    copies, met = {}, set()
    for name, graph in graphs.items():
        copies[name] = onnx.ModelProto.FromString(graph.SerializeToString())
        for constant in copies[name].graph.initializer:
            value = onnx.numpy_helper.to_array(constant)
            for weight in changed:
                for turn in (np.asarray, np.transpose):
                    if value.shape == turn(before[weight]).shape and np.array_equal(value, turn(before[weight])):
                        new = np.ascontiguousarray(turn(after[weight]))
                        constant.CopyFrom(onnx.numpy_helper.from_array(new, constant.name))
                        met.add(weight)
    assert met == changed, f"no graph has {changed - met}"
    return copies


def _head(trained: Trained) -> list[nn.Linear]:
    core: Any = plain_model(trained.model)
    names = tuple(head_modules(core))
    return [layer for name, layer in core.named_modules() if name.startswith(names) and isinstance(layer, nn.Linear)]
