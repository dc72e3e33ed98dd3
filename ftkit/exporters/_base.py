"""What an exporter is: what it writes, what computes the logits of what it wrote, and how near they must be.

An exporter is one file with one class that inherits `Exporter`, in `ftkit/exporters/`. Nothing heavy is imported at
module level: torch and the runtimes come in inside functions.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from ftkit.config import Section

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ftkit.engine.contract import Contract
    from ftkit.engine.model import Trained
    from ftkit.exporters._example import Lines

Arrays = Mapping[str, "NDArray[Any]"]
"""Name -> what a graph takes or gives."""


class Material(Protocol):
    """What an exporter makes a folder of."""

    def trained(self) -> Trained:
        """The model, loaded anew: it may be used up."""

    def graphs(self) -> Mapping[str, Any]:
        """The model as graphs of ONNX by name, traced once; they are not to be changed."""


class Session(Protocol):
    """A graph that a runtime has loaded."""

    @property
    def inputs(self) -> Mapping[str, tuple[int | None, ...]]:
        """The shape of each input, None where it varies."""

    def __call__(self, feeds: Arrays) -> Arrays:
        """What the graph gives."""


class Exporter:
    """One format. What stands here serves formats that PyTorch reads: their folders load as a run does."""

    summary: ClassVar[str]
    """One line for listings."""
    extra: ClassVar[str] = ""
    """What is to be installed with ftkit, and the packages that this brings; none where ftkit alone suffices."""
    packages: ClassVar[tuple[str, ...]] = ()
    library: ClassVar[str] = "transformers"
    """What the Hub is told that opens a folder."""
    is_torch: ClassVar[bool] = True
    """Whether PyTorch computes the logits; if not, `sessions` does."""
    precision: ClassVar[Literal["fp32", "bf16"]] = "fp32"
    """What it is measured in by the gate."""
    alone: ClassVar[bool] = False
    """Whether each row is computed by itself, for its numbers would depend on the rows beside it."""
    tolerance: ClassVar[float | None] = 1e-3
    """How far logits may lie from the run's; none: `share` of the range of the run's logits, 0 in it."""
    share: ClassVar[float] = 0.1
    average: ClassVar[float] = 0.05
    """How far they may lie on average, as such a share: rounding moves few logits far, a harmed layer moves all."""
    allow_drop: ClassVar[float] = 0.005
    """How much lower the deciding score may be than the run's."""

    class Options(Section):
        """A format has no settings so far."""

    def __init__(self, options: Any) -> None:
        self.options = options

    def missing(self) -> list[str]:
        """The packages that it needs and that are not installed."""
        return [name for name in self.packages if find_spec(name) is None]

    def refuses(self, trained: Trained) -> str:
        """Why this model can't be had in this format; empty where it can."""
        return ""

    def as_run(self, trained: Trained) -> bool:
        """Whether a folder of this format is what the run itself keeps, so that a survey has measured it already."""
        return False

    def write(self, material: Material, folder: Path) -> Contract:
        """Write config and weights into an empty folder, and return what the folder promises."""
        raise NotImplementedError

    def sessions(self, folder: Path) -> dict[str, Session]:
        """The graphs of a folder by name, where PyTorch does not compute."""
        raise NotImplementedError

    def lines(self) -> Lines | None:
        """How a short program opens the folder with nothing but the runtime; None where transformers does."""
        return None


def threads() -> int:
    """Threads that a person allows in the word that PyTorch heeds, too; 0 for as many as there are."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdecimal() else 0


def unmerged(trained: Trained) -> str:
    """Why a model can't become a plain checkpoint; empty where it can."""
    why = trained.method.unmerged
    return why and f"{why} (onnx and adapter can be had, or train with `method: lora`, which merges)"


def plain(trained: Trained, **changes: Any) -> Contract:
    """The contract of a folder that needs no base."""
    return trained.contract.model_copy(update={"method": {"name": "full"}, "base": None, **changes})
