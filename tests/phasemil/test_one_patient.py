"""`phasemil`: one patient in one call, with the numbers of the two stages."""

import csv
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from aggregate.commands import application as stage_2
from aggregate.package.loaded_package import load_package
from extract.commands import application as stage_1
from phasemil.commands import main
from phasemil.given_scans import GivenScans
from phasemil.one_patient import Question
from phasemil.one_patient import ask as ask_in_python
from phasemil.stage_1_of_package import MachineChoices
from pipeline.bags import bag_path, read_bag
from pipeline.errors import (
    BagError,
    CohortError,
    ConfigError,
    PackageError,
    ScanError,
    SeveralMistakesError,
    WeightsNotFoundError,
)
from tests.extract.conftest import Playground, save
from tests.extract.dicom.scanner import write_segmentation, write_series
from tests.phasemil.conftest import PHASES, ask, configuration, draw, run, write_patient, write_weights

QUIET = Console(quiet=True)


def two_stages(tmp_path: Path, package: Path, weights: Path, phases=PHASES) -> dict[str, str]:
    """Return the row of predictions.csv of the new patient, through a cohort table, bags and `predict`."""
    folder = tmp_path / "stages"
    write_patient(folder, phases)
    shutil.copy(weights, folder)
    ground = Playground(folder)
    for phase in phases:
        names = {"image": f"Miller_{phase}.nii.gz", "mask": f"Miller_{phase}_mask.nii.gz"}
        ground.add("patient", phase, label="", **names)
    run(stage_1, "run", ground.configure(configuration(weights, models="")))
    run(stage_2, "predict", package, ground.bags, "--out", folder / "predicted", "--coverage", 0.9)
    with (folder / "predicted" / "predictions.csv").open() as stream:
        (row,) = csv.DictReader(stream)
    return row


@pytest.mark.parametrize("model", ["mean", "attention"])
def test_it_says_what_the_two_stages_say_to_the_last_bit(tmp_path, freeze, weights, scans, model):
    package = freeze(model)
    row = two_stages(tmp_path, package, weights)
    found = ask(package, *scans, "--weights", weights, "--json").json
    assert {name: float(row[f"p_{name}"]) for name in found["probabilities"]} == found["probabilities"]
    assert (row["predicted"], row["prediction_set"]) == (
        found["predicted"],
        "+".join(found["prediction_set"]),
    )
    assert row["abstains"] == ("yes" if found["abstains"] else "no")

    given = GivenScans(scans=scans[1::4], masks=scans[3::4])
    machine = MachineChoices(weights=[str(weights)])
    one = ask_in_python(package, Question(given, machine=machine), console=QUIET)
    of_stage_1 = read_bag(bag_path(tmp_path / "stages" / "out" / "bags", "patient"))
    (in_memory,) = one.embedded.bags.values()
    np.testing.assert_array_equal(in_memory.features, of_stage_1.features)
    np.testing.assert_array_equal(in_memory.measures, of_stage_1.measures)
    frozen = load_package(package)
    np.testing.assert_array_equal(frozen.predict_proba(one.patients), frozen.predict_proba([of_stage_1]))


def test_a_missing_phase_is_told_with_how_many_training_patients_lacked_it(tmp_path, package, weights):
    found = ask(package, *write_patient(tmp_path / "scans", ["AP"]), "--weights", weights)
    assert "Phases missing: PVP." in found.out
    assert "Phases seen by the model: AP; <5 training patients had just these." in found.out
    assert "For research use only" in found.out


def test_a_combination_that_was_never_seen_is_told(tmp_path, package, weights):
    found = ask(package, *write_patient(tmp_path / "scans", ["PVP"]), "--weights", weights)
    assert "No training patient had just these: what the model says is untested." in found.out


@pytest.mark.parametrize(
    ("spelling", "told"),
    [
        ("XX", "--scan XX=x.nii.gz: unknown phase 'XX'"),
        ("P", "'P' is ambiguous (plain in some data sets, portal venous in others); the package has AP, PVP"),
        ("DP", "--scan DP=x.nii.gz: unknown phase 'DP'"),
    ],
)
def test_a_wrong_phase_is_refused_with_those_of_the_package(package, weights, spelling, told):
    with pytest.raises(ConfigError, match=re.escape(told)):
        ask(package, "--scan", f"{spelling}=x.nii.gz", "--weights", weights)


def test_a_known_spelling_of_a_phase_is_the_phase(tmp_path, package, weights, scans):
    spelled = [word.replace("PVP=", "portal=") for word in scans]
    answers = [ask(package, *words, "--weights", weights, "--json").json for words in (spelled, scans)]
    assert answers[0]["probabilities"] == answers[1]["probabilities"]


def test_weights_of_another_hash_are_refused_with_both_hashes(tmp_path, package, scans):
    other = write_weights(tmp_path / "own.safetensors", 1)
    trained_on = load_package(package).contract.bag_sets["bags"].weights_sha256
    with pytest.raises(BagError, match="name that file: --weights FILE") as error:
        ask(package, *scans, "--weights", other)
    first, second = re.findall(r"[0-9a-f]{64}", str(error.value))
    assert first != second == trained_on


def test_weights_that_are_not_here_are_asked_for(package, scans):
    with pytest.raises(WeightsNotFoundError, match="say where they lie: --weights FILE"):
        ask(package, *scans)


def test_a_scan_without_a_mask_is_refused_by_its_phase(package, weights, scans):
    with pytest.raises(CohortError, match=r"phase PVP: expected a mask of the tumour.*--mask PVP=") as error:
        ask(package, *scans[:6], "--weights", weights)
    assert "AP" not in str(error.value)


def test_a_mask_without_a_scan_and_a_file_that_is_not_there_are_told_together(package, weights, scans):
    with pytest.raises(SeveralMistakesError) as error:
        ask(package, *scans[:2], "--mask", "AP=nowhere.nii.gz", *scans[6:], "--weights", weights)
    assert "--mask AP=nowhere.nii.gz: no such file" in str(error.value)
    assert "--mask PVP=: there is no --scan of this phase" in str(error.value)


def test_one_scan_under_two_phases_is_refused(package, weights, scans):
    same = [word.replace("Miller_PVP", "Miller_AP") for word in scans]
    with pytest.raises((ScanError, SeveralMistakesError), match="the same pixels occur under phase"):
        ask(package, *same, "--weights", weights)


def test_a_scan_that_cannot_be_used_is_not_left_out_in_silence(tmp_path, package, weights, scans):
    empty = save(tmp_path / "empty.nii.gz", np.zeros((40, 36, 12), dtype=np.uint8))
    with pytest.raises(ScanError, match="phase PVP"):
        ask(package, *scans[:6], "--mask", f"PVP={empty}", "--weights", weights)


def test_several_masks_of_a_phase_are_its_lesions(tmp_path, package, weights, scans):
    _, mask = draw(900, 70)
    parts = [mask.copy(), mask.copy()]
    parts[0][:, :, 7:], parts[1][:, :, :7] = 0, 0
    words = scans[:2] + scans[4:]
    for i, part in enumerate(parts):
        words += ["--mask", f"AP={save(tmp_path / f'lesion{i}.nii.gz', part)}"]
    assert ask(package, *words, "--weights", weights, "--json").json["phases"] == ["AP", "PVP"]


def test_a_folder_of_nifti_is_read_by_the_words_of_its_names(tmp_path, package, weights, scans):
    by_folder = ask(package, tmp_path / "Miller", "--weights", weights, "--json")
    assert (
        by_folder.json["probabilities"]
        == ask(package, *scans, "--weights", weights, "--json").json["probabilities"]
    )
    assert "image of AP" in by_folder.err
    assert "guessed" in by_folder.err


def test_what_a_name_does_not_tell_is_asked(tmp_path, package, weights):
    folder = tmp_path / "Miller"
    write_patient(folder)
    for path in folder.glob("*PVP*"):
        path.rename(path.with_name(path.name.replace("PVP", "P")))
    with pytest.raises((CohortError, SeveralMistakesError), match=r"phase 'p' is ambiguous.*--phase .p=NAME"):
        ask(package, folder, "--weights", weights)
    found = ask(package, folder, "--weights", weights, "--phase", "P=PVP", "--json").json
    assert found["phases"] == ["AP", "PVP"]


def write_dicom(folder: Path) -> None:
    """Write the new patient as a scanner does, with the masks as segmentations."""
    for number, (phase, name) in enumerate(zip(PHASES, ("arterial", "portal venous"), strict=True)):
        hu, mask = draw(900 + number, 70 - 20 * number)
        tags = {"AcquisitionDate": "20200517", "AcquisitionTime": f"1200{20 + 30 * number}"}
        images = write_series(
            folder / phase,
            hu,
            patient="Miller",
            study="one",
            series=str(number),
            SeriesDescription=f"Liver {name} 3.0",
            **tags,
        )
        write_segmentation(folder / phase / "seg", images, {"Tumor": mask})


def test_dicom_and_nifti_of_one_patient_give_the_same_probabilities(tmp_path, package, weights, scans):
    write_dicom(tmp_path / "export")
    by_names = ask(package, *scans, "--weights", weights, "--json").json
    tumour = ("--setting", "tumour=Tumor", "--weights", weights, "--json")
    assert ask(package, tmp_path / "export", *tumour).json["probabilities"] == by_names["probabilities"]
    series = [word for phase in PHASES for word in ("--scan", f"{phase}={tmp_path / 'export' / phase}")]
    assert ask(package, *series, *tumour).json["probabilities"] == by_names["probabilities"]


def test_a_series_whose_phase_is_not_certain_is_asked_about(tmp_path, package, weights):
    hu, mask = draw(900, 70)
    images = write_series(tmp_path / "export", hu, patient="Miller", SeriesDescription="Abdomen late 3.0")
    write_segmentation(tmp_path / "export" / "seg", images, {"Tumor": mask})
    with pytest.raises(CohortError, match=r"its phase is not certain.*--scan PHASE=FOLDER") as error:
        ask(package, tmp_path / "export", "--setting", "tumour=Tumor", "--weights", weights)
    assert "Miller" not in str(error.value)


def test_two_patients_in_a_folder_are_refused(tmp_path, package, weights):
    for i, patient in enumerate(("one", "two")):
        write_series(
            tmp_path / "export" / patient,
            draw(900 + i, 70)[0],
            patient=patient,
            SeriesDescription="Liver arterial",
        )
    with pytest.raises(CohortError, match="expected the scans of one patient, found 2 patients"):
        ask(package, tmp_path / "export", "--weights", weights)


def test_columns_that_the_model_reads_are_asked_for_and_may_be_unknown(freeze, weights, scans):
    package = freeze("with_age")
    with pytest.raises(
        ConfigError, match="the model reads age, grade of the patient: say --covariate age=NUMBER"
    ):
        ask(package, *scans, "--weights", weights)
    with pytest.raises(ConfigError, match="--covariate aeg: nearest valid name: 'age'"):
        ask(package, *scans, "--weights", weights, "--covariate", "aeg=61")
    with pytest.raises(
        CohortError, match="column 'age': expected a number as of the training patients, found a category"
    ):
        ask(package, *scans, "--weights", weights, "--covariate", "age=old", "--covariate", "grade=1")
    found = ask(package, *scans, "--weights", weights, "--covariate", "age=", "--covariate", "grade=1")
    assert "Covariate age: missing (not known)." in found.out
    months = ask(package, *scans, "--weights", weights, "--covariate", "age=732", "--covariate", "grade=1")
    assert "age 732; 90 % of the training patients have 41 to 59" in months.out
    assert "Covariate grade" not in found.out  # 1 is a word of the training patients, whatever it looks like


def test_slices_by_height_need_no_mask_and_are_asked_for(tmp_path_factory, weights, scans):
    folder = tmp_path_factory.mktemp("by_height")
    ground = Playground(folder)
    shutil.copy(weights, folder)
    for i in range(12):
        ground.add(f"T{i:02}", "AP", label=("HCC", "iCCA")[i % 2], mask="")
    (folder / "z.csv").write_text(
        "patient_id,phase,z_from_mm,z_to_mm\n" + "".join(f"T{i:02},,0,15\n" for i in range(12))
    )
    slices = '[extract.slices]\nwhich = "z_ranges"\nz_ranges = "z.csv"'
    models = configuration(weights).partition("[aggregate]")[2].partition("[aggregate.model.attention]")[0]
    text = configuration(weights, slices=slices, models=f"[aggregate]{models}")
    config = ground.configure(f'classes = ["HCC", "iCCA"]\n{text}')
    run(stage_1, "run", config)
    run(stage_2, "run", config)
    run(stage_2, "freeze", folder / "out", "--model", "mean", "--out", folder / "package")
    words = (folder / "package", *scans[:2], "--weights", weights)
    with pytest.raises(ConfigError, match=r"takes slices by height.*--z-range FROM:TO"):
        ask(*words)
    found = ask(*words, "--z-range", "3:12", "--json").json
    assert [share["n_slices"] for share in found["phase_shares"]] == [4]
    assert set(found["measures"].values()) == {None}


def test_a_package_that_does_not_say_how_its_bags_were_made_is_refused(tmp_path, package, weights, scans):
    from tests.aggregate.package.conftest import seal_again  # noqa: PLC0415

    shutil.copytree(package, tmp_path / "package")
    (tmp_path / "package" / "stage1.toml").unlink()
    seal_again(tmp_path / "package")
    with pytest.raises(PackageError, match="does not say how its bags were made"):
        ask(tmp_path / "package", *scans, "--weights", weights)


def test_a_mistake_is_one_line_and_exit_code_2(tmp_path, package, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["phasemil", str(package)])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: expected the scans one by one (--scan PHASE=FILE), or a folder")


def test_nothing_is_left_behind(tmp_path, package, weights, scans, monkeypatch):
    write_dicom(tmp_path / "export")
    (tmp_path / "here").mkdir()
    (tmp_path / "scratch").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    ask(package, tmp_path / "export", "--setting", "tumour=Tumor", "--weights", weights)
    assert list((tmp_path / "here").iterdir()) == []
    assert list((tmp_path / "scratch").iterdir()) == []
