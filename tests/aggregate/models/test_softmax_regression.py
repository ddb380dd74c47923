"""The vector classifier within the pooled models: scikit-learn's own checks, and laws of its own."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.utils.estimator_checks import parametrize_with_checks

from aggregate.models.mean_pooling import MeanPooling
from aggregate.models.softmax_regression import SoftmaxRegression
from pipeline.errors import FoldError


def failing(estimator):
    """Name the checks that cannot hold: only where inner folds choose the penalty."""
    if len(estimator.strengths) * len(estimator.l1_shares) == 1:
        return {}
    return {
        "check_sample_weight_equivalence_on_dense_data": "a row repeated may lie in two inner folds, a row of "
        "weight 2 in one, so another penalty may be chosen"
    }


@parametrize_with_checks(
    [
        SoftmaxRegression(),
        SoftmaxRegression(strengths=(1.0,)),
        SoftmaxRegression(strengths=(1.0,), l1_shares=(0.5,), class_weight="balanced"),
    ],
    expected_failed_checks=failing,
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_scikit_learn_takes_it_for_a_classifier(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def patients():
    """Ninety rows of three classes, a tenth of the numbers missing."""
    rng = np.random.default_rng(3)
    labels = np.repeat(["HCC", "iCCA", "cHCC-CCA"], [45, 30, 15])
    X = rng.normal(size=(90, 12))
    X[:, 0] += np.repeat([1.5, 0.0, -1.5], [45, 30, 15])
    X[rng.random(X.shape) < 0.1] = np.nan
    return X, labels


def test_what_is_missing_takes_the_training_mean(patients):
    X, labels = patients
    model = SoftmaxRegression(random_state=0).fit(X, labels)
    filled = np.where(np.isnan(X), np.nanmean(X, axis=0), X)
    np.testing.assert_allclose(model.predict_proba(X), model.predict_proba(filled), atol=1e-12)


def test_balanced_classes_are_those_of_scikit_learn(patients):
    X, labels = np.nan_to_num(patients[0]), patients[1]
    ours = SoftmaxRegression(strengths=(0.1,), class_weight="balanced").fit(X, labels)
    standardised = (X - X.mean(axis=0)) / X.std(axis=0)
    theirs = LogisticRegression(C=0.1, class_weight="balanced").fit(standardised, labels)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(standardised), atol=5e-3)


def test_a_row_of_weight_zero_is_not_there_even_when_inner_folds_choose(patients):
    X, labels = patients
    weights = (np.arange(90) % 4 > 0).astype(float)
    whole = SoftmaxRegression(random_state=0, class_weight="balanced").fit(X, labels, sample_weight=weights)
    part = SoftmaxRegression(random_state=0, class_weight="balanced").fit(X[weights > 0], labels[weights > 0])
    np.testing.assert_array_equal(whole.predict_proba(X), part.predict_proba(X))


def test_doubling_every_weight_halves_the_penalty(patients):
    """scikit-learn's objective: the sum of the weighted losses plus a penalty over C."""
    X, labels = patients
    doubled = SoftmaxRegression(strengths=(0.1,)).fit(X, labels, sample_weight=np.full(90, 2.0))
    stronger = SoftmaxRegression(strengths=(0.2,)).fit(X, labels)
    np.testing.assert_allclose(doubled.predict_proba(X), stronger.predict_proba(X), atol=1e-9)


@pytest.mark.parametrize(
    "weights", [np.zeros(90), -np.ones(90), np.ones(89), np.ones((90, 2))], ids=lambda w: str(w.shape)
)
def test_weights_that_are_no_weights_are_refused(patients, weights):
    with pytest.raises(ValueError, match=r"weight|inconsistent"):
        SoftmaxRegression().fit(*patients, sample_weight=weights)


def test_one_class_is_named(patients):
    with pytest.raises(FoldError, match=r"at least two classes .* found 1 class: \['HCC'\]"):
        SoftmaxRegression().fit(patients[0][:9], patients[1][:9])


def test_a_pooled_model_is_its_pooling_and_this_classifier(cohort):
    bags, labels = cohort
    model = MeanPooling(random_state=4).fit(bags, labels)
    means = np.stack([bag.features.mean(axis=0, dtype=np.float64) for bag in bags])
    settings = {"strengths": model.strengths, "l1_shares": model.l1_shares, "class_weight": "balanced"}
    alone = SoftmaxRegression(**settings, random_state=4).fit(means, labels)
    np.testing.assert_allclose(model.predict_proba(bags), alone.predict_proba(means), atol=1e-12)
