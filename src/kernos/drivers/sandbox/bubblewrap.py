"""A command in a sandbox of bubblewrap: no network, a read-only system, one writable folder, an empty environment.

    ran = await Bubblewrap().run(["python3", "/skill/scripts/chart.py"], {"/skill": folder})

It sees the system's programs and libraries and what is mounted for it, and nothing of anybody's home. It works in
`/work`, which is empty at first; `/tmp` is there too. Both are in memory and bounded, as are its time, its processes,
the memory of each and what it may print. When it ends, all that it started ends, and what stands in `/work` is handed
out. It ends with us, however we end; where the sandbox cannot be had, nothing is run.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import secrets
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import IO

from kernos.kernel.errors import ToolError, Unsupported

WORK = "/work"
STRANGERS = range(1 << 30, 1 << 31)
"""User ids that nobody has. If we are root a command runs as one of them: root's processes could not be bounded."""
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64")
_SETTINGS = ("/etc/ld.so.cache", "/etc/alternatives", "/etc/fonts", "/etc/localtime")
_INSIDE = Path(__file__).with_name("inside.py")
_PROBE_S, _GRACE_S = 10.0, 5.0


@dataclass(frozen=True)
class Limits:
    """What one run may take: seconds; bytes of memory for each process, in each writable folder, of each output."""

    seconds: float = 30.0
    memory: int = 512 << 20
    processes: int = 32
    disk: int = 32 << 20
    output: int = 20_000


@dataclass(frozen=True)
class Ran:
    """How a command ended, what it printed, and the files that it left, by their names. What is longer was cut."""

    code: int
    out: str
    err: str
    files: Mapping[str, bytes]


class Bubblewrap:
    """Runs commands, each in a sandbox of its own."""

    def __init__(self, limits: Limits = Limits()) -> None:
        self._limits = limits

    async def run(self, command: Sequence[str], mounts: Mapping[str, Path]) -> Ran:
        """Run a command to its end; `mounts` are folders that it may read, by the place where it finds them.

        Raises Unsupported where there is no sandbox, ToolError when the command takes too long or cannot be given.
        """
        if any("\0" in part for part in command):
            raise ToolError("the command cannot be given: it holds a NUL")
        if lack := await asyncio.to_thread(lacking):
            raise Unsupported(f"this machine has no sandbox, and nothing is run without one: {lack}")
        ours, theirs = os.pipe()
        with os.fdopen(ours, "rb", 0) as left:
            try:
                child = await asyncio.create_subprocess_exec(
                    *boundary(), *self._mounted(mounts), *self._ordered(command, theirs),
                    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=(theirs,),
                    env={}, start_new_session=True,  # what bwrap has in its environment, the command can read
                )  # fmt: skip
            except OSError as error:  # longer than a command may be
                raise ToolError(f"the command cannot be given: {error}") from None
            finally:
                os.close(theirs)
            return await self._watched(child, left)

    async def _watched(self, child: asyncio.subprocess.Process, left: IO[bytes]) -> Ran:
        """Wait until it ends; whatever happens here, nothing of it is left."""
        try:
            async with asyncio.timeout(self._limits.seconds + _GRACE_S):  # the first process inside keeps the time
                return await self._ended(child, left)
        except TimeoutError:
            raise ToolError(f"it did not end within {self._limits.seconds:g} s") from None
        finally:
            if child.returncode is None:
                child.kill()
            await child.wait()

    async def _ended(self, child: asyncio.subprocess.Process, left: IO[bytes]) -> Ran:
        most = self._limits.output
        assert child.stdout is not None and child.stderr is not None
        files = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(files), left)
        async with asyncio.TaskGroup() as reading:
            out, err = (reading.create_task(_read(stream, most)) for stream in (child.stdout, child.stderr))
            packed = reading.create_task(_read(files, 2 * self._limits.disk))
        code = await child.wait()
        return Ran(code, _text(out.result(), most), _text(err.result(), most), self._unpacked(packed.result()))

    def _mounted(self, mounts: Mapping[str, Path]) -> Iterator[str]:
        for place, folder in mounts.items():
            yield from ("--ro-bind", str(folder), place)
        for place in (WORK, "/tmp", "/dev/shm"):
            yield from ("--perms", "1777", "--size", str(self._limits.disk), "--tmpfs", place)
        yield from ("--ro-bind", str(_INSIDE), "/inside.py", "--remount-ro", "/dev", "--remount-ro", "/")
        yield from ("--chdir", WORK, "--")

    def _ordered(self, command: Sequence[str], pipe: int) -> tuple[str, ...]:
        uid = 0 if os.getuid() else secrets.choice(STRANGERS)
        order = {"command": list(command), "pipe": pipe, "uid": uid, **asdict(self._limits)}
        return (_python(), "-I", "-S", "/inside.py", json.dumps(order))

    def _unpacked(self, packed: bytes) -> dict[str, bytes]:
        """The files in an archive that the command may have made itself."""
        found: dict[str, bytes] = {}
        left = self._limits.disk
        with suppress(tarfile.TarError, EOFError), tarfile.open(fileobj=io.BytesIO(packed), mode="r:") as archive:
            for member in archive:
                name = PurePosixPath(member.name)
                if not member.isreg() or name.is_absolute() or ".." in name.parts or member.size > left:
                    continue
                left -= member.size
                opened = archive.extractfile(member)
                assert opened is not None
                found[str(name).encode(errors="replace").decode()] = opened.read()
        return found


async def _read(stream: asyncio.StreamReader, most: int) -> bytes:
    """What comes, up to one byte more than `most`; the rest is let go."""
    kept = bytearray()
    while piece := await stream.read(1 << 16):
        kept += piece[: most + 1 - len(kept)]
    return bytes(kept)


def _text(printed: bytes, most: int) -> str:
    text = printed[:most].decode(errors="replace")
    return text if len(printed) <= most else f"{text} … (cut)"


def _python() -> str:
    """The interpreter that runs us, without the packages of our environment."""
    return f"{sys.base_prefix}/bin/python{sys.version_info.major}.{sys.version_info.minor}"


@cache
def boundary() -> tuple[str, ...]:
    """The beginning of every command: bwrap, what it takes away, and the system as it is seen from inside."""
    parts = [shutil.which("bwrap") or "bwrap", "--unshare-net", "--unshare-pid", "--unshare-ipc", "--unshare-uts"]
    parts += ["--unshare-cgroup-try", "--as-pid-1", "--die-with-parent", "--new-session", "--clearenv"]
    # Root needs no user namespace; in one it could not make the command somebody else's.
    if os.getuid() == 0:
        parts += ["--cap-drop", "ALL"]
        for power in ("CAP_SETUID", "CAP_SETGID", "CAP_DAC_READ_SEARCH"):
            parts += ["--cap-add", power]
    else:
        parts += ["--unshare-user", "--disable-userns"]
    for folder in map(Path, _SYSTEM):
        if folder.is_symlink():
            parts += ["--symlink", str(folder.readlink()), str(folder)]
        elif folder.is_dir():
            parts += ["--ro-bind", str(folder), str(folder)]
    parts += ["--perms", "0755", "--dir", "/etc"]
    for setting in _SETTINGS:
        parts += ["--ro-bind-try", setting, setting]
    home = Path(sys.base_prefix)
    if not home.is_relative_to("/usr"):
        for parent in reversed(home.parents[:-1]):
            parts += ["--perms", "0755", "--dir", str(parent)]
        parts += ["--ro-bind", str(home), str(home)]
    settings = {"PATH": f"{home}/bin:/usr/bin:/bin", "HOME": WORK, "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}
    for name, value in settings.items():
        parts += ["--setenv", name, value]
    return (*parts, "--proc", "/proc", "--dev", "/dev")


@cache
def lacking() -> str:
    """Why there is no sandbox here, found out by trying once; empty if there is one."""
    if shutil.which("bwrap") is None:
        return "bubblewrap is not installed (bwrap)"
    try:
        subprocess.run([*boundary(), "true"], env={}, stdin=subprocess.DEVNULL, capture_output=True, check=True,
                       timeout=_PROBE_S)  # fmt: skip
    except subprocess.CalledProcessError as error:
        return str(error.stderr.decode(errors="replace").strip() or error)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"bwrap: {error}"
    return ""
