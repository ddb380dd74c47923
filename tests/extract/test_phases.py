"""The order of phases by the enhancement of the liver, as `check` and `run` tell it."""

import re

import numpy as np
import pytest

from extract.masks import read_lesions
from extract.phantom.cohort import write_cohort
from extract.phantom.config import PhantomSection
from extract.phases import implausible_order, measure_liver
from extract.volumes import open_volume
from pipeline.cohort import Scan
from pipeline.config import CohortSection
from pipeline.phase_roles import phase_roles
from pipeline.tables import read_table, write_table
from tests.extract.conftest import SPACING, draw_scan, save

ROLES = phase_roles(CohortSection(table="cohort.csv"))
TINY = PhantomSection(preset="tiny", patients={"HCC": 1, "iCCA": 1, "cHCC-CCA": 0}, seed=3, jobs=1)
CONFIG = """
name = "swapped"
output = "out"
[cohort]
table = "cohort.csv"
[extract]
encoder = "squeezenet1_0"
weights = "random:0"
precision = "float32"
device = "cpu"
[extract.input]
size_px = 32
"""


@pytest.fixture
def swapped(tmp_path):
    """Write a phantom whose first patient has AP and PVP swapped; return the configuration and who it is."""
    table = tmp_path / "cohort.csv"
    write_cohort(TINY, table)
    rows = read_table(table)
    patient = rows[0]["patient_id"]
    of_patient = {row["phase"]: row for row in rows if row["patient_id"] == patient}
    of_patient["AP"]["phase"], of_patient["PVP"]["phase"] = "PVP", "AP"
    write_table(table, tuple(rows[0]), rows)
    config = tmp_path / "swapped.toml"
    config.write_text(CONFIG)
    return config, patient


def order_warnings(printed: str) -> list[str]:
    """Return the warnings about phases, with their HU: `check` and `run` measure on the same slices."""
    return sorted(line for line in printed.splitlines() if "mixed up?" in line)


def test_run_tells_swapped_phases_in_the_words_of_check_and_again_from_the_store(swapped, command):
    config, patient = swapped
    told = [
        order_warnings(command(*words)[1])
        for words in (("check", config), ("run", config), ("run", config, "encoder=resnet18"))
    ]
    assert told[0] == told[1] == told[2]
    odd = "the liver is brighter in AP (HU) than in PVP (HU): are the phases mixed up?"
    assert [re.sub(r"\(-?\d+ HU\)", "(HU)", line) for line in told[0]] == [
        f"warning: patient {patient}, phase {phase}: {odd}" for phase in ("AP", "PVP")
    ]


def test_without_liver_masks_nothing_is_said(swapped, command):
    config, _ = swapped
    table = config.with_name("cohort.csv")
    table.write_text(table.read_text().replace("liver_mask", "remarks"))
    assert order_warnings(command("run", config)[1]) == []


def liver_scan(folder, *, coarse: bool = False):
    """A liver of 60 HU with a lesion of 100 HU; its mask on the grid of the image, or on one twice as coarse."""
    image, lesion = draw_scan()
    organ = np.zeros_like(lesion)
    organ[6:24, 8:26, 2:10] = 1
    image[organ > 0] = 60
    image[lesion > 0] = 100
    save(folder / "i.nii.gz", image)
    save(folder / "m.nii.gz", lesion)
    if coarse:
        organ, spacing = organ[::2, ::2], (2 * SPACING[0], 2 * SPACING[1], SPACING[2])
        save(folder / "o.nii.gz", organ, spacing=spacing, origin=(-0.5, -0.5, 0.0))
    else:
        save(folder / "o.nii.gz", organ)
    return Scan("p", "AP", folder / "i.nii.gz", (("", folder / "m.nii.gz"),), liver_mask=folder / "o.nii.gz")


@pytest.mark.parametrize("coarse", [False, True])
@pytest.mark.parametrize("index", [range(12), (4, 6, 8), (0, 8, 9)])
def test_any_slices_of_a_liver_give_its_median_without_lesions(tmp_path, coarse, index):
    scan = liver_scan(tmp_path, coarse=coarse)
    image, chosen = open_volume(scan.image), np.array(index, dtype=np.intp)
    lesions = read_lesions(scan.masks, scan, image)
    assert measure_liver(scan, image, image.to_hu(image.read())[chosen], chosen, lesions) == 60


def test_the_border_of_the_mask_does_not_count(tmp_path):
    scan = liver_scan(tmp_path)
    image, middle = open_volume(scan.image), np.array([5], dtype=np.intp)
    hu = image.to_hu(image.read())
    # 18 x 18 voxels less their border are 256, of which 100 are lesion.
    assert measure_liver(scan, image, hu[middle], middle, None) == 60
    lesions = read_lesions(scan.masks, scan, image)
    assert measure_liver(scan, image, hu[middle], middle, lesions) is None  # 156 are too few


def test_slices_without_liver_measure_nothing(tmp_path):
    scan = liver_scan(tmp_path)
    image, chosen = open_volume(scan.image), np.array([0, 11], dtype=np.intp)
    assert measure_liver(scan, image, image.to_hu(image.read())[chosen], chosen, None) is None


def test_an_order_is_odd_only_beyond_the_margin():
    assert implausible_order({("p", "AP"): 68.0, ("p", "PVP"): 60.0}, ROLES) == {}
    assert set(implausible_order({("p", "AP"): 68.1, ("p", "PVP"): 60.0}, ROLES)) == {
        ("p", "AP"),
        ("p", "PVP"),
    }
    assert implausible_order({("p", "AP"): 90.0, ("q", "PVP"): 60.0}, ROLES) == {}
