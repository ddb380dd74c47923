from dataclasses import replace

import pytest

from aggregate.cohort_facts import CohortFacts
from aggregate.tables.cohort import cohort_columns, cohort_rows, read_cohort_facts
from pipeline.errors import ResultsError
from pipeline.tables import TableStyle, write_table


def write(folder, cohort, style=None):
    write_table(folder / "cohort.csv", cohort_columns(cohort), cohort_rows(cohort), style=style)


@pytest.mark.parametrize(
    "style",
    [TableStyle(stamp={"weights": "w"}), TableStyle(separator=";", decimal=",")],
    ids=["stamp", "comma"],
)
def test_the_facts_come_back(tmp_path, cohort, style):
    write(tmp_path, cohort, style)
    assert read_cohort_facts(tmp_path, style=style) == cohort


def test_a_covariate_named_like_a_column_of_the_table_keeps_apart(tmp_path, cohort):
    """A hospital's own tumour_volume_ml must neither replace ours nor be read as a phase."""
    own = {"tumour_volume_ml": "33", "slices_total": "40", "weights": "80 kg", "sex": "F"}
    cohort = CohortFacts(tuple(replace(p, covariates=own) for p in cohort.patients))
    assert cohort_columns(cohort)[-4:] == [
        "covariate_tumour_volume_ml", "covariate_slices_total", "covariate_weights", "sex"
    ]  # fmt: skip
    style = TableStyle(stamp={"weights": "resnet18"})
    write(tmp_path, cohort, style)
    assert read_cohort_facts(tmp_path, style=style) == cohort


def test_a_table_without_a_column_is_refused(tmp_path):
    write_table(tmp_path / "cohort.csv", ("patient_id",), [{"patient_id": "1"}])
    with pytest.raises(ResultsError, match="expected column label, found none"):
        read_cohort_facts(tmp_path)
