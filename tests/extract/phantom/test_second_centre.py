"""Another hospital: what [phantom.centre] says to differ is measured in the images that were written."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
from pydantic import ValidationError
from scipy.ndimage import binary_erosion

from extract.phantom.cohort import write_cohort
from extract.phantom.config import CentreSection, PhantomSection
from extract.phantom.subjects import draw_subjects
from pipeline.tables import read_table

DRAWN = {
    "patients": {"HCC": 3, "iCCA": 2, "cHCC-CCA": 2},
    "matrix": 128,
    "missing": {"NC": 0.0},
    "seed": 6,
    "jobs": 1,
}
NORD = {"name": "Nord", "kernel_mm": 2.4, "noise": 1.6, "acquired_s": {"AP": 45, "PVP": 90, "DP": 150}}


@pytest.fixture(scope="module")
def usual(tmp_path_factory) -> Path:
    return written(tmp_path_factory.mktemp("usual"), thickness_mm=(6.0,))


@pytest.fixture(scope="module")
def nord(tmp_path_factory) -> Path:
    return written(tmp_path_factory.mktemp("nord"), thickness_mm=(3.0,), centre=NORD)


def written(folder: Path, **keys) -> Path:
    write_cohort(PhantomSection(**DRAWN, **keys), folder / "cohort.csv")
    return folder / "cohort.csv"


def scans(table: Path, phase: str):
    """Yield header, HU, liver without tumour (x, y, z) and the row of truth.csv of every patient with the phase."""
    truth = {row["patient_id"]: row for row in read_table(table.with_name("truth.csv"))}
    for row in read_table(table):
        if row["phase"] == phase:
            image, liver, mask = (
                nibabel.load(table.parent / row[k]) for k in ("image", "liver_mask", "mask")
            )
            only_liver = (np.asarray(liver.dataobj) > 0) & (np.asarray(mask.dataobj) == 0)
            yield image.header, np.asarray(image.dataobj, float), only_liver, truth[row["patient_id"]]


def noise_of(hu: np.ndarray, liver: np.ndarray) -> tuple[float, float]:
    """Return the noise in HU and its correlation from pixel to pixel, from neighbouring slices: their noise is independent."""
    both = liver[..., 1:] & liver[..., :-1]
    noise = np.where(both, np.diff(hu, axis=2), np.nan) / np.sqrt(2)
    noise -= np.nanmedian(noise)
    noise[np.abs(noise) > 60] = np.nan  # vessels and the liver's edge
    left, right = noise[1:], noise[:-1]
    known = np.isfinite(left) & np.isfinite(right)
    return float(np.nanstd(noise)), float(np.corrcoef(left[known], right[known])[0, 1])


@pytest.mark.parametrize("phase", ["NC", "PVP"])
def test_the_noise_of_the_images_is_the_noise_that_was_drawn(nord, phase):
    for _, hu, liver, drawn in scans(nord, phase):
        assert noise_of(hu, liver)[0] == pytest.approx(float(drawn[f"noise_hu_{phase}"]), rel=0.2)


def test_the_other_hospital_has_more_noise_with_a_coarser_grain(usual, nord):
    here, there = ([noise_of(hu, liver) for _, hu, liver, _ in scans(table, "NC")] for table in (usual, nord))
    # (6 / 3) ** 0.42 for the thinner slices, 1.6 for the scanner
    assert np.mean(there, axis=0)[0] > 1.5 * np.mean(here, axis=0)[0]
    assert np.mean(there, axis=0)[1] > np.mean(here, axis=0)[1] + 0.2


def test_the_header_tells_the_thickness(usual, nord):
    assert {header.get_zooms()[2] for header, *_ in scans(usual, "AP")} == {6.0}
    assert {header.get_zooms()[2] for header, *_ in scans(nord, "AP")} == {3.0}


@pytest.mark.parametrize("phase", ["NC", "AP", "PVP", "DP"])
def test_the_liver_has_the_hu_of_its_time(nord, phase):
    for _, hu, liver, drawn in scans(nord, phase):
        inside = binary_erosion(
            liver, np.ones((3, 3, 1)), iterations=3
        )  # away from the edge, where pixels are mixed
        assert np.median(hu[inside]) == pytest.approx(float(drawn[f"liver_hu_{phase}"]), abs=3)


def test_a_later_phase_lies_on_the_way_to_the_next():
    """45 s is 10 s of the 35 s from AP to PVP, 90 s is 20 s of the 110 s from PVP to DP, 150 s is 80 s of them."""
    at_usual_times = draw_subjects(PhantomSection(**DRAWN, centre={"name": "Nord"}))
    for before, after in zip(
        at_usual_times, draw_subjects(PhantomSection(**DRAWN, centre=NORD)), strict=True
    ):
        for organ in ("liver", "aorta", "hcc", "core"):
            nc, ap, pvp, dp = before.hu[organ]
            wanted = [nc, ap + 10 / 35 * (pvp - ap), pvp + 20 / 110 * (dp - pvp), pvp + 80 / 110 * (dp - pvp)]
            assert after.hu[organ] == pytest.approx(wanted)


def test_the_times_of_the_table_change_no_number():
    named = {"AP": 35, "PVP": 70, "DP": 180}
    first = draw_subjects(PhantomSection(**DRAWN, centre={"name": "Nord"}))
    second = draw_subjects(PhantomSection(**DRAWN, centre={"name": "Nord", "acquired_s": named}))
    assert [s.hu for s in first] == [s.hu for s in second]


def test_no_patient_is_one_of_the_first_hospital_although_the_seed_is_the_same(usual, nord):
    here, there = (
        {row["patient_id"]: row for row in read_table(t.with_name("truth.csv"))} for t in (usual, nord)
    )
    assert not here.keys() & there.keys()
    assert {row["centre"] for row in there.values()} == {"Nord"}
    assert not {row["diameter_mm"] for row in here.values()} & {row["diameter_mm"] for row in there.values()}


def test_another_hospital_in_the_same_folder_replaces_the_images_of_the_first(tmp_path):
    small = {**DRAWN, "patients": {"HCC": 1}, "matrix": 96, "thickness_mm": (10.0,)}
    write_cohort(PhantomSection(**small, centre=NORD), tmp_path / "cohort.csv")
    assert write_cohort(PhantomSection(**small), tmp_path / "cohort.csv")
    assert {path.name.split("_")[0] for path in tmp_path.glob("*/*.nii.gz")} == {"PH001"}


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"name": "PH2"}, "patients without this table are called PH001"),
        ({"name": "Nord_1"}, "expected a name without _"),
        ({"name": "Nord", "acquired_s": {"AP": 80}}, "AP before PVP before DP; found AP 80, PVP 70, DP 180"),
        ({"name": "Nord", "acquired_s": {"DP": 300}}, "above 15 to 180"),
        ({"name": "Nord", "acquired_s": {"NC": 20}}, "comes before the injection"),
        ({"name": "Nord", "noise": 0.0}, "greater than 0"),
    ],
)
def test_what_no_hospital_does_is_refused(keys, told):
    with pytest.raises(ValidationError, match=told):
        CentreSection(**keys)


@pytest.mark.parametrize("key", [{"centres": ("A",)}, {"centre_follows_class": 0.5}])
def test_one_hospital_stands_beside_no_list_of_centres(key):
    with pytest.raises(ValidationError, match=r"or \[phantom.centre\]; found both"):
        PhantomSection(centre=NORD, **key)
