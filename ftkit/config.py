"""The base of every settings class: strict, frozen, and described by the sentences under its fields."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Settings that forbid unknown names, never change once read, and describe themselves."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
