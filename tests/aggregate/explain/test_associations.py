"""Scores against concepts, and concepts from features."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from aggregate.explain.associations import (
    Concepts,
    phase_means,
    probe_rows,
    rank_correlation_draws,
    rank_p_values,
    score_rows,
)


def test_the_correlation_of_the_cohort_is_spearmans(rng):
    a, b = rng.normal(size=40), rng.integers(0, 6, size=40).astype(float)
    found = rank_correlation_draws(a, b, np.ones((40, 1)))
    assert found[0] == pytest.approx(spearmanr(a, b).statistic)


def test_many_scores_are_ranked_at_once_as_one_by_one(rng, resampling):
    scores, b = rng.normal(size=(3, 60)), rng.normal(size=60)
    together = rank_correlation_draws(scores, b, resampling.weights)
    for row, score in zip(together, scores, strict=True):
        np.testing.assert_allclose(row, rank_correlation_draws(score, b, resampling.weights), rtol=1e-9)


@pytest.mark.parametrize("n", [8, 120])
def test_the_p_values_are_those_of_scipy(rng, n):
    b = rng.normal(size=n)
    found = [spearmanr(a, b) for a in (rng.normal(size=n), b + rng.normal(size=n))]
    p_values = rank_p_values(np.array([f.statistic for f in found]), n)
    np.testing.assert_allclose(p_values, [f.pvalue for f in found], rtol=1e-9)
    assert rank_p_values(np.array([1.0, -1.0]), n).tolist() == [0, 0]


def test_the_draws_spread_as_draws_that_are_ranked_anew(rng, resampling):
    a = rng.normal(size=60)
    b = a + rng.normal(size=60)
    quick = rank_correlation_draws(a, b, resampling.weights)[1:]
    times = resampling.weights[:, 1:].astype(int).T
    anew = [spearmanr(np.repeat(a, t), np.repeat(b, t)).statistic for t in times]
    assert quick.std() == pytest.approx(np.std(anew), rel=0.25)


def test_a_score_that_is_the_concept_correlates_and_a_random_one_does_not(rng, inputs, resampling):
    concept = rng.normal(size=60)
    scores = {"m": np.stack([concept, rng.normal(size=60), -concept], axis=1)}
    concepts = Concepts(("washout_hu",), concept[:, None])
    rows = list(score_rows(scores, concepts, inputs.patients.codes, inputs.patients.classes, resampling))
    assert [round(row["spearman"], 6) for row in rows][::2] == [1, -1]
    assert abs(rows[1]["spearman"]) < 0.35
    assert all(row["p_holm"] >= row["p_value"] for row in rows)
    assert -1 <= rows[1]["ci_low"] < rows[1]["spearman"] < rows[1]["ci_high"] <= 1


def test_each_row_is_of_its_own_model_class_and_concept(rng, inputs, resampling):
    labels, classes = inputs.patients.codes, inputs.patients.classes
    concepts = Concepts(("a", "b"), rng.normal(size=(60, 2)))
    scores = {model: rng.random((60, 3)) for model in ("first", "second")} | {"constant": np.ones((60, 3))}
    rows = list(score_rows(scores, concepts, labels, classes, resampling))
    assert len(rows) == 3 * 3 * 2
    for row in rows:
        k, values = classes.index(row["class"]), concepts.values[:, concepts.names.index(row["concept"])]
        if row["model"] == "constant":
            assert row["spearman"] is row["p_value"] is row["spearman_reference"] is None
        else:
            expected = spearmanr(scores[row["model"]][:, k], values).statistic
            assert row["spearman"] == pytest.approx(expected)
            assert row["spearman_reference"] == pytest.approx(spearmanr(labels == k, values).statistic)


def test_patients_without_the_concept_are_left_out_and_counted(rng, inputs, resampling):
    concept = np.where(np.arange(60) < 55, np.nan, 1.0)
    scores = {"m": rng.random((60, 3))}
    rows = list(
        score_rows(
            scores,
            Concepts(("x",), concept[:, None]),
            inputs.patients.codes,
            inputs.patients.classes,
            resampling,
        )
    )
    assert [(row["n"], row["spearman"]) for row in rows] == [(5, None)] * 3


def test_a_probe_finds_what_the_features_hold_and_nothing_when_it_is_shuffled(inputs, resampling):
    held = np.array([bag.features[bag.phase == 1, 0].mean() for bag in inputs.bags("attention")])
    folds = [fold for fold, _ in inputs.models["attention"] if fold.repeat == 0]
    size = np.array([float(len(bag)) for bag in inputs.bags("attention")])
    concepts = Concepts(("held",), held[:, None])
    (row,) = probe_rows(phase_means(inputs.patients.bags(), range(60)), size, concepts, folds, resampling)
    assert row["spearman"] > 0.7
    assert row["r_squared"] > 0.5
    assert abs(row["spearman_shuffled"]) < 0.4


def test_a_missing_phase_is_unknown_not_zero(inputs):
    table = phase_means(inputs.patients.bags(), range(60)).reshape(60, 4, 16)
    for row, bag in zip(table, inputs.bags("attention"), strict=True):
        present = np.isin(np.arange(4), bag.phase)
        assert np.isnan(row[~present]).all()
        assert np.isfinite(row[present]).all()
