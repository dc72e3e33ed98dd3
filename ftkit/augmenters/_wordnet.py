"""WordNet (Miller 1995): where it is found, and which of its words may stand for another one.

A word is looked at where there is no doubt of what it is: it has one part of speech nearly always, and there one
meaning mostly, by WordNet's own counts. What takes its place must be as sure of the same meaning, and gets its ending.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from ftkit import checkpoints
from ftkit.augmenters._english import FUNCTION_WORDS, NEGATIONS
from ftkit.errors import MachineError, one_line

DEBIAN = Path("/usr/share/wordnet")
"""Where Debian's and Ubuntu's package `wordnet-base` puts it."""
SURE = 0.9
"""Share of a word's uses that must be of one part of speech."""
MAIN = 0.55
"""Share of its uses there that must have one meaning."""
SEEN = 2
"""Uses of a meaning that must be counted for it to be believed."""
_POS = {"NOUN": "n", "VERB": "v", "ADJ": "a", "ADV": "r"}
_TAGS = {
    "n": ("NN", "NNS"),
    "v": ("VB", "VBD", "VBG", "VBN", "VBP", "VBZ"),
    "a": ("JJ", "JJR", "JJS"),
    "r": ("RB", "RBR", "RBS"),
}


# ---------------------------------------------------------------------- where it is


def require() -> None:
    """Raises MachineError that names the ways to get WordNet, where there is none."""
    wordnet()


@cache
def wordnet() -> Any:
    """NLTK's reader of the WordNet that is found first: in NLTK's data, in ftkit's cache, among Debian's packages."""
    from nltk.corpus.reader.wordnet import WordNetCorpusReader

    class Reader(WordNetCorpusReader):  # type: ignore[misc]
        def open(self, file: str) -> Any:
            """`lexnames`, which Debian leaves out, are 45 names that nobody here asks for."""
            return (
                io.StringIO("".join(f"{i:02}\t{i:02}\t0\n" for i in range(45)))
                if file == "lexnames"
                else super().open(file)
            )

        def map_wn(self, version: str = "wordnet") -> None:
            """No mapping to other languages, for which NLTK reads another file twice."""

    place = _place()
    if place is None:
        raise MachineError("WordNet, which synonym, antonym and insert need, is not on this machine", WAYS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there are no other languages
        return Reader(place, None)


WAYS = """get it by one of:
    ftkit augment --get-wordnet                             (10 MB of NLTK's data on GitHub, into ftkit's cache)
    python -m nltk.downloader wordnet                       (the same, into NLTK's own folder)
    apt-get install --no-install-recommends wordnet-base    (Debian, Ubuntu)"""


def _place() -> Any:
    """NLTK's pointer to the folder or zip with WordNet's files; None where there is none."""
    import nltk

    for folder in (str(_cached()), str(DEBIAN)):
        if folder not in nltk.data.path:
            nltk.data.path.append(folder)  # NLTK opens nothing outside of these
    for name in ("corpora/wordnet", "corpora/wordnet.zip/wordnet/"):
        try:
            return nltk.data.find(name)
        except LookupError:
            continue
    if (DEBIAN / "index.noun").is_file():
        return nltk.data.FileSystemPathPointer(str(DEBIAN))
    return None


def _cached() -> Path:
    return checkpoints.cache() / "nltk_data"


def download() -> Path:
    """Fetch WordNet 3.0 with NLTK's downloader into ftkit's cache. Raises MachineError where that can't be done."""
    import nltk

    said = io.StringIO()
    done = nltk.download("wordnet", download_dir=str(_cached()), quiet=True, prefix="", print_error_to=said)
    if not done:
        raise MachineError(f"WordNet can't be fetched: {one_line(said.getvalue()) or 'NLTK gives no reason'}", WAYS)
    wordnet.cache_clear()
    return _cached()


# ---------------------------------------------------------------------- which words


@cache
def synonyms(word: str) -> tuple[str, ...]:
    """English words with the meaning of `word`, in its form."""
    return _related(word, lambda sense: sense.lemmas())


@cache
def antonyms(word: str) -> tuple[str, ...]:
    """English words with the opposite meaning, in its form."""
    return _related(word, lambda sense: [opposite for lemma in sense.lemmas() for opposite in lemma.antonyms()])


def _related(word: str, related: Callable[[Any], list[Any]]) -> tuple[str, ...]:
    lemma, pos = _reading(word)
    sense = _main_sense(lemma, pos) if lemma else None
    if sense is None:
        return ()
    tags = _tags(word, lemma, pos)
    found = {
        form
        for other in related(sense)
        if other.name() != lemma and _reading(other.name()) == (other.name(), pos)
        if _main_sense(other.name(), pos) == other.synset()
        if (form := _inflected(other.name(), tags)) and form != word and not _abbreviates(form, word)
    }
    return tuple(sorted(found))


@cache
def _reading(word: str) -> tuple[str, str]:
    """The lemma and the part of speech that a word's form has nearly always; empty where that is not sure."""
    from lemminflect import getAllLemmas

    if not word.islower() or not word.isalpha() or len(word) < 3 or word in FUNCTION_WORDS | NEGATIONS:
        return "", ""
    uses: dict[tuple[str, str], int] = {}
    for name, lemmas in getAllLemmas(word).items():
        if name == "AUX":
            return "", ""
        for lemma in lemmas if name in _POS else ():
            counts = _counts(lemma, _POS[name])
            uses[lemma, _POS[name]] = sum(counts) + len(counts)  # a meaning that was never met may be still
    best = max(uses, key=lambda reading: uses[reading], default=("", ""))
    unsure = uses.get(best, 0) < SURE * sum(uses.values()) or (best[1] == "v" and _is_more(word, best[0]))
    return ("", "") if unsure else best


def _is_more(word: str, verb: str) -> bool:
    """Whether a verb's form is a word by itself, as `riveting` is."""
    return word != verb and any(wordnet().synsets(word, pos) for pos in "an")


def _abbreviates(form: str, word: str) -> bool:
    """Whether a word is another one cut short, as `mins` and `yr` are."""
    return not set(form) & set("aeiou") or word.startswith(form.removesuffix("s"))


@cache
def _counts(lemma: str, pos: str) -> tuple[int, ...]:
    """How often WordNet's authors met each meaning of a word."""
    return tuple(
        next((one.count() for one in sense.lemmas() if one.name().casefold() == lemma), 0)
        for sense in wordnet().synsets(lemma, pos)
    )


@cache
def _main_sense(lemma: str, pos: str) -> Any:
    """The meaning that a word has mostly; None where it has none such."""
    counts = _counts(lemma, pos)
    if not counts or max(counts) < max(SEEN, MAIN * sum(counts)):
        return None
    return wordnet().synsets(lemma, pos)[counts.index(max(counts))]


def _tags(word: str, lemma: str, pos: str) -> tuple[str, ...]:
    """The inflections of the lemma that the word may be; the base form, which has several uses, is one."""
    from lemminflect import getInflection

    if word == lemma:
        return (_TAGS[pos][0],)
    return tuple(tag for tag in _TAGS[pos] if word in getInflection(lemma, tag))


def _inflected(lemma: str, tags: tuple[str, ...]) -> str:
    """The lemma's form in all of these inflections; empty where they differ, and where there is none."""
    from lemminflect import getInflection

    if tags and tags[0] in ("NN", "VB", "JJ", "RB"):
        return lemma
    forms = {getInflection(lemma, tag)[:1] for tag in tags}
    return forms.pop()[0] if len(forms) == 1 and forms != {()} else ""
