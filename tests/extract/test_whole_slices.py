"""The whole slices in the store: where a crop lies in them, and which side of them is the patient's right."""

import nibabel as nib
import numpy as np
import pytest

from extract.crops import CONTEXT_PX, coarser
from pipeline.store import SliceStore

RAS = nib.orientations.axcodes2ornt("RAS")


def draw_marked() -> tuple[np.ndarray, np.ndarray]:
    """A body with a bright bone in front on the patient's right and the tumour near it, as (x, y, z) in RAS."""
    image = np.full((60, 48, 10), -1000, dtype=np.int16)
    image[4:-4, 4:-4] = 40
    image += np.random.default_rng(3).integers(-10, 11, size=image.shape, dtype=np.int16)
    image[50:54, 38:42, :8] = 1000
    mask = np.zeros(image.shape, dtype=np.uint8)
    mask[34:44, 28:36, 3:7] = 1
    image[mask > 0] += 60
    return image, mask


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PIL"])
def test_the_patients_right_is_on_the_left_and_the_front_above_however_the_file_is_stored(
    playground, command, codes
):
    for name, voxels in zip(("i.nii.gz", "m.nii.gz"), draw_marked(), strict=True):
        image = nib.Nifti1Image(voxels, np.diag([1.0, 1.0, 3.0, 1.0]))
        turned = image.as_reoriented(
            nib.orientations.ornt_transform(RAS, nib.orientations.axcodes2ornt(codes))
        )
        assert "".join(nib.aff2axcodes(turned.affine)) == codes
        nib.save(turned, playground.folder / name)
    playground.add("p", image="i.nii.gz", mask="m.nii.gz")
    assert command("run", playground.configure())[0] == 0
    (slices,) = SliceStore(playground.folder / "out" / "slices.zarr").read_phases("p")
    assert slices.context_step == 1
    assert slices.context_hu.shape == (4, 48, 60)
    for context in slices.context_hu:
        rows, columns = np.nonzero(context > 900)
        assert (rows.min(), rows.max()) == (6, 9)  # 48 rows, the front first: 47 - 41 to 47 - 38
        assert (columns.min(), columns.max()) == (6, 9)  # 60 columns, the right first: 59 - 53 to 59 - 50
    place = np.argwhere(slices.masks[0]).min(axis=0) + slices.corner[0]
    assert place.tolist() == [47 - 35, 59 - 43]
    tumour = slices.context_hu[0][place[0] : place[0] + 8, place[1] : place[1] + 10]
    assert tumour.min() > 80


def test_a_header_without_a_position_is_remembered_with_the_slices(playground, command):
    for name, voxels in zip(("i.nii.gz", "m.nii.gz"), draw_marked(), strict=True):
        image = nib.Nifti1Image(voxels, None)
        image.header.set_zooms((1.0, 1.0, 3.0))
        image.set_sform(None, code=0)
        image.set_qform(None, code=0)
        nib.save(image, playground.folder / name)
    playground.add("p", image="i.nii.gz", mask="m.nii.gz")
    command("run", playground.configure())
    assert SliceStore(playground.folder / "out" / "slices.zarr").read("p").is_place_doubtful("PVP")


def test_a_pixel_of_a_coarser_slice_is_the_mean_of_its_block():
    """257 pixels a side make blocks of 3; the last two rows and columns fill none."""
    planes = np.arange(2 * 257 * 257, dtype=np.int64).reshape(2, 257, 257) % 3000 - 1000
    means, step = coarser(planes.astype(np.int16))
    assert step == 3
    assert means.shape == (2, 85, 85)
    assert means[1, 2, 5] == planes[1, 6:9, 15:18].sum() // 9


@pytest.mark.parametrize("shape", [(1, 512, 512), (1, 512, 3), (1, 1, 1), (1, 1024, 700)])
def test_a_coarser_slice_is_of_bounded_size_and_of_one_pixel_at_least(shape):
    means, _ = coarser(np.zeros(shape, dtype=np.int16))
    assert min(means.shape) >= 1
    assert max(means.shape) <= CONTEXT_PX
