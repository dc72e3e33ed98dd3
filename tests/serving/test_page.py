"""The page in a real browser: type, see the answer where it stands, paste many lines, take the CSV along."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from ftkit.serving.limits import Limits
from tests.reporting.browser import CONTRAST, TOO_WIDE, Browser, browser, find
from tests.runs import Lab, rows
from tests.serving.served import answered, finds_entities, listening, server_of

pytestmark = pytest.mark.skipif(find() is None, reason="there is no Chromium here")
HOSTILE = "<img src=x onerror=alert(1)> & \"quotes\", 'commas'"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module")
def single(lab: Lab) -> Iterator[httpx.Client]:
    with listening(server_of(lab.trained("single", "full").run)) as client:
        yield client


def opened(chromium: Browser, client: httpx.Client, width: int = 1280, dark: bool = False) -> Browser:
    chromium.open(f"{client.base_url}/", width, dark=dark)
    return chromium


def typed(chromium: Browser, field: str, text: str) -> None:
    """What a person types, or pastes, into a field."""
    chromium.run(f"document.getElementById('{field}').focus()")
    chromium.ask("Input.insertText", text=text)


def pressed(chromium: Browser, form: str) -> None:
    chromium.run(f"document.querySelector('#{form} button[type=submit]').click()")
    wait_for(chromium, f"!document.querySelector('#{form} button[type=submit]').disabled")


def wait_for(chromium: Browser, condition: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not chromium.run(condition):
        assert time.monotonic() < end, condition
        time.sleep(0.05)


def answer_of(chromium: Browser) -> str:
    found: str = chromium.run("document.getElementById('answer').innerText")
    return found


def marks(chromium: Browser, kind: str) -> list[str]:
    found: list[str] = chromium.run(
        f"[...document.querySelectorAll('#answer .text mark.{kind}')].map(m => m.textContent)"
    )
    return found


def table(chromium: Browser) -> list[list[str]]:
    """What the CSV holds that is downloaded."""
    chromium.run("URL.createObjectURL = blob => { window.taken = blob; return '#'; }; URL.revokeObjectURL = () => {};")
    chromium.run("document.getElementById('download').click()")
    text: str = chromium.run(
        "window.taken.arrayBuffer().then(b => new TextDecoder('utf-8', {ignoreBOM: true}).decode(b))"
    )
    assert text.startswith("\ufeff")
    return list(csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True))


# ---------------------------------------------------------------------- how it looks


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_it_is_quiet_fits_and_can_be_read(chromium: Browser, single: httpx.Client, width: int, dark: bool) -> None:
    opened(chromium, single, width, dark)
    typed(chromium, "in-1", "A rather long text about nothing much. " * 8 + "x" * 300)
    pressed(chromium, "one")
    typed(chromium, "lines", "One line.\nAnother, " + "y" * 300)
    pressed(chromium, "many")
    own = {f"{single.base_url}/{name}" for name in ("", "page.css", "page.js", "v1/explain", "v1/predict")}
    assert {url for url in chromium.requests() if not url.startswith("data:")} == own
    assert chromium.complaints() == []
    assert chromium.run("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert chromium.run(TOO_WIDE) == []
    assert chromium.run(CONTRAST) == []


def test_all_that_can_be_used_has_a_name_and_can_be_reached_by_keys(chromium: Browser, single: httpx.Client) -> None:
    opened(chromium, single)
    tree = chromium.ask("Accessibility.getFullAXTree")["nodes"]
    used = [node for node in tree if node.get("role", {}).get("value") in ("textbox", "button", "checkbox", "region")]
    assert len(used) >= 6 and all(node["name"]["value"] for node in used)
    chromium.run("document.getElementById('in-1').focus()")
    typed(chromium, "in-1", "A fair price.")
    for _ in range(2):  # past the switch
        for kind in ("keyDown", "keyUp"):
            chromium.ask("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
    assert chromium.run("document.activeElement.textContent") == "Answer"
    for kind in ("keyDown", "keyUp"):
        chromium.ask(
            "Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13, text="\r"
        )
    wait_for(chromium, "document.querySelector('#answer .said') !== null")
    assert chromium.run("document.getElementById('answer').getAttribute('aria-live')") == "polite"


def test_without_scripts_it_says_so(chromium: Browser, single: httpx.Client) -> None:
    chromium.open(f"{single.base_url}/", 1280, scripts=False)
    found = chromium.ask("DOM.getOuterHTML", nodeId=chromium.ask("DOM.getDocument")["root"]["nodeId"])["outerHTML"]
    assert "needs JavaScript" in found


# ---------------------------------------------------------------------- one text


def test_label_is_shown_with_its_confidence_and_words(chromium: Browser, single: httpx.Client) -> None:
    text = rows("single", "test")[0]["text"]
    told = single.post("/v1/explain", json={"input": {"text": text}}).json()
    opened(chromium, single)
    typed(chromium, "in-1", text)
    pressed(chromium, "one")
    assert answer_of(chromium).startswith(told["answer"]["label"])
    assert f"{100 * told['answer']['score']:.1f} %" in answer_of(chromium)
    assert chromium.run("document.querySelector('#answer meter').value") == pytest.approx(told["answer"]["score"])
    for kind, sign in (("plus", 1), ("minus", -1)):
        words = [text[w["start"] : w["end"]] for w in told["words"] if w["weight"] * sign > 0]
        assert marks(chromium, kind) == words
    assert told["instead_of"] in answer_of(chromium)
    shades = "[...document.querySelectorAll('#answer .text mark')].map(m => parseInt(m.style.getPropertyValue('--w')))"
    assert max(chromium.run(shades)) == 100


def test_words_are_left_alone_where_nobody_asks(chromium: Browser, single: httpx.Client) -> None:
    opened(chromium, single)
    chromium.run("document.getElementById('explain').click()")
    typed(chromium, "in-1", "A fair price.")
    pressed(chromium, "one")
    assert answer_of(chromium) and "mattered" not in answer_of(chromium)
    assert not any(url.endswith("explain") for url in chromium.requests())


@pytest.mark.parametrize("before", ["", "\U0001f600\U0001f600 "])
def test_entities_are_marked_in_the_text(chromium: Browser, lab: Lab, before: str) -> None:
    server = server_of(lab.trained("ner", "full").run)
    finds_entities(server)
    text = before + rows("ner", "test")[0]["text"]
    with listening(server) as client:
        entities = answered(client, [text])[0]["entities"]
        opened(chromium, client)
        typed(chromium, "in-1", text)
        pressed(chromium, "one")
        assert marks(chromium, "found") == [entity["text"] for entity in entities] != []
        assert all(entity["type"] in answer_of(chromium) for entity in entities)
        assert marks(chromium, "plus") or marks(chromium, "minus")
        assert chromium.complaints() == []


def test_answer_is_marked_in_its_passage(chromium: Browser, lab: Lab) -> None:
    row = rows("qa", "test")[0]
    with listening(server_of(lab.trained("qa", "full").run)) as client:
        answer = answered(client, [{name: row[name] for name in ("question", "context")}])[0]
        opened(chromium, client)
        typed(chromium, "in-1", row["question"])
        typed(chromium, "in-2", row["context"])
        pressed(chromium, "one")
        assert marks(chromium, "found") == [answer["answer"]]
        chromium.run("document.querySelectorAll('#answer .note').forEach(note => note.remove())")
        shown = chromium.run("document.querySelector('#answer .text').textContent")
        assert shown == row["context"]


@pytest.mark.parametrize("kind", ["multi", "regression", "seq2seq"])
def test_other_answers_are_shown_too(chromium: Browser, lab: Lab, kind: str) -> None:
    run = lab.trained(kind, "lora" if kind == "multi" else "full").run
    text = rows(kind, "test")[0]["document" if kind == "seq2seq" else "text"]
    with listening(server_of(run)) as client:
        opened(chromium, client)
        typed(chromium, "in-1", text)
        pressed(chromium, "one")
        assert chromium.run("document.querySelectorAll('#answer .said').length") >= 1
        assert chromium.complaints() == []


def test_what_is_typed_is_never_markup(chromium: Browser, single: httpx.Client) -> None:
    opened(chromium, single)
    typed(chromium, "in-1", HOSTILE)
    pressed(chromium, "one")
    typed(chromium, "lines", HOSTILE)
    pressed(chromium, "many")
    assert chromium.run("document.querySelectorAll('img').length") == 0
    assert HOSTILE in chromium.run("document.getElementById('results').innerText")
    assert chromium.run("document.querySelector('#answer .text').textContent") == HOSTILE


def test_refusals_are_told(chromium: Browser, single: httpx.Client) -> None:
    opened(chromium, single)
    typed(chromium, "in-1", "z" * 20_001)
    pressed(chromium, "one")
    assert "at most 20000 characters" in answer_of(chromium)


def test_key_is_asked_for(chromium: Browser, lab: Lab) -> None:
    with listening(server_of(lab.trained("single", "full").run, key="s3cret"), key="s3cret") as client:
        opened(chromium, client)
        typed(chromium, "in-1", "A fair price.")
        pressed(chromium, "one")
        assert "asks for its key" in answer_of(chromium)
        typed(chromium, "key", "s3cret")
        pressed(chromium, "one")
        assert "%" in answer_of(chromium)


# ---------------------------------------------------------------------- many lines


def test_many_lines_are_answered_and_downloaded(chromium: Browser, single: httpx.Client) -> None:
    texts = [row["text"] for row in rows("single", "test", 220)]
    texts[7], texts[9] = HOSTILE, "\U0001f600 grüße"
    opened(chromium, single)
    typed(chromium, "lines", "\n".join(texts[:5]) + "\n\n  \n" + "\n".join(texts[5:]))
    pressed(chromium, "many")
    assert chromium.run("document.getElementById('progress').textContent") == "All 220 answered."
    assert chromium.run("document.querySelectorAll('#results tbody tr').length") == 200
    head, *lines = table(chromium)
    assert head == ["text", "label", "score"] and [line[0] for line in lines] == texts
    for line, answer in zip(lines, answered(single, texts), strict=True):
        assert line[1] == answer["label"] and float(line[2]) == pytest.approx(answer["score"], abs=1e-6)


def test_line_that_cannot_be_read_costs_no_other(chromium: Browser, single: httpx.Client) -> None:
    opened(chromium, single)
    typed(chromium, "lines", f"One.\n{'z' * 20_001}\nThree.")
    pressed(chromium, "many")
    assert "but 1 that can't be read" in chromium.run("document.getElementById('progress').textContent")
    head, *lines = table(chromium)
    assert [bool(line[head.index("error")]) for line in lines] == [False, True, False]
    assert [bool(line[head.index("label")]) for line in lines] == [True, False, True]


def test_rows_of_several_columns_are_pasted_with_tabs(chromium: Browser, lab: Lab) -> None:
    given = [{name: row[name] for name in ("question", "context")} for row in rows("qa", "test", 3)]
    with listening(server_of(lab.trained("qa", "full").run)) as client:
        opened(chromium, client)
        typed(chromium, "lines", "\n".join("\t".join(row.values()) for row in given))
        pressed(chromium, "many")
        head, *lines = table(chromium)
        expected = answered(client, given)
    assert head[:3] == ["question", "context", "answer"]
    assert [line[2] for line in lines] == [answer["answer"] for answer in expected]


def test_full_queue_is_waited_for(chromium: Browser, lab: Lab) -> None:
    server = server_of(lab.trained("single", "full").run, Limits(queue=64, rows=64))
    full: list[Any] = [True]
    with listening(server) as client:
        submit = server.batcher.submit

        def sometimes(job: Any) -> Any:
            if full:
                full.pop()
                server.batcher.limits = Limits(queue=1, rows=1)
            try:
                return submit(job)
            finally:
                server.batcher.limits = server.limits

        server.batcher.submit = sometimes  # type: ignore[method-assign]
        opened(chromium, client)
        typed(chromium, "lines", "One.\nTwo.\nThree.")
        pressed(chromium, "many")
        assert chromium.run("document.getElementById('progress').textContent") == "All 3 answered."
        assert 'status="429"} 1.0' in client.get("/metrics").text


def test_entities_are_a_cell_of_json(chromium: Browser, lab: Lab) -> None:
    server = server_of(lab.trained("ner", "full").run)
    finds_entities(server)
    text = rows("ner", "test")[0]["text"]
    with listening(server) as client:
        opened(chromium, client)
        typed(chromium, "lines", text)
        pressed(chromium, "many")
        head, line = table(chromium)
        expected = answered(client, [text])[0]["entities"]
    assert [entity["text"] for entity in json.loads(line[head.index("entities")])] == [e["text"] for e in expected]
