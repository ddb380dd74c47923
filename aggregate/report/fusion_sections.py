"""The section on scans and biopsy together, in the report of a run with a table [aggregate.fusion]."""

from collections import Counter

from aggregate.report.elements import Element, Section, Table, cell, text
from aggregate.report.folder import ResultsFolder
from aggregate.tables.fusion import EVERYBODY, FUSION, IMAGING
from aggregate.tables.rows import Row


def fusion_section(folder: ResultsFolder) -> Section:
    """Return how imaging and biopsy call one class, alone and together."""
    rows = folder.rows(FUSION)
    groups = list(Counter(row["patients"] for row in rows))
    elements: list[Element] = [_table(folder, group) for group in groups]
    name = rows[0]["class"] if rows else "the class"
    return Section(
        "fusion",
        "Imaging, biopsy, and both",
        f"Who is called {name} by imaging alone, by biopsy alone, and by both together? Saved and lost patients are counted against "
        "imaging alone.",
        elements,
    )


def _table(folder: ResultsFolder, group: str) -> Table:
    rows = folder.rows(FUSION, patients=group)
    first = rows[0]
    who = "All patients" if group == EVERYBODY else f"Patients {group}"
    caption = (
        f"{who}: {first['n']}, {first['n_positive']} of them {first['class']}; scans of {first['n_imaging']}, a biopsy of "
        f"{first['n_biopsy']}. fusion_patients.csv names who is saved or lost."
    )
    return Table(
        (
            "way",
            f"sensitivity [{folder.level} CI]",
            "specificity",
            f"AUC of {first['class']}",
            "macro AUC",
            f"{first['class']} saved / lost",
            "others saved / lost",
        ),
        [_cells(row) for row in rows],
        caption,
        FUSION.file,
    )


def _cells(row: Row) -> list[str]:
    measured = [
        cell(row, (n, f"{n}_ci_low", f"{n}_ci_high"))
        for n in ("sensitivity", "specificity", "auc", "macro_auc")
    ]
    if row["way"] == IMAGING:
        return [row["way"], *measured, "", ""]
    changes = [f"{text(row[f'saved_{who}'])} / {text(row[f'lost_{who}'])}" for who in ("positive", "other")]
    return [row["way"], *measured, *changes]
