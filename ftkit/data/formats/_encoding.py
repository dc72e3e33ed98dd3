"""A file's bytes as text: UTF-8, UTF-16 by its mark, else another encoding where there is no doubt which."""

from __future__ import annotations

import codecs

from ftkit.errors import DataError

AUTO = "auto"
_INIT = "(--encoding for `ftkit init`)"
_MARKS = {codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_MOST = 2**19
"""Bytes of lines that are looked at to find the encoding."""
_LEAST = 12
"""Bytes beyond ASCII: fewer prove nothing."""
_COHERENT, _NEAR = 0.15, 0.02
"""How like a language a text must be, and how much more so than the same bytes in any other encoding."""


def decoded(name: str, data: bytes, encoding: str, notes: list[str]) -> str:
    """The text; a guess is put into `notes`. Raises DataError, with the line, for bytes that are none."""
    if encoding != AUTO:
        return _as_set(name, data, encoding)
    if mark := next((mark for mark in _MARKS if data.startswith(mark)), None):
        return _as_set(name, data, _MARKS[mark])
    at = data.find(b"\0")
    if at >= 0:
        what = f"{name} is binary, not text: byte {at + 1} is NUL"
        raise DataError(
            what, f"is its ending the right one for its format? data.encoding=utf-16-le reads UTF-16 {_INIT}"
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        found = _found(data)
        if found is None:
            hint = f"data.encoding names its encoding, as cp1252 {_INIT}"
            raise _refusal(name, error, "is not UTF-8", hint) from error
        notes.append(f"{name} is not UTF-8 and is read as {found} (data.encoding changes it)")
        return _as_set(name, data, found)


def _as_set(name: str, data: bytes, encoding: str) -> str:
    own = "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding
    try:
        return data.decode(own).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        hint = f"data.encoding names another encoding {_INIT}, or `auto` finds it where it is plain"
        raise _refusal(name, error, f"is not {encoding}", hint) from error


def _refusal(name: str, error: UnicodeDecodeError, what: str, hint: str) -> DataError:
    line = error.object.count(b"\n", 0, error.start) + 1
    return DataError(f"{name}, line {line}: byte 0x{error.object[error.start]:02x} {what}", hint)


def _found(data: bytes) -> str | None:
    """The encoding of bytes that are not UTF-8; None where several are as likely, or where most of it is UTF-8."""
    from charset_normalizer import from_bytes

    lines = [line for line in data.split(b"\n") if not line.isascii()]
    if sum(map(_is_utf8, lines)) * 4 > len(lines) or sum(byte > 127 for line in lines for byte in line) < _LEAST:
        return None
    matches = list(from_bytes(_sample(lines)))
    if not matches:
        return None
    best, *others = matches
    rivals = [m for m in others if m.chaos <= best.chaos + _NEAR and m.coherence >= best.coherence - _NEAR]
    if rivals or best.coherence < _COHERENT:
        return None
    same = [best.encoding, *best.could_be_from_charset]
    found = "cp1252" if "cp1252" in same else best.encoding
    return found if _decodes(data, found) else None


def _sample(lines: list[bytes]) -> bytes:
    """Lines from all over the file."""
    step = max(1, sum(map(len, lines)) // _MOST)
    return b"\n".join(lines[::step])


def _is_utf8(line: bytes) -> bool:
    return _decodes(line, "utf-8")


def _decodes(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True
