"""The tables beside the images: cohort.csv for the pipeline, truth.csv with everything that was drawn."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from extract.phantom import facts
from extract.phantom.config import PhantomSection
from extract.phantom.outcomes import COLUMNS as OUTCOME_COLUMNS
from extract.phantom.outcomes import Outcomes
from extract.phantom.subjects import ScanPlan, Subject
from pipeline.tables import write_table

COHORT_COLUMNS = ("patient_id", "phase", "image", "mask", "label", "centre", "liver_mask", "age", "sex")
_SCAN_FIELDS = ("spacing_mm", "thickness_mm", "n_slices", "noise_hu", "kernel_mm", "has_mask")


def image_path(subject: Subject, plan: ScanPlan) -> str:
    """Return the image of one phase, relative to the cohort table."""
    return f"images/{subject.patient_id}_{plan.phase}.nii.gz"


def mask_path(subject: Subject, plan: ScanPlan) -> str:
    """Return the tumour mask of one phase, relative to the cohort table."""
    return f"masks/{subject.patient_id}_{plan.phase}.nii.gz"


def liver_path(subject: Subject, plan: ScanPlan) -> str:
    """Return the liver mask of one phase, relative to the cohort table."""
    return f"livers/{subject.patient_id}_{plan.phase}.nii.gz"


def write_cohort_table(path: Path, subjects: Iterable[Subject], outcomes: Outcomes | None = None) -> None:
    """Write the cohort table, one row per patient and phase, with the outcomes if there are any."""
    columns = COHORT_COLUMNS if outcomes is None else (*COHORT_COLUMNS, *OUTCOME_COLUMNS)
    rows = (row | _outcomes_of(s, outcomes) for s in subjects for row in _cohort_rows(s))
    write_table(path, columns, rows)


def _outcomes_of(subject: Subject, outcomes: Outcomes | None) -> dict[str, Any]:
    return {} if outcomes is None else dict(outcomes.cells[subject.patient_id])


def _cohort_rows(subject: Subject) -> Iterable[dict[str, Any]]:
    for plan in subject.scans:
        values = (subject.patient_id, plan.phase, image_path(subject, plan),
                  mask_path(subject, plan) if plan.has_mask else "", subject.label, subject.centre,
                  liver_path(subject, plan), subject.age, subject.sex)  # fmt: skip
        yield dict(zip(COHORT_COLUMNS, values, strict=True))


def write_truth(
    path: Path, subjects: Sequence[Subject], section: PhantomSection, outcomes: Outcomes | None = None
) -> None:
    """Write every drawn parameter, one row per patient; cells of phases that were not acquired stay empty."""
    rows = [
        {**_truth_row(s, section), **({} if outcomes is None else outcomes.truth(s.patient_id))}
        for s in subjects
    ]
    write_table(path, tuple(rows[0]), rows)


def _truth_row(subject: Subject, section: PhantomSection) -> Mapping[str, Any]:
    x, y, z = subject.tumour.solid.centre
    row: dict[str, Any] = {
        "patient_id": subject.patient_id,
        "label": subject.label,
        "centre": subject.centre,
        "age": subject.age,
        "sex": subject.sex,
        **{name: int(shown) for name, shown in subject.signs.items()},
        "necrosis": int(subject.tumour.necrosis_limit < float("inf")),
        "n_satellites": len(subject.tumour.satellites),
        "hcc_fraction": subject.hcc_fraction,
        "diameter_mm": subject.diameter_mm,
        "tumour_x_mm": x,
        "tumour_y_mm": y,
        "tumour_z_mm": z,
        "arterial_timing": subject.arterial_timing,
        "seed": section.seed,
    }
    scans = {plan.phase: plan for plan in subject.scans}
    for i, phase in enumerate(facts.PHASES):
        row |= {f"{name}_hu_{phase}": values[i] for name, values in subject.hu.items()}
        row |= {f"{name}_{phase}": getattr(scans.get(phase), name, None) for name in _SCAN_FIELDS}
        signs = scans[phase].orientation if phase in scans else (None, None)
        row |= {f"stored_{axis}_sign_{phase}": sign for axis, sign in zip("xy", signs, strict=True)}
        shift = scans[phase].shift_mm if phase in scans else (None, None, None)
        row |= {f"shift_{axis}_mm_{phase}": value for axis, value in zip("xyz", shift, strict=True)}
    return row
