"""What a run of stage 1 writes into a bag beside one mean over the crop: regions, reference and measures."""

import nibabel as nib
import numpy as np
import pytest

from extract.config import InputSection, load_extract_config
from extract.findings import TABLE
from pipeline.bags import Bag, check_one_recipe, list_bags, read_bag
from pipeline.errors import BagError, ConfigError
from pipeline.measures import MEASURE_NAMES
from pipeline.tables import read_table
from tests.extract.conftest import SHAPE, draw_scan, save
from tests.extract.test_run import destroy_scans

BLOCKS = 'regions=["whole", "lesion", "rim"]'
LIVER = "input.reference=liver"


def block(bag: Bag, name: str) -> np.ndarray:
    (found,) = (b for b in bag.header.feature_blocks if b.name == name)
    return bag.features[:, found.start : found.stop]


def measure(bag: Bag, name: str) -> np.ndarray:
    return bag.measures[:, bag.header.measure_names.index(name)]


def with_organ(playground, patient_id: str = "p", *, shift_hu: int = 0) -> None:
    """Add a patient whose organ is most of the body, 40 HU, with a tumour of 100 HU, all shifted."""
    image, mask = draw_scan(7)
    organ = np.zeros(SHAPE, dtype=np.uint8)
    organ[6:30, 6:30] = 1
    save(
        playground.folder / f"{patient_id}.nii.gz",
        np.where(image > -500, image + shift_hu, image).astype(np.int16),
    )
    save(playground.folder / f"{patient_id}_m.nii.gz", mask)
    save(playground.folder / f"{patient_id}_o.nii.gz", organ)
    names = {"image": f"{patient_id}.nii.gz", "mask": f"{patient_id}_m.nii.gz"}
    playground.add(patient_id, **names, liver_mask=f"{patient_id}_o.nii.gz")


def findings(playground) -> list[str]:
    return [row["reason"] for row in read_table(playground.bags / TABLE) if "reference" in row["finding"]]


def test_blocks_stand_side_by_side_and_the_whole_is_what_it_is_alone(playground, command):
    playground.add("p")
    config = playground.configure()
    close = ("input.size_px=96", "input.scales_mm={ tight = 30 }")
    command("run", config, *close)
    alone = playground.bag("p")
    command("run", config, BLOCKS, "rim_mm=4", *close)
    bag = playground.bag("p")
    assert [b.name for b in bag.header.feature_blocks] == ["whole", "lesion", "rim"]
    assert bag.features.shape == (5, 3 * 512)
    np.testing.assert_array_equal(block(bag, "whole"), alone.features)
    assert not np.allclose(block(bag, "lesion"), block(bag, "rim"))


def test_layers_name_their_blocks(playground, command):
    playground.add("p")
    code, _ = command("run", playground.configure(), BLOCKS, 'layers=["features.3", "features.7"]')
    bag = playground.bag("p")
    assert code == 0
    assert [b.name for b in bag.header.feature_blocks] == [
        "whole@features.3", "lesion@features.3", "rim@features.3",
        "whole@features.7", "lesion@features.7", "rim@features.7",
    ]  # fmt: skip
    assert bag.header.recipe.layer == "features.3, features.7"


@pytest.mark.parametrize(
    "change",
    [
        "regions=[]",
        "rim_mm=5",
        'layers=["features.7"]',
        "input.reference=absolute",
        "input.windows=[[0, 100]]",
    ],
)
def test_a_bag_of_other_settings_is_made_anew_and_never_mixed(playground, command, change):
    playground.add("p")
    playground.add("q")
    config = playground.configure()
    settings = (BLOCKS, "rim_mm=4", LIVER)
    command("run", config, *settings)
    of_q = playground.bag("q").header
    (playground.bags / "q.h5").unlink()
    playground.rows.pop()
    assert "1 bags written" in command("run", playground.configure(), *settings, change)[1]
    with pytest.raises(BagError, match="the bags of p and q differ in"):
        check_one_recipe([playground.bag("p").header, of_q])


def test_a_second_encoder_has_blocks_reference_and_measures_from_the_store_alone(playground, command):
    with_organ(playground)
    playground.add("ring")
    config = playground.configure()
    shared = f"slice_store={playground.folder / 'slices.zarr'}"
    fresh, second = playground.folder / "fresh", playground.folder / "second"
    command("run", config, BLOCKS, LIVER, f"output={fresh}", "store=false")
    command("run", config, shared)
    destroy_scans(playground)
    code, _ = command("run", config, BLOCKS, LIVER, shared, f"output={second}")
    assert code == 0
    for name in ("p", "ring"):
        a, b = (read_bag(folder / "bags" / f"{name}.h5") for folder in (fresh, second))
        assert a.header == b.header
        assert a.features.tobytes() == b.features.tobytes()
        assert a.measures.tobytes() == b.measures.tobytes()


@pytest.mark.parametrize("which", ["organ", "z_ranges"])
def test_without_a_mask_of_the_tumour_there_is_the_whole_only_and_it_is_said(playground, command, which):
    with_organ(playground)
    (playground.folder / "z.csv").write_text("patient_id,phase,z_from_mm,z_to_mm\np,,9,18\n")
    more = ["slices.z_ranges=z.csv"] if which == "z_ranges" else []
    code, printed = command("run", playground.configure(), BLOCKS, f"slices.which={which}", *more)
    header = playground.bag("p").header
    assert code == 0
    assert f"regions lesion, rim need a mask of the tumour, and [extract.slices] which = '{which}'" in printed
    assert [b.name for b in header.feature_blocks] == ["whole"]
    assert header.measure_names == ()


def test_the_reference_is_the_organ_else_the_parenchyma_and_it_is_told(playground, command):
    """The body is 40 HU."""
    with_organ(playground)
    playground.add("ring")
    code, printed = command("run", playground.configure(), LIVER)
    assert code == 0
    assert playground.bag("p").header.reference_hu == {"PVP": pytest.approx(40, abs=1)}
    assert playground.bag("ring").header.reference_hu == {"PVP": pytest.approx(40, abs=1)}
    assert findings(playground) == [
        "no mask of the organ: the parenchyma around the tumour, 40 HU, is the reference"
    ]
    assert "warning: patient ring, phase PVP: no mask of the organ" in printed


def test_a_patient_without_any_reference_has_absolute_windows_with_a_warning(playground, command):
    image, mask = draw_scan(9)
    image[4:-4, 4:-4][mask[4:-4, 4:-4] == 0] -= 200  # all fat around the tumour
    save(playground.folder / "fat.nii.gz", image)
    playground.add("fat", image="fat.nii.gz")
    command("run", playground.configure(), LIVER)
    relative = playground.bag("fat")
    assert relative.header.reference_hu == {}
    (said,) = findings(playground)
    assert said.startswith("no reference: neither a mask of the organ nor enough parenchyma")
    assert said.endswith("its windows are absolute, about 40 HU")
    command("run", playground.configure(), "input.windows=[[40, 400], [40, 200], [40, 100]]")
    np.testing.assert_array_equal(relative.features, playground.bag("fat").features)


def test_a_shift_of_all_hu_does_not_change_features_about_the_organ(playground, command):
    with_organ(playground)
    with_organ(playground, "late", shift_hu=50)
    narrow = "input.outside_mask_hu=-2000"  # air is not shifted
    command("run", playground.configure(), LIVER, BLOCKS, narrow)
    early, late = playground.bag("p"), playground.bag("late")
    assert late.header.reference_hu["PVP"] - early.header.reference_hu["PVP"] == 50
    np.testing.assert_allclose(early.features, late.features, atol=1e-5)
    np.testing.assert_allclose(measure(late, "contrast_hu"), measure(early, "contrast_hu"))


def test_the_column_of_another_organs_mask_is_configuration(playground, command):
    with_organ(playground)
    (row,) = playground.rows
    row["kidney_mask"] = row.pop("liver_mask")
    config = playground.configure()
    assert command("run", config, LIVER, 'cohort.organ_mask="kidney_mask"')[0] == 0
    assert findings(playground) == []
    assert playground.bag("p").header.reference_hu == {"PVP": pytest.approx(40, abs=1)}
    code, printed = command("run", config, 'cohort.organ_mask="kidny_mask"')
    assert code == 2 or code == 1
    assert "expected the column 'kidny_mask' ([cohort] organ_mask)" in printed


def test_measures_are_of_the_drawn_lesion(playground, command):
    """A box of 10 x 10 x 5 voxels of 1 x 1 x 3 mm, 60 HU brighter than the body of 40 HU."""
    playground.add("p")
    command("run", playground.configure())
    bag = playground.bag("p")
    assert bag.header.measure_names == MEASURE_NAMES
    assert dict(zip(bag.header.measure_names, bag.header.measure_units, strict=True))["morph_diam"] == "mm"
    np.testing.assert_allclose(measure(bag, "stat_median"), 100, atol=2)
    np.testing.assert_allclose(measure(bag, "parenchyma_hu"), 40, atol=2)
    np.testing.assert_allclose(measure(bag, "contrast_hu"), 60, atol=3)
    np.testing.assert_allclose(measure(bag, "morph_vol_approx"), 1500)
    # Corner to corner of a mesh: half a voxel further than the centres along one axis, the one that gains most.
    assert measure(bag, "morph_diam")[0] == pytest.approx(np.sqrt(15**2 + 9**2 + 9**2), abs=0.01)
    np.testing.assert_allclose(measure(bag, "diameter_2d_mm"), np.sqrt(10**2 + 9**2), atol=0.01)


def test_measures_do_not_depend_on_how_much_is_cut_out_or_left_out(playground, command):
    playground.add("p")
    config = playground.configure()
    command("run", config)
    whole = playground.bag("p")
    command("run", config, "input.scales_mm={ tight = 8, wide = 12 }", "slices.at_most=2")
    thinned = playground.bag("p")
    assert len(thinned) == 4  # two slices at two scales
    rows = [list(whole.slice_index).index(index) for index in thinned.slice_index]
    np.testing.assert_array_equal(thinned.measures, whole.measures[rows])


@pytest.mark.parametrize("weights", ["random:0", "embedded", "file"])
def test_one_patient_stored_as_ras_lps_and_pil_gives_the_same_bag(playground, command, weights, tmp_path):
    from torch import save as save_weights  # noqa: PLC0415

    from extract.vision import torchvision_models  # noqa: PLC0415

    if weights == "file":
        save_weights(torchvision_models().squeezenet1_1(weights=None).state_dict(), tmp_path / "w.pth")
        weights = str(tmp_path / "w.pth")
    with_organ(playground)
    names = ("p.nii.gz", "p_m.nii.gz", "p_o.nii.gz")
    stored = {name: nib.load(playground.folder / name) for name in names}
    bags = {}
    for codes in ("RAS", "LPS", "PIL"):
        for name, volume in stored.items():
            turn = nib.orientations.ornt_transform(
                nib.orientations.io_orientation(volume.affine), nib.orientations.axcodes2ornt(codes)
            )
            voxels = nib.Nifti1Image(np.asanyarray(volume.dataobj), volume.affine).as_reoriented(turn)
            nib.save(voxels, playground.folder / f"{codes}_{name}")
        playground.rows[0].update(
            dict(zip(("image", "mask", "liver_mask"), (f"{codes}_{name}" for name in names), strict=True))
        )
        out = f"output={playground.folder / codes}"
        settings = ("encoder=squeezenet1_1", f"weights={weights}", BLOCKS, LIVER, out)
        assert command("run", playground.configure(), *settings)[0] == 0
        (path,) = list_bags(playground.folder / codes / "bags").values()
        bags[codes] = read_bag(path)
    for other in ("RAS", "PIL"):
        assert bags[other].header.reference_hu == bags["LPS"].header.reference_hu
        assert bags[other].header.recipe == bags["LPS"].header.recipe
        for name in (
            "features",
            "measures",
            "phase",
            "slice_index",
            "z_mm",
            "tumour_area_mm2",
            "lesion",
            "extent_mm",
        ):
            a, b = getattr(bags[other], name), getattr(bags["LPS"], name)
            assert a.tobytes() == b.tobytes(), (other, name)


def test_windows_about_a_reference_are_three_unless_three_planes_take_the_channels():
    assert InputSection(reference="liver").windows == ((0.0, 400.0), (0.0, 200.0), (0.0, 100.0))
    assert InputSection(reference="organ", planes=3).windows == ((0.0, 400.0),)
    assert InputSection(reference="liver", windows=[(10, 150)]).windows == ((10.0, 150.0),)
    assert InputSection().windows == ((40.0, 400.0),)
    assert InputSection(reference="liver").reference == InputSection(reference="organ").reference


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ('regions=["tumor"]', "expected some of whole, lesion, rim, cls, found 'tumor'"),
        ('regions=["rim", "rim"]', "regions: expected each once, found rim, rim"),
        ('layers=["features.3", "features.3"]', "layers: expected each once"),
    ],
)
def test_a_name_that_is_none_is_refused_before_anything_is_read(playground, override, message):
    playground.add("p")
    with pytest.raises(ConfigError, match=message):
        load_extract_config(playground.configure(), [override])


def test_a_layer_and_layers_are_one_too_many(playground):
    playground.add("p")
    with pytest.raises(ConfigError, match="layer and layers: expected one of them"):
        load_extract_config(playground.configure(), ["layer=features.3", 'layers=["features.7"]'])
