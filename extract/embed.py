"""One loop for all features: images of many patients run through the encoder in full batches."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from extract.config import ExtractSection
from extract.encoders import Encoder, Readout
from extract.inputs import make_coverage, make_images
from pipeline.cohort import Patient
from pipeline.slices import PhaseSlices


@dataclass(frozen=True, eq=False)
class PreparedPatient:
    """A patient whose slices are ready for the encoder.

    Attributes:
        patient: the row of the cohort.
        phases: at least one, in the order of the configuration.
        missing: why the other phases are absent.
        content_key: of the bag to be.
    """

    patient: Patient
    phases: tuple[PhaseSlices, ...]
    missing: Mapping[str, str]
    content_key: str


@dataclass(eq=False)
class _Waiting:
    prepared: PreparedPatient
    n_images: int
    parts: list[Tensor] = field(default_factory=list)

    @property
    def n_left(self) -> int:
        return self.n_images - sum(len(part) for part in self.parts)


def embed_patients(
    patients: Iterable[PreparedPatient], encoder: Encoder, section: ExtractSection, readout: Readout
) -> Iterator[tuple[PreparedPatient, NDArray[np.float32]]]:
    """Embed patients in order; a batch spans patients, so that none but the very last is half empty.

    Yields:
        each patient with float32 (n, d): phase after phase, within it scale after scale.
    """
    full = -(-section.batch_size // encoder.rows) * encoder.rows
    waiting: deque[_Waiting] = deque()
    images: list[Tensor] = []
    shares: list[Tensor] = []
    for prepared in patients:
        made = [
            make_images(phase, section.input, encoder.device, encoder.card_input, dims=encoder.dims)
            for phase in prepared.phases
        ]
        waiting.append(_Waiting(prepared, sum(map(len, made))))
        images += made
        covered = (
            make_coverage(phase, section, readout, encoder.device, dims=encoder.dims)
            for phase in prepared.phases
        )
        shares += [share for share in covered if share is not None]
        while sum(map(len, images)) >= full:
            together, share = torch.cat(images), torch.cat(shares) if shares else None
            _hand_out(encoder.embed(together[:full], None if share is None else share[:full]), waiting)
            images, shares = [together[full:]], [] if share is None else [share[full:]]
            yield from _finished(waiting)
    if waiting:
        _hand_out(encoder.embed(torch.cat(images), torch.cat(shares) if shares else None), waiting)
        yield from _finished(waiting)


def _hand_out(features: Tensor, waiting: Iterable[_Waiting]) -> None:
    for patient in waiting:
        part, features = features[: patient.n_left], features[patient.n_left :]
        if len(part):
            patient.parts.append(part)


def _finished(waiting: deque[_Waiting]) -> Iterator[tuple[PreparedPatient, NDArray[np.float32]]]:
    while waiting and not waiting[0].n_left:
        done = waiting.popleft()
        yield done.prepared, torch.cat(done.parts).cpu().numpy()
