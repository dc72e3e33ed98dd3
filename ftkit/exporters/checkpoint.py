"""A plain transformers folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftkit.exporters._base import Exporter, Material, plain

if TYPE_CHECKING:
    from ftkit.engine.model import Contract


class Checkpoint(Exporter):
    """What transformers loads by itself: LoRA and IA3 are merged into the weights."""

    summary = "a plain transformers folder, LoRA and IA3 merged (safetensors)"

    def write(self, material: Material, folder: Path) -> Contract:
        """Raises CheckpointError for a method that can't be merged."""
        from ftkit.methods._layers import plain_model

        trained = material.trained()
        model: Any = plain_model(trained.method.merge(trained.model))
        model.save_pretrained(folder)
        return plain(trained)
