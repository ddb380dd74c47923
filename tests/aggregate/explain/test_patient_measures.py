"""What stage 1 measured and wrote into a bag is what stage 2 would measure on the same slices."""

import numpy as np
import pytest

from aggregate.explain.patient_measures import has_measures, measured, measured_in_bag, sets_with_measures
from aggregate.explain.signs import SIGNS
from pipeline.store import SliceStore
from tests.aggregate.explain.conftest import ROLES
from tests.conftest import draw_bag
from tests.extract.conftest import command, playground  # noqa: F401 - fixtures


@pytest.fixture
def both(playground, command):  # noqa: F811
    """A patient of two phases, measured from its bag and from the slice store."""
    for phase in ("AP", "PVP"):
        playground.add("p", phase)
    code, printed = command("run", playground.configure("scales_mm = { tight = 30.0, context = 90.0 }\n"))
    assert code == 0, printed
    bag = playground.bag("p")
    store = SliceStore(playground.folder / "out" / "slices.zarr")
    return bag, measured_in_bag(bag, ROLES), measured(store.read_phases("p"), ROLES)


def test_measures_in_the_bag_are_those_of_the_slices(both):
    bag, of_bag, of_slices = both
    assert has_measures(bag.header)
    assert len(of_bag.slices) == len(of_slices.slices) == 2 * 5  # two scales of a slice are one slice
    for ours, theirs in zip(of_bag.slices, of_slices.slices, strict=True):
        assert (ours["phase"], ours["slice_number"]) == (theirs["phase"], theirs["slice_number"])
        numbers = [name for name in theirs if name not in ("phase", "slice_number")]
        np.testing.assert_allclose([ours[n] for n in numbers], [theirs[n] for n in numbers], rtol=1e-5)


def test_signs_follow_from_the_bag_alone(both):
    _, of_bag, of_slices = both
    ours, theirs = ([getattr(m.signs, name) for name in SIGNS[:-1]] for m in (of_bag, of_slices))
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)
    # The surface is that of the whole lesion in the scan here, and of the kept crops there.
    assert of_bag.signs.sphericity == pytest.approx(of_slices.signs.sphericity, abs=0.1)


def test_a_patient_who_lacks_the_first_bag_set_is_measured_in_another(both):
    with_measures, without = both[0].header, draw_bag("p", 0, np.random.default_rng(0)).header
    first, second = (with_measures, None, without), (with_measures, with_measures, with_measures)
    assert sets_with_measures({"ct": first, "wide": second}) == ("ct", "wide", "wide")
    assert sets_with_measures({"ct": first}) == ()


def test_a_bag_of_an_earlier_release_has_no_measures():
    assert not has_measures(draw_bag("p", 0, np.random.default_rng(0)).header)
