"""Ten times the rows: time and memory of ftkit on SST-2 and on SST-2 repeated with words left out, one epoch each."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

from benchmarks import _common, _contestants, _data
from benchmarks._contestants import Job


def main() -> None:
    """Run the rounds and print them."""
    parser = _common.parser(__doc__, rounds=3)
    parser.add_argument("--times", type=int, default=10, help="how many times the rows")
    options = _common.parse(parser)
    once = _data.draw(_data.sst2(options.data, "train"), options.rows, options.seed)
    sets = {"once": once, f"{options.times} times": _data.repeated(once, options.times, options.seed)}
    with tempfile.TemporaryDirectory() as folder:
        jobs = {name: _job(rows, Path(folder) / f"{len(rows)}.jsonl", options.seed) for name, rows in sets.items()}
        tokens = {name: _common.apart(partial(_contestants.amount, job))["tokens"] for name, job in jobs.items()}
        found = _common.rounds({name: partial(_contestants.speed_ftkit, job) for name, job in jobs.items()}, options)
    for name, rounds in found.items():
        for measured in rounds:
            measured["tokens_per_second"] = tokens[name] / measured["seconds"]
    columns = {
        "tokens_per_second": "tokens/s",
        "seconds": "loop s",
        "startup": "start-up s",
        "memory": "peak MiB",
    }
    compared = _common.ratios(found, f"{options.times} times", lambda measured: measured["tokens_per_second"])
    counts = {name: len(rows) for name, rows in sets.items()}
    _common.present(options, "the same work on more rows", found, columns, compared, rows=counts, tokens=tokens)


def _job(rows: list[_data.Row], path: Path, seed: int) -> Job:
    return Job("sentiment/full", _data.write(rows, path), 1.0, seed)


if __name__ == "__main__":
    main()
