"""`ftkit eval`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ftkit.cli._options import AllowCode, AsJson, DataSettings, DeviceMap, MaxMemory, Precision, Source


def evaluate(
    source: Source,
    split: Annotated[str, typer.Option(help="The run's split to score.")] = "test",
    data: Annotated[Path | None, typer.Option(help="A file to score instead.")] = None,
    settings: DataSettings = None,
    precision: Precision = None,
    device_map: DeviceMap = None,
    max_memory: MaxMemory = None,
    allow_code: AllowCode = False,
    as_json: AsJson = False,
) -> None:
    """Score a trained model on held-out rows, as training did.

    Example: ftkit eval runs/reviews --data more-reviews.csv
    """
    import json

    from ftkit import api, terminal
    from ftkit.cli import _scores

    found = api.evaluate(
        source,
        split,
        data,
        settings or (),
        precision=precision,
        device_map=device_map,
        max_memory=max_memory,
        say=terminal.say,
        progress=terminal.Progress(),
    )
    name = data.name if data else split
    if as_json:
        result = {"run": source, "level": found.level, "scores": {name: found.scores}}
        print(json.dumps({**result, "per_class": {name: found.breakdown}}, ensure_ascii=False))
        return
    print(_scores.scores_table({name: found.scores}))
    if note := _scores.intervals_note({name: found.scores}, found.level):
        print(note)
    if found.breakdown:
        print("\n" + _scores.breakdown_table(found.breakdown))
