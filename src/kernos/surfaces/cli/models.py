"""`kernos model list | pull | rm`."""

from __future__ import annotations

from pathlib import Path

import click

from kernos.surfaces.cli.system import Progress, System


@click.group()
def model() -> None:
    """List, pull and remove models.

    \b
    Examples:
      kernos model list
      kernos model pull default
      kernos model pull default --from ~/Downloads/qwen.gguf
      kernos model rm smollm2-135m
    """


@model.command("list")
@click.pass_obj
def list_models(system: System) -> None:
    """The catalogue: name, licence, size, SHA-256, and what is on this machine."""
    for status in system.shelf.list():
        known = status.model
        here = (
            f"here: {status.path}"
            if status.path
            else f"pulled in part ({_size(status.partial)})"
            if status.partial
            else "not pulled"
        )
        click.secho(known.name, bold=True, nl=False)
        click.echo(f"  {known.title}\n  {known.licence}, {_size(known.size)}, sha256 {known.sha256}\n  {here}")


@model.command()
@click.argument("name", default="default")
@click.option("--from", "local", type=click.Path(path_type=Path), help="take it from a file on this machine")
@click.pass_obj
def pull(system: System, name: str, local: Path | None) -> None:
    """Get a model, from the first source that has it; a broken pull goes on where it stopped."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    noted: list[str] = []
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task(name, total=None)

        def progress(at: Progress) -> None:
            bar.update(task, completed=at.done, total=at.total, description=at.note or name)
            if not console.is_terminal and at.note and at.note not in noted:
                noted.append(at.note)
                click.echo(f"{at.note} ({_size(at.done)} of {_size(at.total)})", err=True)

        path = system.shelf.pull(name, progress, local)
    click.echo(f"{name}: {path}")


@model.command()
@click.argument("name")
@click.pass_obj
def rm(system: System, name: str) -> None:
    """Remove a model from this machine, and the pieces of a broken pull."""
    system.shelf.remove(name)
    click.echo(f"{name}: removed")


def _size(size: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
