"""Stage 1 on a machine that refuses, and with folders and files in each other's place: one line, exit code 2."""

import resource
import subprocess
import sys
from pathlib import Path

from tests.extract.test_commands import ROOT

ROOM = 8192
"""Bytes that a file may have: more than the tables of two patients need, less than a bag."""


def run_with_little_room(config: Path) -> subprocess.CompletedProcess:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, ROOM))

    words = [sys.executable, str(ROOT / "extract.py"), "run", str(config)]
    return subprocess.run(words, capture_output=True, text=True, check=False, preexec_fn=limit)


def test_a_disk_without_room_for_a_bag_is_one_line_and_no_segmentation_fault(playground):
    playground.add("good")
    done = run_with_little_room(
        playground.configure(
            "[extract]\nstore = false\nencoder='squeezenet1_0'\nweights='random:0'\ndevice='cpu'\n"
        )
    )
    assert done.returncode == 2
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("error: "))
    assert line.startswith(f"error: {playground.bags / 'good.h5'}: File too large; free some space there")
    assert "Traceback" not in done.stderr
    assert sorted((path.name for path in playground.bags.iterdir()), reverse=True) == [
        "findings.csv",
        "excluded.csv",
    ]


def test_an_output_that_is_a_file_is_named(playground, command):
    playground.add("good")
    config = playground.configure()
    (playground.folder / "out").write_text("a file")
    for verb in ("run", "check"):
        code, printed = command(verb, config)
        assert code == 2
        (line,) = (line for line in printed.splitlines() if line.startswith("error: "))
        assert f"{playground.folder / 'out'}" in line
        assert "a file is in the place of a folder" in line


def test_an_identifier_too_long_for_a_file_leaves_out_its_patient_only(playground, command):
    playground.add("good")
    long = "ß" * 130  # 130 letters, 260 bytes
    names = {"image": "good_PVP.nii.gz", "mask": "good_PVP_mask.nii.gz"}
    playground.add(long, **names)
    config = playground.configure()
    for verb in ("check", "run"):
        code, printed = command(verb, config)
        assert code == 2
        assert "Traceback" not in printed
    assert (
        "patient_id of 260 bytes is too long for a file name; expected at most"
        in playground.excluded()[long, "PVP"]
    )
    assert len(playground.bag("good")) == 5


def test_a_folder_in_the_place_of_a_configuration_is_told_what_it_may_be(playground, command):
    playground.add("good")
    playground.configure()
    code, printed = command("run", playground.folder)
    assert code == 2
    assert f"{playground.folder}: expected a configuration (TOML), found a folder; results go to" in printed


def test_a_phantom_whose_image_was_damaged_is_told_how_to_be_written_again(playground, command):
    config = playground.configure('[phantom]\npreset = "tiny"\npatients = { HCC = 1 }\n')
    (playground.folder / "cohort.csv").unlink()
    assert command("phantom", config)[0] == 0
    for image in (playground.folder / "images").iterdir():
        image.write_bytes(b"no image")
    code, printed = command("phantom", config, "--preview")
    assert code == 2
    assert "not as `phantom` wrote it" in printed
    assert "Traceback" not in printed


def test_an_attention_table_that_is_no_text_is_one_line(playground, command):
    playground.add("good")
    config = playground.configure()
    table = playground.folder / "out" / "tables" / "attention.csv"
    table.parent.mkdir(parents=True)
    table.write_bytes(bytes(range(256)))
    for verb in ("overlay", "saliency"):
        code, printed = command(verb, config)
        assert code == 2
        assert printed.startswith(f"error: {table}: expected a CSV table in UTF-8")
