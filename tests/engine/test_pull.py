"""What was pushed is fetched whole or not at all, and answers as the run does, by its folder and by its name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from ftkit import trust
from ftkit.engine import export as exports
from ftkit.engine import model as models
from ftkit.engine.evaluate import evaluate
from ftkit.engine.predict import Predictor
from ftkit.engine.pull import pull
from ftkit.engine.push import push
from ftkit.engine.train import train
from ftkit.errors import CheckpointError, FTKitError, MachineError, RunError
from ftkit.files import SEAL, broken, seal
from tests.command import stands
from tests.engine.test_push import Hub, exported, local, online
from tests.runs import Lab

__all__ = ["exported", "online"]

TEXTS = ["The film was a quiet delight.", "I have never been so bored.", "Trade fell in spring."]


def refused(kind: type[FTKitError], tmp_path: Path, *arguments: Any, **flags: Any) -> str:
    """What a pull is refused with; nothing may be left of it."""
    place = tmp_path / "deep" / "out"
    with pytest.raises(kind) as caught:
        pull(*arguments, place, **flags)
    assert not (tmp_path / "deep").exists()
    return str(caught.value)


def sure_of_little(lab: Lab) -> Path:
    """A run that is calibrated and withholds answers."""
    return lab.train("single", "evaluate.calibrate=false", "task.temperature=3", "task.abstain=0.34").run


def told_by(source: str | Path) -> list[dict[str, Any]]:
    return list(Predictor(source)(TEXTS))


def logits(source: str | Path) -> torch.Tensor:
    trained = models.load(source)
    encoded = trained.tokenizer(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        found: torch.Tensor = trained.model(**encoded).logits
    return found


# ------------------------------------------------------------------ the way there and back


def test_what_comes_back_is_what_went(online: Hub, exported: Path, tmp_path: Path) -> None:
    told: list[str] = []
    pushed = push(exported, "reviews")
    folder = pull("ada/reviews", tmp_path / "deep" / "out", told.append)
    assert local(folder) == local(exported) and str(pushed.commit)[:12] in told[-1]
    assert stands(folder.parent) == {"out", *(f"out/{name}" for name in local(exported))}


def test_logits_are_the_runs_to_the_bit(online: Hub, lab: Lab, tmp_path: Path) -> None:
    run = lab.trained("single", "full").run
    push(run, "reviews")
    folder = pull("ada/reviews", tmp_path / "out")
    assert torch.equal(logits(folder), logits(run)) and torch.equal(logits("ada/reviews"), logits(run))
    plain = transformers.AutoModelForSequenceClassification.from_pretrained("ada/reviews").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained("ada/reviews")
    with torch.no_grad():
        found = plain(**tokenizer(TEXTS, padding=True, return_tensors="pt")).logits
    assert torch.equal(found, logits(run))
    assert tuple(plain.config.id2label.values()) == lab.prepared("single").labels


def test_calibration_and_abstention_are_kept_by_name(online: Hub, lab: Lab, tmp_path: Path) -> None:
    run = sure_of_little(lab)
    push(run, "reviews")
    by_name, known = models.load("ada/reviews"), models.load(run)
    assert by_name.task.options == known.task.options and by_name.labels == known.labels
    assert by_name.task.options.abstain == 0.34
    told = [told_by(source) for source in (run, "ada/reviews", pull("ada/reviews", tmp_path / "out"))]
    assert told[0] == told[1] == told[2]


@pytest.mark.slow
def test_plain_transformers_first_loses_nothing(online: Hub, lab: Lab) -> None:
    """The Hub's cache then has the weights, and not the contract."""
    run = sure_of_little(lab)
    push(run, "reviews")
    transformers.AutoModelForSequenceClassification.from_pretrained("ada/reviews")
    transformers.AutoTokenizer.from_pretrained("ada/reviews")
    assert models.load("ada/reviews").task.options == models.load(run).task.options


def test_a_name_is_scored_and_trained_from(online: Hub, lab: Lab, tmp_path: Path) -> None:
    trained = lab.trained("single", "full")
    push(trained.run, "reviews")
    rows = lab.file("single", "test")
    assert evaluate("ada/reviews", data=str(rows)).scores == evaluate(trained.run, data=str(rows)).scores
    again = train(lab.recipe("single", "model.checkpoint=ada/reviews"), lab.new())
    assert again.steps == trained.steps


@pytest.mark.parametrize("format", ["onnx", "torch-bf16"])
def test_other_formats_answer_by_name(online: Hub, lab: Lab, tmp_path: Path, format: str) -> None:
    folder = exports.export(lab.trained("single", "lora").run, tmp_path / format, format)
    push(folder, "reviews")
    assert told_by("ada/reviews") == told_by(folder)


def test_an_adapter_finds_its_base_on_the_hub(online: Hub, lab: Lab, tmp_path: Path) -> None:
    shutil.copytree(lab.checkpoint("bert"), online.root / "models/org/base")
    recipe = lab.recipe("single", "model.checkpoint=org/base", "method=lora", "train.learning_rate=0.02")
    run = train(recipe, lab.new()).run
    push(exports.export(run, tmp_path / "adapter", "adapter"), "adapter")
    push(run, "merged")
    assert told_by("ada/adapter") == told_by(run)
    assert "base_model: org/base" in (online.folder("ada/merged") / "README.md").read_text()
    again = train(lab.recipe("single", "model.checkpoint=ada/adapter"), lab.new())
    assert again.steps


def test_an_earlier_commit_is_had_by_its_name(online: Hub, lab: Lab, exported: Path, tmp_path: Path) -> None:
    first = push(exported, "reviews")
    push(lab.trained("single", "lora").run, "reviews")
    pull("ada/reviews", tmp_path / "then", revision=first.commit)
    pull("ada/reviews", tmp_path / "now")
    assert local(tmp_path / "then") == local(exported) != local(tmp_path / "now")


def test_a_card_that_was_edited_on_the_hub_is_taken(online: Hub, exported: Path, tmp_path: Path) -> None:
    push(exported, "reviews")
    online.edit("ada/reviews", "README.md", "# Mine, and better\n")
    told: list[str] = []
    folder = pull("ada/reviews", tmp_path / "out", told.append)
    assert "note: README.md of ada/reviews was edited since it was pushed" in told
    assert (folder / "README.md").read_text() == "# Mine, and better\n" and broken(folder) == []
    assert told_by(folder) == told_by("ada/reviews") == told_by(exported)


# ------------------------------------------------------------------ what is refused


def harmed(online: Hub, exported: Path, tmp_path: Path, harm: Callable[[Path], object]) -> None:
    """A repository that somebody has filled with an export and his own ideas, sealed again."""
    folder = shutil.copytree(exported, online.root / "models/eve/gift")
    (folder / SEAL).unlink()
    harm(folder)
    if not (folder / SEAL).exists():
        seal(folder)


def contract(folder: Path, **changes: Any) -> None:
    told = json.loads((folder / "ftkit.json").read_text())
    (folder / "ftkit.json").write_text(json.dumps({**told, **changes}))


@pytest.fixture
def stranger(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_own", "_lent"):
        monkeypatch.setattr(trust, name, set())
    monkeypatch.setattr(trust, "_allowed", False)


def test_code_needs_to_be_allowed(online: Hub, exported: Path, tmp_path: Path, stranger: None) -> None:
    harmed(online, exported, tmp_path, lambda folder: contract(folder, task={"name": "evil.task"}))
    said = refused(RunError, tmp_path, "eve/gift")
    assert "evil.task" in said and "--allow-code" in said
    trust.allow()
    assert (pull("eve/gift", tmp_path / "out") / "ftkit.json").exists()


def test_paths_that_leave_the_folder_are_refused(online: Hub, exported: Path, tmp_path: Path, stranger: None) -> None:
    base = {"checkpoint": "../../etc", "sha256": "0" * 64}
    harmed(online, exported, tmp_path, lambda folder: contract(folder, base=base))
    assert "lies outside" in refused(RunError, tmp_path, "eve/gift")


@pytest.mark.parametrize("name", ["../escaped", "/tmp/escaped", "a/../../escaped"])
def test_a_seal_that_names_what_is_outside(online: Hub, exported: Path, tmp_path: Path, name: str) -> None:
    from ftkit import files

    harmed(online, exported, tmp_path, lambda folder: files._write_seal(folder, {name: "0" * 64}))
    assert f"names what lies outside of the folder: {name}" in refused(CheckpointError, tmp_path, "eve/gift")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "ftkit.json"])
def test_a_file_that_is_another_than_was_pushed(online: Hub, exported: Path, tmp_path: Path, name: str) -> None:
    push(exported, "reviews")
    path = online.folder("ada/reviews") / name
    content = path.read_bytes()
    path.write_bytes(content[:-2] + bytes([content[-2] ^ 1]) + content[-1:] if name[0] == "m" else content + b"\n")
    assert f"{name} is not as it was written" in refused(CheckpointError, tmp_path, "ada/reviews")
    with pytest.raises(CheckpointError, match=f"{name} is not as it was written"):
        models.load("ada/reviews")


def test_a_file_that_is_gone(online: Hub, exported: Path, tmp_path: Path) -> None:
    push(exported, "reviews")
    (online.folder("ada/reviews") / "tokenizer.json").unlink()
    assert "tokenizer.json is missing" in refused(CheckpointError, tmp_path, "ada/reviews")


HARMS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a contract that is no JSON": (
        lambda folder: (folder / "ftkit.json").write_text("{no"),
        "ftkit.json can't be read",
    ),
    "a contract of nothing": (lambda folder: (folder / "ftkit.json").write_text("{}"), "labels: must be set"),
    "a contract that is no text": (lambda folder: (folder / "ftkit.json").write_bytes(b"\xff\xfe"), "can't be read"),
    "a seal that is cut": (lambda folder: (folder / SEAL).write_text("0" * 64), f"{SEAL} is cut, or was changed"),
    "a seal that is no text": (
        lambda folder: (folder / SEAL).write_bytes(b"\xff\xfe"),
        f"{SEAL} is cut, or was changed",
    ),
}


@pytest.mark.parametrize("harm", HARMS)
def test_what_is_damaged_is_told_of_the_repository(online: Hub, exported: Path, tmp_path: Path, harm: str) -> None:
    change, what = HARMS[harm]
    harmed(online, exported, tmp_path, change)
    said = refused(CheckpointError, tmp_path, "eve/gift")
    assert said.startswith("eve/gift: ") and what in said and "push it again" in said
    assert ": :" not in said and ".writing" not in said and str(tmp_path) not in said


@pytest.mark.parametrize("place", ["/proc/ftkit", "/proc/some/where/else", "/dev/null/out"])
def test_a_place_that_cannot_be_written_is_not_the_hubs_fault(
    online: Hub, exported: Path, place: str, capfd: pytest.CaptureFixture[str]
) -> None:
    push(exported, "reviews")
    with pytest.raises(RunError, match=f"^{place} can't be written: "):
        pull("ada/reviews", Path(place))
    assert capfd.readouterr() == ("", "")


def test_a_place_that_turns_out_unwritable_is_not_the_hubs_fault(
    online: Hub, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(exported, "reviews")

    def denied(*_: object, local_dir: Path, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(local_dir / "ftkit.json"))

    monkeypatch.setattr("ftkit.engine.pull.snapshot_download", denied)
    assert "can't be written: Permission denied" in refused(RunError, tmp_path, "ada/reviews")


@pytest.mark.parametrize(
    ("status", "what"),
    [
        (401, "does not take the token"),
        (403, "refuses access"),
        (404, "no such thing"),
        (429, "too often"),
        (502, "fails"),
    ],
)
def test_answers_of_the_hub_are_told_in_words(
    online: Hub, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, what: str
) -> None:
    push(exported, "reviews")
    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setattr("ftkit.hub.unreachable", lambda *_: "")
    online.faults.status = status
    said = refused(CheckpointError, tmp_path, "ada/reviews")
    assert f"{what} (error {status})" in said and "for url" not in said and "developer.mozilla" not in said


def test_what_ftkit_has_not_pushed(online: Hub, lab: Lab, tmp_path: Path) -> None:
    shutil.copytree(lab.checkpoint("bert"), online.root / "models/org/base")
    said = refused(CheckpointError, tmp_path, "org/base")
    assert "was not pushed by ftkit" in said and "ftkit checkpoints get org/base" in said


def test_a_download_that_is_cut(online: Hub, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    push(exported, "reviews")
    monkeypatch.setattr("time.sleep", lambda _: None)
    online.faults.cut = 5000
    assert "ada/reviews" in refused(CheckpointError, tmp_path, "ada/reviews")
    online.faults.cut = 0
    assert local(pull("ada/reviews", tmp_path / "out")) == local(exported)


def test_one_that_is_private_or_not_there(
    online: Hub, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(exported, "reviews")
    assert "no revision v9" in refused(CheckpointError, tmp_path, "ada/reviews", revision="v9")
    monkeypatch.delenv("HF_TOKEN")
    assert "the Hub has no ada/reviews, or it is private" in refused(CheckpointError, tmp_path, "ada/reviews")
    assert "can't be" in refused(CheckpointError, tmp_path, "a/b/c")
    online.faults.status = 500
    assert "can't be reached" in refused(MachineError, tmp_path, "ada/reviews")


def test_what_stands_there_stays(online: Hub, exported: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(RunError, match="exists already"):
        pull("ada/reviews", tmp_path / "out")
