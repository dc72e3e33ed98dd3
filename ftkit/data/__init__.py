"""Files and Hub data sets in; splits of canonical rows out."""

from __future__ import annotations

from ftkit.data.load import Splits, load, load_file

__all__ = ["Splits", "load", "load_file"]
