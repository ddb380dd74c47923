"""Write a synthetic cohort: images, masks and tables beside the cohort table."""

import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits

from extract.phantom import truth
from extract.phantom.config import USUAL_PREFIX, PhantomSection
from extract.phantom.nifti import nifti_writer
from extract.phantom.outcomes import draw_outcomes
from extract.phantom.scanner import acquire, affine
from extract.phantom.subjects import ScanPlan, Subject, draw_subjects
from pipeline.drawn_outcomes import DRAWN_OUTCOMES, write_drawn_outcomes
from pipeline.errors import CohortError
from pipeline.files import written_whole
from pipeline.provenance import sha256_of_file, sha256_of_json

MARKER = "phantom.json"
TRUTH = "truth.csv"
_FOLDERS = ("images", "masks", "livers")
_FILES = "*_*.nii.gz"
Progress = Callable[[int, int], None]


def write_cohort(section: PhantomSection, table: Path, *, progress: Progress | None = None) -> bool:
    """Write the cohort that a section describes; return False if it exists already.

    Args:
        section: what to draw.
        table: the cohort table; images, masks, truth.csv and a marker with the section go beside it.
        progress: called with the number of patients written and their total.

    Raises:
        CohortError: the section asks for no patient, or `table` exists and was not written by this function.
    """
    if is_written(section, table):
        return False
    subjects = draw_subjects(section)
    if not subjects:
        raise CohortError("[phantom] patients: expected at least one patient, found none")
    _clear(section, table)
    for folder in _FOLDERS:
        (table.parent / folder).mkdir(parents=True, exist_ok=True)
    tasks = (delayed(_write_subject)(subject, section.matrix, table.parent) for subject in subjects)
    finished = Parallel(n_jobs=section.jobs, return_as="generator_unordered")(tasks)
    for done, _ in enumerate(finished, start=1):
        if progress is not None:
            progress(done, len(subjects))
    asked = section.outcomes
    outcomes = None if asked is None else draw_outcomes(asked, subjects, seed=section.seed)
    truth.write_truth(table.with_name(TRUTH), subjects, section, outcomes)
    truth.write_cohort_table(table, subjects, outcomes)
    if outcomes is not None:
        write_drawn_outcomes(table, outcomes.drawn)
    _write_marker(table, _identity(section))
    return True


def is_written(section: PhantomSection, table: Path) -> bool:
    """Return whether the complete cohort of exactly this section exists at `table`."""
    return table.is_file() and _read_marker(table).get("sha256") == _identity(section)["sha256"]


def _identity(section: PhantomSection) -> dict[str, object]:
    drawn = section.model_dump(mode="json", exclude={"jobs", "preset", "histology"})
    generator = _generator()
    sha256 = sha256_of_json([generator, drawn])
    return {"generator": generator, "sha256": sha256, "section": drawn, "prefix": section.prefix}


@cache
def _generator() -> str:
    """Hash the modules of this package: whoever changes how patients are drawn makes older cohorts stale.

    That of the histology, on which no image depends, keeps its own account.
    """
    sources = sorted(path for path in Path(__file__).parent.glob("*.py") if path.name != "histology.py")
    return sha256_of_json([sha256_of_file(source) for source in sources])


def _read_marker(table: Path) -> dict[str, object]:
    try:
        marker = json.loads(table.with_name(MARKER).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return marker if isinstance(marker, dict) else {}


def _write_marker(table: Path, content: Mapping[str, object]) -> None:
    with written_whole(table.with_name(MARKER)) as sibling:
        sibling.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _clear(section: PhantomSection, table: Path) -> None:
    """Remove an older phantom, whole or interrupted; refuse to touch a cohort that is none.

    The marker stays without a hash until the cohort is whole, so that an interrupted run is known as ours.
    """
    if table.exists() and not table.with_name(MARKER).exists():
        raise CohortError(
            f"{table}: this cohort table was not written by `phantom`; set another path as [cohort] "
            "table, or remove the file"
        )
    earlier = _read_marker(table).get("prefix", USUAL_PREFIX)
    was_ours = table.with_name(MARKER).exists()
    _write_marker(table, {**_identity(section), "sha256": None})
    table.unlink(missing_ok=True)
    if was_ours:
        table.with_name(DRAWN_OUTCOMES).unlink(missing_ok=True)
    for folder in _FOLDERS if was_ours else ():
        for file in (table.parent / folder).glob(f"{earlier}{_FILES}"):
            file.unlink()


def _write_subject(subject: Subject, matrix: int, folder: Path) -> str:
    # One thread: the cores are shared by patients, and sums keep their order whatever the machine.
    with threadpool_limits(limits=1):
        for plan in subject.scans:
            _write_scan(subject, plan, matrix, folder)
    return subject.patient_id


def _write_scan(subject: Subject, plan: ScanPlan, matrix: int, folder: Path) -> None:
    shape, to_scanner = (matrix, matrix, plan.n_slices), affine(plan, matrix)
    with ExitStack() as stack:
        write_image = stack.enter_context(
            nifti_writer(folder / truth.image_path(subject, plan), shape, to_scanner, np.int16)
        )
        write_liver = stack.enter_context(
            nifti_writer(folder / truth.liver_path(subject, plan), shape, to_scanner, np.uint8)
        )
        write_mask = (
            stack.enter_context(
                nifti_writer(folder / truth.mask_path(subject, plan), shape, to_scanner, np.uint8)
            )
            if plan.has_mask
            else None
        )
        for slab in acquire(subject, plan, matrix):
            write_image(slab.hu)
            write_liver(slab.liver)
            if write_mask is not None:
                write_mask(slab.tumour)
