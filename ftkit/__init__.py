"""ftkit: fine-tune pretrained checkpoints on labelled text, score them honestly, export what was scored."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# The libraries read these once, when they are first imported: no telemetry, no call home for what is local,
# no chatter between a person and their result. A user's own setting wins.
for _switch, _value in {
    "HF_UPDATE_DOWNLOAD_COUNTS": "0",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}.items():
    os.environ.setdefault(_switch, _value)

if TYPE_CHECKING:
    from ftkit.api import (
        augment,
        check_data,
        compare,
        curve,
        evaluate,
        export,
        launch,
        lift,
        plan,
        pull,
        push,
        report,
        resume,
        survey,
        train,
    )
    from ftkit.engine.predict import Predictor
    from ftkit.errors import FTKitError
    from ftkit.recipe import Recipe, load_recipe
    from ftkit.run import RunDirectory
    from ftkit.tasks._base import Column, Task

__all__ = [
    "Column",
    "FTKitError",
    "Predictor",
    "Recipe",
    "RunDirectory",
    "Task",
    "augment",
    "check_data",
    "compare",
    "curve",
    "evaluate",
    "export",
    "launch",
    "lift",
    "load_recipe",
    "plan",
    "pull",
    "push",
    "report",
    "resume",
    "survey",
    "train",
]

_HOMES = {
    "Column": "ftkit.tasks._base",
    "FTKitError": "ftkit.errors",
    "Predictor": "ftkit.engine.predict",
    "Recipe": "ftkit.recipe",
    "RunDirectory": "ftkit.run",
    "Task": "ftkit.tasks._base",
    "augment": "ftkit.api",
    "check_data": "ftkit.api",
    "compare": "ftkit.api",
    "curve": "ftkit.api",
    "evaluate": "ftkit.api",
    "export": "ftkit.api",
    "launch": "ftkit.api",
    "lift": "ftkit.api",
    "load_recipe": "ftkit.recipe",
    "plan": "ftkit.api",
    "pull": "ftkit.api",
    "push": "ftkit.api",
    "report": "ftkit.api",
    "resume": "ftkit.api",
    "survey": "ftkit.api",
    "train": "ftkit.api",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562), so that `import ftkit` stays light."""
    if name not in _HOMES:
        raise AttributeError(f"module 'ftkit' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
