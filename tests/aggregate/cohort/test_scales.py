"""Bags of several scales: some of the scales, the scales of a slice side by side, and slices counted once."""

from dataclasses import replace

import numpy as np
import pytest

from aggregate.cohort.bag_sets import BagList
from aggregate.cohort.patient import Patient
from aggregate.cohort.scales import bag_in_scales, n_slices, slices_per_phase, with_scales_joined
from aggregate.models.registry import build_model
from aggregate.models.views import View
from pipeline.bags import FeatureBlock
from pipeline.errors import ConfigError, SampleError
from tests.conftest import at_two_scales, draw_bag

BLOCKS = (FeatureBlock("whole", 0, 6), FeatureBlock("lesion", 6, 16))


@pytest.fixture
def one():
    bag = draw_bag("p1", 0, np.random.default_rng(3))
    measures = np.arange(len(bag), dtype=np.float32)[:, None]
    header = replace(bag.header, feature_blocks=BLOCKS, measure_names=("area",), measure_units=("mm2",))
    return replace(bag, header=header, measures=measures)


@pytest.fixture
def bag(one):
    """The same at two scales, each slice at `context` with features of minus a half."""
    return at_two_scales(one)


def seen(view, bag):
    return view.of(Patient(bag.patient_id, {"bags": bag}))


def test_one_scale_of_a_bag_is_the_bag_of_that_scale(one, bag):
    tight = bag_in_scales(bag, ("tight",))
    np.testing.assert_array_equal(tight.features, one.features)
    assert tight.header.scale_names == ("tight",)
    wide = seen(View(scales=("context",)), bag)
    np.testing.assert_array_equal(wide.features, -one.features / 2)
    assert wide.scale.tolist() == [0] * len(one)


def test_scales_are_seen_in_the_order_that_is_asked(one, bag):
    turned = bag_in_scales(bag, ("context", "tight"))
    np.testing.assert_array_equal(turned.features[turned.scale == 1], one.features)


def test_joined_scales_are_one_instance_per_slice_with_the_features_side_by_side(one, bag):
    joined = with_scales_joined(bag)
    np.testing.assert_array_equal(joined.features, np.hstack([one.features, -one.features / 2]))
    for name in ("phase", "slice_index", "measures", "tumour_area_mm2", "extent_mm"):
        np.testing.assert_array_equal(getattr(joined, name), getattr(one, name))
    assert joined.header.scale_names == ("tight+context",)
    assert list(map(str, joined.header.feature_blocks)) == [
        "whole@tight 0:6", "lesion@tight 6:16", "whole@context 16:22", "lesion@context 22:32",
    ]  # fmt: skip


def test_a_slice_finds_its_scales_in_whatever_order_the_instances_come(bag):
    shuffled = bag.take(np.random.default_rng(0).permutation(len(bag)))
    np.testing.assert_array_equal(with_scales_joined(shuffled).features, with_scales_joined(bag).features)


def test_a_block_names_itself_at_every_scale_or_at_one(one, bag):
    lesion, whole = one.features[:, 6:], one.features[:, :6]
    both = seen(View(features=("lesion",), join_scales=True, measures=True), bag)
    np.testing.assert_array_equal(both.features, np.hstack([lesion, -lesion / 2, one.measures]))
    chosen = seen(View(features=("lesion@tight", "whole@context"), join_scales=True), bag)
    np.testing.assert_array_equal(chosen.features, np.hstack([lesion, -whole / 2]))


@pytest.mark.parametrize(
    ("view", "message"),
    [
        (View(scales=("tigth",)), "no scale 'tigth' in the bag; nearest valid name: 'tight'"),
        (View(features=("lesions",), join_scales=True), "no feature block 'lesions' in the bag; nearest"),
        (
            View(scales=("tight",), join_scales=True),
            "several scales side by side, and a model sees one, tight; leave",
        ),
    ],
    ids=["scale", "block", "one scale"],
)
def test_what_is_not_there_is_told(bag, view, message):
    with pytest.raises(ConfigError, match=message):
        seen(view, bag)


def test_a_slice_that_lacks_a_scale_is_refused_and_not_filled_in(bag):
    first = np.flatnonzero(bag.scale == 1)[0]
    lacking = bag.take(np.delete(np.arange(len(bag)), first))
    number = bag.slice_index[first] + 1
    phase = bag.header.phase_names[bag.phase[first]]
    with pytest.raises(
        SampleError,
        match=rf"patient p1, {phase}, slice {number}: .* one instance at each scale, found 0 at context",
    ):
        with_scales_joined(lacking)


def test_a_slice_that_has_a_scale_twice_is_refused(bag):
    with pytest.raises(SampleError, match="expects one instance at each scale, found 2 at tight"):
        with_scales_joined(bag.take(np.append(np.arange(len(bag)), 0)))


def test_measures_that_differ_between_the_scales_are_refused(bag):
    bag.measures[bag.scale == 1] += 1
    with pytest.raises(SampleError, match="the measures of a slice to be the same at every scale"):
        with_scales_joined(bag)


def test_a_slice_counts_once_at_however_many_scales(one, bag):
    assert n_slices(bag) == n_slices(one) == len(one)
    assert slices_per_phase(bag) == [int(np.sum(one.phase == i)) for i in range(4)]
    assert BagList([bag]).size(0) == len(one)


@pytest.mark.parametrize("kind", ["mean_pooling", "xgboost", "phase_concat", "slice_scores"])
def test_every_model_sees_the_scales_it_is_told(kind, bags_and_labels):
    """The bags of one scale, and those of two of which only that one is seen, are the same to it."""
    bags, labels = bags_and_labels[0][:24], bags_and_labels[1][:24]
    quick = {"xgboost": {"rounds": 3}, "phase_concat": {"epochs": 2}}.get(kind, {})
    alone = build_model(kind, quick, 0).fit(bags, labels).predict_proba(bags)
    both = [at_two_scales(bag) for bag in bags]
    among = build_model(kind, {**quick, "scales": ["tight"]}, 0).fit(both, labels)
    np.testing.assert_array_equal(among.predict_proba(both), alone)
    joined = build_model(kind, {**quick, "join_scales": True}, 0).fit(both, labels)
    assert joined.bag_shape_.n_features == 32


def test_bags_of_other_scales_than_those_it_was_trained_on_are_refused(bags_and_labels, tmp_path):
    bags, labels = [at_two_scales(bag) for bag in bags_and_labels[0][:12]], bags_and_labels[1][:12]
    model = build_model("mean_pooling", {}, 0).fit(bags, labels)
    model.save(tmp_path)
    other = replace(bags[0], header=replace(bags[0].header, scale_names=("context", "tight")))
    for one in (model, type(model).load(tmp_path)):
        with pytest.raises(
            SampleError,
            match=r"expected 16 features at the scales tight, context .* found 16 features at the scales context",
        ):
            one.predict_proba([other])
