"""Schemes of tags: how BIO, BIOES, BILOU and their kin spell entities."""

from __future__ import annotations

import re

_TAG = re.compile(r"O|[BIESLUM]-\S+")


def is_tag(text: str) -> bool:
    """Whether `text` is `O`, or a prefix of BIO, BIOES or BILOU with a type (`B-PER`)."""
    return _TAG.fullmatch(text) is not None
