"""Where a run gets the prepared slices of a patient: from the slice store, else from the scans."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from extract.crops import corners_of, cut_squares, middles_in_scan, middles_of, size_px
from extract.duplicates import PixelMemory
from extract.ordered_writer import OrderedWriter
from extract.planning import Job
from extract.prepare import Preparation, PreparedScan, prepare_scan
from extract.radiomics_workers import RadiomicsWorkers
from extract.scales import Box
from extract.slabs import box_of_slabs, cut_box, slices_of_slabs
from extract.volumes import AIR_HU
from pipeline.errors import StoreError
from pipeline.slices import PhaseSlices, SlabPlanes
from pipeline.store import StoredPatient


class KeepsSlices(Protocol):
    """Where prepared slices are kept for the next variant, and perhaps the next run: the slice store, or memory."""

    def key_of(self, patient_id: str) -> str | None:
        """Return the key that a patient's slices were kept with, or None where there are none."""
        ...

    def holds(self, patient_id: str, key: str) -> bool:
        """Return whether the slices of a patient were kept with a key, and are whole."""
        ...

    def read(self, patient_id: str) -> StoredPatient:
        """Return what is kept of one patient."""
        ...

    def write(self, patient_id: str, patient: StoredPatient) -> None:
        """Keep one patient, in the place of what was kept before."""
        ...


@dataclass(frozen=True, eq=False)
class SliceSupply:
    """Prepared slices, for all variants of a run; no scan is decoded for more than one of them.

    Attributes:
        store: the slice store, or memory; None where nothing is kept.
        settings: what is prepared from the scans, large enough for every variant.
        pixels: takes the hashes of slices that are decoded.
        radiomics: the processes that compute them; None without any.
        unusable: key -> what became of a patient with no usable scan, who is not in the store.
        damaged: keys of patients whose slices in the store cannot be read.
    """

    store: KeepsSlices | None
    settings: Preparation
    pixels: PixelMemory
    radiomics: RadiomicsWorkers | None = None
    unusable: dict[str, StoredPatient] = field(default_factory=dict)
    damaged: set[str] = field(default_factory=set)

    def begin(self, job: Job, pool: Executor, say: Callable[[str], None]) -> Callable[[], StoredPatient]:
        """Start preparing a patient in threads; the returned call waits for it."""
        if job.prepared_key in self.unusable:
            return lambda: self.unusable[job.prepared_key]
        if self._holds(job):
            future = pool.submit(self._from_store, job, say)
            return future.result
        scans = [pool.submit(self._from_scan, job, phase) for phase in job.plans]
        return lambda: self._remembered(_gathered(job, scans))

    def keep(self, job: Job, found: StoredPatient, writer: OrderedWriter) -> None:
        """Put a patient into the store, unless it is there."""
        if self.store is None or not found.phases:
            return
        if not self._holds(job) or job.prepared_key in self.damaged:
            self.damaged.discard(job.prepared_key)
            writer.submit(partial(self.store.write, job.patient.patient_id, found))

    def lacks(self, job: Job) -> bool:
        """Say whether slices of a patient belong into the store and are not there, or not whole."""
        if self.store is None or job.prepared_key in self.unusable:
            return False
        return not self.store.holds(job.patient.patient_id, job.prepared_key)

    def _holds(self, job: Job) -> bool:
        return self.store is not None and self.store.key_of(job.patient.patient_id) == job.prepared_key

    def _from_store(self, job: Job, say: Callable[[str], None]) -> StoredPatient:
        assert self.store is not None  # it holds the patient
        try:
            return self.store.read(job.patient.patient_id)
        except StoreError as error:
            say(f"{error}; preparing the scans again")
            self.damaged.add(job.prepared_key)
            return _gathered(job, [_done(self._from_scan(job, phase)) for phase in job.plans])

    def _from_scan(self, job: Job, phase: str) -> PreparedScan:
        measure = None if self.radiomics is None else self.radiomics.measure
        return prepare_scan(job.plans[phase], job.fingerprints[phase], self.settings, self.pixels, measure)

    def close(self) -> None:
        """End the processes that were started for it."""
        if self.radiomics is not None:
            self.radiomics.close()

    def _remembered(self, found: StoredPatient) -> StoredPatient:
        if not found.phases:
            self.unusable[found.key] = found
        return found


def fitted(slices: Sequence[PhaseSlices], stored: Preparation, own: Preparation) -> tuple[PhaseSlices, ...]:
    """Return slices that were prepared with the squares and slabs of the store as if with the smaller ones of a variant."""
    found = tuple(slices)
    if own.slab != stored.slab:
        found = tuple(replace(one, planes=_narrowed_planes(one, own.slab)) for one in found)
    if own.side_mm is None or own.side_mm == stored.side_mm:
        return found
    return tuple(narrowed(one, own.side_mm) for one in found)


def _narrowed_planes(slices: PhaseSlices, slab: Box | None) -> SlabPlanes | None:
    """Cut the box of smaller slabs out: the same arrays as when they are cut out of the scan."""
    if slab is None or slices.planes is None:
        return None
    planes, source = slices.planes, slices.source
    first, stop = slices_of_slabs(
        slices.slice_index, slab.depth_mm or 0.0, source.spacing_mm[2], source.n_slices
    )
    _, row, column = planes.first
    _, height, width = planes.hu.shape
    if slab.side_mm is None:
        return cut_box(planes, first, stop, ((row, row + height), (column, column + width)))
    # The stored box ends where the scan does, or beyond what is cut out.
    box = box_of_slabs(
        middles_in_scan(slices), size_px(slab.side_mm, slices.spacing_mm), (row + height, column + width)
    )
    return cut_box(planes, first, stop, box)


def narrowed(slices: PhaseSlices, side_mm: float) -> PhaseSlices:
    """Cut squares of `side_mm` out of larger ones: the same arrays as when they are cut out of the scan."""
    size = size_px(side_mm, slices.spacing_mm)
    middles = middles_of(slices)

    def hu_of(planes: NDArray[np.int16]) -> NDArray[np.int16]:
        return cut_squares(planes, middles, size, AIR_HU).astype(np.int16, copy=False)

    near = slices.neighbours
    return replace(
        slices,
        crops_hu=hu_of(slices.crops_hu),
        masks=cut_squares(slices.masks, middles, size, fill=0).astype(np.bool_, copy=False),
        middle=None,
        corner=None if slices.corner is None else slices.corner + corners_of(middles, size),
        neighbours=None if near is None else np.stack([hu_of(near[:, 0]), hu_of(near[:, 1])], axis=1),
    )


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
