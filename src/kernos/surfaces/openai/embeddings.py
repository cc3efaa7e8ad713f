"""Embeddings: what a request asks for, and what an answer looks like. Pure.

asked = read(body)
whole(asked, embedded)
"""

from __future__ import annotations

import array
import base64
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from kernos.kernel.types import Embedded, Json
from kernos.surfaces.openai.fields import get, wrong


@dataclass(frozen=True)
class Asked:
    """The texts of which vectors are wanted; `packed`: in base64."""

    model: str
    texts: tuple[str, ...]
    packed: bool = False


def read(body: Mapping[str, Json]) -> Asked:
    """What a request asks for. Raises BadInput that names the field."""
    given: Json = body.get("input")
    texts: list[Json] = given if isinstance(given, list) else [given]
    if not texts or not all(isinstance(text, str) and text for text in texts):
        raise wrong("input", given, "a text, or a list of texts: none empty, and no tokens")
    if body.get("dimensions") is not None:
        raise wrong("dimensions", body["dimensions"], "nothing: a vector is as long as the engine makes it")
    form = get(body, "encoding_format", str, "float")
    if form not in ("float", "base64"):
        raise wrong("encoding_format", form, "float or base64")
    return Asked(get(body, "model", str, ""), tuple(texts), form == "base64")


def whole(asked: Asked, embedded: Embedded) -> dict[str, Json]:
    """The answer."""
    vectors = [_packed(vector) if asked.packed else list(vector) for vector in embedded.vectors]
    data = [{"object": "embedding", "index": place, "embedding": vector} for place, vector in enumerate(vectors)]
    usage = {"prompt_tokens": embedded.prompt, "total_tokens": embedded.prompt}
    return {"object": "list", "data": data, "model": asked.model or "default", "usage": usage}


def _packed(vector: tuple[float, ...]) -> str:
    """A vector as OpenAI packs it: numbers of 32 bits, the lowest byte first."""
    numbers = array.array("f", vector)
    if sys.byteorder == "big":
        numbers.byteswap()
    return base64.b64encode(numbers.tobytes()).decode()
