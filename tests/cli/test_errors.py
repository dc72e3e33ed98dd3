"""What a user can do wrong: a sentence that names the thing and the way out, exit code 3, nothing left behind."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from tests.command import Done, command, environment, ftkit, process, stands
from tests.runs import Lab

TEN = "".join(f"row {i} is good,yes\nrow {i} is bad,no\n" for i in range(5))


class Case(NamedTuple):
    """A command, what it must say, and the files it is given."""

    line: str
    says: tuple[str, ...]
    files: dict[str, str | bytes] = {}


TRAIN = "train {kind}.yaml --run out/new"


def data(setting: str, *says: str, kind: str = "single", **files: str | bytes) -> Case:
    """A training on other data; the files' names are written with `__` for the dot."""
    named = {name.replace("__", "."): content for name, content in files.items()}
    return Case(f"train {kind}.yaml --run out/new --set {shlex.quote(setting)}", says, named)


def recipe(content: str | bytes, *says: str) -> Case:
    """A training from a recipe of this content."""
    return Case("train mine.yaml --run out/new", ("mine.yaml", *says), {"mine.yaml": content})


GOOD = "task: classification\nmodel: {checkpoint: minilm}\ndata: {train: a.csv}\n"
NER_ROWS = '{"tokens": ["Ann", "ran"], "tags": ["B-PER", "O"]}\n'
QA_ROWS = '{"question": "Who?", "context": "Ann ran.", "answers": {"text": ["Ann"], "answer_start": [0]}}\n'

DATA = {
    "missing file": data("data.train=nowhere.csv", "there is no file", "nowhere.csv"),
    "missing file with a near one": data("data.train=review.csv", "did you mean", "reviews.csv", reviews__csv="x"),
    "missing files, all told": Case(
        f"{TRAIN.format(kind='single')} --set data.train=one.csv --set data.test=two.csv", ("one.csv", "two.csv")
    ),
    "a folder": data("data.train=.", "is a folder", "name one of its files"),
    "empty file": data("data.train=a.csv", "a.csv has no rows", "a row for each example", a__csv=""),
    "header alone": data("data.train=a.csv", "a.csv has no rows", "a row for each example", a__csv="text,label\n"),
    "empty JSON Lines": data("data.train=a.jsonl", "a.jsonl has no rows", a__jsonl="\n"),
    "unknown ending": data("data.train=a.docx", "'.docx'", ".csv", a__docx="text,label\n"),
    "no such column": data(
        "data.train=a.csv",
        "a.csv",
        "no column found for 'label'",
        "'text', 'mark'",
        "data.columns={label: COLUMN}",
        a__csv="text,mark\na,b\n",
    ),
    "no such mapped column": data("data.columns={text: revue}", "'revue'", "'text'", "its columns: 'text', 'label'"),
    "no such column of the task": data("data.columns={texts: text}", "'texts'", "did you mean 'text'?"),
    "no header": data(
        "data.train=a.csv",
        "looks like a row",
        "data.columns={text: 0, label: 1}",
        a__csv="I loved every minute of it,yes\nI hated every minute of it,no\n",
    ),
    "label that train never had": data(
        "data.test=b.csv",
        "b.csv line 3",
        "label 'trad'",
        "did you mean 'trade'?",
        b__csv="text,label\na,arts\nb,trad\n",
    ),
    "label that train never had, in validation": data(
        "data.validation=b.csv", "b.csv line 2", "label 'weather'", "arts", b__csv="text,label\na,weather\n"
    ),
    "type that train never had": data(
        "data.test=b.jsonl",
        "b.jsonl",
        "type 'GOD'",
        "LOC, PER",
        kind="ner",
        b__jsonl='{"text": "Odin ran", "entities": [{"start": 0, "end": 4, "type": "GOD"}]}\n',
    ),
    "tags of another length": data(
        "data.train=a.jsonl",
        "a.jsonl, line 2",
        "1 tags for 2 tokens",
        "give each token one tag",
        kind="words",
        a__jsonl=NER_ROWS + '{"tokens": ["He", "ran"], "tags": ["O"]}\n',
    ),
    "no entity at all": data(
        "data.train=a.jsonl",
        "no entity",
        "data.columns",
        kind="words",
        a__jsonl='{"tokens": ["He", "ran"], "tags": ["O", "O"]}\n' * 10,
    ),
    "entity outside its text": data(
        "data.train=a.jsonl",
        "a.jsonl, line 1",
        "0-40",
        "a text of 3",
        kind="ner",
        a__jsonl='{"text": "Ann", "entities": [{"start": 0, "end": 40, "type": "PER"}]}\n',
    ),
    "answer that is not in its context": data(
        "data.train=a.jsonl",
        "a.jsonl, line 2",
        "does not stand in its context",
        "'Bob'",
        "character for character",
        kind="qa",
        a__jsonl=QA_ROWS + QA_ROWS.replace('["Ann"]', '["Bob"]'),
    ),
    "answer at another place": data(
        "data.train=a.jsonl",
        "a.jsonl, line 1",
        "is not at 4",
        "stands at 0",
        kind="qa",
        a__jsonl=QA_ROWS.replace("[0]", "[4]"),
    ),
    "binary": data("data.train=a.csv", "a.csv is binary", "NUL", a__csv=b"text,label\n\x00\x01,\x02\n"),
    "another encoding": data(
        "data.train=a.csv", "a.csv, line 2", "0xe9", "data.encoding", a__csv="text,label\ncafé,yes\n".encode("latin-1")
    ),
    "torn UTF-16": data("data.train=a.csv", "a.csv, line 1", "is not utf-16", a__csv=b"\xff\xfet\0e"),
    "torn Parquet": data("data.train=a.parquet", "a.parquet", "Parquet", a__parquet=b"PAR1 and nothing more"),
    "torn gzip": data("data.train=a.csv.gz", "a.csv.gz", "gzip", a__csv__gz=b"\x1f\x8b\x08 no"),
    "ragged lines": data(
        "data.train=a.csv", "a.csv, line 2", "3 values", "double quotes", a__csv="text,label\na,b,c\n"
    ),
    "torn JSON": data("data.train=a.jsonl", "a.jsonl, line 1", "not valid JSON", a__jsonl='{"text": "a", \n'),
    "no number": data(
        "data.train=a.csv",
        "a.csv, line 2",
        "'label'",
        "is not a number",
        "'high'",
        kind="regression",
        a__csv="text,label\na,high\n",
    ),
    "labels that are missing": data(
        "data.train=a.jsonl",
        "line 2",
        "'label'",
        "is missing",
        "fill in",
        a__jsonl='{"text": "a", "label": "b"}\n{"text": "c", "label": null}\n',
    ),
    "labels all the same": data(
        "data.train=a.csv", "too few different labels", "'yes'", "2 or more", a__csv="text,label\na,yes\nb,yes\nc,yes\n"
    ),
    "one row": data("data.train=a.csv", "1", "data.validation", kind="cut", a__csv="text,label\na,yes\n"),
    "share of too few rows": data(
        "data.train=a.csv", "data.validation", kind="cut", a__csv="text,label\na,yes\nb,no\n"
    ),
    "share over one": data("data.validation=1.5", "data.validation", "between 0 and 1", "1.5"),
    "unknown sample": data("data.train=sample:sentimant", "'sentimant'", "did you mean sample:sentiment?"),
    "unlisted label": data("data.labels=[arts, sport]", "'trade'", "data.labels"),
    "unknown group": data("data.group=author", "data.group=author", "its columns", kind="cut"),
}

CHECKPOINTS = {
    "no folder": data("model.checkpoint=./nowhere", "there is no folder", "nowhere"),
    "a file": data("model.checkpoint=./single.yaml", "single.yaml is a file", "a checkpoint is a folder"),
    "no config": data("model.checkpoint=./bare", "bare", "there is no config.json", bare__txt=""),
    "torn weights": data("model.checkpoint=./torn", "torn", "model.safetensors", "bytes of"),
    "pickles": data("model.checkpoint=./pickled", "pytorch_model.bin", "pickle", "save_pretrained"),
    "no tokenizer": data("model.checkpoint=./mute", "mute", "there is no tokenizer"),
    "torn config": data("model.checkpoint=./garbled", "garbled", "config.json is not JSON"),
    "unknown architecture": data("model.checkpoint=./strange", "strange", "quux"),
    "unknown Hub id": data("model.checkpoint=nobody/nothing-at-all", "nobody/nothing-at-all"),
    "misspelt starter": data("model.checkpoint=minilmm", "minilmm", "Did you mean the starter minilm?"),
    "no name": data("model.checkpoint='a b c'", "'a b c'", "ftkit checkpoints list"),
    "wrong family": data("task={name: summarization, family: causal}", "task.family", "seq2seq", kind="seq2seq"),
    "encoder that can't write": data("model.checkpoint=./bert", "bert", kind="seq2seq"),
}

RECIPES = {
    "no such recipe": Case("train sentiment/ful", ("'sentiment/ful'", "did you mean sentiment/full?", "recipes list")),
    "recipe in nobody's home": Case("train ~nobody-here/a.yaml", ("~nobody-here/a.yaml", "no home folder")),
    "a folder as recipe": Case("train .", ("'.'", "recipes list")),
    "not YAML": recipe("task: [classification\n", "is not valid YAML", "line 2"),
    "a list": recipe("- task\n- model\n", "holds no settings", "recipes show"),
    "a data file": Case(
        "train mine.csv --run out/new",
        ("mine.csv holds no settings", "ftkit init mine.csv"),
        {"mine.csv": "text,label"},
    ),
    "a word": recipe("classification\n", "holds no settings"),
    "empty": recipe("", "holds no settings", "recipes show sentiment/full"),
    "binary recipe": recipe(b"\x89PNG\r\n\x1a\n\xff\xfe", "is not a text file", "UTF-8"),
    "NUL in a recipe": recipe("task: \x00\n", "not valid YAML"),
    "a task missing": recipe("model: {checkpoint: minilm}\n", "task: must be set", "recipes explain"),
    "misspelt setting": recipe(
        f"{GOOD}train: {{epoch: 1}}\n", "train.epoch: no such setting; did you mean train.epochs?"
    ),
    "misspelt section": recipe(f"{GOOD}trian: {{epochs: 1}}\n", "trian: no such setting; did you mean train?"),
    "a section that is a value": recipe(f"{GOOD}train: 3\n", "train:", "3"),
    "a word for a number": recipe(f"{GOOD}train: {{learning_rate: fast}}\n", "train.learning_rate", "number", "'fast'"),
    "several problems": recipe(
        f"{GOOD}train: {{epoch: 1, learning_rate: fast, batch: 0}}\nmethod: {{name: lora, rnak: 4}}\n",
        "4 problems",
        "train.epochs?",
        "'fast'",
        "train.batch",
        "method.rank?",
    ),
    "settings that exclude each other": recipe(
        f"{GOOD}train: {{layer_decay: 0.9, bottom_rate: 1e-5}}\n", "train.layer_decay and train.bottom_rate"
    ),
    "uneven accumulation": recipe(f"{GOOD}train: {{batch: 9, accumulate: 2}}\n", "train.accumulate", "9"),
    "unknown task": recipe("task: sentimant\nmodel: {checkpoint: minilm}\n", "'sentimant'", "did you mean sentiment?"),
    "unknown method": recipe(f"{GOOD}method: lorra\n", "'lorra'", "did you mean lora?"),
    "method for no encoder": recipe(f"{GOOD}method: nothing_like_it\n", "there are: adapter, full, head"),
    "option of a task": recipe(
        "task: {name: qa, strid: 4}\nmodel: {checkpoint: minilm}\n", "task.strid", "task.stride?"
    ),
    "no data": Case(
        "train mine.yaml",
        ("data.train must be set", "--set data.train=FILE"),
        {"mine.yaml": "task: ner\nmodel: {checkpoint: ./bert}\n"},
    ),
    "--set without a value": Case("train single.yaml --set train.epochs", ("train.epochs", "name=value")),
    "--set of nothing": Case("train single.yaml --set =3", ("=3", "name=value")),
    "--set misspelt": Case(
        "train single.yaml --set train.epoch=1", ("train.epoch: no such setting", "did you mean train.epochs?")
    ),
    "--set inside a number": Case("train single.yaml --set train.epochs.x=1", ("train.epochs.x=1", "nothing inside")),
    "--set that is no YAML": Case(
        "train single.yaml --set data.columns={text", ("data.columns={text", "not valid YAML")
    ),
    "--set of a switch for a number": Case(
        "train single.yaml --set method.name=lora --set method.rank=true", ("method.rank", "can't be true or false")
    ),
    "--set of what is no finite number": Case(
        "train single.yaml --set method.name=lora --set method.alpha=nan", ("method.alpha", "must be a finite number")
    ),
    "--set of a missing option": Case("train single.yaml --set method.rank=4", ("method.rank",)),
    "unknown setting explained": Case("recipes explain train.epoch", ("'train.epoch'", "did you mean train.epochs?")),
    "unknown recipe shown": Case("recipes show ner/fool", ("'ner/fool'", "did you mean ner/full?")),
    "copy over a file": Case("recipes copy ner/full single.yaml", ("single.yaml exists already", "another file")),
    "copy to nowhere": Case("recipes copy ner/full no/such/folder.yaml", ("no/such/folder.yaml", "can't be written")),
}

TASK = "from ftkit.tasks.classification import Classification\n"
PLUGINS = {
    "no file": data("task=./mine.py", "task", "there is no file", "mine.py"),
    "syntax error": data("task=./mine.py", "mine.py, line 2", "SyntaxError", mine__py=f"{TASK}class (:\n"),
    "error on import": data("task=./mine.py", "mine.py", "No module named 'nowhere'", mine__py="import nowhere\n"),
    "no class": data("task=./mine.py", "mine.py", "must define one class that inherits Task", mine__py=TASK),
    "two classes": data(
        "task=./mine.py",
        "it defines One, Two",
        mine__py=f"{TASK}class One(Classification): ...\nclass Two(Classification): ...\n",
    ),
    "a method for a task": data(
        "task=./mine.py", "inherits Task", mine__py="from ftkit.methods.full import Full\nclass Mine(Full): ...\n"
    ),
    "unknown option of one's own": data(
        "task={name: ./mine.py, maxlength: 3}",
        "task.maxlength",
        "task.max_length?",
        mine__py=f"{TASK}class Mine(Classification): ...\n",
    ),
    "no such module": data("task=nowhere.at_all", "nowhere.at_all", "can't be imported"),
}

PLACES = {
    "run that exists": Case("train single.yaml --run bare", ("bare exists already", "--run", "never overwritten")),
    "run that is a file": Case("train single.yaml --run bare.txt", ("bare.txt exists already",), {"bare.txt": ""}),
    "run inside a file": Case(
        "train single.yaml --run bare.txt/new", ("bare.txt/new", "can't be made", "--run"), {"bare.txt": ""}
    ),
    "run where nothing can be written": Case(
        "train single.yaml --run /proc/new", ("/proc/new", "can't be made", "--run")
    ),
    "run in nobody's home": Case("train single.yaml --run ~nobody-here/new", ("~nobody-here/new", "no home folder")),
    "no processes": Case("train single.yaml --processes 0", ("--processes 0", "one or more")),
    "processes that share unevenly": Case(
        "train single.yaml --processes 3", ("train.batch", "3 processes", "multiple of 3")
    ),
    "precision that is not there": data("train.precision=fp16", "fp16", "GPU"),
    "recipe for answers in no precision": data("evaluate.precision=fp16", "evaluate.precision", "fp32", "bf16"),
    "more disk than there is anywhere": data("train.frozen_cache=1e300", "train.frozen_cache", "less than or equal"),
    "dry run with a metric that is not there": Case(
        "train single.yaml --dry-run --set train.metric=acuracy", ("train.metric", "'acuracy'", "accuracy")
    ),
    "dry run of a step that can't be shared": Case("train single.yaml --dry-run --processes 3", ("multiple of 3",)),
    "less than no disk": data("train.frozen_cache=-1", "train.frozen_cache", "greater than or equal to 0"),
    "more layers than there are": data("method={name: lora, layers: 9}", "method.layers asks for 9", "at most"),
    "unknown metric": data("train.metric=acuracy", "train.metric", "'acuracy'", "accuracy"),
    "weights for no label": data("train.class_weights={art: 2}", "train.class_weights", "'art'", "arts"),
}

USE = {
    "eval of nothing": Case("eval nowhere", ("nowhere",)),
    "eval of no model": Case("eval {no_model}", ("its model is gone", "train anew")),
    "predict of no model": Case("predict {no_model} text", ("its model is gone", "train anew")),
    "export of no model": Case("export {no_model} --to x", ("its model is gone", "train anew")),
    "eval of a base": Case("eval {bert} --data a.csv", ("no head", "ftkit train"), {"a.csv": "text,label\na,b\n"}),
    "unknown split": Case("eval {single} --split tset", ("no tset split", "train, validation, test")),
    "eval in no precision": Case("eval {single} --precision fp8", ("--precision fp8", "fp32, bf16")),
    "predict in no precision": Case("predict {single} text --precision fp16", ("--precision fp16", "fp32, bf16")),
    "eval without data": Case("eval {export}", ("no run", "--data FILE")),
    "eval of a missing file": Case("eval {single} --data nowhere.csv", ("there is no file", "nowhere.csv")),
    "eval of unknown labels": Case(
        "eval {single} --data a.csv",
        ("a.csv row 2", "'weather'", "'arts', 'sport', 'trade'"),
        {"a.csv": "text,label\na,weather\n"},
    ),
    "eval of no labels": Case("eval {single} --data a.csv", ("a.csv", "'label'"), {"a.csv": "text\nhello\n"}),
    "eval with a setting of training": Case(
        "eval {single} --data a.csv --set train.epochs=3",
        ("--set train", "only data.*"),
        {"a.csv": "text,label\na,arts\n"},
    ),
    "eval with a setting for no file": Case("eval {single} --set data.limit=3", ("--set data.limit=3", "--data FILE")),
    "predict with a setting for no file": Case(
        "predict {single} text --set data.limit=3", ("--set data.limit=3", "--input")
    ),
    "eval with an unknown setting": Case(
        "eval {single} --data a.csv --set data.colums={{}}",
        ("data.colums", "data.columns?"),
        {"a.csv": "text,label\na,arts\n"},
    ),
    "predict of nothing": Case("predict {single}", ("texts", "--input")),
    "predict of both": Case("predict {single} text --input a.csv", ("--input", "one of the two")),
    "predict of a missing file": Case("predict {single} --input nowhere.csv", ("there is no file", "nowhere.csv")),
    "predict of torn rows": Case(
        "predict {single} --input a.jsonl",
        ("a.jsonl", "not valid JSON"),
        {"a.jsonl": '{"text"\n{"text"\n'},
    ),
    "predict of other columns": Case(
        "predict {single} --input a.csv",
        ("a.csv", "no column found for 'text'", "'words_only'"),
        {"a.csv": "words_only\nx\n"},
    ),
    "predict of an object without text": Case('predict {single} \'{{"txet": "a"}}\'', ("input 1", "txet", "text")),
    "plain text for questions": Case(
        "predict {qa} 'who ran?'", ("input 1", "plain text", '"question": ..., "context": ...')
    ),
    "predict into a folder": Case("predict {single} text --output bare", ("bare is a folder", "--output")),
    "predict into a file's inside": Case(
        "predict {single} text --output single.yaml/x.jsonl", ("single.yaml/x.jsonl",)
    ),
    "export without a folder to make": Case("export {single} --to bare", ("bare exists already", "--to")),
    "export into a file's inside": Case("export {single} --to single.yaml/x", ("single.yaml/x", "can't be written")),
    "unknown format": Case("export {single} --to x --format onyx", ("'onyx'", "adapter, checkpoint")),
    "adapter of all weights": Case("export {single} --to x --format adapter", ("full has no adapter", "leave it out")),
    "checkpoint of an adapter": Case("export {adapter} --to x", ("adapters can't be merged", "method: lora")),
    "checkpoint that can't be got": Case("checkpoints get ./nowhere", ("there is no folder", "nowhere")),
}

CASES = {**DATA, **CHECKPOINTS, **RECIPES, **PLUGINS, **PLACES, **USE}


def test_no_two_cases_have_one_name() -> None:
    assert len(CASES) == sum(map(len, (DATA, CHECKPOINTS, RECIPES, PLUGINS, PLACES, USE)))


@pytest.fixture(scope="module")
def bench(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a good recipe of each kind and checkpoints that are broken in each way."""
    folder = tmp_path_factory.mktemp("bench")
    changes = {
        "words": ("ner", ("data.validation=null", "data.test=null")),
        "cut": ("single", ("data.validation=0.1",)),
    }
    for name in ("single", "regression", "ner", "qa", "seq2seq", *changes):
        kind, settings = changes.get(name, (name, ()))
        (folder / f"{name}.yaml").write_text(lab.recipe(kind, *settings).dump())
    whole = lab.checkpoint("bert")
    for name in ("bert", "torn", "pickled", "mute", "garbled", "strange"):
        shutil.copytree(whole, folder / name)
    (folder / "bare").mkdir()
    (folder / "torn" / "model.safetensors").write_bytes((whole / "model.safetensors").read_bytes()[:-1000])
    (folder / "pickled" / "model.safetensors").rename(folder / "pickled" / "pytorch_model.bin")
    (folder / "mute" / "tokenizer.json").unlink()
    (folder / "garbled" / "config.json").write_text("{")
    (folder / "strange" / "config.json").write_text('{"model_type": "quux"}')
    return folder


def without_model(lab: Lab) -> Path:
    """A run whose training never came to the end of an epoch."""
    folder = lab.folder / "no-model"
    if not folder.exists():
        shutil.copytree(lab.trained("single", "full").run, folder, ignore=shutil.ignore_patterns("model"))
    return folder


def places(lab: Lab, line: str) -> dict[str, object]:
    """The trained folders that a command line names."""
    made: dict[str, Callable[[], object]] = {
        "single": lambda: lab.trained("single", "full").run,
        "qa": lambda: lab.trained("qa", "full").run,
        "adapter": lambda: lab.trained("single", "adapter").run,
        "bert": lambda: lab.checkpoint("bert"),
        "export": lambda: lab.trained("single", "full").run / "model",
        "no_model": lambda: without_model(lab),
    }
    return {name: make() for name, make in made.items() if f"{{{name}}}" in line}


@pytest.mark.parametrize("name", CASES)
def test_mistake_gets_a_sentence_and_leaves_nothing(
    lab: Lab, bench: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    case = CASES[name]
    folder = tmp_path / "here"
    shutil.copytree(bench, folder)
    for file, content in case.files.items():
        (folder / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    monkeypatch.chdir(folder)
    before, given = stands(tmp_path), places(lab, case.line)
    line = case.line.format(**given) if name in USE else case.line
    done = ftkit(*shlex.split(line))
    assert done.code == 3, done
    assert_sentence(done, case.says)
    assert stands(tmp_path) == before
    for trained in given.values():
        assert not list(Path(str(trained)).rglob(".*"))


def assert_sentence(done: Done, says: tuple[str, ...]) -> None:
    """One error on stderr that says what is wrong, and nothing on stdout."""
    assert done.out == ""
    assert done.err.count("error: ") == 1 and "Traceback" not in done.err
    for words in says:
        assert words in done.err


# ---------------------------------------------------------------------- wrong flags and commands

USAGE = {
    "trian": "trian",
    "train": "recipe",
    "train x --epochs 3": "--epochs",
    "train x --processes two": "--processes",
    "recipes lsit": "lsit",
    "recipes copy ner/full": "to",
    "eval": "source",
    "export x": "--to",
    "predict x --inptu y": "--inptu",
    "doctor --trian": "--trian",
    "--json": "--json",
}


@pytest.mark.parametrize("line", USAGE)
def test_unknown_flag_or_command_is_named_with_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = ftkit(*shlex.split(line))
    assert done.code == 2 and done.out == ""
    assert USAGE[line] in done.err.casefold() and "Usage:" in done.err and "Traceback" not in done.err
    assert not stands(tmp_path)


def test_bug_shows_its_traceback_and_is_no_users_fault(tmp_path: Path) -> None:
    script = "import ftkit.shelf\nftkit.shelf.first_lines = lambda: 1 / 0\nfrom ftkit.cli import main\nmain()"
    done = subprocess.run(
        [*command()[:1], "-c", script, "recipes", "list"], env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 1 and "ZeroDivisionError" in done.stderr


def test_reader_that_stops_reading_is_no_fault(tmp_path: Path) -> None:
    reader = subprocess.Popen(command("recipes", "schema"), env=environment(), stdout=-1, stderr=-1, text=True)
    assert reader.stdout is not None and reader.stderr is not None
    reader.stdout.close()
    assert reader.stderr.read() == ""
    assert reader.wait() == 0
    reader.stderr.close()


# ---------------------------------------------------------------------- faults that training meets on its way


def test_loss_that_is_no_number_any_more_is_told(bench: Path, tmp_path: Path) -> None:
    settings = ("train.learning_rate=1e30", "train.optimizer=sgd", "train.max_grad_norm=0", "train.epochs=4")
    sets = [word for setting in settings for word in ("--set", setting)]
    done = ftkit("train", bench / "regression.yaml", *sets, "--run", tmp_path / "run")
    assert done.code == 3
    assert_sentence(done, ("of training rows", "is not finite", "train.learning_rate"))
    assert not (tmp_path / "run" / "scores.json").exists()
    assert not [name for name in stands(tmp_path) if Path(name).name.startswith(".")]


def _heeds_interrupts() -> None:
    """A shell without job control has what it starts in the background ignore them."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_interrupted_training_says_so_and_can_be_gone_on_with(
    bench: Path, tmp_path: Path, number: signal.Signals
) -> None:
    line = command("train", bench / "single.yaml", "--set", "train.epochs=100000", "--run", tmp_path / "run")
    training = subprocess.Popen(line, env=environment(), stdout=-1, stderr=-1, text=True, preexec_fn=_heeds_interrupts)
    try:
        for _ in range(600):
            if (tmp_path / "run" / "model").exists():
                break
            time.sleep(0.1)
        training.send_signal(number)
        out, err = training.communicate(timeout=30)
    finally:
        training.kill()
    said = [line for line in err.splitlines() if not line.startswith("warning: ")]
    assert training.returncode == 130 and out == "" and len(said) == 3
    assert said[0].startswith("stopping: the step at hand is finished and saved")
    step = int(said[1].removeprefix("interrupted after step ").removesuffix(", which is saved"))
    assert said[2] == f"  `ftkit train --resume --run {tmp_path / 'run'}` goes on from there"
    assert (tmp_path / "run" / "checkpoints" / f"step-{step:08}" / "SHA256SUMS").is_file()
    assert not [name for name in stands(tmp_path) if Path(name).name.startswith(".")]
    assert ftkit("predict", tmp_path / "run", "still an answer").code == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes where nobody may")
def test_folder_without_permission_is_named(bench: Path, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=stat.S_IRUSR | stat.S_IXUSR)
    done = ftkit("train", bench / "single.yaml", "--run", closed / "new")
    assert done.code == 3
    assert_sentence(done, ("closed/new", "can't be made", "Permission denied", "--run"))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own for a test, to be filled; its size is set by `resize`."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("a small disk can be mounted by root alone")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def resize(disk: Path, kilobytes: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={kilobytes}k", disk], check=True)


@pytest.mark.parametrize("kilobytes", [4, 12, 40, 100, 200])
def test_full_disk_is_told_and_keeps_nothing_half_written(bench: Path, disk: Path, kilobytes: int) -> None:
    resize(disk, kilobytes)
    done = ftkit("train", bench / "single.yaml", "--set", "train.epochs=2", "--run", disk / "run")
    assert done.code == 3
    assert "Traceback" not in done.err and done.err.count("error: ") == 1
    assert "disk is full" in done.err or "No space left" in done.err
    assert "free some space" in done.err or "name another with --run" in done.err
    assert not [name for name in stands(disk) if Path(name).name.startswith(".")]
    assert not (disk / "run" / "scores.json").exists() and not (disk / "run" / "model").exists()


def test_model_on_a_full_disk_is_the_one_before(bench: Path, disk: Path) -> None:
    """Room for one model and not for two: the second epoch's can't be written beside the first's."""
    settings = ("train.epochs=30", "train.learning_rate=0.01", "train.metric=mse")
    sets = [word for setting in settings for word in ("--set", setting)]
    ftkit("train", bench / "regression.yaml", *sets[:2], "--set", "train.epochs=0", "--run", disk / "once")
    size = sum(file.stat().st_size for file in (disk / "once").rglob("*") if file.is_file())
    shutil.rmtree(disk / "once")
    resize(disk, int(size * 1.5) // 1024)
    done = ftkit("train", bench / "regression.yaml", *sets, "--run", disk / "run")
    assert done.code == 3 and "disk is full" in done.err
    assert not [name for name in stands(disk) if Path(name).name.startswith(".")]
    assert ftkit("predict", disk / "run", "still an answer").code == 0


@pytest.mark.parametrize(
    "line", ["export {single} --to {disk}/x", "predict {single} --input rows.csv --output {disk}/x"]
)
def test_full_disk_keeps_no_half_of_an_answer(
    lab: Lab, disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.csv").write_text("text\n" + "a row\n" * 400)
    resize(disk, 16)
    done = ftkit(*shlex.split(line.format(disk=disk, single=lab.trained("single", "full").run)))
    assert done.code == 3 and stands(disk) <= {"x.partial"}  # from which the same command goes on
    assert_sentence(done, ("space",))


def test_sentence_is_the_same_in_a_process_of_its_own(bench: Path) -> None:
    done = process(bench, "train", "single.yaml", "--set", "data.columns={text: revue}", "--run", "new")
    assert done.code == 3
    assert_sentence(done, ("'revue'", "its columns: 'text', 'label'"))
    assert not (bench / "new").exists()


@pytest.mark.usefixtures("brief_trial")
def test_complete_recipes_of_the_bench_are_good(bench: Path, tmp_path: Path) -> None:
    """Else each refusal above could be of something else."""
    for path in sorted(bench.glob("*.yaml")):
        raw = yaml.safe_load(path.read_text())
        assert raw["model"]["checkpoint"]
        assert ftkit("train", path, "--dry-run", "--run", tmp_path / path.stem).code == 0, path
    assert not stands(tmp_path)
