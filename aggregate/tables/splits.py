"""splits.csv: the training, tuning and test patients of every fold."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aggregate.cohort.folds import ROLES, Fold
from aggregate.tables.shared_columns import FOLD, PATIENT_ID, REPEAT
from aggregate.tables.table import Column, Table

SPLITS = Table(
    "splits.csv",
    "patient x repeat x fold",
    (
        PATIENT_ID,
        REPEAT,
        FOLD,
        Column(
            "role",
            "train, tune (early stopping, calibration, thresholds) or test (used for evaluation only)",
        ),
    ),
    place=30,
    notes="All models use the same splits. No patient has two roles in a fold.",
)


def split_rows(folds: Sequence[Fold], patient_ids: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    """Yield one row per patient, repeat and fold, with its role."""
    for fold in folds:
        for role in ROLES:
            for patient in getattr(fold, role):
                yield {
                    "patient_id": patient_ids[patient],
                    "repeat": fold.repeat,
                    "fold": fold.fold,
                    "role": role,
                }
