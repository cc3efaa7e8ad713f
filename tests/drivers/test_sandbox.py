"""Commands in bubblewrap: what they can reach, what they may use, and that nothing of them is left."""

from __future__ import annotations

import asyncio
import io
import socket
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from kernos.drivers.sandbox import bubblewrap
from kernos.drivers.sandbox.bubblewrap import Bubblewrap, Limits, Ran, lacking
from kernos.kernel.errors import ToolError, Unsupported

SECRET = "a secret of the host"
SMALL = Limits(seconds=5.0, memory=256 << 20, processes=16, disk=4 << 20, output=2_000)


async def sh(script: str, limits: Limits = SMALL, mount: Path | None = None) -> Ran:
    return await Bubblewrap(limits).run(["sh", "-c", script], {"/skill": mount} if mount else {})


async def python(code: str, limits: Limits = SMALL) -> Ran:
    return await Bubblewrap(limits).run(["python3", "-c", code], {})


async def test_a_command_says_and_leaves_what_it_likes_in_its_own_folder() -> None:
    ran = await sh("pwd; echo oh >&2; echo 表 > 图.txt; mkdir d; echo x > d/y; ln -s /etc/localtime z; exit 3")
    assert ran == Ran(3, "/work\n", "oh\n", {"图.txt": "表\n".encode(), "d/y": b"x\n"})


async def test_two_commands_share_nothing() -> None:
    await sh("echo x > /tmp/x; echo x > /work/x; echo x > /dev/shm/x")
    assert (await sh("ls -A /tmp /work /dev/shm")).out.split() == ["/dev/shm:", "/tmp:", "/work:"]


# What it reaches


async def test_nothing_else_can_be_written(tmp_path: Path) -> None:
    folder = tmp_path / "skill"
    folder.mkdir()
    (folder / "a.txt").write_text("a")
    tried = "for p in /x /usr/x /bin/x /etc/x /dev/x /skill/x /skill/a.txt /inside.py; do echo x >> $p; done; ls /skill"
    ran = await sh(tried, mount=folder)
    assert ran.err.count("Read-only file system") + ran.err.count("Permission denied") == 8
    assert ran.out.split() == ["a.txt"]
    assert not (folder / "x").exists()


@pytest.mark.parametrize(("family", "own"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
async def test_there_is_no_network(family: socket.AddressFamily, own: str) -> None:
    with socket.create_server((own, 0), family=family) as host:
        port = host.getsockname()[1]
        for address, error in ((own, "Connection refused"), ("192.0.2.1", "Network is unreachable")):
            ran = await python(f"import socket; socket.create_connection(('{address}', {port}), 2)")
            assert ran.code == 1
            assert error in ran.err


async def test_nothing_of_anybodys_home_is_seen(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET)
    ran = await sh(f"cat {tmp_path}/secret /etc/passwd /etc/shadow ~/.ssh/*; ls /home /var /sys; ls -A {Path.home()}")
    assert SECRET not in ran.out
    assert ran.err.count("No such file or directory") >= 6
    assert ".ssh" not in ran.out


async def test_the_environment_is_empty_also_that_of_other_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OFFICE_KEY", SECRET)
    ran = await sh("env; cat /proc/*/environ | tr '\\0' '\\n'; cat /proc/*/cmdline", Limits())
    assert "PATH=" in ran.out
    assert SECRET not in ran.out and "OFFICE_KEY" not in ran.out


async def test_the_packages_of_our_environment_are_not_there() -> None:
    assert "No module named 'kernos'" in (await python("import kernos")).err


async def test_it_has_no_power_over_the_system() -> None:
    ran = await sh("grep -E 'CapEff|CapPrm|NoNewPrivs' /proc/self/status; mount -t tmpfs none /work; kill -9 1; id -u")
    *status, uid = ran.out.split()
    assert status == ["CapPrm:", "0" * 16, "CapEff:", "0" * 16, "NoNewPrivs:", "1"]
    assert uid != "0"


async def test_a_link_out_of_the_mounted_folder_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET)
    (tmp_path / "skill").mkdir()
    (tmp_path / "skill" / "link").symlink_to(tmp_path / "secret")
    assert SECRET not in (await sh("cat /skill/link", mount=tmp_path / "skill")).out


# What it may use


async def test_time_is_bounded_and_what_was_printed_until_then_is_told() -> None:
    started = time.monotonic()
    ran = await sh("echo begun; sleep 60", Limits(seconds=0.5))
    assert (ran.code, ran.out, ran.err) == (124, "begun\n", "stopped after 0.5 s\n")
    assert time.monotonic() - started < 5


async def test_memory_is_bounded() -> None:
    assert "MemoryError" in (await python("x = bytearray(300 << 20)")).err
    assert (await python("x = bytearray(64 << 20)")).code == 0


async def test_the_number_of_processes_is_bounded() -> None:
    ran = await python(
        "import os, time\nn = 0\ntry:\n while os.fork(): n += 1\n time.sleep(9)\nexcept OSError: print(n)"
    )
    assert 0 < int(ran.out.split()[0]) <= SMALL.processes


@pytest.mark.parametrize("place", ["/work", "/tmp", "/dev/shm"])
async def test_what_is_written_is_bounded(place: str) -> None:
    code = f"for n in range(20): open('{place}/%d' % n, 'wb').write(bytes(1 << 20))"
    assert "No space left on device" in (await python(code)).err


async def test_one_file_is_bounded() -> None:
    assert "File too large" in (await python("open('/work/x', 'wb').write(bytes(8 << 20))")).err


async def test_output_is_cut() -> None:
    ran = await sh("head -c 100000 /dev/zero; echo done >&2")
    assert ran.out == "\0" * SMALL.output + " … (cut)"
    assert ran.err == "done\n"


async def test_a_command_that_cannot_be_given_is_a_failure() -> None:
    for command in (["sh", "a\0b"], ["sh", "x" * 200_000]):
        with pytest.raises(ToolError, match="the command cannot be given"):
            await Bubblewrap().run(command, {})
    assert (await Bubblewrap().run(["nosuch"], {})).code == 127


# What is left of it


async def alive(mark: str) -> bool:
    listed = await asyncio.create_subprocess_exec("ps", "-eo", "args", stdout=subprocess.PIPE)
    out, _ = await listed.communicate()
    return f"sleep {mark}" in out.decode().splitlines()


async def until(mark: str, there: bool) -> bool:
    """Whether a process is there, or gone, within some seconds."""
    for _ in range(200):
        if await alive(mark) == there:
            return True
        await asyncio.sleep(0.05)
    return False


async def test_what_it_started_ends_with_it() -> None:
    ran = await sh("setsid sleep 4711.1 & setsid sh -c 'sleep 4711.1 & wait' & sleep 0.2")
    assert ran.code == 0
    assert await until("4711.1", there=False)


async def test_a_cancelled_call_leaves_nothing() -> None:
    running = asyncio.create_task(sh("setsid sleep 4711.2 & sleep 4711.2", Limits()))
    assert await until("4711.2", there=True)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await until("4711.2", there=False)


async def test_it_ends_when_we_are_killed() -> None:
    code = (
        "import asyncio; from kernos.drivers.sandbox.bubblewrap import Bubblewrap\n"
        "asyncio.run(Bubblewrap().run(['sh', '-c', 'setsid sleep 4711.3 & sleep 4711.3'], {}))"
    )
    ours = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
    assert await until("4711.3", there=True)
    ours.kill()
    await ours.wait()
    assert await until("4711.3", there=False)


# What it hands out


def archive(*members: tuple[str, bytes, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as opened:
        for name, kind, content in members:
            member = tarfile.TarInfo(name)
            member.type, member.size, member.linkname = kind, len(content), "/etc/passwd"
            opened.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def test_an_archive_that_the_command_forged_is_read_with_care() -> None:
    forged = archive(
        ("../out", tarfile.REGTYPE, b"x"), ("/etc/cron", tarfile.REGTYPE, b"x"), ("link", tarfile.SYMTYPE, b""),
        ("a/../../b", tarfile.REGTYPE, b"x"), ("device", tarfile.CHRTYPE, b""), ("fine", tarfile.REGTYPE, b"y"),
        ("large", tarfile.REGTYPE, bytes(SMALL.disk)),
    )  # fmt: skip
    assert Bubblewrap(SMALL)._unpacked(forged) == {"fine": b"y"}
    for broken in (b"", b"no archive", forged[:100], forged[:-5000] + b"\xff" * 3000):
        Bubblewrap(SMALL)._unpacked(broken)


async def test_files_that_are_no_text_by_name_and_files_that_cannot_be_read_do_no_harm() -> None:
    ran = await python(
        "import os; open(b'/work/\\xff', 'w').close(); open('/work/a', 'w').close(); os.chmod('/work/a', 0)"
    )
    assert (ran.code, ran.files["?"]) == (0, b"")


# Where there is none


async def test_without_a_sandbox_nothing_is_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    bubblewrap.boundary.cache_clear()
    lacking.cache_clear()
    try:
        with pytest.raises(Unsupported, match="nothing is run without one: bubblewrap is not installed"):
            await sh(f"touch {tmp_path}/ran")
        (tmp_path / "bwrap").write_text("#!/bin/sh\necho no user namespaces >&2; exit 1\n")
        (tmp_path / "bwrap").chmod(0o755)
        bubblewrap.boundary.cache_clear()
        lacking.cache_clear()
        with pytest.raises(Unsupported, match="no user namespaces"):
            await sh(f"touch {tmp_path}/ran")
    finally:
        bubblewrap.boundary.cache_clear()
        lacking.cache_clear()
    assert not (tmp_path / "ran").exists()
