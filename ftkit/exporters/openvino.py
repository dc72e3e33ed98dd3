"""OpenVINO's form of the graphs, quick on Intel's processors and others."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ftkit.exporters._base import Arrays, Session, threads
from ftkit.exporters._example import Lines
from ftkit.exporters._graphs import GraphExporter, save_onnx

_FULL = {"INFERENCE_PRECISION_HINT": "f32"}
"""Computed in float32: left alone, the runtime takes bfloat16 where the processor has it."""


class OpenVino(GraphExporter):
    """Float32 graphs of any batch and length, run by OpenVINO."""

    summary = "OpenVINO graphs in float32, any batch and length"
    extra = library = "openvino"
    packages = ("openvino", "onnx", "onnxscript")
    runtime, ending = "OpenVINO", ".xml"

    def keep(self, graphs: Mapping[str, Any], folder: Path) -> None:
        """One .xml and one .bin file each."""
        openvino = _openvino()
        with TemporaryDirectory() as aside:
            save_onnx(graphs, Path(aside))
            for name in graphs:  # read and not converted, of which OpenVINO would tell its makers
                read = openvino.Core().read_model(Path(aside) / f"{name}.onnx")
                openvino.save_model(read, folder / f"{name}.xml", compress_to_fp16=False)

    def lines(self) -> Lines:
        """OpenVINO's words."""
        return Lines(
            package="openvino",
            open=f'openvino.compile_model("NAME.xml", "CPU", {_FULL})'.replace("'", '"'),
            names="[one.any_name for one in GRAPH.inputs]",
            shapes="[(one.any_name, [side.get_min_length() for side in one.partial_shape]) for one in GRAPH.inputs]",
            run="list(GRAPH(FEEDS).values())",
        )

    def session(self, path: Path) -> Session:
        """OpenVINO's."""
        return _Session(path)


def _openvino() -> Any:
    """OpenVINO, without the package by which it tells its makers that it is imported."""
    if "openvino" not in sys.modules:
        known = sys.modules.get("openvino_telemetry")
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # as Python takes it: not there
        try:
            importlib.import_module("openvino")
        finally:
            del sys.modules["openvino_telemetry"]
            if known is not None:
                sys.modules["openvino_telemetry"] = known
    return sys.modules["openvino"]


class _Session:
    """One graph in OpenVINO."""

    def __init__(self, path: Path) -> None:
        openvino = _openvino()
        self._graph = openvino.Core().compile_model(path, "CPU", {**_FULL, "INFERENCE_NUM_THREADS": threads()})
        self.inputs = {
            one.any_name: tuple(side.get_length() if side.is_static else None for side in one.partial_shape)
            for one in self._graph.inputs
        }
        self._outputs = [one.any_name for one in self._graph.outputs]

    def __call__(self, feeds: Arrays) -> Arrays:
        found = self._graph(dict(feeds), share_inputs=True)
        return dict(zip(self._outputs, (value.copy() for value in found.values()), strict=True))
