"""Labelled patients of another cohort: the tables of stage 2, and the drop."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from aggregate.package.external_performance import difference_of
from aggregate.statistics.intervals import Estimate
from tests.aggregate.conftest import command
from tests.aggregate.package.conftest import new_bags, write_bags, write_labels
from tests.conftest import CLASSES


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def external(frozen_once, tmp_path_factory) -> Path:
    """The prediction of thirty new patients, of whom two have no label."""
    folder = tmp_path_factory.mktemp("external")
    bags = new_bags(30)
    table = write_labels(folder / "cohort.csv", bags)
    table.write_text(
        table.read_text().replace("new004,iCCA", "new004,").replace("new005,cHCC-CCA", "new005,")
    )
    command(
        "predict",
        frozen_once,
        write_bags(folder / "bags", bags),
        "--cohort",
        table,
        "--out",
        folder / "out",
        "--coverage",
        0.8,
    )
    return folder / "out"


def test_the_macro_auc_is_that_of_scikit_learn(external):
    found = [row for row in rows(external / "predictions.csv") if row["label"]]
    assert len(found) == 28
    labels = [CLASSES.index(row["label"]) for row in found]
    p = np.array([[float(row[f"p_{name}"]) for name in CLASSES] for row in found])
    table = rows(external / "tables" / "performance.csv")
    (told,) = (row for row in table if (row["class"], row["metric"]) == ("macro", "auc"))
    assert float(told["estimate"]) == pytest.approx(
        roc_auc_score(labels, p / p.sum(1, keepdims=True), multi_class="ovr"), abs=1e-6
    )
    assert "design effect" not in told["ci_method"]


def test_the_drop_is_external_minus_internal(external, frozen_once):
    inside = {(r["class"], r["metric"]): r for r in rows(frozen_once / "tables" / "performance.csv")}
    outside = {(r["class"], r["metric"]): r for r in rows(external / "tables" / "performance.csv")}
    drop = {(r["class"], r["metric"]): r for r in rows(external / "external_drop.csv")}
    place = ("macro", "auc")
    assert drop[place]["internal"] == inside[place]["estimate"]
    assert drop[place]["external"] == outside[place]["estimate"]
    assert float(drop[place]["difference"]) == pytest.approx(
        float(outside[place]["estimate"]) - float(inside[place]["estimate"]), abs=2e-6
    )
    assert (drop[place]["n_internal"], drop[place]["n_external"]) == ("60", "28")
    assert {metric for _, metric in drop} >= {"auc", "log_loss", "brier", "slope", "intercept"}


def test_thresholds_are_those_of_the_package(external, frozen_once):
    fixed = {row["class"]: row["threshold"] for row in rows(frozen_once / "tables" / "thresholds.csv")}
    table = {row["class"]: row for row in rows(external / "tables" / "thresholds.csv")}
    assert {name: row["threshold"] for name, row in table.items()} == fixed
    found = [row for row in rows(external / "predictions.csv") if row["label"]]
    of_class = [row["called_HCC"] == "yes" for row in found if row["label"] == "HCC"]
    assert float(table["HCC"]["sensitivity"]) == pytest.approx(np.mean(of_class), abs=1e-6)


def test_who_has_no_label_is_predicted_and_in_no_table(external):
    left_out = {row["patient_id"]: row["reason"] for row in rows(external / "tables" / "excluded.csv")}
    assert set(left_out) == {"new004", "new005"}
    assert "predicted, but without a label" in left_out["new004"]
    assert {row["patient_id"] for row in rows(external / "tables" / "predictions.csv")}.isdisjoint(left_out)


def test_the_report_says_what_was_expected_and_what_was_found(external):
    page = (external / "report.html").read_text(encoding="utf-8")
    for words in (
        "Expected and found",
        "28 labelled patients",
        "Prediction sets.",
        "For research use only",
        "The package",
    ):
        assert words in page
    assert "out-of-fold performance" not in page


def test_a_model_of_columns_alone_needs_no_bags(run_once, tmp_path):
    command("freeze", run_once, "--model", "columns", "--out", tmp_path / "package")
    bags = new_bags(30)
    table = write_labels(tmp_path / "cohort.csv", bags, age=[45 + i for i in range(30)], sex=["F", "M"] * 15)
    command("predict", tmp_path / "package", "--cohort", table, "--out", tmp_path / "out")
    assert len(rows(tmp_path / "out" / "predictions.csv")) == 30
    (row,) = (
        r
        for r in rows(tmp_path / "out" / "external_drop.csv")
        if (r["class"], r["metric"]) == ("macro", "auc")
    )
    assert 0 < float(row["external"]) < 1


def test_a_class_without_patients_is_said(frozen_once, tmp_path):
    bags = [bag for i, bag in enumerate(new_bags(30)) if i % 3 != 1]
    lines = [f"{bag.patient_id},{CLASSES[int(bag.patient_id[3:]) % 3]}" for bag in bags]
    (tmp_path / "cohort.csv").write_text("\n".join(["patient_id,label", *lines]) + "\n")
    command(
        "predict",
        frozen_once,
        write_bags(tmp_path / "bags", bags),
        "--cohort",
        tmp_path / "cohort.csv",
        "--out",
        tmp_path / "out",
    )
    assert "no labelled patient here has the class iCCA" in (tmp_path / "out" / "report.html").read_text()
    (row,) = (
        r
        for r in rows(tmp_path / "out" / "external_drop.csv")
        if (r["class"], r["metric"]) == ("iCCA", "auc")
    )
    assert row["difference"] == "not estimable"


def test_the_interval_of_a_difference_by_hand():
    """0.70 [0.60, 0.78] against 0.85 [0.79, 0.89]."""
    found = difference_of(Estimate(0.70, 0.60, 0.78, ""), Estimate(0.85, 0.79, 0.89, ""))
    assert found.value == pytest.approx(-0.15)
    assert found.low == pytest.approx(-0.15 - math.sqrt(0.10**2 + 0.04**2))
    assert found.high == pytest.approx(-0.15 + math.sqrt(0.08**2 + 0.06**2))


def test_even_intervals_give_the_usual_error_of_a_difference():
    a, b = Estimate(1.0, 0.7, 1.3, ""), Estimate(0.0, -0.4, 0.4, "")
    found = difference_of(a, b)
    assert (found.low, found.high) == pytest.approx((0.5, 1.5))
