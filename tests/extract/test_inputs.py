"""What the encoder is shown."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from extract.config import InputSection
from extract.inputs import make_images
from pipeline.bags import Source
from pipeline.slices import PhaseSlices

CPU = torch.device("cpu")


@pytest.fixture
def slices() -> PhaseSlices:
    rng = np.random.default_rng(0)
    crops = rng.integers(-200, 300, size=(3, 64, 64), dtype=np.int16)
    masks = np.zeros(crops.shape, dtype=bool)
    masks[:, 24:40, 24:40] = True
    return PhaseSlices(
        phase="AP",
        crops_hu=crops,
        masks=masks,
        spacing_mm=(1.0, 1.0),
        slice_index=np.arange(3, dtype=np.int32),
        z_mm=np.arange(3, dtype=np.float32),
        tumour_area_mm2=np.full(3, 256, dtype=np.float32),
        lesion=np.ones(3, dtype=np.int16),
        source=Source("a.nii", "i", "m", "drawn", (1.0, 1.0, 1.0), 3),
        neighbours=np.stack([crops - 50, crops + 50], axis=1),
    )


def section(side=64.0, **more) -> InputSection:
    return InputSection(**{"scales_mm": {"s": side}, "size_px": 64, **more})


def windowed(hu: np.ndarray, level=40.0, width=400.0) -> np.ndarray:
    return np.clip((hu - (level - width / 2)) / width, 0, 1).astype(np.float32)


def test_at_native_size_the_image_is_the_windowed_crop(slices):
    shown = make_images(slices, section(), CPU).numpy()
    assert shown.shape[1] == 1  # three equal channels are kept as one
    np.testing.assert_allclose(shown[:, 0], windowed(slices.crops_hu), atol=1e-6)


def test_three_windows_are_three_channels(slices):
    windows = ((40.0, 400.0), (60.0, 150.0), (-600.0, 1500.0))
    shown = make_images(slices, section(windows=windows), CPU).numpy()
    for channel, window in enumerate(windows):
        np.testing.assert_allclose(shown[:, channel], windowed(slices.crops_hu, *window), atol=1e-6)


def test_three_planes_are_below_at_and_above(slices):
    shown = make_images(slices, section(planes=3), CPU).numpy()
    for channel, shift in enumerate((-50, 0, 50)):
        np.testing.assert_allclose(shown[:, channel], windowed(slices.crops_hu + shift), atol=1e-6)


def test_outside_of_the_mask_is_set_to_the_value(slices):
    shown = make_images(slices, section(outside_mask_hu=-160.0), CPU).numpy()
    assert (shown[:, 0][~slices.masks] == 0).all()
    np.testing.assert_allclose(shown[:, 0][slices.masks], windowed(slices.crops_hu)[slices.masks], atol=1e-6)


def test_scales_follow_each_other_and_show_the_same_middle(slices):
    both = make_images(slices, InputSection(scales_mm={"tight": 32.0, "wide": 64.0}, size_px=32), CPU)
    tight = make_images(slices, InputSection(scales_mm={"tight": 32.0}, size_px=32), CPU)
    assert len(both) == 6
    assert torch.equal(both[:3], tight)
    np.testing.assert_allclose(tight[:, 0].numpy(), windowed(slices.crops_hu[:, 16:48, 16:48]), atol=1e-6)


def test_a_tight_square_out_of_a_whole_slice_is_cut_around_the_tumour(slices):
    middle = np.array([[20, 30], [32, 32], [2, 60]], dtype=np.int32)
    scales = {"tight": 16.0, "whole": "whole"}
    shown = make_images(
        replace(slices, middle=middle), InputSection(scales_mm=scales, size_px=32, windows=((0, 4000),)), CPU
    )
    alone = np.full((16, 16), -1024.0)
    alone[6:, :12] = slices.crops_hu[2, :10, 52:]
    corner = torch.nn.functional.interpolate(
        torch.from_numpy(windowed(alone, 0, 4000))[None, None], (32, 32), mode="bilinear", antialias=True
    )
    torch.testing.assert_close(shown[2, :1], corner[0], atol=1e-6, rtol=0)
    assert len(shown) == 6


def test_downsizing_is_antialiased(slices):
    """A chequerboard of one pixel becomes grey, not black or white."""
    board = np.indices((64, 64)).sum(axis=0) % 2
    crops = np.broadcast_to(board * 400 - 160, (3, 64, 64)).astype(np.int16)
    shown = make_images(replace(slices, crops_hu=crops), section(size_px=32), CPU)
    torch.testing.assert_close(shown, torch.full_like(shown, 0.5), atol=0.05, rtol=0)
