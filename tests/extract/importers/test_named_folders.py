"""Layouts `class-folders` and `patient-folders`, through the command, on folders as they lie on disks."""

import csv
from pathlib import Path

import numpy as np
import pytest

from tests.extract.conftest import draw_scan, save


def put(folder: Path, name: str, *, seed: int = 0, mask: bool = False, three_values: bool = False) -> None:
    image, drawn = draw_scan(seed)
    if three_values:
        drawn = np.where(drawn > 0, 2, 0).astype(np.uint8)
        drawn[2:8, 2:8, 3:6] = 1
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    save(folder / name, drawn if mask or three_values else image)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture
def scans(tmp_path) -> Path:
    return tmp_path / "scans"


@pytest.fixture
def imported(tmp_path, scans, command):
    """Import the folder; return exit code, what was printed, the rows of the cohort table and of the report."""

    def run(layout: str, *words: object):
        code, printed = command("import", layout, scans, *words, "--out", tmp_path / "cohort.csv")
        if code:
            return code, printed, [], []
        return code, printed, table(tmp_path / "cohort.csv"), table(tmp_path / "import_report.csv")

    return run


def test_a_folder_for_each_class_gives_label_phase_and_mask(scans, imported):
    put(scans, "HCC/P1/P1_art.nii.gz")
    put(scans, "HCC/P1/P1_art_mask.nii.gz", mask=True)
    put(scans, "ICC/P2/portalvenös.nii.gz")
    put(scans, "ICC/P2/liver_portalvenös.nii.gz", mask=True)
    code, printed, rows, report = imported("class-folders")
    assert code == 0
    assert [
        (r["patient_id"], r["phase"], r["label"], bool(r["mask"]), bool(r["liver_mask"])) for r in rows
    ] == [
        ("P1", "AP", "HCC", True, False),
        ("P2", "PVP", "iCCA", False, True),
    ]
    told = {row["file"]: (row["what"], row["how"], row["from"]) for row in report}
    assert told["HCC/P1/P1_art.nii.gz"] == ("image of AP", "guessed", "the word 'art' in its path")
    assert "label 'ICC' read as iCCA (1 row)" in printed
    assert (rows[0]["image"]) == "scans/HCC/P1/P1_art.nii.gz"
