"""The run of one variant of stage 1, wherever its bags go: plan, prepare ahead, embed, and hand over bags."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from extract.bagging import constant_phases, make_bag, without_phases
from extract.checks import doubtful_scans, finding_of
from extract.config import ExtractConfig
from extract.duplicates import describe_shared
from extract.embed import PreparedPatient, embed_patients
from extract.findings import Finding, FindingLog, Kind
from extract.opened_encoder import OpenedEncoder
from extract.ordered_writer import PATIENTS_AHEAD, OrderedWriter
from extract.phases import implausible_order, order_not_checked
from extract.planning import NO_SCAN, Job, Memory, lacking, plan_jobs, shared_scans
from extract.prepare import Preparation
from extract.progress import RunProgress
from extract.record import RunResult
from extract.reference import remark_on
from extract.regions import Ranges
from extract.slice_supply import SliceSupply, fitted
from pipeline.bags import Bag
from pipeline.cohort import Cohort, Exclusion, Patient
from pipeline.errors import ImageError, ScanError
from pipeline.phase_roles import PhaseRoles, phase_roles
from pipeline.run_log import detail
from pipeline.slices import PhaseSlices
from pipeline.store import StoredPatient

STAGE = "extract"


@dataclass(frozen=True, eq=False)
class Shared:
    """What all variants of a run have in common.

    Attributes:
        cohort: its table.
        ranges: of z, where the configuration has some.
        memory: hashes of files and of decoded slices.
        supply: the prepared slices.
    """

    cohort: Cohort
    ranges: Ranges
    memory: Memory
    supply: SliceSupply


@dataclass(frozen=True, eq=False)
class VariantRun(ABC):
    """The run of one variant in progress; a class below says where its bags go."""

    config: ExtractConfig
    shared: Shared
    opened: OpenedEncoder
    result: RunResult
    progress: RunProgress
    pool: ThreadPoolExecutor
    planned: dict[str, Job] = field(default_factory=dict)
    log: FindingLog = field(default_factory=FindingLog)

    @abstractmethod
    def is_done(self, job: Job) -> bool:
        """Return whether the bag of a job is there already."""

    @abstractmethod
    def look_over(self, jobs: Sequence[Job]) -> None:
        """Refuse to go on where earlier bags would be lost."""

    @abstractmethod
    def skip(self, job: Job) -> None:
        """Count a patient as done."""

    @abstractmethod
    def set_aside(self, patient_id: str) -> None:
        """See to it that nobody takes an earlier bag of a patient who is left out."""

    @abstractmethod
    def keep(self, bag: Bag) -> None:
        """Take a finished bag; called in a thread, in the order of the patients."""

    @cached_property
    def roles(self) -> PhaseRoles:
        """Which phase is arterial, portal venous and so on."""
        return phase_roles(self.config.cohort)

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
        self.look_over(jobs)
        for job in jobs:
            self.planned[job.patient.patient_id] = job
            self.progress.has_read(job.patient.patient_id)
            for fault in job.faults.values():
                self.exclude(fault)
            if not job.plans:
                self.exclude_patient(job.patient)
            elif self.is_done(job):
                self.skip(job)
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
                    writer.submit(partial(self._keep, bag))

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
            self.exclude(fault, Finding(Kind.CONSTANT, reason))
        left, rows = without_phases(patient, features, n_scales, constant)
        problem = lacking(self.config.cohort.phases, left.missing, self.config.extract.missing_phases)
        if left.phases and not problem:
            return left, rows
        self.exclude_patient(patient.patient, problem or "no phase could be used")
        self.progress.has_embedded(0)
        return replace(left, phases=()), rows

    def exclude(self, fault: ScanError, *findings: Finding) -> None:
        """Record the fault of one scan and say it in one line."""
        self.log.add((fault.patient_id, fault.phase), *(findings or (finding_of(fault),)))
        if self.result.exclude(Exclusion(fault.patient_id, fault.phase, STAGE, fault.reason)):
            self.result.n_faults += 1
            self.progress.say(str(fault))

    def exclude_patient(self, patient: Patient, reason: str = "no phase could be used") -> None:
        """Record that a patient is left out; a bag of an earlier run is set aside, lest stage 2 takes it."""
        self.result.exclude(Exclusion(patient.patient_id, "", STAGE, reason))
        self.set_aside(patient.patient_id)

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
            self.exclude(fault, *findings.get(phase, ()))
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
            self.exclude_patient(job.patient, problem or "no phase could be used")
            self.progress.has_embedded(0)
        else:
            yield PreparedPatient(job.patient, phases, missing, job.content_key)

    def _note_order(self, patient_id: str, phases: Iterable[PhaseSlices]) -> None:
        """Note which phases of a prepared patient enhance in an order that no timing explains."""
        liver_hu = {(patient_id, p.phase): p.liver_hu for p in phases if p.liver_hu is not None}
        for key, reason in implausible_order(liver_hu, self.roles).items():
            self.log.add(key, Finding(Kind.ORDER, reason))

    def _keep(self, bag: Bag) -> None:
        self.keep(bag)
        self.result.written.append(bag.patient_id)
        detail(f"bag {len(self.result.written)} written: {len(bag)} slices")
        self.result.n_slices += len(bag)
        self.progress.has_embedded(len(bag))


def _findings(pairs: Iterable[Sequence[str]]) -> tuple[Finding, ...]:
    return tuple(Finding(Kind(kind), reason) for kind, reason in pairs)
