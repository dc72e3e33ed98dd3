"""A file's bytes as text: UTF-8, UTF-16 by its mark, else another encoding where there is no doubt which."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator
from itertools import islice
from typing import BinaryIO

from ftkit.errors import DataError

AUTO, UTF8 = "auto", "utf-8-sig"
_INIT = "(--encoding for `ftkit init`)"
_MARKS = {codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_CHUNK = 2**20
_MOST = 2**19
"""Bytes of lines that are looked at to find the encoding."""
_LEAST = 12
"""Bytes beyond ASCII: fewer prove nothing."""
_COHERENT, _NEAR = 0.15, 0.02
"""How like a language a text must be, and how much more so than the same bytes in any other encoding."""
_LEAST_NULS = 0.005
"""Of the bytes of UTF-16, those that are NUL in a text of few line ends and no other ASCII."""
Open = Callable[[], BinaryIO]
"""Begins to read the bytes."""


def coding(name: str, start: Open, encoding: str, notes: list[str]) -> str:
    """Python's name of what decodes the bytes, all of which are looked at; a guess is put into `notes`.

    Raises DataError, with the line, for bytes that are no text.
    """
    if encoding != AUTO:
        return _as_set(name, start, encoding)
    with start() as stream:
        head = stream.read(4)
    if mark := next((mark for mark in _MARKS if head.startswith(mark)), None):
        return _as_set(name, start, _MARKS[mark])
    at = 0
    for chunk in _chunks(start):
        if (found := chunk.find(b"\0")) >= 0:
            raise _binary(name, start, at + found)
        at += len(chunk)
    fault = _fault(start, UTF8)
    if fault is None:
        return UTF8
    guess = _found(start)
    if guess is None:
        raise _refusal(name, fault, "is not UTF-8", f"data.encoding names its encoding, as cp1252 {_INIT}")
    notes.append(f"{name} is not UTF-8 and is read as {guess} (data.encoding changes it)")
    return _as_set(name, start, guess)


def _binary(name: str, start: Open, first: int) -> DataError:
    """What is to be said of a file of which the byte at `first` is NUL, as in no UTF-8 text."""
    if _ends_at(start, first):
        what = f"{name} is binary, not text: from byte {first + 1} to its end all are NUL"
        return DataError(what, "a file has them that was not written to its end: write it again, or cut them off")
    hint = "is its ending the right one for its format?"
    if own := _utf16(start):
        hint += f" data.encoding={own} reads UTF-16 without a mark {_INIT}"
    return DataError(f"{name} is binary, not text: byte {first + 1} is NUL", hint)


def _ends_at(start: Open, first: int) -> bool:
    """Whether all bytes from `first` on are NUL."""
    at = 0
    for chunk in _chunks(start):
        if chunk[max(0, first - at) :].strip(b"\0"):
            return False
        at += len(chunk)
    return True


def _utf16(start: Open) -> str:
    """Which UTF-16 the beginning looks like: its NULs all stand on one side of their letters, and it has lines."""
    with start() as stream:
        head = stream.read(_MOST)
    before, behind = head[0::2].count(0), head[1::2].count(0)
    if min(before, behind) or max(before, behind) < len(head) * _LEAST_NULS:
        return ""
    own = "utf-16-be" if before else "utf-16-le"
    return own if "\n" in head.decode(own, "replace") else ""


def _as_set(name: str, start: Open, encoding: str) -> str:
    own = UTF8 if codecs.lookup(encoding).name == "utf-8" else encoding
    if fault := _fault(start, own):
        hint = f"data.encoding names another encoding {_INIT}, or `auto` finds it where it is plain"
        raise _refusal(name, fault, f"is not {encoding}", hint)
    return own


def _refusal(name: str, fault: tuple[int, int], what: str, hint: str) -> DataError:
    line, byte = fault
    return DataError(f"{name}, line {line}: byte 0x{byte:02x} {what}", hint)


def _chunks(start: Open) -> Iterator[bytes]:
    with start() as stream:
        while chunk := stream.read(_CHUNK):
            yield chunk


def _fault(start: Open, encoding: str) -> tuple[int, int] | None:
    """The line of the first byte that is no text, and the byte; None where all are."""
    decoder = codecs.getincrementaldecoder(encoding)()
    line = 1
    try:
        for chunk in _chunks(start):
            kept = decoder.getstate()[0]  # of a character whose other bytes are in this chunk
            decoder.decode(chunk)
            line += chunk.count(b"\n")
        kept, chunk = decoder.getstate()[0], b""
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        return line + error.object.count(b"\n", 0, error.start) - kept.count(b"\n"), error.object[error.start]
    return None


def _found(start: Open) -> str | None:
    """The encoding of bytes that are not UTF-8; None where several are as likely, or where most of it is UTF-8."""
    from charset_normalizer import from_bytes

    own, size, utf8, strange = 0, 0, 0, 0
    for line in _lines(start):
        own += 1
        size += len(line)
        utf8 += _is_utf8(line)
        strange += sum(byte > 127 for byte in line)
    if utf8 * 4 > own or strange < _LEAST:
        return None
    matches = list(from_bytes(b"\n".join(islice(_lines(start), 0, None, max(1, size // _MOST)))))
    if not matches:
        return None
    best, *others = matches
    rivals = [m for m in others if m.chaos <= best.chaos + _NEAR and m.coherence >= best.coherence - _NEAR]
    if rivals or best.coherence < _COHERENT:
        return None
    same = [best.encoding, *best.could_be_from_charset]
    found = "cp1252" if "cp1252" in same else best.encoding
    return found if _common(found) and _fault(start, found) is None else None


_RARE = ("mac_", "cp0", "cp1026", "cp1140", "cp273", "cp424", "cp437", "cp500", "cp7", "cp8")
"""Beginnings of names of tables that few files are in today, and that turn other tables' letters into letters."""


def _common(encoding: str) -> bool:
    return encoding == "cp866" or not encoding.startswith(_RARE)


def _lines(start: Open) -> Iterator[bytes]:
    """The lines that are not ASCII alone."""
    with start() as stream:
        yield from (line.removesuffix(b"\n") for line in stream if not line.isascii())


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
