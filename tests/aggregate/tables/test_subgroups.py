import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from aggregate.statistics.config import StatisticsSection
from aggregate.tables.subgroups import SUBGROUPS, _readable_median, subgroup_rows, subgroups_of
from pipeline.errors import ConfigError


def test_the_subgroups_and_their_sizes(cohort, settings):
    found = {(g.name, g.level): int(g.members.sum()) for g in subgroups_of(cohort, settings)}
    assert found["centre", "Nord"] == 36
    assert found["centre", "Süd"] == 9
    assert found["phases", "incomplete"] == found["missing phase", "PVP"] == 12
    assert ("missing phase", "AP") not in found
    assert (found["sex", "F"], found["sex", "M"]) == (23, 22)
    assert (found["age", "up to 62"], found["age", "above 62"]) == (23, 22)
    volumes = [n for (name, _), n in found.items() if name == "tumour volume (ml)"]
    assert sorted(volumes) == [22, 22]


def test_the_estimate_is_that_of_the_subgroup_alone(predictions, cohort, settings):
    rows = list(subgroup_rows(predictions, cohort, settings))
    assert all(list(row) == SUBGROUPS.header() for row in rows)
    (row,) = [
        r
        for r in rows
        if (r["model"], r["level"], r["class"], r["metric"]) == ("boosting", "Nord", "iCCA", "auc")
    ]
    members = np.array([p.centre == "Nord" for p in cohort.patients])
    scores = predictions.probabilities["boosting"][:, members, 1]
    expected = [roc_auc_score(predictions.labels[members] == 1, s) for s in scores]
    assert row["estimate"] == pytest.approx(np.mean(expected))
    assert (row["n"], row["n_positive"]) == (36, int((predictions.labels[members] == 1).sum()))


def test_a_small_subgroup_shows_its_size_only(predictions, cohort, settings):
    rows = [r for r in subgroup_rows(predictions, cohort, settings) if r["level"] == "Süd"]
    assert {row["n"] for row in rows} == {9}
    assert {row["estimate"] for row in rows} == {"not estimable"}
    assert {row["ci_method"] for row in rows} == {"not estimable: fewer than 10 patients"}


def test_a_figure_that_rests_on_too_few_of_a_class_is_not_given(predictions, cohort, settings):
    fewest = StatisticsSection(draws=settings.draws, subgroup_class_minimum=40)
    rows = [r for r in subgroup_rows(predictions, cohort, fewest) if r["level"] == "Nord"]
    assert {row["ci_method"] for row in rows} == {"not estimable: fewer than 40 patients of a class"}
    assert {row["ci_high"] for row in rows} == {"not estimable"}


@pytest.mark.parametrize(
    ("values", "limit"),
    [([31.0, 44.763512, 60.0], 44.8), ([44.70, 44.763512, 44.77], 44.764), ([50.0, 62.0, 71.0], 62)],
)
def test_a_cohort_is_halved_at_a_number_that_can_be_read(values, limit):
    assert _readable_median(np.array(values)) == limit


def test_an_unknown_covariate_is_refused_by_name(cohort):
    settings = StatisticsSection(subgroup_covariates=("sexe",))
    with pytest.raises(ConfigError, match="names 'sexe'; covariates of the cohort table: age, sex"):
        subgroups_of(cohort, settings)
