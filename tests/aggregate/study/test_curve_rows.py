"""Rows of learning_curve.csv and robustness.csv from probabilities that are drawn: no model is trained."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from aggregate.fitting.smaller_training import CurvePoint
from aggregate.predictions import Predictions
from aggregate.statistics.config import StatisticsSection
from aggregate.store.fit_cache import Costs
from aggregate.study.basis import StudyBasis
from aggregate.study.configurations import Described
from aggregate.study.learning_curve import learning_curve_rows
from aggregate.study.robustness import NOTHING, ONLY, SLICES, WITHOUT, robustness_rows
from aggregate.study_section import RobustnessSection, StudySection
from tests.conftest import patients_of

N = 60
LABELS = np.tile([0, 1], N // 2)
FOLD = np.stack([np.arange(N) // 2 % 5, np.arange(N) // 4 % 5])
SIZES = {0.25: 10, 0.5: 20, 1.0: 40}


@cache
def probabilities(signal: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    score = signal * (2 * LABELS - 1) + rng.normal(size=N) + 0.2 * rng.normal(size=(2, N))
    p = 1 / (1 + np.exp(-score))
    return np.stack([1 - p, p], axis=2)


@pytest.fixture(scope="module")
def basis():
    names = tuple(f"p{i:02}" for i in range(N))
    ones = np.ones(N, dtype=np.intp)
    predictions = Predictions(("A", "B"), names, LABELS, FOLD, {"m": probabilities(1.0)}, ones, ("AP",) * N)
    study = StudySection.model_validate({"aggregators": {"m": {"kind": "majority"}}})
    configurations = (Described("m", {"aggregator": "m"}, Costs()),)
    return StudyBasis(predictions, {}, configurations, StatisticsSection(draws=100), study)


def points(signals) -> list[CurvePoint]:
    pairs = zip(SIZES.items(), signals, strict=False)
    return [CurvePoint("m", share, n, n / 4, probabilities(signal)) for (share, n), signal in pairs]


def test_a_rising_curve_is_read_further_on_and_says_what_it_is(basis):
    rows = list(learning_curve_rows(basis, points((0.3, 0.6, 0.8)), [400, 200]))
    assert [row["n_train"] for row in rows] == [10, 20, 40, 200, 400]
    trained, read = rows[:3], rows[3:]
    assert [row["estimate"] for row in trained] == sorted(row["estimate"] for row in trained)
    assert trained[-1]["estimate"] <= read[0]["estimate"] <= read[1]["estimate"] <= 1
    for row in read:
        assert row["ci_low"] < row["estimate"] < row["ci_high"]
        assert row["ci_method"].startswith("power law, a planning aid, fitted again on 100 resamples")
        assert row["estimate"] == pytest.approx(row["a"] - row["b"] * row["n_train"] ** -row["c"])


@pytest.mark.parametrize(
    ("signals", "reason"),
    [((0.3, 0.6), "needs 3 numbers of training patients, found 2"), ((0.8, 0.9, 0.7), "does not rise")],
    ids=["two sizes", "falling"],
)
def test_without_a_law_the_extrapolated_rows_tell_why(basis, signals, reason):
    *_, row = learning_curve_rows(basis, points(signals), [200])
    assert row["extrapolated"]
    assert row["estimate"] == "not estimable"
    assert reason in row["ci_method"]


def test_a_share_that_could_not_be_trained_is_no_point_of_the_law(basis):
    failed = replace(points((0.3,))[0], probabilities=None, problem="too few patients")
    first, *_, last = learning_curve_rows(basis, [failed, *points((0.3, 0.6, 0.8))[1:]], [200])
    assert first["ci_method"] == "not estimable: too few patients"
    assert "found 2" in last["ci_method"]


def changes_of(phases):
    """Return (change, phase) of every row, of a model that is asked in vain."""
    return lambda basis: [
        (row["change"], row["phase"])
        for row in robustness_rows(basis, "m", lambda _: probabilities(1.0), phases, SECTION, seed=0)
    ]


SECTION = RobustnessSection(models=("m",), slices=(0.25, 0.5), draws=2)


@pytest.mark.parametrize(
    ("phases", "expected"),
    [
        (("AP",), []),
        (("AP", "DP"), [(ONLY, "AP"), (ONLY, "DP")]),
        (
            ("NC", "AP", "DP"),
            [(WITHOUT, "NC"), (WITHOUT, "AP"), (WITHOUT, "DP"), (ONLY, "NC"), (ONLY, "AP"), (ONLY, "DP")],
        ),
    ],
    ids=["one", "two: one away leaves one", "three"],
)
def test_each_phase_is_away_once_and_alone_once(basis, phases, expected):
    assert changes_of(phases)(basis) == [(NOTHING, ""), *expected, (SLICES, ""), (SLICES, "")]


def test_what_changes_nothing_has_a_difference_of_0(basis):
    for row in robustness_rows(basis, "m", lambda _: probabilities(1.0), ("AP", "DP"), SECTION, seed=0):
        assert row["estimate"] == basis.estimates["m"].value
        assert (row["difference"], row["difference_method"]) == (0, "the models agree on every patient")


def test_the_auc_is_the_mean_over_the_choices_of_slices(basis, bags_and_labels):
    """Two choices of the slices, told apart by what the patients then show, with an AUC each."""
    shown, patients = [], patients_of(*bags_and_labels)

    def ask(change):
        few = change(patients)
        kept = tuple(np.concatenate([few.bags()[i].slice_index for i in range(N)]).tolist())
        if kept not in shown:
            shown.append(kept)
        return probabilities((2.0, 1.0, 0.2)[shown.index(kept)])

    section = RobustnessSection(models=("m",), slices=(0.5,), draws=2)
    nothing, fewer = robustness_rows(basis, "m", ask, (), section, seed=0)
    alone = [basis.estimate(probabilities(signal)).value for signal in (2.0, 1.0, 0.2)]
    assert nothing["estimate"] == pytest.approx(alone[0])
    assert fewer["estimate"] == pytest.approx((alone[1] + alone[2]) / 2)
    assert fewer["difference"] == pytest.approx(fewer["estimate"] - nothing["estimate"])
    assert fewer["difference_low"] < fewer["difference"] < fewer["difference_high"] < 0
