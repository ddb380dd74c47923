"""Layout `waw-tace`: the data set WAW-TACE: one mask per lesion (NRRD), drawn on one phase of each patient.

    images/FILE.nii.gz, organ_masks/FILE.nii.gz (labels of TotalSegmentator), ct_hcc_metadata.csv
    tumor_masks/PATIENT_PHASE_LESION_tumor_seg.nrrd

All patients have HCC. The grids of the phases differ, so masks go to other phases by patient coordinates only.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from extract.importers.found import Entry, How, Import, ScanRow, not_used, to_set
from extract.importers.layout import ImportRequest, Layout, LayoutSettings
from extract.importers.tables_of_sets import covariates_of, not_taken, read_set_table, the_table
from extract.importers.volume_files import stem_of, volumes_in
from pipeline.cohort_table import Row
from pipeline.config import ConfigPath
from pipeline.errors import CohortError, Mistakes

PHASES: Mapping[str, str] = {"0": "NC", "1": "AP", "2": "PVP", "3": "DP"}
COLUMNS = ("patient_id", "ct_phase", "ct_file_name", "tumor_count")
LIVER_LABEL = 5
"""Of TotalSegmentator's map of organs."""
_MASK = re.compile(r"(?P<patient>.+)_(?P<phase>[0-3])_(?P<lesion>\d+)_tumor_seg")
_DESCRIPTION = "the description of the data set"


class WawTaceSettings(LayoutSettings):
    """Settings of the layout waw-tace."""

    table: ConfigPath | None = None
    """The table of the scans; by default ct_hcc_metadata.csv in the folder."""


@dataclass(frozen=True)
class _Mask:
    """The mask of one lesion."""

    path: Path
    patient: str
    phase: str
    lesion: str


def find(request: ImportRequest, settings: WawTaceSettings) -> Import:
    """Find the scans that the table names, one row for each lesion that was drawn on a phase."""
    path = the_table(request, settings.table, ("ct_hcc_metadata.csv",))
    table = read_set_table(path, COLUMNS, request)
    others = ", ".join(not_taken(table, COLUMNS, request)) or "none"
    entries = [
        Entry(
            f"columns {', '.join(COLUMNS)}; not read: {others}",
            source="--covariates",
            file=request.named(path),
        ),
        Entry("all patients have HCC", source=_DESCRIPTION),
    ]
    masks = list(_masks(request))
    images = {p.name: p for p in volumes_in(request.files) if p.parent.name == "images"}
    organs = {p.name: p for p in volumes_in(request.files) if p.parent.name == "organ_masks"}
    rows, mistakes = list[ScanRow](), Mistakes()
    for row in table.rows:
        with mistakes.gathered():
            rows += _rows(row, images, organs, masks, request, entries)
    mistakes.raise_all()
    entries += _unused(masks, rows, request)
    entries += _counts(table.rows, masks, request)
    if any(row.liver_mask for row in rows):
        source = f"TotalSegmentator's number of the liver, says {_DESCRIPTION}"
        entries.append(to_set("extract.masks.labels.organ", f"[{LIVER_LABEL}]", source))
    return Import(tuple(rows), tuple(entries))


def _masks(request: ImportRequest) -> Iterator[_Mask]:
    for path in volumes_in(request.files):
        found = _MASK.fullmatch(stem_of(path))
        if found:
            yield _Mask(path, found["patient"], PHASES[found["phase"]], found["lesion"])


def _rows(  # noqa: PLR0917 - one place that calls it
    row: Row,
    images: Mapping[str, Path],
    organs: Mapping[str, Path],
    masks: list[_Mask],
    request: ImportRequest,
    entries: list[Entry],
) -> list[ScanRow]:
    """Return a row for each lesion of a scan, or one without a mask."""
    patient, name = row["patient_id"], row["ct_file_name"]
    phase = PHASES.get(row["ct_phase"])
    if phase is None:
        raise CohortError(
            f"line {row.line}: expected a ct_phase of {', '.join(PHASES)}, found {row['ct_phase']!r}"
        )
    image = next((images[n] for n in (name, f"{name}.nii.gz") if n in images), None)
    patient_id = request.spellings.patient(patient)
    if image is None:
        entries.append(
            not_used(f"images/{name}", f"line {row.line}: no such image", patient_id=patient_id, phase=phase)
        )
        return []
    scan = ScanRow(
        patient_id,
        phase,
        image,
        label="HCC",
        liver_mask=organs.get(image.name),
        covariates=covariates_of(row, request),
    )
    own = [mask for mask in masks if (mask.patient, mask.phase) == (patient, phase)]
    return [replace(scan, mask=mask.path, lesion_id=mask.lesion) for mask in own] or [scan]


def _unused(masks: list[_Mask], rows: list[ScanRow], request: ImportRequest) -> Iterator[Entry]:
    used = {row.mask for row in rows}
    for mask in masks:
        if mask.path not in used:
            name, patient = request.named(mask.path), request.spellings.patient(mask.patient)
            yield not_used(name, "no scan of this patient and phase", patient_id=patient, phase=mask.phase)


def _counts(rows: tuple[Row, ...], masks: list[_Mask], request: ImportRequest) -> Iterator[Entry]:
    """Yield an entry of each patient who has another number of masks than the table says."""
    said = {row["patient_id"]: row["tumor_count"] for row in rows if row["tumor_count"]}
    for patient, count in said.items():
        n = sum(mask.patient == patient for mask in masks)
        if count != str(n):
            yield Entry(
                f"tumor_count is {count}, masks found: {n}",
                how=How.GUESSED,
                gist="masks of a patient who has another number of them than tumor_count says: import_report.csv names each",
                source="ct_hcc_metadata.csv",
                patient_id=request.spellings.patient(patient),
            )


LAYOUT = Layout(
    "waw-tace",
    "the data set WAW-TACE: images, organ_masks, PATIENT_PHASE_LESION_tumor_seg.nrrd, ct_hcc_metadata.csv",
    WawTaceSettings,
    find,
)
