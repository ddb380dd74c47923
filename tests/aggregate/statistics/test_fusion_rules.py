"""Two models' word for one class: the rules by hand, and that probabilities and rule agree for any numbers."""

import numpy as np
import pytest

from aggregate.statistics.fusion_rules import both_of, either_of, mean_of_seeing, product_of_seeing
from aggregate.statistics.printed_probabilities import as_printed

SEEN = np.ones((2, 1), dtype=np.bool_)


def one(*rows) -> np.ndarray:
    """Return what several models say of one patient."""
    return np.array(rows)[:, None, :]


def test_either_gives_the_class_the_larger_probability_and_shares_the_rest():
    # The first names class 2. The mean of the others is 0.25 and 0.3, so the rest of 0.4 is shared as 5 to 6.
    found = either_of(one([0.3, 0.1, 0.6], [0.2, 0.5, 0.3]), SEEN, 2)
    assert found[0] == pytest.approx([0.4 * 5 / 11, 0.4 * 6 / 11, 0.6])


def test_both_gives_the_class_the_smaller_probability():
    found = both_of(one([0.3, 0.1, 0.6], [0.1, 0.4, 0.5]), SEEN, 2)
    assert found[0] == pytest.approx([0.5 * 4 / 9, 0.5 * 5 / 9, 0.5])


def test_a_named_class_stays_the_most_probable_where_the_other_model_is_surer():
    found = either_of(one([0.35, 0.25, 0.4], [0.85, 0.05, 0.1]), SEEN, 2)
    assert found[0].argmax() == 2
    assert found[0, 2] == pytest.approx(found[0, 0], abs=1e-5)  # just above the other


def test_a_class_that_nobody_names_stays_below():
    """Both models are less sure of their own class than of it together."""
    found = either_of(one([0.55, 0.0, 0.45], [0.0, 0.55, 0.45]), SEEN, 2)
    assert found[0].argmax() != 2


def test_a_model_that_does_not_see_the_patient_has_no_vote():
    said = one([0.3, 0.4, 0.3], [0.0, 0.0, 1.0])
    sees = np.array([[True], [False]])
    assert either_of(said, sees, 2)[0] == pytest.approx(said[0, 0])
    assert mean_of_seeing(said, sees)[0] == pytest.approx(said[0, 0])
    assert both_of(one([0.1, 0.1, 0.8], [0.0, 0.0, 1.0]), sees, 2)[0].argmax() != 2


def test_whom_nobody_sees_is_not_called():
    said = one([0.2, 0.2, 0.6], [0.1, 0.1, 0.8])
    assert either_of(said, ~SEEN, 2)[0].argmax() != 2
    assert mean_of_seeing(said, ~SEEN)[0] == pytest.approx([0.15, 0.15, 0.7])


def test_the_mean_is_weighted():
    found = mean_of_seeing(one([1.0, 0.0], [0.0, 1.0]), SEEN, np.array([3.0, 1.0]))
    assert found[0] == pytest.approx([0.75, 0.25])


def test_the_product_favours_what_both_find_possible():
    # 0.8 x 0.1, 0.1 x 0.8 and 0.3 x 0.3 of the two classes that are excluded once, and of the third: 8 + 8 + 9 = 25.
    found = product_of_seeing(one([0.8, 0.1, 0.3], [0.1, 0.8, 0.3]), SEEN)
    assert found[0] == pytest.approx([8 / 25, 8 / 25, 9 / 25])
    alone = product_of_seeing(one([0.5, 0.2, 0.3], [0.0, 1.0, 0.0]), np.array([[True], [False]]))
    assert alone[0] == pytest.approx([0.5, 0.2, 0.3])


@pytest.mark.parametrize("n_classes", [2, 3, 4])
def test_the_most_probable_class_is_what_the_rule_says_for_any_numbers(rng, n_classes):
    said = rng.dirichlet(np.full(n_classes, 0.5), size=(3, 2, 4000))  # (models, repeats, patients, classes)
    said[:, :, :50] = 1 / n_classes  # ties
    sees = rng.random((3, 4000)) < 0.7
    for positive in range(n_classes):
        names = as_printed(said).argmax(axis=-1) == positive
        votes = names & sees[:, None, :]
        for rule, expected in ((either_of, votes.any(axis=0)), (both_of, votes.all(axis=0))):
            found = rule(said, sees, positive)
            np.testing.assert_allclose(found.sum(axis=-1), 1)
            assert (found >= 0).all()
            assert np.array_equal(as_printed(found).argmax(axis=-1) == positive, expected)
