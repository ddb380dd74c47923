"""Means of feature maps over the crop, the lesion and its rim."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from extract.architectures import ARCHITECTURES
from extract.checkpoints import find_checkpoint, load_strictly
from extract.encoders import load_encoder
from extract.feature_maps import FeatureMap
from extract.region_masks import coverage, draw_regions
from extract.region_pooling import default_regions, feature_blocks, pooled
from extract.torchvision_maps import TorchvisionMaps
from extract.vision import torchvision_models
from pipeline.errors import ConfigError

BOTH = ("whole", "lesion")


def one_map(*values: float) -> FeatureMap:
    return FeatureMap("m", torch.tensor(values).view(1, 1, 2, 2))


def test_a_region_is_the_mean_weighted_by_the_area_it_covers():
    """Of 1, 2, 3, 4 the lesion covers the first cell whole and the last by half: (1 + 2) / 1.5 = 2."""
    found = pooled([one_map(1.0, 2.0, 3.0, 4.0)], BOTH, torch.tensor([[[1.0, 0.0, 0.0, 0.5]]]))
    assert found.tolist() == [[2.5, 2.0]]


def test_a_region_is_the_mean_over_its_pixels_of_the_map_enlarged_to_them():
    """Oracle: each cell enlarged to 4 x 4 pixels, and an ordinary mean over the pixels of the mask."""
    rng = np.random.default_rng(0)
    maps, masks = rng.normal(size=(3, 5, 6, 7)).astype(np.float32), rng.random((3, 2, 24, 28)) < 0.3
    share = coverage(torch.from_numpy(masks), [(6, 7)])
    found = pooled([FeatureMap("m", torch.from_numpy(maps))], ("lesion", "rim"), share).numpy()
    large = np.kron(maps, np.ones((4, 4)))
    expected = [[large[i][:, masks[i, r]].mean(axis=1) for r in range(2)] for i in range(3)]
    np.testing.assert_allclose(found, np.reshape(expected, (3, 10)), atol=1e-5)


@pytest.mark.parametrize("grid", [(1, 1), (6, 7), (13, 13), (40, 31)])
def test_coverage_keeps_the_area_whatever_the_grid(grid):
    mask = np.random.default_rng(1).random((2, 1, 30, 23)) < 0.4
    share = coverage(torch.from_numpy(mask), [grid])
    assert 0 <= share.min() <= share.max() <= 1 + 1e-6
    np.testing.assert_allclose(share.mean(2)[:, 0], mask.mean((1, 2, 3)), atol=1e-6)


def test_a_region_of_a_volume_is_the_mean_over_its_voxels_of_the_map_enlarged_to_them():
    """Oracle: each cell enlarged to 2 x 4 x 3 voxels, and an ordinary mean over the voxels of the mask."""
    rng = np.random.default_rng(3)
    maps, masks = rng.normal(size=(2, 5, 3, 6, 7)).astype(np.float32), rng.random((2, 2, 6, 24, 21)) < 0.3
    share = coverage(torch.from_numpy(masks), [(3, 6, 7)])
    found = pooled([FeatureMap("m", torch.from_numpy(maps))], ("whole", "lesion", "rim"), share).numpy()
    large = np.kron(maps, np.ones((2, 4, 3)))
    expected = [[large[i][:, masks[i, r]].mean(axis=1) for r in range(2)] for i in range(2)]
    np.testing.assert_allclose(found[:, 5:], np.reshape(expected, (2, 10)), atol=1e-5)
    np.testing.assert_allclose(found[:, :5], maps.mean((2, 3, 4)), atol=1e-5)


@pytest.mark.parametrize("grid", [(), (1, 1, 1), (2, 3, 4), (5, 13, 13), (9, 40, 31)])
def test_coverage_keeps_the_volume_whatever_the_grid(grid):
    mask = np.random.default_rng(1).random((2, 1, 7, 30, 23)) < 0.4
    share = coverage(torch.from_numpy(mask), [grid])
    assert share.shape == (2, 1, np.prod(grid))
    np.testing.assert_allclose(share.mean(2)[:, 0], mask.mean((1, 2, 3, 4)), atol=1e-6)


def test_the_rim_of_a_volume_is_as_wide_in_mm_along_every_axis():
    """Oracle: the distance of every voxel to every voxel of the lesion, with slices further apart than pixels."""
    spacing = (2.5, 0.8, 1.1)
    masks = np.random.default_rng(2).random((2, 6, 15, 20)) < 0.004
    places = np.indices(masks.shape[1:]).reshape(3, -1).T * spacing
    (rim,) = draw_regions(masks, spacing, ("rim",), 4.05).transpose(1, 0, 2, 3, 4)
    for mask, ring in zip(masks, rim, strict=True):
        near = cdist(places, places[mask.ravel()]).min(axis=1) <= 4.05
        np.testing.assert_array_equal(ring, near.reshape(mask.shape) & ~mask)


def test_a_region_that_covers_the_crop_is_the_whole():
    values = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    whole, lesion = pooled([FeatureMap("m", values)], BOTH, torch.ones(2, 1, 20)).chunk(2, dim=1)
    torch.testing.assert_close(lesion, whole)


def test_a_region_of_nothing_is_the_class_token_or_the_whole():
    assert pooled([one_map(1.0, 2.0, 3.0, 4.0)], BOTH, torch.zeros(1, 1, 4)).tolist() == [[2.5, 2.5]]
    tokens = FeatureMap("t", torch.tensor([[[7.0], [8.0], [1.0], [2.0]]]), grid=(1, 2), n_prefix=2)
    regions = ("cls", "whole", "lesion")
    assert pooled([tokens], regions, torch.zeros(1, 1, 2)).tolist() == [[7.0, 1.5, 7.0]]
    assert pooled([tokens], regions, torch.tensor([[[0.0, 0.1]]])).tolist() == [[7.0, 1.5, 2.0]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sums_are_taken_in_float32_whatever_the_precision_of_the_map(dtype):
    """The sum of 64 x 64 times 1000 is beyond float16, and bfloat16 would not count it."""
    values = torch.full((1, 1, 64, 64), 1000.0, dtype=dtype)
    found = pooled([FeatureMap("m", values)], BOTH, torch.ones(1, 1, 64 * 64))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, torch.full((1, 2), 1000.0), rtol=1e-5, atol=0)


def test_blocks_say_the_layer_where_there_are_several():
    a, b = (
        FeatureMap("features.4", torch.zeros(1, 8, 2, 2)),
        FeatureMap("features.12", torch.zeros(1, 3, 1, 1)),
    )
    assert [str(block) for block in feature_blocks([a], BOTH)] == ["whole 0:8", "lesion 8:16"]
    assert [str(block) for block in feature_blocks([a, b], BOTH)] == [
        "whole@features.4 0:8", "lesion@features.4 8:16", "whole@features.12 16:19", "lesion@features.12 19:22",
    ]  # fmt: skip


def test_the_rim_holds_what_lies_within_its_width_of_the_lesion():
    """Oracle: the distance of every pixel to every pixel of the lesion."""
    masks = np.random.default_rng(2).random((2, 25, 30)) < 0.01
    places = np.indices(masks.shape[1:]).reshape(2, -1).T * (0.8, 1.1)
    lesion, rim = draw_regions(masks, (0.8, 1.1), ("lesion", "rim"), 5.0).transpose(1, 0, 2, 3)
    np.testing.assert_array_equal(lesion, masks)
    for mask, ring in zip(masks, rim, strict=True):
        near = cdist(places, places[mask.ravel()]).min(axis=1) <= 5.0
        np.testing.assert_array_equal(ring, near.reshape(mask.shape) & ~mask)


def small(name: str) -> torch.nn.Module:
    """A small network of the class of a row of the table, its head taken off as the row says."""
    models = torchvision_models()
    blocks = models.convnext.CNBlockConfig
    network = {
        "densenet121": lambda: models.DenseNet(4, (2, 2), 8),
        "convnext_tiny": lambda: models.ConvNeXt([blocks(8, 16, 1), blocks(16, None, 1)]),
        "swin_t": lambda: models.SwinTransformer([4, 4], 8, [1, 1], [1, 1], [4, 4]),
        "vit_b_16": lambda: models.VisionTransformer(32, 4, 1, 2, 16, 16),
    }[name]()
    parent, _, head = ARCHITECTURES[name].head.rpartition(".")
    setattr(network.get_submodule(parent), head, torch.nn.Identity())
    return network.eval()


@pytest.mark.parametrize("name", ["densenet121", "convnext_tiny", "swin_t", "vit_b_16"])
def test_the_whole_of_the_last_map_is_what_the_network_itself_gives(name):
    network = small(name)
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        expected = network(images).flatten(1)
        maps = TorchvisionMaps(network, ARCHITECTURES[name], ["penultimate"])(images)
        regions = default_regions(maps)
        found = pooled(maps, regions)
    assert regions == (("cls",) if name == "vit_b_16" else ("whole",))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_row_of_the_table_gives_the_features_of_its_network(name):
    row = ARCHITECTURES[name]
    encoder = load_encoder(name, "random:0", precision="float32", device="cpu")
    network = row.build()
    load_strictly(network, row, find_checkpoint(row, "random:0"))
    shape = (1, 3, 224, 224) if row.dims == 2 else (1, row.channels, 16, 64, 64)
    images = torch.rand(shape, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        expected = network.eval()(encoder.normalise(images))
        expected = expected.mean((2, 3, 4)) if expected.ndim == 5 else expected.flatten(1)
    torch.testing.assert_close(encoder.embed_plainly(images), expected, rtol=1e-4, atol=1e-5)
    assert encoder.readout(shape[-1]).blocks[-1].stop == expected.shape[1] == row.dim


def test_the_tokens_of_a_transformer_lie_row_after_row():
    """A bright patch in row 2, column 5 moves the patch token there and no other, before any attention mixes them."""
    grey = torch.full((1, 3, 32, 32), 0.5)
    bright = grey.clone()
    bright[:, :, 8:12, 20:24] = 1.0
    maps = TorchvisionMaps(small("vit_b_16"), ARCHITECTURES["vit_b_16"], ["encoder.dropout"])
    with torch.inference_mode():
        (a,), (b,) = maps(grey), maps(bright)
    assert (a.places - b.places).abs().sum(1)[0].nonzero().tolist() == [[2, 5]]
    assert torch.equal(a.class_token, b.class_token)


@pytest.mark.parametrize(("name", "layer", "later"), [
    ("squeezenet1_1", "features.0", "features.12"),  # followed by a ReLU in place
    ("resnet18", "layer1.0.bn2", "layer2"),  # the shortcut is added in place
    ("densenet121", "features.norm5", "penultimate"),  # a function in place
])  # fmt: skip
def test_a_layer_is_the_same_beside_later_ones(name, layer, later):
    row = ARCHITECTURES[name]
    network = small(name) if name == "densenet121" else row.build()
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        alone = TorchvisionMaps(network, row, [layer])(images)[0].values
        beside = TorchvisionMaps(network, row, [layer, later])(images)[0].values
    assert torch.equal(alone, beside)


def test_a_layer_that_is_none_is_told_the_nearest():
    with pytest.raises(ConfigError, match=r"resnet18 has no layer 'layer5'; nearest: 'layer4'"):
        load_encoder("resnet18", "random:0", layers=["layer5"])


def test_a_region_that_an_encoder_cannot_give_is_refused():
    encoder = load_encoder("squeezenet1_1", "random:0", regions=["cls"], precision="float32", device="cpu")
    with pytest.raises(ConfigError, match="squeezenet1_1 has no 'cls'; expected some of whole, lesion, rim"):
        encoder.readout(64)


def test_a_size_that_leaves_nothing_of_an_image_is_refused():
    encoder = load_encoder("squeezenet1_1", "random:0", precision="float32", device="cpu")
    with pytest.raises(ConfigError, match=r"size_px = 8: expected a size that squeezenet1_1 takes, found: "):
        encoder.readout(8)


def test_an_image_has_the_same_bytes_whatever_it_comes_with():
    encoder = load_encoder(
        "squeezenet1_1", "random:0", regions=["whole", "lesion"], precision="float32", device="cpu"
    )
    images = torch.rand(40, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    (grid,) = encoder.readout(64).grids
    share = coverage(images > 0.7, [grid])
    together = encoder.embed(images, share)
    assert torch.equal(together[33:35], encoder.embed(images[33:35], share[33:35]))


class ImageItself:
    """A network whose map is the image."""

    def __call__(self, inputs: torch.Tensor) -> tuple[FeatureMap, ...]:
        return (FeatureMap("pixels", inputs),)

    plainly = __call__


def test_a_network_of_another_door_is_pooled_likewise():
    """Of the image itself the lesion's feature is the mean over its pixels."""
    encoder = replace(
        load_encoder("squeezenet1_1", "random:0", regions=["lesion"], precision="float32", device="cpu"),
        network=ImageItself(),
    )
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    masks = images[:, :1] > 0.6
    shown = encoder.normalise(images)
    expected = torch.stack([image[:, mask[0]].mean(1) for image, mask in zip(shown, masks, strict=True)])
    torch.testing.assert_close(encoder.embed(images, coverage(masks, [(32, 32)])), expected)
