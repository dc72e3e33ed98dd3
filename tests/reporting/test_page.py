"""The report as a file: complete, escaped, closed to the network, and honest about what a run lacks."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import ftkit
from ftkit.errors import RunError
from ftkit.reporting import write_report
from tests.reporting.made import HOSTILE, made
from tests.runs import Lab

VOID = {"meta", "br", "wbr", "link", "input", "img"}


class Page(HTMLParser):
    """The tags of a page in order, its text, and whether they close as they should."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.wrong: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def page(*runs: Path) -> Page:
    path = write_report(runs, runs[0].parent / "page.html")
    found = Page(path.read_text(encoding="utf-8"))
    assert not found.wrong and not found.open
    return found


def test_a_page_shows_all_that_a_run_holds(tmp_path: Path) -> None:
    found = page(made(tmp_path / "run"))
    for said in (
        "0.750",
        "from 0.610 to 0.850",
        "Better than the best baseline, majority: accuracy differs by +0.450, from +0.300 to +0.600.",
        "Training loss",
        "Validation accuracy",
        "reliability",
        "temperature",
        "The largest confusions",
        "worse",
        "confidence 0.90",
        "a note about A text.",
        "row 3: A text.",
        "0.700 ± 0.050",
        "Several trainings: seeds, test",
        "task: classification",
        "libraries.",
        "SHA-256",
    ):
        assert said.casefold() in found.text.casefold(), said
    assert "This run has no" not in found.text


def test_a_page_asks_for_nothing_and_runs_only_its_own_script(tmp_path: Path) -> None:
    found = page(made(tmp_path / "run"))
    (policy,) = (m["content"] for m in found.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None and policy.startswith("default-src 'none'; ")
    assert not {tag for tag, _ in found.tags} & {"link", "img", "iframe", "object", "embed", "base", "form"}
    assert not [attributes for _, attributes in found.tags if "src" in attributes or "srcset" in attributes]
    assert all((a["href"] or "").startswith("#") for a in found.all("a"))
    assert not [name for _, attributes in found.tags for name in attributes if name.startswith("on")]
    assert len(found.all("script")) == 1
    ids = [attributes["id"] for _, attributes in found.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {(a["href"] or "")[1:] for a in found.all("a")} <= set(ids)


@pytest.mark.parametrize("count", [1, 2])
def test_headings_go_down_one_by_one_and_tables_and_charts_have_names(tmp_path: Path, count: int) -> None:
    found = page(*(made(tmp_path / f"run{i}") for i in range(count)))
    levels = [int(tag[1]) for tag, _ in found.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert all(attributes.get("scope") in ("row", "col") for attributes in found.all("th"))
    charts = [a for a in found.all("svg") if a.get("class") == "chart"]
    assert charts and len(found.all("desc")) == len(charts)
    images = [a for a in found.all("svg") if a.get("role") == "img"]
    assert len(found.all("title")) == len(images) + 1  # and the page's own


def test_texts_are_data_whatever_they_say(tmp_path: Path) -> None:
    hostile = made(
        tmp_path / "<img src=x onerror=alert(2)>",
        labels=[HOSTILE, "'\"><script>alert(3)</script>"],
        text=HOSTILE + "\x00\ud800" + "x" * 1_000_000,
        recipe=f"task: '{HOSTILE}'\n",
    )
    path = write_report([hostile], tmp_path / "page.html")
    text = path.read_text(encoding="utf-8")
    found = Page(text)
    assert not found.wrong and not found.open
    assert not found.all("img") and len(found.all("script")) == 1
    assert "\u202e" not in text and "[U+202E]" in text and "[U+D800]" in text
    assert "onerror=alert(1)" in found.text and "🙂 עברית" in found.text
    assert path.stat().st_size < 500_000


def test_many_labels_fit(tmp_path: Path) -> None:
    path = write_report([made(tmp_path / "run", labels=[f"an_intent_with_a_long_name_{i}" for i in range(77)])])
    assert path == tmp_path / "run" / "report.html"
    assert path.stat().st_size < 1_000_000


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        ("scores.json", "the training did not end"),
        ("log.jsonl", "not a single step"),
        ("analysis/test.json", "keeps no analysis"),
        ("data.json", "No data.json"),
        ("environment.json", "No environment.json"),
    ],
)
def test_what_a_run_lacks_is_said(tmp_path: Path, file: str, sentence: str) -> None:
    assert sentence in page(made(tmp_path / "run", **{file: None})).text


def test_a_run_that_has_only_its_recipe_has_a_page(tmp_path: Path) -> None:
    files = ("scores.json", "log.jsonl", "analysis/test.json", "data.json", "environment.json")
    found = page(made(tmp_path / "run", **dict.fromkeys(files)))
    assert "This run has no scores" in found.text


def test_several_runs_stand_side_by_side_with_the_settings_that_differ(tmp_path: Path) -> None:
    one = made(tmp_path / "a" / "run", recipe="task: classification\ntrain: {epochs: 3, seed: 1}\n")
    two = made(tmp_path / "b" / "run", recipe="task: classification\ntrain: {epochs: 5, seed: 1}\n")
    text = write_report([one, two], tmp_path / "both.html").read_text()
    found = Page(text)
    assert "<title>a/run, b/run</title>" in text
    assert "epochs" in found.text.partition("Settings that differ")[2].partition("Learning curves")[2]
    differ = re.search(r'id="settings".*?</section>', text, re.S)
    assert differ and re.findall(r"<bdi>(.*?)</bdi>", differ[0]) == ["3", "5"]
    assert text.count('class="line s1"') >= 4


def test_the_report_of_a_real_run(lab: Lab, tmp_path: Path) -> None:
    for kind in ("single", "ner", "qa2", "regression", "multi", "seq2seq"):
        run = lab.trained(kind, "lora" if kind == "multi" else "full").run
        path = ftkit.report(run, tmp_path / f"{kind}.html")
        found = Page(path.read_text(encoding="utf-8"))
        assert not found.wrong and not found.open
        assert "Mistakes on test" in found.text and "keeps no analysis" not in found.text
        assert path.stat().st_size < 500_000


def test_what_can_not_be_reported_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run to report"):
        write_report([])
    with pytest.raises(RunError, match="is not a run"):
        write_report([tmp_path])
    run = made(tmp_path / "run")
    with pytest.raises(RunError, match="is a folder"):
        write_report([run], tmp_path)
    with pytest.raises(RunError, match="can't be written"):
        write_report([run], run / "recipe.yaml" / "page.html")
    (run / "scores.json").write_text("{")
    with pytest.raises(RunError, match="can't be read"):
        write_report([run])


def test_a_torn_last_line_of_the_log_is_left_out(tmp_path: Path) -> None:
    run = made(tmp_path / "run")
    with (run / "log.jsonl").open("a") as file:
        file.write('{"step": 41, "lo')
    assert "Training loss" in page(run).text


def test_a_report_needs_no_heavy_library(tmp_path: Path) -> None:
    run = made(tmp_path / "run")
    heavy = ("torch", "transformers", "datasets", "pandas", "sklearn")
    call = f"import sys; from ftkit import api; api.report({str(run)!r})"
    script = f"{call}\nprint([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
