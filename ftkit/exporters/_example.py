"""The short program that lies in an export's folder and answers with nothing but the format's own runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from ftkit.engine.model import Trained
    from ftkit.exporters._base import Exporter
    from ftkit.tasks._base import Task

TEXT = "The council of Leeds will vote on the new budget in Madrid."
QUESTION = "Where will the council vote?"
SECOND = "A vote on the budget is held in Spain."


class Lines(NamedTuple):
    """How a runtime is spoken to."""

    package: str
    """What is imported."""
    open: str
    """Loads the graph NAME."""
    names: str
    """The names of what GRAPH takes."""
    shapes: str
    """A list of (name, shape) of it."""
    run: str
    """A list of what GRAPH gives for FEEDS."""


def example(trained: Trained, exporter: Exporter, format: str) -> str:
    """The program for one model in one format. Where ftkit alone knows how, it is ftkit that is asked."""
    lines, name = exporter.lines(), str(trained.contract.task["name"])
    kind = "classification" if name == "sentiment" else name
    if lines is not None:
        body = _graph(trained, kind, lines)
        return _FTKIT.format(ask=repr(asked(trained.task))) if body is None else body
    if format == "adapter" or kind not in _PLAIN:
        return _FTKIT.format(ask=repr(asked(trained.task)))
    return _plain(trained, kind)


_FTKIT = '''"""Answers with ftkit, which finds what the folder builds on: python example.py"""

from ftkit import Predictor

print(*Predictor(".")([{ask}]))
'''


def asked(task: Task) -> str | dict[str, str]:
    """An input of the task: a text, or one for each of its columns."""
    texts = [column.name for column in task.input_shapes()[0] if column.required]
    if len(texts) == 1:
        return TEXT
    return {name: {"question": QUESTION, "text_pair": SECOND}.get(name, TEXT) for name in texts}


# ------------------------------------------------------------------ transformers

_PLAIN = {
    "classification": """print(pipeline("text-classification", model=".")({asked!r}))""",
    "several": """found = pipeline("text-classification", model=".", top_k=None)([{asked!r}])[0]
print([each["label"] for each in found if each["score"] >= {threshold}])""",
    "ner": """print(pipeline("token-classification", model=".", aggregation_strategy="first")({text!r}))""",
    "qa": """tokenizer, model = AutoTokenizer.from_pretrained("."), {auto}.from_pretrained(".")
inputs = tokenizer({question!r}, {text!r}, return_tensors="pt")
outputs = model(**inputs)
inside = [i for i, part in enumerate(inputs.sequence_ids()) if part == 1]
spans = [(a, b) for a in inside for b in inside if a <= b < a + {answer}]
start, end = outputs.start_logits[0].tolist(), outputs.end_logits[0].tolist()
first, last = max(spans, key=lambda span: start[span[0]] + end[span[1]])
print(tokenizer.decode(inputs.input_ids[0, first : last + 1]))""",
    "summarization": """tokenizer, model = AutoTokenizer.from_pretrained("."), {auto}.from_pretrained(".")
inputs = tokenizer({prompt!r}, return_tensors="pt", add_special_tokens=False)
inputs = {{name: inputs[name] for name in ("input_ids", "attention_mask")}}
written = model.generate(**inputs, max_new_tokens={most}, num_beams={beams}, no_repeat_ngram_size={repeat})
print(tokenizer.decode(written[0, {start}:], skip_special_tokens=True))""",
}


def _plain(trained: Trained, kind: str) -> str:
    options: Any = trained.task.options
    auto = trained.task.model_class(trained.model.config)
    values: dict[str, Any] = {"text": TEXT, "question": QUESTION, "auto": auto, "asked": asked(trained.task)}
    if kind == "classification" and options.kind == "multi":
        kind, values["threshold"] = "several", options.threshold
    if kind == "qa":
        values["answer"] = options.answer_tokens
    if kind == "summarization":
        prompt, ids = _prompt(trained)
        encoder = trained.model.config.is_encoder_decoder
        values |= {"prompt": prompt, "start": 0 if encoder else len(ids), "most": options.target_length}
        values |= {"beams": options.beams, "repeat": options.no_repeat}
    names = "pipeline" if kind in ("classification", "several", "ner") else f"{auto}, AutoTokenizer"
    return (
        f'"""Answers with transformers alone: python example.py"""\n\nfrom transformers import {names}\n\n'
        f"{_PLAIN[kind].format(**values)}\n"
    )


def _prompt(trained: Trained) -> tuple[str, list[int]]:
    """What the model reads of a document, special tokens written out, and the numbers of its tokens."""
    encoded = trained.task.encode({"document": [TEXT]}, trained.tokenizer, trained.labels)
    ids = list(encoded["input_ids"][0])
    return trained.tokenizer.decode(ids, skip_special_tokens=False), ids


# ------------------------------------------------------------------ graphs

_HEAD = '''"""Answers with {package} and tokenizers alone: python example.py"""

import json

import numpy as np
import {package}
from tokenizers import Tokenizer

contract, tokenizer = json.load(open("ftkit.json", encoding="utf-8")), Tokenizer.from_file("tokenizer.json")
task = contract["task"]
'''
_READ = """graph = {open}
names = {names}
feeds = {{"input_ids": text.ids, "attention_mask": text.attention_mask, "token_type_ids": text.type_ids}}
outputs = {run}
"""
_SINGLE = """logits = outputs[0][0] / task["temperature"]
shares = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
print(contract["labels"][shares.argmax()], shares.max())
"""
_MULTI = """shares = 1 / (1 + np.exp(-outputs[0][0]))
print([label for label, share in zip(contract["labels"], shares) if share >= task["threshold"]])
"""
_NUMBER = """print(outputs[0][0][0])
"""
_TAGS = """tags = {i: contract["labels"][row.argmax()] for i, row in reversed([*zip(text.word_ids, outputs[0][0])])}
print([(word, tags[i]) for i, word in enumerate(words)])
"""
_SPAN = """start, end = outputs[0][0], outputs[1][0]
inside = [i for i, part in enumerate(text.sequence_ids) if part == 1]
spans = [(a, b) for a in inside for b in inside if a <= b < a + task["answer_tokens"]]
first, last = max(spans, key=lambda span: start[span[0]] + end[span[1]])
print(passage[text.offsets[first][0] : text.offsets[last][1]])
"""
_WRITE = """past = {past}
for _ in range(task["target_length"]):  # greedy, and a token may repeat
    feeds = {feeds}
    logits, *added = {run}
    past = {{name: np.concatenate([past[name], part], 2) for name, part in zip(past, added)}}
    new = [int(logits[0, -1].argmax())]
    if new[0] == {end}:
        break
    ids += new
print(tokenizer.decode(ids[{begin}:]).strip())
"""


def _graph(trained: Trained, kind: str, lines: Lines) -> str | None:
    """The program for graphs; None for tasks that are nobody's but the user's."""
    head = _HEAD.format(package=lines.package)
    if kind == "summarization":
        return head + _writing(trained, lines)
    if kind not in ("classification", "ner", "qa"):
        return None
    given = "{name: np.array([feeds[name]], np.int64) for name in names}"
    run = lines.run.replace("GRAPH", "graph").replace("FEEDS", given)
    names = lines.names.replace("GRAPH", "graph")
    read = _READ.format(open=lines.open.replace("NAME", "model"), names=names, run=run)
    return head + _reading(trained, kind, read)


def _reading(trained: Trained, kind: str, read: str) -> str:
    options: Any = trained.task.options
    if kind == "ner":
        return f"words = {TEXT!r}.split()\ntext = tokenizer.encode(words, is_pretokenized=True)\n{read}{_TAGS}"
    cut = 'tokenizer.enable_truncation(task["max_length"])\n'
    if kind == "qa":
        told = f"question, passage = {QUESTION!r}, {TEXT!r}\n"
        return f"{told}text = tokenizer.encode(question, passage)\n{read}{_SPAN}"
    answer = {"single": _SINGLE, "multi": _MULTI, "regression": _NUMBER}[options.kind]
    ask = asked(trained.task)
    given = repr(ask) if isinstance(ask, str) else ", ".join(map(repr, ask.values()))
    return f"{cut}text = tokenizer.encode({given})\n{read}{answer}"


def _writing(trained: Trained, lines: Lines) -> str:
    prompt, _ = _prompt(trained)
    config, encoder = trained.model.config, trained.model.config.is_encoder_decoder
    graph = "decoder" if encoder else "graph"
    opened = f"prompt = tokenizer.encode({prompt!r}, add_special_tokens=False).ids\n"
    if encoder:
        opened += "".join(f"{name} = {lines.open.replace('NAME', name)}\n" for name in ("encoder", "decoder"))
        feeds = '{"input_ids": np.array([prompt]), "attention_mask": np.ones((1, len(prompt)), np.int64)}'
        run = lines.run.replace("GRAPH", "encoder").replace("FEEDS", feeds)
        opened += f"read = {run}[0]\nids, new = [], [{config.decoder_start_token_id}]\n"
        feeds = '{"input_ids": np.array([new]), "attention_mask": np.ones((1, len(prompt)), np.int64), "read": read}'
    else:
        opened += f"graph = {lines.open.replace('NAME', 'model')}\nids, new = [*prompt], prompt\n"
        feeds = (
            '{"input_ids": np.array([new]), "attention_mask": np.ones((1, len(ids)), np.int64)}\n'
            '    feeds["position_ids"] = np.arange(len(ids))[None, -len(new) :]'
        )
    inputs = lines.shapes.replace("GRAPH", graph)
    empty = "np.zeros((1, shape[1], 0, shape[3]), np.float32)"
    past = f'{{name: {empty} for name, shape in {inputs} if name.startswith("past")}}'
    return opened + _WRITE.format(
        past=past,
        feeds=feeds,
        run=lines.run.replace("GRAPH", graph).replace("FEEDS", "{**feeds, **past}"),
        end=trained.tokenizer.eos_token_id,
        begin=0 if encoder else "len(prompt)",
    )
