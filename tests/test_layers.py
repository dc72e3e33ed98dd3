"""Imports point down: nothing in a layer, at module level or inside a function, names a layer above it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import ftkit

ROOT = Path(ftkit.__file__).parent
LAYERS = [
    {"alike", "errors", "config", "edits", "files", "findings", "hub", "startup", "vader", "yaml12"},
    {"metrics", "plugins", "shelf", "terminal"},
    {"settings", "trust", "checkpoints"},
    {"data", "tasks", "methods", "objectives", "baselines", "augmenters", "checks"},
    {"recipe", "explain", "jobs", "run", "recognise", "init"},
    {"engine", "exporters", "reporting", "inspection", "mending", "repair"},
    {"api", "serving", "testing"},
    {"cli"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def layer(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def imports(path: Path) -> list[str]:
    """Modules of ftkit that a file imports, when it is imported itself or later; for types, too."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "ftkit":
            names = [f"ftkit.{alias.name}" for alias in node.names] if node.module == "ftkit" else [node.module]
            found += names
    return found


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    relative = path.relative_to(ROOT)
    own = relative.parts[0].removesuffix(".py")
    if own in ("__init__", "__main__"):
        return
    assert own in LEVEL, f"{own} stands in no layer"
    for module in imports(path):
        if layer(module) and layer(module) in LEVEL:
            assert LEVEL[layer(module)] <= LEVEL[own], f"{relative} imports {module}, which lies above it"
