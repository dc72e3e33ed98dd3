"""The parity gate: an export answers as its run does, or there is none.

Held-out rows are answered by the run and by each export, in a process that wrote none of them and loads each by its
own runtime. The run's answers are those of its weights in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datasets import Dataset

from ftkit.engine import elsewhere
from ftkit.engine import model as models
from ftkit.errors import GateError, one_line
from ftkit.exporters._base import Exporter
from ftkit.settings import EvaluateSpec
from ftkit.tasks._base import Task

if TYPE_CHECKING:
    from ftkit.engine.parity import Measured


@dataclass(frozen=True)
class Allowed:
    """How far an export may lie from its run: as a person says, else as its format does."""

    tolerance: float | None = None
    """Of a logit."""
    allow_drop: float | None = None
    """Of the deciding score."""

    def of(self, exporter: Exporter, run: Measured, error: float | None = None) -> tuple[float, float]:
        """Tolerance and drop for a format. Rounding may tip one answer, which of few rows is more than its drop.

        `error` is the run's deciding score where that has the unit of what is told, squared or not: it may grow by a
        share of itself.
        """
        rounds = exporter.tolerance is None
        usual = exporter.share * run.spread if exporter.tolerance is None else exporter.tolerance
        drop = max(exporter.allow_drop, 1 / run.rows) if rounds and run.rows else exporter.allow_drop
        if error is not None:
            drop = exporter.allow_drop * error
        return (
            usual if self.tolerance is None else self.tolerance,
            drop if self.allow_drop is None else self.allow_drop,
        )

    def average(self, exporter: Exporter, run: Measured) -> float:
        """Of all logits' differences; no bound but the tolerance where a person or the format names one."""
        named = self.tolerance is not None or exporter.tolerance is not None
        return float("inf") if named else exporter.average * run.spread


@dataclass(frozen=True)
class Proof:
    """What the gate found of one export."""

    format: str
    run: Measured
    found: Measured
    metric: str
    """The score that decides; empty where the task gives none."""
    sign: int
    """1 where more is better, else -1."""
    tolerance: float
    allow_drop: float
    average: float = float("inf")
    """How far logits may lie from the run's on average."""
    learned: int = 0
    """Rows that the run has learned from."""

    def faults(self) -> list[str]:
        """In what the export differs by more than is allowed; empty where it may pass."""
        found, run = self.found, self.run
        if found.error:
            return [f"it does not answer: {one_line(found.error)}"]
        told = []
        if found.labels != run.labels:
            told.append(f"its labels are {', '.join(found.labels)}, the run's {', '.join(run.labels)}")
        if others := [name for name, value in run.options.items() if found.options.get(name) != value]:
            told.append(f"its task.{others[0]} is {found.options.get(others[0])}, the run's {run.options[others[0]]}")
        if found.data != run.data:
            told.append("it reads rows in another way (columns, labels, cleaning) than the run")
        if found.other_tokens is not None:
            told.append(f"its tokenizer makes other tokens than the run's, of row {found.other_tokens} first")
        if not found.difference <= self.tolerance:
            apart = f"{found.difference:.3g}" if found.difference < float("inf") else "another number of logits"
            told.append(f"its logits differ by up to {apart} (row {found.row}), and {self.tolerance:.3g} is allowed")
        elif not found.average <= self.average:
            told.append(f"its logits differ by {found.average:.3g} on average, and {self.average:.3g} is allowed")
        if self.drop > self.allow_drop:
            ours, theirs = (each.scores[self.metric]["value"] for each in (found, run))
            told.append(
                f"its {self.metric} is {ours:.4f}, the run's {theirs:.4f}: worse by {self.drop:.4f}, and"
                f" {self.allow_drop:.4g} is allowed"
            )
        return told

    @property
    def drop(self) -> float:
        """By how much the deciding score is worse than the run's."""
        if not self.metric:
            return 0.0
        ours, theirs = (each.scores[self.metric]["value"] for each in (self.found, self.run))
        return float(self.sign * (theirs - ours))

    def sentence(self) -> str:
        """What was found, for a person."""
        found, run = self.found, self.run
        speed = ", ".join(
            f"{1000 * found.seconds[size] / int(size):.2f} ms a row with {size} at once"
            f" ({run.seconds[size] / found.seconds[size]:.1f}x the run's speed)"
            for size in found.seconds
        )
        return (
            f"{self.format}: logits within {found.difference:.2g} of the run's ({self.tolerance:.2g} allowed),"
            f" {found.agreement:.2%} of {found.rows} answers the same, {score_text(found.scores, self.metric)}"
            f" (run {score_text(run.scores, self.metric, False)}), {size_text(found)}, {speed}"
        )

    def as_json(self) -> dict[str, Any]:
        """What the manifest keeps."""
        found, run = self.found, self.run
        return {
            "rows": found.rows,
            "learned_rows": self.learned,
            "tolerance": self.tolerance,
            "allow_drop": self.allow_drop,
            "largest_logit_difference": found.difference,
            "average_logit_difference": found.average,
            "logit_range": run.spread,
            "agreement": found.agreement,
            "largest_confidence_difference": found.confidence,
            "metric": self.metric,
            "scores": found.scores,
            "run_scores": run.scores,
            "bytes": found.bytes,
            "base_bytes": found.base_bytes,
            "seconds": found.seconds,
            "run_seconds": run.seconds,
        }


def size_text(measured: Measured) -> str:
    """The size of all that is needed, for a person, and how much of it an adapter's base has."""
    base = f", {measured.base_bytes / 1e6:.1f} of them its base" if measured.base_bytes else ""
    return f"{measured.bytes / 1e6:.1f} MB{base}"


def score_text(scores: dict[str, Any], metric: str, whole: bool = True) -> str:
    """A score with its name and interval, or the number alone; "no score" where there is none."""
    score = scores.get(metric)
    if not score:
        return "no score"
    between = f" [{score['low']:.4f}, {score['high']:.4f}]" if "low" in score else ""
    return f"{metric} {score['value']:.4f}{between}" if whole else f"{score['value']:.4f}"


def prove(
    trained: models.Trained,
    folders: Sequence[tuple[Exporter, str, Path]],
    rows: Dataset,
    settings: EvaluateSpec,
    metric: str,
    allowed: Allowed,
) -> list[Proof]:
    """What is found of exports (exporter, format, folder) of a trained model; they may pass or not."""
    places = [(format, folder) for _, format, folder in folders]
    run, found = in_a_fresh_process(trained.source, places, rows, settings)
    metric = metric if metric in run.scores else next(iter(run.scores), "")
    return [
        Proof(
            format,
            run,
            measured,
            metric,
            trained.task.sign(metric),
            *allowed.of(exporter, run, run.scores[metric]["value"] if metric in Task.lower_is_better else None),
            average=allowed.average(exporter, run),
        )
        for (exporter, format, _), measured in zip(folders, found, strict=True)
    ]


def refuse(proofs: Sequence[Proof]) -> None:
    """Raises GateError where an export does not answer as its run does."""
    failed = [f"{proof.format}: {fault}" for proof in proofs for fault in proof.faults()]
    if failed:
        lines = "\n".join(f"  - {fault}" for fault in failed)
        raise GateError(
            f"the export does not answer as the run does, and nothing was written:\n{lines}",
            "--tolerance and --allow-drop say how far it may differ",
        )


def in_a_fresh_process(
    run: Path, folders: Sequence[tuple[str, Path]], rows: Dataset, settings: EvaluateSpec
) -> tuple[Measured, list[Measured]]:
    """What a process of its own measures of a run and of exports (format, folder)."""
    from ftkit.engine.parity import Measured

    job = {
        "run": str(run.absolute()),
        "folders": [(format, str(folder.absolute())) for format, folder in folders],
        "settings": settings.model_dump(mode="json"),
    }
    result = elsewhere.run("ftkit.engine.parity", job, rows)
    return Measured(**result["run"]), [Measured(**each) for each in result["exports"]]
