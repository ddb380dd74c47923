"""Logistic regression on pooled vectors is scikit-learn's."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from aggregate.models.logistic import BagLogistic
from aggregate.models.registry import build_model
from pipeline.errors import FoldError


class OnVectors(BagLogistic):
    """The regression on rows of an array, in place of bags."""

    def fit(self, vectors, labels):
        return self.fit_vectors(vectors, labels)

    def predict_proba(self, vectors):
        return self.probabilities_of(vectors)


@pytest.fixture(scope="module")
def patients():
    """Ninety rows of three classes, a tenth of the numbers missing."""
    rng = np.random.default_rng(3)
    labels = np.repeat(["HCC", "iCCA", "cHCC-CCA"], [45, 30, 15])
    X = rng.normal(3, 2, size=(90, 12))
    X[:, 0] += np.repeat([3.0, 0.0, -3.0], [45, 30, 15])
    X[rng.random(X.shape) < 0.1] = np.nan
    return X, labels


@pytest.fixture(scope="module")
def wide():
    """More features than patients."""
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    X = rng.normal(size=(60, 200))
    X[np.arange(60), labels] += 3.0
    return X, labels


@pytest.mark.parametrize("class_weight", ["balanced", "none"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_in_the_span_of_the_patients_the_solution_is_that_of_all_features(wide, n_classes, class_weight):
    X, labels = wide
    X, labels = X[labels < n_classes], labels[labels < n_classes]
    model = OnVectors(strengths=(0.01,), class_weight=class_weight).fit(X, labels)
    weight = "balanced" if class_weight == "balanced" else None
    standardised = StandardScaler().fit_transform(X)
    theirs = LogisticRegression(C=0.01, class_weight=weight, tol=1e-8, max_iter=5000).fit(
        standardised, labels
    )
    np.testing.assert_allclose(model.predict_proba(X), theirs.predict_proba(standardised), atol=1e-3)


@pytest.mark.parametrize("data", ["patients", "wide"])
def test_the_arrays_that_are_kept_are_the_pipeline(data, request):
    X, labels = request.getfixturevalue(data)
    model = OnVectors(random_state=0).fit(X, labels)
    codes = np.unique(labels, return_inverse=True)[1]
    pipeline = model.new_pipeline(codes, *X.shape).fit(X, codes)
    np.testing.assert_allclose(model.predict_proba(X), pipeline.predict_proba(X), atol=1e-9)


def test_the_strength_is_chosen_by_the_log_loss_of_the_inner_folds(wide):
    X, labels = wide
    noise = np.random.default_rng(1).permutation(labels)
    penalised, free = (np.abs(OnVectors(random_state=0).fit(X, y).weights_).sum() for y in (noise, labels))
    assert penalised < free / 2


def test_what_is_missing_takes_the_training_mean(patients):
    X, labels = patients
    model = OnVectors(random_state=0).fit(X, labels)
    filled = np.where(np.isnan(X), np.nanmean(X, axis=0), X)
    np.testing.assert_allclose(model.predict_proba(X), model.predict_proba(filled), atol=1e-12)


def test_a_column_that_nobody_has_tells_nothing(patients):
    X, labels = patients
    more = np.column_stack([X, np.full(90, np.nan)])
    with_it, without = (OnVectors(random_state=0).fit(x, labels).predict_proba(x) for x in (more, X))
    np.testing.assert_allclose(with_it, without, atol=1e-6)


def test_one_class_is_named(patients):
    with pytest.raises(FoldError, match=r"at least two classes .* found 1 class: \['HCC'\]"):
        OnVectors().fit(patients[0][:9], patients[1][:9])


def test_a_class_of_one_patient_takes_the_middling_strength(patients):
    X, labels = patients
    few = np.r_[0:8, 89]
    model = OnVectors(random_state=0).fit(X[few], labels[few])
    single = OnVectors(strengths=(0.01,), random_state=0).fit(X[few], labels[few])
    np.testing.assert_allclose(model.predict_proba(X), single.predict_proba(X))


def test_a_pooled_model_is_its_pooling_and_this_regression(cohort):
    bags, labels = cohort
    model = build_model("mean_pooling", {}, random_state=4).fit(bags, labels)
    means = np.stack([bag.features.mean(axis=0, dtype=np.float64) for bag in bags])
    alone = OnVectors(strengths=model.strengths, random_state=4).fit(means, labels)
    np.testing.assert_allclose(model.predict_proba(bags), alone.predict_proba(means), atol=1e-12)


def test_features_that_never_vary_give_the_class_shares_without_a_warning():
    labels = np.arange(12) % 3
    model = OnVectors(random_state=0).fit_vectors(np.ones((12, 40)), labels)
    np.testing.assert_allclose(model.probabilities_of(np.ones((1, 40))), 1 / 3, atol=1e-3)
