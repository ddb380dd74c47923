"""Whole patients: confounders under control, phases missing as asked."""

import numpy as np
import pytest
from scipy.stats import chi2_contingency, kruskal

from extract.phantom.config import PhantomSection
from extract.phantom.geometry import Points
from extract.phantom.subjects import draw_subjects

COUNTS = {"HCC": 60, "iCCA": 60, "cHCC-CCA": 60}


def draw(**keys):
    return draw_subjects(PhantomSection(patients=COUNTS, seed=2, **keys))


@pytest.fixture(scope="module")
def usual():
    return draw()


def sizes(subjects):
    return [[s.diameter_mm for s in subjects if s.label == name] for name in COUNTS]


def centres(subjects):
    return [[sum(s.label == name and s.centre == c for s in subjects) for c in "ABC"] for name in COUNTS]


def test_each_class_has_its_number_of_patients_in_mixed_order(usual):
    labels = [s.label for s in usual]
    assert {name: labels.count(name) for name in COUNTS} == COUNTS
    assert len(set(labels[:20])) > 1


def test_size_is_equal_across_classes_by_default(usual):
    assert kruskal(*sizes(usual)).pvalue > 0.01


def test_size_is_confounded_with_class_when_asked():
    hcc, icca, mixed = (np.median(group) for group in sizes(draw(tumour_size="as documented")))
    assert mixed < hcc < icca


def test_centre_is_independent_of_class_by_default(usual):
    assert chi2_contingency(centres(usual)).pvalue > 0.01


def test_centre_gives_the_class_away_when_asked():
    assert chi2_contingency(np.add(centres(draw(centre_follows_class=0.8)), 1)).pvalue < 1e-6
    assert [row.count(0) for row in centres(draw(centre_follows_class=1.0))] == [2, 2, 2]


def test_phases_are_missing_at_their_rates(usual):
    present = [{plan.phase for plan in s.scans} for s in usual]
    assert np.mean(["NC" not in phases for phases in present]) == pytest.approx(0.25, abs=0.11)
    assert np.mean(["PVP" not in phases for phases in present]) < 0.09


def test_a_patient_without_any_phase_keeps_the_portal_venous_one():
    subjects = draw(missing=dict.fromkeys(("NC", "AP", "PVP", "DP"), 1.0))
    assert {tuple(plan.phase for plan in s.scans) for s in subjects} == {("PVP",)}


def test_one_phase_bears_the_mask_when_asked():
    assert {sum(plan.has_mask for plan in s.scans) for s in draw(masks="one phase")} == {1}


def test_age_and_sex_follow_the_published_means():
    subjects = draw()
    ages = {name: np.mean([s.age for s in subjects if s.label == name]) for name in COUNTS}
    assert ages["iCCA"] > max(ages["HCC"], ages["cHCC-CCA"])
    assert {s.sex for s in subjects} == {"F", "M"}


def test_every_tumour_lies_in_the_liver(usual):
    for subject in usual:
        centre = Points(np.float32([subject.tumour.solid.centre]))
        assert subject.anatomy.liver_depth(centre)[0] > 3


def test_centres_differ_in_kernel_and_orientation(usual):
    styles = {s.centre: {(p.kernel_mm, p.orientation) for p in s.scans} for s in usual}
    assert len(styles) == len(set.union(*styles.values())) == 3


def test_a_patient_does_not_depend_on_the_matrix():
    coarse, fine = draw(matrix=96), draw(matrix=512)
    assert [s.signs for s in coarse] == [s.signs for s in fine]
    assert [s.tumour.solid for s in coarse] == [s.tumour.solid for s in fine]
