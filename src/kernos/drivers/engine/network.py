"""Sovereign mode, its first piece: an engine's address must lie in the declared networks (I10)."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from urllib.parse import urlsplit

from kernos.kernel.errors import BadInput


def check(where: str, url: str, allow: Sequence[str]) -> None:
    """Raise BadInput unless every address that the URL's host has is in one of these networks."""
    host = _host(url)
    if not host:
        raise BadInput(f"{where}.url", repr(url), "a URL such as http://127.0.0.1:8000/v1")
    try:
        networks = [ipaddress.ip_network(network) for network in allow]
    except ValueError as error:
        raise BadInput("kernos.toml: networks.allow", str(error), "networks such as 10.0.0.0/8") from None
    try:
        found = {str(info[4][0]) for info in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError) as error:  # a name with an empty or a long part cannot even be asked for
        raise BadInput(f"{where}.url", f"{host}, which does not resolve ({error})", "a host that exists") from None
    for address in map(ipaddress.ip_address, found):
        if not any(address in network for network in networks):
            right = f"one in {', '.join(allow)} (kernos.toml: networks, sovereign mode)"
            named = host if host == str(address) else f"{host}, which is {address}"
            raise BadInput(f"{where}.url", named, right)


def _host(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:  # brackets that hold no address
        return None
