"""Attention as a volume: on the voxels of the scan's own file, whatever its orientation."""

import re

import nibabel as nib
import numpy as np
import pytest

from extract.config import load_extract_config
from extract.overlays import write_overlays
from pipeline.errors import ResultsError
from pipeline.tables import TableStyle, write_table

WEIGHTS = {4: 0.1, 5: 0.2, 6: 0.4, 7: 0.3}
COLUMNS = ("model", "patient_id", "phase", "slice_number", "weight")


def save_rotated(path, voxels, codes):
    """Save an (x, y, z) array of an RAS grid with its axes stored as `codes`."""
    affine = np.diag([0.8, 0.8, 3.0, 1.0])
    affine[:3, 3] = (-10, -20, 30)
    to = nib.orientations.ornt_transform(
        nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(codes)
    )
    nib.save(nib.Nifti1Image(voxels, affine).as_reoriented(to), path)


def turned(*degrees: float) -> np.ndarray:
    """Return a rotation about x, then y, then z."""
    whole = np.eye(3)
    for axis, angle in enumerate(np.radians(degrees)):
        i, j = (k for k in range(3) if k != axis)
        step = np.eye(3)
        step[[i, i, j, j], [i, j, i, j]] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
        whole = step @ whole
    return whole


def save_oblique(path, voxels, header):
    """Save an (x, y, z) array on a tilted grid that the header tells in one of the ways of NIfTI."""
    affine = np.eye(4)
    affine[:3] = np.column_stack([turned(12, 0, 7) @ np.diag([0.8, 0.8, 3.0]), (-10, -20, 30)])
    elsewhere = affine.copy()
    elsewhere[:3, 3] += 5
    volume = nib.Nifti1Image(voxels, affine)
    volume.set_sform(
        *{"sform": (affine, 2), "qform": (None, 0), "both, apart": (affine, 1), "neither": (None, 0)}[header]
    )
    volume.set_qform(
        *{"sform": (None, 0), "qform": (affine, 1), "both, apart": (elsewhere, 1), "neither": (None, 0)}[
            header
        ]
    )
    nib.save(volume, path)


def prepare(tmp_path, save):
    """Write a scan with its mask by `save(path, voxels)`; return the configuration and the mask."""
    rng = np.random.default_rng(1)
    image = rng.integers(-1000, 200, size=(24, 20, 12)).astype(np.int16)
    mask = np.zeros(image.shape, dtype=np.uint8)
    mask[5:11, 6:9, 4:8] = 1
    save(tmp_path / "ct.nii.gz", image)
    save(tmp_path / "mask.nii.gz", mask)
    (tmp_path / "cohort.csv").write_text(
        "patient_id,phase,image,mask,label\n007,AP,ct.nii.gz,mask.nii.gz,HCC\n", encoding="utf-8"
    )
    (tmp_path / "e.toml").write_text(
        'name = "e"\noutput = "out"\n[cohort]\ntable = "cohort.csv"\n', encoding="utf-8"
    )
    return load_extract_config(tmp_path / "e.toml", ()), mask


@pytest.fixture(params=["RAS", "LPS", "LPI", "SAR"])
def experiment(tmp_path, request):
    return prepare(tmp_path, lambda path, voxels: save_rotated(path, voxels, request.param))


@pytest.fixture(params=["sform", "qform", "both, apart", "neither"])
def oblique(tmp_path, request):
    return prepare(tmp_path, lambda path, voxels: save_oblique(path, voxels, request.param))


def attend(config, *, style=None, **changes):
    (config.output / "tables").mkdir(parents=True, exist_ok=True)
    rows = [
        {
            "model": "attention",
            "patient_id": "007",
            "phase": "AP",
            "slice_number": i + 1,
            "weight": w,
            **changes,
        }
        for i, w in WEIGHTS.items()
    ]
    write_table(config.output / "tables" / "attention.csv", COLUMNS, rows, style=style)


def test_every_tumour_voxel_has_the_weight_of_its_slice_and_the_grid_is_that_of_the_file(experiment):
    config, mask = experiment
    attend(config)
    (path,) = write_overlays(config).paths
    overlay, scan = nib.load(path), nib.load(config.cohort.table.parent / "ct.nii.gz")
    assert path.name == "007_AP_attention.nii.gz"
    assert overlay.shape == scan.shape
    assert np.array_equal(overlay.affine, scan.affine)
    canonical = nib.as_closest_canonical(overlay).get_fdata()
    expected = np.zeros(mask.shape)
    for index, weight in WEIGHTS.items():
        expected[:, :, index] = mask[:, :, index] * weight * len(WEIGHTS)
    assert np.allclose(canonical, expected)


def test_both_affines_of_the_scan_and_their_codes_are_those_of_the_overlay(oblique):
    """Viewers differ in which they trust."""
    config, mask = oblique
    attend(config)
    (path,) = write_overlays(config).paths
    overlay, scan = nib.load(path), nib.load(config.cohort.table.parent / "ct.nii.gz")
    for of_overlay, of_scan in (
        (overlay.get_sform(coded=True), scan.get_sform(coded=True)),
        (overlay.get_qform(coded=True), scan.get_qform(coded=True)),
    ):
        assert of_overlay[1] == of_scan[1]
        assert of_scan[0] is None or np.allclose(of_overlay[0], of_scan[0], atol=1e-5)
    assert overlay.header.get_zooms() == scan.header.get_zooms()
    assert np.array_equal(overlay.get_fdata() > 0, mask > 0)


def test_the_toolkit_of_the_viewers_sees_the_overlay_on_the_scan(oblique):
    """3D Slicer and ITK-SNAP read with ITK."""
    itk = pytest.importorskip("SimpleITK", reason="SimpleITK is not installed")
    config, _ = oblique
    attend(config)
    (path,) = write_overlays(config).paths
    overlay, scan = (itk.ReadImage(str(p)) for p in (path, config.cohort.table.parent / "ct.nii.gz"))
    for name in ("GetOrigin", "GetSpacing", "GetDirection", "GetSize"):
        assert getattr(overlay, name)() == pytest.approx(getattr(scan, name)(), abs=1e-6)
    assert np.allclose(itk.GetArrayFromImage(overlay).T, nib.load(path).get_fdata())


def test_a_table_with_a_decimal_comma_is_read_as_well(experiment):
    config, _ = experiment
    attend(config, style=TableStyle(";", ","))
    (path,) = write_overlays(config).paths
    assert nib.load(path).get_fdata().max() == pytest.approx(0.4 * 4)


def test_a_scan_that_cannot_be_read_is_named_and_the_others_go_on(experiment):
    config, _ = experiment
    attend(config)
    (config.cohort.table.parent / "ct.nii.gz").unlink()
    found = write_overlays(config)
    assert found.paths == ()
    assert re.search(r"patient 007, phase AP: .*ct\.nii\.gz: no such file", found.faults[0])


def test_without_attention_the_command_says_what_to_run(experiment):
    config, _ = experiment
    with pytest.raises(ResultsError, match=r"attention\.csv: no such table; run `aggregate\.py run`"):
        write_overlays(config)


def test_an_unknown_model_is_refused_with_those_there_are(experiment):
    config, _ = experiment
    attend(config)
    with pytest.raises(ResultsError, match="no attention of model 'mil'; the table has attention"):
        write_overlays(config, model="mil")
