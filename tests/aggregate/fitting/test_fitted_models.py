"""Fitted models asked again about their test patients, changed, and about patients whom they do not know."""

from dataclasses import dataclass

import numpy as np

from aggregate.cohort.folds import Fold
from aggregate.fitting.fitted_models import changed_probabilities, probabilities_of_new
from tests.conftest import patients_of


@dataclass
class Counts:
    """Says the first class by the share of arterial slices, and sees whoever has any slice."""

    classes_: np.ndarray

    def sees(self, patients):
        return np.array([bool(patients[i].phases_present("bags")) for i in range(len(patients))])

    def predict_proba(self, patients):
        share = np.array([np.mean(patients[i].bags["bags"].phase == 1) for i in range(len(patients))])
        rest = (1 - share) / (len(self.classes_) - 1)
        return np.column_stack([share, *[rest] * (len(self.classes_) - 1)])


def halves() -> list[Fold]:
    everybody = np.arange(60)
    tests = [everybody[everybody % 2 == k] for k in (0, 1)]
    return [
        Fold(0, k, np.setdiff1d(everybody, tests[k]), np.array([], dtype=np.intp), tests[k]) for k in (0, 1)
    ]


def test_no_change_is_what_the_models_say(bags_and_labels):
    patients = patients_of(*bags_and_labels)
    models = [(fold, Counts(np.arange(3))) for fold in halves()]
    found = changed_probabilities(models, patients, range(60), lambda shown: shown)
    assert np.allclose(found[0], Counts(np.arange(3)).predict_proba(patients), atol=1e-9)


def test_who_has_nothing_left_gets_the_class_frequencies_of_the_training_patients(bags_and_labels):
    patients = patients_of(*bags_and_labels)
    models = [(fold, Counts(np.arange(3))) for fold in halves()]
    found = changed_probabilities(models, patients, range(60), lambda shown: shown.in_phases({"NC"}))
    without = np.array(["NC" not in bag.header.phases_present for bag in bags_and_labels[0]])
    assert np.allclose(found[0, without], 1 / 3)
    assert np.allclose(found[0, ~without, 0], 0)  # they show no arterial slice


def test_the_asked_patients_come_in_the_order_asked(bags_and_labels):
    patients = patients_of(*bags_and_labels)
    models = [(fold, Counts(np.arange(3))) for fold in halves()]
    all_of_them = changed_probabilities(models, patients, range(60), lambda shown: shown)
    assert (
        changed_probabilities(models, patients, [5, 2], lambda shown: shown) == all_of_them[:, [5, 2]]
    ).all()


def test_a_class_that_a_model_was_not_trained_on_has_no_chance_with_it(bags_and_labels):
    patients = patients_of(*bags_and_labels)
    models = [(fold, Counts(classes)) for fold, classes in zip(halves(), ([0, 1], [1, 2]), strict=True)]
    found = probabilities_of_new(models, patients, 3)
    assert found.shape == (2, 60, 3)
    assert (found[0, :, 2] == 0).all()
    assert (found[1, :, 0] == 0).all()
