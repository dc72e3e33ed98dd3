"""Formats that a trained model is exported to, a format a file: `onnx-int8` is `onnx_int8.py`."""

from __future__ import annotations

from ftkit import plugins
from ftkit.errors import RunError, nearest
from ftkit.exporters._base import Exporter


def names() -> list[str]:
    """The formats, as `--format` takes them."""
    return [name.replace("_", "-") for name in plugins.names("exporter")]


def find(name: str) -> Exporter:
    """The exporter of a format. Raises RunError where there is none."""
    if name not in names():
        guess = nearest(name, names())
        meant = f"did you mean {guess}? " if guess else ""
        raise RunError(f"there is no format {name!r}", f"{meant}There are: {', '.join(names())}")
    return plugins.resolve("exporter", plugins.Choice(name=name.replace("-", "_")), Exporter)
