import gzip
from pathlib import Path

import nibabel
import numpy as np

from extract.phantom.nifti import nifti_writer

AFFINE = np.array([[-0.8, 0, 0, 120], [0, 0.8, 0, -90], [0, 0, 2.5, -700], [0, 0, 0, 1]])
VOXELS = np.random.default_rng(0).normal(60, 12, (6, 40, 30)).astype(np.int16)  # (z, y, x)


def write(path: Path, *, slab: int) -> bytes:
    with nifti_writer(path, VOXELS.shape[::-1], AFFINE, np.int16) as append:
        for first in range(0, len(VOXELS), slab):
            append(VOXELS[first : first + slab])
    return path.read_bytes()


def test_nibabel_reads_back_voxels_and_geometry(tmp_path):
    write(tmp_path / "a.nii.gz", slab=4)
    image = nibabel.load(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(np.asarray(image.dataobj), VOXELS.T)
    np.testing.assert_allclose(image.affine, AFFINE, atol=1e-5)
    np.testing.assert_allclose(image.header.get_zooms(), (0.8, 0.8, 2.5))
    assert image.get_data_dtype() == np.int16


def test_the_compressed_stream_bears_neither_time_nor_name(tmp_path):
    content = write(tmp_path / "a.nii.gz", slab=6)
    assert content[3] == 0  # no file name
    assert content[4:8] == bytes(4)  # no time
    assert content == write(tmp_path / "other.nii.gz", slab=6)


def test_the_voxels_do_not_depend_on_the_slabs(tmp_path):
    whole, pieces = write(tmp_path / "a.nii.gz", slab=6), write(tmp_path / "b.nii.gz", slab=1)
    assert gzip.decompress(whole) == gzip.decompress(pieces)


def test_nibabel_itself_would_write_the_same_voxel_bytes(tmp_path):
    write(tmp_path / "a.nii.gz", slab=6)
    image = nibabel.load(tmp_path / "a.nii.gz")
    for name in ("b.nii.gz", "c.nii.gz"):
        nibabel.save(
            nibabel.Nifti1Image(np.asarray(image.dataobj), image.affine, image.header), tmp_path / name
        )
    ours, theirs = ((tmp_path / name).read_bytes() for name in ("a.nii.gz", "b.nii.gz"))
    assert gzip.decompress(ours)[352:] == gzip.decompress(theirs)[352:]
    assert theirs == (tmp_path / "c.nii.gz").read_bytes()
