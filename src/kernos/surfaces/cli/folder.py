"""`kernos init` and `kernos check`."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from kernos.kernel.errors import BadInput
from kernos.surfaces.cli.calls import count
from kernos.surfaces.cli.system import System

Folder = click.Path(path_type=Path)


@click.command()
@click.argument("folder", type=Folder)
@click.option("--example", default="starter", show_default=True, help="starter or beauty-advisor")
@click.pass_obj
def init(system: System, folder: Path, example: str) -> None:
    """Make a working company folder.

    \b
    Examples:
      kernos init shop
      kernos init advisor --example beauty-advisor
    """
    source = system.template(example)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadInput(str(folder), "something there already", "a new or empty folder")
    try:
        shutil.copytree(
            source, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".kernos", "*.db", "__pycache__")
        )
    except OSError as error:
        raise BadInput(str(folder), str(error), "a folder that can be written") from None
    click.echo(f"{folder}: a company with one employee.\n\nNext:\n  kernos check {folder}\n  kernos chat {folder}")


@click.command()
@click.argument("folder", type=Folder, default=".")
@click.pass_obj
def check(system: System, folder: Path) -> int:
    """Validate a company folder: every problem with its file and field, then what was asked for and is not granted.

    Exit code 2 if something is wrong. Nothing is run but the folder's own Python files.

    \b
    Examples:
      kernos check shop
      kernos check .claude/agents/reviewer.md
    """
    company = system.company(folder)
    faults = system.faults(folder)
    for fault in faults:
        click.secho(f"✗ {fault}", fg="red")
    for note in [*company.notes, *(system.missing(folder) if not faults else ())]:
        click.secho(f"· {note}", fg="yellow")
    counts = (("employee", company.agents), ("skill", company.skills), ("task", company.tasks))
    found = ", ".join(count(len(things), name) for name, things in counts)
    if faults:
        click.secho(f"{folder}: {len(faults)} to mend ({found})", fg="red")
        return 2
    click.secho(f"✓ {company.name or folder}: {found}", fg="green")
    return 0
