"""A model small enough to know what its explanation must be, and the folds it was fitted on."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from aggregate.cohort.folds import Fold
from aggregate.explain.inputs import OutOfFoldModels
from aggregate.explain.resampling import resampling_of
from pipeline.bags import Source
from pipeline.config import CohortSection
from pipeline.phase_roles import phase_roles
from pipeline.slices import PhaseSlices
from tests.conftest import patients_of

ROLES = phase_roles(CohortSection(table="cohort.csv"))
"""Of NC, AP, PVP and DP."""


@dataclass
class ArterialModel:
    """Looks at the arterial phase only, where it is, and lets each instance speak by its first features."""

    arterial: int = 1
    classes_: np.ndarray = field(default_factory=lambda: np.arange(3))
    asked: set[str] = field(default_factory=set)

    def sees(self, patients):
        return np.array([bool(patients[i].phases_present("bags")) for i in range(len(patients))])

    def seen_bags(self, patients):
        return [patients[i].bags["bags"] for i in range(len(patients))]

    def attention(self, patients):
        bags = self.seen_bags(patients)
        self.asked |= {bag.patient_id for bag in bags}
        looked = [np.where(bag.phase == self.arterial, 1.0, 1e-3) for bag in bags]
        return [weights / weights.sum() for weights in looked]

    def instance_evidence(self, patients):
        bags = self.seen_bags(patients)
        self.asked |= {bag.patient_id for bag in bags}
        return [bag.features[:, :3].astype(np.float64) for bag in bags]

    def predict_proba(self, patients):
        pairs = zip(self.attention(patients), self.seen_bags(patients), strict=True)
        pooled = np.stack([w @ bag.features[:, :3] for w, bag in pairs])
        exponentials = np.exp(3 * pooled)
        return exponentials / exponentials.sum(axis=1, keepdims=True)


def two_repeats(n: int, rng: np.random.Generator) -> list[Fold]:
    folds = []
    for repeat in range(2):
        dealt = rng.permutation(n) % 3
        for k in range(3):
            others = np.flatnonzero(dealt != k)
            folds.append(Fold(repeat, k, others[4:], others[:4], np.flatnonzero(dealt == k)))
    return folds


@pytest.fixture
def inputs(bags_and_labels) -> OutOfFoldModels:
    bags, labels = bags_and_labels
    folds = two_repeats(len(bags), np.random.default_rng(1))
    fitted = [(fold, ArterialModel()) for fold in folds]
    return OutOfFoldModels({"attention": fitted}, patients_of(bags, labels))


@pytest.fixture
def resampling(inputs):
    return resampling_of(inputs.patients.codes, draws=200, seed=0)


SPACING, THICKNESS = 0.8, 4.0
ORGAN_HU = {"NC": 55, "AP": 72, "PVP": 103, "DP": 86}


def draw_ball(phase: str, rim: int, core: int, *, radius: float = 20.0, stretch: float = 1.0) -> PhaseSlices:
    """Draw a ball (or an ellipsoid, `stretch` along the rows) with the given contrasts of rim and core."""
    z = np.arange(-radius + THICKNESS / 2, radius, THICKNESS)
    rows, columns = (np.mgrid[:161, :161] - 80) * SPACING
    distance = np.sqrt((rows / stretch) ** 2 + columns**2 + z[:, None, None] ** 2)
    mask = distance <= radius
    hu = np.full(mask.shape, ORGAN_HU[phase])
    hu[mask] += rim
    hu[distance <= 0.6 * radius] += core - rim
    area = mask.sum(axis=(1, 2)) * SPACING**2
    return PhaseSlices(
        phase=phase,
        crops_hu=hu.astype(np.int16),
        masks=mask,
        spacing_mm=(SPACING, SPACING),
        slice_index=np.arange(len(z), dtype=np.int32),
        z_mm=z.astype(np.float32),
        tumour_area_mm2=area.astype(np.float32),
        lesion=np.ones(len(z), dtype=np.int16),
        source=Source("x.nii.gz", "a", "b", "drawn", (SPACING, SPACING, THICKNESS), 40),
        corner=np.zeros((len(z), 2), dtype=np.int32),
    )


@pytest.fixture(scope="session")
def ball():
    return draw_ball
