"""The gate of sovereign mode (I10): what lies outside of the declared networks is not reached, whoever asks for it.

    gate = Gate(["127.0.0.0/8"], hosts=["crm.internal"], programs=[("git",)])
    gate.check("kernos.toml: engines.far", url)         # before anything runs: BadInput names the field
    url = server("kernos.toml: journal.url", url, gate) # PostgreSQL's client connects in C, where the gate cannot stand
    with gate.closed(): ...                             # in all of this program

A closed gate stands in the interpreter (an audit hook). It sees each connection with the numeric address that it goes
to, after every look-up and redirect, so that no second answer of a name server moves it. Only declared names are looked
up, as a look-up leaves the machine too, and proxies of the environment are put away. It does not see C libraries that
open sockets themselves, nor other programs; so a program is started only if it is declared.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from functools import cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import PurePath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from kernos.kernel.errors import BadInput, Unsupported

if TYPE_CHECKING:
    from sqlalchemy import URL

LOCAL = {socket.AF_UNIX, getattr(socket, "AF_NETLINK", socket.AF_UNIX)}
"""Families of sockets that end on this machine."""
_ELSEWHERE = ("PGSERVICE", "PGSERVICEFILE", "PGHOSTADDR")
"""Variables by which PostgreSQL's client is sent to a server that the URL does not name."""


def server(where: str, url: str, gate: Gate | None) -> str:
    """The URL of a database in a form that all its clients read alike; of a server, if there is a gate, with its
    address. Raises BadInput, which does not show what it could not read: it may hold a password."""
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise BadInput(where, "no URL of a database", "postgresql://user@host/name") from None
    if gate is not None and parsed.drivername.startswith("postgresql"):
        parsed = gate.pin(where, parsed)
    return parsed.render_as_string(hide_password=False)


class Gate:
    """What may be reached.

    Args:
        allow: networks, in CIDR form. Raises BadInput for what is none.
        hosts: names that may be looked up; those that `check` and `pin` are given are added.
        programs: programs that may be started, each with the arguments that it has to begin with.
    """

    def __init__(self, allow: Sequence[str], hosts: Iterable[str] = (), programs: Iterable[Sequence[str]] = ()) -> None:
        try:
            self._networks = [ip_network(network) for network in allow]
        except ValueError as error:
            raise BadInput("kernos.toml: networks.allow", str(error), "networks such as 10.0.0.0/8") from None
        self._shown = ", ".join(allow)
        self._hosts = {"localhost", *map(_name, hosts)}
        self._programs = [tuple(program) for program in programs]

    def check(self, where: str, url: str) -> None:
        """Raise BadInput unless every address that the URL's host has is in one of the networks."""
        host = _host(url)
        if not host:
            raise BadInput(f"{where}.url", repr(url), "a URL such as http://127.0.0.1:8000/v1")
        self._resolved(f"{where}.url", host)

    def pin(self, where: str, url: URL, environ: Mapping[str, str] = os.environ) -> URL:
        """The URL of a PostgreSQL server with the address that its host has now. Raises BadInput if it may not be
        reached, or is not named by the URL alone."""
        host = url.query.get("host") or url.host or environ.get("PGHOST", "")
        address = url.query.get("hostaddr", "")
        if isinstance(host, tuple) or isinstance(address, tuple) or "," in host + address:
            raise BadInput(where, "several hosts", "one, in sovereign mode")
        if address or (host and not host.startswith(("/", "@"))):  # these are sockets of this machine
            address = self._resolved(where, address or host)[0]
        elsewhere = {name for name in _ELSEWHERE if environ.get(name)} - ({"PGHOSTADDR"} if address else set())
        if elsewhere or "service" in url.query:
            raise BadInput(where, ", ".join(sorted(elsewhere)) or "a service", "the server itself, in sovereign mode")
        given = {"hostaddr": address} | ({} if url.host else {"host": host})
        return url.update_query_dict({name: part for name, part in given.items() if part})

    @contextmanager
    def closed(self, environ: MutableMapping[str, str] = os.environ) -> Iterator[None]:
        """For all of this program, in the block. If several are closed, all have to admit.

        Raises Unsupported on an event loop that connects in C, where no audit hook stands (uvloop).
        """
        if (loop := _running()) is not None and not isinstance(loop, asyncio.BaseEventLoop):
            raise Unsupported(f"sovereign mode cannot watch the event loop {type(loop).__module__}: use asyncio's own")
        _stand()
        _closed.append(self)
        for name in [name for name in environ if name.lower().endswith("_proxy")]:
            _proxies[name] = environ.pop(name)
        try:
            yield
        finally:
            _closed.remove(self)
            if not _closed:
                environ.update(_proxies)
                _proxies.clear()

    def admits(self, host: str) -> bool:
        """Whether it is an address in one of the networks."""
        address = _address(host)
        return address is not None and any(address in network for network in self._networks)

    def _resolved(self, where: str, host: str) -> list[str]:
        """The addresses of a host that a setting names, which may be looked up from now on. Raises BadInput."""
        self._hosts.add(_name(host))
        try:
            found = {str(info[4][0]) for info in socket.getaddrinfo(host, None)}
        except (OSError, UnicodeError) as error:  # a name with an empty or a long part cannot even be asked for
            raise BadInput(where, f"{host}, which does not resolve ({error})", "a host that exists") from None
        for address in found:
            if not self.admits(address):
                right = f"one in {self._shown} (kernos.toml: networks, sovereign mode)"
                named = host if host == str(_address(address)) else f"{host}, which is {address}"
                raise BadInput(where, named, right)
        return sorted(found, key=lambda address: (":" in address, address))

    def connect(self, opened: socket.socket, address: Any) -> None:
        """Raise PermissionError unless this socket may reach that address."""
        if address is None or opened.family in LOCAL:
            return
        host = str(address[0]) if isinstance(address, tuple) else ""
        if not self.admits(host):
            raise PermissionError(f"sovereign mode: {host or 'it'} is not an address in {self._shown}")

    def look_up(self, host: Any, *_: object) -> None:
        """Raise PermissionError unless this name may be looked up."""
        name = _name(host[0] if isinstance(host, tuple) else host)
        if name and name not in self._hosts and _address(name) is None:
            raise PermissionError(f"sovereign mode: {name} may not be looked up (kernos.toml: networks.hosts)")

    def start(self, program: Any, arguments: Any = (), *_: object) -> None:
        """Raise PermissionError unless this program may be started."""
        path = os.fsdecode(program)
        given = [] if isinstance(arguments, str | bytes) else [os.fsdecode(argument) for argument in arguments or ()]
        for name, *first in self._programs:
            if name in (path, PurePath(path).name) and given[1 : len(first) + 1] == first:
                return
        raise PermissionError(f"sovereign mode: {path} may not be started (kernos.toml: networks.programs)")


_closed: list[Gate] = []
_proxies: dict[str, str] = {}
_QUESTIONS: Mapping[str, Callable[..., None]] = {
    "socket.connect": Gate.connect,
    "socket.sendto": Gate.connect,
    "socket.sendmsg": Gate.connect,
    "socket.getaddrinfo": Gate.look_up,
    "socket.gethostbyname": Gate.look_up,
    "socket.gethostbyaddr": Gate.look_up,
    "socket.getnameinfo": Gate.look_up,
    "subprocess.Popen": Gate.start,
    "os.exec": Gate.start,
    "os.posix_spawn": Gate.start,
    "os.system": Gate.start,
}
"""What the interpreter tells of before it does it, by its names for that, and who is asked."""


@cache
def _stand() -> None:
    """Once and for good: a hook cannot be taken out again. While no gate is closed it costs half a microsecond."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if _closed and (question := _QUESTIONS.get(event)):
            for gate in tuple(_closed):
                question(gate, *arguments)

    sys.addaudithook(hook)


def _address(host: str) -> IPv4Address | IPv6Address | None:
    """The address that a text is; of an IPv4 address in the form of IPv6, the IPv4 address."""
    try:
        address = ip_address(host)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _running() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _name(host: Any) -> str:
    """A host's name in one form."""
    text = host.decode("ascii", "replace") if isinstance(host, bytes | bytearray) else str(host or "")
    return text.rstrip(".").lower()


def _host(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:  # brackets that hold no address
        return None
