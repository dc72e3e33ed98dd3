"""Labels: what the data says is all that is learned from."""

from __future__ import annotations

from ftkit.objectives._base import Objective


class Labels(Objective):
    """The task's own loss."""

    summary = "learn from the labels alone"
