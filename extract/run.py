"""The run of stage 1: plan, skip what is done, prepare ahead, embed, write bags."""

from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property, partial

from rich.console import Console

from extract.bagging import make_bag
from extract.checks import WARNING, describe_scan, doubtful_scans
from extract.config import ExtractConfig
from extract.doctor import require_right_numbers
from extract.duplicates import PixelMemory, describe_shared
from extract.embed import PreparedPatient, embed_patients
from extract.encoders import Encoder, load_encoder
from extract.fingerprints import FileHashes
from extract.inputs import preprocessing
from extract.phases import implausible_order
from extract.planning import NO_SCAN, Job, Memory, lacking, plan_jobs, shared_scans
from extract.prepare import Preparation, prepare_scan
from extract.progress import RunProgress
from extract.selftest import check_precision
from pipeline.bags import RANDOM_BANNER, Bag, Recipe, bag_path, read_bag, read_header, write_bag
from pipeline.cohort import Exclusion, Patient, read_cohort
from pipeline.errors import BagError, ScanError, StoreError
from pipeline.files import sweep_partials
from pipeline.slices import PhaseSlices
from pipeline.store import SliceStore, StoredPatient
from pipeline.tables import write_table

EXCLUDED_COLUMNS = ("patient_id", "phase", "stage", "reason")
STAGE = "extract"
_PATIENTS_AHEAD = 2
"""Patients that are being prepared beside the one that the encoder works on; memory grows with it."""


@dataclass(eq=False)
class RunResult:
    """What a run did.

    Attributes:
        written: patients whose bag was written.
        skipped: patients whose bag was there with the same content key.
        n_slices: instances embedded.
        exclusions: everybody left out, as written to excluded.csv.
        n_faults: exclusions that are no choice of the configuration.
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
    for folder in (config.output, config.bags_folder, config.store_path.parent, config.store_path):
        sweep_partials(folder)
    section = config.extract
    encoder = load_encoder(
        section.encoder,
        section.weights,
        layer=section.layer,
        precision=section.precision,
        device=section.device,
        compile_network=section.compile,
    )
    check_precision(encoder, section.input.size_px)
    recipe = encoder.recipe(preprocessing(section))
    if recipe.has_random_weights:
        console.print(f"[bold red]{RANDOM_BANNER}[/]: the features of {recipe.weights_name} mean nothing")
    result = RunResult(exclusions=list(cohort.exclusions), n_faults=len(cohort.exclusions))
    with (
        RunProgress(console) as progress,
        _exclusions_written(config, result),
        ThreadPoolExecutor(section.workers) as pool,
    ):
        for (patient_id, phase), reasons in doubtful_scans(cohort).items():
            progress.say(describe_scan(WARNING, patient_id, phase, "; ".join(reasons)))
        run = _Run(config, encoder, recipe, result, progress, pool)
        try:
            run.embed(run.plan(cohort.patients))
            late = run.patients_sharing_pixels()
            if late:  # Decoding has shown it after their bags were written.
                run.embed(run.plan(cohort.patients, only=late))
        finally:
            # After Ctrl-C nobody waits for scans that are not needed any more.
            pool.shutdown(wait=False, cancel_futures=True)
    return result


@contextmanager
def _exclusions_written(config: ExtractConfig, result: RunResult) -> Iterator[None]:
    """Write excluded.csv at the end of a run, however it ends."""

    def write() -> None:
        write_table(config.bags_folder / "excluded.csv", EXCLUDED_COLUMNS, map(vars, result.exclusions))

    try:
        yield
    except BaseException:
        with suppress(
            OSError
        ):  # the disk that ended the run may refuse this table too; the run's end is what is told
            write()
        raise
    write()


@dataclass(frozen=True, eq=False)
class _Run:
    """One run in progress."""

    config: ExtractConfig
    encoder: Encoder
    recipe: Recipe
    result: RunResult
    progress: RunProgress
    pool: ThreadPoolExecutor
    planned: dict[str, Job] = field(default_factory=dict)

    @cached_property
    def memory(self) -> Memory:
        """Hashes of files and of decoded slices, which lie beside the store."""
        store = self.config.store_path
        return Memory(
            FileHashes(store.with_name("fingerprints.json")), PixelMemory(store.with_name("slice_hashes.txt"))
        )

    @property
    def store(self) -> SliceStore:
        return SliceStore(self.config.store_path)

    def plan(self, patients: tuple[Patient, ...], only: frozenset[str] | None = None) -> list[Job]:
        """Hash every file and return the jobs that are not done yet, of some patients or of all."""
        self.progress.start_reading(len(patients if only is None else only))
        waiting = []
        for job in plan_jobs(patients, self.config.extract, self.recipe, self.memory, self.pool):
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
        """Return whose plan must change now that slices are decoded; where sharing is allowed, warn of it."""
        shared = shared_scans(self.planned.values(), self.memory.pixels)
        if self.config.extract.shared_images == "refuse":
            late = frozenset(patient_id for patient_id, _ in shared)
            self.result.forget(late)
            return late
        for key, other in shared.items():
            self.progress.say(describe_scan(WARNING, *key, describe_shared(key, other)))
        return frozenset()

    def embed(self, jobs: list[Job]) -> None:
        """Prepare patients ahead in threads, embed them in batches, and write in a thread."""
        self.progress.start_embedding(len(jobs), len(self.result.skipped))
        section = self.config.extract
        with _Writer() as writer:
            prepared = self._prepared(jobs, writer)
            for patient, features in embed_patients(
                prepared, self.encoder, section.input, batch_size=section.batch_size
            ):
                bag = make_bag(self.config, self.recipe, patient, features)
                writer.submit(partial(self._write, bag))

    def _exclude(self, fault: ScanError) -> None:
        """Record the fault of one scan and say it in one line."""
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
                f"patient {patient.patient_id}: left out now; its earlier bag is {stale.name}.stale"
            )

    def _is_done(self, job: Job) -> bool:
        path = bag_path(self.config.bags_folder, job.patient.patient_id)
        try:
            header = read_bag(path).header if path.exists() else None
        except BagError:
            return False
        # The key says nothing of the phase names, which the index of a phase counts in.
        return (
            header is not None
            and header.content_key == job.content_key
            and header.phase_names == self.config.cohort.phases
        )

    def _skip(self, patient: Patient) -> None:
        """Count a patient as done, and repeat what its bag says about phases that could not be used."""
        missing = read_header(bag_path(self.config.bags_folder, patient.patient_id)).phases_missing
        known = {(e.patient_id, e.phase) for e in self.result.exclusions}
        for phase, reason in missing.items():
            if reason != NO_SCAN and (patient.patient_id, phase) not in known:
                self._exclude(ScanError(reason, patient_id=patient.patient_id, phase=phase))
        problem = lacking(self.config.cohort.phases, missing, self.config.extract.missing_phases)
        if problem:
            self._exclude_patient(patient, problem)
        else:
            self.result.skipped.append(patient.patient_id)

    def _prepared(self, jobs: Iterable[Job], writer: "_Writer") -> Iterator[PreparedPatient]:
        """Yield the patients in order while the next ones are prepared in threads."""
        ahead: deque[Callable[[], StoredPatient]] = deque()
        order: deque[Job] = deque()
        for job in jobs:
            order.append(job)
            ahead.append(self._begin(job))
            if len(ahead) > _PATIENTS_AHEAD:
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

    def _from_scan(self, job: Job, phase: str) -> PhaseSlices | ScanError:
        settings = Preparation.of(self.config.extract)
        try:
            return prepare_scan(job.plans[phase], job.fingerprints[phase], settings, self.memory.pixels)
        except ScanError as fault:
            return fault

    def _usable(self, job: Job, found: StoredPatient, writer: "_Writer") -> Iterator[PreparedPatient]:
        """Record the faults of a prepared patient, and yield it unless nothing or too little is left."""
        patient_id = job.patient.patient_id
        for phase, reason in found.faults.items():
            self._exclude(ScanError(reason, patient_id=patient_id, phase=phase))
        self._warn_of_order(patient_id, found.phases)
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

    def _warn_of_order(self, patient_id: str, phases: Iterable[PhaseSlices]) -> None:
        """Say which phases of a prepared patient enhance in an order that no timing explains."""
        liver_hu = {(patient_id, p.phase): p.liver_hu for p in phases if p.liver_hu is not None}
        for key, reason in implausible_order(liver_hu).items():
            self.progress.say(describe_scan(WARNING, *key, reason))

    def _write(self, bag: Bag) -> None:
        write_bag(self.config.bags_folder, bag)
        self.result.written.append(bag.patient_id)
        self.result.n_slices += len(bag)
        self.progress.has_embedded(len(bag))


class _Writer:
    """A thread that writes in order, at most a few tasks behind; its errors surface at the next call."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1)
        self._pending: deque[Future[None]] = deque()

    def __enter__(self) -> "_Writer":
        return self

    def __exit__(self, *_: object) -> None:
        self._drain(0)
        self._pool.shutdown()

    def submit(self, task: Callable[[], None]) -> None:
        self._pending.append(self._pool.submit(task))
        self._drain(2 * _PATIENTS_AHEAD)

    def _drain(self, n_left: int) -> None:
        while self._pending and (len(self._pending) > n_left or self._pending[0].done()):
            self._pending.popleft().result()


def _done(value: PhaseSlices | ScanError) -> Future[PhaseSlices | ScanError]:
    future: Future[PhaseSlices | ScanError] = Future()
    future.set_result(value)
    return future


def _gathered(job: Job, scans: Iterable[Future[PhaseSlices | ScanError]]) -> StoredPatient:
    found = [scan.result() for scan in scans]
    return StoredPatient(
        key=job.prepared_key,
        phases=tuple(f for f in found if isinstance(f, PhaseSlices)),
        faults={f.phase: f.reason for f in found if isinstance(f, ScanError)},
    )
