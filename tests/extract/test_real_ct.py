"""Stage 1 on CT volumes that nobody here wrote, with organs in the place of tumours."""

import csv
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from pipeline.bags import read_bag

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data" / "totalsegmentator"
WEIGHTS = ROOT.parent / "shared" / "weights" / "squeezenet1_0_imagenet.pth"
CONFIG = ROOT / "configs" / "real_ct.toml"
TABLE = ROOT / "configs" / "real_ct.csv"

pytestmark = pytest.mark.skipif(
    not (DATA.exists() and WEIGHTS.exists()), reason=f"no real CT at {DATA}, or no weights at {WEIGHTS}"
)


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    with TABLE.open() as stream:
        return list(csv.DictReader(stream))


@pytest.fixture
def bags(command, tmp_path) -> tuple[int, str, Path]:
    code, printed = command("run", CONFIG, f"output={tmp_path}")
    return code, printed, tmp_path / "bags"


def slices_with_mask(path: Path) -> tuple[list[int], list[float]]:
    """Indices and z of the non-empty slices, by nibabel alone: canonical axes, then the affine."""
    mask = nib.as_closest_canonical(nib.load(path))
    index = np.flatnonzero(np.asanyarray(mask.dataobj).any(axis=(0, 1)))
    z = [float((mask.affine @ [0, 0, int(k), 1])[2]) for k in index]
    return index.tolist(), z


def test_one_instance_per_slice_of_the_organ_at_its_z(bags, rows):
    code, printed, folder = bags
    assert code == 2, printed
    embedded = [row for row in rows if row["patient_id"] not in ("mr", "empty")]
    assert len(embedded) >= 5
    for row in embedded:
        bag = read_bag(folder / f"{row['patient_id']}.h5")
        index, z = slices_with_mask(TABLE.parent / row["mask"])
        if row["patient_id"].startswith("int32"):
            continue  # a mask on another grid; the next test looks at it
        assert bag.slice_index.tolist() == index, row
        np.testing.assert_allclose(bag.z_mm, z, atol=1e-3)


def test_a_mask_on_another_grid_lands_at_its_z(bags, rows):
    bag = read_bag(bags[2] / "int32-pancreas.h5")
    row = next(row for row in rows if row["patient_id"] == "int32-pancreas")
    _, z = slices_with_mask(TABLE.parent / row["mask"])
    np.testing.assert_allclose(bag.z_mm, z, atol=1e-3)


def test_the_mr_and_the_empty_organ_are_told_and_not_embedded(bags):
    _, printed, folder = bags
    assert "patient mr, phase PVP" in printed
    assert "expected CT in HU" in printed
    assert "patient empty, phase PVP" in printed
    assert not (folder / "mr.h5").exists()
    assert not (folder / "empty.h5").exists()
