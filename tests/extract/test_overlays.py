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


@pytest.fixture(params=["RAS", "LPS", "LPI", "SAR"])
def experiment(tmp_path, request):
    rng = np.random.default_rng(1)
    image = rng.integers(-1000, 200, size=(24, 20, 12)).astype(np.int16)
    mask = np.zeros(image.shape, dtype=np.uint8)
    mask[5:11, 6:9, 4:8] = 1
    save_rotated(tmp_path / "ct.nii.gz", image, request.param)
    save_rotated(tmp_path / "mask.nii.gz", mask, request.param)
    (tmp_path / "cohort.csv").write_text(
        "patient_id,phase,image,mask,label\n007,AP,ct.nii.gz,mask.nii.gz,HCC\n", encoding="utf-8"
    )
    (tmp_path / "e.toml").write_text(
        'name = "e"\noutput = "out"\n[cohort]\ntable = "cohort.csv"\n', encoding="utf-8"
    )
    return load_extract_config(tmp_path / "e.toml", ()), mask


def attend(config, *, style=None, **changes):
    (config.output).mkdir(exist_ok=True)
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
    write_table(config.output / "attention.csv", COLUMNS, rows, style=style)


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
