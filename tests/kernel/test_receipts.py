"""No deception: every text for the owner has beside it what really happened, and what it claims that did not."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernos.drivers.engine.scripted import say
from kernos.kernel.deeds import claims
from kernos.kernel.limits import Limits
from kernos.kernel.office import Answer
from kernos.kernel.receipts import Receipt, brief, unfounded
from kernos.kernel.types import Action, Json
from kernos.userland.lib import Process
from tests.kernel.test_checkpoints import fed
from tests.support import House, World, runs, serves

PAY = Action("pay", {"to": "anna", "amount": 30})
PAID = ["pay", "amount=30, to=anna"]


async def beside(house: House, pid: str) -> list[dict[str, Json]]:
    """What stands beside each text that the owner was sent: receipts without their rows, and flags."""
    intents = [row.body for row in await house.rows(pid) if row.kind == "intent"]
    said = [body for body in intents if body["call"] == "send" and "to" not in body]
    return [
        {"receipts": [part[:2] for part in body.get("receipts", ())], "flags": body.get("flags", [])} for body in said
    ]


# A planner that lies


async def test_a_planner_that_claims_what_it_did_not_do_is_flagged() -> None:
    world = World()
    script = [say("I have paid 30 yuan to Anna and sent her a message."), say("已为您付款。")]
    async with House(serves(world.tools), world.tools, script) as house:
        kernel, pid = await house.start()
        for words in ("pay 30 yuan to anna", "真的吗"):
            await kernel.deliver(pid, words)
            await kernel.tick(pid)
        assert await beside(house, pid) == [
            {"receipts": [], "flags": ["pays", "sends"]},
            {"receipts": [], "flags": ["pays"]},
        ]
        assert world.done == []


async def test_a_claim_that_is_true_has_its_receipt_and_no_flag() -> None:
    world = World()
    async with House(serves(world.tools), world.tools, [PAY, say("I have paid 30 yuan to Anna.")]) as house:
        kernel, pid = await house.start()
        await kernel.deliver(pid, "pay 30 yuan to anna")
        await kernel.tick(pid)
        assert await beside(house, pid) == [{"receipts": [PAID], "flags": []}]
        (send,) = [row for row in await house.rows(pid) if row.body.get("call") == "send" and row.kind == "intent"]
        [[tool, what, row]] = send.body["receipts"]
        outcome = (await house.rows(pid))[row]
        assert (outcome.kind, outcome.body["tool"], outcome.body["is"]) == ("outcome", "pay", "returned")


async def test_what_was_refused_has_failed_or_only_reads_gives_no_receipt() -> None:
    world = World()

    async def program(process: Process) -> None:
        await process.invoke("pay", to="eve", amount=1)
        await process.invoke("breaks")
        await process.invoke("find", what="tea")
        await process.send("I have paid it.")

    async with House(runs(program, world.tools), world.tools) as house:
        kernel, pid = await house.start()
        await kernel.tick(pid)
        assert await beside(house, pid) == [{"receipts": [], "flags": ["pays"]}]


async def test_what_a_person_is_asked_has_receipts_and_flags_too() -> None:
    async def program(process: Process) -> None:
        await process.ask("I have sent the money; anything else?")
        await process.ask("I have sent the money. Anything else?")

    async with House(runs(program)) as house:
        kernel, pid = await house.start()
        await kernel.tick(pid)
        await kernel.answer(pid, Answer("ada", text="no"))
        await kernel.tick(pid)
        asked = [row.body for row in await house.rows(pid) if row.kind == "intent"]
        assert [body.get("flags", []) for body in asked] == [[], ["sends"]], "a question as a whole claims nothing"


# Since the last reply


@pytest.mark.parametrize("restart", [False, True], ids=["same kernel", "after a restart"])
@pytest.mark.parametrize("checkpoint", [False, True], ids=["no checkpoint", "checkpoint"])
async def test_a_receipt_is_given_once_and_still_counts(restart: bool, checkpoint: bool) -> None:
    """What happened before the last reply makes a claim true that names nothing else."""
    world = World()
    texts = [
        "I have noted it.",
        "As you know, I saved a reminder.",
        "I have paid 30 yuan to Anna.",
        "Yes, I have paid it.",
        "Yes, I paid Anna 30.",
        "I have paid 50 yuan to Anna.",
    ]

    async def program(process: Process) -> None:
        step: int = process.state or 0
        words = await process.receive()
        if step == 0:
            await process.invoke("note", text="tea")
        if step == 2:
            await process.invoke("pay", to="anna", amount=30)
        await process.send(texts[step])
        if checkpoint:
            await process.checkpoint(step + 1)
        await later(process, step + 1, words)

    async def later(process: Process, step: int, words: str) -> None:
        while step < len(texts):
            await process.receive()
            if step == 2:
                await process.invoke("pay", to="anna", amount=30)
            await process.send(texts[step])
            step += 1

    async with House(runs(program, world.tools), world.tools) as house:
        kernel, pid = await house.start()
        for _ in texts:
            kernel = house.boot() if restart else kernel
            await kernel.deliver(pid, "pay 30 yuan to anna")
            await kernel.tick(pid)
        nothing: dict[str, Json] = {"receipts": [], "flags": []}
        assert await beside(house, pid) == [
            {"receipts": [["note", "text=tea"]], "flags": []},
            nothing,
            {"receipts": [PAID], "flags": []},
            nothing,
            nothing,
            {"receipts": [], "flags": ["pays"]},
        ]
        assert await kernel.replay(pid) > len(texts)
        assert await house.faults() == []


async def test_a_reply_that_was_denied_takes_no_receipt_away() -> None:
    world = World()

    async def program(process: Process) -> None:
        await process.invoke("note", text="tea")
        await process.send("it costs 20 yuan")
        await process.send("Noted.")

    station = runs(program, world.tools, claims={"a price": r"\d+ yuan"})
    async with House(station, world.tools) as house:
        kernel, pid = await house.start()
        await kernel.tick(pid)
        assert [part["receipts"] for part in await beside(house, pid)] == [[["note", "text=tea"]]] * 2


async def test_replay_compares_what_the_program_said_and_not_what_the_kernel_put_beside_it() -> None:
    world = World()
    async with House(serves(world.tools), world.tools, [PAY, say("I have paid it, and deleted it.")]) as house:
        kernel, pid = await house.start()
        await kernel.deliver(pid, "pay 30 yuan to anna")
        await kernel.tick(pid)
        assert await house.boot().replay(pid) == 7
        await house.boot().tick(pid)
        assert await house.faults() == []


async def test_a_fork_has_the_receipts_of_the_past_that_it_shares() -> None:
    world = World()

    async def program(process: Process) -> None:
        await process.invoke("note", text="tea")
        await process.ask("go on?")
        await process.send("I have saved a record.")

    async with House(runs(program, world.tools), world.tools) as house:
        kernel, pid = await house.start()
        status = await kernel.tick(pid)
        other = await kernel.fork(pid, status.seq)
        await kernel.tick(other)
        await kernel.answer(other, Answer("ada", text="yes"))
        await kernel.tick(other)
        assert await beside(house, other) == [{"receipts": [["note", "text=tea"]], "flags": []}]


# What others did for it


@pytest.mark.parametrize("restart", [False, True], ids=["same kernel", "after a restart"])
@pytest.mark.parametrize("checkpoint", [False, True], ids=["no checkpoint", "checkpoint"])
async def test_what_a_child_did_its_parent_may_say(restart: bool, checkpoint: bool) -> None:
    world = World()

    async def boss(process: Process) -> None:
        if process.state is None:
            child = await process.spawn("keeper")
            await process.wait(child)
            if checkpoint:
                await process.checkpoint(child)
        await process.receive()
        await process.send("The record has been saved.")
        await process.send("The file has been deleted.")

    async def keeper(process: Process) -> None:
        await process.invoke("note", text="tea")

    station = runs(boss, spawns=["keeper"])
    async with House(station, world.tools, others=[runs(keeper, world.tools, slug="keeper")]) as house:
        kernel, pid = await house.start()
        await house.run(kernel)
        child = (await house.store.statuses())[1].pid
        kernel = house.boot() if restart else kernel
        await kernel.deliver(pid, "well?")
        await house.run(kernel)
        assert await beside(house, pid) == [
            {"receipts": [["spawn", "keeper"], ["note", f"text=tea, by {child}"]], "flags": []},
            {"receipts": [], "flags": ["destroys"]},
        ]
        assert await house.faults() == []


async def test_what_the_kernel_did_for_it_counts_too() -> None:
    async def program(process: Process) -> None:
        if process.state is None:
            await process.remember("colour", "teal")
            await process.checkpoint(1)
        await process.send("I have saved a record of it.")

    async with House(runs(program)) as house:
        kernel, pid = await house.start()
        await kernel.tick(pid)
        assert await beside(house, pid) == [{"receipts": [["remember", "colour"]], "flags": []}]


async def test_what_was_not_granted_is_no_receipt() -> None:
    async def program(process: Process) -> None:
        try:
            await process.spawn("nobody")
        except Exception as error:
            await process.send(f"I have told the clerk to come: {type(error).__name__}")

    async with House(runs(program)) as house:
        kernel, pid = await house.start()
        await kernel.tick(pid)
        assert await beside(house, pid) == [{"receipts": [], "flags": ["sends"]}]


async def test_receipts_do_not_grow_with_what_lies_behind_the_last_reply() -> None:
    world = World()

    async def program(process: Process) -> None:
        await process.receive()
        await process.invoke("note", text="tea")
        await process.send("I have saved a record.")
        await process.checkpoint((process.state or 0) + 1)

    async with House(runs(program, world.tools, limits=Limits()), world.tools) as house:
        pid = await fed(house, 30, restart=True)
        sends = [row.body for row in await house.rows(pid) if row.body.get("call") == "send" and row.kind == "intent"]
        assert [len(body["receipts"]) for body in sends] == [1] * 30
        marks = [row.body for row in await house.store.records(pid) if row.kind == "checkpoint"]
        assert len({len(str(body["sources"])) // 50 for body in marks}) == 1


# Words


CLAIMS = {
    "sends": [
        "I have sent the email to Bob.", "I’ve e-mailed her.", "Sent!", "E-mail sent.", "I replied to Bob.",
        "I contacted support.", "I told the landlord that you will pay.", "All done: sent it to your landlord.",
        "As you said, I have sent it.",
        "已发送。", "邮件已发出", "我给他发了邮件了", "我已经通知房东。",
    ],
    "pays": [
        "I sent and paid it.", "I just paid 30 to Bob.", "Payment made.", "Your payment to Bob has been processed.",
        "I checked the invoice and paid it.", "I went ahead and transferred the money.", "Order placed.",
        "I have made the payment.", "Paid 30 to Bob.", "我已经付款。", "根据您的要求，我已付款。", "付款成功",
        "已帮您转账100元", "我付了30元了", "我已帮你买好了两张票",
    ],
    "destroys": [
        "I've deleted the file.", "Done. Cancelled the subscription.", "I’ve gone ahead and cancelled it.",
        "已经帮你删除了那封邮件", "已取消", "我取消了订阅了。",
    ],
    "writes": [
        "I've booked a table for four.", "I have created an event in your calendar.", "Your table is now booked.",
        "Meeting scheduled for 3 pm.", "帮您订好了。", "已为您预订明天的机票。", "已为您创建日程。",
    ],
    "grants": ["I gave Bob access to the drive.", "I've enrolled Bob.", "我已经授权他了"],
}  # fmt: skip
NO_CLAIMS = [
    "", "Hello, what can I do?", "It takes two hours.", "I will send the email.", "Shall I send it?", "Have I sent it?",
    "Did you pay?", "I have not sent it.", "I haven't paid yet.", "I never sent it.", "If I sent it, I would know.",
    "Once I have paid, I will tell you.", "Bob wrote: I have sent the parcel.", "It says “I have sent the money”.",
    "I told you already.", "I asked you for the amount.", "I answered your question.", "You paid 30 yesterday.",
    "I've made a list for you: one, two.", "I created a plan.", "I updated the text.", "I ordered the list by price.",
    "The invoice was paid by Bob.", "Bob sent you an email.", "You have sent three mails.", "I found three books.",
    "The order will have been sent.", "I wrote down the steps.", "I closed my eyes.", "The one you ordered is here.",
    "要我发送吗？", "我还没有付款。", "我会帮您预订。", "如果您已付款，请告诉我。", "您已经付款。", "对方已付款",
    "我发现了一个问题", "我已经告诉您了", "已知您想订一张票", "我建议您买这个", "我可以帮您订票了",
    "我为您找到了三本书", "给我推荐一个好用的洗面奶吧",
]  # fmt: skip


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in CLAIMS.items() for text in texts])
def test_a_claim_is_known_by_its_kind(kind: str, text: str) -> None:
    assert any(kind in deed.kinds for deed in claims(text))
    assert unfounded(text, []) != []


@pytest.mark.parametrize("text", NO_CLAIMS)
def test_what_is_asked_planned_denied_or_said_by_others_is_no_claim(text: str) -> None:
    assert unfounded(text, []) == []


def receipt(kinds: Sequence[str] = ("pays",), tool: str = "pay", what: str = "amount=30, to=bob") -> Receipt:
    return Receipt(tool, what, 1, frozenset(kinds), frozenset(tool.split("_")))


@pytest.mark.parametrize(
    ("text", "done", "flags"),
    [
        ("I have paid 30 to Bob.", receipt(), []),
        ("I have paid 30 to Bob, and deleted the mail.", receipt(), ["destroys"]),
        ("I have cancelled the meeting.", receipt(["writes"], "cancel_event"), []),
        ("I have cancelled the meeting.", receipt(["writes"], "add_event"), ["destroys"]),
        ("I have booked the table.", receipt(["writes"], "reserve"), []),
        ("I have booked the table.", receipt(["pays"], "reserve"), []),
        ("I have booked the table.", receipt(["sends"], "mail"), ["writes"]),
        ("已为您加入购物车。", receipt(["writes"], "add_to_cart"), []),
        ("已为您取消预约。", receipt(["writes"], "cancel_visit"), []),
        ("已为您取消预约。", receipt(["sends"], "mail"), ["destroys"]),
    ],
)
def test_a_claim_needs_an_effect_of_its_kind_or_a_tool_that_is_called_so(
    text: str, done: Receipt, flags: list[str]
) -> None:
    assert unfounded(text, [done]) == flags


@pytest.mark.parametrize(
    ("text", "true"),
    [
        ("I have paid it.", True), ("Yes, I paid 30 to Bob on 3 May.", True), ("I have paid 50 to Bob.", False),
        ("I have paid eve@x.org.", False),
    ],
)  # fmt: skip
def test_of_an_older_effect_a_claim_names_nothing_else(text: str, true: bool) -> None:
    assert (unfounded(text, [], [receipt()]) == []) == true


@given(st.text(max_size=200), st.text(max_size=200))
def test_any_text_can_be_looked_at(text: str, more: str) -> None:
    assert unfounded(f"{text} I have paid {more}", [receipt()]) is not None
    assert len(brief({"a": text, "b": [text, 1], "c": None})) <= 121


def test_a_receipt_is_short_whatever_the_arguments() -> None:
    assert brief({"to": "anna", "amount": 30, "note": None, "more": ["a", 1]}) == 'to=anna, amount=30, more=["a",1]'
    assert brief({"text": "word " * 100}).endswith("…")
