"""Slabs: neighbouring slices as planes for a 3D encoder, or as their mean for a 2D one."""

import zlib
from functools import partial

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch.nn import functional

from extract.architectures import ARCHITECTURES
from extract.checkpoints import find_checkpoint
from extract.config import ExtractSection, InputSection
from extract.encoders import load_encoder
from extract.inputs import make_images
from extract.prepare import Preparation
from extract.slab_squares import SlabSquares
from extract.slabs import Stack
from extract.squares import squares_of
from extract.vision import torchvision_models
from pipeline.bags import bag_path, read_bag
from pipeline.slices import PhaseSlices
from pipeline.store import SliceStore
from tests.extract.conftest import SPACING, draw_scan
from tests.extract.test_run import destroy_scans

CPU = torch.device("cpu")
Z_MM = SPACING[2]
FLAT = """[extract]
encoder = "squeezenet1_0"
weights = "random:0"
precision = "float32"
device = "cpu"
regions = ["whole", "lesion", "rim"]
rim_mm = 4.0
[extract.input]
size_px = 64
"""
VIDEO = """[extract]
encoder = "r3d_18"
weights = "random:0"
precision = "float32"
device = "cpu"
layers = ["layer2", "penultimate"]
regions = ["whole", "lesion"]
[extract.input]
size_px = 32
slab_planes = 8
scales_mm = { slab = { side = 32.0, depth = 24.0 } }
"""
"""A pixel is 1 mm, and so a square of 32 mm one of 32 pixels, which nothing resizes."""


@pytest.fixture
def prepared(playground, command):
    """Return the stored slices of one patient whose scan is that of seed 5, for scales with a depth."""

    def prepare(scales: str, *more: str) -> PhaseSlices:
        playground.add("p", seed=5)
        code, printed = command("run", playground.configure(FLAT), f"input.scales_mm={scales}", *more)
        assert code == 0, printed
        return SliceStore(playground.folder / "out" / "slices.zarr").read_phases("p", with_planes=True)[0]

    return prepare


def scan_and_mask(seed: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """The scan as (slices, rows, columns), as it is looked at."""
    return tuple(voxels.transpose(2, 1, 0) for voxels in draw_scan(seed))


def hu_of(
    slices: PhaseSlices, scale: object, n_parts: int, outside_mask_hu: float | None = None
) -> np.ndarray:
    """Return (slices, n_parts, rows, columns) of the slabs of one scale."""
    (squares,) = squares_of(slices, InputSection(scales_mm={"slab": scale}))
    slabs = SlabSquares(slices, squares, n_parts, CPU)
    return torch.stack([slabs.hu(i, outside_mask_hu) for i in range(len(slices))]).numpy()


@pytest.mark.parametrize("n_planes", [2, 5, 16])
@pytest.mark.parametrize("depth", [5.0, 24.0, 40.0])
def test_planes_are_those_of_scipy_and_the_edge_goes_on_beyond_the_scan(prepared, depth, n_planes):
    """Of slices 4 to 8 of 12, 3 mm apart, a slab of 40 mm reaches beyond both ends, and one of 24 mm beyond one."""
    slices = prepared(f"{{ slab = {{ side = 21, depth = {depth} }} }}")
    found = hu_of(slices, {"side": 21.0, "depth": depth}, n_planes)
    scan, _ = scan_and_mask()
    assert found.shape == (5, n_planes, 21, 21)
    for planes, index, (row, column) in zip(found, slices.slice_index, slices.corner, strict=True):
        offsets = (np.arange(n_planes) + 0.5) * depth / n_planes - depth / 2
        places = np.meshgrid(
            index + offsets / Z_MM, np.arange(21.0) + row, np.arange(21.0) + column, indexing="ij"
        )
        expected = ndimage.map_coordinates(scan.astype(float), places, order=1, mode="nearest")
        np.testing.assert_allclose(planes, expected, atol=1e-2)


@pytest.mark.parametrize("depth", [2.0, 9.0, 25.0, 50.0])
def test_the_mean_of_a_slab_is_the_mean_through_its_depth(prepared, depth):
    """Oracle: at 20 000 places through the depth, the slice that is nearest, the first or last one beyond the scan."""
    slices = prepared(f"{{ slab = {{ side = 21, depth = {depth} }} }}")
    found = hu_of(slices, {"side": 21.0, "depth": depth}, 1)
    scan, _ = scan_and_mask()
    offsets = ((np.arange(20_000) + 0.5) / 20_000 - 0.5) * depth / Z_MM
    for (plane,), index, (row, column) in zip(found, slices.slice_index, slices.corner, strict=True):
        nearest = np.clip(np.rint(index + offsets), 0, 11).astype(int)
        expected = scan[nearest, row : row + 21, column : column + 21].mean(axis=0)
        np.testing.assert_allclose(plane, expected, atol=0.5)


def test_a_slab_as_thick_as_its_slice_is_the_slice(prepared):
    slices = prepared("{ slab = { side = 21, depth = 3 } }")
    np.testing.assert_array_equal(hu_of(slices, {"side": 21.0, "depth": 3.0}, 1)[:, 0], slices.crops_hu)


def test_outside_of_the_mask_each_slice_of_a_slab_is_set_to_the_value(prepared):
    """Slice 8 is the last with tumour: of three slices about it two show tumour, and the third nothing but the value."""
    slices = prepared("{ slab = { side = 21, depth = 9 } }")
    found = hu_of(slices, {"side": 21.0, "depth": 9.0}, 1, outside_mask_hu=-100.0)[-1, 0]
    scan, mask = scan_and_mask()
    row, column = slices.corner[-1]
    shown = np.where(mask, scan, -100)[7:10, row : row + 21, column : column + 21].mean(axis=0)
    np.testing.assert_allclose(found, shown, atol=1e-3)


def test_the_weights_of_a_slab_by_hand():
    """Slices 2 mm apart; a slab of 6 mm about the second of four reaches from -2 to 4 mm about the first."""
    stack = partial(Stack, index=1, depth_mm=6.0, z_mm=2.0, n_slices=4)
    assert stack(n_parts=1).slices == (0, 4)
    np.testing.assert_allclose(stack(n_parts=1).shares(), [[1 / 3, 1 / 3, 1 / 3, 0]])
    np.testing.assert_allclose(stack(n_parts=2).shares(), [[2 / 3, 1 / 3, 0, 0], [0, 1 / 3, 2 / 3, 0]])
    # Planes at -1.5 and 1.5 mm from the slice: a quarter and three quarters of the way to the next ones.
    np.testing.assert_allclose(stack(n_parts=2).interpolated(), [[0.75, 0.25, 0, 0], [0, 0.25, 0.75, 0]])
    edge = Stack(index=0, depth_mm=8.0, n_parts=2, z_mm=2.0, n_slices=2)
    np.testing.assert_allclose(edge.shares(), [[1, 0], [0.25, 0.75]])
    np.testing.assert_allclose(edge.interpolated(), [[1, 0], [0, 1]])


@pytest.mark.parametrize("depth", [1.0, 3.0, 7.7, 24.0, 100.0])
def test_the_weights_of_each_plane_sum_to_one(depth):
    for index in range(12):
        stack = Stack(index, depth, 7, 3.0, 12)
        np.testing.assert_allclose(stack.shares().sum(axis=1), 1, atol=1e-6)
        np.testing.assert_allclose(stack.interpolated().sum(axis=1), 1, atol=1e-6)


@pytest.fixture
def slab_bag(playground, command):
    """Return the bag of the video network on the scan of seed 5, and its slabs and masks by hand."""
    playground.add("p", seed=5)
    code, printed = command("run", playground.configure(VIDEO))
    assert code == 0, printed
    scan, mask = scan_and_mask()
    slabs, halves = [], []
    for index in playground.bag("p").slice_index:
        # The tumour is drawn on rows 12 to 21 and columns 10 to 19; its middle is row 17, column 15.
        offsets = (np.arange(8) + 0.5) * 3.0 - 12.0
        places = np.meshgrid(
            index + offsets / Z_MM,
            np.arange(17.0 - 16, 17 + 16),
            np.arange(15.0 - 16, 15 + 16),
            indexing="ij",
        )
        at = [places[0].clip(0, 11), *places[1:]]
        slabs.append(ndimage.map_coordinates(scan.astype(float), at, order=1, cval=-1024.0))
        # Half slices: those of slice k are 2 k and 2 k + 1, and the slab holds 8 to each side of its middle, 2 k + 1.
        fine = np.pad(
            np.repeat(mask, 2, axis=0), ((8, 8), (1, 1), (1, 1))
        )  # nothing is drawn on the first and last slice
        halves.append(fine[2 * index + 1 : 2 * index + 17, 2 : 2 + 32, :32])
    return playground.bag("p"), np.stack(slabs), np.stack(halves)


def plain_maps(slabs: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the maps of layer2 and layer4 of torchvision's own network, and its own forward."""
    network = torchvision_models().video.r3d_18(weights=None)
    state = find_checkpoint(ARCHITECTURES["r3d_18"], "random:0").state
    network.load_state_dict({**network.state_dict(), **state})
    network.fc = torch.nn.Identity()
    kept = []
    network.layer2.register_forward_hook(lambda _module, _inputs, output: kept.append(output))
    mean, std = (
        torch.tensor(v).view(1, 3, 1, 1, 1)
        for v in ((0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989))
    )
    shown = torch.from_numpy(np.clip((slabs + 160) / 400, 0, 1)).float()[:, None].expand(-1, 3, -1, -1, -1)
    with torch.inference_mode():
        vectors = network.eval()((shown - mean) / std)
    return kept[0], vectors


def test_the_features_of_a_slab_are_those_of_a_plain_torchvision_forward(slab_bag):
    bag, slabs, _ = slab_bag
    maps, vectors = plain_maps(slabs)
    of = {block.name: slice(block.start, block.stop) for block in bag.header.feature_blocks}
    assert [*of] == ["whole@layer2", "lesion@layer2", "whole@penultimate", "lesion@penultimate"]
    np.testing.assert_allclose(bag.features[:, of["whole@penultimate"]], vectors, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(
        bag.features[:, of["whole@layer2"]], maps.mean((2, 3, 4)), rtol=1e-3, atol=1e-4
    )


def test_the_lesion_of_a_slab_is_the_mean_over_its_voxels_of_the_map_enlarged_to_them(slab_bag):
    bag, slabs, halves = slab_bag
    maps, _ = plain_maps(slabs)
    assert maps.shape[2:] == (4, 8, 8)
    large = np.kron(maps.numpy(), np.ones((4, 4, 4)))  # 16 half slices, 32 rows and columns
    expected = [one[:, inside > 0].mean(axis=1) for one, inside in zip(large, halves, strict=True)]
    np.testing.assert_allclose(bag.features[:, 128:256], expected, rtol=1e-3, atol=1e-4)


def test_a_slab_has_the_same_bytes_whatever_it_comes_with():
    encoder = load_encoder("r3d_18", "random:0", regions=["whole"], precision="float32", device="cpu")
    slabs = torch.rand(6, 1, 4, 32, 32, generator=torch.Generator().manual_seed(0))
    together = encoder.embed(slabs)
    assert torch.equal(together[3:5], encoder.embed(slabs[3:5]))
    assert torch.equal(together, encoder.embed(slabs.expand(-1, 3, -1, -1, -1)))


def test_three_windows_are_three_channels_of_each_plane(prepared):
    slices = prepared("{ slab = { side = 32, depth = 24 } }")
    windows = ((40.0, 400.0), (60.0, 150.0), (0.0, 2000.0))
    section = InputSection(
        scales_mm={"slab": {"side": 32.0, "depth": 24.0}}, windows=windows, size_px=32, slab_planes=4
    )
    shown = make_images(slices, section, CPU, dims=3)
    assert shown.shape == (5, 3, 4, 32, 32)
    hu = hu_of(slices, {"side": 32.0, "depth": 24.0}, 4)
    for channel, (level, width) in enumerate(windows):
        expected = np.clip((hu - level) / width + 0.5, 0, 1)
        np.testing.assert_allclose(shown[:, channel], expected, atol=1e-5)


def test_planes_are_resized_one_by_one_as_slices_are(prepared):
    slices = prepared("{ slab = { side = 32, depth = 24 } }")
    scale = {"side": 32.0, "depth": 24.0}
    section = InputSection(scales_mm={"slab": scale}, size_px=40, slab_planes=4)
    shown = make_images(slices, section, CPU, dims=3)
    hu = torch.from_numpy(hu_of(slices, scale, 4))
    expected = functional.interpolate(
        ((hu - 40) / 400 + 0.5).clamp(0, 1), (40, 40), mode="bilinear", antialias=True
    )
    torch.testing.assert_close(shown[:, 0], expected)


def test_scales_are_sorted_and_each_says_how_thick_its_instances_are(playground, command):
    """By phase, then scale, then slice, as the specification of bags says; the depth of a slab is its extent."""
    playground.add("p", "AP")
    playground.add("p", "PVP")
    scales = '{ tight = 20.0, context = 30.0, all = "whole", slab = { side = 20.0, depth = 12.0 } }'
    code, printed = command(
        "run", playground.configure(FLAT), f"input.scales_mm={scales}", "slices.at_most=2"
    )
    assert code == 0, printed
    bag = playground.bag("p")
    assert bag.header.scale_names == ("tight", "context", "all", "slab")
    assert bag.phase.tolist() == [1] * 8 + [2] * 8
    assert bag.scale.tolist() == [0, 0, 1, 1, 2, 2, 3, 3] * 2
    assert bag.slice_index.tolist() == [5, 7] * 8
    assert bag.extent_mm.tolist() == [3.0] * 6 + [12.0] * 2 + [3.0] * 6 + [12.0] * 2
    assert bag.header.tile_size_um == 20_000
    assert len(np.unique(bag.features, axis=0)) == 16


def features_of(folder, variant=""):
    return read_bag(bag_path(folder / "bags" / variant, "p"))


def test_bags_have_the_same_bytes_from_the_store_and_from_the_scans(playground, command):
    playground.add("p", seed=5)
    config = playground.configure(FLAT)
    scales = 'input.scales_mm={ tight = 20.0, slab = { side = 26.0, depth = 14.0 }, deep = { side = "whole", depth = 30.0 } }'
    command("run", config, scales, f"output={playground.folder / 'stored'}")
    command("run", config, scales, "store=false", f"output={playground.folder / 'alone'}")
    first, alone = (features_of(playground.folder / name) for name in ("stored", "alone"))
    bag_path(playground.folder / "stored" / "bags", "p").unlink()
    destroy_scans(playground)
    code, printed = command("run", config, scales, f"output={playground.folder / 'stored'}")
    assert code == 0, printed
    again = features_of(playground.folder / "stored")
    assert first.features.tobytes() == again.features.tobytes() == alone.features.tobytes()
    assert first.header.content_key == again.header.content_key == alone.header.content_key
    assert not (playground.folder / "alone" / "slices.zarr").exists()


VARIANTS = {
    "tight": "scales_mm = { tight = 20.0 }",
    "mean": "scales_mm = { slab = { side = 13.0, depth = 7.0 } }",
    "deep": 'scales_mm = { wide = 30.0, deep = { side = "whole", depth = 30.0 } }',
    "long": "scales_mm = { slab = { side = 20.0, depth = 40.0 } }",
}


def test_a_bag_is_that_of_a_configuration_without_the_other_variants(playground, command):
    """One store with the deepest slab and the largest square serves all, and leaves no trace in the bags of the others."""
    playground.add("p", seed=5)
    text = FLAT + "".join(f"[extract.variant.{name}.input]\n{line}\n" for name, line in VARIANTS.items())
    text += "[extract.variant.video]\nencoder = 'r3d_18'\n[extract.variant.video.input]\nsize_px = 32\nslab_planes = 4\n"
    text += "scales_mm = { slab = { side = 20.0, depth = 12.0 } }\n"
    code, printed = command("run", playground.configure(text))
    assert code == 0, printed
    assert features_of(playground.folder / "out", "video").features.shape == (5, 3 * 512)
    for name, line in VARIANTS.items():
        command("run", playground.configure(FLAT + line + "\n"), f"output={playground.folder / name}")
        ours, alone = features_of(playground.folder / "out", name), features_of(playground.folder / name)
        assert ours.features.tobytes() == alone.features.tobytes(), name
        assert ours.header.content_key == alone.header.content_key, name
        assert ours.extent_mm.tobytes() == alone.extent_mm.tobytes(), name


def test_the_planes_are_kept_only_where_a_slab_is_wanted(playground, command):
    """A store of slices alone has the key and the content of a release without slabs, and is made anew for a slab."""
    playground.add("p")
    config, store = playground.configure(FLAT), SliceStore(playground.folder / "out" / "slices.zarr")
    command("run", config, "input.scales_mm={ tight = 20.0 }")
    key = store.key_of("p")
    assert store.read_phases("p", with_planes=True)[0].planes is None
    assert not list(store.folder.rglob("planes_*"))
    _, printed = command("run", config, "input.scales_mm={ slab = { side = 20.0, depth = 12.0 } }")
    assert "1 bags written" in printed
    planes = store.read_phases("p", with_planes=True)[0].planes
    assert store.key_of("p") != key
    assert planes.first == (
        4 - 2,
        17 - 10,
        15 - 10,
    )  # slices 4 to 8 and 6 mm to each side; the square of 20 mm
    assert planes.hu.shape == planes.masks.shape == (9, 20, 20)
    _, mask = scan_and_mask(zlib.crc32(b"p PVP"))
    np.testing.assert_array_equal(planes.masks, mask[2:11, 7:27, 5:25] > 0)
    section = ExtractSection(input={"scales_mm": {"tight": 20.0}})
    assert "slab" not in Preparation.of(section).as_json()


def test_a_narrow_box_is_clipped_to_the_scan(prepared):
    slices = prepared("{ slab = { side = 60, depth = 100 } }")
    assert slices.planes.first == (0, 0, 0)
    assert slices.planes.hu.shape == (12, 36, 40)
    found = hu_of(slices, {"side": 60.0, "depth": 3.0}, 1)
    np.testing.assert_array_equal(found[:, 0], slices.crops_hu)  # air beyond the scan, as around a slice


REFUSED = {
    "a slice for a 3D encoder": (
        VIDEO.replace("{ slab = { side = 32.0, depth = 24.0 } }", "{ tight = 70.0 }"),
        "found a scale without a depth (70); write tight = { side = 70, depth = 24.0 }, with the depth in mm",
    ),
    "three slices in the channels of a 3D encoder": (
        VIDEO + "planes = 3\n[extract.slices]\nneighbour_mm = 3\n",
        "planes = 3 shows neighbouring slices in the channels, and scales_mm.slab has a depth",
    ),
    "a slab without a depth": (FLAT + "scales_mm = { slab = { side = 70.0 } }\n", "slab.depth: Field required"),
    "a word": (FLAT + 'scales_mm = { slab = "hole" }\n', "'whole'; found \"hole\""),
    "more windows than channels": (
        VIDEO.replace("r3d_18", "medicalnet_resnet10") + "reference = 'liver'\n",
        "extract.input.windows: expected 1 for medicalnet_resnet10, which has as many channels, found 3",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_slab_cannot_be_is_refused_with_what_to_write(playground, command, name):
    text, told = REFUSED[name]
    playground.add("p")
    code, printed = command("run", playground.configure(text))
    assert code == 2
    assert told in printed


def test_what_all_variants_share_need_fit_none(playground, command):
    """[extract] names the 3D encoder, and each variant the scales that it sees."""
    playground.add("p")
    shared = VIDEO.replace("scales_mm = { slab = { side = 32.0, depth = 24.0 } }\n", "")
    own = "[extract.variant.a.input]\nscales_mm = { slab = { side = 20.0, depth = 12.0 } }\n"
    assert command("check", playground.configure(shared + own))[0] == 0
    assert command("run", playground.configure(shared + own))[0] == 0
    code, printed = command("run", playground.configure(shared + own + "[extract.variant.b]\n"))
    assert code == 2
    assert "extract.variant.b.input.scales_mm.tight: expected a slab" in printed
