"""The best model is kept once, and training stops when nothing has got better for long."""

from __future__ import annotations

import pytest
from transformers.trainer_callback import TrainerControl, TrainerState

from ftkit.engine import machine
from ftkit.engine.callbacks import Best, Clock, Tidy
from ftkit.errors import RecipeError
from ftkit.terminal import Progress


def followed(values: list[float], lower_is_better: bool, patience: int | None) -> tuple[list[int], list[int]]:
    """The evaluations, numbered from 1, that saved the model, and those that asked to stop."""
    saved: list[int] = []
    stopped: list[int] = []
    number = 0
    best = Best(lambda: saved.append(number), "metric", lower_is_better, patience)
    for number, value in enumerate(values, 1):  # `save` reads it
        control = best.on_evaluate(None, TrainerState(), TrainerControl(), {"eval_metric": value, "eval_other": 9})
        if control.should_training_stop:
            stopped.append(number)
    return saved, stopped


@pytest.mark.parametrize(
    ("values", "lower", "patience", "saved", "stopped"),
    [
        ([0.5, 0.5, 0.5], False, 2, [1], [3]),
        ([0.5, 0.5, 0.5], True, 2, [1], [3]),
        ([0.5, 0.5, 0.5, 0.5], False, None, [1], []),
        ([0.5, 0.6, 0.4, 0.7], False, 2, [1, 2, 4], []),
        ([0.5, 0.6, 0.4, 0.7], True, 2, [1, 3], []),
        ([0.5, 0.4, 0.6, 0.5], False, 2, [1, 3], []),
        ([0.5, 0.4], False, 1, [1], [2]),
        ([0.5, 0.4], True, 1, [1, 2], []),
        ([0.0, -1.0], False, None, [1], []),
        ([-2.0, -1.0], False, None, [1, 2], []),
    ],
)
def test_only_what_is_better_is_saved_and_patience_counts_the_rest(
    values: list[float], lower: bool, patience: int | None, saved: list[int], stopped: list[int]
) -> None:
    assert followed(values, lower, patience) == (saved, stopped)


def test_a_score_that_is_no_number_decides_nothing() -> None:
    best = Best(lambda: None, "metric", False, None)
    with pytest.raises(RecipeError, match=r"train\.metric: metric of the validation rows is no number"):
        best.on_evaluate(None, TrainerState(), TrainerControl(), {"eval_metric": float("nan")})


def test_every_process_is_asked_to_save_where_the_score_is_better() -> None:
    """Each may have a part of the weights; only the first one writes (`fit`)."""
    saved: list[bool] = []
    best = Best(lambda: saved.append(True), "metric", False, None)
    for first in (False, True):
        state = TrainerState(is_world_process_zero=first)
        best.on_evaluate(None, state, TrainerControl(), {"eval_metric": 0.5 + first})
    assert saved == [True, True]


def test_the_step_of_the_model_that_is_kept_is_told_after_going_on_too() -> None:
    best = Best(lambda: None, "metric", True, None)
    assert best.told(9) == ""
    for step, value in ((3, 0.5), (6, 0.25), (9, 0.75)):
        best.on_evaluate(None, TrainerState(global_step=step), TrainerControl(), {"eval_metric": value})
    later = Best(lambda: None, "metric", True, None)
    later.put_state(best.state())
    assert later.told(9) == best.told(9) == "kept: the model of step 6 of 9, the best validation metric, 0.2500"


def test_freed_memory_goes_back_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[int] = []
    state = TrainerState()
    monkeypatch.setattr(machine, "give_back", lambda: given.append(state.global_step))
    for state.global_step in range(1, 2 * Tidy.every + 50):
        Tidy().on_step_end(None, state, TrainerControl())
    assert given == [Tidy.every, 2 * Tidy.every]


@pytest.mark.parametrize(("metric", "shown"), [("f1", "f1"), ("", "precision"), ("none", "precision")])
def test_the_score_that_decides_is_the_one_that_is_shown(metric: str, shown: str) -> None:
    told: list[tuple[str, float]] = []
    progress = Progress(show=False)
    progress.note = lambda *given: told.append(given)  # type: ignore[method-assign]
    scores = {"eval_precision": 0.25, "eval_f1": 0.5, "epoch": 1.0}
    Clock(progress, 8, metric).on_log(None, TrainerState(), TrainerControl(), logs=scores)
    assert [name for name, _ in told] == [shown]
