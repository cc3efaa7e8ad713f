"""The keys of a machine's user: made once, for their owner only, and what is not a key is said so and never shown."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from kernos.drivers.files.keys import SIZE, VARIABLE, journal_key, signing_key, verifying_key
from kernos.kernel.errors import BadInput, NotFound

Secret = Callable[[Mapping[str, str], Path], bytes]
SECRETS = pytest.mark.parametrize("secret", [journal_key, signing_key])
ONLY_MADE_HERE: Mapping[str, str] = {}


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def refused(secret: Secret, path: Path) -> BadInput:
    with pytest.raises(BadInput) as caught:
        secret(ONLY_MADE_HERE, path)
    assert caught.value.where == str(path)
    return caught.value


@SECRETS
def test_a_key_is_made_when_it_is_first_needed_and_then_stays(secret: Secret, tmp_path: Path) -> None:
    path = tmp_path / "a.key"
    before = os.umask(0)
    try:
        key = secret(ONLY_MADE_HERE, path)
    finally:
        os.umask(before)
    assert len(key) == SIZE
    assert secret(ONLY_MADE_HERE, path) == key
    assert mode(path) == 0o600
    assert path.read_text() == f"{key.hex()}\n"
    assert secret(ONLY_MADE_HERE, tmp_path / "b.key") != key


@pytest.mark.parametrize(
    ("environment", "place"),
    [({"XDG_CONFIG_HOME": "{}/xdg", "HOME": "{}/home"}, "xdg/kernos"), ({"HOME": "{}/home"}, "home/.config/kernos"),
     ({"XDG_CONFIG_HOME": "", "HOME": "{}"}, ".config/kernos")],
)  # fmt: skip
def test_keys_lie_in_a_private_folder_of_the_users_configuration(
    environment: dict[str, str], place: str, tmp_path: Path
) -> None:
    own = {name: value.format(tmp_path) for name, value in environment.items()}
    journal, signing, folder = journal_key(own), signing_key(own), tmp_path / place
    assert mode(folder) == 0o700
    assert {path.name for path in folder.iterdir()} == {"journal.key", "anchor.key", "anchor.pub"}
    assert (journal_key({}, folder / "journal.key"), signing_key({}, folder / "anchor.key")) == (journal, signing)
    assert verifying_key(own) == verifying_key({}, folder / "anchor.key")


def test_the_public_half_lies_beside_and_is_all_that_a_verifier_needs(tmp_path: Path) -> None:
    path = tmp_path / "anchor.key"
    with pytest.raises(NotFound, match=rf"^{tmp_path}/anchor\.pub: found no such file"):
        verifying_key({}, path)
    secret = signing_key({}, path)
    path.unlink()
    public = Ed25519PublicKey.from_public_bytes(verifying_key({}, path))
    public.verify(Ed25519PrivateKey.from_private_bytes(secret).sign(b"heads"), b"heads")
    assert mode(tmp_path / "anchor.pub") == 0o644


def test_a_public_half_that_was_lost_is_made_again_and_a_foreign_one_refused(tmp_path: Path) -> None:
    path, public = tmp_path / "anchor.key", tmp_path / "anchor.pub"
    signing_key({}, path)
    right = verifying_key({}, path)
    public.unlink()
    signing_key({}, path)
    assert verifying_key({}, path) == right
    public.write_text("00" * SIZE)
    with pytest.raises(BadInput, match=f"^{public}: found the public half of another key; expected that of {path}"):
        signing_key({}, path)


@given(key=st.binary(min_size=SIZE, max_size=SIZE), space=st.sampled_from(["", "\n", " \n"]), upper=st.booleans())
def test_the_variable_comes_before_the_file(key: bytes, space: str, upper: bool) -> None:
    digits = key.hex().upper() if upper else key.hex()
    assert journal_key({VARIABLE: digits + space}, Path("/nowhere/journal.key")) == key


@given(text=st.text(max_size=80).filter(lambda text: len(text.strip()) != 2 * SIZE))
def test_a_variable_that_is_no_key_is_refused_even_when_empty(text: str) -> None:
    with pytest.raises(BadInput) as caught:
        journal_key({VARIABLE: text})
    assert str(caught.value) == f"{VARIABLE}: found {len(text.strip())} characters; expected 64 hex digits"


@pytest.mark.parametrize("digits", ["ab cd " * 10 + "abcd", "g" * 64, "a" * 63 + "é", "٣" * 64, "-" + "a" * 63])
def test_sixty_four_characters_have_to_be_digits(digits: str) -> None:
    with pytest.raises(BadInput, match="found a character that is no hex digit; expected 64 hex digits"):
        journal_key({VARIABLE: digits})


@SECRETS
@pytest.mark.parametrize("content", [b"", b"\n", b"5a" * 31, b"5a" * 33, b"5a" * 64, b"\xff\x00" * 32, b"5a\n" * 32])
def test_a_file_that_holds_no_key_is_refused_and_left_alone(secret: Secret, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.key"
    path.write_bytes(content)
    path.chmod(0o600)
    error = refused(secret, path)
    assert error.right == "64 hex digits"
    assert "5a" not in str(error).replace(str(path), "")
    assert path.read_bytes() == content


@SECRETS
@pytest.mark.parametrize("bits", [0o040, 0o004, 0o020, 0o002, 0o044, 0o001])
def test_a_key_that_others_may_use_is_refused_with_what_to_do(secret: Secret, bits: int, tmp_path: Path) -> None:
    path = tmp_path / "a.key"
    key = secret(ONLY_MADE_HERE, path)
    path.chmod(0o600 | bits)
    error = refused(secret, path)
    assert (error.found, error.right) == (f"mode {0o600 | bits:04o}", f"no more than 0600: chmod 600 {path}")
    path.chmod(0o400)
    assert secret(ONLY_MADE_HERE, path) == key


def test_a_public_half_that_others_may_change_is_refused(tmp_path: Path) -> None:
    signing_key({}, tmp_path / "anchor.key")
    (tmp_path / "anchor.pub").chmod(0o666)
    with pytest.raises(BadInput, match=r"anchor\.pub: found mode 0666; expected no more than 0644: chmod 644 "):
        verifying_key({}, tmp_path / "anchor.key")


@SECRETS
def test_no_folder_is_made_for_a_file_of_ones_own_choice(secret: Secret, tmp_path: Path) -> None:
    error = refused(secret, tmp_path / "stick" / "a.key")
    assert error.found == "no such file or directory"
    assert list(tmp_path.iterdir()) == []


@SECRETS
def test_a_folder_is_no_key(secret: Secret, tmp_path: Path) -> None:
    assert refused(secret, tmp_path).found == "is a directory"


def test_a_home_that_is_a_file_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    with pytest.raises(BadInput, match=f"^{tmp_path}/home/.config/kernos: found not a directory; expected a folder"):
        journal_key({"HOME": f"{tmp_path}/home"})


def test_who_only_reads_does_not_make_a_key(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="found no such file; expected a key of 64 hex digits"):
        journal_key({}, tmp_path / "journal.key", make=False)
    assert list(tmp_path.iterdir()) == []
    key = journal_key({}, tmp_path / "journal.key")
    assert journal_key({}, tmp_path / "journal.key", make=False) == key


@SECRETS
def test_two_threads_at_once_get_the_same_key(secret: Secret, tmp_path: Path) -> None:
    for attempt in range(20):
        path, start = tmp_path / f"{attempt}.key", threading.Barrier(4)
        keys: list[bytes] = []

        def make(path: Path = path, start: threading.Barrier = start, keys: list[bytes] = keys) -> None:
            start.wait()
            keys.append(secret(ONLY_MADE_HERE, path))

        threads = [threading.Thread(target=make) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert keys == [secret(ONLY_MADE_HERE, path)] * 4
    assert {path.suffix for path in tmp_path.iterdir()} <= {".key", ".pub"}


def test_processes_at_once_get_the_same_key(tmp_path: Path) -> None:
    path = tmp_path / "journal.key"
    program = "import sys; from pathlib import Path; from kernos.drivers.files.keys import journal_key as key; "
    program += "print(flush=True); sys.stdin.read(); print(key({}, Path(sys.argv[1])).hex())"
    command = [sys.executable, "-c", program, str(path)]
    with ExitStack() as stack:
        children = [
            stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
            for _ in range(4)
        ]
        for child in children:
            assert child.stdout and child.stdout.readline() == "\n"
        for child in children:
            assert child.stdin
            child.stdin.close()
        keys = {child.stdout.read().strip() for child in children if child.stdout}
    assert keys == {journal_key({}, path).hex()}
