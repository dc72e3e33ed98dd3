from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ftkit.data.load import load
from ftkit.data.samples import sample
from ftkit.errors import DataError, FTKitError, RecipeError
from ftkit.init import as_yaml, recognised, write_recipe
from ftkit.plugins import resolve
from ftkit.recipe import Recipe, load_recipe, override
from ftkit.tasks._base import Task
from ftkit.terminal import silence
from tests.data.formats.test_excel import book
from tests.runs import write_rows

SENTENCE = "the ferry leaves at nine and the harbour café opens an hour before it on market days"


def text(i: int, length: int = 9) -> str:
    """A sentence that no other number gives."""
    words = SENTENCE.split()
    return " ".join(words[(i * (k + 3) + k) % len(words)] for k in range(length)) + f" {i}"


def csv_file(path: Path, rows: list[list[Any]], delimiter: str = ",") -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)
    return path


def json_lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def labelled(count: int, *labels: Any) -> list[list[Any]]:
    return [[text(i), labels[i % len(labels)]] for i in range(count)]


def recipe_for(file: Path, task: str | None = None) -> Recipe:
    """The recipe that init writes; its data load as training loads them."""
    recipe = load_recipe(write_recipe(file, task, None, silence))
    rows_of(recipe)
    return recipe


def rows_of(recipe: Recipe) -> dict[str, int]:
    task = resolve("task", recipe.task, Task)
    splits = load(recipe.data, task.shapes(), stratify=task.stratify(), groups=task.groups)
    return {name: len(split) for name, split in splits.items()}


def chosen(recipe: Recipe) -> tuple[str, str]:
    return recipe.task.name, recipe.task.options.get("kind", "single")


# ---------------------------------------------------------------------- tasks


@pytest.mark.parametrize("name", ["sentiment", "topics", "ner", "qa", "summarization"])
def test_each_sample_is_recognised_with_its_own_split(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(write_recipe(sample(name), None, tmp_path / "recipe.yaml", silence))
    assert chosen(recipe) == ("classification" if name == "topics" else name, "single")
    assert recipe.data.columns == {}
    assert recipe.data.train == str(sample(name))
    marks = [json.loads(line)["split"] for line in sample(name).read_text("utf-8").splitlines()]
    assert rows_of(recipe) == {mark: marks.count(mark) for mark in ("train", "validation", "test")}


def test_names_that_nobody_knows_are_told_by_their_values(tmp_path: Path) -> None:
    rows = [[f"T-{i}", text(i), ("billing", "network", "sales")[i % 3]] for i in range(60)]
    recipe = recipe_for(csv_file(tmp_path / "tickets.csv", [["ticket_id", "complaint", "queue"], *rows]))
    assert chosen(recipe) == ("classification", "single")
    assert recipe.data.columns == {"text": "complaint", "label": "queue"}
    assert recipe.data.labels == ("billing", "network", "sales")


@pytest.mark.parametrize("name, delimiter", [("rows.tsv", "\t"), ("rows.csv", ",")])
def test_columns_of_a_file_without_header_have_numbers(tmp_path: Path, name: str, delimiter: str) -> None:
    rows = [[label, sentence] for sentence, label in labelled(60, 1, 2, 3)]
    recipe = recipe_for(csv_file(tmp_path / name, rows, delimiter))
    assert chosen(recipe) == ("classification", "single")
    assert recipe.data.columns == {"text": 1, "label": 0}
    assert recipe.data.labels == ("1", "2", "3")
    assert sum(rows_of(recipe).values()) == 60


@pytest.mark.parametrize(
    "header",
    [
        ["text", "label"],
        ["What did you dislike about your last stay with us?", "office"],
        ["Körper", "Abteilung"],
        ["body", "2024"],
    ],
)
def test_a_header_is_no_row(tmp_path: Path, header: list[str]) -> None:
    recipe = recipe_for(csv_file(tmp_path / "rows.csv", [header, *labelled(60, "oslo", "rome")]))
    assert sum(rows_of(recipe).values()) == 60
    assert recipe.data.labels == ("oslo", "rome")


@given(
    st.lists(
        st.text("abcdefgh ", min_size=1, max_size=12).map(str.strip).filter(bool), min_size=2, max_size=6, unique=True
    ),
    st.booleans(),
)
def test_a_header_is_told_from_rows_by_the_labels(
    tmp_path_factory: pytest.TempPathFactory, labels: list[str], header: bool
) -> None:
    file = tmp_path_factory.mktemp("rows") / "rows.csv"
    rows = labelled(60, *(f"{label}." for label in labels))
    csv_file(file, [["words", "kind of it"], *rows] if header else rows)
    recipe = load_recipe(write_recipe(file, None, None, silence))
    assert recipe.data.columns == ({"text": "words", "label": "kind of it"} if header else {"text": 0, "label": 1})


@pytest.mark.parametrize(
    "header, labels, name",
    [
        (["words", "mood"], ["pos", "neg", "neutral"], "rows.csv"),
        (["words", "sentiment"], ["glad", "sad"], "rows.csv"),
        (["review", "stars"], [1, 2, 3, 4, 5], "rows.csv"),
        (["words", "label"], [0, 1], "hotel_reviews.csv"),
    ],
)
def test_polarities_are_sentiment(tmp_path: Path, header: list[str], labels: list[Any], name: str) -> None:
    said: list[str] = []
    path = write_recipe(csv_file(tmp_path / name, [header, *labelled(60, *labels)]), None, None, said.append)
    assert load_recipe(path).task.name == "sentiment"
    assert any(line.startswith("  its labels are") for line in said)


def test_numbers_that_nothing_calls_polarities_are_classes(tmp_path: Path) -> None:
    rows = csv_file(tmp_path / "rows.csv", [["words", "label"], *labelled(60, 0, 1)])
    assert recipe_for(rows).task.name == "classification"
    assert "{0: NAME, 1: NAME} names them" in (tmp_path / "rows.yaml").read_text("utf-8")


@pytest.mark.parametrize(
    "names, found",
    [
        (["premise", "hypothesis", "label"], ["premise", "hypothesis"]),
        (["statement", "claim", "verdict"], ["statement", "claim"]),
        (["question", "passage", "answer"], ["question", "passage"]),
    ],
)
def test_two_texts_are_a_pair(tmp_path: Path, names: list[str], found: list[str]) -> None:
    rows = [[text(i, 5), text(i + 200, 20), ("yes", "no", "neutral")[i % 3]] for i in range(60)]
    recipe = recipe_for(csv_file(tmp_path / "pairs.csv", [names, *rows]))
    assert chosen(recipe) == ("classification", "single")
    assert recipe.data.columns == {"text": found[0], "text_pair": found[1], "label": names[2]}


COMBINATIONS = (("action", "war"), ("war",), ("comedy",), ("action", "comedy"))


@pytest.mark.parametrize("mark", ["|", ";", ","])
def test_combinations_of_labels_are_cut(tmp_path: Path, mark: str) -> None:
    rows = labelled(60, *(mark.join(labels) for labels in COMBINATIONS))
    recipe = recipe_for(csv_file(tmp_path / "films.csv", [["plot", "genres"], *rows]))
    assert chosen(recipe) == ("classification", "multi")
    assert recipe.data.delimiter == mark
    assert recipe.data.labels == ("action", "comedy", "war")


def test_lists_of_labels_are_several_labels(tmp_path: Path) -> None:
    rows = [{"text": text(i), "tags": list(COMBINATIONS[i % 4])} for i in range(60)]
    recipe = recipe_for(json_lines(tmp_path / "films.jsonl", rows))
    assert chosen(recipe) == ("classification", "multi")
    assert recipe.data.columns == {"text": "text", "label": "tags"}


def test_names_with_a_comma_are_one_label(tmp_path: Path) -> None:
    rows = labelled(60, "Arts, crafts", "Science, nature", "Food, drink")
    assert chosen(recipe_for(csv_file(tmp_path / "rows.csv", [["words", "label"], *rows])))[1] == "single"


@pytest.mark.parametrize("header", [["text", "label"], ["sentence", "score"], ["words", "closeness"]])
def test_numbers_that_are_not_whole_are_regression(tmp_path: Path, header: list[str]) -> None:
    rows = [[text(i), i / 8] for i in range(60)]
    recipe = recipe_for(csv_file(tmp_path / "rows.csv", [header, *rows]))
    assert chosen(recipe) == ("classification", "regression")
    assert recipe.train.metric == "pearson"
    assert recipe.data.labels is None


def test_conll_columns_are_entities(tmp_path: Path) -> None:
    sentence = "Ana NNP B-PER\nsaw VBD O\nNew NNP B-LOC\nYork NNP I-LOC\n\n"
    (tmp_path / "train.txt").write_text(sentence * 50, encoding="utf-8")
    (tmp_path / "valid.txt").write_text(sentence * 9, encoding="utf-8")
    recipe = recipe_for(tmp_path / "train.txt")
    assert recipe.task.name == "ner"
    assert recipe.data.columns == {"tokens": 0, "tags": 2}
    assert recipe.data.labels == ("LOC", "PER")
    assert rows_of(recipe) == {"train": 45, "validation": 9, "test": 5}


def test_squad_is_question_answering(tmp_path: Path) -> None:
    def article(i: int) -> dict[str, Any]:
        context = f"{text(i)} and Rome{i} lies there"
        answer = {"text": f"Rome{i}", "answer_start": context.index("Rome")}
        question = {"id": str(i), "question": f"what lies {text(i)}?", "answers": [answer]}
        return {"title": f"t{i}", "paragraphs": [{"context": context, "qas": [question]}]}

    file = tmp_path / "squad.json"
    file.write_text(json.dumps({"data": [article(i) for i in range(60)]}), encoding="utf-8")
    assert recipe_for(file).task.name == "qa"


@pytest.mark.parametrize("names", [("document", "summary"), ("article", "highlights"), ("source", "target")])
def test_a_text_and_a_shorter_one_are_summarization(tmp_path: Path, names: tuple[str, str]) -> None:
    rows = [{names[0]: [text(i), text(i + 300)], names[1]: [text(i, 3)]} for i in range(60)]
    recipe = recipe_for(json_lines(tmp_path / "rows.jsonl", rows))
    assert recipe.task.name == "summarization"
    assert (recipe.model.checkpoint, recipe.method.name) == ("smollm2", "lora")


def test_a_task_that_is_asked_for_is_taken(tmp_path: Path) -> None:
    rows = [[text(i, 4), text(i, 30)] for i in range(60)]
    recipe = recipe_for(csv_file(tmp_path / "rows.csv", [["teaser", "story"], *rows]), "summarization")
    assert recipe.data.columns == {"document": "story", "summary": "teaser"}
    labels = csv_file(tmp_path / "labels.csv", [["words", "kind"], *labelled(60, "a", "b")])
    assert recipe_for(labels, "sentiment").task.name == "sentiment"


# ---------------------------------------------------------------------- what is written


@pytest.mark.parametrize("shelf", ["classification/full", "classification/pair", "sentiment/full"])
def test_settings_of_training_are_the_shelfs(tmp_path: Path, shelf: str) -> None:
    labels = ("good", "bad") if shelf == "sentiment/full" else ("yes", "no")
    names = ["premise", "hypothesis", "label"] if shelf.endswith("pair") else ["id", "text", "label"]
    rows = [[text(i), text(i + 90), labels[i % 2]] for i in range(60)]
    recipe = recipe_for(csv_file(tmp_path / "rows.csv", [names, *rows]))
    other = load_recipe(shelf)
    assert (recipe.train, recipe.method, recipe.model, recipe.task) == (
        other.train,
        other.method,
        other.model,
        other.task,
    )


def test_paths_count_from_the_recipe_where_they_can(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "elsewhere").mkdir()
    file = csv_file(tmp_path / "data" / "a: b.csv", [["text", "label"], *labelled(60, "x", "z")])
    for folder, written in ((tmp_path, "./data/a: b.csv"), (tmp_path / "elsewhere", str(file))):
        path = write_recipe(file, None, folder / "own.yaml", silence)
        assert yaml.safe_load(path.read_text("utf-8"))["data"]["train"] == written
        assert load_recipe(path).data.train == str(file)


def test_the_header_says_the_command(tmp_path: Path) -> None:
    path = write_recipe(csv_file(tmp_path / "my rows.csv", labelled(60, "x", "z")), None, None, silence)
    assert path.read_text("utf-8").splitlines()[2] == f"#   ftkit train '{tmp_path}/my rows.yaml'"


def test_what_was_recognised_is_said_with_its_setting(tmp_path: Path) -> None:
    rows = [[i, text(i), ("x", "z")[i % 2]] for i in range(60)]
    said: list[str] = []
    write_recipe(csv_file(tmp_path / "rows.csv", [["user_id", "body", "queue"], *rows]), None, None, said.append)
    assert said == [
        "task: classification (--task changes it)",
        "text: column 'body' (data.columns.text changes it)",
        "label: column 'queue' (data.columns.label changes it)",
        "not read: 'user_id'",
        "labels: x, z (data.labels orders and renames them)",
        "validation rows: a share of 0.1 (data.validation changes it)",
        "test rows: a share of 0.1 (data.test changes it)",
        "rows: 49 train, 5 validation, 6 test",
    ]


def test_files_beside_it_are_offered(tmp_path: Path) -> None:
    for name, count in (("train", 60), ("dev", 7), ("test", 9)):
        csv_file(tmp_path / f"{name}_de.csv", [["text", "label"], *labelled(count, "x", "z")])
    assert rows_of(recipe_for(tmp_path / "train_de.csv")) == {"train": 60, "validation": 7, "test": 9}


def test_a_file_beside_it_that_does_not_fit_is_said_and_left_out(tmp_path: Path) -> None:
    train = csv_file(tmp_path / "train.csv", [["text", "label"], *labelled(60, "x", "z")])
    csv_file(tmp_path / "test.csv", [["other"], ["row"]])
    csv_file(tmp_path / "constrained.csv", [["other"], ["row"]])
    said: list[str] = []
    recipe = load_recipe(write_recipe(train, None, None, said.append))
    assert recipe.data.test == 0.1
    assert any(line.startswith("test.csv lies beside it and can't be used: test.csv: no column found") for line in said)


def test_several_files_and_patterns(tmp_path: Path) -> None:
    for name, count in (("train-1", 60), ("train-2", 50), ("test-1", 9)):
        csv_file(tmp_path / f"{name}.csv", [["body", "queue"], *labelled(count, "x", "z")])
    pattern = write_recipe(tmp_path / "train-*.csv", None, None, silence)
    assert pattern == tmp_path / f"{tmp_path.name}.yaml"
    assert yaml.safe_load(pattern.read_text("utf-8"))["data"]["train"] == "train-*.csv"
    assert rows_of(load_recipe(pattern)) == {"train": 99, "validation": 11, "test": 9}
    both = write_recipe(tmp_path / "train-1.csv", None, None, silence, [tmp_path / "train-2.csv"])
    assert yaml.safe_load(both.read_text("utf-8"))["data"]["train"] == ["train-1.csv", "train-2.csv"]
    assert rows_of(load_recipe(both)) == {"train": 89, "validation": 10, "test": 11}


def test_folders_of_texts(tmp_path: Path) -> None:
    for i in range(60):
        path = tmp_path / "train" / ("spam", "ham")[i % 2] / f"{i}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text(i), encoding="utf-8")
    shutil.copytree(tmp_path / "train", tmp_path / "test")
    recipe = recipe_for(tmp_path / "train")
    assert chosen(recipe) == ("classification", "single")
    assert rows_of(recipe) == {"train": 54, "validation": 6, "test": 60}
    whole = load_recipe(write_recipe(tmp_path, None, tmp_path / "whole.yaml", silence))
    assert whole.data.train == str(tmp_path)
    assert rows_of(whole) == {"train": 54, "validation": 6, "test": 60}


def test_folder_of_brat_is_entities(tmp_path: Path) -> None:
    for i in range(60):
        (tmp_path / f"{i}.txt").write_text(f"Oslo and {text(i)}", encoding="utf-8")
        (tmp_path / f"{i}.ann").write_text("T1\tLOC 0 4\tOslo\n", encoding="utf-8")
    recipe = load_recipe(write_recipe(tmp_path, None, tmp_path / "own.yaml", silence))
    assert recipe.task.name == "ner"
    assert recipe.data.labels == ("LOC",)
    assert rows_of(recipe) == {"train": 49, "validation": 5, "test": 6}


def test_sheet_of_a_workbook(tmp_path: Path) -> None:
    file = book(tmp_path / "all.xlsx", Notes=[["x"]], Rows=[["body", "queue"], *labelled(60, "x", "z")])
    recipe = recipe_for(Path(f"{file}#Rows"))
    assert recipe.data.train == f"{file}#Rows"
    assert recipe.data.columns == {"text": "body", "label": "queue"}


def test_few_rows_are_all_for_training(tmp_path: Path) -> None:
    recipe = recipe_for(csv_file(tmp_path / "rows.csv", [["text", "label"], *labelled(49, "x", "z")]))
    assert (recipe.data.validation, recipe.data.test) == (None, None)


@given(st.one_of(st.text(st.characters(exclude_categories=["Cs"])), st.sampled_from(["no", "1e5", "5e-5", "~", "#a"])))
def test_any_name_comes_back_from_yaml(name: str) -> None:
    raw = override({}, [f"data.columns={as_yaml({'text': name})}", f"data.labels={as_yaml([name, 'x'])}"])
    assert raw == {"data": {"columns": {"text": name}, "labels": [name, "x"]}}


# ---------------------------------------------------------------------- what is refused


def refused(file: Path, kind: type[FTKitError], task: str | None = None) -> str:
    """The error's text; nothing has been written."""
    before = sorted(file.parent.iterdir())
    with pytest.raises(kind) as caught:
        write_recipe(file, task, None, silence)
    assert sorted(file.parent.iterdir()) == before
    return str(caught.value)


def test_a_recipe_is_never_overwritten(tmp_path: Path) -> None:
    file = csv_file(tmp_path / "rows.csv", [["text", "label"], *labelled(60, "x", "z")])
    path = write_recipe(file, None, None, silence)
    path.write_text("mine", encoding="utf-8")
    assert "rows.yaml exists already" in refused(file, RecipeError)
    assert path.read_text("utf-8") == "mine"


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    file = csv_file(tmp_path / "rows.csv", [["text", "label"], *labelled(60, "x", "z")])
    with pytest.raises(RecipeError, match=r"nowhere/own\.yaml can't be written: No such file"):
        write_recipe(file, None, tmp_path / "nowhere" / "own.yaml", silence)


def test_an_unknown_task_is_guessed(tmp_path: Path) -> None:
    assert "did you mean sentiment?" in refused(tmp_path / "rows.csv", RecipeError, "sentimnet")


def test_columns_that_do_not_tell_are_shown(tmp_path: Path) -> None:
    rows = [[text(i), text(i + 99)] for i in range(60)]
    message = refused(csv_file(tmp_path / "rows.csv", [["foo", "bar"], *rows]), RecipeError)
    assert "don't tell what the task is" in message
    assert "column 'bar': for example" in message
    assert "--task (classification, ner" in message
    assert f"--set data.train={tmp_path}/rows.csv --set 'data.columns={{text: COLUMN, label: COLUMN}}'" in message


def test_several_columns_that_may_be_the_label_are_named(tmp_path: Path) -> None:
    rows = [[text(i), ("x", "z")[i % 2], ("low", "high")[i % 3 % 2]] for i in range(60)]
    message = refused(csv_file(tmp_path / "rows.csv", [["words", "queue", "urgency"], *rows]), RecipeError)
    assert "'queue' and 'urgency' may each be the label" in message


@pytest.mark.parametrize("task", ["ner", "qa", "summarization"])
def test_a_task_that_the_columns_do_not_fit_is_refused(tmp_path: Path, task: str) -> None:
    file = csv_file(tmp_path / "rows.csv", [["words", "kind"], *labelled(60, 1, 2)])
    assert "its columns don't tell" in refused(file, RecipeError, task)


def test_labels_that_teach_nothing_are_refused(tmp_path: Path) -> None:
    one = csv_file(tmp_path / "one.csv", [["text", "label"], *labelled(60, "x")])
    assert "column 'label' is 'x' in all 60 rows" in refused(one, DataError)
    each = csv_file(tmp_path / "each.csv", [["text", "label"], *([text(i), f"x{i}"] for i in range(60))])
    assert "a different value in each of 60 rows" in refused(each, DataError)


def test_rows_that_training_would_refuse_are_listed(tmp_path: Path) -> None:
    rows = labelled(60, "x", "z")
    rows[4][1] = rows[9][1] = ""
    message = refused(csv_file(tmp_path / "rows.csv", [["text", "label"], *rows]), DataError)
    assert "line 6" in message and "line 11" in message


@pytest.mark.parametrize(
    "name, content, what",
    [
        ("rows.csv", b"", "has no rows"),
        ("rows.csv", b"text,label\n", "has no rows"),
        ("rows.csv", b"\x00\x01", "is binary"),
        ("rows.pdf", b"x", "is not a format"),
        ("rows.csv", b"text;label\nfine;x\nbad;z\n", "has a single column, 'text;label'"),
        ("rows.txt", b"World\nSports\n", "no column has a tag"),
    ],
)
def test_files_that_are_no_data_are_refused(tmp_path: Path, name: str, content: bytes, what: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert what in refused(tmp_path / name, FTKitError)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").mkdir()
    assert "is a folder" in refused(tmp_path / "rows.csv", DataError)
    assert "there is no file" in refused(tmp_path / "other.csv", DataError)


def test_an_encoding_is_named_and_written(tmp_path: Path) -> None:
    file = csv_file(tmp_path / "train.csv", [["words", "kind"], *labelled(60, "oslo", "rome")])
    csv_file(tmp_path / "test.csv", [["words", "kind"], *labelled(20, "oslo", "rome")])
    for each in (file, tmp_path / "test.csv"):
        each.write_bytes(each.read_bytes().decode("utf-8").encode("utf-16-le"))
    with pytest.raises(DataError, match="--encoding for `ftkit init`"):
        write_recipe(file, None, None, silence)
    with pytest.raises(RecipeError, match=r"data\.encoding: must be `auto`, or an encoding that Python knows"):
        write_recipe(file, None, None, silence, encoding="utf-160")
    recipe = load_recipe(write_recipe(file, None, None, silence, encoding="utf-16-le"))
    assert recipe.data.encoding == "utf-16-le" and recipe.data.test == str(tmp_path / "test.csv")
    assert rows_of(recipe)["test"] == 20


@pytest.mark.parametrize("label", ["good", 3.5])
def test_a_file_is_checked_by_the_recipe_that_is_written_for_it(tmp_path: Path, label: str | float) -> None:
    rows = [{"text": text(n), "label": label if n % 2 else 1.25 * n if label == 3.5 else "bad"} for n in range(60)]
    path = json_lines(tmp_path / "rows.jsonl", rows)
    written = load_recipe(write_recipe(path, None, None, silence)).filled()
    checked = recognised(path, None, "auto", silence).filled()
    assert {**written["data"], "labels": None} == checked["data"] | {"labels": None}
    assert {**written, "data": None} == {**checked, "data": None}


def test_a_class_that_differs_in_case_alone_is_warned_of(tmp_path: Path) -> None:
    labels = ["positive"] * 20 + ["negative"] * 20 + ["Positive"] * 2
    said: list[str] = []
    rows = [{"text": text(n), "label": label} for n, label in enumerate(labels)]
    write_recipe(json_lines(tmp_path / "rows.jsonl", rows), None, None, said.append)
    (warning,) = [line for line in said if line.startswith("warning: ")]
    assert "label 'Positive' seems to be 'positive', which has 20 rows" in warning and "train line 41" in warning


def test_questions_whose_rows_repeat_are_questions(tmp_path: Path) -> None:
    rows = [
        {"question": f"Who is {i}?", "context": f"Ada is {i}.", "answers": {"text": ["Ada"], "answer_start": [0]}}
        for i in range(30)
    ]
    file = write_rows(tmp_path / "q.jsonl", rows * 2)
    assert load_recipe(write_recipe(file, None, None, silence)).task.name == "qa"
