"""The base of every settings class: strict, frozen, and described by the sentences under its fields."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError


class Section(BaseModel):
    """Settings that forbid unknown names, never change once read, and describe themselves.

    Numbers are finite, and `true` is not 1.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _numbers_are_numbers(cls, value: Any, info: ValidationInfo) -> Any:
        kinds = _kinds(cls.model_fields[str(info.field_name)].annotation)
        if not kinds & {int, float} or not kinds <= {int, float, str, type(None)}:
            return value
        held = value.values() if isinstance(value, dict) else value
        parts = [value] if isinstance(value, str) or not isinstance(held, Iterable) else list(held)
        if any(isinstance(part, bool) for part in parts):
            raise PydanticCustomError("switch", "can't be true or false")
        if any(isinstance(part, float) and not math.isfinite(part) for part in parts):  # which may pass as a text
            raise PydanticCustomError("finite", "must be a finite number")
        return value


def _kinds(annotation: Any) -> set[Any]:
    """The types of a setting's values, in whatever unions, lists and mappings they stand."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return {type(value) for value in inner}
    if origin is Annotated:
        inner = inner[:1]
    return set().union(*map(_kinds, inner)) - {Ellipsis} if inner else {annotation}
