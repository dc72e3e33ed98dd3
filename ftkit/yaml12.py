"""YAML 1.2's scalars, where PyYAML has 1.1's; and no name twice in a mapping."""

from __future__ import annotations

import re
from typing import Any

import yaml

from ftkit.errors import RecipeError, one_line, problems


def load(text: str, source: str, hint: str = "") -> Any:
    """`text` read as YAML. Raises RecipeError where it is none, or has names twice."""
    try:
        loader = _Loader(text)
        value = loader.get_single_data()
    except yaml.constructor.ConstructorError as error:
        tag = re.search("tag '([^']+)'", str(error.problem))
        if tag is None or error.problem_mark is None:
            raise RecipeError(f"{source} is not valid YAML: {one_line(error)}", hint) from error
        where = f"{source}, line {error.problem_mark.line + 1}"
        raise RecipeError(f"{where}: {tag[1]} is a tag, and tags are not followed", _WITHOUT_TAG) from error
    except (yaml.YAMLError, ValueError) as error:
        raise RecipeError(f"{source} is not valid YAML: {one_line(error)}", hint) from error
    if loader.twice:
        raise problems(RecipeError, source, loader.twice, "leave one of the two, or quote what is a text")
    return value


_WITHOUT_TAG = "write the value itself, without a tag: what a recipe names is data, and never code"


def dump(data: Any) -> str:
    """Plain data as YAML that 1.1 and 1.2 read alike."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


class _Loader(yaml.SafeLoader):
    """YAML 1.2's scalars: `5e-5` is a number, `010` is ten, `no`, `12:30` and `1_000` are words."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.twice: list[str] = []
        """A sentence for each name that a mapping has twice, which a dict would hide."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """The mapping as it is written, before merges; its names are compared as values and as texts."""
        mapping = super().compose_mapping_node(anchor)
        first: dict[Any, yaml.Node] = {}
        for node, _ in mapping.value:
            if not isinstance(node, yaml.ScalarNode) or node.tag == "tag:yaml.org,2002:merge":
                continue
            name = self.construct_object(node, deep=True)
            other = first.get(name) or first.get(str(name))
            if other:
                self.twice.append(_same_name(other, node))
            first[name] = first[str(name)] = node
        return mapping


def _same_name(one: yaml.Node, other: yaml.Node) -> str:
    lines = list(dict.fromkeys(str(node.start_mark.line + 1) for node in (one, other)))
    names = list(dict.fromkeys(repr(node.value) for node in (one, other)))
    what = f"{names[0]} is there twice" if len(names) == 1 else f"{' and '.join(names)} are the same name"
    return f"line{'s' * (len(lines) - 1)} {' and '.join(lines)}: {what}"


def _integer(loader: _Loader, node: yaml.ScalarNode) -> int:
    text = str(loader.construct_scalar(node))
    return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))


class _Dumper(yaml.SafeDumper):
    """Quotes a text that YAML 1.1 or 1.2 would take for something else, so that either reads it as written."""


_CORE = {
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    "float": (r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+", "-+.0123456789"),
}
"""Scalars of YAML 1.2's core schema that 1.1 has otherwise, and the signs they begin with."""
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag.endswith((":null", ":merge"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _tag, (_pattern, _first) in _CORE.items():
    for _yaml in (_Loader, _Dumper):
        _yaml.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), list(_first))
_Loader.add_constructor("tag:yaml.org,2002:int", _integer)
