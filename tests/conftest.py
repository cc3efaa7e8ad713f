"""The real models that tests may use: a small one, pulled when first needed, and the default one, if it is here."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kernos.drivers.engine.models import Shelf, default_folder
from kernos.kernel.errors import ModelMissing

pytest_plugins = ["tests.postgres"]


@pytest.fixture(scope="session")
def smollm() -> Path:
    """SmolLM2-135M: fast, and of no judgement. For tests marked `model`."""
    return Shelf(default_folder(os.environ)).pull("smollm2-135m", lambda progress: None)


@pytest.fixture(scope="session")
def qwen() -> Path:
    """The default model, where it was pulled. For tests marked `judgement`."""
    try:
        return Shelf(default_folder(os.environ)).path("default")
    except ModelMissing as missing:
        pytest.skip(f"the default model is needed: {missing}")
