"""`ftkit doctor`: what this machine has, as a table and as one JSON object."""

from __future__ import annotations

import json
import platform
from importlib.metadata import version

import pytest

from ftkit.engine import doctor
from tests.command import ftkit
from tests.runs import Lab


def test_table_and_json_tell_the_same(lab: Lab) -> None:
    told = json.loads(ftkit("doctor", "--json").out)["findings"]
    table = ftkit("doctor")
    assert table.code == 0
    for finding in told:
        assert finding.keys() == {"name", "verdict", "detail"} and finding["verdict"] in (
            "ok",
            "fails",
            "not here",
            "unmeasured",
        )
        assert finding["name"] == "cache" or " ".join(finding["detail"].split()) in " ".join(table.out.split())
    found = {finding["name"]: finding for finding in told}
    assert found["torch"]["detail"] == version("torch") and platform.python_version() in found["python"]["detail"]


def test_fault_makes_the_exit_code_3(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor that can't be asked is a fault of the machine; the rest is told all the same."""
    monkeypatch.setattr(doctor, "_processor", lambda: doctor.Finding("processor", "fails", "has no arithmetic"))
    done = ftkit("doctor")
    assert done.code == 3 and "has no arithmetic" in done.out and "torch" in done.out
