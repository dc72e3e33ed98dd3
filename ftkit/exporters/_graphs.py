"""What formats share that hold the model as graphs of ONNX."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ftkit.errors import CheckpointError, one_line
from ftkit.exporters._base import Exporter, Material, Session, plain

if TYPE_CHECKING:
    from ftkit.engine.contract import Contract


class GraphExporter(Exporter):
    """Leaves it to the format in what files the graphs are kept."""

    is_torch = False
    library = "onnx"
    runtime: ClassVar[str]
    """What computes, as a person knows it."""
    ending: ClassVar[str]
    """Of the file that a graph is loaded from."""

    def keep(self, graphs: Mapping[str, Any], folder: Path) -> None:
        """Write graphs (name -> ModelProto of ONNX)."""
        raise NotImplementedError

    def session(self, path: Path) -> Session:
        """A graph, loaded from its file."""
        raise NotImplementedError

    def sessions(self, folder: Path) -> dict[str, Session]:
        """Raises CheckpointError for files that the runtime can't load."""
        return {path.stem: self._loaded(path) for path in sorted(folder.glob(f"*{self.ending}"))}

    def _loaded(self, path: Path) -> Session:
        try:
            return self.session(path)
        except Exception as error:
            raise CheckpointError(
                f"{path}: {self.runtime} can't load it: {one_line(error)}", "copy the folder anew, or export again"
            ) from error

    def write(self, material: Material, folder: Path) -> Contract:
        """Graphs and config. Raises CheckpointError for an architecture that can't be traced."""
        from ftkit.methods._layers import plain_model

        self.keep(material.graphs(), folder)
        trained = material.trained()
        model: Any = plain_model(trained.model)
        model.config.save_pretrained(folder)
        if trained.task.writes(model.config, trained.tokenizer):
            model.generation_config.save_pretrained(folder)
        return plain(trained, precision="fp32")


def save_onnx(graphs: Mapping[str, Any], folder: Path) -> None:
    """Write graphs as .onnx files; what no protobuf holds (2 GB) lies beside them."""
    import onnx

    for name, graph in graphs.items():
        large = graph.ByteSize() >= onnx.checker.MAXIMUM_PROTOBUF
        onnx.save(graph, folder / f"{name}.onnx", save_as_external_data=large, location=f"{name}.onnx.data")


@contextmanager
def quiet() -> Iterator[None]:
    """Without what the tracer tells of itself, of packages that it would know and of shapes that it generalises."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
