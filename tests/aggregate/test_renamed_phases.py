"""Phases under other names, with their roles given, give the same tables on the same data."""

from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from aggregate.commands import application
from aggregate.explain.signs import measure_patient, remarks_on_roles, signs_of
from aggregate.models.baselines import SinglePhase
from aggregate.planning.plan import load_aggregate_config
from pipeline.bags import write_bag
from pipeline.phase_roles import PhaseRoles
from pipeline.store import SliceStore, StoredPatient
from pipeline.tables import read_table
from tests.aggregate.explain.conftest import ROLES, draw_ball
from tests.conftest import CLASSES, PHASES

NAMES = dict(zip(PHASES, ("native", "early", "late", "end"), strict=True))
RENAMED = PhaseRoles(**{role: NAMES[phase] for role, phase in ROLES.of_role.items()})
HEAD = 'name = "toy"\noutput = "out"\n[cohort]\ntable = "cohort.csv"\n'
GIVEN = """phases = ["native", "early", "late", "end"]
[cohort.phase_roles]
non_contrast = "native"
arterial = "early"
portal = "late"
delayed = "end"
"""
WITHOUT_ROLES = 'phases = ["native", "early", "late", "end"]\n'
TOML = """
[aggregate]
jobs = 1
baselines = false
[aggregate.figures]
formats = ["svg"]
[aggregate.splits]
folds = 2
repeats = 1
[aggregate.statistics]
draws = 100
[aggregate.model.attention]
kind = "attention_mil"
epochs = 2
[aggregate.model.single]
kind = "single_phase"
phase = "{arterial}"
"""
TABLES = ("concepts", "concept_slices", "concept_scores", "phases", "phase_value", "attention", "performance")


def in_names(bag, names):
    """The same bag under other names of its phases."""
    header = bag.header
    return replace(
        bag,
        header=replace(
            header,
            phase_names=tuple(names[p] for p in header.phase_names),
            sources={names[p]: source for p, source in header.sources.items()},
            phases_missing={names[p]: reason for p, reason in header.phases_missing.items()},
        ),
    )


def write(folder, bags_and_labels, names, text):
    """Write bags, slices, a cohort table and a configuration of eighteen patients."""
    rows = ["patient_id,phase,image,mask,label"]
    store = SliceStore(folder / "out" / "slices.zarr")
    for i, (bag, label) in enumerate(zip(*(part[:18] for part in bags_and_labels), strict=True)):
        write_bag(folder / "out" / "bags", in_names(bag, names))
        balls = [
            replace(draw_ball(p, 30 - i - 20 * k, 25 - 2 * i - 15 * k, radius=9.0), phase=names[p])
            for k, p in enumerate(bag.header.phases_present)
        ]
        store.write(bag.patient_id, StoredPatient("key", tuple(balls)))
        rows += [
            f"{bag.patient_id},{names[p]},{p}.nii.gz,,{CLASSES[label]}" for p in bag.header.phases_present
        ]
    (folder / "cohort.csv").write_text("\n".join(rows) + "\n")
    path = folder / "c.toml"
    path.write_text(HEAD + text + TOML.format(arterial=names["AP"]))
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory, bags_and_labels):
    """Run `aggregate.py run`; return the results folder and what was printed."""

    def once(names, text):
        folder = tmp_path_factory.mktemp("renamed")
        path = write(folder, bags_and_labels, names, text)
        said = CliRunner().invoke(application, ["run", str(path)], catch_exceptions=False).output
        return folder / "out", said

    return once


@pytest.fixture(scope="module")
def by_default(run):
    return run({p: p for p in PHASES}, "")


def test_signs_of_renamed_phases_are_those_of_the_default_names():
    drawn = [draw_ball(phase, 10 * k, 20 - 15 * k, radius=12) for k, phase in enumerate(PHASES)]
    renamed = [replace(slices, phase=NAMES[slices.phase]) for slices in drawn]
    expected = signs_of(measure_patient(drawn), ROLES)
    assert signs_of(measure_patient(renamed), RENAMED) == expected
    assert np.isfinite(list(vars(expected).values())).all()


@pytest.mark.slow
def test_every_explanation_of_renamed_phases_is_that_of_the_default_names(run, by_default):
    (default, said), (renamed, said_of_renamed) = by_default, run(NAMES, GIVEN)
    assert "[cohort.phase_roles]" not in said + said_of_renamed
    for table in TABLES:
        rows = [
            {column: NAMES.get(cell, cell) for column, cell in row.items()}
            for row in read_table(default / "tables" / f"{table}.csv")
        ]
        found = read_table(renamed / "tables" / f"{table}.csv")
        assert rows, table
        assert found == rows, table
    assert any(row["washout_hu"] for row in read_table(renamed / "tables" / "concepts.csv"))


def test_phases_without_roles_leave_signs_empty_and_the_run_says_so(run):
    folder, said = run(NAMES, WITHOUT_ROLES)
    assert (
        "no phase has the role arterial, portal venous, delayed ([cohort.phase_roles]); signs empty: "
        "arterial_hyperenhancement_hu"
    ) in said
    rows = read_table(folder / "tables" / "concepts.csv")
    assert {row["washout_hu"] for row in rows} == {""}
    assert all(row["volume_ml"] for row in rows)
    report = (folder / "report.html").read_text(encoding="utf-8")
    assert "Measured in no patient: arterial hyperenhancement" in report


def test_a_role_that_other_phases_can_stand_in_for_is_told_apart():
    assert remarks_on_roles(ROLES) == []
    (remark,) = remarks_on_roles(PhaseRoles(arterial="a", portal="p"))
    assert remark == (
        "no phase has the role delayed ([cohort.phase_roles]); signs empty: washout_ratio, rim_delayed_hu; on other "
        "phases: washout_hu, progressive_enhancement_hu, capsule_hu, heterogeneity_hu"
    )


@pytest.mark.parametrize(
    "text",
    ['kind = "single_phase"', 'kind = "calibrated"\nmodel = "single_phase"'],
    ids=["alone", "inside"],
)
def test_a_single_phase_without_a_name_is_the_arterial_one(tmp_path, text):
    path = tmp_path / "c.toml"
    path.write_text(f"{HEAD}{GIVEN}[aggregate.model.s]\n{text}\n")
    parameters = load_aggregate_config(path, ()).aggregate.model["s"].parameters
    assert parameters.get("parameters", parameters)["phase"] == "early"


def test_a_grid_over_phases_needs_no_arterial_one(tmp_path):
    path = tmp_path / "c.toml"
    grid = 'kind = "grid"\nmodel = "single_phase"\ngrid = { phase = ["early", "end"] }'
    path.write_text(f"{HEAD}{WITHOUT_ROLES}[aggregate.model.s]\n{grid}\n")
    parameters = load_aggregate_config(path, ()).aggregate.model["s"].parameters
    assert parameters["grid"] == {"phase": ["early", "end"]}


def test_no_model_has_a_phase_by_default():
    assert SinglePhase().phase == ""
