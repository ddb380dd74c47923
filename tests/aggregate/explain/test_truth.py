"""On the phantom the answer is known: truth.csv says which signs were drawn, and the measured ones must find them.

The volumes are read here with nibabel alone, so that neither stage's reading is part of what is tested.
"""

import nibabel as nib
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from aggregate.explain.signs import measure_patient, signs_of
from extract.phantom.cohort import write_cohort
from extract.phantom.config import PhantomSection
from pipeline.bags import Source
from pipeline.slices import PhaseSlices
from pipeline.tables import read_table
from tests.aggregate.explain.conftest import ROLES


def read_phase(folder, phase, image, mask) -> PhaseSlices:
    scan = nib.as_closest_canonical(nib.load(folder / image))
    drawn = nib.as_closest_canonical(nib.load(folder / mask))
    hu = np.asarray(scan.dataobj).T[:, ::-1]  # (z, rows, columns)
    tumour = np.asarray(drawn.dataobj).T[:, ::-1] > 0
    x, y, z = (float(v) for v in scan.header.get_zooms()[:3])
    here = np.flatnonzero(tumour.any(axis=(1, 2)))
    return PhaseSlices(
        phase=phase,
        crops_hu=hu[here].astype(np.int16),
        masks=tumour[here],
        spacing_mm=(y, x),
        slice_index=here.astype(np.int32),
        z_mm=(here * z).astype(np.float32),
        tumour_area_mm2=(tumour[here].sum(axis=(1, 2)) * x * y).astype(np.float32),
        lesion=np.ones(len(here), dtype=np.int16),
        source=Source(image, "a", "b", "drawn", (x, y, z), len(hu)),
        corner=np.zeros((len(here), 2), dtype=np.int32),
    )


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    """Measured signs and the drawn truth of a small cohort with all contrast-enhanced phases."""
    table = tmp_path_factory.mktemp("phantom") / "cohort.csv"
    section = PhantomSection(
        preset="tiny",
        patients={"HCC": 14, "iCCA": 14, "cHCC-CCA": 4},
        matrix=176,
        thickness_mm=(7.5,),
        missing={"NC": 1.0, "AP": 0.0, "PVP": 0.0, "DP": 0.0},
        seed=11,
        jobs=1,
    )
    write_cohort(section, table)
    scans = {}
    for row in read_table(table):
        phase = read_phase(table.parent, row["phase"], row["image"], row["mask"])
        scans.setdefault(row["patient_id"], []).append(phase)
    truth = {row["patient_id"]: row for row in read_table(table.parent / "truth.csv")}
    return {
        patient: (signs_of(measure_patient(phases), ROLES), truth[patient])
        for patient, phases in scans.items()
    }


@pytest.mark.parametrize(
    ("sign", "drawn", "least"),
    [
        ("washout_hu", "washout", 0.75),
        ("nonrim_hyperenhancement_hu", "nonrim_aphe", 0.9),
        ("arterial_hyperenhancement_hu", "nonrim_aphe", 0.9),
        ("rim_arterial_hu", "rim_aphe", 0.85),
        ("progressive_enhancement_hu", "progressive", 0.75),
        ("capsule_hu", "capsule", 0.85),
    ],
)
def test_a_measured_sign_separates_the_patients_in_whom_it_was_drawn(phantom, sign, drawn, least):
    measured = np.array([getattr(signs, sign) for signs, _ in phantom.values()])
    present = np.array([truth[drawn] == "1" for _, truth in phantom.values()])
    known = np.isfinite(measured)  # a tumour of a few coarse pixels has no core
    assert known.mean() > 0.85
    assert 3 <= present[known].sum() <= known.sum() - 3
    assert roc_auc_score(present[known], measured[known]) > least


def test_the_measured_diameter_is_the_drawn_one(phantom):
    measured = np.array([signs.diameter_mm for signs, _ in phantom.values()])
    drawn = np.array([float(truth["diameter_mm"]) for _, truth in phantom.values()])
    assert np.corrcoef(measured, drawn)[0, 1] > 0.9
    assert np.median(measured / drawn) == pytest.approx(1, abs=0.15)


def test_lobulated_tumours_are_less_spherical(phantom):
    measured = np.array([signs.sphericity for signs, _ in phantom.values()])
    lobulated = np.array([truth["lobulated"] == "1" for _, truth in phantom.values()])
    known = np.isfinite(measured)  # a tumour on two thick slices has no surface
    assert known.mean() > 0.9
    assert roc_auc_score(~lobulated[known], measured[known]) > 0.95
    assert len(set(measured[known])) == known.sum()


def test_a_sign_does_not_separate_patients_by_chance(phantom):
    """The control: the same figure on a shuffled truth is near one half."""
    rng = np.random.default_rng(0)
    measured = np.array([signs.washout_hu for signs, _ in phantom.values()])
    present = np.array([truth["washout"] == "1" for _, truth in phantom.values()])
    known = np.isfinite(measured)
    by_chance = [roc_auc_score(rng.permutation(present[known]), measured[known]) for _ in range(200)]
    assert np.mean(by_chance) == pytest.approx(0.5, abs=0.03)
