"""What every table of the side-car is."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

FILE = "kernos.toml"
Texts = dict[str, str]
"""A text in several languages: {en = "...", zh = "..."}."""


class Section(BaseModel):
    """A table of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
