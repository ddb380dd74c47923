"""The run of stage 1: fingerprint the cohort, skip what is done, prepare ahead, embed, write bags."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from extract.config import ExtractConfig
from extract.embed import PreparedPatient, embed_patients
from extract.encoders import Encoder, load_encoder
from extract.inputs import preprocessing
from extract.prepare import Fingerprint, prepare_scan
from extract.progress import RunProgress
from pipeline.bags import RANDOM_BANNER, Bag, BagHeader, Recipe, bag_path, read_header, write_bag
from pipeline.cohort import Cohort, Exclusion, Patient, Scan, read_cohort
from pipeline.errors import BagError, ImageError, MaskError, ScanError
from pipeline.provenance import sha256_of_file, sha256_of_json
from pipeline.slices import PhaseSlices
from pipeline.tables import write_table

EXCLUDED_COLUMNS = ("patient_id", "phase", "stage", "reason")
STAGE = "extract"
NO_SCAN = "no scan in the cohort table"
_PATIENTS_AHEAD = 2
"""Patients that are being prepared beside the one that the encoder works on; memory grows with it."""


@dataclass(eq=False)
class RunResult:
    """What a run did.

    Attributes:
        written: patients whose bag was written.
        skipped: patients whose bag was there with the same content key.
        n_slices: instances embedded.
        exclusions: every fault, as written to excluded.csv.
    """

    written: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    n_slices: int = 0
    exclusions: list[Exclusion] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class _Job:
    """A patient to be prepared, with the hashes of every scan that could be read and why the others could not."""

    patient: Patient
    fingerprints: Mapping[str, Fingerprint]
    faults: Mapping[str, ScanError]
    content_key: str


def run_extraction(config: ExtractConfig, console: Console) -> RunResult:
    """Embed the cohort of a configuration into bags; faults of single scans are recorded and the rest goes on.

    Raises:
        PhasemilError: the cohort table, the configuration or the weights cannot be used at all.
    """
    cohort = read_cohort(config.cohort)
    section = config.extract
    encoder = load_encoder(
        section.encoder,
        section.weights,
        layer=section.layer,
        precision=section.precision,
        device=section.device,
        compile_network=section.compile,
    )
    recipe = encoder.recipe(preprocessing(section.input))
    if recipe.has_random_weights:
        console.print(f"[bold red]{RANDOM_BANNER}[/]: the features of {recipe.weights_name} mean nothing")
    result = RunResult(exclusions=list(cohort.exclusions))
    with RunProgress(console) as progress, ThreadPoolExecutor(section.workers) as pool:
        run = _Run(config, encoder, recipe, result, progress, pool)
        run.embed(run.fingerprint(cohort))
    write_table(config.bags_folder / "excluded.csv", EXCLUDED_COLUMNS, map(vars, result.exclusions))
    return result


@dataclass(frozen=True, eq=False)
class _Run:
    """One run in progress."""

    config: ExtractConfig
    encoder: Encoder
    recipe: Recipe
    result: RunResult
    progress: RunProgress
    pool: ThreadPoolExecutor

    def fingerprint(self, cohort: Cohort) -> Sequence[_Job]:
        """Hash every file and return the patients that are not done yet."""
        self.progress.start_reading(len(cohort.patients))
        jobs = []
        for patient, fingerprints in zip(
            cohort.patients, self.pool.map(self._fingerprints, cohort.patients), strict=True
        ):
            good = {phase: f for phase, f in fingerprints.items() if isinstance(f, Fingerprint)}
            faults = {phase: f for phase, f in fingerprints.items() if isinstance(f, ScanError)}
            for fault in faults.values():
                self.exclude(fault)
            self.progress.has_read(patient.patient_id)
            job = _Job(patient, good, faults, _content_key(self.recipe, patient, good))
            if not good:
                self.exclude_patient(patient)
            elif self._is_done(job):
                self._skip(job.patient)
            else:
                jobs.append(job)
        return jobs

    def embed(self, jobs: Sequence[_Job]) -> None:
        """Prepare patients ahead in threads, embed them in batches and write their bags in a thread."""
        self.progress.start_embedding(len(jobs), len(self.result.skipped))
        features_of = embed_patients(
            self._prepared(jobs),
            self.encoder,
            self.config.extract.input,
            batch_size=self.config.extract.batch_size,
        )
        with ThreadPoolExecutor(1) as writer:
            pending: deque[Future[str]] = deque()
            for prepared, features in features_of:
                bag = _bag(self.config, self.recipe, prepared, features)
                pending.append(writer.submit(self._write, bag))
                while pending and (pending[0].done() or len(pending) > _PATIENTS_AHEAD):
                    pending.popleft().result()
            for future in pending:
                future.result()

    def exclude(self, fault: ScanError) -> None:
        """Record the fault of one scan and say it in one line."""
        self.result.exclusions.append(Exclusion(fault.patient_id, fault.phase, STAGE, fault.reason))
        self.progress.say(str(fault))

    def exclude_patient(self, patient: Patient) -> None:
        """Record that no phase of a patient is left."""
        reason = "no phase could be used"
        self.result.exclusions.append(Exclusion(patient.patient_id, "", STAGE, reason))

    def _fingerprints(self, patient: Patient) -> Mapping[str, Fingerprint | ScanError]:
        return {phase: _fingerprint(scan) for phase, scan in patient.scans.items()}

    def _is_done(self, job: _Job) -> bool:
        path = bag_path(self.config.bags_folder, job.patient.patient_id)
        try:
            return path.exists() and read_header(path).content_key == job.content_key
        except BagError:
            return False

    def _skip(self, patient: Patient) -> None:
        """Count a patient as done, and repeat what its bag says about phases that could not be used."""
        self.result.skipped.append(patient.patient_id)
        header = read_header(bag_path(self.config.bags_folder, patient.patient_id))
        known = {(e.patient_id, e.phase) for e in self.result.exclusions}
        for phase, reason in header.phases_missing.items():
            if reason != NO_SCAN and (patient.patient_id, phase) not in known:
                self.exclude(ScanError(reason, patient_id=patient.patient_id, phase=phase))

    def _prepared(self, jobs: Iterable[_Job]) -> Iterator[PreparedPatient]:
        """Yield the patients in order while the next ones are prepared in threads."""
        ahead: deque[tuple[_Job, list[Future[PhaseSlices | ScanError]]]] = deque()
        for job in jobs:
            ahead.append((job, [self.pool.submit(self._prepare, job, phase) for phase in job.fingerprints]))
            if len(ahead) > _PATIENTS_AHEAD:
                yield from self._gather(*ahead.popleft())
        while ahead:
            yield from self._gather(*ahead.popleft())

    def _prepare(self, job: _Job, phase: str) -> PhaseSlices | ScanError:
        crop_mm = max(self.config.extract.input.scales_mm.values())
        try:
            return prepare_scan(job.patient.scans[phase], job.fingerprints[phase], crop_mm)
        except ScanError as fault:
            return fault

    def _gather(
        self, job: _Job, futures: Iterable[Future[PhaseSlices | ScanError]]
    ) -> Iterator[PreparedPatient]:
        found = [future.result() for future in futures]
        faults = {f.phase: f for f in found if isinstance(f, ScanError)}
        for fault in faults.values():
            self.exclude(fault)
        phases = tuple(f for f in found if isinstance(f, PhaseSlices))
        if not phases:
            self.exclude_patient(job.patient)
            self.progress.has_embedded(0)
            return
        reasons = {phase: fault.reason for phase, fault in {**job.faults, **faults}.items()}
        present = {phase.phase for phase in phases}
        missing = {
            name: reasons.get(name, NO_SCAN) for name in self.config.cohort.phases if name not in present
        }
        yield PreparedPatient(job.patient, phases, missing, job.content_key)

    def _write(self, bag: Bag) -> str:
        write_bag(self.config.bags_folder, bag)
        self.result.written.append(bag.patient_id)
        self.result.n_slices += len(bag)
        self.progress.has_embedded(len(bag))
        return bag.patient_id


def _fingerprint(scan: Scan) -> Fingerprint | ScanError:
    who = {"patient_id": scan.patient_id, "phase": scan.phase}
    try:
        image = sha256_of_file(scan.image)
    except OSError as error:
        return ImageError(f"{scan.image}: expected an image file, found: {error.strerror}", **who)
    masks = []
    for lesion_id, path in scan.masks:
        try:
            masks.append((lesion_id, sha256_of_file(path)))
        except OSError as error:
            return MaskError(f"{path}: expected a mask file, found: {error.strerror}", **who)
    return Fingerprint(image, masks[0][1] if len(masks) == 1 else sha256_of_json(masks))


def _content_key(recipe: Recipe, patient: Patient, fingerprints: Mapping[str, Fingerprint]) -> str:
    """Hash everything that decides a bag: files, what the cohort table says about them, and the recipe."""
    scans = {
        phase: (f.image, f.mask, vars(patient.scans[phase].overrides)) for phase, f in fingerprints.items()
    }
    return sha256_of_json({"recipe": recipe.key, "scans": scans, "patient_id": patient.patient_id})


def _bag(
    config: ExtractConfig, recipe: Recipe, prepared: PreparedPatient, features: NDArray[np.float32]
) -> Bag:
    names, scales = config.cohort.phases, tuple(config.extract.input.scales_mm)
    phases = prepared.phases

    def column(name: str) -> NDArray[Any]:
        return np.concatenate([np.tile(getattr(phase, name), len(scales)) for phase in phases])

    side_mm = next(iter(config.extract.input.scales_mm.values()))
    return Bag(
        header=BagHeader(
            patient_id=prepared.patient.patient_id,
            phase_names=names,
            phases_missing=prepared.missing,
            scale_names=scales,
            recipe=recipe,
            sources={phase.phase: phase.source for phase in phases},
            content_key=prepared.content_key,
            tile_size_um=side_mm * 1000,
            tile_size_px=config.extract.input.size_px,
        ),
        features=features,
        phase=np.repeat(
            [names.index(phase.phase) for phase in phases], [len(phase) * len(scales) for phase in phases]
        ).astype(np.int8),
        scale=np.concatenate([np.repeat(np.arange(len(scales)), len(phase)) for phase in phases]).astype(
            np.int8
        ),
        slice_index=column("slice_index"),
        z_mm=column("z_mm"),
        tumour_area_mm2=column("tumour_area_mm2"),
        lesion=column("lesion"),
    )
