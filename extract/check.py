"""The command `extract.py check`: read everything, embed nothing, write cohort_check.csv."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from rich.console import Console
from rich.table import Table

from extract.checks import OK, ScanReport, compare_scans, doubtful_scans, examine_scan
from extract.config import ExtractConfig, Required
from extract.findings import Finding, Kind, Severity, describe_finding, errors_of, reason_of, warning_lines
from extract.fingerprints import FileHashes
from extract.phases import order_not_checked
from extract.planning import NO_SCAN, lacking
from extract.prepare import Preparation
from extract.progress import RunProgress
from extract.radiomics_settings import described_radiomics
from extract.regions import RegionPlan, plan_region, ranges_of
from extract.variants import Variant
from pipeline.cohort import Cohort, Patient, read_cohort
from pipeline.phase_roles import phase_roles
from pipeline.run_log import say
from pipeline.tables import write_table

_FACTS = (
    "shape",
    "spacing_mm",
    "thickness_mm",
    "orientation",
    "n_slices",
    "n_tumour_slices",
    "n_chosen",
    "tumour_volume_ml",
    "mask_source",
    "hu_p1",
    "hu_p50",
    "hu_p99",
    "geometry_ok",
    "phase_plausible",
    "image_sha256",
    "duplicate_of",
)
COLUMNS = ("patient_id", "phase", "file", "status", "reason", *_FACTS, "label", "phase_given", "label_given")
TABLE = "cohort_check.csv"
Policy = str | Required
"""Who is kept although phases are missing."""


def check_cohort(
    config: ExtractConfig, console: Console, *, variants: Sequence[Variant] = ()
) -> list[ScanReport]:
    """Check every row of the cohort, write the table and print the summary.

    Args:
        config: of the experiment.
        console: for the summary.
        variants: of the configuration, where there are some: each may have a policy for missing phases of its own.

    Raises:
        PhasemilError: the cohort table or the configuration cannot be used at all.
    """
    cohort = read_cohort(config.cohort)
    for notice in cohort.notices:
        say(console, notice)
    roles = phase_roles(config.cohort)
    unchecked = order_not_checked(cohort, roles)
    if unchecked:
        say(console, unchecked)
    used = [variant.config.extract for variant in variants] or [config.extract]
    wanted = Preparation.for_all(used)
    if wanted.radiomics is not None:
        described_radiomics(
            wanted.radiomics
        )  # a run would refuse where MIRP is not installed, and so does this
    reports = compare_scans(_examined(config, cohort, console, wanted.depth_mm), config.extract, roles)
    reports = _with_names(reports, cohort) + [
        ScanReport(e.patient_id, e.phase, "", (Finding(Kind.COHORT, e.reason),)) for e in cohort.exclusions
    ]
    people = {patient.patient_id: patient for patient in cohort.patients}
    path = config.output / TABLE
    write_table(path, COLUMNS, (_row(report, people.get(report.patient_id)) for report in reports))
    _print_summary(config, _policies(variants or [Variant("", config)]), cohort, reports, console)
    say(console, f"wrote {path}")
    return reports


def has_errors(reports: Iterable[ScanReport]) -> bool:
    """Whether any scan has an error; warnings do not count."""
    return any(report.status == Severity.ERROR for report in reports)


def _examined(config: ExtractConfig, cohort: Cohort, console: Console, depth_mm: float) -> list[ScanReport]:
    section = config.extract
    ranges = ranges_of(config, cohort)
    hashes = FileHashes(config.store_path.with_name("fingerprints.json"))
    plans: list[RegionPlan] = [
        plan_region(patient, phase, section.slices, section.masks, ranges)
        for patient in cohort.patients
        for phase in patient.scans
    ]
    reports = []
    with RunProgress(console) as progress, ThreadPoolExecutor(section.workers) as pool:
        progress.start_reading(len(plans), "scans")
        for report in pool.map(lambda plan: examine_scan(plan, section, hashes, depth_mm), plans):
            progress.has_read(report.patient_id)
            reports.append(report)
    hashes.save()
    return reports


def _with_names(reports: Sequence[ScanReport], cohort: Cohort) -> list[ScanReport]:
    doubts = doubtful_scans(cohort)
    return [report.but(*doubts.get((report.patient_id, report.phase), ())) for report in reports]


def _row(report: ScanReport, patient: Patient | None) -> Mapping[str, object]:
    scan = patient.scans.get(report.phase) if patient else None
    return {
        "patient_id": report.patient_id,
        "phase": report.phase,
        "file": report.file,
        "status": report.status,
        "reason": report.reason,
        **{name: report.facts.get(name) for name in _FACTS},
        "label": (patient.label if patient else None) or "",
        "phase_given": scan.phase_given if scan else report.phase,
        "label_given": patient.label_given if patient else "",
    }


def _print_summary(
    config: ExtractConfig,
    policies: Mapping[str, Policy],
    cohort: Cohort,
    reports: Sequence[ScanReport],
    console: Console,
) -> None:
    usable = {(r.patient_id, r.phase) for r in reports if r.status != Severity.ERROR}
    phases = config.cohort.phases
    table = Table(title=f"{config.name}: usable patients by class and phase")
    for heading in ("class", "patients", *phases, *(f"kept ({text})" for text in policies)):
        table.add_column(heading, justify="left" if heading == "class" else "right")
    for label in (*config.cohort.classes, None):
        members = [p for p in cohort.patients if p.label == label]
        if members or label:
            counts = [sum((p.patient_id, phase) in usable for p in members) for phase in phases]
            kept = [sum(_is_kept(p, usable, phases, policy) for p in members) for policy in policies.values()]
            table.add_row(label or "no label", *map(str, (len(members), *counts, *kept)))
    console.print(table)
    for line in _lines(reports):
        say(console, line)
    found = Counter(report.status for report in reports)
    console.print(
        ", ".join(f"{found[status]} {status}" for status in (OK, Severity.WARNING, Severity.ERROR)),
        highlight=False,
    )


def _lines(reports: Sequence[ScanReport]) -> Iterator[str]:
    """Yield a line for every scan that cannot be used, then the warnings, grouped."""
    for report in reports:
        errors = errors_of(report.findings)
        if errors:
            yield describe_finding(Severity.ERROR, report.patient_id, report.phase, reason_of(errors))
    found = (
        ((report.patient_id, report.phase), finding) for report in reports for finding in report.findings
    )
    yield from warning_lines(found, TABLE)


def _policies(variants: Iterable[Variant]) -> Mapping[str, Policy]:
    """Return each policy for missing phases by its text, after the variants that have it where they differ."""
    found: dict[str, list[Variant]] = {}
    for variant in variants:
        policy = variant.config.extract.missing_phases
        text = policy if isinstance(policy, str) else f"require {', '.join(policy.require)}"
        found.setdefault(text, []).append(variant)
    policies: dict[str, Policy] = {}
    for text, having in found.items():
        names = f"{', '.join(variant.name for variant in having)}: " if len(found) > 1 else ""
        policies[f"{names}{text}"] = having[0].config.extract.missing_phases
    return policies


def _is_kept(patient: Patient, usable: set[tuple[str, str]], phases: Sequence[str], policy: Policy) -> bool:
    present = [phase for phase in phases if (patient.patient_id, phase) in usable]
    missing = {phase: NO_SCAN for phase in phases if phase not in present}
    return bool(present) and not lacking(phases, missing, policy)
