"""Folders as data sets and hospitals leave them, and the import of them through the command."""

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from tests.extract.conftest import draw_scan, save

LABEL_MAP = {"liver": 1, "tumour": 2}


@dataclass
class Tree:
    """A folder in which files are put."""

    folder: Path

    def place(self, name: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def image(self, name: str, seed: int = 0) -> None:
        save(self.place(name), draw_scan(seed)[0])

    def mask(self, name: str, *, value: int = 1, empty: bool = False) -> None:
        save(self.place(name), (draw_scan()[1] * (0 if empty else value)).astype(np.uint8))

    def label_map(self, name: str, liver: int = 1, tumour: int = 2) -> None:
        drawn = draw_scan()[1] * tumour
        drawn[24:34, 8:28, 2:10] = liver
        save(self.place(name), drawn.astype(np.uint8))

    def bare(self, name: str, voxels: np.ndarray) -> None:
        """A NIfTI whose header says 1 x 1 x 1 mm at 0."""
        nib.save(nib.Nifti1Image(voxels, np.eye(4)), self.place(name))

    def text(self, name: str, text: str) -> Path:
        path = self.place(name)
        path.write_text(text, encoding="utf-8")
        return path

    def json(self, name: str, content: Mapping[str, Any]) -> None:
        self.text(name, json.dumps(content))


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@dataclass
class Imported:
    """What an import left."""

    code: int
    printed: str
    rows: list[dict[str, str]]
    report: list[dict[str, str]]

    def told(self, file: str) -> list[tuple[str, str, str]]:
        """Return (decision, what, how) of the entries of a file."""
        return [(r["decision"], r["what"], r["how"]) for r in self.report if r["file"] == file]

    def said(self, text: str) -> bool:
        """Whether the printed text holds another, wherever its lines were broken."""
        return " ".join(text.split()) in " ".join(self.printed.split())

    def row(self, patient_id: str, phase: str) -> dict[str, str]:
        (row,) = [r for r in self.rows if (r["patient_id"], r["phase"]) == (patient_id, phase)]
        return row


@pytest.fixture
def tree(tmp_path) -> Tree:
    return Tree(tmp_path / "scans")


@pytest.fixture
def imported(tmp_path, tree, command):
    """Import the folder by a layout."""

    def run(layout: str, *words: object) -> Imported:
        out = tmp_path / "cohort.csv"
        code, printed = command("import", layout, tree.folder, *words, "--out", out)
        if code:
            return Imported(code, printed, [], [])
        return Imported(code, printed, table(out), table(tmp_path / "import_report.csv"))

    return run
