"""Stage 1 on DICOM series that nobody here wrote: JPEG-2000 without UIDs, implicit VR with a segmentation, explicit VR."""

import csv
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from pipeline.bags import bag_path, read_bag

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
SERIES = {
    "JPEG-2000": DATA / "totalsegmentator" / "example_ct_dicom",
    "implicit VR": DATA / "dcmqi",
    "explicit VR": DATA / "crlm-ct-1004",
}
SHAPES = {"JPEG-2000": (512, 512, 20), "implicit VR": (512, 512, 3), "explicit VR": (512, 512, 41)}

pytestmark = pytest.mark.skipif(
    not all(folder.exists() for folder in SERIES.values()), reason=f"no real DICOM at {DATA}"
)


def by_simpleitk(folder: Path) -> sitk.Image:
    """Read the series of a folder by another library, in HU."""
    reader = sitk.ImageSeriesReader()
    names = reader.GetGDCMSeriesFileNames(str(folder)) or sorted(map(str, folder.iterdir()))
    ordered = sorted(names, key=lambda name: position_of(name))
    return sitk.ReadImage(ordered)


def position_of(name: str) -> float:
    return float(sitk.ReadImage(name).GetOrigin()[2])


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "cohort.csv").open() as stream:
        return list(csv.DictReader(stream))


@pytest.fixture
def imported(tmp_path, command):
    """Import a real series; return the row of the cohort table with the image as a path."""

    def run(name: str, *words: str) -> dict[str, str]:
        code, printed = command(
            "import",
            "dicom",
            SERIES[name],
            f"key={tmp_path / 'key'}",
            *words,
            "--out",
            tmp_path / "cohort.csv",
        )
        assert code == 0, printed
        (row,) = rows_of(tmp_path)
        return row

    return run


@pytest.mark.parametrize("name", SERIES)
def test_voxels_and_their_place_are_those_that_simpleitk_reads(tmp_path, imported, name):
    row = imported(name, "masks=false")
    image = nib.load(tmp_path / row["image"])
    other = by_simpleitk(SERIES[name] / "ct-3slice" if name == "implicit VR" else SERIES[name])
    assert image.shape == SHAPES[name]
    voxels = np.clip(sitk.GetArrayFromImage(other).astype(np.int32), -1024, None)
    np.testing.assert_array_equal(np.asanyarray(image.dataobj).transpose(2, 1, 0), voxels)
    x, y, z = other.GetOrigin()
    np.testing.assert_allclose(image.affine[:3, 3], [-x, -y, z], atol=1e-3)
    np.testing.assert_allclose(np.abs(np.diag(image.affine)[:3]), other.GetSpacing(), atol=1e-3)


def test_a_segmentation_is_the_one_that_its_authors_give_as_nrrd(tmp_path, imported):
    row = imported("implicit VR", "organ=Liver")
    drawn = nib.load(tmp_path / row["liver_mask"])
    given = sitk.ReadImage(str(DATA / "dcmqi" / "liver_seg.nrrd"))
    assert np.asanyarray(drawn.dataobj).sum() == np.count_nonzero(sitk.GetArrayFromImage(given)) == 107098
    index = np.argwhere(np.asanyarray(drawn.dataobj))[::997]
    for place in index.tolist():
        x, y, z = nib.affines.apply_affine(drawn.affine, place)
        assert given[given.TransformPhysicalPointToIndex((-x, -y, z))] > 0


def bags_of(tmp_path, command, name: str, row: str, slices: str):
    """Make the bag of one row of a cohort table by stage 1."""
    (tmp_path / f"{name}.csv").write_text(f"patient_id,phase,image,mask,label,liver_mask\np,PVP,{row}\n")
    (tmp_path / f"{name}.toml").write_text(
        f'name = "{name}"\noutput = "{name}"\n[cohort]\ntable = "{name}.csv"\n[extract]\nencoder = "squeezenet1_0"\n'
        'weights = "random:0"\nprecision = "float32"\ndevice = "cpu"\n[extract.input]\nsize_px = 64\n'
        f"[extract.slices]\n{slices}"
    )
    code, printed = command("run", tmp_path / f"{name}.toml")
    assert code == 0, printed
    return read_bag(bag_path(tmp_path / name / "bags", "p"))


def assert_equal(bags) -> None:
    assert len(bags[0].features) > 0
    np.testing.assert_array_equal(bags[0].features, bags[1].features)
    np.testing.assert_allclose(bags[0].z_mm, bags[1].z_mm, atol=1e-3)


def test_a_series_and_the_same_volume_as_nifti_give_equal_features(tmp_path, imported, command):
    """The NIfTI is made by SimpleITK; the slices are those of a range in z, since nobody drew a tumour."""
    row = imported("explicit VR")
    sitk.WriteImage(by_simpleitk(SERIES["explicit VR"]), str(tmp_path / "by_simpleitk.nii.gz"))
    z = nib.load(tmp_path / row["image"]).affine[2, 3]
    (tmp_path / "z.csv").write_text(f"patient_id,phase,z_from_mm,z_to_mm\np,,{z + 50},{z + 100}\n")
    images = {"dicom": row["image"], "nifti": "by_simpleitk.nii.gz"}
    slices = 'which = "z_ranges"\nz_ranges = "z.csv"\n'
    assert_equal([bags_of(tmp_path, command, name, f"{image},,,", slices) for name, image in images.items()])


def test_a_segmentation_and_the_nrrd_of_its_authors_give_equal_features(tmp_path, imported, command):
    row = imported("implicit VR", "organ=Liver")
    sitk.WriteImage(by_simpleitk(SERIES["implicit VR"] / "ct-3slice"), str(tmp_path / "by_simpleitk.nii.gz"))
    given = DATA / "dcmqi" / "liver_seg.nrrd"
    rows = {"dicom": f"{row['image']},,,{row['liver_mask']}", "nifti": f"by_simpleitk.nii.gz,,,{given}"}
    assert_equal(
        [bags_of(tmp_path, command, name, cells, 'which = "organ"\n') for name, cells in rows.items()]
    )
