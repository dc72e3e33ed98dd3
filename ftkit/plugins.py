"""The folder is the registry: `task: qa` is `ftkit/tasks/qa.py`, and `task: ./stance.py` is the user's own file."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from ftkit.errors import RecipeError, nearest, problems
from ftkit.files import sha256

T = TypeVar("T")
_OWN = "ftkit_user_"
"""What the names of modules begin with that are files of one's own."""
_loaded: dict[str, str] = {}
"""SHA-256 of the file that each module of a user's was loaded from, as it was then."""
FOLDERS = {
    "task": "tasks",
    "method": "methods",
    "objective": "objectives",
    "baseline": "baselines",
    "check": "checks",
    "augmenter": "augmenters",
    "exporter": "exporters",
}


class Choice(BaseModel):
    """A plug-in by name with its options: `lora`, or `{name: lora, rank: 8}`."""

    model_config = ConfigDict(extra="allow", frozen=True)
    name: str

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @property
    def options(self) -> dict[str, Any]:
        """What is set besides the name."""
        return dict(self.model_extra or {})


def names(setting: str) -> list[str]:
    """The shipped plug-ins of a kind (`task`, `method`, `objective`, `baseline` and so on), sorted."""
    folder = Path(__file__).parent / FOLDERS[setting]
    return sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_"))


def find(setting: str, name: str, base: type[T]) -> type[T]:
    """The one class under `base` that the file called `name` defines. Raises RecipeError when there is none."""
    module = _module(setting, name)
    found = [c for c in vars(module).values() if isinstance(c, type) and c.__module__ == module.__name__]
    classes = [c for c in found if issubclass(c, base)]
    leaves = [c for c in classes if not any(other is not c and issubclass(other, c) for other in classes)]
    if len(leaves) != 1:
        listed = ", ".join(c.__name__ for c in leaves) or "none"
        raise RecipeError(
            f"{setting}: {name} must define one class that inherits {base.__name__}; it defines {listed}",
            f"write `class My{base.__name__}({base.__name__}): ...`, and keep helpers outside it",
        )
    return leaves[0]


def resolve(setting: str, choice: Choice, base: type[T]) -> T:
    """The chosen plug-in, built with its options. Raises RecipeError with every option that is wrong."""
    found: Any = find(setting, choice.name, base)
    try:
        options = found.Options(**choice.options)
    except ValidationError as error:
        raise problems(RecipeError, "", explain_errors(error, found.Options, setting)) from None
    plugin: T = found(options)
    return plugin


def faults(setting: str, choice: Choice, base: type[T]) -> list[str]:
    """A sentence for each thing that keeps `resolve` from building a chosen plug-in."""
    try:
        options = find(setting, choice.name, base).Options  # type: ignore[attr-defined]
    except RecipeError as error:
        return [f"{error.message}; {error.hint}".rstrip("; ")]
    try:
        options(**choice.options)
    except ValidationError as error:
        return explain_errors(error, options, setting)
    return []


def explain_errors(error: ValidationError, model: type[BaseModel], prefix: str = "") -> list[str]:
    """A sentence for each setting in a validation error: what is wrong, what it is, what may be meant."""
    found: dict[tuple[str, str], dict[str, None]] = {}
    for detail in error.errors():
        setting, what, value = _explain(detail, model, prefix)
        found.setdefault((setting, value), {})[what] = None
    return [
        f"{f'{setting}: ' if setting else ''}{' or '.join(whats)}{value}" for (setting, value), whats in found.items()
    ]


def _explain(detail: Any, model: type[BaseModel], prefix: str) -> tuple[str, str, str]:
    """The setting, what is wrong with it, and what it is."""
    location = [str(part) for part in detail["loc"] if not _is_union_branch(part)]
    known = _fields(model, location[:-1])
    setting = ".".join([prefix, *location] if prefix else location)
    if detail["type"] == "extra_forbidden":
        near = nearest(location[-1], known)
        parent = ".".join(setting.split(".")[:-1])
        meant = f"{parent}.{near}" if near and parent else near
        listed = f"there are: {', '.join(known)}" if known else "it has no settings"
        return setting, "no such setting; " + (f"did you mean {meant}?" if meant else listed), ""
    if detail["type"] == "missing":
        return setting, "must be set", ""
    what = _PLAIN.get(detail["type"]) or detail["msg"][0].lower() + detail["msg"][1:]
    return setting, what.replace("input should be", "must be"), f", and it is {detail['input']!r}"


_PLAIN = {
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "string_type": "must be a text",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "model_type": "must have settings inside it",
}
"""What a value must be, where pydantic's own words speak of parsing."""


def _is_union_branch(part: int | str) -> bool:
    """Pydantic puts the names of a union's members into an error's location; no setting is called so."""
    if not isinstance(part, str):
        return False
    return part in {"float", "int", "str", "bool"} or "[" in part or part.startswith("constrained-")


def _fields(model: type[BaseModel], path: list[str]) -> list[str]:
    for part in path:
        annotation = model.model_fields[part].annotation if part in model.model_fields else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return list(model.model_fields)


def sha256_of(name: str) -> str | None:
    """The SHA-256 of a user's code by the name that a recipe has for it, as it was loaded; None where it is no file."""
    found = name if name.endswith(".py") else getattr(sys.modules.get(name), "__file__", None) or name
    path = Path(os.path.expanduser(found)).resolve()
    return _loaded.get(str(path)) or (sha256(path) if path.exists() else None)


def _module(setting: str, name: str) -> ModuleType:
    if name.endswith(".py"):
        return _from_file(setting, Path(name))
    if name.startswith((".", "~", "/")):
        raise RecipeError(f"{setting}: {name} is no file of Python's", f"write {name}.py, if that is it")
    if "." in name:
        return _from_package(setting, name)
    if name not in names(setting):
        near = nearest(name, names(setting))
        meant = f"did you mean {near}?" if near else "there are: " + ", ".join(names(setting))
        raise RecipeError(f"{setting}: there is no {setting} called {name!r}", meant)
    return importlib.import_module(f"ftkit.{FOLDERS[setting]}.{name}")


def _from_package(setting: str, name: str) -> ModuleType:
    try:
        module = importlib.import_module(name)
    except (Exception, SystemExit) as error:
        what = str(error) if isinstance(error, ImportError) else f"{type(error).__name__}: {error}"
        raise RecipeError(
            f"{setting}: module {name} can't be imported: {what}", "install it, or name a file"
        ) from error
    if module.__file__:
        _note(Path(module.__file__).resolve())
    return module


def _note(path: Path, again: bool = False) -> None:
    """Keep the SHA-256 of a file that is loaded: who changes it later has not changed what runs."""
    if again or str(path) not in _loaded:
        _loaded[str(path)] = sha256(path)


def forget_changed() -> None:
    """Have files of one's own that were edited since be loaded anew: before a command, never within."""
    own = {name: str(module.__file__) for name, module in sys.modules.items() if name.startswith(_OWN)}
    for name, path in own.items():
        if not os.path.exists(path) or sha256(Path(path)) != _loaded.get(path):
            del sys.modules[name]


def _from_file(setting: str, path: Path) -> ModuleType:
    path = Path(os.path.expanduser(path)).resolve()
    if not path.is_file():
        raise RecipeError(f"{setting}: there is no file {path}", "name a .py file, or a shipped plug-in")
    name = f"{_OWN}{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None, path
    _note(path, again=True)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise RecipeError(f"{setting}: {path}{line} can't be loaded: {type(error).__name__}: {error}") from error
    return module
