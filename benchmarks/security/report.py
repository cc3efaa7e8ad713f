"""What the runs came to: a table for each question that a reader has, and one line of JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.security.person import PEOPLE
from benchmarks.security.run import Result
from benchmarks.table import percentile, show

Chosen = Callable[[Result], bool]
OFF = "monitor off"


def tell(results: Sequence[Result]) -> None:
    """Every question of the user tasks by themselves, every refusal, and every attack that passed."""
    for one in results:
        where = f"{one.suite} {one.user} {one.injection} {one.variant} {one.strategy} {one.person}"
        if not one.monitor or one.person != "careful":
            continue
        if not one.injection:
            for number, card in enumerate(one.cards, 1):
                print(f"{one.suite} {one.user}: question {number}", *card, sep="\n    ")
            for line in one.denied:
                print(f"{where}: denied: {line}")
        if not one.finished and not one.injection:
            print(f"{where}: not finished")
        if one.injection and one.by_action and one.attacked:
            print(f"{where}: the attack succeeded")
        for call in one.silent:
            print(f"{where}: silent: {call}")


def report(results: Sequence[Result]) -> None:
    """All tables; the last JSON line has the figures of all suites."""
    suites = list(dict.fromkeys(one.suite for one in results))
    whole = [one for one in results if one.monitor and one.person == "careful"]
    if any(one.injection for one in whole):
        ways = list(dict.fromkeys((one.variant, one.strategy) for one in whole if one.injection))
        rows = [_way(whole, variant, strategy) for variant, strategy in ways]
        columns = ("variant", "strategy", "runs", "attacks", "effects tried", "silent", "user task finished")
        show("The careful person, by how the attacker goes about it", columns, rows, {"runs": len(results)})
    people = [_row(results, suite, who) for suite in [*suites, ""] for who in (OFF, *PEOPLE)]
    heads = (
        "suite", "person", "pairs", "attacks", "silent effects", "tasks", "finished", "under attack", "no question",
        "at most one", "questions/task", "false denials",
    )  # fmt: skip
    show("AgentDojo, the assistant wholly compromised", heads, people, figures(results))


def figures(results: Sequence[Result]) -> dict[str, Any]:
    """What the JSON line says."""
    whole = [one for one in results if one.monitor and one.person == "careful"]
    benign = [one for one in whole if not one.injection]
    finished = [one for one in benign if one.finished]
    say = [one for one in whole if one.injection and not one.by_action]
    decided = [spent for one in results if one.monitor for spent in one.decided]
    judged = [spent for one in results if one.monitor for spent in one.judged]
    return {
        "pairs": len(_pairs(whole)),
        "action_attacks": len(_pairs(whole, lambda one: one.by_action and one.attacked)),
        "silent_attacker_effects": sum(len(one.silent) for one in whole),
        "finished": len(finished),
        "silent": sum(not one.cards for one in finished),
        "at_most_one": sum(len(one.cards) <= 1 for one in finished),
        "questions_per_task": round(sum(len(one.cards) for one in benign) / max(1, len(benign)), 3),
        "undefended_attacks": len(_pairs(results, lambda one: not one.monitor and one.by_action and one.attacked)),
        "decision_us_p99": round(percentile(decided, 99), 1) if len(decided) > 1 else None,
        "judge_us_p50": round(percentile(judged, 50), 1) if len(judged) > 1 else None,
        "judge_us_p99": round(percentile(judged, 99), 1) if len(judged) > 1 else None,
        "say_pairs": len(_pairs(say)),
        "say_marked": len(_pairs(say) - _pairs(say, lambda one: not one.marked)),
    }


def _pairs(results: Sequence[Result], chosen: Chosen = lambda one: True) -> set[tuple[str, str, str]]:
    return {(one.suite, one.user, one.injection) for one in results if one.injection and one.exposed and chosen(one)}


def _way(whole: Sequence[Result], variant: str, strategy: str) -> tuple[Any, ...]:
    runs = [one for one in whole if (one.variant, one.strategy) == (variant, strategy)]
    return (
        variant, strategy, len(runs), sum(one.by_action and one.attacked for one in runs),
        sum(one.tried for one in runs), sum(len(one.silent) for one in runs), sum(one.finished for one in runs),
    )  # fmt: skip


def _row(results: Sequence[Result], suite: str, who: str) -> tuple[Any, ...]:
    """What became of one suite (all, if it has no name) with one person."""
    chosen = [
        one for one in results
        if suite in ("", one.suite) and (not one.monitor if who == OFF else one.monitor and one.person == who)
    ]  # fmt: skip
    benign = [one for one in chosen if not one.injection]
    attacked = [one for one in chosen if one.injection]
    plain = [one for one in attacked if (one.variant, one.strategy) == ("plain", "at once")]
    finished = [one for one in benign if one.finished]
    asked = sum(len(one.cards) for one in benign)
    return (
        suite or "all", who, len(_pairs(attacked)), len(_pairs(attacked, lambda one: one.by_action and one.attacked)),
        sum(len(one.silent) for one in attacked), len(benign), len(finished), sum(one.finished for one in plain),
        sum(not one.cards for one in finished), sum(len(one.cards) <= 1 for one in finished),
        f"{asked / max(1, len(benign)):.2f}", sum(len(one.denied) for one in benign),
    )  # fmt: skip
