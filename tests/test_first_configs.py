"""`init` of both stages: a configuration that fits the cohort at hand, and that both stages accept."""

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

from aggregate.cohort.study_cohort import load_study
from aggregate.commands import application as stage_2
from aggregate.config import AggregateConfig
from aggregate.planning.plan import load_aggregate_config
from extract.commands import application as stage_1
from extract.config import ExtractConfig
from extract.variants import load_experiment
from pipeline.config import load_config
from pipeline.errors import CohortError, ConfigError
from pipeline.tables import write_table

COLUMNS = "patient_id,phase,image,mask,label,centre,age,sex,note,hospital_number\n"


def put_table(folder, *rows: str, header: str = COLUMNS):
    path = folder / "cohort.csv"
    path.write_text(header + "".join(f"{row}\n" for row in rows), encoding="utf-8")
    return path


def cohort(folder):
    """Six patients of two classes and two centres; masks on the portal venous phase only, spellings of two kinds."""
    rows = []
    for i in range(6):
        label, centre = ("HCC" if i < 4 else "ICC"), ("A" if i % 2 else "B")
        for phase, mask in (("art", ""), ("PVP", f"m{i}.nii.gz")):
            rows.append(
                f"P{i},{phase},{i}{phase}.nii.gz,{mask},{label},{centre},{50 + i},{'MF'[i % 2]},same,{i}-x{i}"
            )
    return put_table(folder, *rows)


def init(*words: object, stage=stage_1) -> str:
    return CliRunner().invoke(stage, ["init", *map(str, words)], catch_exceptions=False).output


def test_it_holds_what_the_table_holds(tmp_path):
    out = tmp_path / "my.toml"
    init(cohort(tmp_path), "--out", out)
    config = load_config(out, ExtractConfig)
    assert (config.name, config.cohort.table, config.output) == (
        "my",
        tmp_path / "cohort.csv",
        tmp_path / "results" / "my",
    )
    assert (config.cohort.phases, config.cohort.classes) == (("AP", "PVP"), ("HCC", "iCCA"))
    assert config.extract.masks.propagate_from == ("PVP",)
    text = out.read_text(encoding="utf-8")
    assert "# patients: AP 6, PVP 6" in text
    assert "# phase 'art' read as AP (6 rows)" in text
    assert "# centres: B 3, A 3" in text
    assert "patients with a mask: PVP 6; scans without: AP 6" in text


def test_masks_stay_on_their_phase_where_headers_do_not_say_where_scans_lie(tmp_path):
    table = cohort(tmp_path)
    head, *rows = table.read_text(encoding="utf-8").splitlines()
    table.write_text("\n".join([f"{head},flip_z", *(f"{row},yes" for row in rows)]) + "\n", encoding="utf-8")
    out = tmp_path / "my.toml"
    init(table, "--out", out)
    assert load_config(out, ExtractConfig).extract.masks.propagate_from == ()
    assert "# The table corrects the headers of 12 scans" in out.read_text(encoding="utf-8")


def test_both_stages_accept_it(tmp_path):
    out = tmp_path / "my.toml"
    init(cohort(tmp_path), "--out", out)
    assert load_experiment(out, ()).config.extract.regions == ("whole", "lesion", "rim")
    stage_2_of = load_aggregate_config(out, ())
    assert stage_2_of.aggregate.splits.folds == 2
    assert set(stage_2_of.aggregate.model) == {"image", "mean_pooling", "measures"}


def test_covariates_are_columns_that_tell_something(tmp_path):
    out = tmp_path / "my.toml"
    init(cohort(tmp_path), "--out", out)
    assert load_config(out, AggregateConfig).aggregate.covariates == ("age", "sex")
    assert "left out: note: one value for all; hospital_number: " in out.read_text(encoding="utf-8")


def test_it_says_the_next_command(tmp_path):
    assert "extract.py check" in init(cohort(tmp_path), "--out", tmp_path / "my.toml")


def test_it_overwrites_nothing(tmp_path):
    (tmp_path / "my.toml").write_text("# mine\n")
    with pytest.raises(ConfigError, match="exists already"):
        init(cohort(tmp_path), "--out", tmp_path / "my.toml")
    assert (tmp_path / "my.toml").read_text() == "# mine\n"


def test_an_ambiguous_spelling_is_asked_and_the_answer_written(tmp_path):
    table = put_table(
        tmp_path,
        "P1,P,a.nii.gz,m.nii.gz,CHC",
        "P2,C1,b.nii.gz,m.nii.gz,ICC",
        header="patient_id,phase,image,mask,label\n",
    )
    with pytest.raises(ConfigError, match="phase 'P' is ambiguous") as asked:
        init(table, "--out", tmp_path / "my.toml")
    assert "label 'CHC' is ambiguous" in str(asked.value)
    init(table, "--out", tmp_path / "my.toml", "--phase", "P=NC", "--class", "CHC=HCC")
    config = load_config(tmp_path / "my.toml", ExtractConfig)
    assert (config.cohort.phase_aliases, config.cohort.label_aliases) == ({"P": "NC"}, {"CHC": "HCC"})


def test_phases_and_classes_of_another_disease_are_taken_as_they_are(tmp_path):
    rows = (
        "P1,corticomedullary,a.nii.gz,m.nii.gz,clear cell",
        "P2,corticomedullary,b.nii.gz,m.nii.gz,papillary",
    )
    out = tmp_path / "kidney.toml"
    init(put_table(tmp_path, *rows, header="patient_id,phase,image,mask,label\n"), "--out", out)
    config = load_config(out, ExtractConfig)
    assert (config.cohort.phases, config.cohort.classes) == (
        ("corticomedullary",),
        ("clear cell", "papillary"),
    )
    assert "which of corticomedullary is non_contrast, arterial, portal, delayed?" in out.read_text()


def test_a_proposed_phase_is_no_phase(tmp_path):
    rows = ("P1,AP,a.nii.gz,m.nii.gz,HCC", "P2,AP?,b.nii.gz,m.nii.gz,ICC", "P2,PVP,c.nii.gz,m.nii.gz,ICC")
    out = tmp_path / "my.toml"
    init(put_table(tmp_path, *rows, header="patient_id,phase,image,mask,label\n"), "--out", out)
    assert load_config(out, ExtractConfig).cohort.phases == ("AP", "PVP")
    assert "1 row with a proposed phase, such as AP?" in out.read_text()


def test_controls_without_a_mask_are_no_class_where_others_have_one(tmp_path):
    rows = ("P1,AP,a.nii.gz,m.nii.gz,HCC", "P2,AP,b.nii.gz,m.nii.gz,ICC", "P3,AP,c.nii.gz,,CN")
    out = tmp_path / "my.toml"
    told = init(put_table(tmp_path, *rows, header="patient_id,phase,image,mask,label\n"), "--out", out)
    assert load_config(out, ExtractConfig).cohort.classes == ("HCC", "iCCA")
    assert "# left out of the classes, as no patient of them has a mask of a tumour: CN 1" in out.read_text()
    assert "CN 1" in told


def test_a_cohort_without_masks_of_tumours_takes_slices_of_the_organ(tmp_path):
    rows = ("P1,AP,a.nii.gz,,HCC,l.nii.gz", "P2,AP,b.nii.gz,,ICC,l.nii.gz")
    out = tmp_path / "my.toml"
    init(put_table(tmp_path, *rows, header="patient_id,phase,image,mask,label,liver_mask\n"), "--out", out)
    assert load_config(out, ExtractConfig).extract.slices.which == "organ"
    assert load_config(out, AggregateConfig).aggregate.model["mean_pooling"].parameters == {
        "features": ["whole"]
    }


def report_of(folder, table: str) -> None:
    """Write a report of an import that says which label is the organ."""
    columns = ("patient_id", "phase", "file", "decision", "what", "how", "from")
    source = "the description of the data set"
    rows = (
        {"file": table, "decision": "used", "what": "the cohort table of this report"},
        {"decision": "to set", "what": "extract.masks.labels.organ=[5]", "from": source},
    )
    write_table(folder / "import_report.csv", columns, [dict.fromkeys(columns, "") | row for row in rows])


def test_what_the_import_found_out_is_taken_from_its_report(tmp_path):
    report_of(tmp_path, "cohort.csv")
    out = tmp_path / "my.toml"
    init(cohort(tmp_path), "--out", out)
    assert load_config(out, ExtractConfig).extract.masks.labels.organ == (5,)
    assert "import_report.csv: the description of the data set" in out.read_text()


def test_the_report_of_another_table_is_left_alone(tmp_path):
    report_of(tmp_path, "other.csv")
    init(cohort(tmp_path), "--out", tmp_path / "my.toml")
    assert load_config(tmp_path / "my.toml", ExtractConfig).extract.masks.labels.organ == ()


def test_an_empty_table_is_refused(tmp_path):
    with pytest.raises(CohortError, match="at least one"):
        init(put_table(tmp_path), "--out", tmp_path / "my.toml")


def test_stage_2_writes_one_for_bags_that_lie_there(experiment_folder, tmp_path):
    experiment_folder("")
    out = tmp_path / "bags.toml"
    told = init(tmp_path / "out" / "bags", tmp_path / "cohort.csv", "--out", out, stage=stage_2)
    assert "aggregate.py plan" in told
    config = load_config(out, AggregateConfig)
    assert config.bag_folders == {"bags": tmp_path / "out" / "bags"}
    assert set(config.aggregate.model) == {"image", "mean_pooling"}
    planned = CliRunner().invoke(stage_2, ["plan", str(out)], catch_exceptions=False)
    assert planned.exit_code == 0, planned.output


def test_the_help_of_every_step_names_the_next():
    steps = {"import": "init", "init": "check", "check": "run", "run": "plan"}
    for step, following in steps.items():
        text = " ".join(CliRunner().invoke(stage_1, [step, "--help"]).output.replace("│", " ").split())
        assert "Next:" in text, step
        assert following in text.partition("Next:")[2][:40], step
    assert "In this order" in CliRunner().invoke(stage_1, ["--help"]).output


@pytest.mark.parametrize("named_by", ["files", "a table"])
def test_files_of_another_program_and_a_table_of_labels_are_enough(tmp_path, rng, named_by):
    """From two columns and half-precision features without places to a plan that stage 2 accepts."""
    names = [f"q{i}" for i in range(8)]
    prefix = "" if named_by == "files" else "slide_"
    (tmp_path / "uni.v1").mkdir()
    for name in names:
        with h5py.File(tmp_path / "uni.v1" / f"{prefix}{name}.h5", "w") as file:
            file["features"] = rng.normal(size=(3, 5)).astype(np.float16)
    put = "".join(f"{name},{'HCC' if i % 2 else 'ICC'}\n" for i, name in enumerate(names))
    table = put_table(tmp_path, *put.splitlines(), header="patient_id,label\n")
    words = ["uni.v1", table, "--out", tmp_path / "he.toml", "--format", "trident"]
    if prefix:
        lines = "".join(f"{name},{prefix}{name}.h5\n" for name in names)
        (tmp_path / "slides.csv").write_text("PATIENT,FILENAME\n" + lines)
        words += ["--slides", tmp_path / "slides.csv"]
    words[0] = tmp_path / "uni.v1"
    assert "classes HCC 4, iCCA 4" in init(*words, stage=stage_2)
    config = load_aggregate_config(tmp_path / "he.toml", ())
    study = load_study(config)
    assert study.patients.patient_ids == tuple(names)
    assert study.phase_names == ("-",)
    assert set(study.patients.labels.tolist()) == {"HCC", "iCCA"}
    assert config.aggregate.model["image"].parameters == {"model": "attention_mil"}
    assert "phases" not in (tmp_path / "he.toml").read_text().partition("[aggregate]")[0]


def test_slides_without_a_format_are_asked_about(tmp_path):
    table = put_table(tmp_path, "P1,HCC", header="patient_id,label\n")
    with pytest.raises(ConfigError, match="--slides: expected also --format"):
        init(tmp_path, table, "--out", tmp_path / "a.toml", "--slides", table, stage=stage_2)


def test_stage_1_needs_columns_of_scans(tmp_path):
    table = put_table(tmp_path, "P1,HCC", "P2,ICC", header="patient_id,label\n")
    with pytest.raises(CohortError, match="phase"):
        init(table, "--out", tmp_path / "a.toml")
