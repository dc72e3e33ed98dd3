"""Being told to stop: the first SIGINT or SIGTERM asks a training to save and end, the second ends it at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from ftkit.errors import Interrupted

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
FILE = "FTKIT_STOP_FILE"
"""Names, to the processes of one training, the file by which the process that started them passes a request on."""
_NOW = "now"
"""What the file says where they are to end at once."""
_asked = False


@contextmanager
def heeded(pass_to: Path | None = None) -> Iterator[None]:
    """While this lasts, the first signal only asks, and `asked` tells of it; the second raises Interrupted.

    Both are written to the file `pass_to`, for processes that find its name in `FILE`. In a thread other than the main
    one, which gets no signals, nothing changes.
    """
    global _asked
    _asked = False
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = partial(_ask, pass_to) if FILE not in os.environ else _be_told
    before = {number: signal.signal(number, handler) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, known in before.items():
            signal.signal(number, known)


def asked() -> bool:
    """Whether this process, or the one that started it, was told to stop."""
    return _asked or _passed_on() == ""


def stop_if_asked(what: str) -> None:
    """Raise Interrupted where it was asked for and nothing has heeded it yet; `what` has been done by now."""
    if asked():
        raise Interrupted(f"interrupted after {what}")


def end_all_at_once() -> None:
    """Let SIGTERM end a training's processes as a second one does: who started them is gone, or done with them."""
    if FILE in os.environ:
        with suppress(OSError):  # its folder is gone, too
            Path(os.environ[FILE]).write_text(_NOW)


def _ask(pass_to: Path | None, number: int, frame: object) -> None:
    global _asked
    if pass_to:
        pass_to.write_text(_NOW if _asked else "")
    if _asked:
        raise Interrupted("interrupted at once")
    _asked = True
    with suppress(OSError):  # who read it may have ended by the same Ctrl-C
        os.write(2, b"stopping: the step at hand is finished and saved; once more to stop at once\n")


def _be_told(number: int, frame: object) -> None:
    """In one of several processes, whom a scheduler and the agent that started it may both tell."""
    global _asked
    if _passed_on() == _NOW:
        os._exit(130)
    _asked = True


def _passed_on() -> str | None:
    """What the file says; None where nobody has written it."""
    try:
        return Path(os.environ[FILE]).read_text()
    except (KeyError, OSError):
        return None
