"""One HTML file that shows a run, or several side by side: made of the runs' own files, opened without a network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ftkit.errors import RunError
from ftkit.files import expanded, replacing
from ftkit.reporting.page import render
from ftkit.reporting.reading import HINT, UNREADABLE, Run, read_runs, told

_MARK = b'<meta name="generator" content="ftkit report">'
"""Stands near the top of every report."""


def write_report(runs: Sequence[str | Path], to: str | Path | None = None) -> Path:
    """Write the report of some runs to the file `to`; report.html in the run, or for several in the current folder.

    Raises RunError for what is no run, files of a run that can't be read, and a place that can't be written or
    holds something else than a report.
    """
    found = read_runs(runs)
    path = expanded(to, RunError) if to else (found[0].path if len(found) == 1 else Path()) / "report.html"
    try:
        _refuse_other(path, found)
        page = _page(found)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path.resolve()) as beside:
            beside.write_bytes(page)
    except OSError as error:
        raise RunError(f"{path} can't be written: {error.strerror}", "name another file with --to") from error
    return path


def _refuse_other(path: Path, runs: Sequence[Run]) -> None:
    """Raises RunError where writing to `path` would replace what is no report, or add to a run what is none."""
    if path.is_dir():
        raise RunError(f"{path} is a folder", "name a file with --to")
    for run in runs:
        if path.resolve().is_relative_to(run.path.resolve()) and path.resolve().suffix != ".html":
            raise RunError(f"{path} is inside the run {run.path}", "name an .html file, or one elsewhere, with --to")
    if path.is_file() and path.stat().st_size:
        with path.open("rb") as file:
            if _MARK not in file.read(2048):
                raise RunError(f"{path} is no report of ftkit and is not replaced", "name another file with --to")


def _page(runs: Sequence[Run]) -> bytes:
    """The page. Raises RunError that names what can't be shown of which run."""
    from jinja2 import TemplateError

    try:
        return render(runs).encode()
    except (*UNREADABLE, TemplateError) as error:
        bad = [_culprit(run) for run in runs if not _is_shown(run)] or [run.path for run in runs]
        raise RunError(f"{', '.join(map(str, bad))} can't be read: {told(error)}", HINT) from error


def _culprit(run: Run) -> Path:
    """The file without which the run can be shown; the run where that is none alone."""
    return next((run.path / file for file, rest in run.with_one_file_less() if _is_shown(rest)), run.path)


def _is_shown(run: Run) -> bool:
    from jinja2 import TemplateError

    try:
        render([run]).encode()
    except (*UNREADABLE, TemplateError):
        return False
    return True
