"""The run of stage 1: plan, skip what is done, prepare ahead, embed, write bags."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from rich.console import Console

from extract.config import ExtractConfig
from extract.doctor import require_right_numbers
from extract.duplicates import PixelMemory
from extract.earlier_bags import check_reachable, set_aside, take_back
from extract.findings import TABLE, Finding, Key, warning_lines
from extract.fingerprints import FileHashes
from extract.opened_encoder import check_encoders, open_encoder
from extract.ordered_writer import OrderedWriter
from extract.planning import NO_SCAN, Job, Memory, lacking
from extract.progress import RunProgress
from extract.radiomics_workers import RadiomicsWorkers
from extract.record import RunRecord, RunResult
from extract.regions import Ranges, ranges_of
from extract.slice_supply import SliceSupply
from extract.variant_run import Shared, VariantRun
from extract.variants import Experiment, Variant
from pipeline.bags import Bag, bag_path, read_bag, read_header, write_bag
from pipeline.cohort import Cohort, read_cohort
from pipeline.errors import BagError, ScanError
from pipeline.files import sweep_partials
from pipeline.run_log import say
from pipeline.store import SliceStore


def run_extraction(config: ExtractConfig, console: Console) -> RunResult:
    """Embed the cohort of a configuration into bags; faults of single scans are recorded and the rest goes on.

    Raises:
        PhasemilError: the cohort table, the configuration or the weights cannot be used at all.
    """
    return run_variants(Experiment.of(config), console)[""]


def run_variants(
    experiment: Experiment, console: Console, names: Sequence[str] = ()
) -> Mapping[str, RunResult]:
    """Embed the cohort once for each variant, or each of some names, over slices that are prepared once.

    Returns:
        variant -> what was done; the name is "" for a configuration without variants.

    Raises:
        PhasemilError: the cohort table, the configuration or the weights of a variant cannot be used at all.
    """
    require_right_numbers()
    chosen, config = experiment.chosen(names), experiment.config
    cohort = read_cohort(config.cohort)
    ranges = ranges_of(config, cohort)
    for folder in (config.output, config.store_path.parent, config.store_path, *(v.folder for v in chosen)):
        sweep_partials(folder)
    if len(chosen) > 1:
        check_encoders(chosen)
    shared = _SharedOnDisk.of(experiment, cohort, ranges)
    results = {}
    with closing(shared.supply):
        for variant in chosen:
            if variant.name:
                say(console, f"variant {variant.name}")
            results[variant.name] = _run_variant(variant, shared, console)
    return results


@dataclass(frozen=True, eq=False, kw_only=True)
class _SharedOnDisk(Shared):
    """What all variants of a run have in common, with what lies beside the bags and the store.

    Attributes:
        record: excluded.csv and the findings.
        said: lines that were printed; what holds for all variants is said once.
    """

    record: RunRecord
    said: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, experiment: Experiment, cohort: Cohort, ranges: Ranges) -> "_SharedOnDisk":
        """Open the memory and the store of an experiment."""
        config = experiment.config
        store = config.store_path
        hashes, pixels = store.with_name("fingerprints.json"), store.with_name("slice_hashes.txt")
        memory = Memory(FileHashes(hashes), PixelMemory(pixels))
        used = SliceStore(store) if config.extract.store else None
        settings = experiment.preparation
        workers = (
            None
            if settings.radiomics is None
            else RadiomicsWorkers(settings.radiomics, config.extract.workers)
        )
        supply = SliceSupply(used, settings, memory.pixels, workers)
        record = RunRecord(config.bags_folder, experiment.names)
        return cls(cohort, ranges, memory, supply, record=record)


def _run_variant(variant: Variant, shared: _SharedOnDisk, console: Console) -> RunResult:
    cohort, section = shared.cohort, variant.config.extract
    opened = open_encoder(section, console)
    result = RunResult.of_table(cohort.exclusions)
    with (
        RunProgress(console, shared.said if variant.name else None) as progress,
        ThreadPoolExecutor(section.workers) as pool,
        _record_written(
            _RunOnDisk(
                variant.config,
                shared,
                opened,
                result,
                progress,
                pool,
                folder=variant.folder,
                variant=variant.name,
                record=shared.record,
            )
        ) as run,
    ):
        run.note_table(cohort)
        try:
            run.embed(run.plan(cohort.patients))
            late = run.patients_sharing_pixels()
            if late:  # Decoding has shown it after their bags were written.
                run.embed(run.plan(cohort.patients, only=late))
            run.store_again()
            for line in warning_lines(run.log, TABLE):
                progress.say(line)
        finally:
            # After Ctrl-C nobody waits for scans that are not needed any more.
            pool.shutdown(wait=False, cancel_futures=True)
    return result


@contextmanager
def _record_written(run: "_RunOnDisk") -> Iterator["_RunOnDisk"]:
    """Write excluded.csv and the findings at the end of a run, however it ends."""
    try:
        yield run
    except BaseException:
        with suppress(
            OSError
        ):  # the disk that ended the run may refuse these too; the run's end is what is told
            run.write_record()
        raise
    run.write_record()


@dataclass(frozen=True, eq=False, kw_only=True)
class _RunOnDisk(VariantRun):
    """A run whose bags are written to a folder.

    Attributes:
        folder: of the bags.
        variant: its name.
        record: excluded.csv and the findings.
    """

    folder: Path
    variant: str
    record: RunRecord
    not_stored: list[Job] = field(default_factory=list)
    """Patients whose bag is done, and whose slices are missing from the store."""

    @cached_property
    def earlier(self) -> Mapping[str, Sequence[tuple[Key, Finding]]]:
        """Findings of the last run, for patients whose bags are done already."""
        return self.record.earlier(self.variant)

    def write_record(self) -> None:
        """Write excluded.csv and the findings."""
        self.record.write(self.variant, self.result.exclusions, self.log)

    def look_over(self, jobs: Sequence[Job]) -> None:
        """Refuse to go on when scans of earlier bags are not there any more, unless the configuration says otherwise."""
        if self.config.extract.unreachable == "stop":
            check_reachable(jobs, self.folder, self.shared.memory.hashes)

    def is_done(self, job: Job) -> bool:
        """Return whether the bag of a job is there, with the same key and phases."""
        path = bag_path(self.folder, job.patient.patient_id)
        if take_back(path, job.content_key):
            self.progress.say(
                f"patient {job.patient.patient_id}: its bag was set aside and fits again; taken back"
            )
        try:
            header = read_bag(path).header if path.exists() else None
        except BagError:
            return False
        # The key says nothing of the phase names, which the index of a phase counts in. A bag of version 1 with this key
        # reads as the one that would be written now, so its version alone makes no bag anew.
        return (
            header is not None
            and header.content_key == job.content_key
            and header.phase_names == self.config.cohort.phases
        )

    def skip(self, job: Job) -> None:
        """Count a patient as done, and repeat what its bag says about phases that could not be used."""
        patient = job.patient
        if self.shared.supply.lacks(job):
            self.not_stored.append(job)
        missing = read_header(bag_path(self.folder, patient.patient_id)).phases_missing
        known = self.result.excluded_keys
        found = self.earlier.get(patient.patient_id, ())
        for key, finding in found:
            if key not in known:
                self.log.add(key, finding)
        for phase, reason in missing.items():
            key = (patient.patient_id, phase)
            if reason != NO_SCAN and key not in known:
                fault = ScanError(reason, patient_id=patient.patient_id, phase=phase)
                self.exclude(fault, *(finding for of, finding in found if of == key))
        problem = lacking(self.config.cohort.phases, missing, self.config.extract.missing_phases)
        if problem:
            self.exclude_patient(patient, problem)
        else:
            self.result.skipped.append(patient.patient_id)

    def store_again(self) -> None:
        """Prepare the slices of patients that are done but not in the store, such as after a full disk or when it was deleted."""
        if not self.not_stored:
            return
        self.progress.say(
            f"{len(self.not_stored)} patients done before lack their slices in the store; preparing them again"
        )
        supply = self.shared.supply
        with OrderedWriter() as writer:
            for job in self.not_stored:
                supply.keep(job, supply.begin(job, self.pool, self.progress.say)(), writer)

    def set_aside(self, patient_id: str) -> None:
        """Rename an earlier bag."""
        aside = set_aside(bag_path(self.folder, patient_id))
        if aside is not None:
            self.progress.say(f"patient {patient_id}: left out; its earlier bag was renamed to {aside.name}")

    def keep(self, bag: Bag) -> None:
        """Write a bag."""
        write_bag(self.folder, bag)
