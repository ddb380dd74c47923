"""What can be wrong with a scan or a cohort, found before anything is embedded."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from extract.config import ExtractSection
from extract.duplicates import describe_shared, shared_pixels, slice_digests
from extract.fingerprints import FileHashes, fingerprint
from extract.masks import Lesions, areas_mm2
from extract.phases import implausible_order, measure_liver
from extract.prepare import Fingerprint, check_hounsfield, check_spacing
from extract.regions import RegionPlan, read_region
from extract.slice_policy import choose_slices
from extract.volumes import PADDING_HU, VolumeError, VolumeFile, open_volume
from pipeline.cohort import Cohort, Patient
from pipeline.errors import ScanError

OK, WARNING, ERROR = "ok", "warning", "error"
_DATE = re.compile(
    r"(?:19|20)\d{2}[-_.]?(?:0[1-9]|1[0-2])[-_.]?(?:0[1-9]|[12]\d|3[01])|\d{1,2}[-_.]\d{1,2}[-_.]\d{4}"
)
_NAME = re.compile(r"^[A-Za-zÀ-ÿ]{2,}[ _^,.-]+[A-Za-zÀ-ÿ]{2,}$")
_TRAILING_NUMBER = re.compile(r"^(.*?)0*(\d+)$")


@dataclass(frozen=True, eq=False)
class ScanReport:
    """What the check found about one phase of one patient; a row of cohort_check.csv.

    Attributes:
        patient_id: as in the cohort table.
        phase: as in the configuration, or as in the table where it is unknown.
        file: name of the image.
        problems: (status, reason), worst first by status.
        facts: the other columns, as far as they could be found.
        liver_hu: median HU of the lesion-free liver, for the order of phases.
        pixels: hashes of the slices in HU.
    """

    patient_id: str
    phase: str
    file: str
    problems: tuple[tuple[str, str], ...] = ()
    facts: Mapping[str, object] = field(default_factory=dict)
    liver_hu: float | None = None
    pixels: tuple[str, ...] = ()

    @property
    def status(self) -> str:
        """The worst status of all problems."""
        found = {status for status, _ in self.problems}
        return ERROR if ERROR in found else WARNING if WARNING in found else OK

    @property
    def reason(self) -> str:
        """All problems, errors first."""
        return "; ".join(reason for _, reason in sorted(self.problems))

    def but(self, *problems: tuple[str, str], **facts: object) -> "ScanReport":
        """Return the report with more problems and facts."""
        return replace(self, problems=self.problems + problems, facts={**self.facts, **facts})


def examine_scan(plan: RegionPlan, section: ExtractSection, hashes: FileHashes) -> ScanReport:
    """Read one scan whole and report everything about it."""
    scan = plan.scan
    report = ScanReport(scan.patient_id, scan.phase, scan.image.name, facts={"mask_source": plan.mask_source})
    prints = fingerprint(plan, hashes)
    if isinstance(prints, ScanError):
        return report.but((ERROR, prints.reason))
    try:
        image = open_volume(scan.image, scan.overrides)
    except VolumeError as error:
        return report.but((ERROR, str(error)), image_sha256=prints.image)
    report = report.but(**_header_facts(image, prints))
    try:
        check_spacing(image)
    except VolumeError as error:
        report = report.but((ERROR, str(error)), geometry_ok=False)
    try:
        stored = image.read()
        hu = image.to_hu(stored)
        report = _with_voxels(report, hu, image.lowest_hu(stored))
        check_hounsfield(image.path, hu)
    except VolumeError as error:
        return report.but((ERROR, str(error)))
    return _with_region(report, plan, image, hu, section)


def compare_scans(reports: Sequence[ScanReport], section: ExtractSection) -> list[ScanReport]:
    """Add what only a look across scans shows: shared pixels, and phases in an implausible order."""
    shared = shared_pixels({(r.patient_id, r.phase): r.pixels for r in reports})
    orders = implausible_order(
        {(r.patient_id, r.phase): r.liver_hu for r in reports if r.liver_hu is not None}
    )
    return [
        _compared(report, shared.get((report.patient_id, report.phase)), orders, section)
        for report in reports
    ]


def check_identifiers(patients: Iterable[Patient]) -> Mapping[str, str]:
    """Find identifiers that look like names or dates, or that a sorted list or a substring match mixes up."""
    found: dict[str, str] = {}
    by_number: dict[tuple[str, int], list[str]] = {}
    ids = [patient.patient_id for patient in patients]
    for patient_id in ids:
        if _DATE.search(patient_id):
            found[patient_id] = "the identifier looks like a date; expected a pseudonym"
        elif _NAME.match(patient_id):
            found[patient_id] = "the identifier looks like a name; expected a pseudonym"
        number = _TRAILING_NUMBER.match(patient_id)
        if number:
            by_number.setdefault((number[1].lower(), int(number[2])), []).append(patient_id)
    for same in by_number.values():
        for patient_id in same[1:]:
            found.setdefault(patient_id, f"the identifier differs from {same[0]} in zeros or case only")
    return found


def files_of_others(cohort: Cohort) -> Mapping[tuple[str, str], str]:
    """Find files whose name bears the identifier of another patient: `P10_ap.nii.gz` in a row of P1."""
    ids = {patient.patient_id for patient in cohort.patients}
    found = {}
    for patient in cohort.patients:
        for phase, scan in patient.scans.items():
            for path in (scan.image, *(path for _, path in scan.masks)):
                others = sorted(_identifiers_in(path.name, ids) - {patient.patient_id})
                if others and patient.patient_id not in _identifiers_in(path.name, ids):
                    found[patient.patient_id, phase] = (
                        f"{path.name} bears the identifier of patient {others[-1]}, in a row of {patient.patient_id}"
                    )
    return found


def doubtful_scans(cohort: Cohort) -> Mapping[tuple[str, str], tuple[str, ...]]:
    """Find what the cohort table alone shows: (patient_id, phase) -> what is doubtful, of identifiers and files."""
    names, strangers = check_identifiers(cohort.patients), files_of_others(cohort)
    found = {
        (patient.patient_id, phase): (
            names.get(patient.patient_id),
            strangers.get((patient.patient_id, phase)),
        )
        for patient in cohort.patients
        for phase in patient.scans
    }
    return {key: tuple(filter(None, reasons)) for key, reasons in found.items() if any(reasons)}


def describe_scan(status: str, patient_id: str, phase: str, reason: str) -> str:
    """Return the line that `check` and `run` print about a scan."""
    return f"{status}: patient {patient_id}, phase {phase}: {reason}"


def _identifiers_in(name: str, ids: set[str]) -> set[str]:
    """Return the identifiers that stand in a file name between separators, so that P1 is not found in P10."""
    stem = name.partition(".nii")[0]
    found = {i for i in ids if re.search(rf"(?<![A-Za-z0-9]){re.escape(i)}(?![A-Za-z0-9])", stem)}
    return {i for i in found if not i.isdigit() or len(i) > 2}


def _header_facts(image: VolumeFile, prints: Fingerprint) -> Mapping[str, object]:
    z, row, column = image.grid.spacing_mm
    return {
        "shape": " x ".join(map(str, image.stored_shape)),
        "spacing_mm": f"{column:.3f} x {row:.3f}",
        "thickness_mm": round(z, 3),
        "orientation": image.stored_codes,
        "n_slices": image.grid.shape[0],
        "image_sha256": prints.image,
        "geometry_ok": True,
    }


def _with_voxels(report: ScanReport, hu: NDArray[np.int16], lowest: float) -> ScanReport:
    every = max(1, hu.size // 2_000_000)
    low, middle, high = np.percentile(hu.reshape(-1)[::every], (1, 50, 99)).tolist()
    report = replace(report, pixels=slice_digests(hu))
    report = report.but(hu_p1=low, hu_p50=middle, hu_p99=high)
    if lowest <= PADDING_HU:
        report = report.but((WARNING, f"padding of {lowest:.0f} HU is taken as air"))
    return report


def _with_region(
    report: ScanReport, plan: RegionPlan, image: VolumeFile, hu: NDArray[np.int16], section: ExtractSection
) -> ScanReport:
    try:
        region = read_region(plan, image, section.masks)
    except VolumeError as error:
        return report.but((ERROR, str(error)), geometry_ok="outside" not in str(error))
    report = report.but(*_region_problems(region, image), **_region_facts(region, image, section))
    if not report.facts["n_chosen"]:
        report = report.but((ERROR, "no slice has the minimum area of [extract.slices]"))
    lesions = region if plan.shows_lesions else None
    return replace(report, liver_hu=measure_liver(plan.scan, image, hu, np.arange(len(hu)), lesions))


def _region_problems(region: Lesions, image: VolumeFile) -> list[tuple[str, str]]:
    problems = []
    if region.resampled:
        problems.append(
            (WARNING, "the mask lies on another grid and was resampled by its place in the patient")
        )
    if region.share_outside > 0.01:
        problems.append((WARNING, f"{region.share_outside:.0%} of the mask's box lies outside of the image"))
    n = len(np.unique(region.number[region.number > 0]))
    if n > 1:
        problems.append((WARNING, f"{n} separate lesions"))
    return problems


def _region_facts(region: Lesions, image: VolumeFile, section: ExtractSection) -> Mapping[str, object]:
    areas = areas_mm2(region, image.grid.spacing_mm)
    start = region.start[0]
    chosen = choose_slices(image.grid.z_mm()[start : start + len(areas)], areas, section.slices)
    return {
        "n_tumour_slices": int(np.count_nonzero(areas)),
        "n_chosen": len(chosen),
        "tumour_volume_ml": round(float(areas.sum()) * image.grid.spacing_mm[0] / 1000, 3),
    }


def _compared(
    report: ScanReport,
    other: tuple[str, str] | None,
    orders: Mapping[tuple[str, str], str],
    section: ExtractSection,
) -> ScanReport:
    key = (report.patient_id, report.phase)
    if other:
        status = WARNING if section.shared_images == "allow" else ERROR
        report = report.but((status, describe_shared(key, other)), duplicate_of=" ".join(other))
    order = orders.get(key)
    if report.liver_hu is not None:
        report = report.but(phase_plausible=order is None)
    return report.but((WARNING, order)) if order else report
