"""Nothing of one patient is in a package, and nothing of a package can be changed without being told."""

import json
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from aggregate.package.loaded_package import load_package
from aggregate.package.package_files import KINDS_OF_FILES, RECORD
from pipeline.errors import PackageError
from tests.aggregate.conftest import command
from tests.aggregate.package.conftest import (
    N_TRAINING,
    new_bags,
    planted,
    seal_again,
    write_bags,
    write_training,
)
from tests.aggregate.package.conftest import RUN as CONFIG


class Payload:
    """What a pickle runs when it is read."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.place,)


def files(package: Path) -> list[Path]:
    return sorted(path for path in package.rglob("*") if path.is_file())


@pytest.mark.parametrize("model", ["mean", "with_age"])
@pytest.mark.parametrize("refit", ["folds", "all"])
def test_no_file_of_a_package_holds_anything_of_one_patient(run_once, tmp_path, model, refit):
    command("freeze", run_once, "--model", model, "--out", tmp_path / "package", "--refit", refit)
    secrets = [planted(i)[column] for i in range(N_TRAINING) for column in ("patient_id", "note", "age")]
    places = [str(run_once.parent), str(run_once.parent.parent), "experiment.toml"]
    for path in files(tmp_path / "package"):
        content = path.read_bytes()
        found = [secret for secret in (*secrets, *places) if secret.encode() in content]
        assert not found, path


def test_small_groups_are_not_counted(tmp_path):
    config = write_training(tmp_path, CONFIG)
    table = tmp_path / "cohort.csv"
    table.write_text(table.read_text().replace(",c0\n", ",rare\n", 3))
    command("run", config)
    command("freeze", tmp_path / "out", "--model", "mean", "--out", tmp_path / "package")
    cohort = json.loads((tmp_path / "package" / "training_cohort.json").read_text())
    assert cohort["centres"] == {"c0": 27, "c1": 30, "rare": "<5"}


def test_rare_words_of_a_covariate_leave_only_when_that_is_said(tmp_path):
    config = write_training(tmp_path, CONFIG)
    table = tmp_path / "cohort.csv"
    table.write_text(table.read_text().replace(",F,", ",odd,", 2))
    command("run", config)
    out = tmp_path / "package"
    with pytest.raises(
        PackageError, match="covariate 'sex': 1 of its words are those of fewer than 5 patients"
    ) as error:
        command("freeze", tmp_path / "out", "--model", "with_age", "--out", out)
    assert "odd" not in str(error.value)
    command("freeze", tmp_path / "out", "--model", "with_age", "--out", out, "--keep-rare-words")
    assert load_package(out).contract.covariates["sex"].words == ("F", "M", "odd")


def test_a_package_holds_no_kind_of_file_that_could_be_a_pickle(package):
    assert {path.suffix for path in files(package)} <= KINDS_OF_FILES


@pytest.mark.parametrize(
    "name",
    [
        "contract.json",
        "decisions.json",
        "calibration.json",
        "tables/performance.csv",
        "MODEL_CARD.md",
        "models/000/arrays.safetensors",
    ],
)
def test_a_changed_file_is_named_with_both_values(package, name):
    before = json.loads((package / RECORD).read_text())["files"][name]
    (package / name).write_bytes((package / name).read_bytes() + b" ")
    with pytest.raises(
        PackageError, match=rf"{re.escape(name)}: expected SHA-256 {before}, found SHA-256 [0-9a-f]{{64}}"
    ):
        load_package(package)


def test_a_missing_file_and_one_too_many_are_named(package):
    (package / "models" / "more.json").write_text("{}")
    with pytest.raises(PackageError, match=re.escape("models/more.json: expected no file beside those")):
        load_package(package)
    (package / "models" / "more.json").unlink()
    (package / "stage1.toml").unlink()
    with pytest.raises(PackageError, match=r"stage1\.toml: expected SHA-256 .* found no such file"):
        load_package(package)


def test_a_link_is_refused(package, tmp_path):
    (tmp_path / "elsewhere").write_bytes((package / "stage1.toml").read_bytes())
    (package / "stage1.toml").unlink()
    (package / "stage1.toml").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PackageError, match=r"stage1\.toml: expected a file of the package, found a link"):
        load_package(package)


def test_a_pickle_is_refused_and_not_run(package, tmp_path):
    ran = tmp_path / "ran"
    (package / "models" / "000" / "arrays.safetensors").write_bytes(pickle.dumps(Payload(ran)))
    seal_again(package)
    frozen = load_package(package)
    with pytest.raises(
        PackageError, match=r"models/000: expected a saved model, found: .*not the arrays of a saved model"
    ):
        frozen.predict(new_bags(1))
    assert not ran.exists()


def test_a_file_of_a_foreign_kind_is_refused_though_it_is_listed(package, tmp_path):
    (package / "models" / "more.pkl").write_bytes(pickle.dumps(Payload(tmp_path / "ran")))
    seal_again(package)
    with pytest.raises(PackageError, match=r"models/more\.pkl: expected a file of a kind that packages hold"):
        load_package(package)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["../outside.json", "/etc/passwd", "models/../../x.json", "a\\b.json"])
def test_a_path_out_of_the_package_is_refused(package, name):
    record = json.loads((package / RECORD).read_text())
    record["files"][name] = "0" * 64
    (package / RECORD).write_text(json.dumps(record))
    with pytest.raises(PackageError, match="is no path inside the package"):
        load_package(package)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "expected a folder that `aggregate.py freeze` wrote, found: "),
        ("[]", "expected phasemil-package version 1, found None version None"),
        (
            '{"format": "phasemil-package", "version": 9}',
            "expected phasemil-package version 1, found phasemil-package version 9",
        ),
        ('{"format": "phasemil-package", "version": 1}', "experiment: Field required"),
    ],
    ids=["no JSON", "no record", "version", "incomplete"],
)
def test_another_record_is_refused_by_name(package, text, told):
    (package / RECORD).write_text(text)
    with pytest.raises(PackageError, match=re.escape(told)):
        load_package(package)


def test_a_number_of_another_type_is_refused(package):
    path = package / "calibration.json"
    path.write_text(path.read_text().replace('"temperature": ', '"temperature": "1", "x": ', 1))
    seal_again(package)
    with pytest.raises(PackageError, match=re.escape("calibration.json")):
        load_package(package)


@pytest.mark.parametrize("number", ["0.0", "-1.0", "NaN", "Infinity"])
def test_a_temperature_that_is_none_is_refused(package, number):
    path = package / "calibration.json"
    path.write_text(re.sub(r'("temperature": ?)[\d.]+', rf"\g<1>{number}", path.read_text()))
    seal_again(package)
    with pytest.raises(PackageError, match=r"calibration\.json: temperature: "):
        load_package(package)


def test_models_that_say_no_probability_are_refused(package):
    for path in package.glob("models/*/arrays.safetensors"):
        arrays = load_file(path)
        numbers = {name: values * np.nan for name, values in arrays.items() if values.dtype.kind == "f"}
        save_file({**arrays, **numbers}, path)
    seal_again(package)
    with pytest.raises(PackageError, match="expected a probability of each class for patient new000, found"):
        load_package(package).predict(new_bags(1))


@pytest.mark.parametrize(
    "change", [lambda names: names[:2], lambda names: names[::-1]], ids=["fewer", "turned"]
)
def test_classes_that_are_not_those_of_the_thresholds_are_refused(package, change):
    content = json.loads((package / "contract.json").read_text())
    content["classes"] = change(content["classes"])
    (package / "contract.json").write_text(json.dumps(content))
    seal_again(package)
    with pytest.raises(PackageError, match=r"decisions\.json: expected thresholds of .*, found those of HCC"):
        load_package(package)


def test_models_of_more_classes_than_the_package_names_are_refused(package):
    for name, key in (("contract.json", "classes"), ("decisions.json", "thresholds")):
        content = json.loads((package / name).read_text())
        del content[key][list(content[key])[-1] if isinstance(content[key], dict) else -1]
        (package / name).write_text(json.dumps(content))
    seal_again(package)
    with pytest.raises(PackageError, match=r"expected a model of the 2 classes .* knows a class number 3"):
        load_package(package).predict(new_bags(1))


def test_predictions_of_a_changed_package_are_not_written(package, tmp_path):
    folder = write_bags(tmp_path / "bags", new_bags(2))
    (package / "decisions.json").write_text("{}")
    with pytest.raises(PackageError, match=r"decisions\.json"):
        command("predict", package, folder, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()
