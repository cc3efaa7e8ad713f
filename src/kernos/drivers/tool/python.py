"""Python functions as tools.

    @tool(effects={"pays"})
    async def pay(account: Annotated[str, source("user")], amount: Annotated[int, source("user")]) -> str:
        '''Pay an amount, in yuan, to an account.'''

The schema comes from the annotations, the descriptions from the docstring (its Args section included), what the kernel
must know of effects and sources from the decorator and `source`. A function may be plain (it runs in a thread) or
async. What may be done when a crash leaves it open whether a call happened, is declared too: a function with a
parameter `key` gets the call's idempotency key, the same for every try, so that it may be tried again; `verify` names a
function that looks up whether a call happened; one that is `idempotent`, or only reads, is called again; any other is
in doubt.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import Annotated, Any, get_args, get_origin, get_type_hints, overload

from docstring_parser import parse
from pydantic import BaseModel, TypeAdapter, ValidationError, create_model
from pydantic import Field as Called

from kernos.drivers.tool.schema import Checked
from kernos.kernel.errors import BadInput, ToolError, Uncertain
from kernos.kernel.ports import ToolResult
from kernos.kernel.types import EffectKind, Field, Json, Parameter, SourceRule, ToolSpec, Use, canonical

Function = Callable[..., Any]
_KEY = "key"
_ANYTHING: TypeAdapter[Any] = TypeAdapter(Any)


def source(
    rule: SourceRule = "any",
    aliases: Mapping[str, Sequence[str]] | None = None,
    units: Sequence[str] = (),
    question: Mapping[str, str] | None = None,
    use: Use | None = None,
    of: str = "",
) -> Parameter:
    """Where a parameter's value may come from, and what it does, to be put into its annotation; see
    `types.Parameter`."""
    words = {value: tuple(said) for value, said in (aliases or {}).items()}
    return Parameter(rule, words, tuple(units), question or {}, use, of)


@dataclass(frozen=True)
class Happened:
    """What a look-up found: the call did happen, and returned this."""

    value: Json = None


class PythonTool(Checked):
    """A function as a tool; still callable as the function that it is."""

    def __init__(
        self,
        function: Function,
        effects: Iterable[EffectKind],
        idempotent: bool = False,
        verify: Function | None = None,
        timeout: float | None = None,
        returns: Mapping[str, Field] | None = None,
        verbs: Iterable[str] = (),
    ) -> None:
        self.function = function
        self._look_up = verify
        self._arguments = _model(function)
        keyed = _takes_key(function)
        spec = _spec(function, self._arguments, frozenset(effects))
        super().__init__(
            replace(
                spec, idempotent=idempotent, keyed=keyed, verified=verify is not None, timeout=timeout,
                returns=_returns(spec) if returns is None else returns, verbs=tuple(verbs),
            )
        )  # fmt: skip

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    async def call(self, arguments: Mapping[str, Json], key: str) -> ToolResult:
        """Run the function. What it raises is told to the model as a failure."""
        return _result(await self._run(self.function, arguments, key))

    async def verify(self, arguments: Mapping[str, Json], key: str) -> ToolResult | None:
        """Run the function that looks a call up; it returns `Happened`, or None if the call did not happen."""
        if self._look_up is None:
            return await super().verify(arguments, key)
        found = await self._run(self._look_up, arguments, key)
        if found is not None and not isinstance(found, Happened):
            raise ToolError(f"the look-up returned {type(found).__name__}, not kernos.Happened or None")
        return None if found is None else _result(found.value)

    async def _run(self, function: Function, arguments: Mapping[str, Json], key: str) -> Any:
        try:
            model = self._arguments.model_validate(dict(arguments))
        except ValidationError as error:
            raise ToolError(str(error)) from None
        values = {str(field.alias): getattr(model, place) for place, field in self._arguments.model_fields.items()}
        if _takes_key(function):
            values[_KEY] = key
        if not inspect.iscoroutinefunction(function):
            return await asyncio.to_thread(_called, function, values)
        with _told():
            return await function(**values)


@cache
def _takes_key(function: Function) -> bool:
    return _KEY in inspect.signature(function).parameters


def _called(function: Function, values: Mapping[str, Any]) -> Any:
    """Call a plain function, in a thread: no StopIteration may leave it, as no future can hold one."""
    with _told():
        return function(**values)


@contextmanager
def _told() -> Iterator[None]:
    """Foreign code: whatever it raises is its failure, and the model is told; unless it says that it does not know."""
    try:
        yield
    except Uncertain:
        raise
    except (Exception, SystemExit) as error:
        raise ToolError(f"{type(error).__name__}: {error}") from error


def _result(value: Any) -> ToolResult:
    with _told():
        result = _ANYTHING.dump_python(value, mode="json")
        canonical(result)
    return ToolResult(result)


@overload
def tool(function: Function, /) -> PythonTool: ...
@overload
def tool(
    *,
    effects: Iterable[EffectKind] = ("reads",),
    idempotent: bool = False,
    verify: Function | None = None,
    timeout: float | None = None,
    returns: Mapping[str, Field] | None = None,
    verbs: Iterable[str] = (),
) -> Callable[[Function], PythonTool]: ...
def tool(
    function: Function | None = None,
    *,
    effects: Iterable[EffectKind] = ("reads",),
    idempotent: bool = False,
    verify: Function | None = None,
    timeout: float | None = None,
    returns: Mapping[str, Field] | None = None,
    verbs: Iterable[str] = (),
) -> PythonTool | Callable[[Function], PythonTool]:
    """Make a typed function a tool.

    Args:
        function: given when the decorator is used without arguments.
        effects: what calling it does: reads, writes, sends, pays, destroys.
        idempotent: whether calling it twice does no more than calling it once.
        verify: a function of the same parameters that tells whether a call happened: `Happened(what it returned)`, or
            None if it did not. If it raises, nobody can tell, and a person is asked.
        timeout: for how many seconds a call may take; None: for ever.
        returns: who can have written which field of what it returns ("*": all others, "": a value that is no table).
            Left out: of a tool that only reads, anyone; of any other, the service alone.
        verbs: words by which people ask for it, beside those for its effects.
    """
    if function is not None:
        return PythonTool(function, effects, idempotent, verify, timeout, returns, verbs)
    return lambda decorated: PythonTool(decorated, effects, idempotent, verify, timeout, returns, verbs)


def _returns(spec: ToolSpec) -> dict[str, Field]:
    """What a call that acts returns is the service's receipt; what is read anyone may have written."""
    return {} if spec.effects <= {"reads"} else {"*": Field(attested=True)}


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
        fields[f"p{place}"] = (Annotated[hints[name], Called(alias=name)], default)
    return create_model(function.__name__, **fields)


def _spec(function: Function, model: type[BaseModel], effects: frozenset[EffectKind]) -> ToolSpec:
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
    return ToolSpec(function.__name__, manual.short_description, schema, rules, effects)
