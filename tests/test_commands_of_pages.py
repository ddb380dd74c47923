"""Every command of the README and of docs/, run as a reader runs it; only cohort, folds and resamples are made fewer."""

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import pytest
from typer.testing import CliRunner

from extract.commands import application as stage_1
from pipeline.bags import read_bag
from pipeline.errors import PackageError
from pipeline.tables import read_table
from tests.extract.conftest import draw_scan
from tests.extract.dicom.scanner import write_segmentation, write_series
from tests.extract.importers.trees import (
    Tree,
    put_boxes,
    put_mct_ltdiag,
    put_nnunet,
    put_plc_cect,
    put_totalsegmentator,
    put_waw_tace,
)
from tests.messy_hospital import write_hospital
from tests.page_commands import ROOT, blocks_of, commands_of, made_smaller, run, write_configurations

DOCS = ROOT / "docs"
README, TUTORIAL, HOW_TO = ROOT / "README.md", DOCS / "tutorial.md", DOCS / "how_to"
OF_OTHER_TESTS = {DOCS / "encoders.md", DOCS / "own_aggregator.md"}
"""Pages that tests/test_docs.py runs."""
PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


class Reader:
    """Somebody who follows the pages in one folder; a command that was run before is not run again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.done: set[str] = set()

    def follow(self, page: Path) -> None:
        """Write the configurations of a page, and run its commands in their order."""
        with contextlib.chdir(self.folder):
            write_configurations(page)
            for command in commands_of(page):
                if command not in self.done:
                    run(command)
                    self.done.add(command)

    def follow_slow(self, page: Path) -> None:
        """Run the commands of the slow blocks of a page in their order."""
        lines = [line for block in blocks_of(page, "sh") if block.is_slow for line in block.text.splitlines()]
        with contextlib.chdir(self.folder):
            for command in (line.partition(" #")[0].strip() for line in lines):
                if command not in self.done:
                    run(command)
                    self.done.add(command)

    def run_script(self, text: str, *, within_s: int = 900, **variables: str) -> str:
        """Run a slow block as a shell runs it."""
        # What runs in the background would keep this process waiting for its output if a command before the end failed.
        head = "set -e -m\ntrap 'kill $(jobs -p) 2> /dev/null || true' EXIT\n"
        script = head + "\n".join(map(made_smaller_line, text.splitlines()))
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            env={**os.environ, "PATH": PATH, "PYTHONPATH": str(ROOT), **variables},
            capture_output=True,
            text=True,
            check=False,
            timeout=within_s,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def table(self, experiment: str, name: str) -> list[dict[str, str]]:
        """Read a table of an experiment's results."""
        (path,) = (self.folder / "results" / experiment).rglob(name)
        return [dict(row) for row in read_table(path)]


def made_smaller_line(line: str) -> str:
    """Return a line of a script as a test runs it."""
    return made_smaller(line) if line.startswith("python ") else line


def configurations(reader: Reader) -> int:
    """Count the rows of the study's leaderboard that are no baselines."""
    return sum("/" in row["model"] for row in reader.table("demo_study", "leaderboard.csv"))


@pytest.fixture(scope="module")
def reader(tmp_path_factory) -> Reader:
    """A reader in a folder as the repository's, with the tiny phantom under the names of the demonstration and of the own cohort."""
    folder = tmp_path_factory.mktemp("pages")
    shutil.copytree(ROOT / "configs", folder / "configs")
    for name in ("extract", "extract.py", "aggregate.py"):
        (folder / name).symlink_to(ROOT / name)
    reader = Reader(folder)
    with contextlib.chdir(folder):
        run("python extract.py phantom configs/demo.toml")
    drawn = (folder / "results" / "demo" / "cohort" / "cohort.csv").read_text(encoding="utf-8")
    seen_from_above = re.sub(r",([^,\s]*\.nii\.gz)", r",results/demo/cohort/\1", drawn)
    (folder / "my_cohort.csv").write_text(seen_from_above, encoding="utf-8")
    return reader


@pytest.fixture(scope="module")
def with_own_cohort(reader) -> Reader:
    """The reader after the commands of the README."""
    reader.follow(README)
    return reader


@pytest.fixture(scope="module")
def with_demo(reader) -> Reader:
    """The reader after the tutorial."""
    reader.follow(TUTORIAL)
    return reader


def test_every_page_with_commands_is_followed_by_a_test():
    pages = {page for page in [README, *DOCS.rglob("*.md")] if blocks_of(page, "sh")}
    assert pages == {README, TUTORIAL, *HOW_TO.glob("*.md")} | OF_OTHER_TESTS


@pytest.mark.slow
def test_the_tutorial_leads_from_scans_to_a_study(with_demo):
    models = {row["model"] for row in with_demo.table("demo", "performance.csv")}
    assert {"phase_concat", "attention", "mean_pooling", "measures", "fused", "majority"} <= models
    assert configurations(with_demo) == 8
    assert len(list((with_demo.folder / "results" / "demo").rglob("overlays/*PH001*"))) > 0


def test_the_readme_leads_to_the_tables_of_an_own_cohort(with_own_cohort):
    models = {row["model"] for row in with_own_cohort.table("my_cohort", "performance.csv")}
    assert {"image", "mean_pooling", "measures", "majority"} <= models


@pytest.mark.slow
def test_the_second_half_of_the_readme_leads_from_one_hospital_to_another(with_own_cohort):
    """Train on centre A, freeze, predict on centre B, report; a bag or a package that was tampered with is refused by name."""
    folder = with_own_cohort.folder
    with_own_cohort.follow_slow(README)
    external = with_own_cohort.table("nord", "external_drop.csv")
    assert "auc" in {row["metric"] for row in external}
    assert "second_centre" not in (folder / "results" / "nord" / "report.html").read_text(encoding="utf-8")
    bags = folder / "results" / "second_centre" / "bags"
    path = sorted(bags.glob("*.h5"))[0]
    with h5py.File(path, "r+") as file:
        file["features"][0, 0] += 1
    cohort = "results/second_centre/cohort/cohort.csv"
    asked = f"python aggregate.py predict packages/fused results/second_centre/bags --cohort {cohort} --out results/again"
    with contextlib.chdir(folder):
        run(asked)
    again = folder / "results" / "again"
    reasons = {row["patient_id"]: row["reason"] for row in read_table(again / "excluded.csv")}
    assert "the bag was changed after it was written" in reasons[path.stem]
    assert path.stem not in {row["patient_id"] for row in read_table(again / "predictions.csv")}
    card = folder / "packages" / "fused" / "MODEL_CARD.md"
    card.write_text(card.read_text(encoding="utf-8") + "approved for patients", encoding="utf-8")
    with contextlib.chdir(folder), pytest.raises(PackageError, match=r"MODEL_CARD\.md"):
        run(asked)


@pytest.mark.slow
def test_the_page_on_an_own_cohort_is_followed(with_own_cohort):
    with_own_cohort.follow(HOW_TO / "own_cohort.md")


def test_the_page_on_dicom_leads_from_an_export_to_scans_that_stage_1_can_use(reader):
    (reader.folder / "labels.csv").write_text("id,diagnosis\n")
    for i, (patient, label) in enumerate((("0815", "HCC"), ("4711", "ICC"))):
        hu, tumour = draw_scan(i)
        series = {"patient": patient, "study": patient, "SeriesDescription": "Liver arterial 3.0"}
        images = write_series(reader.folder / "export" / patient, hu, **series)
        write_segmentation(
            reader.folder / "export" / patient / "seg", images, {"Tumor 1": tumour, "Liver": tumour}
        )
        with (reader.folder / "labels.csv").open("a") as stream:
            stream.write(f"{patient},{label}\n")
    reader.follow(HOW_TO / "dicom.md")
    rows = read_table(reader.folder / "cases" / "cohort.csv")
    assert [(row["phase"], row["label"], bool(row["mask"])) for row in rows] == [
        ("AP", "HCC", True),
        ("AP", "iCCA", True),
    ]


def test_the_page_on_a_machine_without_internet_is_followed(reader):
    reader.follow(HOW_TO / "secured_machine.md")


@pytest.mark.slow
def test_ten_patients_of_a_hospital_come_to_a_report_in_five_commands(reader):
    """And the folders of the data sets on the same page to their cohort tables."""
    folder = reader.folder
    cohort = folder / "results" / "demo" / "cohort" / "cohort.csv"
    write_hospital(folder / "hospital", folder / "labels.xlsx", cohort)
    put_plc_cect(Tree(folder / "plc_cect"))
    scans = ("P0001,P", "P0001,C1", "P0002,C2", "P0003,C1")
    text = "".join(f"{scan},0.8,0.8,5\n" for scan in scans)
    (folder / "spacings.csv").write_text("patient_id,phase,spacing_x,spacing_y,spacing_z\n" + text)
    put_mct_ltdiag(Tree(folder / "mct_ltdiag"))
    put_waw_tace(Tree(folder / "waw_tace"))
    put_nnunet(
        Tree(folder / "Dataset001"), {"0": "art", "1": "portal"}, {"background": 0, "liver": 1, "tumor": 2}
    )
    put_totalsegmentator(Tree(folder / "segmented"))
    put_boxes(Tree(folder / "boxes"))
    reader.follow(HOW_TO / "import.md")
    assert {row["n"] for row in reader.table("hospital", "performance.csv") if row["model"] == "image"} == {
        "10"
    }
    assert (folder / "results" / "hospital" / "report.html").is_file()


@pytest.mark.slow
def test_bags_go_out_to_other_programs_and_come_back_as_theirs(with_own_cohort):
    with_own_cohort.follow(HOW_TO / "export.md")
    patients = {row["patient_id"] for row in with_own_cohort.table("my_cohort", "predictions.csv")}
    back = with_own_cohort.table("from_clam", "predictions.csv")
    assert {row["patient_id"] for row in back if row["model"] == "image"} == patients


@pytest.mark.slow
def test_a_frozen_model_meets_a_second_centre_and_each_centre_the_models_of_the_others(with_own_cohort):
    page, folder = HOW_TO / "new_centre.md", with_own_cohort.folder
    with contextlib.chdir(folder):
        run("python extract.py phantom configs/second_centre.toml")
        for block in blocks_of(page, "python"):
            exec(compile(block.text, page.name, "exec"), {})
    with_own_cohort.follow(page)
    nord = folder / "results" / "nord_recalibrated"
    used = {
        row["patient_id"] for row in read_table(nord / "recalibrated.csv") if row["recalibrated_on"] == "yes"
    }
    assert used == {row["patient_id"] for row in read_table(folder / "few.csv")}
    assert {int(row["n"]) for row in read_table(nord / "recalibration.csv")} == {21 - len(used)}
    (thickness,) = (
        row
        for row in read_table(nord / "domain_shift_centres.csv")
        if row["quantity"] == "slice_thickness_mm"
    )
    assert (thickness["centre"], thickness["here"]) == ("Nord", "3.000000")
    assert thickness["n_outside"] == thickness["n"] == "21"
    assert "Recalibration" in (nord / "report.html").read_text(encoding="utf-8")
    centre_of = {row["patient_id"]: row["centre"] for row in with_own_cohort.table("my_cohort", "cohort.csv")}
    tested = {row["patient_id"] for row in with_own_cohort.table("my_centres", "predictions.csv")}
    assert tested == {patient_id for patient_id, centre in centre_of.items() if centre == "B"}


@pytest.mark.slow
def test_a_model_goes_to_another_hospital_as_a_package(with_own_cohort):
    folder, page = with_own_cohort.folder, HOW_TO / "package.md"
    shutil.copy(folder / "my_cohort.csv", folder / "hospital_b.csv")
    with_own_cohort.follow(page)
    (ask,) = blocks_of(page, "python")
    with contextlib.chdir(folder):
        exec(compile(ask.text, page.name, "exec"), {})
    predicted = read_table(folder / "results" / "hospital_b_predicted" / "predictions.csv")
    assert {row["patient_id"] for row in predicted} == {
        row["patient_id"] for row in read_table(folder / "hospital_b.csv")
    }
    assert (folder / "results" / "hospital_b_predicted" / "report.html").is_file()


def test_a_package_is_asked_about_one_patient(with_own_cohort):
    folder, page = with_own_cohort.folder, HOW_TO / "one_patient.md"
    (folder / "scans").mkdir()
    for kind, ending in (("images", ""), ("masks", "_tumour"), ("livers", "_liver")):
        for path in (folder / "results" / "demo" / "cohort" / kind).glob("PH002_*.nii.gz"):
            phase = path.name.split("_")[1].split(".")[0]
            shutil.copy(path, folder / "scans" / f"{phase}{ending}.nii.gz")
    with_own_cohort.follow(page)
    assert "Case 7" in (folder / "case_7.html").read_text(encoding="utf-8")
    assert "no NC scan" in (folder / "two_phases.html").read_text(encoding="utf-8")
    (ask,) = blocks_of(page, "python")
    with contextlib.chdir(folder):
        exec(compile(ask.text, page.name, "exec"), {})


@pytest.mark.slow
def test_the_page_on_biopsies_leads_to_the_table_of_both(reader):
    reader.follow(HOW_TO / "biopsy.md")
    ways = {row["way"] for row in reader.table("biopsy", "fusion.csv")}
    assert ways == {"imaging alone", "biopsy alone", "either positive", "both agree", "late", "intermediate"}


@pytest.mark.slow
def test_the_page_on_prognosis_tells_the_c_index_of_models_beside_that_of_the_drawn_risk(reader):
    pytest.importorskip("sksurv")
    drawn = "python extract.py phantom configs/survival.toml"
    with contextlib.chdir(
        reader.folder
    ):  # more than the tiny cohort, of which nobody is left after two years
        words = [*shlex.split(drawn)[2:], "preset=tiny", "patients={HCC=14,iCCA=14,cHCC-CCA=8}"]
        assert CliRunner().invoke(stage_1, words, catch_exceptions=False).exit_code == 0
    reader.done.add(drawn)
    reader.follow(HOW_TO / "prognosis.md")
    rows = [row for row in reader.table("survival", "outcome_performance.csv") if row["metric"] == "uno_c"]
    c_index = {row["model"]: float(row["estimate"]) for row in rows}
    assert {"cox_measures", "attention", "tumour_size", "drawn_truth"} <= set(c_index)
    assert c_index["kaplan_meier"] == 0.5
    assert c_index["drawn_truth"] > 0.65
    report = (reader.folder / "results" / "survival" / "report.html").read_text(encoding="utf-8")
    assert "what they were drawn from reaches" in report
    for name in ("grade", "number"):
        assert "drawn_truth" in {row["model"] for row in reader.table(name, "outcome_performance.csv")}


@pytest.mark.slow
def test_the_page_on_radiomics_is_followed(reader):
    pytest.importorskip("mirp")
    (commands,) = (block.text for block in blocks_of(HOW_TO / "radiomics.md", "sh"))
    printed = reader.run_script(commands)
    assert "of lesion, " in printed
    models = {row["model"] for row in reader.table("radiomics", "performance.csv")}
    assert {"image", "measures", "radiomics", "radiomics_xgboost", "stack"} <= models


@pytest.mark.slow
def test_the_long_steps_of_the_tutorial(with_demo):
    for block in blocks_of(TUTORIAL, "sh"):
        if block.is_slow:
            with_demo.run_script(f"{block.text.strip()}\n", within_s=3000)
    assert {row["n_permutations"] for row in with_demo.table("demo", "null_summary.csv")} == {"20"}


@pytest.mark.slow
def test_slabs_and_scales_go_through_both_stages(reader):
    (block,) = blocks_of(HOW_TO / "slabs.md", "sh")
    reader.run_script(block.text)
    rows = reader.table("slabs", "performance.csv")
    assert {"slice", "mean_slab", "video", "medicalnet"} <= {row["model"] for row in rows}
    bag = read_bag(next((reader.folder / "results" / "multiscale" / "bags" / "scales").glob("*.h5")))
    assert bag.header.scale_names == ("tight", "context", "whole", "slab")
    assert set(bag.extent_mm[bag.scale == 3]) == {20.0}


@pytest.mark.slow
def test_wheels_are_collected_and_installed_without_an_index(reader):
    """Those of phasemil alone: the others are gigabytes."""
    collect, install = (
        block.text for block in blocks_of(HOW_TO / "secured_machine.md", "sh") if block.is_slow
    )
    source = reader.folder / "source"
    source.mkdir()
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("pipeline", "extract", "aggregate"):
        shutil.copytree(ROOT / name, source / name)
    reader.run_script(collect.replace('".[dicom,encoders]"', "--no-deps ./source"))
    reader.run_script(install.replace('"phasemil[dicom,encoders]"', "--no-deps --target installed phasemil"))
    assert (reader.folder / "installed" / "extract" / "commands.py").is_file()


@pytest.mark.slow
def test_a_study_runs_on_a_cluster_by_hand_and_by_slurm(with_demo):
    """The commands of Slurm stand in for themselves: one node, on which everything runs."""
    pytest.importorskip("distributed")
    by_hand, slurm = (block.text for block in blocks_of(HOW_TO / "cluster.md", "sh"))
    results = with_demo.folder / "results" / "demo_study"
    for script in (by_hand, 'srun() { "$@"; }\nscancel() { kill %2 %1; }\n' + slurm):
        shutil.rmtree(results)
        with_demo.run_script(script, SLURM_CPUS_PER_TASK="1", SLURM_JOB_ID="1")
        assert configurations(with_demo) == 8
