"""A WordNet of a few words, and small checkpoints, for all tests of augmenters."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ftkit import plugins
from ftkit.augmenters._base import Augmenter
from ftkit.plugins import Choice
from tests.tiny import save_tiny
from tests.wordnet import only, write_wordnet

NAMES = plugins.names("augmenter")


class Tools:
    """Each augmenter, ready for work; made when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.made: dict[str, Augmenter] = {}

    def options(self, name: str) -> dict[str, Any]:
        """What an augmenter must be told."""
        if name == "contextual":
            return {"checkpoint": str(self.checkpoint("bert"))}
        if name == "backtranslate":
            return {"there": str(self.checkpoint("bart")), "back": str(self.checkpoint("t5")), "longest": 24}
        return {}

    def checkpoint(self, architecture: str) -> Path:
        folder = self.folder / architecture
        if not folder.is_dir():
            save_tiny(folder, architecture, kind="FILL_MASK" if architecture in ("bert", "roberta") else None)
        return folder

    def __call__(self, name: str, strength: float = 0.3) -> Augmenter:
        if name not in self.made:
            self.made[name] = plugins.resolve("augmenter", Choice(name=name, **self.options(name)), Augmenter)
            self.made[name].prepare()
        self.made[name].set_strength(strength)
        return self.made[name]


@pytest.fixture(scope="session")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tools]:
    folder = tmp_path_factory.mktemp("augmenters")
    with only(write_wordnet(folder / "wordnet"), folder / "cache"):
        yield Tools(folder)
