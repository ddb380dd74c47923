"""The columns of the cohort table that have a meaning of their own; every other one is a covariate."""

from pathlib import Path

from pipeline.cohort_table import Columns, read_user_table

REQUIRED = ("patient_id", "phase", "image", "mask", "label")
OVERRIDES = ("spacing_x", "spacing_y", "spacing_z", "flip_z", "hu_slope", "hu_intercept")
OPTIONAL = ("centre", "lesion_id", "liver_mask", "mask_label", *OVERRIDES)
OF_SCANS = ("phase", "image", "mask")
"""Columns that a table of patients alone has none of."""
LABEL = "label"
COLUMNS = Columns(REQUIRED, OPTIONAL, paths=frozenset({"image", "mask", "liver_mask"}))


def without_scans(columns: Columns) -> Columns:
    """Return the columns of which those of scans are not required."""
    required = tuple(name for name in columns.required if name not in OF_SCANS)
    return Columns(required, (*columns.optional, *OF_SCANS), columns.paths)


def without_label(columns: Columns) -> Columns:
    """Return the columns of which the label is not required."""
    return Columns(
        tuple(name for name in columns.required if name != LABEL), (*columns.optional, LABEL), columns.paths
    )


def is_of_patients_alone(table: Path, *, has_labels: bool = True) -> bool:
    """Return whether a cohort table has none of the columns of scans; without `has_labels` it needs no labels either.

    Raises:
        CohortError: it is missing, not a table, or its columns are doubtful.
    """
    columns = without_scans(COLUMNS if has_labels else without_label(COLUMNS))
    first = next(iter(read_user_table(table, columns, what="cohort table").rows), None)
    return first is not None and not set(OF_SCANS) & set(first.cells)
