"""Rows of a table that was read."""

import pytest

from pipeline.errors import ResultsError
from pipeline.tables import read_table


def test_a_column_that_a_table_lacks_is_named_with_the_file_and_what_was_found(tmp_path):
    path = tmp_path / "splits.csv"
    path.write_text("patient_id,fold\n007,1\n")
    (row,) = read_table(path)
    assert (row, row.get("repeat")) == ({"patient_id": "007", "fold": "1"}, None)
    with pytest.raises(ResultsError, match=r"splits.csv: expected a column 'repeat', found patient_id, fold"):
        row["repeat"]
