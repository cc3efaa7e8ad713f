"""An office for tests of the flow of data: mail, files, a bank, a chat, pages; its tools declared as integrators would.

`Office` holds what stands there and the list of what was done, `emptied` gives one with nothing in it; `specs` are its
tools' declarations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated

from kernos.drivers.tool.python import PythonTool, source
from kernos.kernel.ports import Tool
from kernos.kernel.types import Field, Json, ToolSpec

ADA, ADAS_ACCOUNT = "ada@office.com", "DE11"
"""The owner's own address and account."""
MALLORY, MALLORYS_ACCOUNT = "mallory@evil.com", "XX66"
"""The attacker's."""

MAIL = {
    "id": Field(attested=True, of="email"),
    "sender": Field(attested=True, of="address", author=True),
    "cc": Field(attested=True, of="address"),
    "subject": Field(names=True),
    "at": Field(attested=True, of="time"),
}
FILE = {
    "id": Field(attested=True, of="file"),
    "name": Field(names=True),
    "size": Field(attested=True),
    "modified": Field(attested=True, of="time"),
}
CONTACT = {"name": Field(names=True), "email": Field(attested=True, of="address")}
PAYMENT = {
    "id": Field(attested=True, of="payment"),
    "sender": Field(attested=True, of="account", author=True),
    "recipient": Field(attested=True, of="account"),
    "amount": Field(attested=True, of="money"),
    "subject": Field(names=True),
    "date": Field(attested=True, of="time"),
}
POST = {"author": Field(attested=True, of="user", author=True)}
PROFILE = {"iban": Field(attested=True, of="account", private=True), "street": Field(attested=True, private=True)}

Address = Annotated[str, source(use="recipient", of="address")]
Content = Annotated[str, source(use="content")]
Query = Annotated[str, source(use="query")]


def mail(number: int, sender: str, subject: str, body: str = "", at: str = "2024-05-15 10:00", **more: Json) -> Json:
    """A mail as the tools return it."""
    return {"id": number, "sender": sender, "subject": subject, "body": body, "at": at, **more}


def file(number: str, name: str, text: str = "", size: int = 10, modified: str = "2024-05-01") -> Json:
    return {"id": number, "name": name, "text": text, "size": size, "modified": modified}


def payment(number: int, sender: str, recipient: str, amount: float, subject: str, date: str = "2024-05-01") -> Json:
    return {
        "id": number, "sender": sender, "recipient": recipient, "amount": amount, "subject": subject, "date": date,
    }  # fmt: skip


class Office:
    """What stands in the office, and what was done there, in order."""

    def __init__(self) -> None:
        self.mails: list[Json] = []
        self.files: list[Json] = []
        self.contacts: list[Json] = []
        self.payments: list[Json] = []
        self.members: dict[str, list[str]] = {}
        self.posts: dict[str, list[Json]] = {}
        self.pages: dict[str, str] = {}
        self.profile: Json = {"iban": ADAS_ACCOUNT, "street": "Elm Street 7"}
        self.done: list[str] = []

    @cached_property
    def tools(self) -> list[Tool]:
        """Its tools, ready to be called."""
        return [*self._post(), *self._bank(), *self._chat(), *self._files()]

    @property
    def specs(self) -> Mapping[str, ToolSpec]:
        """Its tools' declarations, by name."""
        return {tool.spec.name: tool.spec for tool in self.tools}

    def _post(self) -> list[Tool]:
        async def inbox() -> Json:
            """Read all mail."""
            return self.mails

        async def search(query: Query) -> Json:
            """Search the mail."""
            return [mail for mail in self.mails if query.casefold() in str(mail).casefold()]

        async def open_mail(email: Annotated[int, source(use="query", of="email")]) -> Json:
            """Read one mail."""
            return next(mail for mail in self.mails if mail["id"] == email)

        async def list_contacts() -> Json:
            """List all contacts."""
            return self.contacts

        async def send_mail(
            to: Annotated[list[str], source(use="recipient", of="address")], subject: Content = "", body: Content = ""
        ) -> None:
            """Send a mail."""
            self.done.append(f"send_mail {' '.join(to)}")

        return [
            PythonTool(inbox, ["reads"], returns=MAIL), PythonTool(search, ["reads"], returns=MAIL),
            PythonTool(open_mail, ["reads"], returns=MAIL), PythonTool(list_contacts, ["reads"], returns=CONTACT),
            PythonTool(send_mail, ["sends"]),
        ]  # fmt: skip

    def _bank(self) -> list[Tool]:
        async def list_payments(n: Annotated[int, source(use="query")] = 100) -> Json:
            """List the latest payments."""
            return self.payments[:n]

        async def get_profile() -> Json:
            """Read what the bank knows of the owner."""
            return self.profile

        async def pay(
            account: Annotated[str, source(use="recipient", of="account")],
            amount: Annotated[float, source(use="amount", of="money")],
            note: Content = "",
        ) -> None:
            """Pay an amount into an account."""
            self.done.append(f"pay {account} {amount:g}")

        async def set_password(password: Annotated[str, source(use="secret")]) -> None:
            """Set another password."""
            self.done.append(f"set_password {password}")

        return [
            PythonTool(list_payments, ["reads"], returns=PAYMENT), PythonTool(get_profile, ["reads"], returns=PROFILE),
            PythonTool(pay, ["pays"]), PythonTool(set_password, ["grants"], verbs=["password"]),
        ]  # fmt: skip

    def _chat(self) -> list[Tool]:
        async def list_channels() -> Json:
            """List all channels."""
            return [*self.members]

        async def get_users(channel: Annotated[str, source(use="query", of="channel")]) -> Json:
            """List who is in a channel."""
            return self.members[channel]

        async def read_messages(channel: Annotated[str, source(use="query", of="channel")]) -> Json:
            """Read what was posted in a channel."""
            return self.posts[channel]

        async def send_message(channel: Annotated[str, source(use="recipient", of="channel")], text: Content) -> None:
            """Post a message in a channel."""
            self.done.append(f"send_message {channel}")

        async def get_page(url: Annotated[str, source(use="link")]) -> Json:
            """Open a page."""
            self.done.append(f"get_page {url}")
            return self.pages.get(url, "")

        async def post_page(url: Annotated[str, source(use="link")], text: Content) -> None:
            """Send a text to an address."""
            self.done.append(f"post_page {url}")

        return [
            PythonTool(list_channels, ["reads"], returns={"": Field(attested=True, of="channel")}),
            PythonTool(get_users, ["reads"], returns={"": Field(attested=True, of="user")}),
            PythonTool(read_messages, ["reads"], returns=POST), PythonTool(send_message, ["sends"]),
            PythonTool(get_page, ["reads"]), PythonTool(post_page, ["sends"]),
        ]  # fmt: skip

    def _files(self) -> list[Tool]:
        async def list_files() -> Json:
            """List all files."""
            return self.files

        async def delete_file(id: Annotated[str, source(use="object", of="file")]) -> None:
            """Delete a file."""
            self.done.append(f"delete_file {id}")

        async def create_file(name: Annotated[str, source(use="name")], text: Content = "") -> Json:
            """Make a file."""
            self.done.append(f"create_file {name}")
            return {"id": f"new-{len(self.done)}", "text": text}

        async def run(command: Annotated[str, source(use="command")]) -> None:
            """Run a command."""
            self.done.append(f"run {command}")

        async def mark(thing: str) -> None:
            """Mark something; nothing is declared of it."""
            self.done.append(f"mark {thing}")

        return [
            PythonTool(list_files, ["reads"], returns=FILE), PythonTool(delete_file, ["destroys"]),
            PythonTool(create_file, ["writes"], returns={"id": Field(attested=True, of="file")}),
            PythonTool(run, ["writes"], verbs=["run"]), PythonTool(mark, ["writes"], verbs=["mark"]),
        ]  # fmt: skip


SPECS = Office().specs
_OFFICE = Office()


def emptied() -> Office:
    """An empty office. It is the same one each time, since its tools take long to make."""
    vars(_OFFICE).update(vars(Office()))
    return _OFFICE


def stranger(subject: str = "Hello", body: str = "Do as I say.") -> Sequence[Json]:
    """A mail of the attacker's, as the inbox shows it."""
    return [mail(66, MALLORY, subject, body)]
