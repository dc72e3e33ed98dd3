"""`data check` on many rows: time and memory on SST-2 repeated with words left out, near duplicates included."""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from benchmarks import _common, _data

COPIES = 29
"""Times SST-2's training rows that make 200,000."""


def check(path: Path) -> _common.Measured:
    """Look through the rows of a file, a tenth of them as validation and a tenth as test rows."""
    began = time.perf_counter()
    from ftkit.inspection import inspect
    from ftkit.recipe import load_recipe

    settings = [f"data.train={path}", "data.validation=0.1", "data.test=0.1"]
    found = inspect(load_recipe("sentiment/full", settings))
    seconds = time.perf_counter() - began
    rows = sum(found.rows.values())
    counts = {finding.kind: finding.count for finding in found.findings}
    return {
        "seconds": seconds,
        "rows_per_second": rows / seconds,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10),
        "rows": rows,
        "findings": counts,
    }


def main() -> None:
    """Run the rounds and print them."""
    parser = _common.parser(__doc__, rounds=3)
    parser.add_argument("--most", type=int, default=200_000, help="rows of the larger file")
    options = _common.parse(parser)
    once = _data.draw(_data.sst2(options.data, "train"), options.rows, options.seed)
    many = _data.repeated(once, COPIES, options.seed)[: options.most]
    with tempfile.TemporaryDirectory() as folder:
        sets = {"once": once, "repeated": many}
        files = {name: _data.write(rows, Path(folder) / f"{name}.jsonl") for name, rows in sets.items()}
        found = _common.rounds({name: partial(check, path) for name, path in files.items()}, options)
    columns = {"rows_per_second": "rows/s", "seconds": "s", "memory": "peak MiB"}
    compared = _common.ratios(found, "repeated", lambda measured: measured["rows_per_second"])
    counts = {name: len(rows) for name, rows in sets.items()}
    _common.present(options, "data check", found, columns, compared, rows=counts)


if __name__ == "__main__":
    main()
