"""How a process that is ftkit's own begins: Python's garbage collector is kept from what is imported.

Importing torch and transformers makes some 600,000 objects that stay to the end. Python looks through them again and
again meanwhile, at each full collection that follows, and once more at exit: a third of what a short command takes.
"""

from __future__ import annotations

import gc
import sys
from functools import cache
from types import FrameType
from typing import Any

_SETTLED = 10
"""Collections of young objects with no import under way: what was imported is there."""
_NEVER = 1000
"""Collections of one generation to each of the next, until then."""
_IMPORT = "<frozen importlib._bootstrap>"
"""The file of the frames that import a module."""


@cache  # once a process
def spare_imports() -> None:
    """Have the collector look at young objects alone until imports are over, and never at what is there by then.

    That stays to the end of the process (`gc.freeze`): a library must not ask this of a program that is not its own.
    """
    gc.callbacks.append(_Watch())


class _Watch:
    """Told of each collection, until imports are over."""

    def __init__(self) -> None:
        self.thresholds = gc.get_threshold()
        self.settled = 0
        gc.set_threshold(self.thresholds[0], _NEVER, _NEVER)

    def __call__(self, phase: str, info: dict[str, Any]) -> None:
        if phase == "start" or _is_import(sys._getframe()):
            return
        self.settled += 1
        if self.settled == _SETTLED:
            gc.callbacks.remove(self)
            gc.freeze()
            gc.set_threshold(*self.thresholds)


def _is_import(frame: FrameType | None) -> bool:
    while frame and frame.f_code.co_filename != _IMPORT:
        frame = frame.f_back
    return frame is not None
