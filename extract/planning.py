"""The plan of a run: every patient with region plans, hashes, keys, and whether the bag is done already."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from extract.config import ExtractSection, Required
from extract.duplicates import Key, PixelMemory, describe_shared, shared_pixels
from extract.fingerprints import FileHashes, fingerprint
from extract.prepare import Fingerprint, Preparation
from extract.regions import Ranges, RegionPlan, plan_region
from pipeline.bags import Recipe
from pipeline.cohort import Patient
from pipeline.errors import ScanError, SharedPixelsError
from pipeline.provenance import sha256_of_json

NO_SCAN = "no scan in the cohort table"


@dataclass(frozen=True, eq=False)
class Job:
    """One patient to be embedded.

    Attributes:
        patient: the row of the cohort.
        plans: phase -> where its region comes from, for the scans whose files could be read.
        fingerprints: phase -> hashes, of the same phases.
        faults: phase -> what is wrong, for the other phases.
        prepared_key: hash of everything that decides the prepared slices in the store.
        content_key: hash of everything that decides the bag.
    """

    patient: Patient
    plans: Mapping[str, RegionPlan]
    fingerprints: Mapping[str, Fingerprint]
    faults: Mapping[str, ScanError]
    prepared_key: str
    content_key: str


@dataclass(frozen=True, eq=False)
class Memory:
    """Hashes of files and of decoded slices, from this run and earlier ones."""

    hashes: FileHashes
    pixels: PixelMemory


def plan_jobs(
    patients: Sequence[Patient],
    section: ExtractSection,
    recipe: Recipe,
    memory: Memory,
    pool: Executor,
    *,
    ranges: Ranges,
    stored: Preparation,
) -> Iterable[Job]:
    """Hash the files of every patient in threads and plan its job; yields in order.

    `stored` is what the slice store holds: squares at least as large as those of `section`. A scan whose pixels also occur in another scan is a fault, unless the configuration allows it.
    """
    plans = {
        patient.patient_id: {
            phase: plan_region(patient, phase, section.slices, section.masks, ranges)
            for phase in patient.scans
        }
        for patient in patients
    }

    def hashed(patient: Patient) -> Mapping[str, Fingerprint | ScanError]:
        return {phase: fingerprint(plan, memory.hashes) for phase, plan in plans[patient.patient_id].items()}

    found = {p.patient_id: f for p, f in zip(patients, pool.map(hashed, patients), strict=True)}
    if section.shared_images == "refuse":
        found = _without_shared(found, memory.pixels)
    for patient in patients:
        key = patient.patient_id
        yield _job(patient, plans[key], found[key], recipe, own=Preparation.of(section), stored=stored)


def lacking(names: Iterable[str], missing: Mapping[str, str], policy: str | Required) -> str | None:
    """Return why a patient is left out by the policy for missing phases; None if it is kept."""
    wanted = names if policy == "drop" else policy.require if isinstance(policy, Required) else ()
    for phase in wanted:
        if phase in missing:
            told = policy if isinstance(policy, str) else f"require {', '.join(policy.require)}"
            return f"lacks phase {phase} ({missing[phase]}); missing_phases is {told}"
    return None


def shared_scans(jobs: Iterable[Job], pixels: PixelMemory) -> Mapping[Key, Key]:
    """Find the scans of jobs with pixels in common, among the slices decoded so far."""
    return shared_pixels(
        {
            (job.patient.patient_id, phase): pixels.of(found.image)
            for job in jobs
            for phase, found in job.fingerprints.items()
        }
    )


def _without_shared(
    found: Mapping[str, Mapping[str, Fingerprint | ScanError]], pixels: PixelMemory
) -> dict[str, Mapping[str, Fingerprint | ScanError]]:
    digests = {
        (patient_id, phase): pixels.of(f.image)
        for patient_id, phases in found.items()
        for phase, f in phases.items()
        if isinstance(f, Fingerprint)
    }
    kept = {patient_id: dict(phases) for patient_id, phases in found.items()}
    for (patient_id, phase), other in shared_pixels(digests).items():
        reason = describe_shared((patient_id, phase), other)
        kept[patient_id][phase] = SharedPixelsError(reason, patient_id=patient_id, phase=phase)
    return dict(kept)


def _job(
    patient: Patient,
    plans: Mapping[str, RegionPlan],
    found: Mapping[str, Fingerprint | ScanError],
    recipe: Recipe,
    *,
    own: Preparation,
    stored: Preparation,
) -> Job:
    good = {phase: f for phase, f in found.items() if isinstance(f, Fingerprint)}
    scans = {
        phase: {
            "image": f.image,
            "mask": f.mask,
            "organ": f.organ,
            "mask_source": plans[phase].mask_source,
            "mask_labels": plans[phase].drawn.mask_labels,
            "overrides": [vars(plans[phase].scan.overrides), vars(plans[phase].drawn.overrides)],
        }
        for phase, f in good.items()
    }
    # A bag does not depend on the squares of other variants, so that another one does not make it anew.
    own_key, stored_key = (
        sha256_of_json({"scans": scans, "settings": one.as_json()}) for one in (own, stored)
    )
    return Job(
        patient=patient,
        plans={phase: plans[phase] for phase in good},
        fingerprints=good,
        faults={phase: f for phase, f in found.items() if isinstance(f, ScanError)},
        prepared_key=stored_key,
        content_key=sha256_of_json([own_key, recipe.key, patient.patient_id]),
    )
