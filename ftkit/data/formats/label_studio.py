"""Label Studio's JSON exports: a task a row, with its fields, and what was annotated as `label` and `entities`."""

from __future__ import annotations

from collections import Counter
from typing import Any

from ftkit.data.formats._base import Source, Table, apart, refuse_files
from ftkit.errors import counted, some

_HINT = 'a task has "data" and "annotations"; each of these has "result", a list of what was marked'


def is_one(records: list[Any]) -> bool:
    """Whether records are Label Studio's tasks."""
    return bool(records) and all(
        isinstance(record, dict) and isinstance(record.get("data"), dict) and isinstance(_annotations(record), list)
        for record in records
    )


def read(source: Source, tasks: list[dict[str, Any]]) -> Table:
    """The tasks that somebody annotated: by their first annotation that was not cancelled."""
    rows, numbers, faults, notes = [], [], [], Counter[str]()
    shared: list[str] = []
    for number, task in enumerate(tasks, 1):
        try:
            annotations = _annotations(task)
            valid = [annotation for annotation in annotations if not annotation.get("was_cancelled")]
            notes["cancelled"] += len(annotations) - len(valid)
            notes["bare"] += not valid
            notes["several"] += len(valid) > 1
            if valid:
                rows.append(_row(task, valid[0]["result"], notes, shared))
                numbers.append(number)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            lack = f"lacks {error}" if isinstance(error, KeyError) else f"is not laid out as they are ({error})"
            faults.append(f"task {number} {lack}")
    refuse_files(source.name, faults, _HINT)
    _complete(rows)
    _tell(source, notes, shared)
    return source.table(rows, numbers=numbers, unit="task")


def _annotations(task: dict[str, Any]) -> Any:
    return task.get("annotations", task.get("completions"))


def _row(task: dict[str, Any], results: list[Any], notes: Counter[str], shared: list[str]) -> dict[str, Any]:
    """A task's fields, the choices of each control, and the entities."""
    fields = task["data"]
    choices: dict[str, list[str]] = {}
    entities: list[dict[str, Any]] | None = None
    for result in results:
        value = result["value"]
        if result["type"] == "choices":
            choices.setdefault(result["from_name"], []).extend(value["choices"])
        elif result["type"] == "labels":
            entities = [*(entities or []), _entity(value, fields)]
            notes["types"] += len(value["labels"]) > 1
        else:
            notes["others"] += 1
    row = {"id": task.get("id"), **fields, "": choices}
    if entities is not None:
        row["entities"], lost = apart(entities)
        shared += [f"{brief['text']!r} of task {task.get('id')}" for brief in lost]
    return row


def _entity(value: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
    """A span; where its text shows that places count UTF-16 units, as browsers do, they are put right."""
    start, end, said = int(value["start"]), int(value["end"]), value.get("text")
    for text in (text for text in fields.values() if isinstance(text, str) and said):
        units = text.encode("utf-16-le")
        before, inside = (units[2 * a : 2 * b].decode("utf-16-le", "replace") for a, b in ((0, start), (start, end)))
        if text[start:end] != said and inside == said:
            start, end = len(before), len(before) + len(inside)
    return {"start": start, "end": end, "type": value["labels"][0], **({"text": said} if said else {})}


def _complete(rows: list[dict[str, Any]]) -> None:
    """Give every row the columns that others have: `label`, or one for each control of choices; `entities`."""
    controls = list(dict.fromkeys(control for row in rows for control in row[""]))
    single = all(len(choice) < 2 for row in rows for choice in row[""].values())
    has_entities = any("entities" in row for row in rows)
    for row in rows:
        chosen = row.pop("")
        for control in controls:
            name = "label" if len(controls) == 1 else control
            picked = chosen.get(control, [])
            row[name] = (picked[0] if picked else None) if single else picked
        if has_entities:
            row.setdefault("entities", [])


def _tell(source: Source, notes: Counter[str], shared: list[str]) -> None:
    """Note what of the file is in no row."""
    said = {
        "bare": ("task", "left out that nobody annotated"),
        "cancelled": ("cancelled annotation", "not read"),
        "several": ("task", "with several annotations: the first is read"),
        "types": ("span", "with several labels: the first is read"),
        "others": ("result", "not read that are neither choices nor labels of a text"),
    }
    for name, (what, why) in said.items():
        if notes[name]:
            source.notes.append(f"{source.name}: {counted(notes[name], what)} {why}")
    if shared:
        what = f"{counted(len(shared), 'entity')} left out that share characters with longer ones"
        source.notes.append(f"{source.name}: {what} ({some(shared)})")
