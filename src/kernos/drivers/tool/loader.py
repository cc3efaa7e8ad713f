"""Functions out of a folder's own Python files, named `file.py:name`. That code is the owner's and is trusted."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from kernos.kernel.errors import BadInput


def load(where: str, home: Path, name: str) -> Any:
    """What `name` stands for. Raises BadInput, with `where` the field that named it."""
    file, _, function = name.partition(":")
    path = home / file
    if not function or not path.is_file():
        raise BadInput(where, repr(name), "file.py:name, of a file in this folder")
    spec = importlib.util.spec_from_file_location(f"kernos_company.{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BadInput:
        raise
    except (Exception, SystemExit) as error:  # a script may end itself, which must not end us
        fault = f"{file}, which fails: {type(error).__name__}: {error}"
        raise BadInput(where, fault, "a file that can be imported") from error
    if not hasattr(module, function):
        raise BadInput(where, repr(name), f"a name that {file} defines")
    return getattr(module, function)
