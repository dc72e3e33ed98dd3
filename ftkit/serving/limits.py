"""What a server takes on, and what it refuses."""

from __future__ import annotations

from pydantic import Field

from ftkit.config import Section


class Limits(Section):
    """Bounds of a server; whatever is beyond one is refused with a sentence, before it costs anything."""

    batch: int = Field(64, gt=0)
    """Rows that are answered together, of however many requests."""
    queue: int = Field(1024, gt=0)
    """Rows that may wait; requests beyond get 429."""
    rows: int = Field(256, gt=0)
    """Rows of one request."""
    characters: int = Field(20_000, gt=0)
    """Characters of one row, and about those that are answered together."""
    body: int = Field(2**18, gt=0)
    """Bytes of one request."""
    open: int = Field(512, gt=0)
    """Requests that are being read, waiting or answered; those beyond get 429."""
    timeout: float = Field(30.0, gt=0)
    """Seconds that an answer may take, the wait for its turn included; a request has half as many to arrive."""
