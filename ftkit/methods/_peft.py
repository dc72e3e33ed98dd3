"""What LoRA and IA3 share: PEFT wraps the model, keeps the new weights and the head, and merges them back."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftkit.errors import CheckpointError
from ftkit.methods._base import Method, check_fit, stored_file
from ftkit.methods._layers import head_modules, plain_model

if TYPE_CHECKING:
    from torch import nn

_CONFIG, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


class PeftMethod(Method):
    """A method that PEFT implements; `config` is all that the methods differ in."""

    peft = True
    standalone = False

    def config(self, model: nn.Module, peft_type: str) -> Any:
        """The `PeftConfig` for this model. Raises CheckpointError when nothing in it can be wrapped."""
        raise NotImplementedError

    def apply(self, model: nn.Module, peft_type: str) -> nn.Module:
        """The model inside a `PeftModel`: the new weights and the head learn."""
        config = self.config(model, peft_type)
        if peft_type == "QUESTION_ANS":
            config.task_type = None  # PEFT's own class for it keeps `token_type_ids` from the model
        return _wrapped(model, config)

    def save(self, model: nn.Module, folder: Path) -> None:
        """Write the new weights and the head in PEFT's format."""
        # Embeddings never learn here; on "auto", PEFT would ask the Hub whether the vocabulary has grown.
        model.save_pretrained(str(folder), save_embedding_layers=False)  # type: ignore[operator]
        (Path(folder) / "README.md").unlink()  # PEFT's empty model card; the run has one that says something
        _write_sorted(Path(folder) / _CONFIG)

    def load(self, model: nn.Module, folder: Path) -> nn.Module:
        """Wrap the base and fill in the stored weights. Raises CheckpointError when they do not fit it."""
        from peft import PeftConfig, get_peft_model_state_dict, set_peft_model_state_dict
        from safetensors.torch import load_file

        stored_file(folder, _CONFIG)  # PEFT looks on the Hub for what is missing in a folder
        stored = load_file(stored_file(folder, _WEIGHTS))
        config = PeftConfig.from_pretrained(str(folder))
        config.base_model_name_or_path = None
        if getattr(config, "megatron_config", None) is not None:  # PEFT would import a module that the file names
            raise CheckpointError(f"{folder}: {_CONFIG} asks for Megatron, which ftkit does not run", "train again")
        try:
            wrapped = _wrapped(model, config)
        except ValueError as error:
            raise CheckpointError(
                f"the weights in {folder} do not fit {type(model).__name__}: {error}",
                "load them on the checkpoint that they were trained with",
            ) from error
        check_fit(folder, stored, get_peft_model_state_dict(wrapped, save_embedding_layers=False))
        set_peft_model_state_dict(wrapped, stored)
        return wrapped

    def merge(self, model: nn.Module) -> nn.Module:
        """The plain model with the new weights added into its own, in float32."""
        _unwrap_saved_modules(plain_model(model))
        merged: nn.Module = model.float().merge_and_unload()  # type: ignore[operator]
        return merged


def _write_sorted(path: Path) -> None:
    """The names that PEFT keeps in sets, in an order that is the same in every process."""
    config = json.loads(path.read_text(encoding="utf-8"))
    named = {name: sorted(value) for name, value in config.items() if name.endswith("modules") and _names(value)}
    path.write_text(json.dumps({**config, **named}, indent=2, sort_keys=True), encoding="utf-8")


def _names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def saved_modules(model: nn.Module, peft_type: str) -> list[str] | None:
    """Modules that learn whole beside PEFT's weights: the head, which PEFT itself knows only a part of."""
    generative = peft_type in {"CAUSAL_LM", "SEQ_2_SEQ_LM"}
    return None if generative else head_modules(model) or None


def _unwrap_saved_modules(core: nn.Module) -> None:
    """Put trained heads in the place of their wrappers; IA3's merge in PEFT can't do so for heads of many layers."""
    from peft.utils.other import ModulesToSaveWrapper

    wrappers = [(name, m) for name, m in core.named_modules() if isinstance(m, ModulesToSaveWrapper)]
    for name, wrapper in wrappers:
        core.set_submodule(name, wrapper.modules_to_save[wrapper.active_adapters[0]])


def has_conv1d(model: nn.Module, targets: list[str]) -> bool:
    """Whether targets keep their weights input by output, as GPT-2's do."""
    from transformers.pytorch_utils import Conv1D

    core = plain_model(model)
    return any(isinstance(core.get_submodule(name), Conv1D) for name in targets)


def _wrapped(model: nn.Module, config: Any) -> nn.Module:
    """The model inside a `PeftModel`."""
    from peft import get_peft_model

    with warnings.catch_warnings():  # PEFT asks transformers by a name that is going out of use
        warnings.simplefilter("ignore", FutureWarning)
        wrapped: nn.Module = get_peft_model(plain_model(model), config)
    return wrapped
