"""Scans and biopsies from the configuration to the report, by the commands."""

import h5py
import numpy as np
import pytest

from aggregate.explain.attention import ATTENTION
from aggregate.tables.cohort import COHORT
from aggregate.tables.fusion import FUSION, FUSION_PATIENTS
from aggregate.tables.performance import PERFORMANCE
from aggregate.tables.predictions import PREDICTIONS
from aggregate.tables.results import ResultTables
from pipeline.errors import ConfigError, ResultsError
from tests.aggregate.conftest import QUICK, command

BIOPSY = (
    QUICK.replace("baselines = false", "baselines = true").replace("explain = false", "explain = true")
    + """
[aggregate.bags.biopsy]
folder = "slides"
format = "trident"
slides = "slides.csv"
[aggregate.bags.ct]
folder = "out/bags"
[aggregate.fusion]
imaging = "ct"
biopsy = "core"
combined = ["late", "joint"]
positive = "cHCC-CCA"
[aggregate.model.ct]
kind = "attention_mil"
bags = "ct"
epochs = 2
[aggregate.model.core]
kind = "attention_mil"
bags = "biopsy"
epochs = 2
[aggregate.model.late]
kind = "average"
[aggregate.model.late.models.ct]
kind = "mean_pooling"
bags = "ct"
[aggregate.model.late.models.core]
kind = "mean_pooling"
bags = "biopsy"
[aggregate.model.either]
kind = "either"
positive = "cHCC-CCA"
[aggregate.model.either.models.ct]
kind = "mean_pooling"
bags = "ct"
[aggregate.model.either.models.core]
kind = "mean_pooling"
bags = "biopsy"
[aggregate.model.joint]
kind = "modality_attention"
epochs = 2
[aggregate.model.joint.modalities.ct]
bags = "ct"
phases = ["art", "DP"]
[aggregate.model.joint.modalities.core]
bags = "biopsy"
"""
)


@pytest.fixture
def toml(experiment_folder, tmp_path, rng):
    """Sixty patients with scans, but for p000; the first forty have a biopsy of 20 tiles."""
    toml = experiment_folder(BIOPSY)
    (tmp_path / "slides").mkdir()
    for i in range(40):
        with h5py.File(tmp_path / "slides" / f"BX{i}.h5", "w") as file:
            tiles = rng.normal(size=(20, 5))
            tiles[:, i % 3] += 1.5
            file["features"] = tiles.astype(np.float16)
            file["features"].attrs["encoder"] = "uni_v1"
    lines = ["patient_id,file", *(f"p{i:03},BX{i}.h5" for i in range(40))]
    (tmp_path / "slides.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "out" / "bags" / "p000.h5").unlink()
    return toml


def test_a_run_of_scans_and_biopsies(toml, tmp_path):
    printed = command("plan", toml)
    assert "20 of 60 patients, such as p040, have no bag in the set 'biopsy'" in printed
    command("run", toml)
    out = tmp_path / "out"
    tables = ResultTables.of_record(out, {})
    models = {row["model"] for row in tables.read(PERFORMANCE)}
    assert {"tumour_size", "centre_slice", "phase_AP", "joint", "either"} <= models
    assert "phase_-" not in models
    assert {row["n"] for row in tables.read(PERFORMANCE) if row["class"] == "macro"} == {60}
    first = tables.read(COHORT)[0]
    assert (first["patient_id"], first["phases_present"], first["slices_AP"]) == ("p000", "", 0)
    assert first["tumour_volume_ml"] is None
    assert not [name for name in first if name == "slices_-"]
    assert tables.read(PREDICTIONS)[0]["n_slices"] == 0
    fusion = {(row["patients"], row["way"]): row for row in tables.read(FUSION)}
    assert (fusion["all", "late"]["n"], fusion["all", "late"]["n_biopsy"]) == (60, 40)
    assert fusion["with scans and biopsy", "late"]["n"] == 39
    assert len(tables.read(FUSION_PATIENTS)) == 60 * 6
    assert {row["model"] for row in tables.read(ATTENTION)} >= {"ct"}
    page = (out / "report.html").read_text()
    assert "Imaging, biopsy, and both" in page
    assert "uni_v1 (trident files)" in page
    _rebuilt(tables, out)
    _refused_when_a_slide_has_changed(tmp_path, out)


def _rebuilt(tables, out):
    before = {table.file: tables.path(table).read_bytes() for table in (FUSION, FUSION_PATIENTS)}
    tables.path(FUSION).unlink()
    command("tables", out)
    assert {table.file: tables.path(table).read_bytes() for table in (FUSION, FUSION_PATIENTS)} == before
    command("explain", out)


def _refused_when_a_slide_has_changed(folder, out):
    with h5py.File(folder / "slides" / "BX3.h5", "a") as file:
        file["features"][0, 0] += 1
    with pytest.raises(ResultsError, match="the bags of 1 of 40 patients, such as p003, have changed"):
        command("tables", out)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("fusion.imaging=ctt", "aggregate.fusion names model 'ctt'; nearest valid name: 'ct'"),
        ("fusion.combined=['ct']", "names model 'ct' twice"),
        ("fusion.positive=combined", "unknown label 'combined'"),
    ],
)
def test_a_mistaken_name_is_told_in_the_plan(toml, override, message):
    with pytest.raises(ConfigError, match=message):
        command("plan", toml, override)
