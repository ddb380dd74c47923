"""From a finished run to a package, and from a package to predictions."""

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aggregate.cohort.patients import Patients
from aggregate.fitting.fitted_models import in_all_classes
from aggregate.models.registry import load_model
from aggregate.package.loaded_package import load_package
from aggregate.run_folder.run_record import RECORD as RUN_RECORD
from aggregate.store.fit_cache import FitCache
from pipeline.bags import Recipe, bag_path, write_bag
from pipeline.errors import BagError, CohortError, ConfigError, LeakError, PackageError, ResultsError
from tests.aggregate.conftest import command
from tests.aggregate.package.conftest import new_bags, write_bags, write_labels
from tests.conftest import CLASSES, patients_of


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def fit_keys(results: Path, model: str) -> list[str]:
    return json.loads((results / RUN_RECORD).read_text())["fits"][model]


@pytest.fixture
def bags(tmp_path) -> Path:
    return write_bags(tmp_path / "bags", new_bags())


def test_a_package_says_to_the_last_bit_what_the_models_of_the_run_say(run_once, package):
    patients = patients_of(new_bags(), np.zeros(12))
    cache = FitCache(run_once / "cache")
    models = [load_model(cache.model_folder(key)) for key in fit_keys(run_once, "mean")]
    said = [in_all_classes(model.predict_proba(patients), model, 3, absent=0.0) for model in models]
    np.testing.assert_array_equal(load_package(package).uncalibrated(patients), np.mean(said, axis=0))


def test_the_temperature_keeps_the_most_probable_class(package):
    frozen, patients = load_package(package), patients_of(new_bags(), np.zeros(12))
    before, after = frozen.uncalibrated(patients), frozen.predict_proba(patients)
    assert frozen.calibration.temperature != 1
    np.testing.assert_allclose(after.sum(axis=1), 1)
    np.testing.assert_array_equal(before.argmax(axis=1), after.argmax(axis=1))


def test_a_calibrated_model_keeps_its_own_temperature(run_once, tmp_path):
    command("freeze", run_once, "--model", "scaled", "--out", tmp_path / "package")
    calibration = load_package(tmp_path / "package").calibration
    assert (calibration.method, calibration.temperature) == ("of the model", 1.0)


def test_one_model_of_all_patients_is_another_way(run_once, tmp_path):
    command("freeze", run_once, "--model", "mean", "--out", tmp_path / "package", "--refit", "all")
    record = load_package(tmp_path / "package").record
    assert (record.refit, len(record.models)) == ("all", 1)
    assert record.fits[0] not in fit_keys(run_once, "mean")


def test_every_new_patient_has_a_row_with_decisions(package, bags, tmp_path):
    command("predict", package, bags, "--out", tmp_path / "out", "--coverage", 0.8)
    found, frozen = rows(tmp_path / "out" / "predictions.csv"), load_package(package)
    assert [row["patient_id"] for row in found] == [f"new{i:03}" for i in range(12)]
    for row in found:
        p = {name: float(row[f"p_{name}"]) for name in CLASSES}
        assert row["predicted"] == max(p, key=p.__getitem__)
        for name, limit in frozen.decisions.thresholds.items():
            assert row[f"called_{name}"] == ("yes" if p[name] >= limit else "no")
        limit = frozen.level(0.8).limit
        assert row["prediction_set"] == "+".join(name for name in CLASSES if 1 - p[name] <= limit + 1e-9)
        assert row["abstains"] == ("no" if row["prediction_set"] in CLASSES else "yes")


def test_predictions_do_not_hang_on_the_company(package, tmp_path):
    command("predict", package, write_bags(tmp_path / "all", new_bags()), "--out", tmp_path / "out")
    command("predict", package, write_bags(tmp_path / "one", new_bags()[4:5]), "--out", tmp_path / "alone")
    assert rows(tmp_path / "alone" / "predictions.csv") == rows(tmp_path / "out" / "predictions.csv")[4:5]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"encoder": "vgg19"}, "encoder of the bag is vgg19, the package was trained on resnet18"),
        (
            {"weights_sha256": "f" * 64},
            f"weights_sha256 of the bag is {'f' * 64}, the package was trained on {'0' * 64}",
        ),
        ({"precision": "bfloat16"}, "precision of the bag is bfloat16, the package was trained on float32"),
        ({"preprocessing": {"crop_mm": 70.0}}, "preprocessing_sha256 of the bag is "),
    ],
    ids=["encoder", "weights", "precision", "preprocessing"],
)
def test_a_bag_of_another_recipe_is_refused_with_both_values(package, tmp_path, change, told):
    bags = new_bags(3)
    recipe = replace(bags[1].header.recipe, **change)
    bags[1] = replace(bags[1], header=replace(bags[1].header, recipe=recipe))
    folder = write_bags(tmp_path / "bags", bags)
    with pytest.raises(BagError, match=re.escape(told)) as error:
        command("predict", package, folder, "--out", tmp_path / "out")
    assert "patient new001" in str(error.value)
    assert "1 of 3 bags differ" in str(error.value)
    assert not (tmp_path / "out").exists()


def test_who_is_not_predicted_is_listed_with_the_reason(package, tmp_path):
    bags = new_bags(5)
    folder = write_bags(tmp_path / "bags", bags)
    bag_path(folder, "new001").write_bytes(b"no bag")
    table = write_labels(tmp_path / "cohort.csv", bags[:4])
    table.write_text(table.read_text() + "nobag,HCC\n")
    command("predict", package, folder, "--cohort", table, "--out", tmp_path / "out")
    left_out = {row["patient_id"]: row["reason"] for row in rows(tmp_path / "out" / "excluded.csv")}
    assert {row["patient_id"] for row in rows(tmp_path / "out" / "predictions.csv")} == {
        "new000",
        "new002",
        "new003",
    }
    assert set(left_out) == {"new001", "new004", "nobag"}
    assert "new001.h5" in left_out["new001"]
    assert left_out["new004"] == "a bag without a row in the cohort table"
    assert left_out["nobag"] == "no bag of this patient in the folder"


def test_a_patient_without_the_phase_of_the_model_is_left_out(run_once, tmp_path):
    command("freeze", run_once, "--model", "arterial", "--out", tmp_path / "package")
    bags = new_bags(2)
    venous = bags[0].take(bags[0].phase != 1)
    sources = {name: one for name, one in venous.header.sources.items() if name != "AP"}
    missing = {**venous.header.phases_missing, "AP": "no scan"}
    header = replace(venous.header, sources=sources, phases_missing=missing)
    folder = write_bags(tmp_path / "bags", [replace(venous, header=header), bags[1]])
    command("predict", tmp_path / "package", folder, "--out", tmp_path / "out")
    assert [row["patient_id"] for row in rows(tmp_path / "out" / "predictions.csv")] == ["new001"]
    (left_out,) = rows(tmp_path / "out" / "excluded.csv")
    assert left_out["patient_id"] == "new000"
    assert "expected a phase of AP in bags" in left_out["reason"]


def test_phases_that_no_training_patient_had_alone_are_told(package, tmp_path):
    bag = new_bags(1)[0]
    only = bag.take(bag.phase == 1)
    header = replace(
        only.header,
        sources={"AP": only.header.sources["AP"]},
        phases_missing=dict.fromkeys(("NC", "PVP", "DP"), "no scan"),
    )
    folder = write_bags(tmp_path / "bags", [replace(only, header=header)])
    printed = command("predict", package, folder, "--out", tmp_path / "out")
    (row,) = rows(tmp_path / "out" / "predictions.csv")
    assert (row["phases"], row["phases_in_training"]) == ("AP", "no")
    assert "1 patient with the phases AP, which no training patient had" in " ".join(printed.split())


def test_the_columns_that_the_model_reads_are_asked_for(run_once, tmp_path, bags):
    command("freeze", run_once, "--model", "with_age", "--out", tmp_path / "package")
    with pytest.raises(
        ConfigError, match="reads the columns age, sex of the cohort table; name it with --cohort"
    ):
        command("predict", tmp_path / "package", bags, "--out", tmp_path / "out")
    table = write_labels(tmp_path / "cohort.csv", new_bags(), age=["old"] * 12, sex=["F"] * 12)
    with pytest.raises(
        CohortError, match="column 'age': expected a number as of the training patients, found a category"
    ):
        command("predict", tmp_path / "package", bags, "--cohort", table, "--out", tmp_path / "out")
    table = write_labels(tmp_path / "cohort.csv", new_bags(), age=[""] + ["61"] * 11, sex=["F"] * 11 + ["x"])
    printed = " ".join(
        command("predict", tmp_path / "package", bags, "--cohort", table, "--out", tmp_path / "out").split()
    )
    assert "covariate 'age' is missing of 1 patient, such as new000" in printed
    assert "'x' of patient new011 is no word of the training patients (F, M)" in printed
    found = [row["covariates_missing"] for row in rows(tmp_path / "out" / "predictions.csv")]
    assert found == ["age", *[""] * 10, "sex"]


def test_a_number_in_another_unit_is_told(run_once, tmp_path, bags):
    command("freeze", run_once, "--model", "with_age", "--out", tmp_path / "package")
    months = [55] * 3 + [12 * 55] * 9
    table = write_labels(tmp_path / "cohort.csv", new_bags(), age=months, sex=["F"] * 12)
    printed = " ".join(
        command("predict", tmp_path / "package", bags, "--cohort", table, "--out", tmp_path / "out").split()
    )
    low, high = load_package(tmp_path / "package").cohort.range_of("age")
    assert 40.0371 < low < high < 40.0371 + 0.7313 * 59  # within the ages of the training patients
    assert (
        f"covariate 'age': 9 of 12 patients outside {low:g} to {high:g}, where 90 % of the training patients lie"
        in printed
    )
    found = [row["covariates_outside"] for row in rows(tmp_path / "out" / "predictions.csv")]
    assert found == [""] * 3 + ["age"] * 9


def test_a_patient_whose_label_cannot_be_used_is_predicted_and_counted_once(package, tmp_path, bags):
    table = write_labels(tmp_path / "cohort.csv", new_bags())
    table.write_text(table.read_text().replace("new003,HCC", "new003,metastasis"))
    printed = " ".join(
        command("predict", package, bags, "--cohort", table, "--out", tmp_path / "out").split()
    )
    assert "12 patients predicted, 0 left out" in printed
    assert "1 patient predicted without a label" in printed
    assert "new003: unknown label 'metastasis'" in printed
    assert len(rows(tmp_path / "out" / "predictions.csv")) == 12


def test_the_same_scans_under_two_names_are_refused(package, tmp_path, bags):
    bag = new_bags()[1]
    write_bag(bags, replace(bag, header=replace(bag.header, patient_id="other")))
    with pytest.raises(LeakError, match=r"patient other, phase \w+ .* has the same image as patient new001"):
        command("predict", package, bags, "--out", tmp_path / "out")


def test_a_kind_that_is_saved_as_a_pickle_only_is_refused(run_once, tmp_path):
    with pytest.raises(
        PackageError, match="'random_forest' cannot be frozen: its library saves it as a pickle only"
    ):
        command("freeze", run_once, "--model", "trees", "--out", tmp_path / "package")
    assert not (tmp_path / "package").exists()


def test_an_unknown_model_is_refused_with_the_nearest_name(run_once, tmp_path):
    with pytest.raises(ConfigError, match="no model 'maen' in this run; nearest valid name: 'mean'"):
        command("freeze", run_once, "--model", "maen", "--out", tmp_path / "package")


def test_a_package_is_replaced_only_when_that_is_said(run_once, package, tmp_path):
    before = load_package(package).sha256
    with pytest.raises(PackageError, match="say --overwrite to replace it"):
        command("freeze", run_once, "--model", "mean", "--out", package)
    command("freeze", run_once, "--model", "scaled", "--out", package, "--overwrite")
    assert load_package(package).sha256 != before
    (tmp_path / "other").mkdir()
    with pytest.raises(PackageError, match="exists, and is no package"):
        command("freeze", run_once, "--model", "mean", "--out", tmp_path / "other", "--overwrite")


def test_a_changed_table_of_the_run_is_no_ground_for_a_package(run, tmp_path):
    table = run / "tables" / "predictions.csv"
    table.write_text(table.read_text() + "\n")
    with pytest.raises(ResultsError, match=re.escape("predictions.csv: not as the run left it")):
        command("freeze", run, "--model", "mean", "--out", tmp_path / "package")


def test_predictions_replace_earlier_predictions_and_nothing_else(package, bags, tmp_path):
    for _ in range(2):
        command("predict", package, bags, "--out", tmp_path / "out")
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(PackageError, match=re.escape("notes.txt: added or changed since")):
        command("predict", package, bags, "--out", tmp_path / "out")
    with pytest.raises(PackageError, match=re.escape("holds files that no `aggregate.py predict` wrote")):
        command("predict", package, bags, "--out", bags)


def test_nothing_is_written_into_a_package(package, bags):
    with pytest.raises(PackageError, match="lies in the package, which must not be changed"):
        command("predict", package, bags, "--out", package / "out")


def test_a_package_answers_in_python(package):
    frozen, bag = load_package(package), new_bags(1)[0]
    (answer,) = frozen.predict([bag], coverage=0.9)
    assert answer.patient_id == "new000"
    assert answer.predicted in CLASSES
    assert answer.abstains is (len(answer.prediction_set) != 1)


def test_the_card_says_what_must_be_said(package):
    card = (package / "MODEL_CARD.md").read_text(encoding="utf-8")
    for words in (
        "For research use only",
        "Intended use",
        "Limits",
        "Expected performance",
        "Calibration",
        "60 patients",
    ):
        assert words in card
    assert re.search(r"\| all classes \| 0\.\d\d \[0\.\d\d, \d\.\d\d\]", card)


def test_a_coverage_beyond_the_number_of_patients_is_refused(package, bags, tmp_path):
    with pytest.raises(
        ConfigError, match=r"60 patients of the cross-validation are too few for it; at most 0\.98"
    ):
        command("predict", package, bags, "--out", tmp_path / "out", "--coverage", 0.99)


def test_patients_read_from_python_are_asked_as_they_are(package, bags, tmp_path):
    table = write_labels(tmp_path / "cohort.csv", new_bags())
    patients = Patients.read(bags, cohort=table)
    command("predict", package, bags, "--out", tmp_path / "out")
    answers = load_package(package).predict(patients)
    found = [float(row["p_HCC"]) for row in rows(tmp_path / "out" / "predictions.csv")]
    assert [answer.probabilities["HCC"] for answer in answers] == found


def test_a_recipe_is_compared_field_by_field(package):
    frozen = load_package(package)
    contract = frozen.contract.bag_sets["bags"]
    assert isinstance(contract.header.recipe, Recipe)
    header = new_bags(1)[0].header
    assert contract.shown(header, "here").phase_names == header.phase_names


def test_bags_may_be_written_in_any_order(package, tmp_path):
    folder = tmp_path / "bags"
    folder.mkdir()
    for bag in reversed(new_bags(4)):
        write_bag(folder, bag)
    command("predict", package, folder, "--out", tmp_path / "out")
    assert [r["patient_id"] for r in rows(tmp_path / "out" / "predictions.csv")] == [
        f"new{i:03}" for i in range(4)
    ]
