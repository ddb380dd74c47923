"""Laws of files that are whole or absent."""

import os
import subprocess
import sys

from pipeline.files import partial_of, sweep_partials, written_whole


def test_what_a_dead_process_left_goes_and_what_a_living_one_writes_stays(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as living:
        mine, pid = partial_of(tmp_path / "a.h5").name, f"-{os.getpid()}-"
        file, folder = mine.replace(pid, f"-{dead.pid}-"), "old-" + mine.replace(pid, f"-{dead.pid}-")
        stay = {mine, mine.replace(pid, f"-{living.pid}-"), "a.h5", "notes.partial"}
        elsewhere = file.split("a.h5.")[1]
        stay.add("a.h5.zzzzzz" + elsewhere[6:])  # the same number on another machine
        for name in (*stay, file):
            (tmp_path / name).touch()
        (tmp_path / folder / "AP").mkdir(parents=True)
        assert {path.name for path in sweep_partials(tmp_path)} == {file, folder}
        assert {path.name for path in tmp_path.iterdir()} == stay
        living.communicate(b"\n")


def test_a_folder_that_is_not_there_holds_nothing_to_sweep(tmp_path):
    assert sweep_partials(tmp_path / "none") == []


def test_what_is_being_written_is_not_swept(tmp_path):
    with written_whole(tmp_path / "a.txt") as sibling:
        sibling.write_text("whole")
        assert sweep_partials(tmp_path) == []
    assert (tmp_path / "a.txt").read_text() == "whole"
