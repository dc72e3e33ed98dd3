"""The Hub: whether it answers, what its errors mean, what it calls a file's content.

That it does not answer is found out in seconds: its own libraries go on trying for a minute.
"""

from __future__ import annotations

import hashlib
import threading
import time
from pathlib import Path

from ftkit.errors import MachineError, chain, one_line

PROBE_SECONDS = 3.0
"""That the Hub has to answer in, where nothing can go on without it."""
BRIEF_SECONDS = 1.5
"""The same where a copy is at hand."""
_REMEMBERED = 30.0
_down: dict[str, tuple[float, str]] = {}
"""Address -> when it was found to be down, and why: of several things that a command needs, one alone waits."""


def unreachable(seconds: float | None = None) -> str:
    """Why the Hub gives no answer within `seconds` (PROBE_SECONDS), or fails; empty for any other answer."""
    from huggingface_hub import constants

    if constants.is_offline_mode():
        return "HF_HUB_OFFLINE forbids asking it"
    since, reason = _down.get(constants.ENDPOINT, (0.0, ""))
    if reason and time.monotonic() - since < _REMEMBERED:
        return reason
    if reason := _ask(constants.ENDPOINT, PROBE_SECONDS if seconds is None else seconds):
        _down[constants.ENDPOINT] = (time.monotonic(), reason)
    return reason


def require() -> None:
    """Raises MachineError where the Hub can't be reached."""
    from huggingface_hub import constants

    if reason := unreachable():
        raise MachineError(f"the Hub ({constants.ENDPOINT}) can't be reached: {reason}", "try again when it answers")


def meaning(error: BaseException) -> tuple[str, str]:
    """What a failure of the Hub's library means, and what to do; its own words name addresses and functions."""
    from huggingface_hub import constants, errors

    causes = list(chain(error))
    answer = next((one for one in causes if isinstance(one, errors.HfHubHTTPError)), None)
    if answer is None:
        said = one_line(causes[-1]) or type(causes[-1]).__name__
        return f"the connection to the Hub ({constants.ENDPOINT}) failed: {said}", "try again"
    status = answer.response.status_code
    what, hint = _ANSWERS.get(status) or (_FAILS if status >= 500 else ("refuses this", "see what it says of it there"))
    own = "" if status == 429 or not answer.server_message else f": {one_line(answer.server_message)}"
    return f"the Hub ({constants.ENDPOINT}) {what} (error {status}){own}", hint


_FAILS = ("fails", "try again when it answers")
_ANSWERS = {
    401: ("asks for a login, or does not take the token", "`hf auth login`; HF_TOKEN goes first where it is set"),
    403: ("refuses access", "ask the repository's owner, or `hf auth login` as somebody who has it"),
    404: ("has no such thing", "check the name, and HF_ENDPOINT where it is set"),
    429: ("is asked too often", "try again in some minutes"),
}
"""What the Hub answers by number, and what to do."""


def git_hash(file: Path) -> str:
    """What Git, and so the Hub, calls a small file's content."""
    content = file.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _ask(address: str, seconds: float) -> str:
    from huggingface_hub import get_session

    answers: list[str] = []

    def ask() -> None:
        try:
            status = get_session().head(address, timeout=seconds).status_code
            answers.append(f"it answers with error {status}" if status >= 500 else "")
        except connection_errors() as error:
            answers.append(str(error) or type(error).__name__)

    # A thread, because no timeout of the client covers the look-up of the host's name.
    probe = threading.Thread(target=ask, daemon=True)
    probe.start()
    probe.join(seconds)
    return answers[0] if answers else f"no answer within {seconds:g} seconds"


def connection_errors() -> tuple[type[Exception], ...]:
    """What the Hub's library raises when a connection fails, whichever HTTP client it uses."""
    from huggingface_hub import errors

    return (errors.HTTPError, OSError)  # type: ignore[attr-defined]
