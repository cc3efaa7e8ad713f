"""A model server that makes vectors of texts too: `POST /embeddings`, as OpenAI has it."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence

from kernos.drivers.engine.client import OpenAIEngine
from kernos.kernel.errors import EngineError
from kernos.kernel.types import Embedded, Json


class EmbeddingEngine(OpenAIEngine):
    """A server of which its company says that it embeds."""

    async def embed(self, texts: Sequence[str]) -> Embedded:
        """See `ports.Embedder`."""
        started = time.monotonic()
        with self._errors():
            if not self._model:
                await self._detect()
            asked = {"model": self._model, "input": list(texts), "encoding_format": "float"}
            async with await self._send("POST", "/embeddings", asked) as response:
                page = await response.read()
        try:
            answer = json.loads(page)
            found = {int(item["index"]): _vector(item["embedding"]) for item in answer["data"]}
            vectors = tuple(found[place] for place in range(len(texts)))
            tokens = max(0, int((answer.get("usage") or {}).get("prompt_tokens") or 0))
        except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError):
            raise EngineError(f"the model server at {self._url} answered with no vectors of these texts") from None
        return Embedded(vectors, tokens, time.monotonic() - started)


def _vector(given: Json) -> tuple[float, ...]:
    numbers = tuple(map(float, given))
    if not numbers or not all(map(math.isfinite, numbers)):
        raise ValueError("no vector")
    return numbers
