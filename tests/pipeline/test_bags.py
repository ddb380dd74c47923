"""Laws of the bag format (contract 2)."""

import json
from dataclasses import fields, replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from pipeline.bags import Bag, FeatureBlock, check_one_recipe, list_bags, read_bag, read_header, write_bag
from pipeline.errors import BagError

GOLDEN = sorted((Path(__file__).resolve().parents[1] / "data" / "bags").glob("v*"))


@pytest.fixture
def bag(bags_and_labels) -> Bag:
    return bags_and_labels[0][0]


def test_a_bag_written_and_read_back_is_equal(tmp_path, bag):
    back = read_bag(write_bag(tmp_path, bag))
    assert back.header == bag.header
    for name in (f.name for f in fields(Bag) if f.name != "header"):
        ours, theirs = getattr(bag, name), getattr(back, name)
        assert ours.dtype == theirs.dtype, name
        np.testing.assert_array_equal(ours, theirs)


def test_the_file_is_as_the_specification_says(tmp_path, bag):
    with h5py.File(write_bag(tmp_path, bag)) as file:
        assert file["features"].dtype == np.float32
        assert file["features"].chunks is None
        assert file["feats"] == file["features"]  # a hard link, no copy
        assert file["measures"].dtype == np.float32
        assert file["measures"].shape == (len(bag), 0)
        assert file["extent_mm"].dtype == np.float32
        assert file.attrs["modality"] == "ct"
        assert json.loads(file.attrs["feature_blocks"]) == [{"name": "whole", "start": 0, "stop": 16}]
        assert json.loads(file.attrs["reference_hu"]) == {}
        assert list(file.attrs["measure_names"]) == list(file.attrs["measure_units"]) == []
        assert file["coords"].dtype == np.int64
        np.testing.assert_array_equal(file["coords"][:, 0], bag.phase)
        np.testing.assert_array_equal(file["coords"][:, 1], bag.slice_index)
        assert (file.attrs["format"], file.attrs["format_version"]) == ("phasemil-bag", 2)
        assert (file.attrs["feat_type"], file.attrs["unit"]) == ("tile", "um")
        assert file.attrs["tile_size_um"] > 0
        assert "stamp_version" not in file.attrs
        assert not any("label" in name.lower() for name in (*file.attrs, *file))


def test_nothing_but_the_bag_is_left_in_the_folder(tmp_path, bag):
    write_bag(tmp_path, bag)
    write_bag(tmp_path, bag)
    assert [path.name for path in tmp_path.iterdir()] == [f"{bag.patient_id}.h5"]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_not_finite_is_never_written(tmp_path, bag, value):
    features = bag.features.copy()
    features[1, 2] = value
    with pytest.raises(BagError, match="features holds a value that is not finite"):
        write_bag(tmp_path, replace(bag, features=features))
    assert list(tmp_path.iterdir()) == []


def test_half_precision_is_refused(tmp_path, bag):
    with pytest.raises(BagError, match=r"expected features as float32 .* found float16"):
        write_bag(tmp_path, replace(bag, features=bag.features.astype(np.float16)))


def test_instances_out_of_order_are_refused(tmp_path, bag):
    with pytest.raises(BagError, match="expected instances sorted by phase"):
        write_bag(tmp_path, bag.take(np.arange(len(bag))[::-1]))


@pytest.mark.parametrize(("name", "value"), [("format", "other"), ("format_version", 3), ("complete", False)])
def test_another_format_or_version_is_refused_by_name(tmp_path, bag, name, value):
    path = write_bag(tmp_path, bag)
    with h5py.File(path, "r+") as file:
        file.attrs[name] = value
    with pytest.raises(BagError, match="expected phasemil-bag version 1 or 2, complete; found"):
        read_header(path)


def test_half_a_file_is_told(tmp_path, bag):
    path = write_bag(tmp_path, bag)
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(BagError, match="not a readable HDF5 file"):
        read_bag(path)


def test_bags_of_different_recipes_are_never_mixed(tmp_path, bags_and_labels):
    first, second = (bag.header for bag in bags_and_labels[0][:2])
    assert check_one_recipe([first, second]) == first.recipe
    other = replace(second, recipe=replace(second.recipe, precision="bfloat16"))
    with pytest.raises(BagError, match="differ in precision: float32 against bfloat16"):
        check_one_recipe([first, other])


def test_there_is_a_golden_file():
    assert GOLDEN


@pytest.mark.parametrize("folder", GOLDEN, ids=lambda folder: folder.name)
def test_a_file_of_each_released_version_is_read_for_ever(folder):
    (path,) = list_bags(folder).values()
    bag = read_bag(path)
    assert bag.patient_id == "golden"
    assert bag.header.phases_present == ("AP", "DP")
    np.testing.assert_array_equal(bag.features, np.arange(12, dtype=np.float32).reshape(4, 3) / 8)
    assert bag.slice_index.tolist() == [4, 5, 2, 3]
    assert bag.phase.tolist() == [1, 1, 3, 3]


def test_the_golden_file_of_version_1_has_a_block_of_all_features_and_the_slice_spacing_as_extent():
    bag = read_bag(GOLDEN[0] / "golden.h5")
    assert bag.header.feature_blocks == (FeatureBlock("whole", 0, 3),)
    assert bag.extent_mm.tolist() == [2.5] * 4
    assert bag.measures.shape == (4, 0)


def test_the_golden_file_of_version_2_has_blocks_measures_extents_and_references():
    bag = read_bag(GOLDEN[1] / "golden.h5")
    assert bag.header.feature_blocks == (FeatureBlock("whole", 0, 2), FeatureBlock("rim", 2, 3))
    assert bag.header.measure_names == ("lesion_median", "diameter")
    assert bag.header.measure_units == ("HU", "mm")
    expected = np.array([[80.5, 11.25], [np.nan, 10.5], [62, 10], [61.5, np.nan]], dtype=np.float32)
    np.testing.assert_array_equal(bag.measures, expected)
    assert bag.extent_mm.tolist() == [2.5, 2.5, 5, 5]
    assert bag.header.reference_hu == {"AP": 65.5, "DP": 98}
    assert bag.header.modality == "ct"


@pytest.mark.parametrize(
    ("name", "value"), [("sources", None), ("phases_missing", "{"), ("tile_size_px", "x")]
)
def test_a_missing_or_damaged_attribute_is_one_error_that_names_the_file(tmp_path, bag, name, value):
    path = write_bag(tmp_path, bag)
    with h5py.File(path, "r+") as file:
        del file.attrs[name]
        if value is not None:
            file.attrs[name] = value
    with pytest.raises(BagError, match=rf"{path.name}: an attribute of the bag is missing or damaged"):
        read_bag(path)


def test_a_crash_while_writing_leaves_the_older_bag(tmp_path, bag, monkeypatch):
    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    path = write_bag(tmp_path, bag)
    before = path.read_bytes()
    monkeypatch.setattr("pipeline.bag_writing._attributes", crash)
    with pytest.raises(KeyboardInterrupt):
        write_bag(tmp_path, bag)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("weights", "warning"), [("random:0", "RANDOM WEIGHTS"), ("w.pth", None)])
def test_a_bag_of_an_untrained_encoder_says_so(tmp_path, bag, weights, warning):
    recipe = replace(bag.header.recipe, weights_name=weights)
    with h5py.File(write_bag(tmp_path, replace(bag, header=replace(bag.header, recipe=recipe)))) as file:
        assert file.attrs.get("warning") == warning


def test_two_bags_exchanged_are_told_from_their_headers(tmp_path, bags_and_labels):
    first, second = (write_bag(tmp_path, bag) for bag in bags_and_labels[0][:2])
    first.rename(tmp_path / "x")
    second.rename(first)
    (tmp_path / "x").rename(second)
    for read in (read_bag, read_header):
        with pytest.raises(
            BagError,
            match=r"p000\.h5: the file is named after patient 'p000', its header says 'p001'; rename",
        ):
            read(first)


@pytest.mark.parametrize(
    ("file", "header", "difference"),
    [
        ("Zoe\u0308", "Zo\xeb", r"Unicode form only \('Zoe\\u0308' and 'Zo\\xeb'\)"),
        ("P1", "p1", "upper and lower case only"),
    ],
)
def test_names_that_look_the_same_are_told_apart(tmp_path, bag, file, header, difference):
    path = write_bag(tmp_path, replace(bag, header=replace(bag.header, patient_id=header)))
    path.rename(tmp_path / f"{file}.h5")
    with pytest.raises(BagError, match=f"which differ in (their )?{difference}"):
        read_header(tmp_path / f"{file}.h5")
