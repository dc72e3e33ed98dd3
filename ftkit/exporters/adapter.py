"""What was trained, without the checkpoint below it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ftkit.exporters._base import Exporter, Material

if TYPE_CHECKING:
    from ftkit.engine.model import Contract, Trained


class Adapter(Exporter):
    """PEFT's folder, or the bottlenecks': small, and of use with the checkpoint that it was trained on."""

    summary = "only what was trained (LoRA, IA3, adapters), to be laid over its base checkpoint"

    def refuses(self, trained: Trained) -> str:
        """Methods whose weights are a checkpoint by themselves."""
        name = trained.contract.method["name"]
        return f"method {name} has no adapter: its weights are the checkpoint" if trained.method.standalone else ""

    def write(self, material: Material, folder: Path) -> Contract:
        """As the run keeps it."""
        trained = material.trained()
        trained.method.save(trained.model, folder)
        return trained.contract
