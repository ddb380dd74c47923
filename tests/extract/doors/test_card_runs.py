"""A card as a user meets it: verified by the command, and run on a cohort."""

import nibabel as nib
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from extract.card_input import prepared
from extract.encoder_cards import SHIPPED_CARDS, read_encoder_card
from pipeline.provenance import sha256_of_file
from pipeline.store import SliceStore
from tests.extract.conftest import draw_scan
from tests.extract.doors.networks import Patches, Volume, door_with_network, save_folder, save_program

DOORS = ("huggingface", "timm", "program", "torchvision")
REFERENCE = '[reference]\ninput = "slice.npy"\nmask = "mask.npy"\nvector = "vector.npy"\ntolerance = 1e-4'
REGIONS = 'regions = ["cls", "lesion"]'


@pytest.fixture
def verified(desk):
    """A card with a reference that was made by transformers, not by this project."""
    built = save_folder(desk.folder / "saved", "Dinov2Model")
    rng = np.random.default_rng(1)
    hu = rng.uniform(-500, 500, size=(32, 32)).astype(np.float32)
    mask = np.zeros((32, 32), dtype=np.uint8)
    mask[8:16, 0:16] = 1  # the patches (1, 0) and (1, 1): tokens 4 and 5 of 16, after the class token
    with torch.inference_mode():
        images = torch.from_numpy(hu / 100)[None, None].expand(-1, 3, -1, -1)
        tokens = built(pixel_values=images).last_hidden_state[0]
    vector = torch.cat([tokens[0], tokens[[5, 6]].mean(0)]).numpy()
    for name, array in (("slice", hu), ("mask", mask), ("vector", vector)):
        np.save(desk.folder / f"{name}.npy", array)
    return desk.write(
        "huggingface", "saved", network="Dinov2Model", output=f"{REGIONS}\nprecisions = ['float32', 'bfloat16']", more=REFERENCE
    )  # fmt: skip


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_card_that_is_right_is_told_with_its_distance_in_each_precision(command, verified):
    code, printed = command("encoders", "--verify", verified)
    assert code == 0, printed
    assert "licence: Apache-2.0" in printed
    assert "float32: relative distance" in printed
    assert "bfloat16: relative distance" in printed


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('orientation = "PL"', 'orientation = "AL"'),
        ("deviation = [100.0]", "deviation = [120.0]"),
        ('resize = "bilinear"', 'hu_clip = [-100, 100]\nresize = "bilinear"'),
        ('regions = ["cls", "lesion"]', 'regions = ["cls", "whole"]'),
        ('resize = "bilinear"', 'resize = "bilinear"\nwindows = [[40, 400]]'),
        ('resize = "bilinear"', 'cast = "int16"\nresize = "bilinear"'),
    ],
)  # fmt: skip
def test_a_wrong_step_is_found_by_the_reference_vector(command, verified, old, new):
    edit(verified, old, new)
    edit(verified, "tolerance = 1e-4", "tolerance = 1e-5")
    code, printed = command("encoders", "--verify", verified)
    assert code == 2
    assert "tried.toml: " in printed
    assert "expected in float32 a vector within 1e-05 of vector.npy, found it " in printed
    assert "a step of [input] or [output] is not that of the vector's code" in printed


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (REFERENCE, "", "expected [reference] with input and vector, found none"),
        ('mask = "mask.npy"', "", "expected [reference] mask for the region lesion, found none"),
        ('vector = "vector.npy"', 'vector = "slice.npy"', "expected a vector of 32, found 1024 numbers"),
        ('input = "slice.npy"', 'input = "vector.npy"', "expected 2 axes, found (32,)"),
        ('input = "slice.npy"', 'input = "none.npy"', "expected an array written by numpy.save, found FileNotFoundError"),
        ("dim = 16", "dim = 8", "expected 8 numbers of layer penultimate (output.dim), found 16"),
        ('network = "Dinov2Model"', 'network = "DINOv3ViTModel"', "expected model_type dinov3_vit in config.json"),
        ("channels = 3", "channels = 1", "expected a network of 1 channels of (32, 32), found"),
        ("citation", "cites", "unknown key 'cites'"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_card_is_one_line_and_exit_code_2(command, verified, old, new, told):
    edit(verified, old, new)
    code, printed = command("encoders", "--verify", verified)
    assert code == 2
    assert told in printed
    assert "Traceback" not in printed


def test_an_array_that_is_a_pickle_is_not_read(command, verified):
    np.save(verified.parent / "vector.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    code, printed = command("encoders", "--verify", verified)
    assert code == 2
    assert "vector.npy: expected an array written by numpy.save, found ValueError" in printed


def test_a_precision_that_loses_the_vector_is_found(command, desk):
    class Careful(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.tensor([[1.0, -1.0, 0.0]]))

        def forward(self, images):
            return torch.nn.functional.linear(
                images.mean((2, 3)) + torch.tensor([1 / 512, 0.0, 0.0]), self.weight
            )

    save_program(desk.folder / "w.pt2", Careful(), torch.zeros(2, 3, 32, 32))
    np.save(desk.folder / "slice.npy", np.full((32, 32), 100.0, dtype=np.float32))
    np.save(desk.folder / "vector.npy", np.array([1 / 512], dtype=np.float32))
    path = desk.write(
        "program", "w.pt2", dim=1, output='precisions = ["float32", "bfloat16"]',
        more='[reference]\ninput = "slice.npy"\nvector = "vector.npy"',
    )  # fmt: skip
    code, printed = command("encoders", "--verify", path)
    assert code == 2
    assert "float32: relative distance" in printed
    assert "expected in bfloat16 a vector within 0.05 of vector.npy" in printed
    assert "take bfloat16 from output.precisions" in printed


def use(playground, text=""):
    body = '[extract]\ncard = "tried.toml"\nprecision = "float32"\ndevice = "cpu"\n'
    return playground.configure(body + text)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("orientation", ["PL", "RA"])
def test_one_patient_stored_three_ways_has_the_same_bag(desk, playground, command, door, orientation):
    told = door_with_network(desk, torch.zeros(2, 3, 32, 32), door)
    regions = ["whole"] if door == "program" else ["whole", "lesion"]  # one of its layers has no places
    output = told.pop("output", "") + f"\nregions = {regions}"
    desk.write(door, **told, orientation=orientation, output=output)
    for codes in ("RAS", "LPS", "PIL"):
        playground.add(codes, seed=1)
        for name in (f"{codes}_PVP.nii.gz", f"{codes}_PVP_mask.nii.gz"):
            volume = nib.load(playground.folder / name)
            to = nib.orientations.axcodes2ornt(codes)
            turn = nib.orientations.ornt_transform(nib.orientations.io_orientation(volume.affine), to)
            nib.save(volume.as_reoriented(turn), playground.folder / name)
    code, printed = command("run", use(playground, 'shared_images = "allow"\n'))
    assert code == 0, printed
    bags = [playground.bag(codes) for codes in ("RAS", "LPS", "PIL")]
    for name in ("features", "measures", "slice_index", "z_mm", "tumour_area_mm2", "lesion", "extent_mm"):
        assert len({getattr(bag, name).tobytes() for bag in bags}) == 1, name
    assert all(bag.header.recipe == bags[0].header.recipe for bag in bags)
    assert len(np.unique(bags[0].features, axis=0)) == 5


def test_the_bag_holds_what_the_network_gives_for_the_crops_of_the_store(desk, playground, command):
    built = save_folder(desk.folder / "saved", "Dinov2Model")
    path = desk.write("huggingface", "saved", network="Dinov2Model", output=REGIONS)
    playground.add("p")
    code, printed = command("run", use(playground, "[extract.input]\nscales_mm = { tight = 20.0 }\n"))
    assert code == 0, printed
    (slices,) = SliceStore(playground.folder / "out" / "slices.zarr").read_phases("p")
    card = read_encoder_card(path)
    with torch.inference_mode():
        images = prepared(torch.from_numpy(slices.crops_hu.astype(np.float32))[:, None], card.input)
        tokens = built(pixel_values=images).last_hidden_state
    bag = playground.bag("p")
    np.testing.assert_allclose(bag.features[:, :16], tokens[:, 0], rtol=1e-4, atol=1e-4)
    assert [block.name for block in bag.header.feature_blocks] == ["cls", "lesion"]
    recipe = bag.header.recipe
    assert (recipe.encoder, recipe.weights_sha256) == ("tried", card.sha256)
    assert recipe.preprocessing["card"]["input"]["scaling"] == {"mean": [0.0], "deviation": [100.0]}
    assert "windows" not in recipe.preprocessing["input"]


def test_the_card_of_curia_from_scan_to_bag_by_its_published_processor(desk, playground, command):
    """A small network of its class; int16, / 32767, 512 px, z-score per slice, and the tokens in the lesion, all by hand."""
    built = save_folder(desk.folder / "saved", "Dinov2Model", num_channels=1, patch_size=16)
    text = (SHIPPED_CARDS / "curia.toml").read_text().replace('"curia"', '"saved"').replace("768", "16")
    told = f'sha256 = "{sha256_of_file(desk.folder / "saved" / "model.safetensors")}"\n'
    (desk.folder / "tried.toml").write_text(told + text)
    playground.add("p", seed=1)
    for name in ("p_PVP.nii.gz", "p_PVP_mask.nii.gz"):
        volume = nib.load(playground.folder / name)
        nib.save(nib.as_closest_canonical(volume), playground.folder / name)  # RAS: to be turned both ways
    code, printed = command("run", use(playground))
    assert code == 0, printed
    bag = playground.bag("p")
    scan, mask = draw_scan(1)  # columns towards left, rows towards posterior
    for z, found in zip(bag.slice_index, bag.features, strict=True):
        fractions = torch.from_numpy(scan[:, :, z].T.copy()).float()[None, None] / 32767
        image = torch.nn.functional.interpolate(fractions, (512, 512), mode="bicubic", antialias=True)
        with torch.inference_mode():
            tokens = built(pixel_values=(image - image.mean()) / image.std()).last_hidden_state[0, 1:]
        # Each of 36 x 40 pixels becomes 32 x 32 smaller ones, 36 x 40 of which make one of 32 x 32 cells.
        fine = np.kron(mask[:, :, z].T, np.ones((32, 32))).reshape(32, 36, 32, 40)
        shares = torch.from_numpy(fine.mean((1, 3)).ravel()).float()
        np.testing.assert_allclose(found, shares @ tokens / shares.sum(), rtol=1e-3, atol=1e-3)


def test_a_run_compares_the_reference_and_stops_where_it_differs(verified, playground, command):
    playground.add("p")
    code, printed = command("run", use(playground))
    assert code == 0, printed
    assert "no [reference]" not in printed
    edit(verified, "deviation = [100.0]", "deviation = [120.0]")
    code, printed = command("run", use(playground))
    assert code == 2
    assert "expected in float32 a vector within 0.0001 of vector.npy" in printed


def test_a_run_says_that_a_card_has_no_reference(desk, playground, command):
    save_program(desk.folder / "w.pt2", Patches(), torch.zeros(2, 3, 32, 32))
    desk.write("program", "w.pt2", dim=8, output='layers = ["map", "vector"]')
    playground.add("p")
    assert "card tried has no [reference]: nothing proves" in command("run", use(playground))[1]


@pytest.mark.skipif(torch.cuda.is_available(), reason="of a machine without GPU")
def test_float16_is_not_tried_without_a_gpu_and_said_so(command, verified):
    edit(verified, "'float32', 'bfloat16'", "'float32', 'float16'")
    code, printed = command("encoders", "--verify", verified)
    assert code == 0, printed
    assert "float16: not tried, this machine has no CUDA device" in printed


def test_another_step_in_the_card_makes_the_bags_anew(desk, playground, command):
    save_program(desk.folder / "w.pt2", Patches(), torch.zeros(2, 3, 32, 32))
    path = desk.write("program", "w.pt2", dim=8, output='layers = ["map", "vector"]')
    playground.add("p")
    config = use(playground)
    assert "1 bags written" in command("run", config)[1]
    edit(path, 'citation = "nobody"', 'citation = "somebody"')
    assert "1 done before" in command("run", config)[1]
    edit(path, "deviation = [100.0]", "deviation = [200.0]")
    assert "1 bags written" in command("run", config)[1]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('encoder = "resnet18"', "extract.encoder: expected in the card"),
        ('layers = ["map"]', "extract.layers: expected in the card"),
        ("[extract.input]\nsize_px = 64", "extract.input.size_px: expected in the card"),
        ("[extract.input]\nwindows = [[40, 400]]", "extract.input.windows: expected in the card"),
    ],
)
def test_what_the_card_decides_is_not_decided_twice(desk, playground, command, text, told):
    save_program(desk.folder / "w.pt2", Patches(), torch.zeros(2, 3, 32, 32))
    desk.write("program", "w.pt2", dim=8, output='layers = ["map", "vector"]')
    playground.add("p")
    code, printed = command("run", use(playground, text + "\n"))
    assert code == 2
    assert told in printed
    assert "leave it out" in printed


def test_a_precision_that_the_card_does_not_allow_is_refused(desk, playground, command):
    save_program(desk.folder / "w.pt2", Patches(), torch.zeros(2, 3, 32, 32))
    desk.write("program", "w.pt2", dim=8, output='layers = ["map", "vector"]')
    playground.add("p")
    code, printed = command("run", use(playground), "precision=bfloat16")
    assert code == 2
    assert "precision: expected one of float32, which the card allows, found 'bfloat16'" in printed
    assert command("run", use(playground), "precision=auto")[0] == 0


def test_a_card_with_a_spacing_decides_the_side_of_the_crops(desk, playground, command):
    save_program(desk.folder / "w.pt2", Patches(), torch.zeros(2, 3, 32, 32))
    path = desk.write("program", "w.pt2", dim=8, output='layers = ["map", "vector"]')
    edit(path, "size = [32, 32]", "size = [32, 32]\nspacing_mm = [0.5, 0.5]")
    playground.add("p")
    assert command("run", use(playground))[0] == 0
    (slices,) = SliceStore(playground.folder / "out" / "slices.zarr").read_phases("p")
    assert slices.crops_hu.shape[1:] == (16, 16)  # 32 pixels of 0.5 mm, in a scan of 1 mm
    code, printed = command("run", use(playground, "[extract.input]\nscales_mm = { tight = 20.0 }\n"))
    assert code == 2
    assert "expected 16 mm, the size by the spacing of the card" in printed


def test_a_card_of_whole_slices_shows_whole_slices(desk, playground, command):
    save_program(desk.folder / "w.pt2", Patches(), torch.zeros(2, 3, 32, 32))
    path = desk.write("program", "w.pt2", dim=8, output='layers = ["map", "vector"]')
    edit(path, "size = [32, 32]", 'size = [32, 32]\nfield_of_view = "whole"')
    playground.add("p")
    assert command("run", use(playground))[0] == 0
    (slices,) = SliceStore(playground.folder / "out" / "slices.zarr").read_phases("p")
    assert slices.crops_hu.shape[1:] == (36, 40)


def card_of_volumes(desk, **more):
    """A program of volumes of 6 slices, 16 rows and 16 columns, whose axes are columns, rows, slices."""
    built = save_program(desk.folder / "w.pt2", Volume(), torch.zeros(2, 1, 16, 16, 6))
    path = desk.write(
        "program", "w.pt2", dim=8, channels=1, orientation="LPS", size=(16, 16, 6), **more,
    )  # fmt: skip
    return built, path


def test_the_bag_of_a_card_of_volumes_holds_what_its_network_gives_for_slabs(desk, playground, command):
    built, path = card_of_volumes(desk, output='regions = ["whole", "lesion"]')
    edit(path, "size = [16, 16, 6]", "size = [16, 16, 6]\nspacing_mm = [1.0, 1.0, 3.0]")
    playground.add("p", seed=2)
    code, printed = command("run", use(playground))
    assert code == 0, printed
    bag = playground.bag("p")
    assert bag.extent_mm.tolist() == [18.0] * 5
    assert bag.header.tile_size_um == 16_000
    scan, mask = (voxels.astype(np.float32) for voxels in draw_scan(2))
    for z, found in zip(bag.slice_index, bag.features, strict=True):
        # Six planes, each half way between two slices of the scan; 16 columns and rows about the lesion's middle.
        slices = np.clip(np.array([z - 3, z - 2, z - 1, z, z + 1, z + 2, z + 3]), 0, 11)
        box = scan[7:23, 9:25][:, :, slices]
        planes = (box[:, :, :-1] + box[:, :, 1:]) / 2
        with torch.inference_mode():
            (cells,) = built(torch.from_numpy(planes / 100)[None, None])
        np.testing.assert_allclose(found[:8], cells.mean((1, 2, 3)), rtol=1e-3, atol=1e-4)
        inside = mask[7:23, 9:25][:, :, slices]
        shares = (inside[:, :, :-1] + inside[:, :, 1:]) / 2
        large = np.kron(cells, np.ones((8, 8, 2)))
        expected = (large * shares).sum((1, 2, 3)) / shares.sum()
        np.testing.assert_allclose(found[8:], expected, rtol=1e-3, atol=1e-4)


def test_a_card_of_volumes_is_verified_with_its_lesion_in_three_dimensions(desk, command):
    built, path = card_of_volumes(
        desk,
        output='regions = ["lesion"]',
        more='[reference]\ninput = "slab.npy"\nmask = "mask.npy"\nvector = "vector.npy"',
    )
    hu = np.random.default_rng(0).normal(0, 100, size=(6, 16, 16)).astype(np.float32)
    mask = np.zeros(hu.shape, dtype=np.uint8)
    mask[:2, :8, 8:] = 1  # one cell of 2 slices, 8 rows and 8 columns
    np.save(desk.folder / "slab.npy", hu)
    np.save(desk.folder / "mask.npy", mask)
    with torch.inference_mode():
        (cells,) = built(torch.from_numpy(hu.transpose(2, 1, 0) / 100)[None, None])
    np.save(desk.folder / "vector.npy", cells[:, 1, 0, 0].numpy())
    code, printed = command("encoders", "--verify", path)
    assert code == 0, printed
    assert "float32: relative distance" in printed


REFUSED_VOLUMES = {
    "no depth": (
        "",
        "states no spacing_mm, found none; write scales_mm = { slab = { side = 70.0, depth = 24.0 } }",
    ),
    "a slice": ("[extract.input]\nscales_mm = { tight = 20.0 }\n", "expected a slab for a 3D encoder"),
}


@pytest.mark.parametrize("name", REFUSED_VOLUMES)
def test_a_card_of_volumes_needs_slabs(desk, playground, command, name):
    text, told = REFUSED_VOLUMES[name]
    card_of_volumes(desk)
    playground.add("p")
    code, printed = command("run", use(playground, text))
    assert code == 2
    assert told in printed


def test_a_card_of_volumes_takes_slabs_of_any_size_where_it_states_no_spacing(desk, playground, command):
    card_of_volumes(desk)
    playground.add("p")
    slab = "[extract.input]\nscales_mm = { slab = { side = 24.0, depth = 12.0 } }\n"
    assert command("run", use(playground, slab))[0] == 0
    assert playground.bag("p").features.shape == (5, 8)
    assert playground.bag("p").extent_mm.tolist() == [12.0] * 5


def test_a_card_of_slices_cannot_name_a_network_of_slabs(desk, playground, command):
    save_file({"a": torch.zeros(1)}, desk.folder / "w.safetensors")
    desk.write("torchvision", "w.safetensors", network="r3d_18", dim=512)
    playground.add("p")
    code, printed = command("run", use(playground))
    assert code == 2
    assert "expected a size of 3 axes for r3d_18" in printed


def test_the_shipped_cards_are_listed(command):
    code, printed = command("encoders")
    assert code == 0
    assert all(name in printed for name in ("curia", "meddinov3", "rad-dino", "radimagenet"))
