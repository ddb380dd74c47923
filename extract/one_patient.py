"""Stage 1 for one patient in memory: scans in, bags and slices out, nothing is written."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field

from rich.console import Console

from extract.duplicates import PixelMemory
from extract.fingerprints import FileHashes
from extract.opened_encoder import OpenedEncoder
from extract.planning import Job, Memory
from extract.progress import RunProgress
from extract.radiomics_workers import RadiomicsWorkers
from extract.record import RunResult
from extract.regions import Ranges
from extract.slice_supply import SliceSupply
from extract.variant_run import Shared, VariantRun
from extract.variants import Experiment, Variant
from pipeline.bags import Bag
from pipeline.cohort import Cohort
from pipeline.errors import CohortError, Mistakes, ScanError
from pipeline.store import StoredPatient


@dataclass(frozen=True, eq=False)
class EmbeddedPatient:
    """What stage 1 makes of one patient.

    Attributes:
        bags: variant -> bag; the name is "" for a configuration without variants.
        slices: prepared from the scans, for measures and pictures.
        remarks: (phase, what was found) of scans that can be used.
    """

    bags: Mapping[str, Bag]
    slices: StoredPatient
    remarks: tuple[tuple[str, str], ...]


@dataclass(eq=False)
class _SlicesInMemory:
    """The slices of the patients of a run."""

    kept: dict[str, StoredPatient] = field(default_factory=dict)

    def key_of(self, patient_id: str) -> str | None:
        return self.kept[patient_id].key if patient_id in self.kept else None

    def holds(self, patient_id: str, key: str) -> bool:
        return self.key_of(patient_id) == key

    def read(self, patient_id: str) -> StoredPatient:
        return self.kept[patient_id]

    def write(self, patient_id: str, patient: StoredPatient) -> None:
        self.kept[patient_id] = patient


@dataclass(frozen=True, eq=False)
class _RunInMemory(VariantRun):
    """A run whose bags stay in memory."""

    bags: list[Bag] = field(default_factory=list)

    def is_done(self, job: Job) -> bool:
        del job
        return False

    def look_over(self, jobs: Sequence[Job]) -> None:
        del jobs  # there are no earlier bags

    def skip(self, job: Job) -> None:
        raise AssertionError(f"{job.patient.patient_id}: nobody is done before the run")

    def set_aside(self, patient_id: str) -> None:
        del patient_id  # there is no earlier bag

    def keep(self, bag: Bag) -> None:
        self.bags.append(bag)


def embed_one_patient(
    experiment: Experiment, cohort: Cohort, ranges: Ranges, opened: Mapping[str, OpenedEncoder]
) -> EmbeddedPatient:
    """Embed the only patient of a cohort as a run of the experiment would, and keep everything in memory.

    Args:
        experiment: whose paths are not used.
        cohort: of one patient.
        ranges: of z, where the configuration asks for some.
        opened: variant -> its encoder.

    Raises:
        ScanError: a scan cannot be used; SeveralMistakesError: several cannot.
        CohortError: a row of the cohort cannot be used, or the patient lacks a phase that the configuration asks for.
    """
    (patient,) = cohort.patients
    config, kept = experiment.config, _SlicesInMemory()
    settings = experiment.preparation
    memory = Memory(FileHashes(None), PixelMemory(None))
    workers = (
        None if settings.radiomics is None else RadiomicsWorkers(settings.radiomics, config.extract.workers)
    )
    supply = SliceSupply(kept, settings, memory.pixels, workers)
    shared = Shared(cohort, ranges, memory, supply)
    bags: dict[str, Bag] = {}
    remarks: dict[tuple[str, str], None] = {}
    with closing(supply):
        for variant in experiment.variants:
            bags[variant.name] = _embedded(variant, shared, opened[variant.name], remarks)
    return EmbeddedPatient(bags, kept.read(patient.patient_id), tuple(remarks))


def _embedded(
    variant: Variant, shared: Shared, opened: OpenedEncoder, remarks: dict[tuple[str, str], None]
) -> Bag:
    """Return the bag of the only patient in one variant; what was found of its scans is added to the remarks."""
    cohort, section = shared.cohort, variant.config.extract
    result = RunResult.of_table(cohort.exclusions)
    with RunProgress(Console(quiet=True)) as progress, ThreadPoolExecutor(section.workers) as pool:
        run = _RunInMemory(variant.config, shared, opened, result, progress, pool)
        run.note_table(cohort)
        run.embed(run.plan(cohort.patients))
        if run.patients_sharing_pixels():  # two of the phases show the same
            run.bags.clear()
            run.embed(run.plan(cohort.patients))
    _refuse_exclusions(result)
    remarks.update(dict.fromkeys((phase, finding.reason) for (_, phase), finding in run.log))
    (bag,) = run.bags
    return bag


def _refuse_exclusions(result: RunResult) -> None:
    """Refuse a patient of whom not everything that was given can be used."""
    mistakes = Mistakes()
    of_scans = [one for one in result.exclusions if one.phase]
    for one in of_scans or result.exclusions:
        if one.phase:
            mistakes.add(ScanError(one.reason, patient_id=one.patient_id, phase=one.phase))
        else:
            mistakes.add(CohortError(f"patient {one.patient_id}: {one.reason}"))
    mistakes.raise_all()
