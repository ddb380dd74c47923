"""The one table of patients, and runs over several bag sets on the same folds."""

import json
import pickle

import numpy as np
import pytest

from aggregate.cohort.patients import Patients
from pipeline.bags import list_bags, read_bag, write_bag
from pipeline.errors import ConfigError, SampleError
from pipeline.tables import read_table
from tests.aggregate.conftest import QUICK, command, contents


def test_patients_are_read_with_labels_centres_and_typed_covariates(experiment_folder, tmp_path):
    experiment_folder("")
    patients = Patients.read(tmp_path / "out" / "bags", cohort=tmp_path / "cohort.csv")
    assert len(patients) == 60
    assert patients.labels[:3].tolist() == ["HCC", "iCCA", "cHCC-CCA"]
    assert patients.centres[:2] == ("c0", "c1")
    assert patients[3].covariates == {"age": 43.0}
    assert patients[3].bags["bags"].patient_id == "p003"


def test_a_column_that_says_two_things_of_a_patient_is_no_covariate(experiment_folder, tmp_path):
    experiment_folder("")
    table = tmp_path / "cohort.csv"
    table.write_text(table.read_text().replace(",40,c0", ",41,c0", 1))
    patients = Patients.read(tmp_path / "out" / "bags", cohort=table)
    assert "age" not in patients[0].covariates
    assert patients.unreadable["age"].startswith("patient p000: column 'age' says")


def test_a_table_travels_to_another_process_without_its_features(experiment_folder, tmp_path):
    experiment_folder("")
    patients = Patients.read(tmp_path / "out" / "bags", cohort=tmp_path / "cohort.csv")
    before = patients[7].bags["bags"].features  # now it is held in memory
    sent = pickle.dumps(patients)
    assert len(sent) < 20_000
    np.testing.assert_array_equal(pickle.loads(sent)[7].bags["bags"].features, before)  # noqa: S301 - made above


def test_arrays_become_patients_and_a_patient_without_a_row_has_no_bag():
    features = np.arange(12, dtype=np.float32).reshape(6, 2)
    phase = ["PVP", "AP", "PVP", "AP", "AP", "PVP"]
    patients = Patients.from_arrays(features, np.array([0, 0, 0, 2, 2, 2]), ["a", "b", "a"], phase=phase)
    assert patients[1].bags["bags"] is None
    bag = patients[0].bags["bags"]
    assert bag.header.phase_names == ("PVP", "AP")
    assert bag.features.tolist() == [[0, 1], [4, 5], [2, 3]]  # sorted by phase
    assert bag.slice_index.tolist() == [0, 1, 0]
    assert patients.labels.tolist() == ["a", "b", "a"]


@pytest.mark.parametrize(
    ("bag_index", "message"),
    [
        ([0, 1, 5], "expected bag_index from 0 to 1, one number per label, found 5"),
        ([0, 1], "found features of shape"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(bag_index, message):
    with pytest.raises(SampleError, match=message):
        Patients.from_arrays(np.zeros((3, 2), np.float32), np.array(bag_index), ["a", "b"])


def test_taken_patients_keep_their_bags_and_covariates(experiment_folder, tmp_path):
    experiment_folder("")
    patients = Patients.read(tmp_path / "out" / "bags", cohort=tmp_path / "cohort.csv")
    few = patients.take(np.array([5, 2]))
    assert [few[i].bags["bags"].patient_id for i in (0, 1)] == list(few.patient_ids) == ["p005", "p002"]
    assert few[1].covariates == patients[2].covariates
    assert few.labels.tolist() == ["cHCC-CCA", "cHCC-CCA"]


TWO_SETS = f"""{QUICK}
[aggregate.bags.strong]
folder = "out/bags"
[aggregate.bags.weak]
folder = "weak"
[aggregate.model.of_strong]
kind = "mean_pooling"
bags = "strong"
[aggregate.model.of_weak]
kind = "mean_pooling"
bags = "weak"
covariates = ["age"]
"""


@pytest.fixture
def two_sets(experiment_folder, tmp_path):
    """A second bag set of noise, in which two patients have no bag."""
    toml = experiment_folder(TWO_SETS)
    rng = np.random.default_rng(0)
    (tmp_path / "weak").mkdir()
    for i, path in enumerate(list_bags(tmp_path / "out" / "bags").values()):
        bag = read_bag(path)
        bag.features[:] = rng.normal(size=bag.features.shape)
        if i not in (4, 9):
            write_bag(tmp_path / "weak", bag)
    return toml


def test_two_bag_sets_are_two_rows_of_one_table_on_the_same_folds(two_sets, tmp_path):
    command("run", two_sets)
    rows = read_table(tmp_path / "out" / "performance.csv")
    auc = {r["model"]: float(r["estimate"]) for r in rows if (r["class"], r["metric"]) == ("macro", "auc")}
    assert auc["of_strong"] > 0.75 > auc["of_weak"]
    predictions = read_table(tmp_path / "out" / "predictions.csv")
    fold = {(r["patient_id"], r["model"]): r["fold"] for r in predictions}
    assert all(fold[p, "of_strong"] == fold[p, "of_weak"] for p, _ in fold)
    weights = {r["weights"] for r in rows}
    assert weights == {"RANDOM WEIGHTS (strong: random:0; weak: random:0)"}


def test_a_patient_without_a_bag_in_a_set_is_predicted_and_told(two_sets, tmp_path):
    output = command("plan", two_sets)
    assert "model of_weak: sees nothing of 2 patients, such as p004" in output
    command("run", two_sets)
    told = [r for r in read_table(tmp_path / "out" / "excluded.csv") if r["stage"] == "model of_weak"]
    assert [r["patient_id"] for r in told] == ["p004", "p009"]
    rows = read_table(tmp_path / "out" / "predictions.csv")
    (row,) = [r for r in rows if (r["patient_id"], r["model"]) == ("p004", "of_weak")]
    assert float(row["p_HCC"]) == pytest.approx(1 / 3, abs=0.03)


def test_another_bag_or_covariate_trains_only_the_models_that_read_it(two_sets, tmp_path):
    command("run", two_sets)
    path = tmp_path / "weak" / "p001.h5"
    bag = read_bag(path)
    object.__setattr__(bag.header, "content_key", "another")
    write_bag(tmp_path / "weak", bag)
    assert "2 in the cache, 2 to be trained" in command("plan", two_sets)
    command("run", two_sets)
    table = tmp_path / "cohort.csv"
    table.write_text(table.read_text().replace(",42,", ",43,"))
    assert "2 in the cache, 2 to be trained" in command("plan", two_sets)


def test_tables_and_explanations_of_a_run_know_its_bag_sets(two_sets, tmp_path):
    command("run", two_sets, 'model.of_weak={kind="attention_mil", bags="weak", epochs=2}')
    command("explain", tmp_path / "out")
    rows = read_table(tmp_path / "out" / "attention.csv")
    assert {r["model"] for r in rows} == {"of_weak"}
    assert not {r["patient_id"] for r in rows} & {"p004", "p009"}
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert set(record["bags"]) == set(record["recipes"]) == {"strong", "weak"}
    before = contents(tmp_path / "out")
    command("tables", tmp_path / "out")
    assert contents(tmp_path / "out")["performance.csv"] == before["performance.csv"]


def test_a_bag_set_that_is_not_there_is_named_before_training(two_sets):
    with pytest.raises(
        ConfigError, match=r"aggregate\.model\.of_weak: no bag set 'weka': set `bags` of the model to one of"
    ):
        command("plan", two_sets, 'model.of_weak.bags="weka"')
