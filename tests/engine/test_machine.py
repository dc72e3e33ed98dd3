"""What this machine computes with. The tests run on machines without a GPU."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys

import pytest
import torch

from ftkit.engine import machine
from ftkit.errors import MachineError

pytestmark = pytest.mark.skipif(machine.has_accelerator(), reason="says what holds on a processor")


def test_auto_is_bf16_where_the_processor_has_it() -> None:
    flags = torch.backends.cpu.get_cpu_capability()
    assert machine.precision("auto") == ("bf16" if machine.has_bf16() else "fp32")
    assert not (machine.has_bf16() and flags == "DEFAULT")


def test_wanted_precisions_are_given_or_refused() -> None:
    assert machine.precision("fp32") == "fp32"
    assert machine.precision("bf16") == "bf16"
    with pytest.raises(MachineError, match="silently compute in fp32"):
        machine.precision("fp16")


def test_environment_can_be_kept_as_json() -> None:
    found = machine.environment()
    assert json.loads(json.dumps(found)) == found
    assert found["libraries"]["torch"].startswith(torch.__version__.split("+")[0])
    assert machine.processes() == 1


def test_threads_are_shared_and_never_none() -> None:
    assert machine.thread_share(1) == torch.get_num_threads()
    assert machine.thread_share(1000) == 1


PIECES = """
import resource
from pathlib import Path
from ftkit.engine import machine

def held():
    return resource.getpagesize() * int(Path("/proc/self/statm").read_text().split()[1])

def pieces():
    return [bytes(1000) for _ in range(100_000)][::100]

"""
GIVEN_BACK = {
    "before memory is kept": """
some = pieces()
before = held()
with machine.memory_kept():
    print(before - held())
""",
    "while it is, where that is asked for": """
with machine.memory_kept():
    some = pieces()
    before = held()
    machine.give_back()
    print(before - held())
""",
    "afterwards": """
with machine.memory_kept():
    some = pieces()
    before = held()
print(before - held())
""",
}


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told what to keep")
@pytest.mark.parametrize("when", GIVEN_BACK)
def test_what_is_left_in_pieces_goes_back(when: str) -> None:
    done = subprocess.run([sys.executable, "-c", PIECES + GIVEN_BACK[when]], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 50_000_000


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="the highest peak is kept")
def test_what_was_held_before_is_no_part_of_a_later_peak() -> None:
    machine.forget_peak()
    before = machine.peak_memory()
    held = bytearray(b"x" * 2**28)
    assert machine.peak_memory() > before + 2**27
    del held
    assert machine.peak_memory() > before + 2**27
    machine.forget_peak()
    assert machine.peak_memory() < before + 2**27
