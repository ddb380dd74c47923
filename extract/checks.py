"""What can be wrong with a scan or a cohort, found before anything is embedded."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from extract.config import ExtractSection
from extract.duplicates import describe_shared, shared_pixels, slice_digests
from extract.findings import Finding, Kind, Severity, errors_of, reason_of
from extract.fingerprints import FileHashes, fingerprint
from extract.masks import Lesions, areas_mm2
from extract.phases import implausible_order
from extract.reading import ScanReading, read_scan
from extract.regions import RegionPlan
from extract.volumes import VolumeError, VolumeFile
from pipeline.cohort import Cohort, Patient
from pipeline.errors import MaskError, ScanError, SharedPixelsError
from pipeline.phase_roles import PhaseRoles
from pipeline.quantities import slice_thickness_mm, volume_ml

OK = "ok"
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
        findings: in the order in which they were found.
        facts: the other columns, as far as they could be found.
        liver_hu: median HU of the lesion-free liver, for the order of phases.
        pixels: hashes of the slices in HU.
    """

    patient_id: str
    phase: str
    file: str
    findings: tuple[Finding, ...] = ()
    facts: Mapping[str, object] = field(default_factory=dict)
    liver_hu: float | None = None
    pixels: tuple[str, ...] = ()

    @property
    def status(self) -> str:
        """The worst severity of all findings, or `ok`."""
        if errors_of(self.findings):
            return Severity.ERROR
        return Severity.WARNING if self.findings else OK

    @property
    def reason(self) -> str:
        """All findings, errors first."""
        return reason_of(self.findings)

    def but(self, *findings: Finding, **facts: object) -> "ScanReport":
        """Return the report with more findings and facts."""
        return replace(self, findings=self.findings + findings, facts={**self.facts, **facts})


def examine_scan(
    plan: RegionPlan, section: ExtractSection, hashes: FileHashes, depth_mm: float = 0.0
) -> ScanReport:
    """Read one scan as a run does that cuts slabs of `depth_mm`, then whole, and report everything about it."""
    scan = plan.scan
    report = ScanReport(scan.patient_id, scan.phase, scan.image.name, facts={"mask_source": plan.mask_source})
    prints = fingerprint(plan, hashes)
    if isinstance(prints, ScanError):
        return report.but(finding_of(prints))
    reading = read_scan(plan, section.slices, section.masks, depth_mm)
    report = replace(report, liver_hu=reading.organ_hu).but(*reading.findings, image_sha256=prints.image)
    if reading.image is None:
        return report
    report = report.but(**_header_facts(reading.image), geometry_ok=_geometry_is_ok(reading))
    if reading.region is not None:
        report = report.but(**_region_facts(reading, reading.region, reading.image))
    return _with_all_voxels(report, reading.image)


def finding_of(fault: ScanError) -> Finding:
    """Return the finding for a fault that was found before the scan is read."""
    kinds = ((SharedPixelsError, Kind.SHARED), (MaskError, Kind.MASK), (ScanError, Kind.IMAGE))
    return Finding(next(kind for error, kind in kinds if isinstance(fault, error)), fault.reason)


def compare_scans(
    reports: Sequence[ScanReport], section: ExtractSection, roles: PhaseRoles
) -> list[ScanReport]:
    """Add findings that need several scans: shared pixels, and phases in an implausible order."""
    shared = shared_pixels({(r.patient_id, r.phase): r.pixels for r in reports})
    orders = implausible_order(
        {(r.patient_id, r.phase): r.liver_hu for r in reports if r.liver_hu is not None}, roles
    )
    return [
        _with_order(_compared(report, shared.get((report.patient_id, report.phase)), section), orders, roles)
        for report in reports
    ]


def check_identifiers(patients: Iterable[Patient]) -> Mapping[str, str]:
    """Find identifiers that look like names or dates, or that differ in zeros or case only."""
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
    """Find files whose name contains the identifier of another patient: `P10_ap.nii.gz` in a row of P1."""
    ids = {patient.patient_id for patient in cohort.patients}
    found = {}
    for patient in cohort.patients:
        for phase, scan in patient.scans.items():
            for path in (scan.image, *(path for _, path in scan.masks)):
                others = sorted(_identifiers_in(path.name, ids) - {patient.patient_id})
                if others and patient.patient_id not in _identifiers_in(path.name, ids):
                    found[patient.patient_id, phase] = (
                        f"{path.name} contains the identifier of patient {others[-1]}, in a row of {patient.patient_id}"
                    )
    return found


def doubtful_scans(cohort: Cohort) -> Mapping[tuple[str, str], tuple[Finding, ...]]:
    """Find doubtful identifiers and file names in the cohort table: (patient_id, phase) -> findings."""
    names, strangers = check_identifiers(cohort.patients), files_of_others(cohort)
    found: dict[tuple[str, str], tuple[Finding, ...]] = {}
    for patient in cohort.patients:
        for key in ((patient.patient_id, phase) for phase in patient.scans):
            told = ((Kind.IDENTIFIER, names.get(key[0])), (Kind.STRANGER, strangers.get(key)))
            found[key] = tuple(Finding(kind, reason) for kind, reason in told if reason)
    return {key: findings for key, findings in found.items() if findings}


def _identifiers_in(name: str, ids: set[str]) -> set[str]:
    """Return the identifiers that stand in a file name between separators, so that P1 is not found in P10.

    Every piece from one separator to another is looked up: the time depends on the name, not on the number of patients.
    """
    stem = re.split(r"\.nii", name, maxsplit=1, flags=re.IGNORECASE)[0]
    is_sign = [_is_separator(sign) for sign in stem]
    begins = [i for i in range(len(stem)) if i == 0 or is_sign[i - 1]]
    ends = [i for i in range(1, len(stem) + 1) if i == len(stem) or is_sign[i]]
    pieces = {stem[begin:end] for begin in begins for end in ends if begin < end}
    return {i for i in pieces & ids if not i.isdigit() or len(i) > 2}


def _is_separator(sign: str) -> bool:
    return not (sign.isascii() and sign.isalnum())


def _header_facts(image: VolumeFile) -> Mapping[str, object]:
    z, row, column = image.grid.spacing_mm
    return {
        "shape": " x ".join(map(str, image.stored_shape)),
        "spacing_mm": f"{column:.3f} x {row:.3f}",
        "thickness_mm": round(slice_thickness_mm([(column, row, z)]), 3),
        "orientation": image.stored_codes,
        "n_slices": image.grid.shape[0],
    }


def _geometry_is_ok(reading: ScanReading) -> bool:
    spacing_is_odd = any(finding.kind is Kind.SPACING for finding in reading.findings)
    mask_lies_elsewhere = any(
        finding.kind is Kind.MASK and "outside" in finding.reason for finding in reading.findings
    )
    return not (spacing_is_odd or mask_lies_elsewhere)


def _region_facts(reading: ScanReading, region: Lesions, image: VolumeFile) -> Mapping[str, object]:
    areas, (z, row, column) = areas_mm2(region, image.grid), image.grid.spacing_mm
    whole_ml = volume_ml(areas, slice_thickness_mm([(column, row, z)]))
    return {
        "n_tumour_slices": int(np.count_nonzero(areas)),
        "n_chosen": len(reading.chosen),
        "tumour_volume_ml": round(whole_ml, 3),
    }


def _with_all_voxels(report: ScanReport, image: VolumeFile) -> ScanReport:
    """Add what only the whole volume shows, which a run does not read."""
    try:
        stored = image.read()
    except VolumeError as error:
        known = Finding(Kind.IMAGE, str(error))
        return report if known in report.findings else report.but(known)
    if stored.dtype.kind == "f":
        n_odd = stored.size - int(np.isfinite(stored).sum())
        if n_odd:
            beyond = Finding(Kind.BEYOND, f"{image.path}: {n_odd} NaN or infinite voxels in the whole volume")
            return report if errors_of(report.findings) else report.but(beyond)
    hu = image.to_hu(stored)
    every = max(1, hu.size // 2_000_000)
    low, middle, high = np.percentile(hu.reshape(-1)[::every], (1, 50, 99)).tolist()
    return replace(report, pixels=slice_digests(hu)).but(hu_p1=low, hu_p50=middle, hu_p99=high)


def _compared(
    report: ScanReport,
    other: tuple[str, str] | None,
    section: ExtractSection,
) -> ScanReport:
    if other is None:
        return report
    kind = Kind.SHARED_ALLOWED if section.shared_images == "allow" else Kind.SHARED
    shared = describe_shared((report.patient_id, report.phase), other)
    return report.but(Finding(kind, shared), duplicate_of=" ".join(other))


def _with_order(report: ScanReport, orders: Mapping[tuple[str, str], str], roles: PhaseRoles) -> ScanReport:
    order = orders.get((report.patient_id, report.phase))
    if report.liver_hu is not None and not roles.without_role([report.phase]):
        report = report.but(phase_plausible=order is None)
    return report.but(Finding(Kind.ORDER, order)) if order else report
