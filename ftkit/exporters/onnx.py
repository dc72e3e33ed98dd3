"""ONNX graphs, which many runtimes and languages read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ftkit.exporters._base import Arrays, Session, threads
from ftkit.exporters._example import Lines
from ftkit.exporters._graphs import GraphExporter, save_onnx


class Onnx(GraphExporter):
    """Float32 graphs of any batch and length, run by ONNX Runtime."""

    summary = "ONNX graphs in float32, any batch and length (ONNX Runtime)"
    extra = "onnx"
    packages = ("onnx", "onnxruntime", "onnxscript")
    runtime, ending = "ONNX Runtime", ".onnx"

    def keep(self, graphs: Mapping[str, Any], folder: Path) -> None:
        """One .onnx file each."""
        save_onnx(graphs, folder)

    def lines(self) -> Lines:
        """ONNX Runtime's words."""
        return Lines(
            package="onnxruntime",
            open='onnxruntime.InferenceSession("NAME.onnx")',
            names="[one.name for one in GRAPH.get_inputs()]",
            shapes="[(one.name, one.shape) for one in GRAPH.get_inputs()]",
            run="GRAPH.run(None, FEEDS)",
        )

    def session(self, path: Path) -> Session:
        """ONNX Runtime's."""
        return _Session(path)


class _Session:
    """One graph in ONNX Runtime."""

    def __init__(self, path: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads()
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.inputs = {one.name: _shape(one.shape) for one in self._session.get_inputs()}
        self._outputs = [one.name for one in self._session.get_outputs()]

    def __call__(self, feeds: Arrays) -> Arrays:
        return dict(zip(self._outputs, self._session.run(self._outputs, dict(feeds)), strict=True))


def _shape(dimensions: list[Any]) -> tuple[int | None, ...]:
    return tuple(size if isinstance(size, int) else None for size in dimensions)
