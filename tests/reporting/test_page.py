"""The report as a file: complete, escaped, closed to the network, and honest about what a run lacks."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import ftkit
from ftkit.errors import FTKitError, RunError
from ftkit.reporting import write_report
from ftkit.reporting.page import _spread
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
        ("scores.json", "No probabilities were calibrated in this run: its task has none, it was not asked for, or "),
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
    with pytest.raises(RunError, match="can't be written: File name too long"):
        write_report([run], tmp_path / ("x" * 300 + ".html"))
    with pytest.raises(RunError, match="no home folder"):
        write_report([run], "~nobody-of-that-name/page.html")
    with pytest.raises(RunError, match=r"x can't be read: .*too long"):
        write_report(["x" * 300])


@pytest.mark.parametrize("name", ["run/recipe.yaml", "run/new.json", "run/own.html", "notes.md", "link.html"])
def test_nothing_but_a_report_is_replaced(tmp_path: Path, name: str) -> None:
    run = made(tmp_path / "run")
    (run / "own.html").write_text("<!doctype html><title>Mine</title>")
    (tmp_path / "notes.md").write_text("# Mine")
    (tmp_path / "link.html").symlink_to(run / "recipe.yaml")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(RunError, match=r"is no report of ftkit|is inside the run"):
        write_report([run], tmp_path / name)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_report_and_an_empty_file_are_replaced(tmp_path: Path) -> None:
    run, other = made(tmp_path / "run"), made(tmp_path / "other")
    assert write_report([run]) == write_report([run])
    path = tmp_path / "page.txt"
    path.touch()
    write_report([run], path)
    write_report([other], path)
    assert "<title>other</title>" in path.read_text()


def test_a_home_folder_is_meant_by_its_sign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert write_report([made(tmp_path / "run")], "~/page.html") == tmp_path / "page.html"
    assert not (tmp_path / "~").exists()


DEEP = "[" * 20_000 + "]" * 20_000


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("scores.json", "{"),
        ("scores.json", "[]"),
        ("scores.json", DEEP),
        ("scores.json", {"scores": ["accuracy"]}),
        ("scores.json", {"scores": {"test": {"accuracy": 0.5}}}),
        ("scores.json", {"metric": "f1", "scores": {"test": {"f1": {"n": 3}}}}),
        ("scores.json", {"metric": "f1", "scores": {"test\ud800": {"f1": {"value": 0.5}}}}),
        ("scores.json", {"level": []}),
        ("scores.json", {"gains": {"test": {}}, "baselines": {"test": []}, "scores": {"test": {}}}),
        ("scores.json", {"calibration": {"test": {"reliability_after": [{"n": 1}]}}}),
        ("environment.json", DEEP),
        ("data.json", {"labels": ["a"]}),
        ("data.json", {"warnings": ["a"]}),
        ("log.jsonl", '{"kind": "train", "loss": 1.0}\n'),
        ("log.jsonl", "[1, 2]\n"),
        ("log.jsonl", f"{DEEP}\n"),
        ("log.jsonl", "no json\n{}\n"),
        ("analysis/test.json", {"errors": {}}),
        ("analysis/test.json", {"confusion": {"true": ["a"], "said": ["a"], "counts": [[1, 2]]}}),
        ("analysis/test.json", {"slices": [{"whole": 0.5}]}),
        ("recipe.yaml", "a: &a\n  b: *a\n"),
        ("recipe.yaml", f"a: {DEEP}\n"),
        ("recipe.yaml", b"\xff\xfe"),
    ],
)
def test_a_file_of_the_wrong_shape_is_named(tmp_path: Path, file: str, content: Any) -> None:
    run = made(tmp_path / "run")
    text = content if isinstance(content, (str, bytes)) else json.dumps(content)
    (run / file).write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(FTKitError) as caught:
        write_report([run], tmp_path / "page.html")
    assert str(run / file) in caught.value.message and caught.value.exit_code == 3
    assert not (tmp_path / "page.html").exists()


def test_of_several_runs_those_that_can_not_be_shown_are_named(tmp_path: Path) -> None:
    good = made(tmp_path / "good")
    bad = [made(tmp_path / name, **{"data.json": {"labels": ["a"]}}) for name in ("one", "two")]
    with pytest.raises(RunError) as caught:
        write_report([bad[0], good, bad[1]], tmp_path / "page.html")
    assert all(str(run / "data.json") in caught.value.message for run in bad)
    assert str(good) not in caught.value.message


def test_blank_lines_of_a_log_are_skipped(tmp_path: Path) -> None:
    run = made(tmp_path / "run")
    log = run / "log.jsonl"
    log.write_text("\n" + log.read_text().replace("\n", "\n \n") + "\n\n")
    assert "Training loss" in page(run).text


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


def cells(text: str, caption: str) -> list[list[str]]:
    """The texts of the cells of the table that has a caption, row by row."""
    (table,) = (t for t in re.findall(r"<table.*?</table>", text, re.S) if caption in t)
    rows = re.findall(r"<tr.*?</tr>", table.partition("<tbody>")[2], re.S)
    return [[re.sub("<.*?>", "", cell).strip() for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.S)] for row in rows]


def test_confusions_are_shares_of_the_true_labels_rows_and_the_largest_come_first(tmp_path: Path) -> None:
    names = ["arts", "sport", "trade"]
    table = {"true": names, "said": names, "counts": [[6, 1, 3], [0, 5, 0], [4, 0, 4]]}
    run = made(tmp_path / "run", **{"analysis/test.json": {"rows": 23, "metric": "accuracy", "confusion": table}})
    text = write_report([run]).read_text(encoding="utf-8")
    assert re.findall(r'class="(right|wrong)" style="--h:(\d+)%">(\d+)<', text) == [
        ("right", "60", "6"),
        ("wrong", "10", "1"),
        ("wrong", "30", "3"),
        ("right", "100", "5"),
        ("wrong", "50", "4"),
        ("right", "50", "4"),
    ]
    assert cells(text, "The largest confusions") == [
        ["trade", "arts", "4 of 8", "50 %"],
        ["arts", "trade", "3 of 10", "30 %"],
        ["arts", "sport", "1 of 10", "10 %"],
    ]


def test_rows_of_labels_stand_under_their_split(tmp_path: Path) -> None:
    data = {"rows": {"train": 7, "test": 3}, "labels": {"train": {"arts": 5, "sport": 2}, "test": {"sport": 3}}}
    text = write_report([made(tmp_path / "run", **{"data.json": data})]).read_text(encoding="utf-8")
    assert cells(text, "Rows of each label") == [["arts", "5", "0"], ["sport", "2", "3"]]


def test_reliability_before_is_named_before(tmp_path: Path) -> None:
    run = made(tmp_path / "run")
    scores = json.loads((run / "scores.json").read_text())
    told = scores["calibration"]["test"]
    told["reliability_before"] = [{"low": 0.8, "high": 0.9, "n": 5, "confidence": 0.85, "accuracy": 0.1}]
    told["reliability_after"] = [{"low": 0.2, "high": 0.3, "n": 5, "confidence": 0.25, "accuracy": 0.2}]
    (run / "scores.json").write_text(json.dumps(scores))
    text = write_report([run]).read_text(encoding="utf-8")
    (block,) = re.findall(r"<h3>On test</h3>\s*<ul class=\"legend\">.*?</figure>", text, re.S)
    assert re.findall(r"<bdi>(.*?)</bdi>", block) == ["before", "after"]
    across = [float(re.findall(rf'cx="([\d.]+)"[^>]*class="dot s{i}"', block)[0]) for i in (0, 1)]
    assert across[0] > across[1], "the surer line is the one from before"


def test_each_run_keeps_its_line_in_all_charts(tmp_path: Path) -> None:
    one, two = (made(tmp_path / name) for name in ("one", "two"))
    log = [{"step": i, "kind": "train", "loss": 5.0} for i in (1, 2)]
    (two / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log))
    text = write_report([one, two], tmp_path / "both.html").read_text(encoding="utf-8")
    (legend,) = re.findall(r'<h2 id="curves">.*?</ul>', text, re.S)
    assert re.findall(r'class="line s(\d)".*?<bdi>(.*?)</bdi>', legend, re.S) == [("0", "one"), ("1", "two")]
    (rate,) = re.findall(r"<figcaption>Learning rate</figcaption>.*?</figure>", text, re.S)
    assert re.findall(r'class="line s(\d)"', rate) == ["0"], "the second has none"


def test_the_level_is_told_where_the_runs_agree_on_it(tmp_path: Path) -> None:
    one, two = (made(tmp_path / name) for name in ("one", "two"))
    assert "in 95% of such test sets" in page(one, two).text
    scores = json.loads((two / "scores.json").read_text())
    (two / "scores.json").write_text(json.dumps({**scores, "level": 0.9}))
    assert "of such test sets" not in page(one, two).text


def test_a_draw_with_the_baselines_is_no_win(tmp_path: Path) -> None:
    run = made(tmp_path / "run")
    scores = json.loads((run / "scores.json").read_text())
    scores["gains"]["test"] |= {"verdict": "not distinguishable", "value": 0.01, "low": -0.02, "high": 0.04}
    (run / "scores.json").write_text(json.dumps(scores))
    said = "Not distinguishable from the best baseline, majority: accuracy differs by +0.010, from -0.020 to +0.040."
    assert said in page(run).text


def test_errors_of_several_trainings_are_not_drawn_between_0_and_1() -> None:
    each = {"value": 0.5, "sd": 0.1, "n": 9, "each": [0.4, 0.6]}
    run: Any = SimpleNamespace(scores={"seeds": {"test": {"f1": each, "mse": each}}}, splits=dict)
    (table,) = _spread(run)
    assert {row["name"]: row["drawn"] for row in table["rows"]} == {"f1": True, "mse": False}
