"""What `ftkit recipes explain` and `schema` tell of the settings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml
from pydantic import BaseModel

from ftkit.augmenters._base import Augmenter
from ftkit.config import Section
from ftkit.errors import RecipeError, nearest
from ftkit.plugins import Choice, find, names
from ftkit.recipe import PLUGIN_BASES, SETTINGS_HINT, Recipe


def explain(prefix: str = "") -> list[tuple[str, str, str, str]]:
    """(setting, type, default, sentence) of each setting under `prefix`. Raises RecipeError when there is none."""
    rows = [
        (name, _type_name(field.annotation), _default(field), field.description or "") for name, field in _walk(Recipe)
    ]
    for setting, kind, base in _chosen():
        for choice in names(kind):
            options = find(kind, choice, base).Options  # type: ignore[attr-defined]
            rows += [
                (
                    f"{setting}.{name}",
                    _type_name(field.annotation),
                    _default(field),
                    f"[{choice}] {field.description or ''}",
                )
                for name, field in options.model_fields.items()
            ]
    chosen = [row for row in rows if not prefix or row[0] == prefix or row[0].startswith(prefix + ".")]
    if not chosen:
        guess = nearest(prefix, [row[0] for row in rows])
        raise RecipeError(f"there is no setting {prefix!r}", f"did you mean {guess}?" if guess else SETTINGS_HINT)
    return chosen


def choices(setting: str) -> list[tuple[str, str]]:
    """(name, what it is) of each shipped plug-in that a setting chooses from; none for any other setting."""
    return [
        (name, find(kind, name, base).summary)  # type: ignore[attr-defined]
        for own, kind, base in _chosen()
        if own == setting
        for name in names(kind)
    ]


def schema() -> dict[str, Any]:
    """JSON Schema of a recipe file, with what every shipped plug-in is and its options, for editors."""
    result = Recipe.model_json_schema()
    for setting, kind, base in _chosen():
        known: list[dict[str, Any]] = [{"type": "string", "description": "a name, or a path to one's own file"}]
        for name, what in choices(setting):
            options = find(kind, name, base).Options.model_json_schema()  # type: ignore[attr-defined]
            result["$defs"].update(options.pop("$defs", {}))
            options["properties"] = {"name": {"const": name}, **options.get("properties", {})}
            known.append({**options, "description": what, "required": ["name", *options.get("required", [])]})
        if setting in result["properties"]:
            result["properties"][setting] = {"anyOf": known}
        else:
            one = {"anyOf": known}
            by = result["$defs"]["AugmentSpec"]["properties"]["by"]
            by.update({"anyOf": [one, {"type": "array", "items": one}]})
            by.pop("items", None)
            by.pop("type", None)
    return result


def _chosen() -> list[tuple[str, str, type]]:
    """(setting, kind of plug-in, its base class) of all that a recipe chooses by name."""
    one_each = [(setting, setting, base) for setting, base in PLUGIN_BASES.items()]
    return [*one_each, ("augment.by", "augmenter", Augmenter)]


def _walk(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, Section):
            yield from _walk(inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field


def _type_name(annotation: Any) -> str:
    if annotation is Choice:
        return "name or {name: ..., options}"
    if annotation == tuple[Choice, ...]:
        return "list of names or {name: ..., options}"
    text = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    text = re.sub(r"typing\.|NoneType", lambda match: "" if match[0] == "typing." else "null", text)
    text = re.sub(r"Annotated\[(\w+), FieldInfo\(.*\)\]", r"\1", text)
    text = re.sub(r"Literal\[([^\]]*)\]", lambda match: match[1].replace(", ", " | "), text)
    return text.replace("None", "null").replace("'", "")


def _default(field: Any) -> str:
    if field.is_required():
        return "(must be set)"
    value = field.default
    if isinstance(value, Choice):
        return value.name
    if isinstance(value, tuple):
        return str(list(value))
    style = '"' if isinstance(value, str) and "\n" in value else None
    return yaml.safe_dump(value, default_flow_style=True, default_style=style, width=1000).removesuffix("...\n").strip()
