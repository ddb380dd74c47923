"""The checks that need no numbers, each with something wrong."""

import locale
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from pipeline import doctor, processor


def failing(folder):
    return {check.name: check.line for check in doctor.check_surroundings(folder) if not check.is_ok}


def test_nothing_is_wrong_here(tmp_path):
    assert failing(tmp_path / "not" / "yet" / "there") == {}


def test_a_torchvision_of_another_release_is_named_with_the_one_that_goes(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "version", {"torch": "2.11.0+cpu", "torchvision": "0.28.0"}.__getitem__)
    line = failing(tmp_path)["torch and torchvision"]
    assert line.endswith("torch 2.11.0+cpu, torchvision 0.28.0; torch 2.11 goes with torchvision 0.26")


def test_a_full_disk_is_told_with_what_is_free(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 10, 2**29))
    assert failing(tmp_path)["free space"].startswith("NOT  free space: 0.5 GiB at ")


def test_a_file_in_place_of_the_folder_is_no_write_access(tmp_path):
    (tmp_path / "file").write_text("")
    assert "choose a folder that you may write to" in failing(tmp_path / "file")["write access"]


def test_another_encoding_than_utf8_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(locale, "getencoding", lambda: "ANSI_X3.4-1968")
    assert "set LANG=C.UTF-8" in failing(tmp_path)["locale"]


@pytest.fixture
def cpuinfo(monkeypatch, tmp_path):
    def write(text):
        for function in (processor.processor_flags, processor.processor_name):
            function.cache_clear()
        path = tmp_path / "cpuinfo"
        path.write_text(text)
        monkeypatch.setattr(processor, "_CPUINFO", path)

    yield write
    for function in (processor.processor_flags, processor.processor_name):
        function.cache_clear()


@pytest.mark.parametrize(
    ("flags", "has"), [("fpu avx2", False), ("avx512f avx512_bf16", True), ("amx_bf16 amx_tile", True)]
)
def test_bfloat16_is_native_where_the_processor_says_so(cpuinfo, flags, has):
    cpuinfo(f"processor : 0\nmodel name\t: A Processor\nflags\t\t: {flags}\n")
    assert processor.has_native_bfloat16() is has
    assert processor.processor_name() == "A Processor"


def test_where_nothing_is_listed_bfloat16_is_not_taken_for_native(cpuinfo, monkeypatch):
    cpuinfo("")
    monkeypatch.setattr(processor, "_CPUINFO", Path("/no/such/file"))
    assert not processor.has_native_bfloat16()
    assert processor.processor_name()
