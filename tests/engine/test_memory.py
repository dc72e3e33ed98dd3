"""Where memory runs out, a step is split further and its result stays."""

from __future__ import annotations

import gc
import json
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ftkit.engine import infer
from ftkit.engine import model as models
from ftkit.engine.memory import Limit, ran_out
from ftkit.engine.train import train
from ftkit.engine.trainer import FTTrainer
from ftkit.errors import MachineError, SmallerParts
from ftkit.settings import EvaluateSpec
from tests.runs import Lab, assert_close, curve, paired

ERRORS: dict[str, Callable[[], RuntimeError]] = {
    "gpu": lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    "processor": lambda: RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory"),
}


class Full:
    """Memory that runs out in some step, in the forward pass or behind it, for parts of more than `most` rows."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, step: int, most: int, late: bool, kind: str = "gpu") -> None:
        self.step, self.most, self.late, self.kind, self.times = step, most, late, kind, 0
        loss = FTTrainer.compute_loss

        def compute(trainer: Any, model: Any, inputs: Any, *rest: Any, **more: Any) -> Any:
            runs_out = trainer.state.global_step + 1 >= self.step and len(inputs["input_ids"]) > self.most
            if runs_out:
                self.times += 1
            if runs_out and not self.late:
                raise ERRORS[self.kind]()
            found = loss(trainer, model, inputs, *rest, **more)
            if runs_out:
                found.register_hook(self._raise)
            return found

        monkeypatch.setattr(FTTrainer, "compute_loss", compute)

    def _raise(self, gradient: Any) -> None:
        raise ERRORS[self.kind]()


@pytest.mark.parametrize(
    ("step", "late", "kind", "method"), paired([1, 2, 4], [False, True], list(ERRORS), ["full", "head", "lora"])
)
def test_the_curve_stays_where_memory_runs_out_in_any_step(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, step: int, late: bool, kind: str, method: str
) -> None:
    settings = ("train.epochs=2", f"method={method}", "train.frozen_cache=0")
    usual = lab.train("single", *settings)
    full = Full(monkeypatch, step, most=3, late=late, kind=kind)
    found = train(lab.recipe("single", *settings), lab.new())
    assert full.times >= 1
    for name, values in curve(usual.run).items():
        assert curve(found.run)[name] == pytest.approx(values, abs=1e-5), name
    assert found.steps == usual.steps
    kept = json.loads((found.run / "memory.json").read_text())["batch_tokens"]
    assert kept < 8192


def test_the_found_limit_is_kept_for_going_on(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    from ftkit.engine import interrupt
    from ftkit.engine.train import resume
    from ftkit.errors import Interrupted

    full, path = Full(monkeypatch, 1, most=3, late=False), lab.new()
    with monkeypatch.context() as patch:
        patch.setattr(interrupt, "asked", lambda: True)
        with pytest.raises(Interrupted):
            train(lab.recipe("single", "train.epochs=2"), path)
    before = full.times
    assert before >= 1
    resume(path)
    assert full.times == before


def test_a_row_alone_that_does_not_fit_is_told_and_other_errors_are_left(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    Full(monkeypatch, 2, most=0, late=False)
    with pytest.raises(MachineError, match="not enough memory for a single row") as caught:
        train(lab.recipe("single"), lab.new())
    assert "max_length" in caught.value.hint
    monkeypatch.setitem(ERRORS, "gpu", lambda: RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="mat1"):
        train(lab.recipe("single"), lab.new())


def test_what_was_computed_is_let_go_of() -> None:
    class Large:
        pass

    held: list[weakref.ref[Large]] = []

    def fails() -> None:
        large = Large()
        held.append(weakref.ref(large))
        raise ERRORS["gpu"]()

    limit = Limit(100)
    try:
        fails()
    except RuntimeError as error:
        limit.lower(error, [(4, 100)])
        gc.collect()
        assert held[0]() is None


def test_several_processes_begin_again_together() -> None:
    found: list[int] = []
    limit = Limit(100, found.append, alone=False)
    with pytest.raises(SmallerParts):
        limit.lower(ERRORS["gpu"](), [(4, 80), (2, 60)])
    assert found == [40]


@given(rows=st.integers(1, 40), fits=st.integers(1, 40), longest=st.integers(1, 20))
def test_all_rows_are_computed_in_order_whatever_fits(rows: int, fits: int, longest: int) -> None:
    limit, given_rows = Limit(10_000), list(range(rows))

    def compute(part: list[int]) -> list[int]:
        if len(part) > fits:
            raise ERRORS["processor"]()
        return [i * 10 for i in part]

    assert limit.within(compute, given_rows, longest) == [i * 10 for i in given_rows]
    assert (limit.tokens == 10_000) == (rows <= fits)


@pytest.mark.parametrize("kind", ["single", "ner", "causal"])
def test_answers_stay_where_memory_runs_out(lab: Lab, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    t = models.load(lab.trained(kind, "full").run)
    rows = lab.prepared(kind).splits["test"].to_list()

    def answers() -> list[Any]:
        return list(infer.predict(t.model, t.task, t.tokenizer, t.labels, rows, EvaluateSpec()))

    usual, times, collate = answers(), [0], t.task.collate

    def full(some: list[Any], tokenizer: Any) -> Any:
        if len(some) > 2:
            times[0] += 1
            raise ERRORS["gpu"]()
        return collate(some, tokenizer)

    monkeypatch.setattr(t.task, "collate", full)
    assert_close(answers(), usual, 1e-6)
    assert times[0] >= 1


def test_only_memory_is_memory() -> None:
    assert ran_out(ERRORS["gpu"]()) and ran_out(ERRORS["processor"]())
    assert not ran_out(RuntimeError("expected scalar type Float but found BFloat16"))
