"""Part of a compressed file equals that part of its contents."""

import bz2
import gzip
import zlib

import numpy as np
import pytest

from extract import inflate as module
from extract.inflate import inflate

CONTENTS = np.random.default_rng(0).integers(0, 9, size=3_000_000, dtype=np.uint8).tobytes()


@pytest.fixture(params=["as installed", "zlib"])
def engine(request, monkeypatch):
    if request.param == "zlib":
        monkeypatch.setattr(module, "engine", zlib)


@pytest.fixture
def path(tmp_path):
    (tmp_path / "a.gz").write_bytes(gzip.compress(CONTENTS))
    return tmp_path / "a.gz"


@pytest.mark.parametrize(("skip", "wanted"), [(0, 10), (352, 1_000_000), (2_999_999, 1), (0, 3_000_000)])
def test_a_part_is_that_part(engine, path, skip, wanted):
    assert inflate(path, skip, wanted, len(CONTENTS)).tobytes() == CONTENTS[skip : skip + wanted]


def test_several_members_and_zeros_behind_are_one_file(engine, path):
    path.write_bytes(gzip.compress(CONTENTS[:1000]) + gzip.compress(CONTENTS[1000:]) + bytes(512))
    assert inflate(path, 500, 2000, len(CONTENTS)).tobytes() == CONTENTS[500:2500]


@pytest.mark.parametrize("lost", [1, 9, 5000])
def test_a_cut_behind_the_part_is_found(engine, path, lost):
    path.write_bytes(path.read_bytes()[:-lost])
    with pytest.raises(ValueError, match="truncated"):
        inflate(path, 0, 10, len(CONTENTS))


def test_damage_within_the_part_is_found(engine, path):
    data = bytearray(path.read_bytes())
    data[2000:2400] = bytes(400)
    path.write_bytes(bytes(data))
    with pytest.raises(ValueError, match=r"damaged|truncated"):
        inflate(path, 0, len(CONTENTS), len(CONTENTS))


@pytest.mark.parametrize(("skip", "wanted"), [(0, 10), (352, 2_000_000), (2_999_999, 1)])
def test_a_part_of_a_bzip2_file_is_that_part(tmp_path, skip, wanted):
    (tmp_path / "a.bz2").write_bytes(bz2.compress(CONTENTS))
    found = inflate(tmp_path / "a.bz2", skip, wanted, len(CONTENTS))
    assert found.tobytes() == CONTENTS[skip : skip + wanted]


def test_a_cut_and_a_damage_of_a_bzip2_file_are_found(tmp_path):
    data = bytearray(bz2.compress(CONTENTS))
    (tmp_path / "cut.bz2").write_bytes(data[:-500])
    with pytest.raises(ValueError, match=r"cut.bz2: truncated: expected 3000000 bytes after inflating"):
        inflate(tmp_path / "cut.bz2", 0, 10, len(CONTENTS))
    data[2000:2400] = bytes(400)
    (tmp_path / "odd.bz2").write_bytes(data)
    with pytest.raises(ValueError, match=r"odd.bz2: damaged bzip2 file"):
        inflate(tmp_path / "odd.bz2", 0, 10, len(CONTENTS))
