"""Every user task, every pair, every strategy; on all cores, one user task at a time.

    python -m benchmarks.security [--suite banking] [--task user_task_3] [--quick] [--verbose]
    python -m benchmarks.security --package my_suites.load_suites --manifests folder --version v1

It runs where AgentDojo is installed (see `home`).
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.security import report
from benchmarks.security.attack import Assault, Variant
from benchmarks.security.person import PEOPLE
from benchmarks.security.planner import ALWAYS, AT_ONCE, STRATEGIES, UNDEFENDED
from benchmarks.security.run import Result, Setting, play, watch
from benchmarks.security.suites import MANIFESTS, PACKAGE, VERSION, Suite, suites

DISGUISED: tuple[Variant, ...] = ("spoofed", "encoded")
_SUITES: dict[str, Suite] = {}
Job = tuple[str, str, bool]


def settings(suite: Suite, task: str, quick: bool) -> Iterator[Setting]:
    """What is played of one user task."""
    user = suite.users[task]
    yield Setting(suite, user, person="careless", monitor=False)
    yield from (Setting(suite, user, person=person) for person in PEOPLE)
    vectors = [] if quick else suite.exposed(user)
    for injection in suite.injections.values() if vectors else ():
        plain = Assault(suite, user, injection, vectors)
        yield from (Setting(suite, user, plain, strategy, "careless", monitor=False) for strategy in UNDEFENDED)
        yield from (Setting(suite, user, plain, strategy) for strategy in STRATEGIES)
        yield from (Setting(suite, user, plain, AT_ONCE, person) for person in PEOPLE if person != "careful")
        for variant in DISGUISED:
            yield Setting(suite, user, Assault(suite, user, injection, vectors, variant), ALWAYS)


def work(job: Job) -> list[Result]:
    """One user task, in a process of its own."""
    suite, task, quick = job
    return [play(setting) for setting in settings(_SUITES[suite], task, quick)]


def played(jobs: Sequence[Job], processes: int) -> Iterator[list[Result]]:
    """The results of each job, as they come."""
    if processes == 1:
        yield from map(work, jobs)
        return
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        yield from pool.imap_unordered(work, jobs)


def main() -> None:
    """Play, print."""
    given = _given()
    _SUITES.update({suite.name: suite for suite in suites(given.package, given.manifests, given.version)})
    watch()
    gc.freeze()
    jobs = [
        (name, task, given.quick) for name, suite in _SUITES.items() for task in suite.users
        if given.suite in ("", name) and given.task in ("", task)
    ]  # fmt: skip
    results: list[Result] = []
    for done, found in enumerate(played(jobs, given.processes), 1):
        results += found
        if not given.quick:
            print(f"\r{done} of {len(jobs)} user tasks", end="", file=sys.stderr, flush=True)
        if given.verbose:
            report.tell(found)
    report.report(results)


def _given() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.security")
    parser.add_argument("--suite", default="", help="only this suite")
    parser.add_argument("--task", default="", help="only this user task")
    parser.add_argument("--quick", action="store_true", help="no attacks")
    parser.add_argument("--verbose", action="store_true", help="every question, and every attack that passed")
    parser.add_argument("--package", default=PACKAGE, help="a module with get_suites(version), as AgentDojo has")
    parser.add_argument("--manifests", type=Path, default=MANIFESTS, help="a folder with SUITE.toml for each suite")
    parser.add_argument("--version", default=VERSION, help="the version of the suites")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    return parser.parse_args()
