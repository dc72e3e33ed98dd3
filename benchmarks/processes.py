"""Two processes with a thread each, beside one with two: ftkit on SST-2, one epoch, four micro-batches a step."""

from __future__ import annotations

import tempfile
import time
from functools import partial
from pathlib import Path

from benchmarks import _common, _data
from benchmarks._common import Measured

ONE, TWO = "1 process, 2 threads", "2 processes, 1 thread each"


def main() -> None:
    """Run the rounds and print them."""
    parser = _common.parser(__doc__, rounds=3)
    parser.add_argument("--batch", type=int, default=128, help="examples a step, over both processes")
    parser.add_argument("--accumulate", type=int, default=4, help="micro-batches that a process's share is split into")
    parser.add_argument("--precision", default="auto", help="fp32 or bf16; auto is what the machine computes in")
    options = _common.parse(parser)
    rows = _data.draw(_data.sst2(options.data, "train"), options.rows, options.seed)
    with tempfile.TemporaryDirectory() as folder:
        file = _data.write(rows, Path(folder) / "train.jsonl")
        settings = (
            f"data.train={file}",
            "data.validation=null",
            "train.epochs=1",
            f"train.batch={options.batch}",
            f"train.accumulate={options.accumulate}",
            f"train.precision={options.precision}",
            f"train.seed={options.seed}",
        )
        calls = {name: partial(speed, settings, count, len(rows)) for name, count in ((ONE, 1), (TWO, 2))}
        found = _common.rounds(calls, options)
    columns = {"examples_per_second": "examples/s", "seconds": "loop s", "whole": "from start to end s"}
    compared = _common.ratios(found, TWO, lambda measured: measured["examples_per_second"])
    _common.present(options, "the same step by two processes", found, columns, compared, rows=len(rows))


def speed(settings: tuple[str, ...], processes: int, rows: int) -> Measured:
    """Examples a second over the steps of an epoch, by the run's own clock, on two cores in either way."""
    import torch

    from ftkit.engine.train import train
    from ftkit.recipe import load_recipe

    torch.set_num_threads(2)  # of which each of two processes gets one
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        found = train(load_recipe("sentiment/full", settings), Path(folder) / "run", processes)
    whole = time.perf_counter() - began
    return {"examples_per_second": rows / found.train_seconds, "seconds": found.train_seconds, "whole": whole}


if __name__ == "__main__":
    main()
