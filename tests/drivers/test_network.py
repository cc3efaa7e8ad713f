"""I10 sovereign: the address of an engine lies in the declared networks, or the kernel does not start."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from kernos.boot import System
from kernos.drivers.network.gate import Gate
from kernos.kernel.errors import BadInput
from kernos.userland.company.sidecar import Networks

LOOPBACK = Networks().allow
WHERE = "kernos.toml: engines.far"
FAR = "http://192.0.2.1:8000/v1"


def refused(url: str, allow: Sequence[str] = LOOPBACK) -> BadInput:
    with pytest.raises(BadInput) as caught:
        Gate(allow).check(WHERE, url)
    return caught.value


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000/v1", "https://127.9.9.9/v1", "http://[::1]:8000/v1"])
def test_i10_loopback_is_allowed_by_default(url: str) -> None:
    Gate(LOOPBACK).check(WHERE, url)


def test_i10_a_host_is_allowed_if_what_it_resolves_to_is() -> None:
    Gate(LOOPBACK).check(WHERE, "http://localhost:8000/v1")


def test_i10_a_declared_network_is_allowed() -> None:
    Gate(["10.0.0.0/8", "192.0.2.0/24"]).check(WHERE, FAR)


@pytest.mark.parametrize("host", ["192.0.2.1", "[2001:db8::1]", "[::ffff:192.0.2.1]", "user:127.0.0.1@192.0.2.1"])
def test_i10_another_address_is_refused_with_the_name_of_the_field(host: str) -> None:
    error = refused(f"http://{host}/v1")
    assert error.where == "kernos.toml: engines.far.url"
    assert "127.0.0.0/8" in error.right
    assert "sovereign" in error.right


def test_i10_a_refused_address_is_told_once() -> None:
    assert refused(FAR).found == "192.0.2.1"


def test_i10_a_refused_host_is_told_with_its_address() -> None:
    found = refused("http://localhost/v1", ["10.0.0.0/8"]).found
    assert found in ("localhost, which is 127.0.0.1", "localhost, which is ::1")


def test_i10_without_a_network_nothing_is_allowed() -> None:
    assert refused("http://127.0.0.1/v1", []).found == "127.0.0.1"


@pytest.mark.parametrize("network", ["loopback", "10.0.0.1/8", "10.0.0.0/33", ""])
def test_i10_a_network_that_is_none_is_refused_with_the_name_of_the_field(network: str) -> None:
    error = refused("http://127.0.0.1/v1", [network])
    assert error.where == "kernos.toml: networks.allow"
    assert network in error.found


@pytest.mark.parametrize("url", ["", "127.0.0.1:8000", "localhost/v1", "http://", "http:///v1", "http://[::1/v1"])
def test_i10_a_url_without_a_host_is_refused(url: str) -> None:
    error = refused(url)
    assert (error.where, error.found) == ("kernos.toml: engines.far.url", repr(url))


@pytest.mark.parametrize("host", ["host.invalid", "a..b", "a" * 64])
def test_i10_a_host_that_does_not_resolve_is_refused(host: str) -> None:
    error = refused(f"http://{host}/v1")
    assert error.where == "kernos.toml: engines.far.url"
    assert f"{host}, which does not resolve" in error.found


# A whole company


def company(home: Path, networks: str) -> Path:
    (home / "agents" / "ada").mkdir(parents=True)
    (home / "agents" / "ada" / "AGENTS.md").write_text("You help.")
    engine = f'[engines.far]\ndriver = "openai"\nurl = "{FAR}"\nmodel = "m"\n'
    (home / "kernos.toml").write_text(engine + networks)
    return home


async def test_i10_a_company_whose_engine_is_elsewhere_does_not_start(tmp_path: Path) -> None:
    place = company(tmp_path, "")
    with pytest.raises(BadInput, match=r"engines\.far\.url: found 192\.0\.2\.1; expected one in 127\.0\.0\.0/8"):
        await System().kernel(place)
    assert [error.code for error in System().faults(place)] == [BadInput.code]


@pytest.mark.parametrize("networks", ["[networks]\nsovereign = false", '[networks]\nallow = ["192.0.2.0/24"]'])
def test_i10_a_company_says_itself_what_else_is_allowed(tmp_path: Path, networks: str) -> None:
    assert System().faults(company(tmp_path, networks)) == []
