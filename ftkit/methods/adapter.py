"""Bottleneck adapters: small layers after each sub-layer learn, and the checkpoint around them stays."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, ValidationError

from ftkit.config import Section
from ftkit.errors import CheckpointError, problems
from ftkit.methods._base import Method, check_fit, stored_file
from ftkit.methods._layers import (
    Outputs,
    blocks,
    head_modules,
    in_top,
    is_norm,
    output_width,
    plain_model,
    sublayer_outputs,
)
from ftkit.plugins import explain_errors

if TYPE_CHECKING:
    from torch import Tensor, nn

# Not `adapter_config.json`: transformers takes a folder with a file of that name for PEFT's.
_CONFIG, _WEIGHTS = "adapter.json", "adapter.safetensors"


class Adapter(Method):
    """Down-projection, activation and up-projection with a skip connection, after each sub-layer's output.

    Houlsby et al. 2019 put one after each attention and each feed-forward part, Pfeiffer et al. 2021 after
    the feed-forward part only. The up-projection starts at zero: training starts where the checkpoint is.
    """

    summary = "small bottleneck layers learn, and the head"
    standalone = False
    unmerged = "adapters can't be merged: a bottleneck is not linear and has no place in a plain checkpoint"

    class Options(Section):
        """The settings of `method: adapter`."""

        placement: Literal["houlsby", "pfeiffer"] = "houlsby"
        """After attention and feed-forward (houlsby), or feed-forward only (pfeiffer: half the weights)."""
        reduction: float = Field(16.0, ge=1)
        """The model's width divided by the bottleneck's."""
        layers: int | None = Field(None, gt=0)
        """Transformer blocks with adapters, counted from the top; those below are computed once. All when not set."""
        activation: Literal["gelu", "relu", "silu", "tanh"] = "gelu"
        """The non-linearity in the bottleneck."""
        dropout: float = Field(0.0, ge=0, lt=1)
        """Share of the adapters' outputs that are dropped in training."""
        layer_norms: bool = True
        """Whether the blocks' own norms learn too, as Houlsby et al. have it."""

    def apply(self, model: nn.Module, peft_type: str) -> nn.Module:
        """Freeze the model and insert the adapters; they, the head and (if asked) the norms learn.

        Raises CheckpointError when the outputs of the model's sub-layers can't be found.
        """
        places = self._places(model)
        model.requires_grad_(False)
        for name in places:
            self._insert(model.get_submodule(name))
        for name in self._learning(model):
            model.get_submodule(name).requires_grad_(True)
        return model

    def save(self, model: nn.Module, folder: Path) -> None:
        """Write the adapters, the head and the norms that learned, and the settings that rebuild them."""
        from safetensors.torch import save_file

        weights = {name: weight.contiguous() for name, weight in self._weights(model).items()}
        save_file(weights, Path(folder) / _WEIGHTS, metadata={"format": "pt"})
        settings = self.options.model_dump_json(indent=2)
        (Path(folder) / _CONFIG).write_text(settings + "\n", encoding="utf-8")

    def load(self, model: nn.Module, folder: Path) -> nn.Module:
        """Insert the stored adapters as they were trained. Raises CheckpointError when they do not fit."""
        from safetensors.torch import load_file

        method = Adapter(self._stored_options(folder))
        stored = load_file(stored_file(folder, _WEIGHTS))
        method.apply(model, "")
        check_fit(folder, stored, method._weights(model))
        model.load_state_dict(stored, strict=False)
        return model

    def merge(self, model: nn.Module) -> nn.Module:
        """Refused: raises CheckpointError."""
        raise CheckpointError(
            self.unmerged, "export the adapter beside its base checkpoint, or train with `method: lora`, which merges"
        )

    def _stored_options(self, folder: Path) -> Section:
        path = stored_file(folder, _CONFIG)
        try:
            return self.Options.model_validate_json(path.read_text(encoding="utf-8"))
        except ValidationError as error:
            found = explain_errors(error, self.Options)
            raise problems(CheckpointError, str(path), found, "was it written by another version?") from error

    def _places(self, model: nn.Module) -> list[str]:
        outputs = sublayer_outputs(model)
        if self.options.placement == "pfeiffer":
            return in_top(model, outputs.feed_forward, self.options.layers)
        _check_attention(model, outputs)
        return in_top(model, outputs.attention + outputs.feed_forward, self.options.layers)

    def _insert(self, output: nn.Module) -> None:
        output.add_module("adapter", self._bottleneck(output))
        output.register_forward_hook(_add_adapter)

    def _bottleneck(self, output: nn.Module) -> nn.Module:
        """A new adapter for the outputs of a linear layer, in its dtype and on its device."""
        from torch import nn

        weight: Any = output.weight
        width = output_width(output)
        narrow = max(1, int(width / self.options.reduction))
        activations = {"gelu": nn.GELU, "relu": nn.ReLU, "silu": nn.SiLU, "tanh": nn.Tanh}
        up = nn.Linear(narrow, width)
        nn.init.zeros_(up.weight)
        nn.init.zeros_(up.bias)
        adapter = nn.Sequential()
        adapter.add_module("down", nn.Linear(width, narrow))
        adapter.add_module("activation", activations[self.options.activation]())
        adapter.add_module("up", up)
        adapter.add_module("dropout", nn.Dropout(self.options.dropout))
        return adapter.to(device=weight.device, dtype=weight.dtype)

    def _learning(self, model: nn.Module) -> list[str]:
        """Names of the modules that learn, in a model with its adapters."""
        norms = self.options.layer_norms
        inside = [(f"{b}.{n}", m) for b in blocks(model) for n, m in model.get_submodule(b).named_modules()]
        chosen = [n for n, m in inside if n.endswith(".adapter") or (norms and is_norm(m))]
        return in_top(model, chosen, self.options.layers) + head_modules(model)

    def _weights(self, model: nn.Module) -> dict[str, Tensor]:
        learning = tuple(f"{name}." for name in self._learning(model))
        return {name: weight for name, weight in model.state_dict().items() if name.startswith(learning)}


def _add_adapter(output: nn.Module, inputs: tuple[Tensor, ...], hidden: Tensor) -> Tensor:
    """Forward hook of a sub-layer's output: what the adapter makes of it is added to it."""
    added: Tensor = output.get_submodule("adapter")(hidden)
    return hidden + added


def _check_attention(model: nn.Module, outputs: Outputs) -> None:
    if len(outputs.attention) < len(blocks(model)):
        raise CheckpointError(
            f"the output of each attention of {type(plain_model(model)).__name__} can't be found, "
            "so adapters have no place after it",
            "set method.placement to pfeiffer, which needs no attention's output, or choose `method: lora`",
        )
