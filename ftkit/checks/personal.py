"""E-mail addresses, phone numbers and numbers of payment cards in texts; they are told masked."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ftkit.checks._base import Check, Data
from ftkit.findings import Finding

_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@(?:[a-z0-9-]+\.)+[a-z]{2,24}(?![\w-])", re.IGNORECASE)
_PHONE = re.compile(
    r"(?<![\w.+/-])(?:\+\d{1,3}[ ./-]?(?:\(\d{1,4}\)[ ./-]?)?\d{1,4}(?:[ ./-]?\d{2,4}){2,4}"
    r"|\(\d{3}\) ?\d{3}[ .-]\d{4}|\d{3}([-.])\d{3}\1\d{4})(?![\w/-]|\.\d)"
)
_CARD = re.compile(r"(?<![\w.-])(?:[3-6]\d{3}([ -]?)\d{4}\1\d{4}\1\d{1,7}|3\d{3}([ -]?)\d{6}\2\d{5})(?![\w-]|\.\d)")


class Personal(Check):
    """Values that look as those of a person do; a card's number must pass Luhn's test."""

    summary = "texts with e-mail addresses, phone or card numbers"

    def find(self, data: Data) -> Iterator[Finding]:
        """A finding for each kind of value, all masked."""
        for name, tell in (("an e-mail address", _email), ("a phone number", _phone), ("a card number", _card)):
            if places := data.search(tell, [column for column in data.shape if column.kind in _TEXTS]):
                fix = "take out what a model must not repeat, or what you may not keep"
                yield Finding("personal", "warning", f"a text has {name} in it", places, fix)


_TEXTS = ("text", "tokens", "references")


def _email(text: str) -> str:
    if "@" not in text or not (found := _EMAIL.search(text)):
        return ""
    name, _, host = found[0].partition("@")
    return f"{name[0]}***@{host[0]}***.{host.rpartition('.')[2]}"


def _phone(text: str) -> str:
    found = _PHONE.search(text)
    return _masked(found[0]) if found else ""


def _card(text: str) -> str:
    numbers = (match[0] for match in _CARD.finditer(text))
    return next((_masked(number) for number in numbers if _is_card(re.sub(r"\D", "", number))), "")


def _is_card(digits: str) -> bool:
    """Whether digits are as many as a card has, and pass Luhn's test."""
    doubled = [sum(divmod(2 * int(digit), 10)) if at % 2 else int(digit) for at, digit in enumerate(reversed(digits))]
    return 14 <= len(digits) <= 19 and len(set(digits)) > 1 and sum(doubled) % 10 == 0


def _masked(number: str) -> str:
    """The number with its last two digits alone."""
    digits = len(re.findall(r"\d", number))
    return re.sub(r"\d", "*", number, count=digits - 2)
