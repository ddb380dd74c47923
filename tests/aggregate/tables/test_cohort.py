from dataclasses import replace

import pytest

from aggregate.cohort.patient_facts import CohortFacts
from aggregate.tables.cohort import COHORT, cohort_names, cohort_rows, read_cohort_facts
from aggregate.tables.results import ResultTables
from pipeline.errors import ResultsError
from pipeline.tables import write_table


def write(tables, cohort):
    tables.write(COHORT, cohort_rows(cohort), cohort_names(cohort))


@pytest.mark.parametrize(
    "options", [{"weights": "w"}, {"separator": ";", "decimal": ","}], ids=["with weights", "decimal comma"]
)
def test_the_facts_come_back(tmp_path, cohort, options):
    tables = ResultTables(tmp_path, **options)
    write(tables, cohort)
    assert read_cohort_facts(tables) == cohort


def test_a_covariate_named_like_a_column_of_the_table_keeps_apart(tmp_path, cohort):
    """A hospital's own tumour_volume_ml must neither replace ours nor be read as a phase."""
    own = {"tumour_volume_ml": "33", "slices_total": "40", "weights": "80 kg", "sex": "F"}
    cohort = CohortFacts(tuple(replace(p, covariates=own) for p in cohort.patients))
    assert COHORT.header(cohort_names(cohort))[-4:] == [
        "covariate_tumour_volume_ml", "covariate_slices_total", "covariate_weights", "sex"
    ]  # fmt: skip
    tables = ResultTables(tmp_path, weights="resnet18")
    write(tables, cohort)
    assert read_cohort_facts(tables) == cohort


def test_a_table_without_a_column_is_refused(tmp_path):
    write_table(tmp_path / "tables" / "cohort.csv", ("patient_id",), [{"patient_id": "1"}])
    with pytest.raises(ResultsError, match="expected column label, found none"):
        read_cohort_facts(ResultTables(tmp_path))
