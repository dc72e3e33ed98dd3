"""Training speed: ftkit's shelf recipe beside the stock Trainer, the same rows, batch, rates, warm-up and seed."""

from __future__ import annotations

import argparse
import statistics
import tempfile
from functools import partial
from pathlib import Path

from benchmarks import _common, _contestants, _data
from benchmarks._contestants import Job


def main() -> None:
    """Run the rounds and print them."""
    options = _options()
    with tempfile.TemporaryDirectory() as folder:
        jobs = {name: _job(options, name, Path(folder)) for name in [*options.against, "ftkit"]}
        amounts = {job: _common.apart(partial(_contestants.amount, job)) for job in set(jobs.values())}
        calls = {name: _call(name, job) for name, job in jobs.items()}
        found = _common.rounds({"peak": _common.peak, **calls}, options)
    peaks, work = found.pop("peak"), {name: amounts[job] for name, job in jobs.items()}
    for name, rounds in found.items():
        for measured, peak in zip(rounds, peaks, strict=True):
            _rate(measured, work[name], peak, options.epochs)
    _show(options, found, peaks, work)


def _options() -> argparse.Namespace:
    parser = _common.parser(__doc__)
    parser.add_argument("--task", choices=_contestants.SHELF, default="sst2", help="the data set")
    parser.add_argument("--against", default="A,B,C", help="set-ups of the stock Trainer, as benchmarks/README.md says")
    parser.add_argument(
        "--rows-a", type=int, help="rows for A, which is slow; as many as for the others when not given"
    )
    parser.add_argument("--epochs", type=float, default=1.0, help="times that the rows are gone over")
    options = _common.parse(parser)
    options.against = options.against.split(",")
    if unknown := set(options.against) - set(_contestants.STOCK):
        parser.error(f"--against: {', '.join(sorted(unknown))} is none of {', '.join(_contestants.STOCK)}")
    return options


def _job(options: argparse.Namespace, name: str, folder: Path) -> Job:
    count = (options.rows_a or options.rows) if name == "A" else options.rows
    rows = _data.draw(_data.READERS[options.task](options.data, "train"), count, options.seed)
    train = _data.write(rows, folder / f"{len(rows)}.jsonl")
    return Job(_contestants.SHELF[options.task], train, options.epochs, options.seed)


def _call(name: str, job: Job) -> _common.Call:
    if name == "ftkit":
        return partial(_contestants.speed_ftkit, job, [f"task.max_length={_contestants.LENGTH}"])
    return partial(_contestants.speed_stock, job, _contestants.STOCK[name])


def _rate(measured: _common.Measured, work: _common.Measured, peak: _common.Measured, epochs: float) -> None:
    """Add the rates; a weight of a linear layer costs a token two operations forward, and four backward."""
    seconds = measured["seconds"] / epochs
    useful = 3 * 2 * work["weights"] * work["tokens"] / seconds / 1e9
    measured["examples_per_second"] = work["rows"] / seconds
    measured["tokens_per_second"] = work["tokens"] / seconds
    measured["useful_gflops"] = useful
    measured["share_of_peak"] = useful / peak[measured["precision"]]


def _show(
    options: argparse.Namespace,
    found: dict[str, list[_common.Measured]],
    peaks: list[_common.Measured],
    work: dict[str, _common.Measured],
) -> None:
    columns = {
        "examples_per_second": "examples/s",
        "tokens_per_second": "tokens/s",
        "share_of_peak": "share of peak",
        "memory": "peak MiB",
        "startup": "start-up s",
        "seconds": "loop s",
    }
    _common.present(
        options,
        f"training speed on {options.task}",
        found,
        columns,
        _common.ratios(found, "ftkit", lambda measured: measured["examples_per_second"]),
        rows={name: amount["rows"] for name, amount in work.items()},
        matrix_peak_gflops={kind: statistics.median(peak[kind] for peak in peaks) for kind in ("fp32", "bf16")},
    )


if __name__ == "__main__":
    main()
