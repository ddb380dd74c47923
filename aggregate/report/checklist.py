"""CLAIM 2024 (Radiol Artif Intell 2024;6(4):e240300) and TRIPOD+AI (BMJ 2024;385:e078378), item by item."""

import csv
from collections.abc import Collection
from importlib.resources import files

from aggregate.report.elements import Note, Section
from aggregate.report.elements import Table as ShownTable
from aggregate.tables.table import Column, Step, Table

CHECKLIST = Table(
    "checklist.csv",
    "item of a reporting checklist",
    (
        Column("standard", "CLAIM 2024 or TRIPOD+AI"),
        Column("item", "Number of the item"),
        Column("topic", "The item, shortened"),
        Column("answered", "in this report, at least in part, or by the authors"),
        Column("section", "Section of report.html"),
        Column("answer", "Content of that section"),
    ),
    place=310,
    step=Step.REPORT,
    names_weights=False,
)
AUTHORS = "by the authors"
HERE = "in this report"


def checklist_rows(sections: Collection[str]) -> list[dict[str, str]]:
    """Return the items with the section that answers each; items beyond a results folder are left to the authors.

    Args:
        sections: the sections of the report that hold more than a note on why they are empty.
    """
    text = (files("aggregate") / "templates" / "checklist.csv").read_text(encoding="utf-8")
    rows = []
    for item in csv.DictReader(text.splitlines()):
        is_here = item["section"] in sections
        rows.append(
            {
                "standard": item["standard"],
                "item": item["item"],
                "topic": item["topic"],
                "answered": HERE if is_here else AUTHORS,
                "section": item["section"] if is_here else "",
                "answer": item["answer"] if is_here else "",
            }
        )
    return rows


def checklist_section(rows: list[dict[str, str]], titles: dict[str, str]) -> Section:
    """Return the section, one table per standard."""
    tables = []
    for standard in dict.fromkeys(row["standard"] for row in rows):
        of_standard = [row for row in rows if row["standard"] == standard]
        here = sum(row["answered"] == HERE for row in of_standard)
        cells = [
            [row["item"], row["topic"], titles.get(row["section"], AUTHORS), row["answer"]]
            for row in of_standard
        ]
        caption = f"{standard}: {here} of {len(of_standard)} items are answered here, at least in part."
        tables.append(
            ShownTable(("item", "topic", "where", "what is found there"), cells, caption, CHECKLIST.file)
        )
    return Section(
        "checklist",
        "Reporting checklists",
        "Which items of CLAIM 2024 and TRIPOD+AI this page answers. The topics are shortened; the published "
        "checklists decide.",
        [*tables, Note("Items marked “by the authors” need information that is not in the results folder.")],
    )
