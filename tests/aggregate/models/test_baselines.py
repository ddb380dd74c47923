"""The baselines by hand: what each of them looks at, worked out on paper."""

import numpy as np
import pytest

from aggregate.cohort.patient import Patient
from aggregate.models.baselines import BagSize, CentreSlice, Covariates, Majority, SinglePhase, TumourSize
from pipeline.bags import Bag, BagHeader, Recipe, Source
from pipeline.errors import ConfigError

PHASES = ("NC", "AP", "PVP", "DP")
RECIPE = Recipe("e", "l", "w", "0", "float32", {})


def bag_of(*rows, patient_id="a", spacings=None):
    """Build a bag from rows of phase, slice index, area in mm2, features and, where not 0, scale."""
    phase, index, area, features, *scale = zip(*rows, strict=True)
    spacings = spacings or {}
    sources = {
        PHASES[p]: Source("f", f"{patient_id}{p}", "m", "drawn", (1.0, 1.0, spacings.get(PHASES[p], 5.0)), 40)
        for p in sorted(set(phase))
    }
    missing = {name: "no scan" for name in PHASES if name not in sources}
    header = BagHeader(patient_id, PHASES, missing, ("tight", "wide"), RECIPE, sources, patient_id, 1e5, 224)
    return Bag(
        header=header,
        features=np.array(features, dtype=np.float32),
        phase=np.array(phase, dtype=np.int8),
        slice_index=np.array(index, dtype=np.int32),
        z_mm=np.array(index, dtype=np.float32),
        tumour_area_mm2=np.array(area, dtype=np.float32),
        lesion=np.ones(len(phase), dtype=np.int16),
        scale=np.array(scale[0] if scale else [0] * len(phase), dtype=np.int8),
    )


def arterial(value, patient_id="a"):
    """Build a bag of one arterial slice of one feature."""
    return bag_of((1, 0, 10.0, [value]), patient_id=patient_id)


def test_majority_gives_the_class_shares_of_the_training_patients():
    model = Majority().fit([arterial(0.0)] * 4, np.array(["HCC", "iCCA", "HCC", "HCC"]))
    np.testing.assert_allclose(model.predict_proba([arterial(9.0)] * 2), [[0.75, 0.25]] * 2)


def test_bag_size_counts_slices_in_all_and_of_each_phase():
    bag = bag_of((1, 0, 1.0, [0.0]), (1, 1, 1.0, [0.0]), (1, 2, 1.0, [0.0]), (2, 0, 1.0, [0.0]))
    np.testing.assert_allclose(BagSize().vectors([bag]), np.log([[1 + 4, 1 + 0, 1 + 3, 1 + 1, 1 + 0]]))


def test_bag_size_and_centre_slice_count_a_slice_once_at_however_many_scales():
    """Of slices 3, 5 and 8 the middle one is 5, at both scales; of 2 and 4 the upper one."""
    once = [
        (1, 3, 1.0, [3.0]),
        (1, 5, 1.0, [5.0]),
        (1, 8, 1.0, [8.0]),
        (2, 2, 1.0, [2.0]),
        (2, 4, 1.0, [4.0]),
    ]
    twice = bag_of(*((*row, 0) for row in once), *((p, z, a, [10 * x[0]], 1) for p, z, a, x in once))
    np.testing.assert_array_equal(BagSize().vectors([twice]), BagSize().vectors([bag_of(*once)]))
    np.testing.assert_allclose(CentreSlice().vectors([twice]), [[(5 + 50 + 4 + 40) / 4]])


def test_tumour_size_is_the_largest_area_and_the_volume_that_cohort_csv_tells_the_median_over_the_phases():
    bag = bag_of(
        (1, 7, 100.0, [0.0]),
        (1, 8, 200.0, [0.0]),  # arterial: 300 mm2 in slices of 5 mm are 1500 mm3
        (2, 3, 250.0, [0.0]),  # portal venous: 250 mm2 in a slice of 2.5 mm are 625 mm3
        spacings={"AP": 5.0, "PVP": 2.5},
    )
    np.testing.assert_allclose(TumourSize().vectors([bag]), np.log([[1 + 250, 1 + (1500 + 625) / 2]]))


def test_a_slice_that_stands_twice_in_a_bag_has_its_volume_once():
    once = bag_of((1, 4, 120.0, [0.0], 0), (1, 5, 80.0, [0.0], 0))
    two_scales = bag_of((1, 4, 120.0, [0.0], 0), (1, 5, 80.0, [0.0], 0), (1, 4, 120.0, [0.0], 1))
    two_lesions = bag_of((1, 4, 120.0, [0.0], 0), (1, 4, 120.0, [0.0], 0), (1, 5, 80.0, [0.0], 0))
    expected = np.log([[1 + 120, 1 + 1000]])
    for bag in (once, two_scales, two_lesions):
        np.testing.assert_allclose(TumourSize().vectors([bag]), expected)


def test_the_centre_slice_is_the_middle_one_of_each_phase_averaged_over_the_phases():
    bag = bag_of(
        (1, 9, 1.0, [900.0, 0.0]),
        (1, 4, 1.0, [400.0, 0.0]),
        (1, 6, 1.0, [600.0, 2.0]),  # the middle of 4, 6, 9, in whatever order they come
        (2, 2, 1.0, [20.0, 0.0]),
        (2, 3, 1.0, [30.0, 4.0]),  # of two slices the upper one
    )
    np.testing.assert_allclose(CentreSlice().vectors([bag]), [[(600 + 30) / 2, (2 + 4) / 2]])


def test_a_single_phase_looks_at_the_mean_slice_of_that_phase_only():
    bag = bag_of((1, 0, 1.0, [1.0, 5.0]), (1, 1, 1.0, [3.0, 6.0]), (2, 0, 1.0, [100.0, 100.0]))
    np.testing.assert_allclose(SinglePhase(phase="AP").vectors([bag]), [[2.0, 5.5]])


def test_a_patient_without_the_phase_is_taken_for_the_mean_of_the_training_patients():
    values = [1.0, 2.0, 3.0, 6.0, 7.0, 5.0]
    lacking = bag_of((2, 0, 1.0, [55.0]))
    bags = [*map(arterial, values), lacking]
    model = SinglePhase(phase="AP", random_state=0).fit(bags, np.array([0, 0, 0, 1, 1, 1, 1]))
    assert np.isnan(model.vectors([lacking])).all()
    mean = arterial(float(np.mean(values)))  # of the six who have the phase
    np.testing.assert_allclose(model.predict_proba([lacking]), model.predict_proba([mean]))
    low, high = model.predict_proba([arterial(1.0), arterial(7.0)])[:, 1]
    assert low < model.predict_proba([lacking])[0, 1] < high


def test_a_phase_that_nobody_has_tells_nothing():
    model = SinglePhase(phase="DP", class_weight="none", random_state=0)
    model.fit([arterial(float(i)) for i in range(8)], np.array([0, 0, 0, 0, 0, 0, 1, 1]))
    np.testing.assert_allclose(model.predict_proba([arterial(3.0)]), [[0.75, 0.25]], atol=1e-2)


def aged(age: float | None, sex: str | None) -> Patient:
    return Patient("p", {}, {"age": age, "sex": sex})


@pytest.fixture
def covariates():
    """Logistic regression on age and sex of four training patients."""
    people = [aged(40.0, "F"), aged(60.0, "M"), aged(None, "F"), aged(80.0, None)]
    return Covariates(covariates=("age", "sex"), random_state=0).fit(people, np.array([0, 1, 0, 1]))


def test_a_missing_number_is_taken_for_the_training_mean(covariates):
    missing, mean = covariates.predict_proba([aged(None, "M"), aged(60.0, "M")])
    np.testing.assert_allclose(missing, mean)  # (40 + 60 + 80) / 3 = 60


def test_a_patient_of_whom_nothing_is_known_gets_probabilities_too(covariates):
    np.testing.assert_allclose(covariates.predict_proba([aged(None, "X")]), [[0.5, 0.5]])


def test_covariates_without_a_column_are_refused():
    with pytest.raises(ConfigError, match="expected at least one column in `covariates`, found none"):
        Covariates().fit([aged(1.0, "F")], np.array([0]))


def test_no_baseline_but_slices_of_features_looks_at_the_features():
    small, large = arterial(1.0), arterial(1e6)
    for model in (BagSize(), TumourSize()):
        np.testing.assert_array_equal(model.vectors([small]), model.vectors([large]))
