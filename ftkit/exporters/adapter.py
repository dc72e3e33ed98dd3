"""What was trained, without the checkpoint below it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from ftkit import checkpoints
from ftkit.checkpoints.folder import ADAPTER
from ftkit.exporters._base import Exporter, Material

if TYPE_CHECKING:
    from ftkit.engine.contract import Contract
    from ftkit.engine.model import Trained


class Adapter(Exporter):
    """PEFT's folder, or the bottlenecks': small, and of use with the checkpoint that it was trained on."""

    summary = "only what was trained (LoRA, IA3, adapters), to be laid over its base checkpoint"

    def refuses(self, trained: Trained) -> str:
        """Methods whose weights are a checkpoint by themselves."""
        name = trained.contract.method["name"]
        return f"method {name} has no adapter: its weights are the checkpoint" if trained.method.standalone else ""

    def as_run(self, trained: Trained) -> bool:
        """It is what the run keeps."""
        return True

    def write(self, material: Material, folder: Path) -> Contract:
        """As the run keeps it."""
        trained = material.trained()
        trained.method.save(trained.model, folder)
        _name_base(folder / ADAPTER, checkpoints.hub_id((trained.contract.base or {})["checkpoint"]))
        return trained.contract


def _name_base(config: Path, name: str) -> None:
    """Have PEFT look for the base under the name that others know it by, and not where it lay in a cache here."""
    if name and config.is_file():
        told = {**json.loads(config.read_text(encoding="utf-8")), "base_model_name_or_path": name}
        config.write_text(json.dumps(told, indent=2, sort_keys=True), encoding="utf-8")
