"""What is printed is what was used: whoever computes again from the CSV files comes to the same figures."""

import csv
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aggregate.statistics.config import StatisticsSection
from aggregate.statistics.decisions import TuneFold
from aggregate.tables.results import ResultTables
from aggregate.tables.write import write_tables

Rows = list[dict[str, str]]


def rows_of(path: Path) -> Rows:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def close_calls(shape: Sequence[int], seed: int, closeness: float) -> np.ndarray:
    """Draw probabilities that differ by about `closeness`, many of them in digits that are not printed."""
    raw = 1 + closeness * np.random.default_rng(seed).integers(-3, 4, size=(*shape, 3)) / 7
    return raw / raw.sum(axis=-1, keepdims=True)


def called(rows: Rows, classes: Sequence[str]) -> list[str]:
    return [max(classes, key=lambda name: float(row[f"p_{name}"])) for row in rows]


def check_predicted(folder: Path, classes: Sequence[str]) -> None:
    rows = rows_of(folder / "tables" / "predictions.csv")
    assert [row["predicted"] for row in rows] == called(rows, classes)
    for row in rows_of(folder / "tables" / "performance.csv"):
        if row["metric"] == "sensitivity":
            mine = [r for r in rows if (r["model"], r["label"]) == (row["model"], row["class"])]
            right = np.mean([r["predicted"] == r["label"] for r in mine])
            assert float(row["estimate"]) == pytest.approx(right, abs=1e-6)


def check_thresholds(folder: Path) -> None:
    by_fold: dict[tuple[str, ...], Rows] = defaultdict(list)
    for row in rows_of(folder / "tables" / "predictions.csv"):
        by_fold[row["model"], row["repeat"], row["fold"]].append(row)
    for row in rows_of(folder / "tables" / "thresholds.csv"):
        if row["fold"] == "all" or row["threshold"] == "not estimable":
            continue
        name, limit = row["class"], float(row["threshold"])
        tested = by_fold[row["model"], row["repeat"], row["fold"]]
        found = [float(r[f"p_{name}"]) >= limit for r in tested if r["label"] == name]
        spared = [float(r[f"p_{name}"]) < limit for r in tested if r["label"] != name]
        assert float(row["sensitivity"]) == pytest.approx(np.mean(found))
        assert float(row["specificity"]) == pytest.approx(np.mean(spared))


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**16), closeness=st.sampled_from([1e-11, 1e-9, 1e-7, 1e-3, 1.0]))
def test_predicted_and_thresholds_follow_from_the_files(
    tmp_path_factory, predictions, cohort, tuning, seed, closeness
):
    folder = tmp_path_factory.mktemp("printed")
    drawn = close_calls((2, len(predictions.labels)), seed, closeness)
    tune: list[TuneFold] = [
        replace(t, probabilities=close_calls((len(t.labels),), seed + i, closeness))
        for i, t in enumerate(tuning["attention"])
    ]
    few = StatisticsSection(draws=100)
    redrawn = replace(predictions, probabilities={"m": drawn})
    write_tables(ResultTables(folder), redrawn, cohort, few, tuning={"m": tune})
    check_predicted(folder, predictions.classes)
    check_thresholds(folder)
