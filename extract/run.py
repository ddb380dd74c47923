"""The run of stage 1: plan, skip what is done, prepare ahead, embed, write bags."""

from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from extract.bagging import constant_phases, make_bag, without_phases
from extract.card_encoder import doubt, encoder_of
from extract.checks import doubtful_scans, finding_of
from extract.config import ExtractConfig
from extract.doctor import require_right_numbers
from extract.duplicates import PixelMemory, describe_shared
from extract.embed import PreparedPatient, embed_patients
from extract.encoders import Encoder, Readout
from extract.findings import TABLE, Finding, FindingLog, Key, Kind, read_findings, warning_lines
from extract.fingerprints import FileHashes
from extract.inputs import preprocessing, regions_left_out
from extract.ordered_writer import PATIENTS_AHEAD, OrderedWriter
from extract.phases import implausible_order, order_not_checked
from extract.planning import NO_SCAN, Job, Memory, lacking, plan_jobs, shared_scans
from extract.prepare import Preparation, PreparedScan, prepare_scan
from extract.progress import RunProgress
from extract.reference import remark_on
from extract.regions import Ranges, ranges_of
from extract.selftest import check_precision
from pipeline.bags import RANDOM_BANNER, Bag, Recipe, bag_path, read_bag, read_header, write_bag
from pipeline.cohort import Cohort, Exclusion, Patient, read_cohort
from pipeline.errors import BagError, ImageError, ScanError, StoreError
from pipeline.files import sweep_partials
from pipeline.phase_roles import PhaseRoles, phase_roles
from pipeline.slices import PhaseSlices
from pipeline.store import SliceStore, StoredPatient
from pipeline.tables import write_table

EXCLUDED_COLUMNS = ("patient_id", "phase", "stage", "reason")
STAGE = "extract"


@dataclass(eq=False)
class RunResult:
    """What a run did.

    Attributes:
        written: patients whose bag was written.
        skipped: patients whose bag was there with the same content key.
        n_slices: instances embedded.
        exclusions: everybody left out, as written to excluded.csv.
        n_faults: exclusions that the configuration did not ask for.
    """

    written: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    n_slices: int = 0
    exclusions: list[Exclusion] = field(default_factory=list)
    n_faults: int = 0

    def forget(self, patient_ids: Container[str]) -> None:
        """Count patients as not done, because they are planned again."""
        self.written = [p for p in self.written if p not in patient_ids]
        self.skipped = [p for p in self.skipped if p not in patient_ids]


def run_extraction(config: ExtractConfig, console: Console) -> RunResult:
    """Embed the cohort of a configuration into bags; faults of single scans are recorded and the rest goes on.

    Raises:
        PhasemilError: the cohort table, the configuration or the weights cannot be used at all.
    """
    require_right_numbers()
    cohort = read_cohort(config.cohort)
    ranges = ranges_of(config, cohort)
    for folder in (config.output, config.bags_folder, config.store_path.parent, config.store_path):
        sweep_partials(folder)
    section = config.extract
    encoder = encoder_of(section)
    readout = encoder.readout(section.input.size_px)
    check_precision(encoder, section.input.size_px)
    recipe = encoder.recipe(preprocessing(section, readout.regions))
    if recipe.has_random_weights:
        console.print(f"[bold red]{RANDOM_BANNER}[/]: the features of {recipe.weights_name} are meaningless")
    for line in filter(None, (doubt(encoder), regions_left_out(section, readout))):
        console.print(line, markup=False, soft_wrap=True)
    result = RunResult(exclusions=list(cohort.exclusions), n_faults=len(cohort.exclusions))
    with (
        RunProgress(console) as progress,
        ThreadPoolExecutor(section.workers) as pool,
        _record_written(_Run(config, encoder, readout, recipe, result, progress, pool, ranges)) as run,
    ):
        run.note_table(cohort)
        try:
            run.embed(run.plan(cohort.patients))
            late = run.patients_sharing_pixels()
            if late:  # Decoding has shown it after their bags were written.
                run.embed(run.plan(cohort.patients, only=late))
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
    """One run in progress."""

    config: ExtractConfig
    encoder: Encoder
    readout: Readout
    recipe: Recipe
    result: RunResult
    progress: RunProgress
    pool: ThreadPoolExecutor
    ranges: Ranges
    planned: dict[str, Job] = field(default_factory=dict)
    log: FindingLog = field(default_factory=FindingLog)

    @cached_property
    def memory(self) -> Memory:
        """Hashes of files and of decoded slices, which lie beside the store."""
        store = self.config.store_path
        return Memory(
            FileHashes(store.with_name("fingerprints.json")), PixelMemory(store.with_name("slice_hashes.txt"))
        )

    @cached_property
    def roles(self) -> PhaseRoles:
        """Which phase is arterial, portal venous and so on."""
        return phase_roles(self.config.cohort)

    @property
    def store(self) -> SliceStore:
        return SliceStore(self.config.store_path)

    @cached_property
    def earlier(self) -> Mapping[str, Sequence[tuple[Key, Finding]]]:
        """Findings of the last run, for patients whose bags are done already."""
        return read_findings(self.config.bags_folder / TABLE)

    def write_record(self) -> None:
        """Write excluded.csv and the findings."""
        folder = self.config.bags_folder
        write_table(folder / "excluded.csv", EXCLUDED_COLUMNS, map(vars, self.result.exclusions))
        self.log.write(folder / TABLE)

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
        section = self.config.extract
        for job in plan_jobs(patients, section, self.recipe, self.memory, self.pool, ranges=self.ranges):
            if only is not None and job.patient.patient_id not in only:
                continue
            self.planned[job.patient.patient_id] = job
            self.progress.has_read(job.patient.patient_id)
            for fault in job.faults.values():
                self._exclude(fault)
            if not job.plans:
                self._exclude_patient(job.patient)
            elif self._is_done(job):
                self._skip(job.patient)
            else:
                waiting.append(job)
        self.memory.hashes.save()
        return waiting

    def patients_sharing_pixels(self) -> frozenset[str]:
        """Return the patients whose plan changes because decoded slices are shared; warn if sharing is allowed."""
        shared = shared_scans(self.planned.values(), self.memory.pixels)
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
        section = self.config.extract
        with OrderedWriter() as writer:
            prepared = self._prepared(jobs, writer)
            for patient, features in embed_patients(prepared, self.encoder, section, self.readout):
                kept, rows = self._without_constant(patient, features)
                if kept.phases:
                    bag = make_bag(self.config, self.recipe, self.readout.blocks, kept, rows)
                    writer.submit(partial(self._write, bag))

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
        exclusion = Exclusion(fault.patient_id, fault.phase, STAGE, fault.reason)
        if exclusion not in self.result.exclusions:  # A patient that is planned again repeats its faults.
            self.result.exclusions.append(exclusion)
            self.result.n_faults += 1
            self.progress.say(str(fault))

    def _exclude_patient(self, patient: Patient, reason: str = "no phase could be used") -> None:
        """Record that a patient is left out; a bag of an earlier run is set aside, lest stage 2 takes it."""
        exclusion = Exclusion(patient.patient_id, "", STAGE, reason)
        if exclusion not in self.result.exclusions:
            self.result.exclusions.append(exclusion)
        stale = bag_path(self.config.bags_folder, patient.patient_id)
        if stale.exists():
            stale.replace(stale.with_name(f"{stale.name}.stale"))
            self.progress.say(
                f"patient {patient.patient_id}: left out; its earlier bag was renamed to {stale.name}.stale"
            )

    def _is_done(self, job: Job) -> bool:
        path = bag_path(self.config.bags_folder, job.patient.patient_id)
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
        missing = read_header(bag_path(self.config.bags_folder, patient.patient_id)).phases_missing
        known = {(e.patient_id, e.phase) for e in self.result.exclusions}
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
            ahead.append(self._begin(job))
            if len(ahead) > PATIENTS_AHEAD:
                yield from self._usable(order.popleft(), ahead.popleft()(), writer)
        while ahead:
            yield from self._usable(order.popleft(), ahead.popleft()(), writer)

    def _begin(self, job: Job) -> Callable[[], StoredPatient]:
        """Start preparing a patient from the store or from its scans; the returned call waits for it."""
        if self.config.extract.store and self.store.key_of(job.patient.patient_id) == job.prepared_key:
            future = self.pool.submit(self._from_store, job)
            return future.result
        scans = [self.pool.submit(self._from_scan, job, phase) for phase in job.plans]
        return lambda: _gathered(job, scans)

    def _from_store(self, job: Job) -> StoredPatient:
        try:
            return self.store.read(job.patient.patient_id)
        except StoreError as error:
            self.progress.say(f"{error}; preparing the scans again")
            return _gathered(job, [_done(self._from_scan(job, phase)) for phase in job.plans])

    def _from_scan(self, job: Job, phase: str) -> PreparedScan:
        settings = Preparation.of(self.config.extract)
        return prepare_scan(job.plans[phase], job.fingerprints[phase], settings, self.memory.pixels)

    def _usable(self, job: Job, found: StoredPatient, writer: OrderedWriter) -> Iterator[PreparedPatient]:
        """Record the faults of a prepared patient, and yield it unless nothing or too little is left."""
        patient_id = job.patient.patient_id
        findings = {phase: _findings(pairs) for phase, pairs in found.remarks.items()}
        for phase, of_phase in findings.items():
            self.log.add((patient_id, phase), *of_phase)
        for phase, reason in found.faults.items():
            fault = ScanError(reason, patient_id=patient_id, phase=phase)
            self._exclude(fault, *findings.get(phase, ()))
        self._note_order(patient_id, found.phases)
        for slices in found.phases:
            remark = remark_on(slices, self.config.extract.input)
            if remark:
                self.log.add((patient_id, slices.phase), Finding(Kind.REFERENCE, remark))
        reasons = {**{phase: fault.reason for phase, fault in job.faults.items()}, **found.faults}
        present = {phase.phase for phase in found.phases}
        names = self.config.cohort.phases
        missing = {name: reasons.get(name, NO_SCAN) for name in names if name not in present}
        if found.phases and self.config.extract.store and self.store.key_of(patient_id) != job.prepared_key:
            writer.submit(partial(self.store.write, patient_id, found))
        problem = lacking(names, missing, self.config.extract.missing_phases)
        if problem or not found.phases:
            self._exclude_patient(job.patient, problem or "no phase could be used")
            self.progress.has_embedded(0)
        else:
            yield PreparedPatient(job.patient, found.phases, missing, job.content_key)

    def _note_order(self, patient_id: str, phases: Iterable[PhaseSlices]) -> None:
        """Note which phases of a prepared patient enhance in an order that no timing explains."""
        liver_hu = {(patient_id, p.phase): p.liver_hu for p in phases if p.liver_hu is not None}
        for key, reason in implausible_order(liver_hu, self.roles).items():
            self.log.add(key, Finding(Kind.ORDER, reason))

    def _write(self, bag: Bag) -> None:
        write_bag(self.config.bags_folder, bag)
        self.result.written.append(bag.patient_id)
        self.result.n_slices += len(bag)
        self.progress.has_embedded(len(bag))


def _done(value: PreparedScan) -> Future[PreparedScan]:
    future: Future[PreparedScan] = Future()
    future.set_result(value)
    return future


def _gathered(job: Job, scans: Iterable[Future[PreparedScan]]) -> StoredPatient:
    found = {phase: scan.result() for phase, scan in zip(job.plans, scans, strict=True)}
    return StoredPatient(
        key=job.prepared_key,
        phases=tuple(scan.slices for scan in found.values() if scan.slices is not None),
        faults={phase: scan.fault.reason for phase, scan in found.items() if scan.fault is not None},
        remarks={phase: [(str(f.kind), f.reason) for f in scan.findings] for phase, scan in found.items()},
    )


def _findings(pairs: Iterable[Sequence[str]]) -> tuple[Finding, ...]:
    return tuple(Finding(Kind(kind), reason) for kind, reason in pairs)
