from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import pytest

from ftkit.data.hub import HubRows, is_hub_id, split_called
from ftkit.data.load import load
from ftkit.data.read import Table
from ftkit.errors import DataError
from ftkit.hub import connection_errors
from ftkit.settings import DataSpec
from ftkit.tasks._base import Column
from tests.faults.harness import flip
from tests.hub_server import COMMIT, client_environment, hub

CODE = """
import json, sys, time
from ftkit.data.load import load
from ftkit.errors import DataError
from ftkit.settings import DataSpec
from ftkit.tasks._base import Column
shapes = [[Column("text", "text"), Column("label", "label")], [Column("tokens", "tokens"), Column("tags", "tags")]]
said = {}
for source in sys.argv[1:]:
    begun = time.monotonic()
    try:
        splits = load(DataSpec(train=source, validation=None), shapes)
        said[source] = {name: split.to_list() for name, split in splits.items()} | {"notes": " ".join(splits.notes)}
    except DataError as error:
        said[source] = {"refused": str(error)}
    assert time.monotonic() - begun < 10
print(json.dumps(said))
"""
NOWHERE = "http://127.0.0.1:1"
PINNED = f"hf://acme/names@{COMMIT}"
SOURCES = ("acme/reviews", PINNED, "acme/plain:default", "acme/none", "acme/reviews:nope", "acme/reviews@v9")
Said = dict[str, dict[str, Any]]


def load_elsewhere(address: str, home: Path, *sources: str, **environment: str) -> Said:
    """What loading each source gives, in a process that has `address` for a Hub and `home` for its cache."""
    env = {**os.environ, **client_environment(address, home), **environment}
    command = [sys.executable, "-c", CODE, *sources]
    done = subprocess.run(command, env=env, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("hub")
    names = datasets.ClassLabel(names=["bad", "good"])
    for split, labels in (("train", [0, 1]), ("test", [-1, -1]), ("extra", [0, 0])):
        features = datasets.Features(text=datasets.Value("string"), label=names)
        save(
            root / f"datasets/acme/reviews/data/{split}-00000-of-00001.parquet", features, text=["x", "y"], label=labels
        )
    tags = datasets.List(datasets.ClassLabel(names=["O", "B-PER"]))
    features = datasets.Features(tokens=datasets.List(datasets.Value("string")), ner_tags=tags)
    save(root / "datasets/acme/names/train.parquet", features, tokens=[["Ada", "ran"]], ner_tags=[[1, 0]])
    (root / "datasets/acme/plain").mkdir()
    (root / "datasets/acme/plain/train.csv").write_text("text,label\nNA,null\nb,good\n")
    return root


def save(path: Path, features: datasets.Features, **columns: list[object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    datasets.Dataset.from_dict(columns, features=features).to_parquet(str(path))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def online(root: Path, home: Path) -> Said:
    with hub(root) as address:
        return load_elsewhere(address, home, *SOURCES)


@pytest.fixture(scope="module")
def unreachable(online: Said, home: Path) -> Said:
    """The same with the Hub gone, after `online` has filled the cache."""
    return load_elsewhere(NOWHERE, home, "acme/reviews", "acme/plain", PINNED, "acme/none")


def test_splits_and_label_names(online: Said) -> None:
    said = online["acme/reviews"]
    assert said["train"] == [{"text": "x", "label": "bad", "row": 1}, {"text": "y", "label": "good", "row": 2}]
    assert "test" not in said
    assert "test rows have no answers" in said["notes"]
    assert "splits extra are not used" in said["notes"]


def test_tags_by_name_at_a_revision(online: Said) -> None:
    assert online[PINNED]["train"] == [{"tokens": ["Ada", "ran"], "tags": ["B-PER", "O"], "row": 1}]


PLAIN = [{"text": "NA", "label": "null", "row": 1}, {"text": "b", "label": "good", "row": 2}]


def test_csv_keeps_its_texts(online: Said) -> None:
    assert online["acme/plain:default"]["train"] == PLAIN


def test_what_the_hub_lacks(online: Said) -> None:
    assert "acme/none can't be loaded from the Hub: Dataset 'acme/none' doesn't" in online["acme/none"]["refused"]
    assert "'nope' not found. Available: ['default']" in online["acme/reviews:nope"]["refused"]
    assert "Revision 'v9' doesn't exist" in online["acme/reviews@v9"]["refused"]


def test_the_cache_stands_in_for_a_hub_out_of_reach(online: Said, unreachable: Said) -> None:
    assert unreachable["acme/reviews"]["train"] == online["acme/reviews"]["train"]
    assert "the copy in the cache is used" in unreachable["acme/reviews"]["notes"]
    assert unreachable["acme/plain"]["train"] == PLAIN


def test_what_the_cache_lacks(unreachable: Said) -> None:
    assert "the Hub is out of reach with no copy in the cache" in unreachable["acme/none"]["refused"]
    assert "only it knows revision" in unreachable[PINNED]["refused"]


def test_offline_mode_asks_no_one(online: Said, root: Path, home: Path) -> None:
    with hub(root) as address:
        said = load_elsewhere(address, home, "acme/reviews", HF_HUB_OFFLINE="1")
    assert said["acme/reviews"]["train"] == online["acme/reviews"]["train"]
    assert "the copy in the cache is used" in said["acme/reviews"]["notes"]


def test_a_hub_that_does_not_answer_is_found_out_in_seconds(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        said = load_elsewhere(f"http://127.0.0.1:{silent.getsockname()[1]}", tmp_path, "acme/reviews")
    assert "the Hub is out of reach" in said["acme/reviews"]["refused"]


def test_what_names_a_data_set_on_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data" / "reviews").mkdir(parents=True)
    names = [
        "acme/reviews",
        "acme/reviews:en",
        "hf://acme/reviews@v1",
        "a/b/c",
        "./reviews",
        "../reviews",
        "reviews",
        "data/reviews",
        "data/a.csv.gz",
    ]
    assert [is_hub_id(name) for name in names] == [True, True, True, False, False, False, False, False, False]


def test_a_damaged_copy_in_the_cache_is_fetched_again_or_refused(root: Path, tmp_path: Path) -> None:
    with hub(root) as address:
        whole = load_elsewhere(address, tmp_path, "acme/reviews")
    (first, *_) = sorted((tmp_path / "datasets").rglob("*train.arrow"))
    places = [first.read_bytes().index(b"x" + b"y"), first.stat().st_size // 2]
    for place in places:
        flip(first, place)
        (said,) = load_elsewhere(NOWHERE, tmp_path, "acme/reviews").values()
        assert "the copy in the cache is damaged" in said["refused"] and first.name in said["refused"]
        with hub(root) as address:
            assert load_elsewhere(address, tmp_path, "acme/reviews") == whole
        (said,) = load_elsewhere(NOWHERE, tmp_path, "acme/reviews").values()
        assert said["train"] == whole["acme/reviews"]["train"]


def test_splits_are_known_however_they_are_written() -> None:
    assert split_called("train", ["Train", "Test"], "acme/names") == "Train"
    assert split_called("test", ["Train", "TESTING"], "acme/names") == "TESTING"
    with pytest.raises(DataError, match="no split called validation"):
        split_called("validation", ["Train", "Test"], "acme/names")


def test_each_split_is_taken_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"text": "A lantern", "label": "a"}]
    tables = {name: Table(name, ("text", "label"), rows, [1]) for name in ("Train", "Dev", "validation", "extra")}
    monkeypatch.setattr(sys.modules["ftkit.data.load"], "read_hub", lambda source: tables)
    splits = load(DataSpec(train="hf://acme/names"), [[Column("text", "text"), Column("label", "label")]])
    assert [name for name, _ in splits.items()] == ["train", "validation"]
    assert "hf://acme/names: its splits validation, extra are not used" in splits.notes


@pytest.mark.parametrize("kind", connection_errors())
def test_a_stream_whose_connection_is_lost_is_told(kind: type[Exception]) -> None:
    class Lost:
        features = datasets.Features({"text": datasets.Value("string")})

        def with_format(self, name: str) -> Lost:
            return self

        def iter(self, size: int) -> Iterator[Any]:
            raise kind("the cable was cut")
            yield

    with pytest.raises(DataError, match=r"acme/names can't be read on: the cable was cut"):
        list(HubRows("acme/names", COMMIT, Lost()).tables())


@pytest.mark.parametrize("kind", [RuntimeError, ValueError])
def test_a_stream_that_the_hub_library_gives_up_is_told(kind: type[Exception]) -> None:
    import datasets

    from tests.data.test_hub import COMMIT

    class Lost:
        features = datasets.Features({"text": datasets.Value("string")})

        def with_format(self, name):
            return self

        def iter(self, size):
            raise kind("the client is closed")
            yield

    with pytest.raises(DataError, match="can't be read on: the client is closed"):
        list(HubRows("acme/names", COMMIT, Lost()).tables())
