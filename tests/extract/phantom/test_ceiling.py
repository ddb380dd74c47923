"""The oracles, by hand, by law and against their published expectation."""

import numpy as np
import pytest

from extract.phantom import facts
from extract.phantom.ceiling import (
    HounsfieldOracle,
    Reading,
    areas,
    draw_reading,
    prior_of,
    read_signs,
    read_truth,
)
from extract.phantom.config import PhantomSection
from extract.phantom.subjects import draw_subjects
from extract.phantom.truth import write_truth

STUDY = PhantomSection(preset="study")
PRIOR = prior_of(STUDY)
COMPLETE = STUDY.model_copy(update={"missing": dict.fromkeys(facts.PHASES, 0.0)})


@pytest.fixture(scope="module")
def reading() -> Reading:
    return draw_reading(COMPLETE, 40_000, np.random.default_rng(0))


@pytest.fixture(scope="module")
def oracle() -> HounsfieldOracle:
    return HounsfieldOracle().fit(draw_reading(COMPLETE, 80_000, np.random.default_rng(1)))


def one(markers: tuple[str, ...], *, lobulated: bool = False, cirrhosis: bool = False) -> Reading:
    return Reading(
        label=np.zeros(1, np.intp),
        markers=np.array([[name in markers for name in facts.MARKERS]]),
        classwise=np.array([[lobulated, cirrhosis]]),
        contrast_hu=np.full((1, 4), np.nan),
    )


def test_the_sign_oracle_is_bayes_rule_by_hand():
    """No sign, smooth margin, no cirrhosis, equal priors."""
    joint = np.array([11 / 103 * 0.94 * 0.34, 0.23 * 0.66 * 0.86, 0.12 * 0.80 * 0.60])
    np.testing.assert_allclose(read_signs(one(()), np.full(3, 1 / 3))[0], joint / joint.sum())


def test_a_pattern_that_one_class_has_is_certain():
    np.testing.assert_allclose(read_signs(one(("nonrim_aphe", "capsule")), PRIOR)[0], [1, 0, 0])


def test_probabilities_of_the_sign_oracle_are_calibrated(reading):
    probabilities = read_signs(reading, PRIOR)
    for c in range(3):
        for low in np.arange(0, 1, 0.2):
            members = (probabilities[:, c] >= low) & (probabilities[:, c] < low + 0.2)
            if members.sum() > 500:
                observed = (reading.label[members] == c).mean()
                assert observed == pytest.approx(probabilities[members, c].mean(), abs=0.03)


def test_the_ceiling_of_the_signs_lies_where_the_documented_overlap_puts_it(reading):
    area = areas(reading.label, read_signs(reading, PRIOR))
    assert 0.85 < area["macro"] < 0.92
    assert area["cHCC-CCA"] == min(area.values())


def test_hu_add_to_the_signs_and_leave_the_task_hard(reading, oracle):
    signs = areas(reading.label, read_signs(reading, PRIOR))["macro"]
    both = areas(reading.label, oracle.predict_proba(reading, PRIOR))["macro"]
    assert signs + 0.01 < both < 0.96


def test_without_any_phase_the_second_oracle_is_the_first(oracle):
    reading = one(("nonrim_aphe", "washout"), cirrhosis=True)
    np.testing.assert_allclose(oracle.predict_proba(reading, PRIOR), read_signs(reading, PRIOR))


def test_missing_phases_cost_the_second_oracle_something(oracle):
    sparse = STUDY.model_copy(update={"missing": dict.fromkeys(facts.PHASES, 0.7)})
    rng = np.random.default_rng(3)
    few, all_phases = (draw_reading(section, 20_000, rng) for section in (sparse, COMPLETE))
    first, second = (areas(r.label, oracle.predict_proba(r, PRIOR))["macro"] for r in (few, all_phases))
    assert first < second


def test_shuffled_labels_leave_nothing_to_read(reading):
    shuffled = np.random.default_rng(4).permutation(reading.label)
    assert areas(shuffled, read_signs(reading, PRIOR))["macro"] == pytest.approx(0.5, abs=0.02)


def test_truth_csv_holds_what_the_oracles_read(tmp_path):
    section = PhantomSection(preset="tiny", seed=8)
    subjects = draw_subjects(section)
    write_truth(tmp_path / "truth.csv", subjects, section)
    reading = read_truth(tmp_path / "truth.csv")
    assert [facts.CLASSES[i] for i in reading.label] == [s.label for s in subjects]
    for i, subject in enumerate(subjects):
        assert dict(zip(facts.MARKERS, reading.markers[i], strict=True)).items() <= subject.signs.items()
        acquired = {facts.PHASES[j] for j in np.flatnonzero(np.isfinite(reading.contrast_hu[i]))}
        assert acquired == {plan.phase for plan in subject.scans}
