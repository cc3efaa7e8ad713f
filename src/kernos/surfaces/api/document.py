"""The description of the API in the form of OpenAPI 3.1, made of the table."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import JsonSchemaMode

from kernos.kernel.types import Json
from kernos.surfaces.api.operation import Form, Nothing, Operation

_REFERENCE = "#/components/schemas/{model}"
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "code"],
            "properties": {name: {"type": "string"} for name in ("message", "type", "code")},
        }
    },
}
"""What every refusal looks like; `code` is one of docs/reference/errors.md."""


def document(table: Sequence[Operation], version: str) -> Json:
    """The whole description."""
    inputs = [(n, mode, TypeAdapter(thing)) for n, operation in enumerate(table) for mode, thing in _things(operation)]
    schemas, shared = TypeAdapter.json_schemas(inputs, ref_template=_REFERENCE)
    paths: dict[str, dict[str, Json]] = {}
    for n, operation in enumerate(table):
        sent, got = schemas.get((n, "validation")), schemas[n, "serialization"]
        paths.setdefault(operation.path, {})[operation.method.lower()] = _described(operation, sent, got)
    key = {"type": "http", "scheme": "bearer", "description": "A key of Kernos: kernos key add"}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Kernos", "version": version, "description": "The native API of a model operating system."},
        "paths": paths,
        "components": {"schemas": {"Error": _ERROR, **shared.get("$defs", {})}, "securitySchemes": {"key": key}},
        "security": [{"key": []}],
    }


def _things(operation: Operation) -> Iterator[tuple[JsonSchemaMode, Any]]:
    """What an operation takes, and what it gives."""
    if operation.body is not Nothing:
        yield "validation", operation.body
    yield "serialization", operation.reply


def _described(operation: Operation, sent: Json, got: Json) -> Json:
    """One operation, in OpenAPI's words."""
    said = " ".join((inspect.getdoc(operation.handler) or "").split())
    role = f" For keys with the role {operation.role}." if operation.role else ""
    described: dict[str, Json] = {
        "operationId": f"{operation.method.lower()}_{re.sub('[^a-z]+', '_', operation.path.lower()).strip('_')}",
        "summary": said.partition(".")[0],
        "description": said + role,
        "parameters": [*_in_path(operation.path), *_in_query(operation.query)],
        "responses": {
            str(operation.status): {"description": "Done.", "content": {operation.media: {"schema": got}}},
            "default": {
                "description": "Refused, or failed.",
                "content": {"application/json": {"schema": {"$ref": _REFERENCE.format(model="Error")}}},
            },
        },
    }
    if sent is not None:
        described["requestBody"] = {"required": True, "content": {"application/json": {"schema": sent}}}
    if operation.open:
        described["security"] = []
    return described


def _in_path(path: str) -> Iterator[Json]:
    for name in re.findall(r"{(\w+)}", path):
        yield {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _in_query(form: type[Form]) -> Iterator[Json]:
    for name, schema in form.model_json_schema().get("properties", {}).items():
        yield {"name": name, "in": "query", "required": False, "schema": schema}
