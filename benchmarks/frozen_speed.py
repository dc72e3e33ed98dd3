"""Only the head learns: `sentiment/head` from start to end, beside the stock Trainer on a frozen encoder."""

from __future__ import annotations

import tempfile
import time
from functools import partial
from pathlib import Path

from benchmarks import _common, _contestants, _data
from benchmarks._contestants import STOCK, Job


def stock(job: Job) -> _common.Measured:
    """The stock Trainer with dynamic padding in fp32, the weights below the head left alone; saves the model."""
    arrived = time.time()
    with tempfile.TemporaryDirectory() as folder:
        trainer = _contestants.stock_trainer(job, STOCK["B"], folder, frozen=True)
        measured = _contestants.run_stock(trainer, arrived)
        trainer.save_model()
    return measured


def main() -> None:
    """Run the rounds and print them."""
    parser = _common.parser(__doc__)
    parser.add_argument("--epochs", type=float, default=10.0, help="times that the rows are gone over")
    options = _common.parse(parser)
    with tempfile.TemporaryDirectory() as folder:
        rows = _data.draw(_data.sst2(options.data, "train"), options.rows, options.seed)
        job = Job("sentiment/head", _data.write(rows, Path(folder) / "train.jsonl"), options.epochs, options.seed)
        settings = [f"task.max_length={_contestants.LENGTH}"]
        calls = {"stock": partial(stock, job), "ftkit": partial(_contestants.speed_ftkit, job, settings)}
        found = _common.rounds(calls, options)
    columns = {"wall_seconds": "start to end s", "seconds": "loop s", "startup": "start-up s", "memory": "peak MiB"}
    compared = _common.ratios(found, "ftkit", lambda measured: 1 / measured["wall_seconds"])
    title = f"the head alone, {options.epochs:g} epochs, from start to end"
    _common.present(options, title, found, columns, compared, rows=len(rows))


if __name__ == "__main__":
    main()
