"""The one table of patients, and runs over several bag sets on the same folds."""

import json
import pickle
import shutil
from dataclasses import replace

import numpy as np
import pytest

from aggregate.cohort.patients import Patients
from aggregate.config import AggregateConfig
from pipeline.bags import list_bags, read_bag, write_bag
from pipeline.cohort import Exclusion
from pipeline.config import load_config
from pipeline.errors import ConfigError, FoldError, SampleError
from pipeline.exclusions import write_exclusions_of_variants
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


def test_labels_that_are_missing_and_identifiers_that_repeat_are_refused():
    features, index = np.zeros((2, 2), np.float32), np.array([0, 1])
    with pytest.raises(SampleError, match="expected a label for every patient, found none for number 1"):
        Patients.from_arrays(features, index, ["a", None])
    with pytest.raises(SampleError, match="expected every patient_id once, found 'p' several times"):
        Patients.from_arrays(features, index, ["a", "b"], patient_ids=["p", "p"])
    with pytest.raises(SampleError, match="expected bag_index as whole numbers, found float64"):
        Patients.from_arrays(features, np.array([0.0, 0.5]), ["a", "b"])


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


VARIANTS = (
    TWO_SETS[: TWO_SETS.index("[aggregate.bags.strong]")]
    + """
[extract.variant.strong]
[extract.variant.weak.input]
size_px = 32
"""
)


@pytest.mark.parametrize(
    ("text", "folders"),
    [
        (VARIANTS, {"strong": "out/bags/strong", "weak": "out/bags/weak"}),
        (TWO_SETS + "[extract.variant.other]\n", {"strong": "out/bags", "weak": "weak"}),
        (TWO_SETS[: TWO_SETS.index("[aggregate.bags.strong]")], {"bags": "out/bags"}),
    ],
    ids=["variants of stage 1", "a table of bag sets goes first", "one bag set"],
)
def test_the_bag_sets_are_those_of_the_configuration_else_the_variants(
    experiment_folder, tmp_path, text, folders
):
    models = "[aggregate.model.m]\nkind = 'mean_pooling'\n"
    config = load_config(experiment_folder(text + models), AggregateConfig)
    assert config.bag_folders == {name: tmp_path / folder for name, folder in folders.items()}


def test_whom_stage_1_left_out_of_one_variant_is_told_with_its_reason(experiment_folder, tmp_path):
    experiment_folder("")
    bags = tmp_path / "out" / "bags"
    for name in ("strong", "weak"):
        shutil.copytree(bags, tmp_path / "v" / name)
    (tmp_path / "v" / "weak" / "p004.h5").unlink()
    left_out = Exclusion("p004", "", "extract", "no phase could be used")
    write_exclusions_of_variants(tmp_path / "v", {"strong": [], "weak": [left_out]}, ["strong", "weak"])
    sets = {name: tmp_path / "v" / name for name in ("strong", "weak")}
    patients = Patients.read(sets, cohort=tmp_path / "cohort.csv")
    (told,) = (e for e in patients.exclusions if e.patient_id == "p004" and e.stage == "extract")
    assert told.reason.startswith("no phase could be used")
    assert "weak" in told.reason


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
    rows = read_table(tmp_path / "out" / "tables" / "performance.csv")
    auc = {r["model"]: float(r["estimate"]) for r in rows if (r["class"], r["metric"]) == ("macro", "auc")}
    assert auc["of_strong"] > 0.75 > auc["of_weak"]
    predictions = read_table(tmp_path / "out" / "tables" / "predictions.csv")
    fold = {(r["patient_id"], r["model"]): r["fold"] for r in predictions}
    assert all(fold[p, "of_strong"] == fold[p, "of_weak"] for p, _ in fold)
    weights = {r["weights"] for r in rows}
    assert weights == {"RANDOM WEIGHTS (strong: random:0; weak: random:0)"}


def test_a_patient_without_a_bag_in_a_set_is_predicted_and_told(two_sets, tmp_path):
    output = command("plan", two_sets)
    assert "model of_weak: sees nothing of 2 patients, such as p004" in output
    command("run", two_sets)
    told = [
        r for r in read_table(tmp_path / "out" / "tables" / "excluded.csv") if r["stage"] == "model of_weak"
    ]
    assert [r["patient_id"] for r in told] == ["p004", "p009"]
    rows = read_table(tmp_path / "out" / "tables" / "predictions.csv")
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
    rows = read_table(tmp_path / "out" / "tables" / "attention.csv")
    assert {r["model"] for r in rows} == {"of_weak"}
    assert not {r["patient_id"] for r in rows} & {"p004", "p009"}
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert set(record["bags"]) == set(record["recipes"]) == {"strong", "weak"}
    before = contents(tmp_path / "out")
    command("tables", tmp_path / "out")
    assert contents(tmp_path / "out")["tables/performance.csv"] == before["tables/performance.csv"]


def test_a_bag_set_that_is_not_there_is_named_before_training(two_sets):
    with pytest.raises(
        ConfigError, match=r"aggregate\.model\.of_weak: no bag set 'weka'; nearest valid name: 'weak'"
    ):
        command("plan", two_sets, 'model.of_weak.bags="weka"')


def without_phase(folder, patient_id, phase):
    """Take a phase out of a bag, as if it had not been scanned."""
    bag = read_bag(folder / f"{patient_id}.h5")
    left = [name for name in bag.header.phases_present if name != phase]
    sources = {name: bag.header.sources[name] for name in left}
    missing = {**bag.header.phases_missing, phase: "no scan"}
    header = replace(bag.header, sources=sources, phases_missing=missing)
    write_bag(folder, replace(bag.in_phases(left), header=header))


def test_a_run_is_explained_though_a_model_sees_nothing_of_the_first_patient(experiment_folder, tmp_path):
    toml = experiment_folder(
        QUICK + '[aggregate.model.late]\nkind = "attention_mil"\nphases = ["DP"]\nepochs = 2\n'
    )
    without_phase(tmp_path / "out" / "bags", "p000", "DP")
    command("run", toml, "explain=true", "retrain_phases=true")
    rows = read_table(tmp_path / "out" / "tables" / "attention.csv")
    assert {row["phase"] for row in rows} == {"DP"}
    assert "p000" not in {row["patient_id"] for row in rows}
    methods = {row["method"] for row in read_table(tmp_path / "out" / "tables" / "phase_value.csv")}
    assert methods == {"masking", "retraining"}
    page = (tmp_path / "out" / "report.html").read_text()
    assert "60 patients analysed; 0 patients and" in page


def test_a_class_that_a_model_never_sees_stops_the_plan(experiment_folder, tmp_path):
    toml = experiment_folder(TWO_SETS)
    (tmp_path / "weak").mkdir()
    for i, path in enumerate(list_bags(tmp_path / "out" / "bags").values()):
        if i % 3 != 2:
            write_bag(tmp_path / "weak", read_bag(path))
    with pytest.raises(
        FoldError, match="model of_weak: repeat 0, fold 0: no training patient of class cHCC-CCA has a bag"
    ):
        command("plan", toml)


def test_histology_stands_beside_ct(experiment_folder, tmp_path):
    """Bags without spacing and sources: a patient may have these alone."""
    toml = experiment_folder(TWO_SETS)
    rng = np.random.default_rng(1)
    (tmp_path / "weak").mkdir()
    paths = list_bags(tmp_path / "out" / "bags")
    for i, path in enumerate(paths.values()):
        label = i % 3
        features = rng.normal(size=(6, 4)).astype(np.float32) + 3 * np.eye(4, dtype=np.float32)[label]
        made = Patients.from_arrays(features, np.zeros(6, dtype=int), ["x"], patient_ids=[path.stem])
        bag = made[0].bags["bags"]
        write_bag(
            tmp_path / "weak",
            replace(bag, header=replace(bag.header, modality="histology", content_key=path.stem)),
        )
    paths["p004"].unlink()
    command("run", toml)
    rows = read_table(tmp_path / "out" / "tables" / "performance.csv")
    auc = {r["model"]: float(r["estimate"]) for r in rows if (r["class"], r["metric"]) == ("macro", "auc")}
    assert auc["of_weak"] > 0.95
    (row,) = [r for r in read_table(tmp_path / "out" / "tables" / "cohort.csv") if r["patient_id"] == "p004"]
    assert row["tumour_volume_ml"] == ""
