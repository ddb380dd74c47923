"""A results folder with its tables, as `run` leaves it before the folder `paper` is written."""

import json

import pytest

from aggregate.report.folder import ResultsFolder
from aggregate.statistics.config import ComparisonSection, StatisticsSection
from aggregate.statistics.resamples import draw_resamples
from aggregate.tables.cohort import COHORT
from aggregate.tables.comparisons import COMPARISONS, comparison_rows
from aggregate.tables.predictions import read_predictions
from tests.aggregate.report.conftest import write_results

__all__ = ["write_results"]

DECLARED = {"model_a": "attention", "model_b": "bag_size", "metric": "auc"}
CEILING = {"observer": "reads the signs", "n_patients": 40, "auc": {"macro": 0.904}}


@pytest.fixture
def results(write_results):
    """Return a function that writes the folder; its arguments change tables of [aggregate] in run.json."""

    def write(*, ceiling=None, **changes):
        path = write_results(explained=False, ceiling=ceiling)
        record = json.loads((path / "run.json").read_text())
        statistics = {
            "draws": 200,
            "confidence": 0.95,
            "seed": 3,
            "threshold_target": 0.9,
            "primary": DECLARED,
        }
        settings = {"tune_share": 0.2, "scheme": "stratified"}
        record["config"]["aggregate"] |= {"statistics": statistics, "splits": settings}
        for name, values in changes.items():
            given = record["config"]["aggregate"].get(name)
            record["config"]["aggregate"][name] = {**given, **values} if isinstance(given, dict) else values
        (path / "run.json").write_text(json.dumps(record))
        _write_tables(ResultsFolder(path), record["config"]["aggregate"]["statistics"]["primary"])
        return path

    return write


def _write_tables(folder, primary):
    predictions = read_predictions(folder.tables)
    ids, labels = predictions.patient_ids, predictions.labels
    settings = StatisticsSection(draws=200, primary=ComparisonSection(**primary) if primary else None)
    weights = draw_resamples(labels, draws=200, seed=0)
    folder.tables.write(COMPARISONS, comparison_rows(predictions, weights, settings))
    rows = (
        {"patient_id": who, "label": predictions.classes[labels[i]], "centre": "AB"[i % 2], "phases_present": "AP",
         "phases_missing": "" if i else "DP", "slices_AP": 5, "tumour_volume_ml": 10.0 + i, "slice_thickness_mm": 5.0,
         "age": str(50 + i)}
        for i, who in enumerate(ids)
    )  # fmt: skip
    folder.tables.write(COHORT, rows, {"phase": ["AP"], "covariate": ["age"]})
