"""What a run has to do: every patient with its region plans, hashes, keys, and whether it is done already."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from extract.config import ExtractSection, Required
from extract.fingerprints import FileHashes, fingerprint, shared_images
from extract.prepare import Fingerprint, Preparation
from extract.regions import RegionPlan, plan_region, read_ranges
from pipeline.bags import Recipe
from pipeline.cohort import Patient
from pipeline.errors import ImageError, ScanError
from pipeline.provenance import sha256_of_json

NO_SCAN = "no scan in the cohort table"


@dataclass(frozen=True, eq=False)
class Job:
    """One patient to be embedded.

    Attributes:
        patient: the row of the cohort.
        plans: phase -> where its region comes from, for the scans whose files could be read.
        fingerprints: phase -> hashes, of the same phases.
        faults: phase -> what is wrong, of the others.
        prepared_key: hash of everything that decides the prepared slices.
        content_key: hash of everything that decides the bag.
    """

    patient: Patient
    plans: Mapping[str, RegionPlan]
    fingerprints: Mapping[str, Fingerprint]
    faults: Mapping[str, ScanError]
    prepared_key: str
    content_key: str


def plan_jobs(
    patients: Sequence[Patient], section: ExtractSection, recipe: Recipe, hashes: FileHashes, pool: Executor
) -> Iterable[Job]:
    """Hash the files of every patient in threads and plan its job; yields in order.

    Raises:
        CohortError: the table of z ranges cannot be used.
    """
    ranges = read_ranges(section.slices.z_ranges)
    plans = {
        patient.patient_id: {
            phase: plan_region(patient, phase, section.slices, section.masks, ranges)
            for phase in patient.scans
        }
        for patient in patients
    }

    def hashed(patient: Patient) -> Mapping[str, Fingerprint | ScanError]:
        return {phase: fingerprint(plan, hashes) for phase, plan in plans[patient.patient_id].items()}

    found = {p.patient_id: f for p, f in zip(patients, pool.map(hashed, patients), strict=True)}
    if section.shared_images == "refuse":
        found = _without_shared(found, patients)
    settings = Preparation.of(section)
    for patient in patients:
        yield _job(patient, plans[patient.patient_id], found[patient.patient_id], settings, recipe)


def lacking(names: Iterable[str], missing: Mapping[str, str], policy: str | Required) -> str | None:
    """Say why a patient falls out by the policy for missing phases; None when it stays."""
    wanted = names if policy == "drop" else policy.require if isinstance(policy, Required) else ()
    for phase in wanted:
        if phase in missing:
            told = policy if isinstance(policy, str) else f"require {', '.join(policy.require)}"
            return f"lacks phase {phase} ({missing[phase]}); missing_phases is {told}"
    return None


def _without_shared(
    found: Mapping[str, Mapping[str, Fingerprint | ScanError]], patients: Iterable[Patient]
) -> dict[str, Mapping[str, Fingerprint | ScanError]]:
    images = {
        (patient_id, phase): f.image
        for patient_id, phases in found.items()
        for phase, f in phases.items()
        if isinstance(f, Fingerprint)
    }
    kept: dict[str, dict[str, Fingerprint | ScanError]] = {key: dict(value) for key, value in found.items()}
    scans = {(p.patient_id, phase): scan for p in patients for phase, scan in p.scans.items()}
    for (patient_id, phase), other in shared_images(images).items():
        message = (
            f"{scans[patient_id, phase].image}: expected an image of this scan alone, found the same image under "
            f"patient {other[0]}, phase {other[1]}; correct the cohort table, or set [extract] shared_images = 'allow'"
        )
        kept[patient_id][phase] = ImageError(message, patient_id=patient_id, phase=phase)
    return dict(kept)


def _job(
    patient: Patient,
    plans: Mapping[str, RegionPlan],
    found: Mapping[str, Fingerprint | ScanError],
    settings: Preparation,
    recipe: Recipe,
) -> Job:
    good = {phase: f for phase, f in found.items() if isinstance(f, Fingerprint)}
    scans = {
        phase: {
            "image": f.image,
            "mask": f.mask,
            "mask_source": plans[phase].mask_source,
            "overrides": [vars(plans[phase].scan.overrides), vars(plans[phase].drawn.overrides)],
        }
        for phase, f in good.items()
    }
    prepared_key = sha256_of_json({"scans": scans, "settings": settings.as_json()})
    return Job(
        patient=patient,
        plans={phase: plans[phase] for phase in good},
        fingerprints=good,
        faults={phase: f for phase, f in found.items() if isinstance(f, ScanError)},
        prepared_key=prepared_key,
        content_key=sha256_of_json([prepared_key, recipe.key, patient.patient_id]),
    )
