"""The page to try a model: one file of HTML, one of style, one of script, which ask nobody else for anything."""

from __future__ import annotations

from pathlib import Path

import ftkit
from ftkit import reporting
from ftkit.reporting.templates import templates
from ftkit.serving.messages import is_plain
from ftkit.serving.model import ServedModel
from ftkit.tasks._base import Column, Task

_FOLDER = Path(__file__).parent
_REPORT = Path(reporting.__file__).parent


def files(model: ServedModel, needs_key: bool) -> list[tuple[str, str, str]]:
    """Path, media type and text of each file."""
    style = [(folder / "page.css").read_text(encoding="utf-8") for folder in (_REPORT, _FOLDER)]
    return [
        ("/", "text/html", _html(model, needs_key)),
        ("/page.css", "text/css", "\n".join(style)),
        ("/page.js", "text/javascript", (_FOLDER / "page.js").read_text(encoding="utf-8")),
    ]


def _html(model: ServedModel, needs_key: bool) -> str:
    columns = _columns(model.task)
    return (
        templates(_FOLDER)
        .get_template("page.html.jinja")
        .render(
            about=model.about(),
            columns=columns,
            needed=[column for column in columns if column.required],
            places_in=model.task.places_in or "",
            explains=model.explains,
            limits=model.limits,
            needs_key=needs_key,
            version=ftkit.__version__,
        )
    )


def _columns(task: Task) -> list[Column]:
    """What a person is asked for: one text, where the task reads that; else the columns of the usual shape."""
    shapes = task.input_shapes()
    return next((shape for shape in shapes if is_plain(shape)), shapes[0])
