"""Labels that have nothing to do with the predictions: nothing is found beyond the level of the tests."""

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from aggregate.statistics.config import StatisticsSection
from aggregate.study.factor_effects import effect_rows, factor_rows
from aggregate.study.study_comparisons import BEST, PLAINEST, comparison_rows
from aggregate.tables.comparisons import BOOTSTRAP, CORRECTED_T
from tests.aggregate.study.drawn import drawn_study, levels_of

STUDIES = 30
GRID = levels_of({"encoder": ("a", "b", "c"), "aggregator": ("mean", "attention")})


@pytest.fixture(scope="module")
def found():
    """Return, for each kind of table, the rows of every null study."""
    settings, tables = StatisticsSection(draws=100), {"effects": [], "factors": [], BEST: [], PLAINEST: []}
    with threadpool_limits(limits=1):
        for seed in range(STUDIES):
            study = drawn_study(
                GRID, strength=lambda _: 0.0, n=48, seed=seed, settings=settings, moved=0.0, compare_best=3
            )
            tables["effects"].append(list(effect_rows(study)))
            tables["factors"].append(list(factor_rows(study)))
            compared = list(comparison_rows(study))
            for family in (BEST, PLAINEST):
                tables[family].append([row for row in compared if row["family"] == family])
    return tables


@pytest.mark.parametrize("table", ["effects", "factors", PLAINEST])
def test_single_tests_reject_about_as_often_as_their_level_says(found, table):
    """Within four standard errors of a share, as if all tests of one study were one.

    Nothing moves these predictions between the repeats, so the bootstrap's design effect is 1 and its level exact. The
    corrected t is made for models whose training sets overlap, and is too careful here: only its upper limit is asked.
    """
    rows = [row for rows in found[table] for row in rows]
    for share in (0.05, 0.5):
        error = np.sqrt(share * (1 - share) / STUDIES)
        of_patients = [row["p_value"] for row in rows if row.get("test", BOOTSTRAP) == BOOTSTRAP]
        assert np.mean(np.array(of_patients) < share) == pytest.approx(share, abs=4 * error)
        of_folds = [row["p_value"] for row in rows if row.get("test") == CORRECTED_T]
        assert np.sum(np.array(of_folds) < share) <= (share + 4 * error) * len(of_folds)


@pytest.mark.parametrize("table", ["effects", "factors", BEST, PLAINEST])
def test_few_studies_find_anything_after_the_adjustment(found, table):
    for test in {row.get("test") for rows in found[table] for row in rows}:
        any_found = [
            any(row["p_adjusted"] < 0.05 for row in rows if row.get("test") == test) for rows in found[table]
        ]
        assert np.mean(any_found) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / STUDIES)
