"""The report in a real browser: nothing asked for or complained of, nothing too wide, nothing on top of another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ftkit.reporting import write_report
from tests.reporting.browser import CONTRAST, TOO_WIDE, Browser, browser, find
from tests.reporting.made import HOSTILE, made

pytestmark = pytest.mark.skipif(find() is None, reason="there is no Chromium here")

WIDTHS = (1280, 390)
OVERLAPS = """
[...document.querySelectorAll("svg.chart")].flatMap(svg => {
  const boxes = [...svg.querySelectorAll("text")].map(t => [t.textContent, t.getBoundingClientRect()]);
  const frame = svg.getBoundingClientRect();
  const out = boxes.filter(([, b]) =>
    b.left < frame.left - 1 || b.right > frame.right + 1 || b.bottom > frame.bottom + 1);
  const over = boxes.filter(([, a], i) => boxes.some(([, b], j) => j > i &&
    a.left < b.right && b.left < a.right && a.top < b.bottom - 1 && b.top < a.bottom - 1));
  return [...out, ...over].map(([text]) => text);
})
"""


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    long = "word " * 300
    runs = {
        "one": [made(folder / "one", text=long)],
        "three": [made(folder / f"three{i}", recipe=f"task: {'x' * 80 * i}\n") for i in range(3)],
        "many": [made(folder / "many", labels=[f"an_intent_with_a_long_name_{i}" for i in range(77)])],
        "hostile": [made(folder / "hostile", labels=[HOSTILE, "a" * 5000], text=HOSTILE + "y" * 1_000_000)],
    }
    return {name: write_report(found, folder / f"{name}.html") for name, found in runs.items()}


@pytest.mark.parametrize("name", ["one", "three", "many", "hostile"])
@pytest.mark.parametrize("width", WIDTHS)
def test_a_page_is_quiet_and_fits(chromium: Browser, pages: dict[str, Path], name: str, width: int) -> None:
    chromium.open(pages[name], width)
    assert chromium.requests() == [pages[name].as_uri()]
    assert chromium.complaints() == []
    assert chromium.run("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert chromium.run(TOO_WIDE) == []
    assert chromium.run(OVERLAPS) == []
    assert chromium.run("document.querySelectorAll('svg.chart').length") >= 4


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("name", ["one", "many"])
def test_text_can_be_told_from_what_is_behind_it(
    chromium: Browser, pages: dict[str, Path], name: str, dark: bool
) -> None:
    chromium.open(pages[name], 1280, dark=dark)
    behind = "rgb(18, 21, 26)" if dark else "rgb(255, 255, 255)"
    assert chromium.run("getComputedStyle(document.body).backgroundColor") == behind
    assert chromium.run(CONTRAST) == []


def test_tables_are_sorted_by_what_is_pressed(chromium: Browser, pages: dict[str, Path]) -> None:
    chromium.open(pages["many"], 1280)
    cells = "[...document.querySelectorAll('table[data-filter] tbody tr')].map(r => r.cells[0].textContent)"
    before = chromium.run(cells)
    press = "document.querySelectorAll('table[data-filter] thead button')[0].click()"
    chromium.run(press)
    assert chromium.run(cells) == sorted(before) != before
    chromium.run(press)
    assert chromium.run(cells) == sorted(before, reverse=True)
    assert chromium.run("document.querySelector('table[data-filter] th').getAttribute('aria-sort')") == "descending"
    table = "document.querySelector('#scores').parentElement.querySelector('table')"
    chromium.run(f"{table}.querySelectorAll('thead button')[1].click()")
    numbers = chromium.run(f"[...{table}.tBodies[0].rows].map(r => Number(r.cells[1].dataset.value))")
    assert numbers == [0.75, 0.75, 12.5]


def test_lists_are_filtered_by_what_is_typed(chromium: Browser, pages: dict[str, Path]) -> None:
    chromium.open(pages["many"], 390)
    rows = "[...document.querySelectorAll('table[data-filter] tbody tr')].filter(r => r.offsetHeight).length"
    assert chromium.run(rows) == 77
    chromium.run("document.querySelector('label.filter input').value = 'NAME_7'")
    chromium.run("document.querySelector('label.filter input').dispatchEvent(new Event('input'))")
    assert chromium.run(rows) == 8


def test_without_scripts_everything_is_there_and_no_dead_button(chromium: Browser, pages: dict[str, Path]) -> None:
    chromium.open(pages["one"], 390, scripts=False)
    tree = chromium.ask("Accessibility.getFullAXTree")["nodes"]
    roles = [node["role"]["value"] for node in tree if not node["ignored"]]
    assert "button" not in roles and "searchbox" not in roles
    assert roles.count("rowheader") > 10 and roles.count("columnheader") > 10
    names = {node["name"]["value"] for node in tree if node["role"]["value"] == "heading"}
    assert {"Scores", "Learning curves", "Baselines", "Calibration", "Recipe", "Environment"} <= names


def test_a_page_has_a_picture(chromium: Browser, pages: dict[str, Path], tmp_path: Path) -> None:
    for width in WIDTHS:
        chromium.open(pages["three"], width)
        picture = chromium.picture(tmp_path / f"{width}.png")
        assert picture.read_bytes()[:4] == b"\x89PNG" and picture.stat().st_size > 50_000
