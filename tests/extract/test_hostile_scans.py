"""One hostile scan is a row of excluded.csv and a line; the other patients are embedded, and nothing hangs."""

import gzip
import os
import struct

import pytest

from tests.extract.conftest import draw_scan, save

VOX_OFFSET, DIM_1, DATATYPE, AFFINE = 108, 42, 70, 280
"""Bytes at which fields of a NIfTI header begin."""


def with_field(playground, name: str, *fields: tuple[int, str, float]) -> str:
    """Save a scan of its own noise whose header holds other numbers; return its name."""
    path = save(playground.folder / f"{name}.nii.gz", draw_scan(len(name))[0])
    raw = bytearray(gzip.decompress(path.read_bytes()))
    for place, kind, value in fields:
        struct.pack_into(kind, raw, place, value)
    path.write_bytes(gzip.compress(bytes(raw)))
    return path.name


def assert_told(playground, command, *expected: str) -> None:
    """Run stage 1 and find the reason in the row of `bad`, and the bag of `good`."""
    playground.add("good")
    code, printed = command("run", playground.configure())
    assert code == 2
    assert "Traceback" not in printed
    reason = playground.excluded()["bad", "PVP"]
    assert all(words in reason for words in expected), reason
    assert "patient bad, phase PVP" in printed
    assert [path.name for path in playground.bags.glob("*.h5")] == ["good.h5"]


@pytest.mark.parametrize("value", [float("inf"), 3e38, float("nan")])
def test_an_offset_of_the_voxels_that_is_no_number_of_bytes(playground, command, value):
    playground.add("bad", image=with_field(playground, "offset", (VOX_OFFSET, "<f", value)))
    assert_told(playground, command, "offset.nii.gz")


def test_a_mask_that_declares_more_than_any_memory(playground, command):
    huge = [(DIM_1 + 2 * axis, "<h", 32767) for axis in range(3)]
    playground.add("bad", mask=with_field(playground, "huge", *huge))
    assert_told(playground, command, "MemoryError")


def test_a_link_to_itself(playground, command):
    (playground.folder / "loop.nii.gz").symlink_to("loop.nii.gz")
    playground.add("bad", image="loop.nii.gz")
    assert_told(playground, command, "loop.nii.gz", "symbolic links")


@pytest.mark.parametrize("role", ["image", "mask", "liver_mask"])
def test_a_pipe_is_not_opened(playground, command, role):
    os.mkfifo(playground.folder / "pipe.nii.gz")
    playground.add("bad", **{role: "pipe.nii.gz"})
    if role == "liver_mask":  # the scan can do without
        _, printed = command("run", playground.configure())
        assert "not a regular file" in printed
        assert (playground.bags / "bad.h5").exists()
        return
    assert_told(playground, command, "pipe.nii.gz", "not a regular file")


@pytest.mark.parametrize("name", ["device.nii", "device.nii.gz"])
def test_a_link_to_a_device_is_not_opened(playground, command, name):
    (playground.folder / name).symlink_to("/dev/zero")
    playground.add("bad", image=name)
    assert_told(playground, command, name, "not a regular file")


@pytest.mark.parametrize("column", ["spacing_x", "spacing_z"])
@pytest.mark.parametrize("value", ["1e300", "1e-300"])
def test_a_spacing_of_another_world(playground, command, column, value):
    playground.add("bad", **{column: value})
    assert_told(playground, command, column, "expected millimetres from 0.001 to 1000")
