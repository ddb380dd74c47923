import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from aggregate.models.base import softmax
from aggregate.models.elastic_net import Problems, solve


@pytest.fixture(scope="module")
def patients():
    rng = np.random.default_rng(0)
    codes = np.arange(60) % 3
    features = rng.normal(size=(60, 80))
    features[np.arange(60), codes] += 1.0
    return (features - features.mean(axis=0)) / features.std(axis=0), codes


def one_problem(n, strength, l1_share, weights=None):
    return Problems(
        np.ones((1, n)) if weights is None else weights[None], np.array([strength]), np.array([l1_share])
    )


@pytest.mark.parametrize("l1_share", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("strength", [0.2, 0.5])
def test_probabilities_are_those_of_scikit_learn(patients, strength, l1_share):
    features, codes = patients
    weights, biases = solve(features, codes, 3, one_problem(60, strength, l1_share), tolerance=1e-6)
    theirs = LogisticRegression(
        C=strength,
        l1_ratio=l1_share,
        solver="saga" if l1_share else "lbfgs",
        tol=1e-6,
        max_iter=5000,
        random_state=0,
    ).fit(features, codes)
    ours = softmax(features @ weights[0] + biases[0])
    np.testing.assert_allclose(ours, theirs.predict_proba(features), atol=5e-3)


def test_a_lasso_leaves_most_weights_at_zero(patients):
    features, codes = patients
    weights, _ = solve(features, codes, 3, one_problem(60, 0.1, 1.0))
    assert (weights == 0).mean() > 0.8


def test_problems_together_equal_problems_alone(patients):
    features, codes = patients
    rng = np.random.default_rng(1)
    problems = Problems(
        (rng.random((4, 60)) < 0.8).astype(float),
        np.array([1e-3, 0.01, 0.1, 1.0]),
        np.array([0, 0.5, 1, 0.3]),
    )
    together, biases = solve(features, codes, 3, problems)
    for p in range(4):
        alone, bias = solve(features, codes, 3, problems.take(np.array([p])))
        np.testing.assert_allclose(together[p], alone[0], atol=1e-9)
        np.testing.assert_allclose(biases[p], bias[0], atol=1e-9)


def test_a_patient_of_weight_zero_is_not_there(patients):
    features, codes = patients
    weights = np.ones(60)
    weights[45:] = 0
    whole, _ = solve(features, codes, 3, one_problem(60, 0.1, 0.5, weights))
    part, _ = solve(features[:45], codes[:45], 3, one_problem(45, 0.1, 0.5))
    np.testing.assert_allclose(whole, part, atol=1e-9)


def test_without_a_signal_the_bias_gives_the_class_shares():
    codes = np.array([0, 0, 0, 1])
    _, biases = solve(np.zeros((4, 1)), codes, 2, one_problem(4, 1.0, 0.0), tolerance=1e-8)
    np.testing.assert_allclose(softmax(biases), [[0.75, 0.25]], atol=1e-4)
