"""I3 when a process is taken over, as a model: every state that two workers can reach, and every order of events.

The protocol is a small machine here, in the manner of TLA+: one process with two calls of a tool, a store that fences,
two workers, and a world that crashes them, leaves them asleep for any time before any step, and gives their process to
the other one whenever it likes. `explore` visits each state once. `Rules` can be taken away, and then a way into harm
has to be found: a rule that nothing needs would be none, and neither would a check that never finds anything. How the
kernel itself keeps these rules is in `test_i3_two_kernels`.

The rule that matters most is what to believe of a call that has no outcome. A worker that sleeps between its intent and
its effect, or whose request is still on its way, makes every answer false a moment later. So "it did not happen",
whether a person or a look-up says so, may count only when nothing of that call can still come (`Rules.believed`). To
look at the claim once more before the effect shortens the danger and does not end it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Literal, NamedTuple

import pytest

CALLS = 2
Kind = Literal["once", "verified", "repeatable", "joins"]
At = Literal["idle", "claimed", "turn", "look", "check", "go", "sent", "back", "fenced"]
Believed = Literal["always", "no request", "no sleeper", "neither", "window"]
Row = tuple[str, int]


class Rules(NamedTuple):
    """What the protocol asks of its parts, each to be taken away.

    `believed` says when "it did not happen" counts: always; when no request is on its way; when no worker that lives
    stands between its intent and its effect; when neither is so; or when the time is over in which an attempt may be
    started and arrive, a worker that comes later than that starting nothing.
    """

    kind: Kind
    believed: Believed = "neither"
    fence: bool = True
    seats: bool = True  # the store takes one row for each place in the chain
    intent_first: bool = True
    doubts: bool = True
    check: bool = False  # the claim is looked up once more before the effect
    late: bool = True


class Worker(NamedTuple):
    """`newest`: its claim is; `seen`: how long it believes the chain to be; `open`: its attempt may still begin."""

    at: At = "idle"
    newest: bool = False
    seen: int = 0
    call: int = 0
    open: bool = False


class State(NamedTuple):
    rows: tuple[Row, ...] = ()
    notes: tuple[Row, ...] = ()
    happened: tuple[int, ...] = (0,) * CALLS
    workers: tuple[Worker, Worker] = (Worker(), Worker())
    orphans: tuple[int, ...] = ()  # calls whose request is on its way, its sender dead
    posted: int = 0
    crashes: int = 2
    steals: int = 2
    lapses: int = 2
    harms: frozenset[str] = frozenset()


Step = tuple[str, State]


def tail(rows: tuple[Row, ...]) -> Row:
    """The row that says where the process stands."""
    return next((row for row in reversed(rows) if row[0] != "late"), ("outcome", -1))


def done(state: State) -> bool:
    return tail(state.rows) == ("outcome", CALLS - 1)


def due(state: State) -> bool:
    return bool(state.notes) or (not done(state) and tail(state.rows)[0] != "doubt")


def steps(state: State, rules: Rules) -> Iterator[Step]:
    """Everything that can happen next, by name."""
    for me, name in enumerate("AB"):
        for what, after in works(state, rules, me):
            yield f"{name} {what}", after
    yield from world(state, rules)


def put(state: State, me: int, worker: Worker) -> State:
    return state._replace(workers=(worker, state.workers[1]) if me == 0 else (state.workers[0], worker))


def works(state: State, rules: Rules, me: int) -> Iterator[Step]:
    """What one worker does next, if anything; that it may also sleep needs no step."""
    worker, other = state.workers[me], state.workers[1 - me]
    match worker.at:
        case "idle" if due(state) and (other.at == "idle" or state.steals):
            stolen = state._replace(steals=state.steals - (other.at != "idle"))
            taken = put(stolen, 1 - me, other._replace(newest=False))
            yield "claims", put(taken, me, Worker("claimed", newest=True))
        case "claimed":
            yield "reads", put(state, me, worker._replace(at="turn", seen=len(state.rows)))
        case "turn":
            yield from turn(state, rules, me)
        case "look" | "check" | "go":
            yield from attempt(state, rules, me)
        case "back":
            first = [] if rules.intent_first or ("intent", worker.call) in state.rows else [("intent", worker.call)]
            yield from commit(state, rules, me, [*first, ("outcome", worker.call)], worker)
        case "fenced":
            notes = state.notes + ((("late", worker.call),) if rules.late else ())
            yield "posts", put(state._replace(notes=notes, posted=state.posted + 1), me, Worker())


def attempt(state: State, rules: Rules, me: int) -> Iterator[Step]:
    """From the moment when the effect may begin to the request that is on its way."""
    worker = state.workers[me]
    match worker.at:
        case "look" if state.happened[worker.call]:
            yield "finds it", put(state, me, worker._replace(at="back"))
        case "look" if quiet(state, rules, me):
            yield "finds nothing", put(state, me, begin(worker, rules, worker.call))
        case "check":
            yield "checks", put(state, me, worker._replace(at="go") if worker.newest else Worker())
        case "go" if rules.believed == "window" and not worker.open:
            yield "is too late", put(state, me, Worker())
        case "go" if rules.kind == "joins":
            yield "has what to write", put(state, me, worker._replace(at="back"))
        case "go":
            yield "sends", put(state, me, worker._replace(at="sent"))


def begin(worker: Worker, rules: Rules, call: int) -> Worker:
    return worker._replace(at="check" if rules.check else "go", call=call, open=True)


def turn(state: State, rules: Rules, me: int) -> Iterator[Step]:
    """A worker that knows the rows: take notes, settle the open call, or make the next one."""
    worker = state.workers[me]
    kind, call = tail(state.rows[: worker.seen])
    late = [note for note in state.notes if note[0] == "late"]
    if late:
        yield from commit(state, rules, me, late, worker, taken=late)
    elif kind == "outcome" and call == CALLS - 1:
        yield "is done", put(state, me, Worker())
    elif kind == "outcome" and rules.intent_first:
        yield from commit(state, rules, me, [("intent", call + 1)], begin(worker, rules, call + 1))
    elif kind == "outcome" or (rules.kind in ("repeatable", "joins") or not rules.doubts):
        yield "begins", put(state, me, begin(worker, rules, call + 1 if kind == "outcome" else call))
    elif rules.kind == "verified":
        yield "looks", put(state, me, worker._replace(at="look", call=call))
    elif kind in ("intent", "not"):
        yield from commit(state, rules, me, [("doubt", call)], Worker())
    elif answers := [note for note in state.notes if note[1] == call]:
        if answers[0][0] == "not":
            yield from commit(state, rules, me, answers, begin(worker, rules, call), taken=answers)
        else:
            yield from commit(
                state, rules, me, [*answers, ("outcome", call)], worker._replace(at="turn"), taken=answers
            )
    else:
        yield "waits", put(state, me, Worker())


def commit(
    state: State, rules: Rules, me: int, rows: list[Row], then: Worker, taken: list[Row] | None = None
) -> Iterator[Step]:
    """One transaction of a worker, and where it stands if it goes through."""
    worker, what = state.workers[me], "writes " + " and ".join(f"{kind} {call}" for kind, call in rows)
    outcome = worker.at == "back"
    if (rules.fence and not worker.newest) or (rules.seats and worker.seen != len(state.rows)):
        lost = worker._replace(at="fenced") if outcome and rules.kind != "joins" else Worker()
        yield f"{what}: fenced", put(state, me, lost)
        return
    harms = {"an old claim wrote": not worker.newest, "the chain forks": worker.seen != len(state.rows)}
    notes = tuple(note for note in state.notes if note not in (taken or ()))
    after = state._replace(rows=state.rows + tuple(rows), notes=notes, harms=marked(state, harms))
    if outcome and rules.kind == "joins":
        after = happen(after, rules, worker.call)
    if then.at != "idle":
        then = then._replace(seen=worker.seen + len(rows), at="turn" if outcome else then.at)
    yield what, put(after, me, then)


def happen(state: State, rules: Rules, call: int) -> State:
    counts = tuple(count + (at == call) for at, count in enumerate(state.happened))
    unnamed = rules.kind != "joins" and ("intent", call) not in state.rows
    harms = {"done without an intent": unnamed, "done twice": counts[call] > 1 and rules.kind != "repeatable"}
    return state._replace(happened=counts, harms=marked(state, harms))


def marked(state: State, harms: dict[str, bool]) -> frozenset[str]:
    return state.harms.union(what for what, so in harms.items() if so)


def quiet(state: State, rules: Rules, me: int = -1) -> bool:
    """Whether "it did not happen" may be believed of the open call."""
    others = [worker for at, worker in enumerate(state.workers) if at != me]
    request = bool(state.orphans) or any(worker.at == "sent" for worker in others)
    sleepers = [worker for worker in others if worker.at in ("check", "go")]
    match rules.believed:
        case "no request":
            return not request
        case "no sleeper":
            return not sleepers
        case "neither":
            return not request and not sleepers
        case "window":
            return not request and not any(worker.open for worker in sleepers)
    return True


def world(state: State, rules: Rules) -> Iterator[Step]:
    """Crashes, requests that arrive or get lost, time that passes, and a person who answers as things are."""
    for me, (name, worker) in enumerate(zip("AB", state.workers, strict=True)):
        if worker.at != "idle" and state.crashes:
            orphan = (worker.call,) if worker.at == "sent" else ()
            dead = state._replace(crashes=state.crashes - 1, orphans=tuple(sorted(state.orphans + orphan)))
            yield f"{name} crashes", put(dead, me, Worker())
        if worker.at == "sent":
            arrived = happen(state, rules, worker.call)
            yield f"{name}'s request arrives", put(arrived, me, worker._replace(at="back"))
        if rules.believed == "window" and worker.at in ("check", "go") and worker.open and state.lapses:
            yield (
                f"{name}'s time is over",
                put(state._replace(lapses=state.lapses - 1), me, worker._replace(open=False)),
            )
    for at, call in enumerate(state.orphans):
        gone = state._replace(orphans=state.orphans[:at] + state.orphans[at + 1 :])
        yield "a dead worker's request arrives", happen(gone, rules, call)
        yield "a dead worker's request gets lost", gone
    kind, call = tail(state.rows)
    if kind == "doubt" and not any(note[0] != "late" for note in state.notes):
        if state.happened[call]:
            yield "a person says: it happened", state._replace(notes=(*state.notes, ("happened", call)))
        elif quiet(state, rules):
            yield "a person says: it did not", state._replace(notes=(*state.notes, ("not", call)))


def wrong(state: State) -> frozenset[str]:
    """Everything that is wrong in a state."""
    late = [row for row in state.rows + state.notes if row[0] == "late"]
    calls = [call for kind, call in state.rows if kind == "intent"]
    nothing = any(kind == "outcome" and not state.happened[call] for kind, call in state.rows)
    return marked(
        state,
        {
            "evidence is lost": len(late) != state.posted,
            "an outcome of nothing": nothing,
            "calls out of order": calls != list(range(len(calls))),
        },
    )


class Explored(NamedTuple):
    """Every state, with those that it leads to; and the way to the first that is wrong, if there is one."""

    leads: dict[State, list[State]]
    way: tuple[str, ...]
    harms: frozenset[str]


def explore(rules: Rules, sought: str = "") -> Explored:
    """Breadth first, so that the way into harm, into one that is sought or any, is a shortest one."""
    start = State()
    came: dict[State, tuple[str, State] | None] = {start: None}
    leads: dict[State, list[State]] = {}
    queue = deque([start])
    while queue:
        state = queue.popleft()
        if (harms := wrong(state)) and (not sought or sought in harms):
            return Explored(leads, tuple(_way(came, state)), harms)
        leads[state] = []
        for what, after in steps(state, rules):
            leads[state].append(after)
            if after not in came:
                came[after] = (what, state)
                queue.append(after)
    return Explored(leads, (), frozenset())


def _way(came: dict[State, tuple[str, State] | None], state: State) -> list[str]:
    way: list[str] = []
    while step := came[state]:
        way.append(step[0])
        state = step[1]
    return way[::-1]


def stuck(explored: Explored) -> list[State]:
    """The states from which no good end can be reached: all calls have their outcome, and each happened."""
    backward: dict[State, list[State]] = {state: [] for state in explored.leads}
    for state, after in explored.leads.items():
        for each in after:
            backward[each].append(state)
    good = [state for state in explored.leads if done(state) and all(state.happened) and not state.notes]
    reached, queue = set(good), deque(good)
    while queue:
        for before in backward[queue.popleft()]:
            if before not in reached:
                reached.add(before)
                queue.append(before)
    return [state for state in explored.leads if state not in reached]


def kinds(explored: Explored) -> set[str]:
    """The kinds of rows that were ever written."""
    return {kind for state in explored.leads for kind, _ in state.rows}


@pytest.mark.parametrize(
    ("kind", "believed", "states", "rows"),
    [
        ("once", "neither", 16_000, "intent doubt happened not late outcome"),
        ("once", "window", 80_000, "intent doubt happened not late outcome"),
        ("verified", "neither", 9_000, "intent late outcome"),
        ("verified", "window", 32_000, "intent late outcome"),
        ("repeatable", "always", 34_000, "intent late outcome"),
        ("joins", "always", 1_500, "intent outcome"),
    ],
)
def test_i3_no_order_of_events_does_harm_and_a_good_end_stays_in_reach(
    kind: Kind, believed: Believed, states: int, rows: str
) -> None:
    explored = explore(Rules(kind, believed))
    assert (explored.harms, explored.way) == (frozenset(), ())
    assert stuck(explored) == []
    assert len(explored.leads) > states
    assert kinds(explored) == set(rows.split())


@pytest.mark.parametrize("check", [False, True], ids=["", "with a look at the claim before the effect"])
@pytest.mark.parametrize("believed", ["always", "no request", "no sleeper"])
@pytest.mark.parametrize("kind", ["once", "verified"])
def test_i3_that_it_did_not_happen_may_not_count_while_it_still_can(
    kind: Kind, believed: Believed, check: bool
) -> None:
    assert explore(Rules(kind, believed, check=check)).harms == {"done twice"}


def test_i3_a_sleeper_makes_a_true_answer_false() -> None:
    assert explore(Rules("once", "no request")).way == (
        "A claims", "A reads", "A writes intent 0",
        "B claims", "B reads", "B writes doubt 0",
        "a person says: it did not",
        "A sends",
        "B claims", "B reads", "B writes not 0", "B sends",
        "A's request arrives", "B's request arrives",
    )  # fmt: skip


def test_i3_a_sleeper_makes_a_look_up_false_with_nobody_asked() -> None:
    assert explore(Rules("verified", "no request")).way == (
        "A claims", "A reads", "A writes intent 0",
        "B claims", "B reads", "B looks", "B finds nothing",
        "A sends", "B sends", "A's request arrives", "B's request arrives",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("rules", "harm"),
    [
        (Rules("once", fence=False), "an old claim wrote"),
        (Rules("once", fence=False, seats=False), "the chain forks"),
        (Rules("once", fence=False, seats=False), "done twice"),
        (Rules("once", intent_first=False), "done twice"),
        (Rules("once", doubts=False), "done twice"),
        (Rules("once", late=False), "evidence is lost"),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_i3_without_a_rule_a_way_into_harm_is_found(rules: Rules, harm: str) -> None:
    explored = explore(rules, harm)
    assert harm in explored.harms
    assert len(explored.way) > 3


@pytest.mark.parametrize("rules", [Rules("once", fence=False), Rules("once", seats=False)], ids=["seats", "fence"])
@pytest.mark.parametrize("harm", ["the chain forks", "done twice"])
def test_i3_the_fence_or_the_seats_alone_keep_a_chain_one(rules: Rules, harm: str) -> None:
    assert explore(rules, harm).way == ()
