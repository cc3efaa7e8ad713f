"""What makes AgentDojo fast enough to be run ten thousand times.

    hasten()         once, before a suite is loaded

Nothing here changes what its checks say.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import pydantic.networks
from deepdiff.diff import DeepDiff
from pydantic import BaseModel


def hasten() -> None:
    """Validate the same address once, and do not walk through records that are the same."""
    validate, compare = pydantic.networks.validate_email, DeepDiff._diff_obj

    def compared(self: Any, level: Any, *args: Any, **kwargs: Any) -> None:
        if not (isinstance(level.t1, BaseModel) and level.t1 == level.t2):
            compare(self, level, *args, **kwargs)

    setattr(pydantic.networks, "validate_email", lru_cache(maxsize=None)(validate))  # noqa: B010
    setattr(DeepDiff, "_diff_obj", compared)  # noqa: B010
