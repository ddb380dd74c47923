"""excluded.csv: patients and phases left out, with the reason; the rows are `pipeline.cohort.Exclusion`."""

from aggregate.tables.shared_columns import PATIENT_ID
from aggregate.tables.table import Column, Table

EXCLUDED = Table(
    "excluded.csv",
    "patient or phase left out",
    (
        PATIENT_ID,
        Column("phase", "Phase left out; empty if the whole patient is left out"),
        Column("stage", "Step that left the patient or phase out"),
        Column("reason", "Reason, as a sentence"),
    ),
    place=20,
)
