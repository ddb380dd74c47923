"""What the machine refuses: one line that names the file, never a traceback and never a half-written file."""

import errno
import os
import resource
import subprocess
import sys
from dataclasses import replace

import pytest
import typer

from pipeline.bags import bag_path, read_bag, write_bag
from pipeline.commands import run_application
from pipeline.errors import StoreError
from pipeline.files import MAX_IDENTIFIER_BYTES, naming, partial_of, written_whole
from pipeline.store import SliceStore, StoredPatient
from tests.conftest import draw_bag
from tests.pipeline.test_store import draw

SMALL = 4096
"""Bytes of a file, above which the system refuses to write: as good as a full disk, and needs no root."""


@pytest.fixture
def almost_full():
    """Let no file of this process grow beyond a few kilobytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SMALL, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def ended_by(error, monkeypatch, capsys):
    application = typer.Typer()

    @application.command()
    def fail() -> None:
        raise error

    monkeypatch.setattr("sys.argv", ["command"])
    with pytest.raises(SystemExit) as end:
        run_application(application)
    return end.value.code, capsys.readouterr().err


def test_a_bag_that_finds_no_room_names_itself_and_leaves_nothing(tmp_path, rng, almost_full):
    bag = draw_bag("007", 0, rng, dim=512)
    with pytest.raises(OSError, match="File too large") as told:
        write_bag(tmp_path, bag)
    assert told.value.filename == str(tmp_path / "007.h5")
    assert list(tmp_path.iterdir()) == []


def test_a_bag_that_finds_no_room_leaves_the_one_that_was_there(tmp_path, rng):
    small, large = draw_bag("007", 0, rng), draw_bag("007", 0, rng, dim=512)
    write_bag(tmp_path, small)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SMALL, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_bag(tmp_path, large)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (read_bag(tmp_path / "007.h5").features == small.features).all()


def test_slices_that_find_no_room_name_their_patient_and_leave_nothing(tmp_path, almost_full):
    with pytest.raises(OSError, match="File too large") as told:
        SliceStore(tmp_path / "slices.zarr").write("007", StoredPatient("key", (draw("AP", 30),)))
    assert told.value.filename == str(tmp_path / "slices.zarr" / "007")
    assert {path.name for path in tmp_path.rglob("*")} == {"slices.zarr", "zarr.json"}


def test_an_error_that_names_a_file_of_its_own_keeps_it(tmp_path):
    with pytest.raises(FileNotFoundError) as told, written_whole(tmp_path / "a.csv"):
        (tmp_path / "nowhere").read_text()
    assert told.value.filename == str(tmp_path / "nowhere")


def test_an_error_about_the_sibling_names_the_file_that_a_person_knows(tmp_path):
    with pytest.raises(FileNotFoundError) as told, written_whole(tmp_path / "a.csv"):
        pass  # nothing was written, so there is nothing to put in place
    assert told.value.filename == str(tmp_path / "a.csv")


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path, rng, monkeypatch, capsys):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(FileExistsError) as told:
        write_bag(tmp_path / "out", draw_bag("007", 0, rng))
    code, printed = ended_by(told.value, monkeypatch, capsys)
    assert (code, printed.count("\n")) == (2, 1)
    assert printed.startswith(f"error: {tmp_path / 'out'}: File exists; a file is in the place of a folder")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "/out/bags/007.h5"),
            "/out/bags/007.h5: No space left on device; free some space there or name another folder as `output`",
        ),
        (
            OSError(errno.EROFS, "Read-only file system", "/out"),
            "/out: Read-only file system; name a folder that you may write to as `output`",
        ),
        (OSError(errno.EIO, "Input/output error"), "Input/output error; the disk or the network drive failed"),
        (OSError(errno.ELOOP, "Too many levels of symbolic links", "/out"), "/out: Too many levels of symbolic links"),
        (MemoryError("Unable to allocate 9 GiB"), "not enough memory: Unable to allocate 9 GiB; lower `workers`"),
    ],
    ids=["full", "read-only", "broken", "another", "memory"],
)  # fmt: skip
def test_a_fault_of_the_machine_is_one_line_and_exit_code_2(error, line, monkeypatch, capsys):
    code, printed = ended_by(error, monkeypatch, capsys)
    assert (code, printed.count("\n")) == (2, 1)
    assert printed.startswith(f"error: {line}")


@pytest.mark.parametrize("error", [OSError("no file and no number"), ValueError("a fault of the program")])
def test_a_fault_of_the_program_keeps_its_traceback(error, monkeypatch):
    application = typer.Typer()

    @application.command()
    def fail() -> None:
        raise error

    monkeypatch.setattr("sys.argv", ["command"])
    with pytest.raises(type(error)):
        run_application(application)


def test_the_longest_identifier_is_that_of_which_a_bag_can_be_written(tmp_path, rng):
    longest = "ä" * (MAX_IDENTIFIER_BYTES // 2)
    bag = draw_bag("x", 0, rng)
    header = replace(bag.header, patient_id=longest)
    path = write_bag(tmp_path, replace(bag, header=header))
    assert read_bag(path).patient_id == longest
    name = partial_of(bag_path(tmp_path, longest)).name.encode()
    assert len(name) - len(str(os.getpid())) + len("4194304") == 255 - MAX_IDENTIFIER_BYTES % 2
    with pytest.raises(OSError, match="File name too long") as told:
        write_bag(tmp_path, replace(bag, header=replace(header, patient_id="x" * 256)))
    assert told.value.errno == errno.ENAMETOOLONG


def test_an_error_without_a_number_is_left_alone(tmp_path):
    with pytest.raises(OSError, match="words") as told, naming(tmp_path):
        raise OSError("words")
    assert told.value.filename is None


def test_a_reader_that_goes_away_is_no_traceback():
    words = [sys.executable, "-c", "from extract.commands import main; main()", "encoders"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as listing:
        listing.stdout.close()
        assert "Traceback" not in listing.stderr.read()


@pytest.mark.parametrize("file", ["zarr.json", "AP/zarr.json", "AP/crops_hu/zarr.json"])
@pytest.mark.parametrize("content", [b"", b"[1]", b"{}", b"\x00\xff"], ids=str)
def test_damaged_slices_are_told(file, content, tmp_path):
    store, stored = SliceStore(tmp_path / "slices.zarr"), StoredPatient("key", (draw("AP", 3),))
    store.write("007", stored)
    (store.folder / "007" / file).write_bytes(content)
    assert store.key_of("007") in (None, "key")
    with pytest.raises(StoreError, match="007: damaged slices"):
        store.read("007")


@pytest.mark.parametrize("content", [b"", b"[1]", b"{}", b"\x00\xff"], ids=str)
def test_a_store_whose_root_was_damaged_is_refused(content, tmp_path):
    (tmp_path / "slices.zarr").mkdir()
    (tmp_path / "slices.zarr" / "zarr.json").write_bytes(content)
    with pytest.raises(
        StoreError, match="expected phasemil-slices version 1, found nothing that can be read"
    ):
        SliceStore(tmp_path / "slices.zarr").write("007", StoredPatient("key", (draw("AP", 3),)))
