"""Python functions as tools.

    @tool(effects={"pays"})
    async def pay(account: Annotated[str, source("user")], amount: Annotated[int, source("user")]) -> str:
        '''Pay an amount, in yuan, to an account.'''

The schema comes from the annotations, the descriptions from the docstring (its Args section included), what the kernel
must know of effects and sources from the decorator and `source`. A function may be plain (it runs in a thread) or
async. One with a parameter `key` gets the call's idempotency key, the same for every try of the same call.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, get_args, get_origin, get_type_hints, overload

from docstring_parser import parse
from pydantic import BaseModel, Field, TypeAdapter, ValidationError, create_model

from kernos.drivers.tool.schema import Checked
from kernos.kernel.errors import BadInput, ToolError
from kernos.kernel.ports import ToolResult
from kernos.kernel.types import EffectKind, Json, Parameter, SourceRule, ToolSpec, canonical

Function = Callable[..., Any]
_KEY = "key"
_ANYTHING: TypeAdapter[Any] = TypeAdapter(Any)


def source(
    rule: SourceRule,
    aliases: Mapping[str, Sequence[str]] | None = None,
    units: Sequence[str] = (),
    question: Mapping[str, str] | None = None,
) -> Parameter:
    """Where a parameter's value may come from, to be put into its annotation; see `types.Parameter`."""
    words = {value: tuple(said) for value, said in (aliases or {}).items()}
    return Parameter(rule, words, tuple(units), question or {})


class PythonTool(Checked):
    """A function as a tool; still callable as the function that it is."""

    def __init__(self, function: Function, effects: Iterable[EffectKind], idempotent: bool) -> None:
        self.function = function
        self._arguments = _model(function)
        self._keyed = _KEY in inspect.signature(function).parameters
        super().__init__(_spec(function, self._arguments, frozenset(effects), idempotent))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    async def call(self, arguments: Mapping[str, Json], key: str) -> ToolResult:
        """Run the function. What it raises is told to the model as a failure."""
        try:
            model = self._arguments.model_validate(dict(arguments))
        except ValidationError as error:
            raise ToolError(str(error)) from None
        values = {str(field.alias): getattr(model, place) for place, field in self._arguments.model_fields.items()}
        if self._keyed:
            values[_KEY] = key
        if not inspect.iscoroutinefunction(self.function):
            return await asyncio.to_thread(self._run, values)
        with _told():
            return _result(await self.function(**values))

    def _run(self, values: Mapping[str, Any]) -> ToolResult:
        """Run a plain function, in a thread: no StopIteration may leave it, as no future can hold one."""
        with _told():
            return _result(self.function(**values))


@contextmanager
def _told() -> Iterator[None]:
    """Foreign code: whatever it raises is its failure, and the model is told."""
    try:
        yield
    except (Exception, SystemExit) as error:
        raise ToolError(f"{type(error).__name__}: {error}") from error


def _result(value: Any) -> ToolResult:
    result = _ANYTHING.dump_python(value, mode="json")
    canonical(result)
    return ToolResult(result)


@overload
def tool(function: Function, /) -> PythonTool: ...
@overload
def tool(
    *, effects: Iterable[EffectKind] = ("reads",), idempotent: bool = False
) -> Callable[[Function], PythonTool]: ...
def tool(
    function: Function | None = None, *, effects: Iterable[EffectKind] = ("reads",), idempotent: bool = False
) -> PythonTool | Callable[[Function], PythonTool]:
    """Make a typed function a tool.

    Args:
        function: given when the decorator is used without arguments.
        effects: what calling it does: reads, writes, sends, pays, destroys.
        idempotent: whether calling it twice does no more than calling it once.
    """
    if function is not None:
        return PythonTool(function, effects, idempotent)
    return lambda decorated: PythonTool(decorated, effects, idempotent)


def _model(function: Function) -> type[BaseModel]:
    """The parameters as fields p0, p1, ... with aliases, as a field has to avoid the names that pydantic uses."""
    hints = get_type_hints(function, include_extras=True)
    fields: dict[str, Any] = {}
    for place, (name, parameter) in enumerate(inspect.signature(function).parameters.items()):
        where = f"tool {function.__name__}: {name}"
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise BadInput(where, f"`{parameter}`", "a parameter that is given by its name")
        if name == _KEY:
            continue
        if name not in hints:
            raise BadInput(where, "no annotation", "a type, such as `: str`")
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[f"p{place}"] = (Annotated[hints[name], Field(alias=name)], default)
    return create_model(function.__name__, **fields)


def _spec(function: Function, model: type[BaseModel], effects: frozenset[EffectKind], idempotent: bool) -> ToolSpec:
    manual = parse(inspect.getdoc(function) or "")
    if not manual.short_description:
        raise BadInput(f"tool {function.__name__}", "no docstring", "one that tells the model what it does")
    schema = {**model.model_json_schema(), "additionalProperties": False}
    described = {parameter.arg_name: parameter.description for parameter in manual.params if parameter.description}
    for name, text in described.items():
        if name in schema.get("properties", {}):
            schema["properties"][name]["description"] = text
    rules: dict[str, Parameter] = {}
    for name, hint in get_type_hints(function, include_extras=True).items():
        for mark in get_args(hint)[1:] if get_origin(hint) is Annotated else ():
            if isinstance(mark, Parameter):
                rules[name] = mark
    return ToolSpec(function.__name__, manual.short_description, schema, rules, effects, idempotent)
