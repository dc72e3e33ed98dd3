"""What a user can mend. Each error is a sentence that names the thing, and a hint that names the way out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from difflib import get_close_matches
from typing import TypeVar

T = TypeVar("T")


class FTKitError(Exception):
    """A fault that a person can mend; the command line prints it without a traceback and exits with `exit_code`."""

    exit_code = 3

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


class RecipeError(FTKitError):
    """A recipe, a setting or a plug-in's name that can't be used."""


class DataError(FTKitError):
    """A data file, column, label or row that can't be used."""

    faults: tuple[tuple[str, int, str], ...] = ()
    """Of lines that can't be read each one's file, number and fault; the message has the first ones."""


class CheckpointError(FTKitError):
    """A checkpoint that can't be found, read or used for this task."""


class RunError(FTKitError):
    """A run directory that can't be created, read or written."""


class MachineError(FTKitError):
    """Something this machine lacks: a precision, a device, disk space, a network."""


class SmallerParts(MachineError):
    """Memory ran out in one of several processes; the run has noted that steps are to be split further."""


class GateError(FTKitError):
    """A gate that the user asked for said no."""

    exit_code = 4


class Interrupted(KeyboardInterrupt):
    """The person, or the system, wants the command to end; what was done is kept. Ends it as Ctrl-C does."""

    exit_code = 130

    def __init__(self, message: str = "interrupted", hint: str = "") -> None:
        super().__init__(message)
        self.message, self.hint = message, hint

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and those that it came from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def problems(kind: type[FTKitError], heading: str, found: list[str], hint: str = "") -> FTKitError:
    """One error for all problems found at once: `heading`, then a line for each."""
    if len(found) == 1:
        return kind(f"{heading}: {found[0]}" if heading else found[0], hint)
    count = f"{len(found)} problems"
    return kind("\n".join([f"{heading}: {count}" if heading else count, *(f"  - {line}" for line in found)]), hint)


def every(calls: Sequence[Callable[[], T]]) -> list[T]:
    """What the calls return; one error with the problems of all where several have some."""
    results, errors = [], []
    for call in calls:
        try:
            results.append(call())
        except FTKitError as error:
            errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        hints = dict.fromkeys(error.hint for error in errors if error.hint)
        joined = type(errors[0])("\n".join(error.message for error in errors), "\n  ".join(hints))
        if isinstance(joined, DataError):
            joined.faults = tuple(fault for error in errors for fault in getattr(error, "faults", ()))
        raise joined
    return results


# ------------------------------------------------------------------ words of a message


LONGEST = 4000
"""Characters of one text that are shown."""
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


def visible(value: object, most: int = LONGEST) -> str:
    """A text with control characters, and those that turn its direction, written as their numbers."""
    text = str(value)
    text = text if len(text) <= most else f"{text[:most]}... ({len(text) - most:,} more characters)"
    return _UNSEEN.sub(lambda found: f"[U+{ord(found[0]):04X}]", text)


def one_line(said: object, most: int = 300) -> str:
    """What an error or a text says, in one line of at most `most` characters."""
    text = " ".join(str(said).split())
    return text if len(text) <= most else text[: most - 3] + "..."


def brief(value: object, most: int = 60) -> str:
    """A value as Python writes it, in at most `most` characters."""
    shown = repr(value)
    return shown if len(shown) <= most else shown[: most - 3] + "..."


def some(names: Sequence[str], most: int = 8) -> str:
    """Names with commas between them; of more than `most` the first, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def counted(number: int, what: str) -> str:
    """A number of things: `1 value`, `2 values`, `3 entities`."""
    several = f"{what[:-1]}ies" if what.endswith("y") else f"{what}s"
    return f"{number:,} {what if number == 1 else several}"


def first(faults: Sequence[str], most: int) -> list[str]:
    """Faults, a line each; of more than `most` the first, and a line that says how many more there are."""
    return [*faults[:most], *([f"and {len(faults) - most} more"] if len(faults) > most else [])]


def nearest(name: str, known: Iterable[str], cutoff: float = 0.5) -> str:
    """The known name that `name` is most likely a slip of, whatever its case; empty where none is near."""
    folded = {other.casefold(): other for other in known}
    near = get_close_matches(name.casefold(), folded, n=1, cutoff=cutoff)
    return folded[near[0]] if near else ""
