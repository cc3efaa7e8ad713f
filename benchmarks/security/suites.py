"""AgentDojo's suites, with their tools as tools of Kernos, and environments that are made fast.

    for suite in suites(PACKAGE, FOLDER):
        for user in suite.users: ...
        environment = suite.environment(suite.benign)
        tools = suite.tools(environment)

A suite's text is parsed once for each set of places into which an attacker may write, and copies are made by pickle.
"""

from __future__ import annotations

import importlib
import pickle
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import yaml
from agentdojo.base_tasks import BaseInjectionTask, BaseUserTask
from agentdojo.functions_runtime import Function, FunctionsRuntime
from agentdojo.task_suite.task_suite import TaskSuite, read_suite_file

from benchmarks.security.calls import calls, plain, texts
from benchmarks.security.manifest import Declared, Manifest, read
from benchmarks.security.speed import hasten
from kernos.drivers.tool.schema import Checked
from kernos.kernel.errors import ToolError
from kernos.kernel.ports import Tool, ToolResult
from kernos.kernel.types import Json, ToolSpec

PACKAGE, VERSION = "agentdojo.task_suite.load_suites", "v1.2.2"
MANIFESTS = Path(__file__).resolve().parent / "manifests"

hasten()


class DojoTool(Checked):
    """A tool of a suite. What checks its arguments is made once; `within` gives it an environment to work in."""

    def __init__(self, spec: ToolSpec, declared: Declared, runtime: FunctionsRuntime) -> None:
        super().__init__(spec)
        self._declared, self._runtime = declared, runtime
        self._environment: Any = None
        self.problem({})

    def within(self, environment: Any) -> Tool:
        tool = copy(self)
        tool._environment = environment
        return tool

    async def call(self, arguments: Mapping[str, Json], key: str) -> ToolResult:
        """Run it. Raises ToolError with what AgentDojo tells a model of a failure."""
        result, error = self._runtime.run_function(self._environment, self.spec.name, plain(dict(arguments)))
        if error is not None:
            raise ToolError(error)
        return ToolResult(self._declared.shaped(plain(result)))


@dataclass(frozen=True)
class Suite:
    """One suite of tasks."""

    dojo: TaskSuite[Any]
    manifest: Manifest

    @property
    def name(self) -> str:
        return str(self.dojo.name)

    @cached_property
    def users(self) -> dict[str, BaseUserTask[Any]]:
        return {task.ID: task for task in sorted(self.dojo.user_tasks.values(), key=_number)}

    @cached_property
    def injections(self) -> dict[str, BaseInjectionTask[Any]]:
        return {task.ID: task for task in sorted(self.dojo.injection_tasks.values(), key=_number)}

    @cached_property
    def runtime(self) -> FunctionsRuntime:
        return FunctionsRuntime(self.dojo.tools)

    @cached_property
    def specs(self) -> dict[str, ToolSpec]:
        """What Kernos knows of each tool. Raises ValueError where the manifest does not fit the tools."""
        functions = {function.name: function for function in self.dojo.tools}
        if strange := functions.keys() ^ self.manifest.tools.keys():
            raise ValueError(f"{self.name}: in the manifest or among the tools, not both: {', '.join(sorted(strange))}")
        return {name: _spec(function, self.manifest.tools[name]) for name, function in functions.items()}

    def tools(self, environment: Any) -> dict[str, Tool]:
        """The tools, working in this environment."""
        return {name: tool.within(environment) for name, tool in self._tools.items()}

    @cached_property
    def _tools(self) -> dict[str, DojoTool]:
        declared = self.manifest.tools
        return {name: DojoTool(spec, declared[name], self.runtime) for name, spec in self.specs.items()}

    def environment(self, user: BaseUserTask[Any], injections: Mapping[str, str] | None = None) -> Any:
        """The environment of a user task, with an attacker's words in the places where they may stand."""
        injections = injections or {}
        raw = _template(self.dojo, frozenset(injections))
        marks = {_mark(vector): words for vector, words in injections.items()}
        return user.init_environment(self.dojo.environment_type.model_validate(_filled(raw, marks)))

    def exposed(self, user: BaseUserTask[Any]) -> list[str]:
        """The places of an attacker's words that the user task's own calls show."""
        vectors = list(self.dojo.get_injection_vector_defaults())
        environment = self.environment(user, {vector: _mark(vector) for vector in vectors})
        seen: list[str] = []
        for call in calls(user.ground_truth(clone(environment))):
            result, _ = self.runtime.run_function(environment, call.tool, plain(dict(call.arguments)))
            seen += texts(plain(result))
        return [vector for vector in vectors if any(_mark(vector) in text for text in seen)]


def suites(package: str = PACKAGE, manifests: Path = MANIFESTS, version: str = VERSION) -> list[Suite]:
    """The suites of a package, those that have a manifest."""
    found: dict[str, TaskSuite[Any]] = importlib.import_module(package).get_suites(version)
    paths = {name: manifests / f"{name}.toml" for name in found}
    return [Suite(found[name], read(path)) for name, path in paths.items() if path.exists()]


def clone(environment: Any) -> Any:
    """A copy, much faster than deepcopy makes it."""
    return pickle.loads(pickle.dumps(environment, pickle.HIGHEST_PROTOCOL))


def _number(task: Any) -> int:
    return int(task.ID.rpartition("_")[2])


def _mark(vector: str) -> str:
    return f"<place of {vector}>"


@lru_cache(maxsize=128)
def _template(dojo: TaskSuite[Any], vectors: frozenset[str]) -> Json:
    """The parsed environment, a mark in each of these places."""
    text = read_suite_file(dojo.name, "environment.yaml", dojo.data_path)
    words = dojo.get_injection_vector_defaults() | {vector: _mark(vector) for vector in vectors}
    return yaml.load(text.format(**words), getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def _filled(value: Json, marks: Mapping[str, str]) -> Json:
    match value:
        case str():
            for mark, words in marks.items():
                value = value.replace(mark, words)
            return value
        case list():
            return [_filled(part, marks) for part in value]
        case dict():
            return {_filled(key, marks): _filled(part, marks) for key, part in value.items()}
    return value


def _spec(function: Function[Any, Any], declared: Declared) -> ToolSpec:
    schema = function.parameters.model_json_schema()
    names = {name.partition(".")[0] for name in declared.parameters}
    if strange := names - schema.get("properties", {}).keys():
        raise ValueError(f"{function.name} has no parameter {', '.join(sorted(strange))}")
    kinds = schema.pop("$defs", {})
    spec = ToolSpec(
        function.name, function.description, {**_inlined(schema, kinds), "additionalProperties": False},
        declared.parameters, declared.effects,
    )  # fmt: skip
    return replace(spec, returns=declared.returns, verbs=declared.verbs)


def _inlined(schema: Json, kinds: Mapping[str, Json]) -> Json:
    """A schema whose references are replaced by what they refer to."""
    match schema:
        case {"$ref": str(place)}:
            rest = {name: part for name, part in schema.items() if name != "$ref"}
            return {**_inlined(kinds[place.rpartition("/")[2]], kinds), **rest}
        case dict():
            return {name: _inlined(part, kinds) for name, part in schema.items()}
        case list():
            return [_inlined(part, kinds) for part in schema]
    return schema
