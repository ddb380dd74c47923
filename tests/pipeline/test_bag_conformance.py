"""The reader against the conformance cases, which any other reader of the format can run as well."""

import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.bags import CT, NO_SPACING, FeatureBlock, read_bag, read_header, version_of_file
from pipeline.errors import BagError

FOLDER = Path(__file__).resolve().parents[1] / "data" / "bags" / "conformance"
CASES = json.loads((FOLDER / "cases.json").read_text())


def test_every_file_of_the_folder_is_a_case():
    assert {path.name for path in FOLDER.glob("*.h5")} == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_a_valid_bag_is_read_and_a_hostile_one_refused_in_its_words(name):
    path, message = FOLDER / name, CASES[name]
    if message is None:
        assert read_bag(path).features.tobytes() == (np.arange(12, dtype="f4") / 8).tobytes()
        return
    with pytest.raises(BagError) as told:
        read_bag(path)
    assert str(told.value).startswith(f"{path}: ")
    assert message in str(told.value)


def test_version_1_is_read_as_ct_with_one_block_no_measures_and_the_slice_spacing_as_extent():
    path = FOLDER / "valid-ct-of-version-1.h5"
    bag = read_bag(path)
    assert version_of_file(path) == 1
    assert (bag.header.modality, bag.header.feature_blocks) == (CT, (FeatureBlock("whole", 0, 3),))
    assert (bag.header.measure_names, bag.header.reference_hu) == ((), {})
    assert bag.measures.shape == (4, 0)
    assert bag.extent_mm.tolist() == [2.5] * 4
    assert read_header(path) == bag.header


def test_a_histology_bag_has_a_single_phase_and_needs_no_spacing():
    bare = read_bag(FOLDER / "valid-histology.h5")
    assert (bare.header.phase_names, bare.header.phases_present) == (("-",), ("-",))
    assert np.isnan(bare.extent_mm).all()
    slide = read_bag(FOLDER / "valid-histology-with-sources.h5").header
    assert slide.sources["-"].spacing_mm == NO_SPACING
    assert slide.phases_present == ("-",)


def test_radiomics_are_a_row_for_each_phase_and_a_bag_without_them_has_none():
    bag = read_bag(FOLDER / "valid-ct-with-radiomics.h5")
    assert bag.header.radiomics_names == ("lesion.stat_mean", "rim.stat_var")
    assert bag.header.radiomics_settings == {"software": "mirp"}
    assert bag.radiomics_phase.tolist() == [0, 1]
    np.testing.assert_array_equal(bag.radiomics, np.array([[0.5, np.nan]] * 2, dtype=np.float32))
    bare = read_bag(FOLDER / "valid-ct.h5")
    assert (bare.header.radiomics_names, bare.radiomics.shape, len(bare.radiomics_phase)) == ((), (0, 0), 0)
