"""The `kernos` command: a table of commands, each loaded when it is called, and one way for errors to end.

Exit codes: 0 done, 1 no (`audit verify`, `policy test`, `replay`, `wait`), 2 bad input or an error, 130 Ctrl-C.
"""

from __future__ import annotations

import contextlib
import os
import sys
from importlib import import_module
from typing import Any

import click

from kernos.kernel.errors import KernosError
from kernos.surfaces.cli.system import System

SECTIONS = {
    "Companies": {
        "init": ("folder", "Make a working company folder."),
        "check": ("folder", "Validate a company folder: what is wrong, and where."),
        "policy": ("policy", "Show, test and explain the rules."),
        "mcp": ("servers", "List the tools of MCP servers, and accept those that have changed."),
        "model": ("models", "List, pull and remove models."),
    },
    "Work": {
        "chat": ("talk", "Talk with an employee."),
        "run": ("talk", "Give an employee one task, or run its program to the end."),
        "resume": ("talk", "Go on with a process from its journal."),
        "work": ("worker", "Give turns to every process of a folder until Ctrl-C."),
        "up": ("up", "Serve a folder to any agent and program: OpenAI's API, MCP, A2A, and its own."),
        "key": ("keys", "Make, list and revoke the keys of the API."),
    },
    "Processes": {
        "ps": ("look", "List processes as a tree."),
        "top": ("top", "Show engines, slots, queues and processes, live."),
        "log": ("look", "Show what a process did, call by call."),
        "wait": ("look", "Wait until a process has exited."),
        "tell": ("control", "Answer what a process asks, or send it a message."),
        "approve": ("approve", "List, show and answer the calls that a person has to allow."),
        "doubts": ("doubts", "List and settle calls of which nobody knows whether they happened."),
        "pause": ("control", "Let a process rest until it is resumed."),
        "stop": ("control", "Halt every process at once."),
        "kill": ("control", "End a process and its children."),
        "nice": ("control", "Give a process another priority."),
        "fork": ("control", "Start a process that shares another's journal up to a row."),
    },
    "Journals": {
        "replay": ("records", "Run a program against its journal: are its calls the same?"),
        "audit": ("records", "Verify the journal's hash chains."),
        "journal": ("records", "Move processes between journals, and drop what is old."),
    },
}
COMMANDS = {name: place for section in SECTIONS.values() for name, place in section.items()}


class _Lazy(click.Group):
    """Knows its commands by name and one line; loads one when it is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"kernos.surfaces.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name, line) for name, (_, line) in commands.items()], col_max=8)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and args[0] not in COMMANDS:
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"one of {', '.join(COMMANDS)}"
            raise click.UsageError(f"no command {args[0]!r}: {hint}")
        return super().resolve_command(ctx, args)


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="kernos", message="kernos %(version)s")
def cli() -> None:
    """Kernos, a model operating system: employees run as processes, and every model call and tool call goes through
    one kernel that decides, records and meters it.

    \b
    Examples:
      kernos model pull default            get the default model (1.1 GB)
      kernos init shop && kernos chat shop start a company and talk to its employee
      kernos run shop "..." --detach       start a process in the background, for kernos work
      kernos up shop                       let any agent in: OPENAI_BASE_URL, MCP, A2A
      kernos ps                            what runs here, why it waits, what it cost
      kernos log PID                       every call of a process, with its decision
    """


def run(system: System) -> int:
    """Run the command line and return the exit code."""
    try:
        result = cli.main(standalone_mode=False, obj=system)
        return result if isinstance(result, int) else 0
    except (KeyboardInterrupt, click.Abort):
        click.echo("", err=True)
        return 130
    except BrokenPipeError:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KernosError as error:
        return _fail(str(error), error.code)
    except click.ClickException as error:
        return _fail(error.format_message())


def _fail(message: str, code: str = "") -> int:
    line = " ".join(message.split())
    click.secho(f"kernos: {line}" + (f" [{code}]" if code else ""), fg="red", err=True)
    return 2
