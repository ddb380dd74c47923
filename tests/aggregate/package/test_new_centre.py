"""What `predict` tells of a new centre: how it differs, and what a recalibration does to those whose labels it has not seen."""

import csv
import re
from pathlib import Path

import pytest

from aggregate.package.loaded_package import load_package
from pipeline.errors import CohortError, PackageError
from tests.aggregate.conftest import command
from tests.aggregate.package.conftest import new_bags, seal_again, write_bags, write_labels


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def bags(tmp_path_factory) -> Path:
    return write_bags(tmp_path_factory.mktemp("centre") / "bags", new_bags(36))


@pytest.fixture(scope="module")
def recalibrated(frozen_once, bags, tmp_path_factory) -> Path:
    """Predictions of 36 labelled patients of two centres, recalibrated on every second one."""
    folder = tmp_path_factory.mktemp("recalibrated")
    centres = ["Nord" if i % 3 else "" for i in range(36)]
    cohort = write_labels(folder / "new.csv", new_bags(36), centre=centres)
    few = "".join(f"new{i:03}\n" for i in range(0, 36, 2))
    (folder / "few.csv").write_text(f"patient_id\n{few}")
    words = ("--cohort", cohort, "--recalibrate", folder / "few.csv")
    (folder / "said.txt").write_text(command("predict", frozen_once, bags, "--out", folder / "out", *words))
    return folder


def test_without_labels_the_shift_is_told_all_the_same(package, bags, tmp_path):
    said = command("predict", package, bags, "--out", tmp_path / "out")
    found = rows(tmp_path / "out" / "domain_shift.csv")
    assert {row["patient_id"] for row in found} == {f"new{i:03}" for i in range(36)}
    assert "patients of an unnamed centre (36 patients)" in said
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Are these patients like the training patients?" in page
    assert "nan" not in re.findall(r"<td[^>]*>([^<]*)</td>", page)


def test_each_centre_has_its_rows_and_its_line(recalibrated):
    found = rows(recalibrated / "out" / "domain_shift_centres.csv")
    assert {row["centre"] for row in found} == {"", "Nord"}
    assert {row["quantity"] for row in found} >= {"distance", "slice_thickness_mm", "has the phase"}
    assert "centre Nord (24 patients)" in (recalibrated / "said.txt").read_text()


def test_patients_who_were_recalibrated_on_are_named_and_in_no_table_on_performance(recalibrated):
    out = recalibrated / "out"
    used = {row["patient_id"] for row in rows(out / "recalibrated.csv") if row["recalibrated_on"] == "yes"}
    assert used == {f"new{i:03}" for i in range(0, 36, 2)}
    assert {row["patient_id"] for row in rows(out / "predictions.csv")} >= used
    assert not {row["patient_id"] for row in rows(out / "tables" / "predictions.csv")} & used
    reasons = {row["patient_id"]: row["reason"] for row in rows(out / "tables" / "excluded.csv")}
    assert all("used for the recalibration" in reasons[name] for name in used)
    assert {row["n_external"] for row in rows(out / "external_drop.csv")} <= {"18", "18.000000"}
    assert {(row["n"], row["n_recalibrated_on"]) for row in rows(out / "recalibration.csv")} == {("18", "18")}


def test_the_report_tells_the_shift_and_the_recalibration(recalibrated):
    page = (recalibrated / "out" / "report.html").read_text()
    assert "Log loss after minus before recalibration" in page
    assert page.index("Are these patients like") < page.index(">Recalibration<")
    assert "recalibrated on 18 patients: temperature" in (recalibrated / "said.txt").read_text()


def test_every_column_is_explained(recalibrated):
    explained = {(row["file"], row["column"]) for row in rows(recalibrated / "out" / "columns.csv")}
    for name in ("domain_shift.csv", "domain_shift_centres.csv", "recalibration.csv", "recalibrated.csv"):
        header = (recalibrated / "out" / name).read_text().partition("\n")[0].split(",")
        assert {(name, column) for column in header} <= explained


def test_recalibration_without_labels_is_refused(package, bags, tmp_path):
    few = tmp_path / "few.csv"
    few.write_text("patient_id\nnew000\n")
    with pytest.raises(CohortError, match="patient new000 has no label in the cohort table"):
        command("predict", package, bags, "--out", tmp_path / "out", "--recalibrate", few)
    assert not (tmp_path / "out").exists()


def test_a_package_holds_no_training_patient_in_its_distribution(package):
    known = load_package(package).distribution
    assert known is not None
    assert known.summary.n_patients > 0
    assert not re.search(r'"p\d', (package / "training_distribution.json").read_text())


def test_a_package_whose_distribution_is_gone_is_refused_by_name(package, bags, tmp_path):
    (package / "training_distribution.safetensors").unlink()
    seal_again(package)
    with pytest.raises(PackageError, match=r"training_distribution\.safetensors: expected the arrays"):
        command("predict", package, bags, "--out", tmp_path / "out")
