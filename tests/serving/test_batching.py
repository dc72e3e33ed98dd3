"""The queue before a model: every row answered once, in order, none waited for in vain, and faults kept apart."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftkit.errors import DataError
from ftkit.serving.batching import Batcher, Closed, Full, Job, length
from ftkit.serving.limits import Limits

Row = dict[str, Any]


def rows(*texts: str) -> list[Row]:
    return [{"text": text} for text in texts]


class Model:
    """Answers with the text in capitals, when it is let; remembers its batches."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.let = threading.Event()
        self.begun = threading.Event()

    def __call__(self, rows: Sequence[Row]) -> list[str]:
        texts = [row["text"] for row in rows]
        self.batches.append(texts)
        self.begun.set()
        assert self.let.wait(30)
        if "bad" in texts:
            raise DataError("it can't be read")
        if "bug" in texts:
            raise ZeroDivisionError
        return [text.upper() for text in texts]


@contextmanager
def running(model: Model, **limits: Any) -> Iterator[Batcher]:
    batcher = Batcher(model, Limits(**limits))
    try:
        yield batcher
    finally:
        model.let.set()
        batcher.close()
        batcher._thread.join(30)
        assert not batcher.alive and batcher.waiting == 0


@contextmanager
def busy(model: Model, **limits: Any) -> Iterator[Batcher]:
    """A batcher whose model is held up in a first batch, so that what comes now waits."""
    with running(model, **limits) as batcher:
        batcher.submit(Job(rows("first")))
        assert model.begun.wait(30)
        yield batcher


WORDS = st.text(max_size=5).filter(lambda word: word not in ("bad", "bug"))  # `Model` fails at these


@given(
    jobs=st.lists(st.lists(WORDS, min_size=1, max_size=12), min_size=1, max_size=12),
    batch=st.integers(1, 9),
    characters=st.integers(1, 30),
)
def test_each_row_is_answered_once_and_in_order(jobs: list[list[str]], batch: int, characters: int) -> None:
    model = Model()
    with busy(model, batch=batch, characters=characters) as batcher:
        futures = [batcher.submit(Job(rows(*texts))) for texts in jobs]
        assert batcher.waiting == sum(map(len, jobs))
        model.let.set()
        assert [future.result(30) for future in futures] == [[text.upper() for text in texts] for texts in jobs]
    assert all(len(texts) <= batch for texts in model.batches)
    assert all(len(texts) == 1 or sum(map(len, texts)) <= characters for texts in model.batches)


def test_what_waits_is_answered_together() -> None:
    model = Model()
    with busy(model) as batcher:
        futures = [batcher.submit(Job(rows(text))) for text in "abc"]
        model.let.set()
        wait(futures)
    assert model.batches == [["first"], ["a", "b", "c"]]


def test_long_requests_take_turns_with_others() -> None:
    model = Model()
    with busy(model, batch=4) as batcher:
        long = batcher.submit(Job(rows(*"abcdefghij")))
        short = batcher.submit(Job(rows("x")))
        model.let.set()
        wait([long, short])
    assert model.batches[1:3] == [list("abcd"), ["x", *"efg"]]


def test_queue_is_bounded_by_rows() -> None:
    model = Model()
    with busy(model, queue=3) as batcher:
        batcher.submit(Job(rows("a", "b")))
        with pytest.raises(Full):
            batcher.submit(Job(rows("c", "d")))
        batcher.submit(Job(rows("c")))
        assert batcher.waiting == 3


def test_fault_of_one_request_is_no_others() -> None:
    model = Model()
    with busy(model) as batcher:
        good, bad, last = (batcher.submit(Job(rows(*texts))) for texts in (["a"], ["bad", "b"], ["c"]))
        model.let.set()
        assert good.result(30) == ["A"] and last.result(30) == ["C"]
        with pytest.raises(DataError, match="can't be read"):
            bad.result(30)


def test_bug_ends_its_batch_and_not_the_thread() -> None:
    model = Model()
    model.let.set()
    with running(model, batch=2) as batcher:
        with pytest.raises(ZeroDivisionError):
            batcher.submit(Job(rows("bug", "a", "b", "c", "d"))).result(30)
        assert batcher.submit(Job(rows("a"))).result(30) == ["A"]


def test_what_was_given_up_is_left_out() -> None:
    model = Model()
    with busy(model) as batcher:
        futures: list[Future[Any]] = [batcher.submit(Job(rows(text))) for text in "abc"]
        assert futures[1].cancel()
        model.let.set()
        assert [futures[0].result(30), futures[2].result(30)] == [["A"], ["C"]]
    assert model.batches[1:] == [["a", "c"]]


def test_other_work_has_the_thread_alone() -> None:
    model = Model()
    with busy(model, queue=10) as batcher:
        seen: list[str] = []
        futures = [batcher.submit(Job(rows("a")))]
        futures.append(batcher.submit(Job([], lambda: seen.append(threading.current_thread().name), weight=8)))
        with pytest.raises(Full):
            batcher.submit(Job([], lambda: None, weight=2))
        futures.append(batcher.submit(Job(rows("b"))))
        model.let.set()
        wait(futures)
        assert seen == ["model"]
        with pytest.raises(ZeroDivisionError):
            batcher.submit(Job([], lambda: 1 / 0, weight=1)).result(30)
    assert model.batches[1:] == [["a"], ["b"]]


def test_what_was_taken_is_answered_before_the_end() -> None:
    model = Model()
    with busy(model, batch=1) as batcher:
        futures = [batcher.submit(Job(rows(text, text))) for text in "abc"]
        batcher.close()
        with pytest.raises(Closed):
            batcher.submit(Job(rows("d")))
        assert batcher.alive
        model.let.set()
        assert [future.result(30) for future in futures] == [[text, text] for text in "ABC"]


def test_length_counts_words_and_texts() -> None:
    assert length({"text": "abc", "text_pair": "de"}) == 5
    assert length({"tokens": ["ab", "c"]}) == 5
