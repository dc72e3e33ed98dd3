"""`ftkit eval`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Source = Annotated[str, typer.Argument(help="A run, an export, or a fine-tuned checkpoint (a folder or a Hub id).")]
DataSettings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="data.NAME=VALUE", help="How to read the file, as in a recipe."),
]


def _allow_code(wanted: bool) -> None:
    if wanted:
        from ftkit import trust

        trust.allow()


AllowCode = Annotated[
    bool, typer.Option("--allow-code", callback=_allow_code, help="Let the folder run code of its own that it names.")
]


Precision = Annotated[
    str | None, typer.Option(help="fp32, bf16 (faster, other in the third digit) or auto.", show_default="the recipe's")
]

DeviceMap = Annotated[
    str | None,
    typer.Option(
        help="Lay the model over GPUs, main memory and disk: auto, or {MODULE: DEVICE, ...}.", show_default="one device"
    ),
]
MaxMemory = Annotated[
    str | None,
    typer.Option(
        metavar="{DEVICE: SIZE, ...}", help="What `--device-map auto` takes at most, as {0: 10GiB, cpu: 30GiB}."
    ),
]


def evaluate(
    source: Source,
    split: Annotated[str, typer.Option(help="The run's split to score.")] = "test",
    data: Annotated[Path | None, typer.Option(help="A file to score instead.")] = None,
    settings: DataSettings = None,
    precision: Precision = None,
    device_map: DeviceMap = None,
    max_memory: MaxMemory = None,
    allow_code: AllowCode = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
) -> None:
    """Score a trained model on held-out rows, as training did.

    Example: ftkit eval runs/reviews --data more-reviews.csv
    """
    import json

    from ftkit import api, terminal

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
    print(terminal.scores_table({name: found.scores}))
    if note := terminal.intervals_note({name: found.scores}, found.level):
        print(note)
    if found.breakdown:
        print("\n" + terminal.breakdown_table(found.breakdown))
