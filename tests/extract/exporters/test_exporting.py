"""Bags as the folders of other programs: read back by torchmil itself and by stage 2, and nothing lost in silence."""

import csv
import importlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from aggregate.cohort.slide_bags import slide_bag
from aggregate.cohort.slide_table import read_slide_table
from aggregate.models.torchmil_network import torchmil_class
from extract.commands import application
from pipeline.bags import Bag, BagHeader, FeatureBlock, Recipe, Source, read_bag, write_bag
from pipeline.errors import BagError, CohortError, ConfigError

PHASES = ("AP", "PVP")
RECIPE = Recipe("tiny/net", "last", "tiny", "0" * 64, "float32", {"size": 8})
LABELS = {"007": "HCC", "008": "ICC", "b1": "HCC", "b2": "ICC"}


def bag_of(patient_id: str, *, recipe: Recipe = RECIPE) -> Bag:
    """Three slices in AP, two in PVP; b2 has no PVP; four features in the blocks whole and lesion."""
    rng = np.random.default_rng(sum(map(ord, patient_id)))
    phase = np.array([0, 0, 0] if patient_id == "b2" else [0, 0, 0, 1, 1], dtype=np.int8)
    n = len(phase)
    slices = np.array([4, 5, 6, 4, 5], dtype=np.int32)[:n]
    present = [PHASES[i] for i in dict.fromkeys(phase.tolist())]
    header = BagHeader(
        patient_id=patient_id,
        phase_names=PHASES,
        phases_missing={name: "no row in the cohort table" for name in PHASES if name not in present},
        scale_names=("crop",),
        recipe=recipe,
        sources={
            name: Source(f"secret_{name}.nii.gz", "a", "b", "drawn", (1.0, 1.0, 5.0), 9) for name in present
        },
        content_key=patient_id,
        tile_size_um=8000.0,
        tile_size_px=8,
        feature_blocks=(FeatureBlock("whole", 0, 3), FeatureBlock("lesion", 3, 4)),
        measure_names=("stat_median",),
        measure_units=("HU",),
    )
    return Bag(
        header,
        rng.normal(size=(n, 4)).astype(np.float32),
        phase,
        slices,
        slices.astype(np.float32) * 5,
        np.full(n, 40, dtype=np.float32),
        np.ones(n, dtype=np.int16),
        np.zeros(n, dtype=np.int8),
        measures=np.where(np.arange(n) == 0, np.nan, 50 + np.arange(n)).astype(np.float32)[:, None],
    )


@pytest.fixture
def bags(tmp_path) -> Path:
    for patient_id in LABELS:
        write_bag(tmp_path / "bags", bag_of(patient_id))
    rows = [f"{patient_id},{label}\n" for patient_id, label in LABELS.items()]
    (tmp_path / "labels.csv").write_text("patient_id,label\n" + "".join(rows))
    return tmp_path / "bags"


def export(bags: Path, to: str, *words: object, exit_code: int = 0) -> tuple[Path, str]:
    """Run the command with the table of labels; return the folder and what was said."""
    out = bags.parent / to
    line = ["export", bags, "--to", to, "--out", out, "--cohort", bags.parent / "labels.csv", *words]
    ended = CliRunner().invoke(application, [str(word) for word in line], catch_exceptions=False)
    assert ended.exit_code == exit_code, ended.output
    return out, ended.output


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_clam_finds_each_file_by_the_slide_id_that_pandas_reads(bags):
    """Identifiers such as 007 become the number 7 there, and the file would not be found."""
    (bags / "b1.h5").unlink()
    (bags / "b2.h5").unlink()
    out, said = export(bags, "clam")
    table = pd.read_csv(out / "dataset.csv")
    assert table.to_numpy().tolist() == [
        ["patient_007", "patient_007", "HCC"],
        ["patient_008", "patient_008", "iCCA"],
    ]
    for name in table["slide_id"]:
        tensor = torch.load(out / "pt_files" / f"{name}.pt", weights_only=True)
        assert tensor.dtype == torch.float32
        with h5py.File(out / "h5_files" / f"{name}.h5") as file:
            assert np.array_equal(file["features"][()], tensor.numpy())
            assert file["coords"][()].tolist() == [[0, 32], [0, 40], [0, 48], [8, 32], [8, 40]]
    assert "would not read identifiers such as 007" in said
    assert "--B 5" in said
    assert "label 'ICC' read as iCCA" in said


def test_identifiers_that_come_back_stay_as_they_are(bags):
    out, _ = export(bags, "clam")
    assert [row["slide_id"] for row in rows_of(out / "dataset.csv")] == ["007", "008", "b1", "b2"]


def test_the_slide_table_of_stamp_is_sorted_by_patient_and_names_files(bags):
    out, _ = export(bags, "stamp", "--per-phase")
    slides = [(row["PATIENT"], row["FILENAME"]) for row in rows_of(out / "slide.csv")]
    assert slides == sorted(slides)
    assert slides[:2] == [("007", "007__AP.h5"), ("007", "007__PVP.h5")]
    assert all((out / "features" / name).is_file() for _, name in slides)
    assert rows_of(out / "clini.csv")[1] == {"PATIENT": "008", "label": "iCCA"}
    with h5py.File(out / "features" / "007__PVP.h5") as file:
        said = dict(file.attrs)
        assert (said["unit"], said["tile_size_um"], said["feat_type"]) == ("um", 8000.0, "tile")
        assert "stamp_version" not in said
        assert file["feats"].dtype == np.float32
        assert file["coords"][()].tolist() == [[8000, 20000], [8000, 25000]]


def test_each_file_of_stamp_has_the_side_of_its_own_squares(bags):
    """Whole slices are as large as the field of view of the patient."""
    bag = read_bag(bags / "b1.h5")
    write_bag(bags, replace(bag, header=replace(bag.header, tile_size_um=9000.0)))
    out, _ = export(bags, "stamp")
    with h5py.File(out / "features" / "b1.h5") as file:
        assert file.attrs["tile_size_um"] == 9000.0
        assert file["coords"][()][-1].tolist() == [9000, 25000]
    assert "sides of 8000 to 9000 micrometres" in export(bags, "slideflow")[1]


def test_the_folder_of_trident_is_that_of_a_job(bags):
    out, _ = export(bags, "trident")
    with h5py.File(out / "1x_8px_0px_overlap" / "features_tiny_net" / "b1.h5") as file:
        assert file["features"].attrs["encoder"] == "tiny/net"
        assert (file["features"].chunks, file["features"].maxshape) == ((1, 4), (None, 4))
        assert file["coords"].attrs["patch_size_level0"] == 8
        places = file["coords"][()]
    with h5py.File(out / "1x_8px_0px_overlap" / "patches" / "b1_patches.h5") as file:
        assert np.array_equal(file["coords"][()], places)


def test_slideflow_has_a_folder_of_bags_for_each_phase(bags):
    out, said = export(bags, "slideflow")
    assert sorted(path.name for path in (out / "PVP").glob("*.pt")) == ["007.pt", "008.pt", "b1.pt"]
    tensor = torch.load(out / "AP" / "b2.pt", weights_only=True)
    assert tensor.shape == (3, 4)
    assert np.load(out / "AP" / "b2.index.npz")["arr_0"].shape == (3, 2)
    assert json.loads((out / "AP" / "bags_config.json").read_text())["num_features"] == 4
    assert rows_of(out / "annotations.csv")[0] == {"patient": "007", "slide": "007", "label": "HCC"}
    assert "drops 1 of 4 patients, such as b2, without a word" in said


@pytest.mark.filterwarnings("ignore")  # torchmil's own
def test_torchmil_trains_on_an_exported_folder(bags):
    pytest.importorskip("torchmil")
    abmil = torchmil_class("ABMIL")  # first: it makes torchvision importable with any build of torch
    data, datasets = importlib.import_module("torchmil.data"), importlib.import_module("torchmil.datasets")
    out, _ = export(bags, "torchmil")
    dataset = datasets.ProcessedMILDataset(
        features_path=str(out / "features"),
        labels_path=str(out / "labels"),
        coords_path=str(out / "coords"),
        bag_keys=["X", "Y", "adj", "coords"],
    )
    batch = data.collate_fn([dataset[i] for i in range(len(dataset))])
    assert batch["Y"].tolist() == [0, 1, 0, 1]
    assert batch["mask"].sum(dim=1).tolist() == [5, 5, 5, 3]
    assert np.array_equal(batch["X"][3, :3].numpy(), read_bag(bags / "b2.h5").features)
    torch.manual_seed(0)
    model = abmil(in_shape=(4,), att_dim=8)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.05)
    losses = []
    for _ in range(60):
        _, loss = model.compute_loss(batch["Y"], batch["X"], batch["mask"])
        optimiser.zero_grad()
        sum(loss.values()).backward()
        optimiser.step()
        losses.append(float(sum(loss.values())))
    assert losses[-1] < losses[0] / 2


@pytest.mark.parametrize(
    ("to", "features", "table"),
    [
        ("clam", ".", "dataset.csv"),
        ("stamp", "features", "slide.csv"),
        ("trident", "1x_8px_0px_overlap/features_tiny_net", None),
    ],
)
def test_stage_2_reads_an_export_with_equal_features(bags, to, features, table):
    out, _ = export(bags, to)
    found = read_slide_table(out / features, to, out / table if table else None, list(LABELS))
    assert list(found.files) == list(LABELS)
    for patient_id, paths in found.files.items():
        assert np.array_equal(
            slide_bag(patient_id, paths, to).features, read_bag(bags / f"{patient_id}.h5").features
        )


def test_phases_as_files_are_one_patient_again(bags):
    out, said = export(bags, "clam", "--per-phase")
    found = read_slide_table(out, "clam", out / "dataset.csv", list(LABELS))
    bag = slide_bag("007", found.files["007"], "clam")
    assert np.array_equal(bag.features, read_bag(bags / "007.h5").features)
    assert bag.lesion.tolist() == [1, 1, 1, 2, 2]
    assert "patient_strat=True" in said


def test_tables_have_means_of_what_is_known(bags):
    out, said = export(bags, "csv")
    rows = rows_of(out / "patients.csv")
    assert "patients.csv with 7 rows of 4 patients for csv" in said
    assert [(row["patient_id"], row["phase"], row["n_instances"]) for row in rows[:2]] == [
        ("007", "AP", "3"),
        ("007", "PVP", "2"),
    ]
    assert float(rows[0]["stat_median"]) == 51.5
    bag = read_bag(bags / "007.h5")
    assert float(rows[1]["lesion_0"]) == pytest.approx(bag.features[3:, 3].mean(), abs=1e-8)
    instances = rows_of(out / "instances.csv")
    assert len(instances) == 18
    assert (instances[0]["stat_median"], instances[0]["slice_number"]) == ("", "5")
    assert float(instances[4]["whole_2"]) == pytest.approx(bag.features[4, 2], abs=1e-8)
    assert rows_of(out / "labels.csv")[1] == {"patient_id": "008", "label": "iCCA"}


def test_what_a_program_cannot_hold_lies_beside_and_is_said(bags):
    out, said = export(bags, "clam")
    row = rows_of(out / "instances.csv")[4]
    assert (row["file"], row["row"], row["phase"], row["slice_number"], row["z_mm"]) == (
        "007",
        "4",
        "PVP",
        "6",
        "25.000000000",
    )
    assert row["stat_median"] == "54.000000000"
    readme = (out / "README.txt").read_text()
    for told in ("not held by clam", "whole 0:3, lesion 3:4", "one patient is one file"):
        assert told in said
        assert told in readme
    record = json.loads((out / "export.json").read_text())
    assert record["classes"] == {"HCC": 0, "iCCA": 1}


def test_files_hold_no_label_and_no_name_of_a_scan(bags):
    out, _ = export(bags, "stamp")
    for path in out.rglob("*"):
        if path.is_file():
            assert b"secret" not in path.read_bytes(), path
            assert path.suffix != ".h5" or b"HCC" not in path.read_bytes(), path


def test_whoever_is_not_exported_has_a_row_with_the_reason(bags):
    (bags / "broken.h5").write_bytes(b"not HDF5")
    (bags.parent / "labels.csv").write_text("patient_id,label\n007,HCC\n008,ICC\nb1,\nZ9,HCC\n")
    out, said = export(bags, "stamp", exit_code=2)
    reasons = {(row["patient_id"], row["phase"]): row["reason"] for row in rows_of(out / "not_exported.csv")}
    assert reasons.keys() == {("b1", ""), ("b2", ""), ("Z9", ""), ("broken", "")}
    assert reasons["b1", ""] == "no label in the cohort table"
    assert reasons["b2", ""] == "no row in the cohort table"
    assert reasons["Z9", ""] == "no bag"
    assert "the file is no bag" in reasons["broken", ""]
    assert "not exported: 4 patients" in said


def test_a_missing_phase_has_a_row_too(bags):
    out, _ = export(bags, "csv", "--phases", "PVP")
    rows = rows_of(out / "not_exported.csv")
    reasons = {(row["patient_id"], row["phase"]): row["reason"] for row in rows}
    assert reasons["007", "AP"] == "not among --phases"
    assert reasons["b2", ""] == "no phase among --phases"


def test_some_blocks_only(bags):
    out, _ = export(bags, "torchmil", "--features", "lesion")
    assert np.array_equal(np.load(out / "features" / "b1.npy"), read_bag(bags / "b1.h5").features[:, 3:])


def test_without_a_cohort_table_there_is_no_label(bags):
    out = bags.parent / "plain"
    CliRunner().invoke(
        application, ["export", str(bags), "--to", "torchmil", "--out", str(out)], catch_exceptions=False
    )
    assert not (out / "labels").exists()
    assert "no labels: --cohort gives them" in (out / "README.txt").read_text()


def test_an_existing_folder_is_left_as_it_is(bags):
    (bags.parent / "clam").mkdir()
    with pytest.raises(ConfigError, match="exists already; nothing is overwritten"):
        export(bags, "clam")
    assert list((bags.parent / "clam").iterdir()) == []


def test_what_fails_leaves_nothing(bags):
    write_bag(bags, bag_of("c1", recipe=Recipe("other", "last", "tiny", "0" * 64, "float32", {"size": 8})))
    with pytest.raises(BagError, match="differ in encoder"):
        export(bags, "clam")
    assert sorted(path.name for path in bags.parent.iterdir()) == ["bags", "labels.csv"]


def test_unknown_phases_and_blocks_are_named_with_the_nearest(bags):
    with pytest.raises(ConfigError, match="--phases 'PPV': the bags have AP, PVP; did you mean 'PVP'"):
        export(bags, "clam", "--phases", "PPV")
    with pytest.raises(
        ConfigError, match="--features 'lesions': the bags have whole, lesion; did you mean 'lesion'"
    ):
        export(bags, "clam", "--features", "lesions")


def test_a_class_that_programs_read_as_missing_is_asked_for(bags):
    (bags.parent / "labels.csv").write_text("patient_id,label\n007,NA\n008,ICC\n")
    with pytest.raises(CohortError, match="class 'NA' is read as another text, or as missing"):
        export(bags, "stamp")


def test_an_ambiguous_class_is_asked_for(bags):
    (bags.parent / "labels.csv").write_text("patient_id,label\n007,CHC\n008,ICC\n")
    with pytest.raises(CohortError, match="'CHC' is ambiguous"):
        export(bags, "stamp")
    out, _ = export(bags, "stamp", "--class", "CHC=HCC")
    assert rows_of(out / "clini.csv")[0]["label"] == "HCC"


def test_a_folder_of_variants_names_those_inside(bags, tmp_path):
    (tmp_path / "all").mkdir()
    shutil.move(bags, tmp_path / "all" / "resnet")
    with pytest.raises(BagError, match="folders with bags inside it: resnet"):
        export(tmp_path / "all", "clam")
