"""Whether the Hub answers, found out in seconds: its own libraries go on trying for a minute."""

from __future__ import annotations

import threading

PROBE_SECONDS = 3.0


def unreachable() -> str:
    """Why the Hub gives no answer within PROBE_SECONDS; empty when it gives one, whatever it says."""
    from huggingface_hub import constants, get_session

    if constants.is_offline_mode():
        return "HF_HUB_OFFLINE forbids asking it"
    answers: list[str] = []

    def ask() -> None:
        try:
            get_session().head(constants.ENDPOINT, timeout=PROBE_SECONDS)
            answers.append("")
        except connection_errors() as error:
            answers.append(str(error) or type(error).__name__)

    # A thread, because no timeout of the client covers the look-up of the host's name.
    probe = threading.Thread(target=ask, daemon=True)
    probe.start()
    probe.join(PROBE_SECONDS)
    return answers[0] if answers else f"no answer within {PROBE_SECONDS:g} seconds"


def connection_errors() -> tuple[type[Exception], ...]:
    """What the Hub's library raises when a connection fails, whichever HTTP client it uses."""
    from huggingface_hub import errors

    return (errors.HTTPError, OSError)  # type: ignore[attr-defined]
