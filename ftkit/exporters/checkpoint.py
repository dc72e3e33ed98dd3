"""A plain transformers folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftkit.exporters._base import Exporter, Material, plain, unmerged

if TYPE_CHECKING:
    from ftkit.engine.contract import Contract
    from ftkit.engine.model import Trained


class Checkpoint(Exporter):
    """What transformers loads by itself: LoRA and IA3 are merged into the weights."""

    summary = "a plain transformers folder, LoRA and IA3 merged (safetensors)"

    def refuses(self, trained: Trained) -> str:
        """Methods that can't be merged."""
        return unmerged(trained)

    def as_run(self, trained: Trained) -> bool:
        """Of a method whose weights are a checkpoint by themselves, it is what the run keeps."""
        return trained.method.standalone

    def write(self, material: Material, folder: Path) -> Contract:
        """Config, weights and, where it writes, how it does."""
        from ftkit.methods._layers import plain_model

        trained = material.trained()
        model: Any = plain_model(trained.method.merge(trained.model))
        model.save_pretrained(folder)
        return plain(trained)
