"""Which words take a word's place, on a WordNet of a few words and, where there is one, on the real one."""

from __future__ import annotations

import hashlib
import http.server
import shutil
import threading
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import nltk
import pytest

from ftkit.augmenters import _wordnet
from ftkit.errors import MachineError
from tests.wordnet import only, write_wordnet


@pytest.fixture
def small(tmp_path: Path) -> Iterator[None]:
    with only(write_wordnet(tmp_path / "wordnet"), tmp_path / "cache"):
        yield


@pytest.fixture
def real(tmp_path: Path) -> None:
    if not (_wordnet.DEBIAN / "index.noun").is_file():
        pytest.skip("Debian's wordnet-base is not installed")


@pytest.mark.parametrize(
    ("word", "others"),
    [
        ("film", ("movie",)),
        ("films", ("movies",)),
        ("began", ("started",)),
        ("beginning", ("starting",)),
        ("cheap", ("inexpensive",)),
        ("quickly", ("rapidly",)),
        ("doctors", ("physicians",)),
        ("story", ("tale",)),
    ],
)
def test_a_synonym_has_the_words_own_form(small: None, word: str, others: tuple[str, ...]) -> None:
    assert _wordnet.synonyms(word) == others


@pytest.mark.parametrize(
    "word",
    ["in", "film's", "Film", "FILM", "bank", "house", "hour", "account", "unknown", "", "fílm", "was", "not", "x"],
    ids=repr,
)
def test_where_there_is_doubt_there_is_no_synonym(small: None, word: str) -> None:
    """Function words, names, several meanings, several parts of speech, abbreviations, words that are not there."""
    assert _wordnet.synonyms(word) == ()


def test_antonyms_are_those_of_the_main_meaning(small: None) -> None:
    assert _wordnet.antonyms("good") == ("bad",)
    assert _wordnet.antonyms("loved") == ("hated",)
    assert _wordnet.antonyms("adore") == ("hate",)
    assert _wordnet.antonyms("film") == ()


def test_without_wordnet_three_ways_to_get_it_are_told(tmp_path: Path) -> None:
    with only(None, tmp_path), pytest.raises(MachineError) as caught:
        _wordnet.require()
    for way in ("ftkit augment --get-wordnet", "nltk.downloader wordnet", "apt-get install"):
        assert way in caught.value.hint


@pytest.mark.parametrize("zipped", [False, True])
def test_nltks_own_data_come_first(tmp_path: Path, zipped: bool) -> None:
    folder = write_wordnet(tmp_path / "nltk" / "corpora" / "wordnet")
    if zipped:
        shutil.make_archive(str(folder), "zip", folder.parent, "wordnet")
        shutil.rmtree(folder)
    with only(None, tmp_path / "cache"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(nltk.data, "path", [str(tmp_path / "nltk")])
        assert _wordnet.synonyms("film") == ("movie",)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Where NLTK's data are served from, in the form that its downloader reads."""
    shelf = tmp_path / "served"
    write_wordnet(shelf / "wordnet")
    shutil.make_archive(str(shelf / "wordnet"), "zip", shelf, "wordnet")
    content = (shelf / "wordnet.zip").read_bytes()
    facts = {
        **{"id": "wordnet", "name": "WordNet", "subdir": "corpora", "unzip": 1, "size": len(content)},
        "unzipped_size": sum(file.stat().st_size for file in (shelf / "wordnet").iterdir()),
        "checksum": hashlib.md5(content).hexdigest(),
        "sha256_checksum": hashlib.sha256(content).hexdigest(),
    }
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(shelf))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        address = f"http://127.0.0.1:{running.server_address[1]}"
        listed = " ".join(f'{name}="{value}"' for name, value in {**facts, "url": f"{address}/wordnet.zip"}.items())
        (shelf / "index.xml").write_text(
            f"<nltk_data><packages><package {listed}/></packages><collections/></nltk_data>"
        )
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"{address}/index.xml"
        running.shutdown()


def serve(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """Let NLTK's downloader read its list of packages at `address`."""
    for name, value in {"_url": address, "_index": None, "_index_timestamp": None}.items():
        monkeypatch.setattr(nltk.downloader._downloader, name, value)


def test_a_fetched_wordnet_is_found(tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(monkeypatch, server)
    monkeypatch.setattr(nltk.downloader, "urlopen", urllib.request.urlopen)  # NLTK's own refuses this machine
    with only(None, tmp_path / "cache"):
        assert _wordnet.download() == tmp_path / "cache" / "nltk_data"
        assert _wordnet.synonyms("film") == ("movie",)


def test_what_cant_be_fetched_is_said_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(monkeypatch, "http://127.0.0.1:9/index.xml")
    with only(None, tmp_path / "cache"), pytest.raises(MachineError, match="WordNet can't be fetched: Error") as caught:
        _wordnet.download()
    assert "\n" not in caught.value.message


def test_the_real_one_knows_no_indiana_and_no_charles_james(real: None) -> None:
    assert _wordnet.synonyms("in") == _wordnet.synonyms("fox") == _wordnet.synonyms("was") == ()
    assert _wordnet.synonyms("films") == ("movies",)
    assert "rapidly" in _wordnet.synonyms("quickly")
    assert _wordnet.antonyms("good") == ("bad",)
    assert _wordnet.synonyms("riveting") == _wordnet.synonyms("compelling") == ()
