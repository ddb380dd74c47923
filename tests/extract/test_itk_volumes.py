"""NRRD and MHA: the same orientation, the same bag, and errors that say what to do."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from extract import itk_volumes
from extract.overlays import _save
from extract.volumes import VolumeError, open_volume
from tests.extract.conftest import draw_scan, save

sitk = pytest.importorskip("SimpleITK", reason="SimpleITK is not installed")

TURNED = ("LPS", "RAS", "RPI", "ASR")
SECTION = """[extract]
encoder = "squeezenet1_0"
weights = "random:0"
precision = "float32"
device = "cpu"
shared_images = "allow"
[extract.input]
size_px = 32
"""


def copied(source: Path, name: str, axes: str = "LPS") -> Path:
    """Write a volume with ITK, its stored axes turned to another order."""
    target = source.with_name(name)
    sitk.WriteImage(sitk.DICOMOrient(sitk.ReadImage(str(source)), axes), str(target), useCompression=True)
    return target


@pytest.mark.parametrize("axes", TURNED)
@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_a_voxel_lies_where_it_lies_in_nifti(tmp_path, axes, suffix):
    nifti = save(tmp_path / "a.nii.gz", draw_scan()[0], origin=(17.0, -33.0, 250.0))
    here, there = open_volume(nifti), open_volume(copied(nifti, f"b{suffix}", axes))
    assert there.grid.is_same_as(here.grid)
    np.testing.assert_array_equal(there.read(), here.read())
    np.testing.assert_array_equal(there.read(3, 7), here.read(3, 7))


def test_one_patient_as_nifti_nrrd_and_mha_gives_the_same_bag(playground, command):
    playground.add("nifti", seed=1)
    for suffix in ("nrrd", "mha"):
        names = {
            what: copied(playground.folder / f"nifti_PVP{end}.nii.gz", f"{what}.{suffix}", "RAS").name
            for what, end in (("image", ""), ("mask", "_mask"))
        }
        playground.add(suffix, **names)
    code, printed = command("run", playground.configure(SECTION))
    assert code == 0, printed
    nifti = playground.bag("nifti")
    for other in (playground.bag("nrrd"), playground.bag("mha")):
        np.testing.assert_array_equal(other.features, nifti.features)
        np.testing.assert_array_equal(other.z_mm, nifti.z_mm)
        np.testing.assert_array_equal(other.measures, nifti.measures)


def test_an_overlay_of_a_nrrd_scan_lies_on_the_scan(tmp_path):
    nrrd = copied(save(tmp_path / "a.nii.gz", draw_scan()[0], origin=(5.0, 6.0, 7.0)), "b.nrrd", "RPI")
    image = open_volume(nrrd)
    _save(tmp_path / "overlay.nii.gz", np.ones(image.grid.shape, dtype=np.float32), image)
    written = nib.load(tmp_path / "overlay.nii.gz")
    np.testing.assert_allclose(written.affine, image.header_affine)
    assert written.shape == image.stored_shape


def test_a_truncated_file_is_told(tmp_path):
    whole = copied(save(tmp_path / "a.nii.gz", draw_scan()[0]), "b.nrrd")
    whole.write_bytes(whole.read_bytes()[:9000])
    volume = open_volume(whole)
    with pytest.raises(
        VolumeError, match=r"b\.nrrd: expected a NRRD or MHA volume, found a file that cannot be read"
    ):
        volume.read()


def test_segments_that_overlap_are_refused_with_what_to_do(tmp_path):
    layers = sitk.GetImageFromArray(np.zeros((4, 5, 6, 2), dtype=np.uint8), isVector=True)
    sitk.WriteImage(layers, str(tmp_path / "layers.nrrd"))
    with pytest.raises(
        VolumeError, match=r"2 values in each voxel.*export each segment as a volume of its own"
    ):
        open_volume(tmp_path / "layers.nrrd")


def test_a_header_without_a_space_is_a_doubt(tmp_path):
    path = tmp_path / "nowhere.nrrd"
    header = "NRRD0004\ntype: short\ndimension: 3\nsizes: 6 5 4\nspacings: 1 1 3\nencoding: raw\nendian: little\n\n"
    path.write_bytes(header.encode() + np.zeros(120, dtype="<i2").tobytes())
    assert "names no space" in (open_volume(path).doubt or "")


def test_without_simpleitk_the_extra_is_named(tmp_path, monkeypatch):
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(itk_volumes, "import_module", missing)
    (tmp_path / "a.nrrd").write_bytes(b"NRRD0004\n")
    with pytest.raises(VolumeError, match=r"pip install 'phasemil\[itk\]', or convert to NIfTI"):
        open_volume(tmp_path / "a.nrrd")
