"""A WordNet of a few words in WordNet's own file format, made on the spot."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nltk
import pytest

from ftkit.augmenters import _wordnet

MEANINGS: list[tuple[str, dict[str, int], dict[str, str]]] = [
    ("n", {"film": 9, "movie": 7, "moving_picture": 3}, {}),
    ("n", {"film": 2}, {}),
    ("n", {"house": 30}, {}),
    ("n", {"physician": 4, "doctor": 12, "Doctor": 3}, {}),
    ("n", {"Indiana": 6, "in": 8}, {}),
    ("n", {"bank": 10, "shore": 8}, {}),
    ("n", {"bank": 9, "lender": 8}, {}),
    ("n", {"hour": 20, "hr": 9}, {}),
    ("n", {"story": 20, "tale": 9, "account": 4}, {}),
    ("v", {"account": 90}, {}),
    ("v", {"begin": 20, "start": 15}, {"begin": "end"}),
    ("v", {"end": 14}, {"end": "begin"}),
    ("v", {"love": 20, "adore": 5}, {"love": "hate"}),
    ("v", {"hate": 12, "detest": 4}, {"hate": "love"}),
    ("a", {"cheap": 9, "inexpensive": 5}, {}),
    ("a", {"happy": 12}, {"happy": "unhappy"}),
    ("a", {"unhappy": 8}, {"unhappy": "happy"}),
    ("a", {"good": 40}, {"good": "bad"}),
    ("a", {"bad": 30}, {"bad": "good"}),
    ("a", {"early": 10}, {"early": "late"}),
    ("a", {"late": 11}, {"late": "early"}),
    ("r", {"quickly": 9, "rapidly": 6}, {}),
]
"""Part of speech, words with their counts, and antonyms: one line a meaning, in the order of frequency."""
_FILES = {"n": "noun", "v": "verb", "a": "adj", "r": "adv"}
_NUMBERS = {"n": 1, "v": 2, "a": 3, "r": 4}
_HEADER = "  1 WordNet 3.0 Copyright, as its own files begin  \n"


def write_wordnet(folder: Path) -> Path:
    """The files that NLTK reads, but for `lexnames` and `index.sense`, which Debian's package lacks."""
    folder.mkdir(parents=True, exist_ok=True)
    counts = []
    for pos, name in _FILES.items():
        meanings = [(words, opposites) for kind, words, opposites in MEANINGS if kind == pos]
        offsets = [0] * len(meanings)
        for _ in range(2):  # the second time the pointers know where they point to
            text = _HEADER
            for i, (words, opposites) in enumerate(meanings):
                offsets[i] = len(text.encode())
                text += _data_line(pos, offsets[i], words, _pointers(pos, opposites, meanings, offsets))
        (folder / f"data.{name}").write_text(text)
        (folder / f"index.{name}").write_text(_HEADER + _index(pos, meanings, offsets))
        (folder / f"{name}.exc").write_text({"v": "began begin\nbegun begin\n"}.get(pos, ""))
        counts += [
            f"{word.casefold()}%{_NUMBERS[pos]}:03:{i:02}:: 1 {count}"
            for i, (words, _) in enumerate(meanings)
            for word, count in words.items()
        ]
    (folder / "cntlist.rev").write_text("".join(f"{line}\n" for line in sorted(counts)))
    return folder


def _pointers(
    pos: str, opposites: dict[str, str], meanings: list[tuple[dict[str, int], dict[str, str]]], offsets: list[int]
) -> list[str]:
    found = []
    for word, opposite in opposites.items():
        own = next(i for i, (words, named) in enumerate(meanings) if word in words and named is opposites)
        other = next(i for i, (words, _) in enumerate(meanings) if opposite in words)
        source = list(meanings[own][0]).index(word) + 1
        target = list(meanings[other][0]).index(opposite) + 1
        found.append(f"! {offsets[other]:08} {pos} {source:02x}{target:02x}")
    return found


def _data_line(pos: str, offset: int, words: dict[str, int], pointers: list[str]) -> str:
    number = next(
        i for i, meaning in enumerate([words_ for kind, words_, _ in MEANINGS if kind == pos]) if meaning is words
    )
    named = " ".join(f"{word} {number:x}" for word in words)
    frames = " 01 + 02 00" if pos == "v" else ""
    listed = "".join(f" {pointer}" for pointer in pointers)
    return f"{offset:08} 03 {pos} {len(words):02x} {named} {len(pointers):03}{listed}{frames} | what it means  \n"


def _index(pos: str, meanings: list[tuple[dict[str, int], dict[str, str]]], offsets: list[int]) -> str:
    places: dict[str, list[int]] = {}
    for (words, _), offset in zip(meanings, offsets, strict=True):
        for word in words:
            if offset not in places.setdefault(word.casefold(), []):
                places[word.casefold()].append(offset)
    return "".join(
        f"{word} {pos} {len(found)} 1 ! {len(found)} {len(found)} {' '.join(f'{offset:08}' for offset in found)}  \n"
        for word, found in sorted(places.items())
    )


def forget() -> None:
    """What was read of a WordNet is read again."""
    for cached in vars(_wordnet).values():
        if hasattr(cached, "cache_clear") and cached.__module__ == _wordnet.__name__:
            cached.cache_clear()


@contextmanager
def only(folder: Path | None, cache: Path) -> Iterator[None]:
    """There is no WordNet on this machine but the one in `folder`, where Debian has it; none at all for None."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nltk.data, "path", [])
        patch.setattr(_wordnet, "DEBIAN", folder or cache / "none")
        patch.setenv("FTKIT_CACHE", str(cache))
        forget()
        yield
    forget()
