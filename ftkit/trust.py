"""Whose code may run: one's own recipe names it freely; a run or an export that came from elsewhere may not.

What one's own recipes named is remembered in ftkit's cache. A folder that names any other code is refused unless
the person says `--allow-code` (in Python, `ftkit.trust.allow()`; for training processes, FTKIT_ALLOW_CODE=1).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from ftkit import checkpoints
from ftkit.errors import RunError
from ftkit.files import write_json

_own: set[str] = set()
"""What this process was told, for a cache that can't be written."""
_allowed = os.environ.get("FTKIT_ALLOW_CODE") == "1"


def allow() -> None:
    """Let every folder run the code that it names, in this process."""
    global _allowed
    _allowed = True


def remember(recipe: Mapping[str, Any]) -> None:
    """Note the code that a person's own recipe names."""
    _own.update(_code(recipe))
    known = _remembered()
    if _own <= known:
        return
    path = checkpoints.cache() / "own-code.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, sorted(known | _own))
    except OSError:
        return  # `_own` serves this process; a later one asks for --allow-code, and says so


def refuse_foreign(source: object, contract: Mapping[str, Any]) -> None:
    """Raises RunError where a run's recipe or a folder's contract names code that is not known to be one's own."""
    foreign = [] if _allowed else [name for name in _code(contract) if name not in _own | _remembered()]
    if foreign:
        raise RunError(
            f"{source} wants to run code that no recipe of yours has named: {', '.join(foreign)}",
            "read it, and say --allow-code if you trust it",
        )


def _code(raw: Mapping[str, Any]) -> list[str]:
    """Files and modules named as task, method or augmenters, and metrics that are none of ftkit's own."""
    by = raw["augment"].get("by") if isinstance(raw.get("augment"), Mapping) else None
    choices = [raw.get("task"), raw.get("method"), *(by if isinstance(by, (list, tuple)) else [by])]
    names = [str(choice.get("name", "")) if isinstance(choice, Mapping) else str(choice or "") for choice in choices]
    section = raw.get("evaluate")
    metrics = section.get("metrics") if isinstance(section, Mapping) else None
    listed = [str(metric) for metric in metrics] if isinstance(metrics, (list, tuple)) else []
    return [name for name in names if "." in name] + [name for name in listed if not name.startswith("ftkit/")]


def _remembered() -> set[str]:
    try:
        return set(json.loads((checkpoints.cache() / "own-code.json").read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return set()
