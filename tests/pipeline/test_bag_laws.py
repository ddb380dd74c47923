"""Laws of bags in memory and of the way to a file and back, for any bag."""

import string
from dataclasses import fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.bags import (
    CT,
    NO_SPACING,
    Bag,
    BagHeader,
    FeatureBlock,
    Recipe,
    Source,
    check_one_recipe,
    read_bag,
    read_header,
    version_of_file,
    write_bag,
)
from pipeline.errors import BagError

NAMES = st.text(string.ascii_letters + "äß- ²", min_size=1, max_size=8)
FINITE = st.floats(-1e6, 1e6, width=32)
ABOVE_0 = st.floats(0.125, 1e3, width=32)
N_SLICES = 900
ORDER = ("phase", "scale", "slice_index")


def distinct(at_least: int, at_most: int) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(NAMES, min_size=at_least, max_size=at_most, unique=True).map(tuple)


@st.composite
def sources(draw: st.DrawFn, *, is_ct: bool) -> Source:
    spacing = st.tuples(ABOVE_0, ABOVE_0, ABOVE_0)
    known = draw(spacing if is_ct else spacing | st.just(NO_SPACING))
    return Source(draw(NAMES), "1" * 64, "2" * 64, draw(NAMES), known, draw(st.integers(N_SLICES, 2**40)))


@st.composite
def blocks(draw: st.DrawFn, d: int) -> tuple[FeatureBlock, ...]:
    ends = sorted(draw(st.sets(st.integers(1, d), max_size=3)) | {d})
    starts = [0, *ends[:-1]]
    names = draw(distinct(len(ends), len(ends)))
    return tuple(map(FeatureBlock, names, starts, ends))


@st.composite
def bags(draw: st.DrawFn) -> Bag:
    n, d, m = draw(st.integers(1, 6)), draw(st.integers(1, 5)), draw(st.integers(0, 3))
    phases, scales = draw(distinct(1, 4)), draw(distinct(1, 3))
    modality = draw(st.sampled_from((CT, "histology", "mr")))
    index = {
        "phase": draw(arrays(np.int8, n, elements=st.integers(0, len(phases) - 1))),
        "scale": draw(arrays(np.int8, n, elements=st.integers(0, len(scales) - 1))),
        "slice_index": draw(arrays(np.int32, n, elements=st.integers(0, N_SLICES - 1))),
    }
    order = np.lexsort([index[name] for name in reversed(ORDER)])
    names = draw(distinct(0, 3))
    measured = np.unique(index["phase"])[draw(st.integers(0, 1)) :] if names else np.empty(0, dtype=np.int8)
    present = {phases[number] for number in index["phase"]}
    header = BagHeader(
        patient_id=draw(st.text(string.ascii_letters + "ä-", min_size=1, max_size=8)),
        phase_names=phases,
        phases_missing={name: draw(NAMES) for name in phases if name not in present},
        scale_names=scales,
        recipe=Recipe("resnet18", "penultimate", draw(NAMES), "3" * 64, "float32", {"crop_mm": draw(FINITE)}),
        sources={name: draw(sources(is_ct=modality == CT)) for name in phases if name in present},
        content_key="4" * 64,
        tile_size_um=draw(ABOVE_0),
        tile_size_px=draw(st.integers(1, 2048)),
        modality=modality,
        feature_blocks=draw(blocks(d)),
        reference_hu={name: draw(FINITE) for name in phases if name in present},
        measure_names=draw(distinct(m, m)),
        measure_units=tuple(draw(st.lists(st.sampled_from(("", "HU", "mm²")), min_size=m, max_size=m))),
        radiomics_names=names,
        radiomics_settings={"software": "mirp", "spacing_mm": draw(FINITE)} if names else {},
    )
    return Bag(
        header=header,
        features=draw(arrays(np.float32, (n, d), elements=FINITE)),
        **{name: column[order] for name, column in index.items()},
        z_mm=draw(arrays(np.float32, n, elements=FINITE)),
        tumour_area_mm2=draw(arrays(np.float32, n, elements=FINITE.map(abs))),
        lesion=draw(arrays(np.int16, n, elements=st.integers(0, 2**15 - 1))),
        measures=draw(arrays(np.float32, (n, m), elements=FINITE | st.just(np.nan))),
        extent_mm=draw(arrays(np.float32, n, elements=ABOVE_0)),
        radiomics=draw(arrays(np.float32, (len(measured), len(names)), elements=FINITE | st.just(np.nan))),
        radiomics_phase=measured,
    )


def assert_same(a: Bag, b: Bag) -> None:
    assert a.header == b.header
    for name in (field.name for field in fields(Bag) if field.name != "header"):
        ours, theirs = getattr(a, name), getattr(b, name)
        assert ours.dtype == theirs.dtype, name
        np.testing.assert_array_equal(ours, theirs)


@given(bag=bags())
@settings(max_examples=60, deadline=None)
def test_any_bag_written_and_read_back_is_the_same(bag):
    with TemporaryDirectory() as folder:
        path = write_bag(Path(folder), bag)
        assert_same(read_bag(path), bag)
        assert read_header(path) == bag.header
        assert version_of_file(path) == 2


@given(bag=bags(), data=st.data())
@settings(max_examples=40, deadline=None)
def test_instances_taken_keep_their_measures_and_extents(bag, data):
    rows = np.array(data.draw(st.lists(st.integers(0, len(bag) - 1))), dtype=np.intp)
    taken = bag.take(rows)
    assert taken.measures.shape == (len(rows), bag.measures.shape[1])
    np.testing.assert_array_equal(taken.measures, bag.measures[rows])
    np.testing.assert_array_equal(taken.extent_mm, bag.extent_mm[rows])
    assert taken.header == bag.header
    phase = bag.header.phase_names[bag.phase[0]]
    np.testing.assert_array_equal(bag.in_phases([phase]).extent_mm, bag.extent_mm[bag.phase == bag.phase[0]])


@given(bag=bags(), data=st.data())
@settings(max_examples=40, deadline=None)
def test_radiomics_stay_of_the_phases_that_have_an_instance_left(bag, data):
    """Of others they would tell a model of a phase that is withheld from it."""
    taken = bag.take(np.array(data.draw(st.lists(st.integers(0, len(bag) - 1))), dtype=np.intp))
    left = [number for number in bag.radiomics_phase.tolist() if number in taken.phase]
    assert taken.radiomics_phase.tolist() == left
    rows = [bag.radiomics_phase.tolist().index(number) for number in left]
    np.testing.assert_array_equal(taken.radiomics, bag.radiomics[rows])


def test_a_bag_made_without_blocks_measures_and_extents_gets_those_of_whole_slices(bags_and_labels):
    bag = bags_and_labels[0][
        0
    ]  # the conftest's bags: 16 features, slices 5 mm apart, built by version 1's fields alone
    assert bag.header.feature_blocks == (FeatureBlock("whole", 0, 16),)
    assert bag.measures.shape == (len(bag), 0)
    assert (bag.extent_mm == 5).all()
    assert bag.in_phases([]).extent_mm.shape == (0,)


def test_an_extent_is_the_slice_spacing_of_the_own_phase(bags_and_labels):
    bag = next(bag for bag in bags_and_labels[0] if {0, 1} <= set(bag.phase.tolist()))
    thin = replace(bag.header.sources["AP"], spacing_mm=(1.0, 1.0, 1.25))
    header = replace(bag.header, sources={**bag.header.sources, "AP": thin})
    given_before = {f.name: getattr(bag, f.name) for f in fields(Bag)}
    del given_before["extent_mm"], given_before["header"]
    extents = Bag(header=header, **given_before).extent_mm
    assert set(extents[bag.phase == 1].tolist()) == {1.25}
    assert set(extents[bag.phase == 0].tolist()) == {5.0}


def test_a_bag_whose_features_changed_their_width_is_not_written_with_the_old_blocks(
    tmp_path, bags_and_labels
):
    bag = bags_and_labels[0][0]
    with pytest.raises(BagError, match="follow one another from 0 to 9, found whole 0:16"):
        write_bag(tmp_path, replace(bag, features=bag.features[:, :9]))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"modality": "mr"}, "modality: ct against mr"),
        (
            {"feature_blocks": (FeatureBlock("rim", 0, 16),)},
            "feature_blocks: whole 0:16 against rim 0:16",
        ),
        ({"measure_names": ("area",), "measure_units": ("mm2",)}, r"measure_names: \(\) against \('area',\)"),
        ({"measure_units": ("mm2",)}, r"measure_units: \(\) against \('mm2',\)"),
        (
            {"radiomics_names": ("lesion.stat_mean",)},
            r"radiomics_names: none against 1 \(lesion.stat_mean ...\)",
        ),
        ({"radiomics_settings": {"spacing_mm": 2.0}}, r"radiomics_settings, spacing_mm: None against 2.0"),
    ],
)
def test_bags_whose_numbers_mean_different_things_are_never_mixed(bags_and_labels, changes, told):
    first, second = (bag.header for bag in bags_and_labels[0][:2])
    with pytest.raises(BagError, match=f"p000 and p001 differ in {told}"):
        check_one_recipe([first, replace(second, **changes)])
