"""The witness in a file (I7): what was signed stays found, whatever is done to the file or to those who write it.

Children are real processes: `python -m tests.drivers.test_witness file secret heads` signs until it is killed.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from kernos.drivers.witness.file import FileWitness
from kernos.kernel.errors import JournalBroken, StoreError, Unsupported
from kernos.kernel.ports import Head
from kernos.kernel.types import canonical, digest
from tests.forking import Child

SECRET = bytes(range(32))
PUBLIC = Ed25519PrivateKey.from_private_bytes(SECRET).public_key().public_bytes_raw()
STRANGER = bytes(32)
HEADS = (Head("a", 3, "h3"), Head("b", 0, "h0"), Head("a", 5, "h5"), Head("c", 9, "h9"))


def name_of(public: bytes) -> str:
    """By what a statement names the key that signed it."""
    return digest(public)[:16]


def witness(path: Path, secret: bytes = SECRET) -> FileWitness:
    return FileWitness(path, PUBLIC, secret)


def found(path: Path) -> Sequence[Head]:
    """What somebody finds who has the public half only."""
    return asyncio.run(FileWitness(path, PUBLIC).heads())


def sign(path: Path, *heads: Head) -> None:
    """One statement for each head."""

    async def each() -> None:
        for at, head in enumerate(heads):
            await witness(path).sign([head], at)

    asyncio.run(each())


def broken(path: Path) -> str:
    with pytest.raises(JournalBroken) as caught:
        found(path)
    return str(caught.value).removeprefix(f"{path}: ")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "anchors"


@pytest.fixture
def lines(path: Path) -> list[bytes]:
    """The lines of a file with a statement for each of the four heads."""
    sign(path, *HEADS)
    return path.read_bytes().splitlines(keepends=True)


names = st.text(max_size=6) | st.sampled_from(['=="}', '"}\n', "\n", "\x00", "退"])
heads = st.builds(Head, names, st.integers(0, 2**62), names)


@given(statements=st.lists(st.tuples(st.lists(heads, max_size=4), st.floats(0, 4e9)), max_size=5))
@settings(deadline=None, max_examples=50)
def test_i7_what_was_signed_is_found_in_order_once(statements: list[tuple[list[Head], float]]) -> None:
    async def signed(path: Path) -> Sequence[Head]:
        for heads, at in statements:
            await witness(path).sign(heads, at)
        return await witness(path).heads()

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "anchors"
        assert asyncio.run(signed(path)) == list(dict.fromkeys(head for heads, _ in statements for head in heads))
        content = path.read_bytes() if statements else b""
    assert [json.loads(line)["at"] for line in content.splitlines()] == [at for _, at in statements]


def test_i7_of_a_process_every_head_is_found_for_its_rows_may_have_been_written_anew(path: Path) -> None:
    sign(path, *HEADS)
    assert [head.seq for head in found(path) if head.pid == "a"] == [3, 5]


def test_i7_before_the_first_statement_nothing_is_found(path: Path) -> None:
    assert list(found(path)) == []
    assert not path.exists()


def test_i7_a_line_says_what_is_signed_and_with_which_key(lines: list[bytes]) -> None:
    first = json.loads(lines[0])
    assert set(first) == {"at", "heads", "key", "previous", "signature"}
    assert (first["heads"], first["at"], first["key"]) == ([["a", 3, "h3"]], 0.0, name_of(PUBLIC))
    assert all(canonical(json.loads(line)) + b"\n" == line for line in lines)


def test_i7_without_the_secret_half_nothing_is_signed(path: Path) -> None:
    with pytest.raises(Unsupported, match=f"^{path}: nothing can be signed here: .* {name_of(PUBLIC)} is needed$"):
        asyncio.run(FileWitness(path, PUBLIC).sign(HEADS, 1.0))
    assert not path.exists()


# Somebody changes the file


@pytest.mark.parametrize(
    ("field", "value"),
    [("at", 7.0), ("heads", []), ("heads", [["a", 3, "other"]]), ("heads", [["b", 3, "h3"]]),
     ("heads", [["a", 2, "h3"]]), ("previous", "1" * 64), ("signature", "A" * 86 + "=="), ("more", 1)],
)  # fmt: skip
@pytest.mark.parametrize("number", [1, 2, 4])
def test_i7_a_changed_field_is_found(path: Path, lines: list[bytes], number: int, field: str, value: object) -> None:
    lines[number - 1] = canonical({**json.loads(lines[number - 1]), field: value}) + b"\n"
    path.write_bytes(b"".join(lines))
    assert broken(path) == f"line {number} is not what was signed"


@pytest.mark.parametrize("change", ["at", "heads", "key", "previous", "signature"])
def test_i7_a_field_that_is_gone_is_found(path: Path, lines: list[bytes], change: str) -> None:
    statement = json.loads(lines[1])
    statement["a"] = statement.pop(change)
    lines[1] = canonical(statement)[:-1] + b',"z":"=="}\n'
    path.write_bytes(b"".join(lines))
    assert broken(path).startswith("line 2 is not ")


@pytest.mark.parametrize(
    "line",
    [b'{"=="}', b'"=="}', b'=="}', b'{"heads":[],"signature":"=="}', b"[" * 100_000 + b'=="}', b'{"at":1e999,"a":"=="}',
     b'\xff=="}', b'{"at":' + b"9" * 5000 + b',"a":"=="}', b'{"signature":{"a":"=="}', b'{"signature":7,"a":"=="}'],
    ids=range(10),
)  # fmt: skip
def test_i7_a_line_that_is_no_statement_is_found(path: Path, lines: list[bytes], line: bytes) -> None:
    path.write_bytes(b"".join([*lines[:2], line + b"\n", *lines[2:]]))
    assert broken(path) == "line 3 is not a statement"


def test_i7_two_lines_made_one_are_found(path: Path, lines: list[bytes]) -> None:
    path.write_bytes(b"".join(lines).replace(b"\n", b"", 1))
    assert broken(path) == "line 1 is not a statement"


def test_i7_other_spaces_are_found(path: Path, lines: list[bytes]) -> None:
    path.write_bytes(b"".join(lines).replace(b'"heads":', b'"heads": ', 1))
    assert broken(path) == "line 1 is not a statement"


@pytest.mark.parametrize("order", ["234", "134", "124", "2134", "1324", "1243", "11234", "12343", "4321"])
def test_i7_a_removed_moved_or_repeated_line_is_found(path: Path, lines: list[bytes], order: str) -> None:
    path.write_bytes(b"".join(lines[int(number) - 1] for number in order))
    wrong = next(at for at, number in enumerate(order, 1) if int(number) != at)
    assert broken(path) == f"line {wrong} does not follow the line before it; lines were removed, added or moved"


def test_i7_a_statement_of_another_key_is_found(path: Path, lines: list[bytes], tmp_path: Path) -> None:
    asyncio.run(FileWitness(path, PUBLIC, STRANGER).sign(HEADS[:1], 9.0))
    assert broken(path) == "line 5 is not what was signed"
    public = Ed25519PrivateKey.from_private_bytes(STRANGER).public_key().public_bytes_raw()
    other = tmp_path / "other"
    asyncio.run(FileWitness(other, public, STRANGER).sign(HEADS, 1.0))
    assert broken(other) == f"line 1 is signed with key {name_of(public)}; expected {name_of(PUBLIC)}"


def test_i7_a_statement_of_this_key_from_another_file_is_found(path: Path, lines: list[bytes], tmp_path: Path) -> None:
    other = tmp_path / "other"
    sign(other, Head("z", 1, "hz"), *HEADS)
    path.write_bytes(b"".join([*lines[:2], *other.read_bytes().splitlines(keepends=True)[2:]]))
    assert broken(path).startswith("line 3 does not follow ")


@given(data=st.data())
@settings(deadline=None, max_examples=300)
def test_i7_any_changed_byte_is_found_or_no_more_than_the_newest_line_is_gone(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "anchors"
        path.write_bytes(WHOLE)
        at = data.draw(st.integers(0, len(WHOLE) - 1))
        byte = data.draw(st.integers(0, 255).filter(lambda byte: byte != WHOLE[at]))
        path.write_bytes(WHOLE[:at] + bytes([byte]) + WHOLE[at + 1 :])
        try:
            left = found(path)
        except JournalBroken:
            return
        assert list(left) in (list(HEADS), list(HEADS[:-1]))
        assert at >= WHOLE[:-1].rindex(b"\n")


@given(cuts=st.tuples(*[st.integers(0, 1200)] * 2).map(sorted))
@settings(deadline=None, max_examples=300)
def test_i7_any_removed_piece_is_found_or_only_newest_lines_are_gone(cuts: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "anchors"
        path.write_bytes(WHOLE[: cuts[0]] + WHOLE[cuts[1] :])
        try:
            left = found(path)
        except JournalBroken:
            return
        assert list(left) == list(HEADS[: len(left)])


def _whole() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        sign(Path(folder) / "anchors", *HEADS)
        return (Path(folder) / "anchors").read_bytes()


WHOLE = _whole()


# Whoever writes it dies


@pytest.mark.parametrize("kept", range(0, len(WHOLE) + 1, 7))
def test_i7_a_write_broken_off_anywhere_loses_that_line_only_and_the_next_one_stands(path: Path, kept: int) -> None:
    path.write_bytes(WHOLE[:kept])
    # A line is whole without the end of its line.
    whole = (WHOLE[:kept] + b"\n").count(b'=="}\n')
    assert list(found(path)) == list(HEADS[:whole])
    new = Head("d", 1, "h1")
    sign(path, new)
    assert list(found(path)) == [*HEADS[:whole], new]
    assert path.read_bytes().startswith(WHOLE[:kept])


@pytest.mark.parametrize("rest", [b"\n", b"\n\n", b'\n{"at":', b"\x00" * 5000, b'{"at":1.0,\x00\x00', b"{" * 200_000])
def test_i7_what_a_power_cut_leaves_at_the_end_is_passed_over(path: Path, lines: list[bytes], rest: bytes) -> None:
    path.write_bytes(WHOLE + rest)
    assert list(found(path)) == list(HEADS)
    new = Head("d", 1, "h1")
    sign(path, new)
    assert list(found(path)) == [*HEADS, new]
    assert path.read_bytes().startswith(WHOLE + rest)


def test_i7_a_line_is_no_limit_however_long(path: Path) -> None:
    many = [Head(f"process-{n}", n, "f" * 64) for n in range(5_000)]
    asyncio.run(witness(path).sign(many, 1.0))
    sign(path, *HEADS[:2])
    assert list(found(path)) == [*many, *HEADS[:2]]


def child(path: Path, heads: int) -> Child:
    """A process that signs statements, each of so many heads, and tells each when it is there."""
    return Child("tests.drivers.test_witness", path, heads)


async def sign_forever(path: str, heads: str) -> None:
    for n in range(1_000_000):
        await witness(Path(path)).sign([Head(f"{os.getpid()}.{n}", part, "f" * 64) for part in range(int(heads))], n)
        print(n, flush=True)


def told(process: Child) -> int:
    """How many statements a child says are there, after its end: a kill may cut its last word short."""
    return process.stdout.read().count("\n")


def test_i7_a_kill_in_the_middle_of_a_write_loses_nothing_that_was_acknowledged(path: Path) -> None:
    for round in range(3):
        with child(path, heads=10_000) as process:
            assert process.stdout.readline() == "0\n"
            size = path.stat().st_size
            while path.stat().st_size == size and process.alive:
                os.sched_yield()
            process.kill()
            acknowledged = 1 + told(process)
        pid = f"{process.pid}."
        there = {head.pid for head in found(path) if head.pid.startswith(pid)}
        assert acknowledged <= len(there) <= acknowledged + 1, f"round {round}"
    assert len(found(path)) % 10_000 == 0


def test_i7_processes_that_sign_at_once_make_one_chain(path: Path) -> None:
    with ExitStack() as stack:
        children = [stack.enter_context(child(path, heads=1)) for _ in range(3)]
        counts = [sum(1 for _ in zip(range(30), process.stdout, strict=False)) for process in children]
        for process in children:
            process.kill()
        acknowledged = sum(counts) + sum(told(process) for process in children)
    assert counts == [30] * 3
    assert acknowledged <= len(found(path)) <= acknowledged + 3


async def test_i7_tasks_that_sign_at_once_make_one_chain(path: Path) -> None:
    one, two = witness(path), witness(path)
    many = [Head("p", n, "h") for n in range(40)]
    async with asyncio.TaskGroup() as group:
        for head in many:
            group.create_task((one, two)[head.seq % 2].sign([head], 1.0))
    assert set(await one.heads()) == set(many)


# The sink


@pytest.fixture
def append_only(path: Path) -> Iterator[Path]:
    """A file to which bytes can be added and nothing else."""
    path.write_bytes(WHOLE[:-3])
    chattr = shutil.which("chattr")
    if not chattr or subprocess.run([chattr, "+a", str(path)], stderr=subprocess.DEVNULL).returncode:
        pytest.skip("this machine has no append-only files, or only for root")
    yield path
    subprocess.run([chattr, "-a", str(path)], check=True)


def test_i7_a_file_that_can_only_be_appended_to_will_do(append_only: Path) -> None:
    with pytest.raises(PermissionError):
        os.truncate(append_only, 0)
    new = Head("d", 1, "h1")
    sign(append_only, new)
    assert list(found(append_only)) == [*HEADS[:-1], new]


def test_i7_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    path = tmp_path / "mount" / "anchors"
    with pytest.raises(StoreError, match=f"^{path}: the statement cannot be written: No such file or directory$"):
        sign(path, HEADS[0])
    assert list(tmp_path.iterdir()) == []


def test_i7_a_place_that_cannot_be_read_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=f"^{tmp_path}: the statements cannot be read: Is a directory$"):
        found(tmp_path)
    with pytest.raises(StoreError, match=f"^{tmp_path}: the statement cannot be written: Is a directory$"):
        sign(tmp_path, HEADS[0])


if __name__ == "__main__":
    asyncio.run(sign_forever(*sys.argv[1:]))
