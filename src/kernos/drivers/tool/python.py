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
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, get_args, get_origin, get_type_hints, overload

from docstring_parser import parse
from pydantic import TypeAdapter, ValidationError, create_model

from kernos.drivers.tool.schema import Checked
from kernos.kernel.errors import BadInput, ToolError
from kernos.kernel.ports import ToolResult
from kernos.kernel.types import EffectKind, Json, Parameter, SourceRule, ToolSpec

Function = Callable[..., Any]
_KEY = "key"


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
        super().__init__(_spec(function, self._arguments, frozenset(effects), idempotent))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    async def call(self, arguments: Mapping[str, Json], key: str) -> ToolResult:
        """Run the function. What it raises is told to the model as a failure."""
        try:
            model = self._arguments.validate_python(dict(arguments))
            values = {name: getattr(model, name) for name in type(model).model_fields}
        except ValidationError as error:
            raise ToolError(str(error)) from None
        if _KEY in inspect.signature(self.function).parameters:
            values[_KEY] = key
        try:
            if inspect.iscoroutinefunction(self.function):
                result = await self.function(**values)
            else:
                result = await asyncio.to_thread(self.function, **values)
            return ToolResult(TypeAdapter(Any).dump_python(result, mode="json"))
        except Exception as error:  # foreign code: whatever it raises is its failure, and the model is told
            raise ToolError(f"{type(error).__name__}: {error}") from error


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


def _model(function: Function) -> TypeAdapter[Any]:
    hints = get_type_hints(function, include_extras=True)
    fields: dict[str, Any] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if name == _KEY:
            continue
        if name not in hints:
            raise BadInput(f"tool {function.__name__}: {name}", "no annotation", "a type, such as `: str`")
        fields[name] = (hints[name], ... if parameter.default is parameter.empty else parameter.default)
    return TypeAdapter(create_model(function.__name__, **fields))


def _spec(function: Function, model: TypeAdapter[Any], effects: frozenset[EffectKind], idempotent: bool) -> ToolSpec:
    manual = parse(inspect.getdoc(function) or "")
    if not manual.short_description:
        raise BadInput(f"tool {function.__name__}", "no docstring", "one that tells the model what it does")
    schema = {**model.json_schema(), "additionalProperties": False}
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
