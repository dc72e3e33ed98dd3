"""The distance from a teacher: what the formulas say, however a batch is split, and nothing where both agree."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ftkit.errors import RecipeError
from ftkit.objectives import distill
from ftkit.objectives._base import TEACHER
from ftkit.objectives.distill import Distill
from ftkit.plugins import Choice, resolve
from ftkit.tasks._base import Task, Weighting
from ftkit.tasks._tensors import IGNORED, Choices, choices
from ftkit.tasks.classification import Classification
from ftkit.tasks.qa import QuestionAnswering


def objective(**options: Any) -> Distill:
    return Distill(Distill.Options(**{"teacher": "runs/teacher", **options}))


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 2


def batch_of(told: dict[str, list[list[Any]]]) -> dict[str, torch.Tensor]:
    return {name: torch.tensor([value for row in rows for value in row]) for name, rows in told.items()}


def distance(found: Distill, student: Choices, teacher: Choices) -> torch.Tensor:
    return found._distance(student, batch_of(found.told(teacher)))


def divergence(student: torch.Tensor, teacher: torch.Tensor, heat: float) -> torch.Tensor:
    """Of each line, by PyTorch's own."""
    ours, theirs = (student / heat).log_softmax(-1), (teacher / heat).log_softmax(-1)
    return heat**2 * torch.nn.functional.kl_div(ours, theirs, reduction="none", log_target=True).sum(-1)


@given(st.integers(0, 99), st.floats(0.5, 8), st.integers(2, 5))
def test_of_one_class_it_is_the_softened_divergence_weighed_as_targets_are(seed: int, heat: float, size: int) -> None:
    targets = torch.tensor([0, IGNORED, 1, 1])
    weighting = Weighting(class_weights=(3.0, *[0.5] * (size - 1)))
    ours, theirs = drawn(4, size, seed=seed), drawn(4, size, seed=seed + 1)
    student, teacher = (choices(logits, targets, weighting) for logits in (ours, theirs))
    expected = (divergence(ours, theirs, heat)[[0, 2, 3]] * torch.tensor([3.0, 0.5, 0.5])).sum()
    assert distance(objective(temperature=heat), student, teacher).item() == pytest.approx(expected.item(), rel=1e-4)


@given(st.integers(0, 99), st.floats(0.5, 8))
def test_of_labels_that_go_together_each_is_a_yes_or_no(seed: int, heat: float) -> None:
    ours, theirs = drawn(3, 4, seed=seed), drawn(3, 4, seed=seed + 1)
    shares = torch.tensor([1.0, 0.5, 0.5])
    student, teacher = (Choices(logits, shares, torch.arange(3), 3, "each") for logits in (ours, theirs))
    pairs = [torch.stack([logits, torch.zeros_like(logits)], -1) for logits in (ours, theirs)]
    expected = (divergence(*pairs, heat) * shares[:, None]).sum()
    assert distance(objective(temperature=heat), student, teacher).item() == pytest.approx(expected.item(), rel=1e-4)


def test_of_numbers_it_is_the_squared_difference_weighed_as_targets_are() -> None:
    shares = torch.tensor([1.0, 0.5, 0.0])
    student, teacher = (Choices(drawn(3, 1, seed=s), shares, torch.arange(3), 3, "number") for s in (0, 1))
    expected = ((student.logits - teacher.logits) ** 2 * shares[:, None]).sum()
    assert distance(objective(), student, teacher).item() == pytest.approx(expected.item())


@pytest.mark.parametrize("width", [7, 11])
def test_places_in_a_text_are_compared_where_it_has_tokens_however_far_it_is_padded(width: int) -> None:
    task = QuestionAnswering(QuestionAnswering.Options())

    def of(starts: torch.Tensor, ends: torch.Tensor, width: int) -> Choices:
        mask = torch.arange(width)[None] < torch.tensor([[7], [4]])
        wide = [torch.nn.functional.pad(logits, (0, width - 7), value=9.0) for logits in (starts, ends)]
        outputs = type("Outputs", (), {"start_logits": wide[0], "end_logits": wide[1]})
        return task.choices(outputs, {"attention_mask": mask.long()}, Weighting())

    ours, theirs = [(drawn(2, 7, seed=s), drawn(2, 7, seed=s + 5)) for s in (0, 1)]
    student = of(*ours, width)
    student.logits.requires_grad_()
    found = distance(objective(), student, of(*theirs, 7))
    lines = [(ours[side][row, :size], theirs[side][row, :size]) for row, size in enumerate((7, 4)) for side in (0, 1)]
    assert found.item() == pytest.approx(sum(divergence(*line, 2.0).item() for line in lines) / 2, rel=1e-4)
    (slope,) = torch.autograd.grad(found, student.logits)
    assert slope.isfinite().all() and not slope[student.padding].any()


def test_of_a_vocabulary_the_likeliest_are_compared_and_the_rest_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    targets = torch.tensor([[3, IGNORED], [5, 6]])
    ours, theirs = drawn(2, 2, 40), drawn(2, 2, 40, seed=1)
    student, teacher = (choices(logits, targets, Weighting(), kind="token") for logits in (ours, theirs))
    whole = distance(objective(), student, teacher)
    monkeypatch.setattr(distill, "MOST", 10)
    told = objective().told(teacher)
    assert [len(row) for row in told[TEACHER]] == [10, 20] and told.keys() != {TEACHER}
    part = distance(objective(), student, teacher)
    assert 0 < part.item() < whole.item()  # what is put together can only look more alike
    monkeypatch.setattr(distill, "MOST", 39)
    assert distance(objective(), student, teacher).item() == pytest.approx(whole.item(), rel=1e-3)
    monkeypatch.setattr(distill, "MOST", 10)
    assert distance(objective(), teacher, teacher).item() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("kind", ["one", "each", "number"])
def test_a_student_that_agrees_is_not_moved(kind: Any) -> None:
    logits = drawn(3, 4).requires_grad_()
    agreed = Choices(logits, torch.ones(3), torch.arange(3), 3, kind)
    found = distance(objective(temperature=3.0), agreed, agreed._replace(logits=logits.detach()))
    assert found.item() == pytest.approx(0, abs=1e-5)
    assert torch.autograd.grad(found, logits)[0].abs().max() < 1e-5


@pytest.mark.parametrize("options", [{"temperature": 0}, {"weight": 0}, {"weight": 1.5}, {"teacher": ""}])
def test_options_are_within_their_bounds(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        objective(**options)


def test_a_teacher_must_be_named() -> None:
    with pytest.raises(RecipeError, match=r"objective\.teacher: must be set"):
        resolve("objective", Choice(name="distill"), distill.Objective)


def test_numbers_have_no_temperature() -> None:
    task = Classification(Classification.Options(kind="regression"))
    with pytest.raises(RecipeError, match=r"objective\.temperature: numbers have none"):
        objective(temperature=4.0).check(task)
    objective().check(task)


def test_a_task_with_a_loss_of_its_own_has_to_say_what_that_compares() -> None:
    class Own(Classification):
        def loss(self, outputs: Any, batch: Any, weighting: Weighting) -> torch.Tensor:
            return outputs.logits.sum()

    class Both(Own):
        def choices(self, outputs: Any, batch: Any, weighting: Weighting) -> Choices:
            return super().choices(outputs, batch, weighting)

    with pytest.raises(RecipeError, match="Own has a loss of its own"):
        objective().check(Own(Own.Options()))
    both: Task = Both(Both.Options())
    objective().check(both)
