"""The permutation control and its p-value."""

import numpy as np
import pytest

from aggregate.predictions import Predictions
from aggregate.tables.null import macro_auc_of, write_null
from aggregate.tables.results import ResultTables
from pipeline.tables import read_table

LABELS = np.array([0, 0, 1, 1])


def predictions(*scores: float) -> Predictions:
    p = np.array(scores)
    return Predictions(
        classes=("A", "B"),
        patient_ids=("a", "b", "c", "d"),
        labels=LABELS,
        fold=np.zeros((1, 4), dtype=np.intp),
        probabilities={"m": np.stack([1 - p, p], axis=1)[None]},
        n_slices=np.ones(4, dtype=np.intp),
        phases=("AP",) * 4,
    )


PERFECT, WORST, HALF = (
    predictions(0.1, 0.2, 0.8, 0.9),
    predictions(0.9, 0.8, 0.2, 0.1),
    predictions(0.1, 0.9, 0.1, 0.9),
)


@pytest.mark.parametrize(("given", "auc"), [(PERFECT, 1.0), (WORST, 0.0), (HALF, 0.5)])
def test_the_auc_of_two_classes_by_hand(given, auc):
    assert macro_auc_of(given, "m") == auc


def test_the_p_value_counts_the_observed_run_itself(tmp_path):
    write_null(ResultTables(tmp_path, weights="w"), PERFECT, [HALF, WORST, PERFECT])
    (row,) = read_table(tmp_path / "tables" / "null_summary.csv")
    assert float(row["mean_auc"]) == 0.5
    assert float(row["p_value"]) == (1 + 1) / (1 + 3)
    assert [float(r["auc"]) for r in read_table(tmp_path / "tables" / "null.csv")] == [0.5, 0.0, 1.0]
