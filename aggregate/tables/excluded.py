"""excluded.csv: who or what was left out, and why; the rows are `pipeline.cohort.Exclusion`."""

from aggregate.tables.shared_columns import PATIENT_ID
from aggregate.tables.table import Column, Table

EXCLUDED = Table(
    "excluded.csv",
    "patient or phase left out",
    (
        PATIENT_ID,
        Column("phase", "Phase left out; empty where the whole patient is"),
        Column("stage", "Step that left it out"),
        Column("reason", "Why, in words"),
    ),
    place=20,
)
