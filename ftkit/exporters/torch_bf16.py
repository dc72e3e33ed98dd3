"""A plain transformers folder of half the size."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftkit.exporters._base import Exporter, Material, plain, unmerged

if TYPE_CHECKING:
    from ftkit.engine.contract import Contract
    from ftkit.engine.model import Trained


class TorchBf16(Exporter):
    """Weights rounded to bfloat16; computed in bfloat16 where the machine does so, else in float32."""

    summary = "a plain transformers folder with weights in bfloat16: half the size"
    precision = "bf16"
    tolerance = None
    allow_drop = 0.01

    def refuses(self, trained: Trained) -> str:
        """Methods that can't be merged."""
        return unmerged(trained)

    def write(self, material: Material, folder: Path) -> Contract:
        """Config, weights and, where it writes, how it does."""
        import torch

        from ftkit.methods._layers import plain_model

        trained = material.trained()
        model: Any = plain_model(trained.method.merge(trained.model))
        model.to(torch.bfloat16).save_pretrained(folder)
        return plain(trained, precision="bf16")
