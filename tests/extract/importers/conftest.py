"""An import through the command, and what it left."""

import csv
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.extract.importers.trees import Tree


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
