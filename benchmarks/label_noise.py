"""`data check --noise` on labels that were flipped: how many of the most suspicious rows are flipped ones."""

from __future__ import annotations

import json
import random
import tempfile
from pathlib import Path

import ftkit
from benchmarks import _common, _data
from ftkit.terminal import say


def main() -> None:
    """Flip labels of SST-2's training rows, once for each seed, and print what is found."""
    parser = _common.parser(__doc__, rounds=None)
    parser.add_argument("--seeds", type=int, default=2, help="draws of the flipped rows, from --seed on")
    parser.add_argument("--share", type=float, default=0.1, help="of the rows, those that are flipped")
    parser.add_argument("--first", type=int, default=200, help="most suspicious rows that are looked at")
    options = _common.parse(parser)
    rows = _data.draw(_data.sst2(options.data, "train"), options.rows, options.seed)
    found = [
        flipped(rows, seed, options.share, options.first) for seed in range(options.seed, options.seed + options.seeds)
    ]
    if options.json:
        print(json.dumps({"machine": _common.machine(), "rows": len(rows), "draws": found}))
        return
    for draw in found:
        print(
            f"seed {draw['seed']}: {draw['hits']} of the {draw['looked_at']} most suspicious rows are flipped ones;"
            f" {draw['suspected']} rows of {len(rows)} are suspected, {draw['flipped']} were flipped"
        )


def flipped(rows: list[_data.Row], seed: int, share: float, first: int) -> dict[str, int]:
    """Flip the labels of a share of the rows, and see which rows are suspected first."""
    places = set(random.Random(seed).sample(range(len(rows)), round(share * len(rows))))
    other = {"0": "1", "1": "0"}
    planted = [{**row, "label": other[row["label"]]} if i in places else row for i, row in enumerate(rows)]
    with tempfile.TemporaryDirectory() as folder:
        path = _data.write(planted, Path(folder) / "train.jsonl")
        checked = ftkit.check_data("sentiment/full", [f"data.train={path}", "data.validation=0"], noise=True, say=say)
    suspected = [p.row - 1 for f in checked.findings if f.kind == "label-noise" for p in f.places]
    hits = sum(place in places for place in suspected[:first])
    counts = {"seed": seed, "hits": hits, "looked_at": min(first, len(suspected))}
    return {**counts, "suspected": len(suspected), "flipped": len(places)}


if __name__ == "__main__":
    main()
