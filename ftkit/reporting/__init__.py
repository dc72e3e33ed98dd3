"""One HTML file that shows a run, or several side by side: made of the runs' own files, opened without a network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ftkit.errors import RunError
from ftkit.files import replacing
from ftkit.reporting.page import render
from ftkit.reporting.reading import read_runs


def write_report(runs: Sequence[str | Path], to: str | Path | None = None) -> Path:
    """Write the report of some runs to the file `to`; report.html in the run, or for several in the current folder.

    Raises RunError for what is no run, files of a run that can't be read, and a place that can't be written.
    """
    found = read_runs(runs)
    path = Path(to) if to else (found[0].path if len(found) == 1 else Path()) / "report.html"
    if path.is_dir():
        raise RunError(f"{path} is a folder", "name a file with --to")
    page = render(found)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path.resolve()) as beside:
            beside.write_text(page, encoding="utf-8")
    except OSError as error:
        raise RunError(f"{path} can't be written: {error.strerror}", "name another file with --to") from error
    return path
