"""Who watches processes: what each journals and drafts here is passed on, for as long as somebody looks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from kernos.kernel.types import Event

Watcher = Callable[[Event], None]


class Watchers:
    """Those of all processes of one kernel."""

    def __init__(self) -> None:
        self._of: dict[str, list[Watcher]] = {}

    @contextmanager
    def watching(self, pid: str, watcher: Watcher) -> Iterator[None]:
        """Have a watcher told what a process does, while the block runs."""
        watchers = self._of.setdefault(pid, [])
        watchers.append(watcher)
        try:
            yield
        finally:
            watchers.remove(watcher)
            if not watchers:
                self._of.pop(pid, None)

    @contextmanager
    def drafts(self, pid: str, draft: Callable[[str], None] | None) -> Iterator[None]:
        """Pass the pieces of a process's answers on, if somebody wants them, while the block runs."""

        def pass_on(event: Event) -> None:
            if draft and event.kind == "draft":
                draft(event.text)

        with self.watching(pid, pass_on):
            yield

    def teller(self, pid: str) -> Watcher:
        """What tells all who watch a process."""

        def tell(event: Event) -> None:
            for watcher in self._of.get(pid, ()):
                watcher(event)

        return tell
