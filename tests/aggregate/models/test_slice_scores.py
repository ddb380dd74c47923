"""Slice-score pooling: its features by hand, its classifier of slices, and its honesty."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from aggregate.models.registry import build_model
from aggregate.models.slice_model import Slices, SliceTraining
from aggregate.models.slice_scores import SliceScores, distribution_of
from pipeline.errors import FoldError
from tests.conftest import draw_bag


def slices_of(patient, features, group=None):
    patient = np.asarray(patient)
    group = np.zeros(len(patient), dtype=np.intp) if group is None else np.asarray(group)
    return Slices(np.asarray(features, dtype=np.float32), patient, group)


def training(**settings):
    usual = {
        "n_groups": 1, "n_classes": 2, "n_components": 9, "strength": 0.5, "is_balanced": False, "seed": 0,
    }  # fmt: skip
    return SliceTraining(**{**usual, **settings})


def draw(n, seed, signal=0.8):
    rng = np.random.default_rng(seed)
    labels = np.tile(np.arange(3), n // 3)
    return [draw_bag(f"p{i:03}", int(label), rng, signal=signal) for i, label in enumerate(labels)], labels


def test_the_scores_of_a_class_become_quantiles_mean_and_histogram_by_hand():
    """Scores 0, 0.25, 0.5, 0.75 and 1 of the first class, and of the other the rest to 1."""
    first = np.array([0.5, 0.0, 1.0, 0.25, 0.75])
    found = distribution_of(np.stack([first, 1 - first], axis=1), bins=2).reshape(2, 8)
    quantiles = [0.1, 0.25, 0.5, 0.75, 0.9]
    np.testing.assert_allclose(found[0], [*quantiles, 0.5, 0.4, 0.6])
    np.testing.assert_allclose(found[1], [*quantiles, 0.5, 0.4, 0.6])


def test_the_classifier_of_slices_is_scikit_learns_on_patients_that_weigh_the_same():
    """With every component kept, it is ridge regression on features of the weighted spread."""
    rng = np.random.default_rng(0)
    patient = np.repeat(np.arange(6), [1, 5, 2, 9, 3, 4])
    codes = np.array([0, 1, 0, 1, 1, 0])
    features = rng.normal(size=(24, 4)) + codes[patient, None]
    weight = 1 / np.bincount(patient)[patient]
    scaled = StandardScaler().fit(features.astype(np.float32), sample_weight=weight).transform(features)
    plain = LogisticRegression(C=0.5).fit(scaled, codes[patient], sample_weight=weight)
    model = training().fit(slices_of(patient, features), codes)
    np.testing.assert_allclose(
        model.scores(slices_of(patient, features)), plain.predict_proba(scaled), atol=1e-3
    )


def test_a_patient_counts_the_same_with_every_slice_once_or_ten_times():
    rng = np.random.default_rng(1)
    patient, codes = np.repeat(np.arange(4), 3), np.array([0, 1, 0, 1])
    features = rng.normal(size=(12, 3)) + codes[patient, None]
    often = np.repeat(np.arange(12), np.where(patient == 2, 10, 1))
    once = training().fit(slices_of(patient, features), codes)
    more = training().fit(slices_of(patient[often], features[often]), codes)
    asked = slices_of(patient, features)
    np.testing.assert_allclose(more.scores(asked), once.scores(asked), atol=1e-3)


def test_a_group_of_one_class_has_no_scores_and_a_class_that_a_group_lacks_scores_zero():
    features = np.random.default_rng(0).normal(size=(8, 2))
    slices = slices_of(np.arange(8), features, group=[0, 0, 1, 1, 1, 1, 1, 1])
    model = training(n_groups=2, n_classes=3).fit(slices, np.array([0, 0, 0, 0, 0, 1, 1, 1]))
    scores = model.scores(slices)
    assert np.isnan(scores[:2]).all()
    np.testing.assert_allclose(scores[2:].sum(axis=1), 1)
    assert (scores[2:, 2] == 0).all()


def test_the_features_of_a_phase_that_a_patient_lacks_are_missing():
    bags, labels = draw(60, 0)
    model = SliceScores(random_state=0).fit(bags, labels)
    slices, _ = model._slices([bags[0].take(bags[0].phase == 1)])
    found = model._vectors(model.slice_model_.scores(slices), slices, 1).reshape(4, -1)
    assert np.isfinite(found).all(axis=1).tolist() == [False, True, False, False]


class InFold(SliceScores):
    """The mistake: a training slice is scored by a classifier that has seen its patient."""

    def training_scores(self, slices, codes):
        return self._training(int(codes.max()) + 1).fit(slices, codes).scores(slices)


def auc_of_training_scores(kind, bags, labels):
    """Return the macro AUC of the patients' mean scores, as the regression of the patients sees them."""
    model = kind(random_state=0, slice_strength=1.0)
    slices, model.n_groups_ = model._slices(bags)
    scores = model.training_scores(slices, labels)
    means = np.stack([scores[slices.patient == i].mean(axis=0) for i in range(len(bags))])
    return roc_auc_score(labels, means, multi_class="ovr")


@pytest.fixture(scope="module")
def shuffled():
    """Patients whose labels say nothing of their bags, three times."""
    bags, labels = draw(60, 2)
    return [(bags, np.random.default_rng(seed).permutation(labels)) for seed in range(3)]


def test_scores_of_shuffled_labels_tell_nothing_and_those_of_an_in_fold_classifier_would(shuffled):
    honest = np.mean([auc_of_training_scores(SliceScores, *one) for one in shuffled])
    wrong = np.mean([auc_of_training_scores(InFold, *one) for one in shuffled])
    assert 0.35 < honest < 0.6
    assert wrong > 0.85


def test_of_shuffled_labels_new_patients_are_classified_by_chance(shuffled):
    found = []
    for bags, labels in shuffled:
        model = build_model("slice_scores", {}, 0).fit(bags[:40], labels[:40])
        found.append(roc_auc_score(labels[40:], model.predict_proba(bags[40:]), multi_class="ovr"))
    assert 0.35 < np.mean(found) < 0.65


def test_of_a_signal_new_patients_are_classified_better_than_by_chance():
    bags, labels = draw(120, 5, signal=1.5)
    model = build_model("slice_scores", {}, 0).fit(bags[:75], labels[:75])
    assert roc_auc_score(labels[75:], model.predict_proba(bags[75:]), multi_class="ovr") > 0.8


def test_no_training_slice_is_scored_by_a_classifier_that_has_seen_its_patient(monkeypatch):
    bags, labels = draw(30, 0)
    seen, scored = [], []

    def fit(self, slices, codes):
        seen.append(set(slices.patient.tolist()))
        return whole_fit(self, slices, codes)

    def scores(self, slices):
        scored.append(set(slices.patient.tolist()))
        return whole_scores(self, slices)

    whole_fit, whole_scores = (
        SliceTraining.fit,
        type(training().fit(slices_of([0, 1], [[0.0], [1.0]]), np.arange(2))).scores,
    )
    monkeypatch.setattr(SliceTraining, "fit", fit)
    monkeypatch.setattr("aggregate.models.slice_model.SliceModel.scores", scores)
    SliceScores(random_state=0).fit(bags, labels)
    assert len(scored) == 5
    for of_fold, train in zip(scored, seen[:5], strict=True):
        assert of_fold.isdisjoint(train)
        assert of_fold | train == set(range(30))
    assert set().union(*scored) == seen[5] == set(range(30))


def test_the_tuning_patients_change_nothing():
    bags, labels = draw(60, 0)
    alone = build_model("slice_scores", {}, 0).fit(bags[:45], labels[:45])
    tuned = build_model("slice_scores", {}, 0).fit(bags[:45], labels[:45], tune=(bags[45:], labels[45:]))
    np.testing.assert_array_equal(alone.predict_proba(bags), tuned.predict_proba(bags))


def test_a_class_of_one_patient_is_refused():
    bags, _ = draw(6, 0)
    with pytest.raises(FoldError, match="a class has one training patient, too few for inner folds"):
        build_model("slice_scores", {}, 0).fit(bags[:4], np.array([0, 0, 0, 1]))
