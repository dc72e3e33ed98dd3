"""A push is one commit of what `export` writes; nothing of this machine goes along, and nobody's work is lost."""

from __future__ import annotations

import json
import shutil
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard

from ftkit.engine import export as exports
from ftkit.engine import push as pushing
from ftkit.engine.push import Pushed, push
from ftkit.errors import CheckpointError, FTKitError, GateError, MachineError, RunError
from ftkit.files import SEAL, broken, seal
from tests.hub_client import keep_in, use
from tests.hub_server import COMMIT, Accounts, Faults, hub
from tests.runs import Lab

TOKEN = "hf_ada-and-nobody-else"


class Hub:
    """A Hub on which ada may write, and the lab; she is logged in."""

    def __init__(self, root: Path) -> None:
        self.root, self.address = root, ""
        self.faults = Faults()
        self.accounts = Accounts({TOKEN: ["ada", "lab"], "hf_bob": ["bob"]})

    def head(self, repo: str, branch: str = "main") -> str:
        return self.accounts.heads.get((repo, branch), COMMIT)

    def folder(self, repo: str, branch: str = "main") -> Path:
        head = self.head(repo, branch)
        return self.root / "models" / repo if head == COMMIT else self.root / "commits" / repo / head

    def files(self, repo: str, branch: str = "main") -> dict[str, bytes]:
        folder = self.folder(repo, branch)
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def edit(self, repo: str, name: str, text: str) -> None:
        """Somebody's change on the Hub's site, which makes no commit here."""
        (self.folder(repo) / name).write_text(text)


@pytest.fixture
def online(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    server = Hub(tmp_path / "server")
    (server.root / "models").mkdir(parents=True)
    keep_in(tmp_path / "client", monkeypatch)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with hub(server.root, server.faults, server.accounts) as server.address:
        use(server.address, monkeypatch)
        yield server


@pytest.fixture
def exported(lab: Lab) -> Path:
    return lab.exported("single", "full")


def local(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(kind: type[FTKitError], *arguments: Any, **flags: Any) -> str:
    """What a push is refused with; the token must not be in it, nor in what the error came from."""
    with pytest.raises(kind) as caught:
        push(*arguments, **flags)
    assert TOKEN not in "".join(traceback.format_exception(caught.value))
    return str(caught.value)


# ------------------------------------------------------------------ what goes where


def test_an_export_goes_as_it_is_in_one_private_commit(online: Hub, exported: Path) -> None:
    told: list[str] = []
    pushed = push(exported, "reviews", told.append, message="the first one")
    assert (pushed.repo, pushed.url) == ("ada/reviews", f"{online.address}/ada/reviews")
    assert online.files("ada/reviews").keys() - {".gitattributes"} == local(exported).keys() == pushed.files.keys()
    assert local(exported).items() <= online.files("ada/reviews").items()
    assert pushed.private and "ada/reviews" in online.accounts.private
    assert online.accounts.messages == {pushed.commit: "the first one"}
    assert any("making the private repository ada/reviews" in line for line in told)


def test_a_run_goes_as_its_export_and_tells_its_scores(online: Hub, lab: Lab) -> None:
    trained = lab.trained("single", "lora")
    told: list[str] = []
    push(trained.run, "lab/reviews", told.append, public=True)
    assert any("logits within" in line for line in told) and "lab/reviews" not in online.accounts.private
    card = ModelCard((online.folder("lab/reviews") / "README.md").read_text())
    found = {(one.dataset_split, one.metric_type): one.metric_value for one in card.data.eval_results}
    assert found["test", "accuracy"] == round(trained.scores["test"]["accuracy"]["value"], 4)
    assert card.data.pipeline_tag == "text-classification" and "ftkit predict lab/reviews" in card.text
    assert card.data.base_model is None and card.data.tags == ["ftkit"]
    assert broken(online.folder("lab/reviews")) == []


def test_nothing_of_this_machine_goes_along(online: Hub, lab: Lab) -> None:
    run = lab.trained("single", "lora").run
    push(run, "reviews")
    names = [b"/tmp/", str(lab.folder).encode(), str(Path.home()).encode(), str(Path.cwd()).encode()]
    for name, content in online.files("ada/reviews").items():
        assert not [path for path in names if path in content], name
    assert not {"recipe.yaml", "scores.json", "log.jsonl"} & online.files("ada/reviews").keys()


def test_what_lies_beside_the_export_stays_here(online: Hub, exported: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(exported, tmp_path / "out")
    (folder / "customers.csv").write_text("text,label\n")
    push(folder, "reviews")
    assert "customers.csv" not in online.files("ada/reviews")


def test_a_dry_run_tells_each_file_and_changes_nothing(online: Hub, exported: Path) -> None:
    told: list[str] = []
    pushed = push(exported, "reviews", told.append, dry_run=True)
    assert pushed.commit is None and not list(online.root.rglob("*/reviews")) and not online.accounts.stored
    for name, content in local(exported).items():
        assert any(f"{name}: {len(content):,} bytes" in line for line in told)
    assert f"{online.address}/ada/reviews, branch main (private)" in "\n".join(told)


def test_what_is_there_already_is_not_told_as_sent(online: Hub, exported: Path, tmp_path: Path) -> None:
    push(exported, "reviews")
    folder = shutil.copytree(exported, tmp_path / "out")
    (folder / "example.py").write_text("print('another')\n")
    (folder / SEAL).unlink()
    seal(folder)
    told: list[str] = []
    pushed = push(folder, "reviews", told.append, dry_run=True)
    assert pushed.changed == [SEAL, "example.py"]
    assert any(f"would send 2 of {len(pushed.files)} files, 0.0 MB, " in line for line in told)
    assert any(line.startswith("  model.safetensors: ") and line.endswith(", as it is there") for line in told)
    assert push(folder, "reviews").changed == [SEAL, "example.py"]


@pytest.mark.parametrize("dry_run", [True, False])
def test_the_right_to_write_is_asked_first(
    online: Hub, lab: Lab, monkeypatch: pytest.MonkeyPatch, dry_run: bool
) -> None:
    run = lab.trained("single", "full").run
    monkeypatch.setattr("ftkit.engine.push.export", pytest.fail)
    assert "ada is not of bob" in refused(MachineError, run, "bob/reviews", dry_run=dry_run)
    online.accounts.roles["lab"] = "read"
    assert "ada may only read in lab" in refused(MachineError, run, "lab/reviews", dry_run=dry_run)
    online.accounts.roles[TOKEN] = "read"
    said = refused(MachineError, run, "reviews", dry_run=dry_run)
    assert "may only read" in said and "write access" in said


@pytest.mark.parametrize("lack", ["the Hub", "a login"])
def test_a_dry_run_without_the_hub_tells_what_it_could_not_ask(
    online: Hub, exported: Path, monkeypatch: pytest.MonkeyPatch, lack: str
) -> None:
    if lack == "the Hub":
        online.faults.status = 503
    else:
        monkeypatch.delenv("HF_TOKEN")
    told: list[str] = []
    pushed = push(exported, "reviews", told.append, dry_run=True)
    assert pushed.commit is None and sorted(pushed.changed) == sorted(local(exported))
    assert (pushed.repo, pushed.url) == ("<you>/reviews", f"{online.address}/<you>/reviews")
    assert push(exported, "lab/reviews", dry_run=True).url == f"{online.address}/lab/reviews"
    why = "can't be reached" if lack == "the Hub" else "nobody is logged in"
    assert why in told[0] and "not asked who may write" in told[0]
    assert any(line.startswith("  model.safetensors: ") for line in told)
    assert "can't be a repository's name" in refused(CheckpointError, exported, "a/b/c", dry_run=True)


def test_a_branch_is_made_and_main_stays(online: Hub, exported: Path, lab: Lab) -> None:
    push(exported, "reviews")
    before = online.files("ada/reviews")
    push(lab.trained("single", "lora").run, "reviews", revision="lora/1")
    assert online.files("ada/reviews") == before != online.files("ada/reviews", "lora/1")
    assert broken(online.folder("ada/reviews", "lora/1")) == []


# ------------------------------------------------------------------ what is there already


def test_an_earlier_push_is_followed_by_a_commit_that_says_so(
    online: Hub, exported: Path, lab: Lab, tmp_path: Path
) -> None:
    first = push(exported, "reviews")
    online.edit("ada/reviews", "LICENSE", "mine")
    folder = shutil.copytree(exported, tmp_path / "out")
    (folder / SEAL).unlink()
    (folder / "example.py").unlink()
    seal(folder)
    told: list[str] = []
    second = push(folder, "reviews", told.append)
    assert second.removed == ["example.py"] and second.commit != first.commit
    (note,) = [line for line in told if line.startswith("note")]
    assert str(first.commit)[:12] in note and "removes example.py" in note
    assert online.files("ada/reviews").keys() == local(folder).keys() | {".gitattributes", "LICENSE"}


def test_the_same_again_makes_no_commit(online: Hub, exported: Path) -> None:
    first = push(exported, "reviews")
    told: list[str] = []
    again = push(exported, "reviews", told.append)
    assert list(online.accounts.messages) == [first.commit] == [again.commit] and again.files == first.files
    assert (sorted(first.changed), again.changed) == (sorted(first.files), [])
    assert told[-1] == "ada/reviews holds these files already: there is no new commit"


def test_other_peoples_files_are_replaced_by_force_alone(online: Hub, exported: Path) -> None:
    theirs = online.root / "models/ada/theirs"
    theirs.mkdir(parents=True)
    (theirs / "thesis.txt").write_text("years of work")
    assert "thesis.txt" in refused(CheckpointError, exported, "theirs", public=True)
    assert online.head("ada/theirs") == COMMIT
    pushed = push(exported, "theirs", public=True, force=True)
    assert pushed.removed == ["thesis.txt"] and "thesis.txt" not in online.files("ada/theirs")
    assert (theirs / "thesis.txt").exists(), "the commit before keeps it"


def test_a_card_that_was_edited_is_somebodys_work(online: Hub, exported: Path) -> None:
    push(exported, "reviews")
    online.edit("ada/reviews", "README.md", "# Mine, and better\n")
    assert "README.md was edited" in refused(CheckpointError, exported, "reviews")
    push(exported, "reviews", force=True)
    assert online.files("ada/reviews")["README.md"] == (exported / "README.md").read_bytes()


def test_a_public_repository_takes_nothing_unless_it_is_said(online: Hub, exported: Path) -> None:
    push(exported, "reviews", public=True)
    assert "--public" in refused(CheckpointError, exported, "reviews")


def test_a_repository_of_which_the_hub_would_leave_files_out(online: Hub, exported: Path) -> None:
    push(exported, "reviews")
    online.edit("ada/reviews", ".gitignore", "*.safetensors\n")
    assert "it has a .gitignore" in refused(CheckpointError, exported, "reviews", force=True)


def test_an_empty_repository_is_filled(online: Hub, exported: Path) -> None:
    (online.root / "models/ada/reviews").mkdir(parents=True)
    push(exported, "reviews", public=True)
    assert broken(online.folder("ada/reviews")) == []


# ------------------------------------------------------------------ what goes wrong


def test_an_upload_that_is_cut_leaves_the_repository_and_can_be_called_again(
    online: Hub, exported: Path, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = push(exported, "reviews")
    run = lab.trained("single", "lora").run
    monkeypatch.setattr(time, "sleep", lambda _: None)
    online.faults.uploads = 100
    assert "nothing was committed" in refused(MachineError, run, "reviews")
    assert online.head("ada/reviews") == first.commit and local(exported).items() <= online.files("ada/reviews").items()
    online.faults.uploads = 1
    push(run, "reviews")
    assert online.head("ada/reviews") != first.commit and broken(online.folder("ada/reviews")) == []


def test_what_did_not_arrive_as_it_was_sent_is_told(
    online: Hub, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = pushing._commit

    def torn(*given: Any) -> str:
        made = commit(*given)
        online.edit("ada/reviews", "config.json", "{}")
        (online.folder("ada/reviews") / "tokenizer.json").unlink()
        return made

    monkeypatch.setattr(pushing, "_commit", torn)
    said = refused(MachineError, exported, "reviews")
    assert "config.json is not as it was sent" in said and "tokenizer.json is missing" in said


def test_a_commit_that_was_overtaken_changes_nothing(online: Hub, exported: Path) -> None:
    online.faults.overtaken = True
    assert "was changed meanwhile" in refused(CheckpointError, exported, "reviews")
    assert online.files("ada/reviews").keys() == {".gitattributes"}
    online.faults.overtaken = False
    push(exported, "reviews")


@pytest.mark.parametrize("token", ["", "hf_of-yesterday", "hf_é"])
def test_a_token_that_is_missing_or_refused_is_told(
    online: Hub, exported: Path, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    said = refused(MachineError, exported, "reviews")
    assert "hf auth login" in said and (not token or token not in said)
    assert not list(online.root.rglob("*/reviews"))


def test_a_place_where_one_may_not_write(online: Hub, exported: Path) -> None:
    said = refused(MachineError, exported, "bob/reviews")
    assert "may not write to bob/reviews" in said and "hf auth login" in said


@pytest.mark.parametrize("name", ["a/b/c", "who?", "-x", "https://hub/ada/x", ""])
def test_what_can_not_be_a_name(online: Hub, exported: Path, name: str) -> None:
    assert "can't be a repository's name" in refused(CheckpointError, exported, name)


def test_a_hub_that_is_down(online: Hub, exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    online.faults.status = 503
    assert "can't be reached" in refused(MachineError, exported, "reviews")


def test_a_harmed_export_an_unsealed_one_and_none_at_all(online: Hub, exported: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(exported, tmp_path / "out")
    (folder / "config.json").write_text("{}")
    assert "config.json is not as it was written" in refused(CheckpointError, folder, "reviews")
    (folder / SEAL).unlink()
    assert SEAL in refused(RunError, folder, "reviews")
    several = tmp_path / "several"
    shutil.copytree(exported, several / "checkpoint")
    assert f"name one of {several / 'checkpoint'}" in refused(RunError, several, "reviews")
    assert not list(online.root.rglob("*/reviews"))


def test_an_adapter_whose_base_is_a_folder_here_is_refused(online: Hub, lab: Lab, tmp_path: Path) -> None:
    folder = exports.export(lab.trained("single", "lora").run, tmp_path / "out", "adapter")
    said = refused(RunError, folder, "reviews")
    assert f"ftkit.json names {lab.checkpoint('bert')}" in said and "push the run" in said
    assert not list(online.root.rglob("*/reviews"))


def test_a_run_that_its_export_does_not_answer_like_is_not_pushed(
    online: Hub, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ftkit.engine import gate

    def no(_: object) -> None:
        raise GateError("its logits differ")

    monkeypatch.setattr(gate, "refuse", no)
    refused(GateError, lab.trained("single", "full").run, "reviews")
    assert not list(online.root.rglob("*/reviews"))


def test_the_card_is_metadata_that_the_hub_takes(online: Hub, exported: Path) -> None:
    head = yaml.safe_load((exported / "README.md").read_text().split("---\n")[1])
    (model,) = head["model-index"]
    assert {result["dataset"]["split"] for result in model["results"]} == {"validation", "test"}
    assert set(head) == {"library_name", "pipeline_tag", "metrics", "model-index", "tags"}
    assert json.dumps(head)


def test_what_json_tells(online: Hub, exported: Path) -> None:
    told = push(exported, "reviews").as_json()
    assert told.keys() == {"repo", "url", "revision", "commit", "private", "files", "changed", "removed"}
    assert isinstance(told["commit"], str) and Pushed(**told).as_json() == told


def test_a_short_path_stands_among_weights_by_chance_and_a_long_one_does_not(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(exported, tmp_path / "copy"))
    (folder / "weights.bin").write_bytes(b"\0\1/w/\2")
    (folder / "notes.txt").write_text("all lies in /w/data")
    monkeypatch.setattr(Path, "cwd", lambda: Path("/w"))
    pushing._refuse_private(folder, ["weights.bin"], folder)
    with pytest.raises(RunError, match=r"notes\.txt names /w/"):
        pushing._refuse_private(folder, ["notes.txt"], folder)
    (folder / "weights.bin").write_bytes(b"\0\1/home/ada/\2\0")
    monkeypatch.setattr(Path, "cwd", lambda: Path("/home/ada"))
    with pytest.raises(RunError, match=r"weights\.bin names /home/ada/"):
        pushing._refuse_private(folder, ["weights.bin"], folder)


def test_the_home_of_root_is_long_enough(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ftkit.engine.export import export

    folder = export(lab.trained("single", "full").run, tmp_path / "out")
    (folder / "weights.bin").write_bytes(b"\0\1/root/\2\0")
    monkeypatch.setattr(Path, "cwd", lambda: Path("/root"))
    with pytest.raises(RunError, match=r"weights\.bin names /root/"):
        pushing._refuse_private(folder, ["weights.bin"], folder)
