"""Volume, diameter and thickness: worked out by hand, and the same for check, cohort.csv, baseline and sign."""

import numpy as np
import pytest

from aggregate.cohort.patient_facts import describe_patient
from aggregate.explain.signs import measure_patient as measure_signs
from aggregate.explain.signs import signs_of
from aggregate.models.baselines import TumourSize
from extract.config import SlicesSection
from extract.slice_policy import choose_slices, slices_with_region
from pipeline.bags import Bag, BagHeader, Recipe, Source, read_bag, write_bag
from pipeline.cohort import Patient
from pipeline.phase_roles import PhaseRoles
from pipeline.quantities import (
    greatest_diameter_mm,
    median_of_phases,
    slice_heights_mm,
    slice_thickness_mm,
    tumour_volume_ml,
    tumour_volumes_ml,
    volume_ml,
)
from pipeline.slices import PhaseSlices
from pipeline.store import SliceStore, StoredPatient

PHASES = ("AP", "PVP")
Z = np.arange(200.0)


def keep(areas, *, thickness=1.0, phase="AP", is_recorded=True, **policy):
    """Choose slices of a scan as stage 1 does, as a phase of the slice store."""
    areas, section = np.asarray(areas, dtype=np.float32), SlicesSection(**policy)
    z_mm = (np.arange(len(areas)) * thickness).astype(np.float32)
    chosen = choose_slices(z_mm, areas, section)
    n_before = len(slices_with_region(areas, section)) if is_recorded else None
    source = Source("f", "i", "m", "drawn", (1.0, 1.0, thickness), len(areas), n_before)
    n = len(chosen)
    return PhaseSlices(
        phase=phase,
        crops_hu=np.zeros((n, 4, 4), dtype=np.int16),
        masks=np.ones((n, 4, 4), dtype=np.bool_),
        spacing_mm=(1.0, 1.0),
        slice_index=chosen.astype(np.int32),
        z_mm=z_mm[chosen],
        tumour_area_mm2=areas[chosen],
        lesion=np.ones(n, dtype=np.int16),
        source=source,
    )


def bag_of(*phases, n_scales=1, n_lesions=1):
    """The bag of stored phases, each slice once per scale and lesion."""
    times = n_scales * n_lesions
    number = np.concatenate([np.full(len(p) * times, PHASES.index(p.phase)) for p in phases])
    order = [np.repeat(np.arange(len(p)), n_lesions) for p in phases]
    index = np.concatenate([np.tile(p.slice_index[o], n_scales) for p, o in zip(phases, order, strict=True)])
    area = np.concatenate(
        [np.tile(p.tumour_area_mm2[o], n_scales) for p, o in zip(phases, order, strict=True)]
    )
    scale = np.concatenate([np.repeat(np.arange(n_scales), len(p) * n_lesions) for p in phases])
    sources = {p.phase: p.source for p in phases}
    missing = {name: "no scan" for name in PHASES if name not in sources}
    recipe = Recipe("e", "l", "w", "0", "float32", {})
    header = BagHeader("p", PHASES, missing, ("a", "b")[:n_scales], recipe, sources, "key", 1.0, 32)
    return Bag(
        header=header,
        features=np.zeros((len(index), 2), dtype=np.float32),
        phase=number.astype(np.int8),
        slice_index=index.astype(np.int32),
        z_mm=index.astype(np.float32),
        tumour_area_mm2=area.astype(np.float32),
        lesion=np.ones(len(index), dtype=np.int16),
        scale=scale.astype(np.int8),
    )


def in_every_place(kept, areas, thickness=1.0):
    """The volume in ml as check, cohort.csv, the baseline and the sign give it."""
    bag = bag_of(kept)
    return [
        volume_ml(np.asarray(areas, dtype=np.float32), thickness),
        describe_patient(bag, Patient("p", {}, "HCC")).tumour_volume_ml,
        float(np.expm1(TumourSize().vectors([bag])[0, 1])) / 1000,
        signs_of(measure_signs([kept]), PhaseRoles()).volume_ml,
    ]


CYLINDER = np.where((Z >= 38) & (Z < 78), 100.0, 0.0)
"""100 mm2 on 40 slices of 1 mm: 4.0 ml."""
POLICIES = [
    {},
    {"every_mm": 5.0},
    {"every_mm": 3.0},
    {"every_mm": 50.0},
    {"at_most": 1},
    {"at_most": 2},
    {"at_most": 9},
    {"at_most": 33},
    {"every_mm": 2.0, "at_most": 7},
]


@pytest.mark.parametrize("policy", POLICIES, ids=str)
def test_a_cylinder_has_4_ml_in_every_place_however_its_slices_were_thinned_out(policy):
    assert in_every_place(keep(CYLINDER, **policy), CYLINDER) == pytest.approx([4.0] * 4)


@pytest.mark.parametrize("thickness", [0.7, 2.5, 5.0])
def test_slices_of_any_thickness_give_the_volume_of_the_cylinder(thickness):
    kept = keep(CYLINDER, thickness=thickness, every_mm=6.0)
    assert in_every_place(kept, CYLINDER, thickness) == pytest.approx([4.0 * thickness] * 4)


def test_a_bag_that_did_not_record_its_thinning_has_the_usual_distance_of_its_slices():
    """8 slices 5 mm apart are 40 mm of 100 mm2."""
    kept = keep(CYLINDER, every_mm=5.0, is_recorded=False)
    assert len(kept) == 8
    assert tumour_volume_ml(kept) == pytest.approx(4.0)
    assert tumour_volume_ml(keep(CYLINDER, is_recorded=False)) == pytest.approx(4.0)


ELLIPSOID = np.pi * 15 * 20 * np.maximum(0, 1 - ((Z - 90.3) / 25) ** 2)
"""Half-axes of 15, 20 and 25 mm: 4/3 pi 15 20 25 mm3 = 31.4 ml."""


@pytest.mark.parametrize("policy", [p for p in POLICIES if len(keep(ELLIPSOID, **p)) >= 5], ids=str)
def test_an_ellipsoid_has_the_volume_of_the_whole_mask_within_5_percent(policy):
    whole, *kept = in_every_place(keep(ELLIPSOID, **policy), ELLIPSOID)
    assert whole == pytest.approx(31.416, rel=0.002)
    assert kept == pytest.approx([whole] * 3, rel=0.05)


def test_one_slice_kept_of_an_ellipsoid_is_half_too_much():
    """The middle slice all along is a cylinder: 3/2 of the ellipsoid."""
    assert tumour_volume_ml(keep(ELLIPSOID, at_most=1)) == pytest.approx(1.5 * 31.416, rel=0.03)


def test_one_slice_has_the_thickness_of_a_slice():
    area = np.where(Z == 7, 250.0, 0.0)
    assert in_every_place(keep(area, thickness=4.0), area, 4.0) == pytest.approx([1.0] * 4)


TWO = np.where((Z >= 10) & (Z < 30) | (Z >= 120) & (Z < 140), 100.0, 0.0)
"""Two lesions of 2 ml, 90 mm apart."""


@pytest.mark.parametrize("policy", [{}, {"every_mm": 5.0}, {"at_most": 8}], ids=str)
@pytest.mark.parametrize("is_recorded", [True, False])
def test_there_is_no_tumour_between_two_lesions(policy, is_recorded):
    kept = keep(TWO, is_recorded=is_recorded, **policy)
    assert tumour_volume_ml(kept) == pytest.approx(4.0, rel=0.2)
    assert not is_recorded or tumour_volume_ml(kept) == pytest.approx(4.0)


def test_a_lesion_with_an_empty_slice_in_it_has_no_volume_there():
    hole = np.where((Z >= 10) & (Z < 20) & (Z != 15), 100.0, 0.0)
    assert in_every_place(keep(hole), hole) == pytest.approx([0.9] * 4)


def test_heights_by_hand():
    """Half-way to the neighbours: 13 of 16 slices lie between the kept ones, so 1.5 lie beyond either end."""
    found = slice_heights_mm(np.array([12, 15, 20, 25]), 2.0, 16)
    assert found.tolist() == [6.0, 8.0, 10.0, 8.0]
    assert slice_heights_mm(np.array([], dtype=np.int32), 2.0).tolist() == []


def test_two_lesions_on_one_slice_and_several_scales_count_once():
    kept = keep(CYLINDER, every_mm=5.0)
    for n_scales, n_lesions in ((1, 2), (2, 1), (2, 2)):
        found = tumour_volumes_ml(bag_of(kept, n_scales=n_scales, n_lesions=n_lesions))
        assert found == {"AP": pytest.approx(4.0)}


def test_a_missing_phase_and_a_phase_without_tumour_have_no_volume():
    nothing = keep(CYLINDER, phase="PVP")
    nothing = bag_of(keep(CYLINDER), nothing)
    nothing.tumour_area_mm2[nothing.phase == 1] = 0
    assert tumour_volumes_ml(nothing) == tumour_volumes_ml(bag_of(keep(CYLINDER))) == {"AP": pytest.approx(4)}
    assert median_of_phases([4.0, 0.0, float("nan"), 2.0]) == 3.0
    assert np.isnan(median_of_phases([0.0]))


def test_a_baseline_on_a_patient_without_tumour_areas_has_a_size_of_zero():
    bag = bag_of(keep(CYLINDER))
    bag.tumour_area_mm2[:] = 0
    assert TumourSize().vectors([bag]).tolist() == [[0.0, 0.0]]


def test_what_slices_stand_for_survives_bag_and_store(tmp_path):
    kept = keep(CYLINDER, every_mm=5.0)
    bag = read_bag(write_bag(tmp_path, bag_of(kept)))
    store = SliceStore(tmp_path / "slices.zarr")
    store.write("p", StoredPatient("key", (kept,)))
    assert bag.header.sources["AP"].n_before_thinning == 40
    assert store.read_phases("p")[0].source == bag.header.sources["AP"]


def test_the_thickness_is_the_distance_of_slice_planes_and_the_greatest_of_several_scans():
    assert slice_thickness_mm([(0.7, 0.7, 5.0), (9.0, 9.0, 2.5)]) == 5.0


def test_the_greatest_diameter_of_a_rectangle_is_its_diagonal():
    """3 rows of 2 mm and 8 columns of 1 mm: from the middle of an edge of one corner pixel to the opposite one's."""
    mask = np.zeros((9, 12), dtype=np.bool_)
    mask[2:5, 3:11] = True
    corner_to_corner = max(np.hypot(2 * 3, 7), np.hypot(2 * 2, 8))
    assert greatest_diameter_mm(mask, (2.0, 1.0)) == pytest.approx(corner_to_corner)
    assert np.isnan(greatest_diameter_mm(mask & False, (2.0, 1.0)))
