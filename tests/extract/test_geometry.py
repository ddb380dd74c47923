"""Oblique axes, thick slices, suffixes: where voxels lie and how large they are."""

import bz2
import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from extract.config import MasksSection, SlicesSection
from extract.masks import Lesions, areas_mm2
from extract.reading import read_scan
from extract.regions import DRAWN, RegionPlan, grown
from extract.volumes import Grid, open_volume
from pipeline.cohort import Scan
from pipeline.scan_cells import HeaderOverrides
from tests.extract.conftest import draw_scan, save
from tests.extract.test_check import read as read_check

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "totalsegmentator"
real = pytest.mark.skipif(not DATA.exists(), reason=f"no real CT at {DATA}")
TILT = np.tan(np.deg2rad(20))


def tilted(affine: np.ndarray) -> np.ndarray:
    """Shear slices along y as a gantry tilt of 20 degrees does: the planes stay as far apart as they were."""
    affine = affine.copy()
    affine[1, 2] = TILT * affine[2, 2]
    return affine


def save_tilted(path: Path, voxels: np.ndarray) -> Path:
    image = nib.load(save(path, voxels))
    nib.save(nib.Nifti1Image(np.asanyarray(image.dataobj), tilted(image.affine)), path)
    return path


def test_the_distance_of_planes_is_not_the_length_of_a_step(tmp_path):
    grid = open_volume(save_tilted(tmp_path / "i.nii.gz", draw_scan()[0])).grid
    assert np.linalg.norm(grid.affine[:3, 0]) == pytest.approx(3.1925, abs=1e-4)
    assert grid.spacing_mm == pytest.approx((3.0, 1.0, 1.0))
    assert grid.pixel_area_mm2 * grid.spacing_mm[0] == pytest.approx(3.0)


def test_oblique_pixels_have_the_area_of_their_parallelogram():
    """Steps of 2 mm and 1 mm at 30 degrees: 1 mm2 and not 2."""
    row, column = np.array([0, 2.0, 0]), np.array([np.cos(np.pi / 3), np.sin(np.pi / 3), 0])
    affine = np.eye(4)
    affine[:3, :3] = np.stack([[0, 0, 5.0], row, column], axis=1)
    grid = Grid((1, 2, 2), affine)
    lesions = Lesions(np.ones((1, 2, 2), dtype=np.int16), (0, 0, 0), 0.0, resampled=False)
    assert areas_mm2(lesions, grid).tolist() == pytest.approx([4.0])
    assert grid.spacing_mm == pytest.approx((5.0, 2.0, 1.0))


def test_bags_and_check_of_a_tilted_scan_have_the_distance_of_planes(playground, command):
    image, mask = draw_scan(4)
    save_tilted(playground.folder / "i.nii.gz", image)
    save_tilted(playground.folder / "m.nii.gz", mask)
    playground.add("p", image="i.nii.gz", mask="m.nii.gz")
    config = playground.configure()
    assert command("check", config)[0] == 0
    row = read_check(playground)["p", "PVP"]
    assert float(row["thickness_mm"]) == pytest.approx(3.0)
    assert float(row["tumour_volume_ml"]) == pytest.approx(1.5)  # 500 voxels of 3 mm3
    command("run", config)
    bag = playground.bag("p")
    assert bag.header.sources["PVP"].spacing_mm == pytest.approx((1.0, 1.0, 3.0))
    assert float(bag.tumour_area_mm2.sum()) * 3.0 == pytest.approx(1500)


def test_a_spacing_of_the_cohort_table_is_the_distance_of_planes(tmp_path):
    path = save_tilted(tmp_path / "i.nii.gz", draw_scan()[0])
    grid = open_volume(path, HeaderOverrides(spacing_mm=(None, None, 5.0))).grid
    assert grid.spacing_mm == pytest.approx((5.0, 1.0, 1.0))


def test_a_margin_is_a_ball_also_where_axes_are_oblique():
    """Around one voxel: every voxel within 4 mm of it by its place, and no other."""
    affine = np.diag([3.0, 1.0, 1.0, 1.0])[[2, 1, 0, 3]]
    affine[1, 0] = TILT * 3.0
    grid = Grid((11, 31, 31), affine)
    lesions = Lesions(np.ones((1, 1, 1), dtype=np.int16), (5, 15, 15), 0.0, resampled=False)
    index = np.indices(grid.shape).reshape(3, -1) - np.array([[5], [15], [15]])
    expected = np.linalg.norm(affine[:3, :3] @ index, axis=0) <= 4.0
    found = np.zeros(grid.shape, dtype=bool)
    ball = grown(lesions, grid, 4.0)
    where = tuple(slice(a, a + n) for a, n in zip(ball.start, ball.number.shape, strict=True))
    found[where] = ball.number > 0
    np.testing.assert_array_equal(found.reshape(-1), expected)


def read(image: Path, mask: Path):
    plan = RegionPlan(*[Scan("p", "AP", image, (("", mask),))] * 2, DRAWN)
    return read_scan(plan, SlicesSection(), MasksSection())


@real
def test_the_gallbladder_of_the_reference_image_is_what_nibabel_says():
    """By nibabel alone: 13 slices, z 97.3 to 133.3 mm, 1,349 voxels of 27 mm3."""
    reading = read(DATA / "example_ct_sm.nii.gz", DATA / "example_ct_sm_masks" / "gallbladder.nii.gz")
    assert reading.findings == []
    grid = reading.image.grid
    assert reading.chosen.tolist() == list(range(1, 14))
    assert grid.z_mm()[reading.chosen[[0, -1]]].tolist() == pytest.approx([97.302, 133.302], abs=1e-3)
    area = float(areas_mm2(reading.region, grid).sum())
    assert area == pytest.approx(12_141)
    assert area * grid.spacing_mm[0] / 1000 == pytest.approx(36.423)


@real
def test_a_gantry_tilt_does_not_change_the_volume_of_the_gallbladder(tmp_path):
    for name in ("example_ct_sm.nii.gz", "example_ct_sm_masks/gallbladder.nii.gz"):
        image = nib.load(DATA / name)
        nib.save(
            nib.Nifti1Image(np.asanyarray(image.dataobj), tilted(image.affine)), tmp_path / Path(name).name
        )
    reading = read(tmp_path / "example_ct_sm.nii.gz", tmp_path / "gallbladder.nii.gz")
    grid = reading.image.grid
    assert grid.spacing_mm == pytest.approx((3.0, 3.0, 3.0))  # the step is 3.193 mm long
    assert float(areas_mm2(reading.region, grid).sum()) * grid.spacing_mm[0] / 1000 == pytest.approx(36.423)


@real
@pytest.mark.parametrize("cropped", [False, True])
def test_a_liver_passes_also_in_an_image_cropped_to_it(tmp_path, cropped):
    """It lies on all 30 slices, and fills 56 % of the body on one cropped to it."""
    image, mask = (nib.load(DATA / n) for n in ("example_ct_sm.nii.gz", "example_ct_sm_masks/liver.nii.gz"))
    if cropped:
        used = np.nonzero(np.asanyarray(mask.dataobj))
        box = tuple(slice(int(u.min()), int(u.max()) + 1) for u in used)
        image, mask = image.slicer[box], mask.slicer[box]
    nib.save(image, tmp_path / "i.nii.gz")
    nib.save(mask, tmp_path / "m.nii.gz")
    scan = Scan("p", "AP", tmp_path / "i.nii.gz", (), liver_mask=tmp_path / "m.nii.gz")
    reading = read_scan(RegionPlan(scan, scan, "organ"), SlicesSection(which="organ"), MasksSection())
    assert [finding.kind for finding in reading.findings if finding.severity == "error"] == []
    assert len(reading.chosen) == 30
    assert reading.organ_hu == pytest.approx(46, abs=1)


SUFFIXES = {".NII.GZ": gzip.compress, ".nii.bz2": bz2.compress, ".nii": bytes, ".NII": bytes}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("word", ["check", "run"])
def test_files_are_read_by_what_they_hold_and_not_by_their_suffix(playground, command, suffix, word):
    image, mask = draw_scan(5)
    for name, voxels in (("i", image), ("m", mask)):
        plain = save(playground.folder / f"{name}_plain.nii", voxels)
        (playground.folder / f"{name}{suffix}").write_bytes(SUFFIXES[suffix](plain.read_bytes()))
    playground.add("p", image=f"i{suffix}", mask=f"m{suffix}")
    code, printed = command(word, playground.configure())
    assert code == 0, printed


def thick(playground, z_mm: float):
    """An image of slices 10 mm apart (z 0 to 30), and a lesion of one slice of 2 mm at a height."""
    image, mask = draw_scan(7)
    save(playground.folder / "i.nii.gz", image[:, :, :4], spacing=(1, 1, 10))
    thin = np.repeat(mask[:, :, 5:6], 3, axis=2)
    thin[:, :, (0, 2)] = 0
    save(playground.folder / "m.nii.gz", thin, spacing=(1, 1, 2), origin=(0, 0, z_mm - 2))
    playground.add("p", image="i.nii.gz", mask="m.nii.gz")
    return playground.configure()


def test_a_lesion_between_two_thick_slices_is_not_said_to_lie_outside(playground, command):
    code, printed = command("run", thick(playground, 15))
    assert code == 2
    assert "the mask lies between the slices of the image, which are 10 mm apart" in printed
    assert "found it at z 15.0 to 15.0 mm" in printed
    assert "outside" not in printed


@pytest.mark.parametrize("z_mm", [-20, 45])
def test_a_lesion_above_or_below_lies_outside(playground, command, z_mm):
    assert "the mask lies outside of the image" in command("run", thick(playground, z_mm))[1]


def test_a_lesion_on_a_thick_slice_is_on_it(playground, command):
    assert command("run", thick(playground, 10.5))[0] == 0
    assert playground.bag("p").slice_index.tolist() == [1]
