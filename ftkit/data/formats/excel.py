"""Excel workbooks: one sheet, its cells as they are shown; an empty cell is an empty text, as in CSV."""

from __future__ import annotations

import io
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from datetime import date, datetime, time
from typing import Any
from xml.etree.ElementTree import ParseError

from ftkit.data.formats._base import Source, Table, needs
from ftkit.data.formats.delimited import header
from ftkit.errors import DataError, counted, nearest, some

_BROKEN = (zipfile.BadZipFile, zlib.error, KeyError, ValueError, TypeError, AttributeError, EOFError, ParseError)
"""What openpyxl raises for files that are no workbooks."""


def read(source: Source) -> Table:
    """The rows of the sheet that the source names (`book.xlsx#Sheet`), or of the first one."""
    found = [(number, values) for number, values in enumerate(_rows(source), 1)]
    width = max((place for _, values in found for place, value in enumerate(values, 1) if value != ""), default=0)
    filled = [(n, [*values, *[""] * width][:width]) for n, values in found if any(value != "" for value in values)]
    inside = range(filled[0][0], filled[-1][0] + 1) if filled else range(0)
    if blank := len(inside) - len(filled):
        source.notes.append(f"{source.name}: {counted(blank, 'blank row')} skipped")
    columns = tuple(map(str, range(width)))
    if source.header and filled:
        names = [str(value).strip() for value in filled.pop(0)[1]]
        columns = header(source.name, [name or _letters(place) for place, name in enumerate(names)])
    rows = [dict(zip(columns, values, strict=True)) for _, values in filled]
    return source.table(rows, columns, [number for number, _ in filled], unit="row")


def _rows(source: Source) -> Iterator[list[Any]]:
    """The values of each row of the sheet, empty rows too."""
    openpyxl = needs(source, "openpyxl", "excel")
    data = io.BytesIO(source.bytes())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about styles and validations, which are not read
        try:
            book = openpyxl.load_workbook(data, read_only=True, data_only=True)
            title = _sheet(source, [sheet.title for sheet in book.worksheets])
            empty = False
            for row in _cells(book[title]):
                empty = empty or None in row
                yield [_value(value) for value in row]
            if empty and (note := _untold(openpyxl.load_workbook(data, read_only=True), book, title)):
                source.notes.append(f"{source.name}: {note}")
        except (*_BROKEN, openpyxl.utils.exceptions.InvalidFileException) as error:
            message = f"{source.name} is not an Excel workbook that can be read: {error}"
            hint = "save it again as .xlsx, without a password; or save the sheet as CSV"
            raise DataError(message, hint) from error


def _cells(sheet: Any, values_only: bool = True) -> Iterator[tuple[Any, ...]]:
    sheet.reset_dimensions()  # what a writer said of its size may be wrong
    yield from sheet.iter_rows(values_only=values_only)


def _untold(formulas: Any, values: Any, title: str) -> str:
    """Of a sheet's formulas those whose results are not in the file, as other programs than Excel leave them.

    (A result that is an empty text has a type of its own.)
    """
    pairs = zip(_cells(formulas[title]), _cells(values[title], values_only=False), strict=True)
    rows = [
        number
        for number, (said, found) in enumerate(pairs, 1)
        for formula, cell in zip(said, found, strict=False)
        if cell.value is None and cell.data_type != "str" and isinstance(formula, str) and formula.startswith("=")
    ]
    if not rows:
        return ""
    what = f"{counted(len(rows), 'formula')} without a stored result, the first in row {rows[0]}, read as empty"
    return f"{what}: open and save it in Excel"


def _sheet(source: Source, sheets: list[str]) -> str:
    """The title of the sheet to read."""
    if source.part is None:
        if len(sheets) > 1:
            others = some(list(map(repr, sheets[1:])))
            what = f"its first sheet, {sheets[0]!r}, is read; {source.name}#{sheets[1]} would be the next"
            source.notes.append(f"{source.name}: {what} (there are also {others})")
        return sheets[0]
    if source.part in sheets:
        return source.part
    near = nearest(source.part, sheets)
    hint = f"did you mean {source.path.name}#{near}?" if near else ""
    raise DataError(
        f"{source.path.name} has no sheet {source.part!r}; it has {some(list(map(repr, sheets)), 20)}", hint
    )


def _value(value: Any) -> Any:
    """A cell as it is shown: no `3.0` for a whole number, no time of day for a day."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, datetime):
        return value.date().isoformat() if value.time() == time() else value.isoformat(sep=" ")
    if isinstance(value, (date, time)):
        return value.isoformat()
    return value if isinstance(value, (str, int, float)) else str(value)


def _letters(place: int) -> str:
    """What Excel calls a column: A, B, ..., Z, AA."""
    return (_letters(place // 26 - 1) if place >= 26 else "") + chr(ord("A") + place % 26)
