"""The run of stage 1: plan, skip what is done, prepare ahead, embed, write bags."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from extract.bagging import constant_phases, make_bag, without_phases
from extract.checks import doubtful_scans, finding_of
from extract.config import ExtractConfig
from extract.doctor import require_right_numbers
from extract.duplicates import PixelMemory, describe_shared
from extract.earlier_bags import check_reachable, set_aside, take_back
from extract.embed import PreparedPatient, embed_patients
from extract.findings import TABLE, Finding, FindingLog, Key, Kind, warning_lines
from extract.fingerprints import FileHashes
from extract.opened_encoder import OpenedEncoder, check_encoders, open_encoder
from extract.ordered_writer import PATIENTS_AHEAD, OrderedWriter
from extract.phases import implausible_order, order_not_checked
from extract.planning import NO_SCAN, Job, Memory, lacking, plan_jobs, shared_scans
from extract.prepare import Preparation
from extract.progress import RunProgress
from extract.radiomics_workers import RadiomicsWorkers
from extract.record import RunRecord, RunResult
from extract.reference import remark_on
from extract.regions import Ranges, ranges_of
from extract.slice_supply import SliceSupply, fitted
from extract.variants import Experiment, Variant
from pipeline.bags import Bag, bag_path, read_bag, read_header, write_bag
from pipeline.cohort import Cohort, Exclusion, Patient, read_cohort
from pipeline.errors import BagError, ImageError, ScanError
from pipeline.files import sweep_partials
from pipeline.phase_roles import PhaseRoles, phase_roles
from pipeline.run_log import detail, say
from pipeline.slices import PhaseSlices
from pipeline.store import SliceStore, StoredPatient

STAGE = "extract"


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
    shared = _Shared.of(experiment, cohort, ranges)
    results = {}
    with closing(shared.supply):
        for variant in chosen:
            if variant.name:
                say(console, f"variant {variant.name}")
            results[variant.name] = _run_variant(variant, shared, console)
    return results


@dataclass(frozen=True, eq=False)
class _Shared:
    """What all variants of a run have in common.

    Attributes:
        cohort: its table.
        ranges: of z, where the configuration has some.
        memory: hashes of files and of decoded slices, which lie beside the store.
        supply: the prepared slices.
        record: excluded.csv and the findings.
        said: lines that were printed; what holds for all variants is said once.
    """

    cohort: Cohort
    ranges: Ranges
    memory: Memory
    supply: SliceSupply
    record: RunRecord
    said: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, experiment: Experiment, cohort: Cohort, ranges: Ranges) -> "_Shared":
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
        return cls(cohort, ranges, memory, supply, RunRecord(config.bags_folder, experiment.names))


def _run_variant(variant: Variant, shared: _Shared, console: Console) -> RunResult:
    cohort, section = shared.cohort, variant.config.extract
    opened = open_encoder(section, console)
    result = RunResult.of_table(cohort.exclusions)
    with (
        RunProgress(console, shared.said if variant.name else None) as progress,
        ThreadPoolExecutor(section.workers) as pool,
        _record_written(_Run(variant, shared, opened, result, progress, pool)) as run,
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
def _record_written(run: "_Run") -> Iterator["_Run"]:
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


@dataclass(frozen=True, eq=False)
class _Run:
    """The run of one variant in progress."""

    variant: Variant
    shared: _Shared
    opened: OpenedEncoder
    result: RunResult
    progress: RunProgress
    pool: ThreadPoolExecutor
    planned: dict[str, Job] = field(default_factory=dict)
    log: FindingLog = field(default_factory=FindingLog)
    not_stored: list[Job] = field(default_factory=list)
    """Patients whose bag is done, and whose slices are missing from the store."""

    @property
    def config(self) -> ExtractConfig:
        """The configuration of the variant."""
        return self.variant.config

    @cached_property
    def roles(self) -> PhaseRoles:
        """Which phase is arterial, portal venous and so on."""
        return phase_roles(self.config.cohort)

    @cached_property
    def earlier(self) -> Mapping[str, Sequence[tuple[Key, Finding]]]:
        """Findings of the last run, for patients whose bags are done already."""
        return self.shared.record.earlier(self.variant.name)

    def write_record(self) -> None:
        """Write excluded.csv and the findings."""
        self.shared.record.write(self.variant.name, self.result.exclusions, self.log)

    def note_table(self, cohort: Cohort) -> None:
        """Add the findings of the cohort table, and print how it was read."""
        for notice in cohort.notices:
            self.progress.say(notice)
        unchecked = order_not_checked(cohort, self.roles)
        if unchecked:
            self.progress.say(unchecked)
        for exclusion in cohort.exclusions:
            self.log.add((exclusion.patient_id, exclusion.phase), Finding(Kind.COHORT, exclusion.reason))
        for key, findings in doubtful_scans(cohort).items():
            self.log.add(key, *findings)

    def plan(self, patients: tuple[Patient, ...], only: frozenset[str] | None = None) -> list[Job]:
        """Hash every file and return the jobs that are not done yet, of some patients or of all."""
        self.progress.start_reading(len(patients if only is None else only))
        waiting = []
        memory = self.shared.memory
        planned = plan_jobs(
            patients,
            self.config.extract,
            self.opened.recipe,
            memory,
            self.pool,
            ranges=self.shared.ranges,
            stored=self.shared.supply.settings,
        )
        jobs = [job for job in planned if only is None or job.patient.patient_id in only]
        if self.config.extract.unreachable == "stop":
            check_reachable(jobs, self.variant.folder, memory.hashes)
        for job in jobs:
            self.planned[job.patient.patient_id] = job
            self.progress.has_read(job.patient.patient_id)
            for fault in job.faults.values():
                self._exclude(fault)
            if not job.plans:
                self._exclude_patient(job.patient)
            elif self._is_done(job):
                self._skip(job.patient)
                if self.shared.supply.lacks(job):
                    self.not_stored.append(job)
            else:
                waiting.append(job)
        memory.hashes.save()
        return waiting

    def patients_sharing_pixels(self) -> frozenset[str]:
        """Return the patients whose plan changes because decoded slices are shared; warn if sharing is allowed."""
        shared = shared_scans(self.planned.values(), self.shared.memory.pixels)
        if self.config.extract.shared_images == "refuse":
            late = frozenset(patient_id for patient_id, _ in shared)
            self.result.forget(late)
            return late
        for key, other in shared.items():
            self.log.add(key, Finding(Kind.SHARED_ALLOWED, describe_shared(key, other)))
        return frozenset()

    def embed(self, jobs: list[Job]) -> None:
        """Prepare patients ahead in threads, embed them in batches, and write in a thread."""
        self.progress.start_embedding(len(jobs), len(self.result.skipped))
        encoder, readout, recipe = self.opened.encoder, self.opened.readout, self.opened.recipe
        with OrderedWriter() as writer:
            prepared = self._prepared(jobs, writer)
            for patient, features in embed_patients(prepared, encoder, self.config.extract, readout):
                kept, rows = self._without_constant(patient, features)
                if kept.phases:
                    bag = make_bag(self.config, recipe, readout.blocks, kept, rows)
                    writer.submit(partial(self._write, bag))

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

    def _without_constant(
        self, patient: PreparedPatient, features: NDArray[np.float32]
    ) -> tuple[PreparedPatient, NDArray[np.float32]]:
        """Leave out phases on which the encoder saw nothing, and the patient where too little is left."""
        n_scales = len(self.config.extract.input.scales_mm)
        constant = constant_phases(patient, features, n_scales)
        if not constant:
            return patient, features
        patient_id = patient.patient.patient_id
        for phase, reason in constant.items():
            fault = ImageError(reason, patient_id=patient_id, phase=phase)
            self._exclude(fault, Finding(Kind.CONSTANT, reason))
        left, rows = without_phases(patient, features, n_scales, constant)
        problem = lacking(self.config.cohort.phases, left.missing, self.config.extract.missing_phases)
        if left.phases and not problem:
            return left, rows
        self._exclude_patient(patient.patient, problem or "no phase could be used")
        self.progress.has_embedded(0)
        return replace(left, phases=()), rows

    def _exclude(self, fault: ScanError, *findings: Finding) -> None:
        """Record the fault of one scan and say it in one line."""
        self.log.add((fault.patient_id, fault.phase), *(findings or (finding_of(fault),)))
        if self.result.exclude(Exclusion(fault.patient_id, fault.phase, STAGE, fault.reason)):
            self.result.n_faults += 1
            self.progress.say(str(fault))

    def _exclude_patient(self, patient: Patient, reason: str = "no phase could be used") -> None:
        """Record that a patient is left out; a bag of an earlier run is set aside, lest stage 2 takes it."""
        self.result.exclude(Exclusion(patient.patient_id, "", STAGE, reason))
        aside = set_aside(bag_path(self.variant.folder, patient.patient_id))
        if aside is not None:
            self.progress.say(
                f"patient {patient.patient_id}: left out; its earlier bag was renamed to {aside.name}"
            )

    def _is_done(self, job: Job) -> bool:
        path = bag_path(self.variant.folder, job.patient.patient_id)
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

    def _skip(self, patient: Patient) -> None:
        """Count a patient as done, and repeat what its bag says about phases that could not be used."""
        missing = read_header(bag_path(self.variant.folder, patient.patient_id)).phases_missing
        known = self.result.excluded_keys
        found = self.earlier.get(patient.patient_id, ())
        for key, finding in found:
            if key not in known:
                self.log.add(key, finding)
        for phase, reason in missing.items():
            key = (patient.patient_id, phase)
            if reason != NO_SCAN and key not in known:
                fault = ScanError(reason, patient_id=patient.patient_id, phase=phase)
                self._exclude(fault, *(finding for of, finding in found if of == key))
        problem = lacking(self.config.cohort.phases, missing, self.config.extract.missing_phases)
        if problem:
            self._exclude_patient(patient, problem)
        else:
            self.result.skipped.append(patient.patient_id)

    def _prepared(self, jobs: Iterable[Job], writer: OrderedWriter) -> Iterator[PreparedPatient]:
        """Yield the patients in order while the next ones are prepared in threads."""
        ahead: deque[Callable[[], StoredPatient]] = deque()
        order: deque[Job] = deque()
        for job in jobs:
            order.append(job)
            ahead.append(self.shared.supply.begin(job, self.pool, self.progress.say))
            if len(ahead) > PATIENTS_AHEAD:
                yield from self._usable(order.popleft(), ahead.popleft()(), writer)
        while ahead:
            yield from self._usable(order.popleft(), ahead.popleft()(), writer)

    def _usable(self, job: Job, found: StoredPatient, writer: OrderedWriter) -> Iterator[PreparedPatient]:
        """Record the faults of a prepared patient, and yield it unless nothing or too little is left."""
        patient_id = job.patient.patient_id
        findings = {phase: _findings(pairs) for phase, pairs in found.remarks.items()}
        for phase, of_phase in findings.items():
            self.log.add((patient_id, phase), *of_phase)
        for phase, reason in found.faults.items():
            fault = ScanError(reason, patient_id=patient_id, phase=phase)
            self._exclude(fault, *findings.get(phase, ()))
        phases = fitted(found.phases, self.shared.supply.settings, Preparation.of(self.config.extract))
        self._note_order(patient_id, phases)
        for slices in phases:
            remark = remark_on(slices, self.config.extract.input)
            if remark:
                self.log.add((patient_id, slices.phase), Finding(Kind.REFERENCE, remark))
        reasons = {**{phase: fault.reason for phase, fault in job.faults.items()}, **found.faults}
        present = {phase.phase for phase in phases}
        names = self.config.cohort.phases
        missing = {name: reasons.get(name, NO_SCAN) for name in names if name not in present}
        self.shared.supply.keep(job, found, writer)
        problem = lacking(names, missing, self.config.extract.missing_phases)
        if problem or not phases:
            self._exclude_patient(job.patient, problem or "no phase could be used")
            self.progress.has_embedded(0)
        else:
            yield PreparedPatient(job.patient, phases, missing, job.content_key)

    def _note_order(self, patient_id: str, phases: Iterable[PhaseSlices]) -> None:
        """Note which phases of a prepared patient enhance in an order that no timing explains."""
        liver_hu = {(patient_id, p.phase): p.liver_hu for p in phases if p.liver_hu is not None}
        for key, reason in implausible_order(liver_hu, self.roles).items():
            self.log.add(key, Finding(Kind.ORDER, reason))

    def _write(self, bag: Bag) -> None:
        write_bag(self.variant.folder, bag)
        self.result.written.append(bag.patient_id)
        detail(f"bag {len(self.result.written)} written: {len(bag)} slices")
        self.result.n_slices += len(bag)
        self.progress.has_embedded(len(bag))


def _findings(pairs: Iterable[Sequence[str]]) -> tuple[Finding, ...]:
    return tuple(Finding(Kind(kind), reason) for kind, reason in pairs)
