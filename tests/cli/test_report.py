"""`ftkit report`."""

from __future__ import annotations

from pathlib import Path

from tests.command import ftkit
from tests.reporting.made import made


def test_the_path_of_the_page_is_printed(tmp_path: Path) -> None:
    run = made(tmp_path / "run")
    done = ftkit("report", run)
    assert (done.code, done.out, done.err) == (0, f"{run / 'report.html'}\n", "")
    done = ftkit("report", run, made(tmp_path / "other"), "--to", tmp_path / "new" / "both.html")
    assert done.code == 0
    assert "<title>run, other</title>" in (tmp_path / "new" / "both.html").read_text()


def test_a_run_is_not_ruined_by_its_report(tmp_path: Path) -> None:
    run = made(tmp_path / "run")
    before = (run / "recipe.yaml").read_bytes()
    done = ftkit("report", run, "--to", run / "recipe.yaml")
    assert (done.code, done.out) == (3, "")
    assert f"{run / 'recipe.yaml'} is inside the run {run}" in done.err
    assert (run / "recipe.yaml").read_bytes() == before


def test_all_that_is_no_run_is_named_at_once(tmp_path: Path) -> None:
    done = ftkit("report", tmp_path / "one", tmp_path / "two")
    assert done.code == 3
    assert f"{tmp_path / 'one'} is not there" in done.err
    assert f"{tmp_path / 'two'} is not there" in done.err
