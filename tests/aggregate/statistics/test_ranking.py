import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from aggregate.statistics import ranking
from aggregate.statistics.ranking import average_precision, mean_auc, placements

AREAS = {
    "auc": (lambda scores, *rest: mean_auc(scores[None], *rest), roc_auc_score),
    "average precision": (average_precision, average_precision_score),
}


def some_patients(seed, *, n=40, ties=True):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 12, n).astype(float) if ties else rng.normal(size=n)
    is_positive = np.arange(n) % 3 == 0
    return rng.permuted(scores), is_positive, rng.integers(0, 4, size=(n, 6)).astype(float)


def test_auc_by_hand():
    """Of 2 x 3 pairs the positive 0.9 wins 3, the positive 0.4 wins 1 and ties 1: 4.5 of 6."""
    scores = np.array([[0.9, 0.4, 0.5, 0.4, 0.1]])
    is_positive = np.array([True, True, False, False, False])
    assert mean_auc(scores, is_positive, np.ones((5, 1))).tolist() == [4.5 / 6]


def test_average_precision_by_hand():
    """The positives stand at ranks 1 and 3: precision 1/1 and 2/3."""
    scores = np.array([0.9, 0.4, 0.5, 0.3, 0.1])
    is_positive = np.array([True, True, False, False, False])
    assert average_precision(scores, is_positive, np.ones((5, 1))) == pytest.approx((1 + 2 / 3) / 2)


@pytest.mark.parametrize("name", AREAS)
@pytest.mark.parametrize("ties", [True, False])
def test_weighted_areas_equal_scikit_learn(name, ties):
    ours, theirs = AREAS[name]
    scores, is_positive, weights = some_patients(0, ties=ties)
    expected = [theirs(is_positive, scores, sample_weight=w) for w in weights.T]
    assert ours(scores, is_positive, weights) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", AREAS)
def test_a_weight_of_two_is_a_patient_who_stands_there_twice(name):
    ours, _ = AREAS[name]
    scores, is_positive, weights = some_patients(1)
    repeated = np.repeat(np.arange(len(scores)), weights[:, 0].astype(int))
    everyone = np.ones((len(repeated), 1))
    assert ours(scores[repeated], is_positive[repeated], everyone) == pytest.approx(
        ours(scores, is_positive, weights)[:1]
    )


@pytest.mark.parametrize("name", AREAS)
def test_only_ranks_matter(name):
    ours, _ = AREAS[name]
    scores, is_positive, weights = some_patients(2)
    plain = ours(scores, is_positive, weights)
    assert ours(np.exp(scores / 3) - 7, is_positive, weights) == pytest.approx(plain, abs=1e-12)


def test_turning_the_scores_round_turns_the_auc_round():
    scores, is_positive, weights = some_patients(3)
    there, back = (mean_auc(s[None], is_positive, weights) for s in (scores, -scores))
    assert there + back == pytest.approx(1)


def test_equal_scores_give_one_half_and_perfect_scores_one():
    _, is_positive, weights = some_patients(4)
    assert mean_auc(np.zeros((1, 40)), is_positive, weights) == pytest.approx(0.5)
    assert mean_auc(is_positive[None].astype(float), is_positive, weights) == pytest.approx(1)


def test_the_auc_of_several_repeats_is_their_mean():
    scores, is_positive, weights = some_patients(5)
    others = np.stack([scores, scores[::-1], np.roll(scores, 7)])
    each = [mean_auc(row[None], is_positive, weights) for row in others]
    assert mean_auc(others, is_positive, weights) == pytest.approx(np.mean(each, axis=0))


def test_the_size_of_the_blocks_changes_nothing(monkeypatch):
    scores, is_positive, weights = some_patients(6)
    whole = mean_auc(scores[None], is_positive, weights)
    monkeypatch.setattr(ranking, "_BLOCK_PAIRS", 30)
    assert mean_auc(scores[None], is_positive, weights) == pytest.approx(whole, abs=1e-12)


@pytest.mark.parametrize("name", AREAS)
def test_without_positives_there_is_no_area(name):
    ours, _ = AREAS[name]
    assert np.isnan(ours(np.arange(4.0), np.zeros(4, dtype=bool), np.ones((4, 2)))).all()


def test_auc_is_not_a_number_only_where_one_side_weighs_nothing():
    weights = np.array([[1.0, 0.0], [1.0, 1.0]])
    area = mean_auc(np.array([[1.0, 0.0]]), np.array([True, False]), weights)
    assert area[0] == 1
    assert np.isnan(area[1])


def test_placements_by_hand():
    scores = np.array([[3.0, 1.0, 2.0, 1.0]])
    of_positives, of_negatives = placements(scores, np.array([True, True, False, False]))
    assert of_positives.tolist() == [1.0, 0.25]
    assert of_negatives.tolist() == [0.5, 0.75]


@given(st.integers(0, 10_000))
def test_placements_average_to_the_auc(seed):
    scores, is_positive, _ = some_patients(seed)
    expected = mean_auc(scores[None], is_positive, np.ones((40, 1)))[0]
    for side in placements(scores[None], is_positive):
        assert side.mean() == pytest.approx(expected)


def test_scores_without_meaning_give_an_auc_near_one_half():
    rng = np.random.default_rng(0)
    is_positive = np.arange(120) < 40
    areas = mean_auc(rng.normal(size=(400, 120)), is_positive, np.ones((120, 1)))
    assert areas == pytest.approx(0.5, abs=0.01)
