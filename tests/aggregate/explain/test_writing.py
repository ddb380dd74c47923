"""The tables of the explanations in a folder."""

import numpy as np
import pytest

from aggregate.explain.attention import CENTRE, UNIFORM
from aggregate.explain.inputs import attentions_of
from aggregate.explain.signs import SIGNS
from aggregate.explain.writing import (
    measure_patients,
    write_clusters,
    write_concepts,
    write_model_explanations,
)
from aggregate.predictions import Predictions
from aggregate.tables.registry import written_by
from aggregate.tables.results import ResultTables
from aggregate.tables.table import Step
from pipeline.slice_measures import MEASURES
from pipeline.store import StoredPatient
from pipeline.tables import read_columns, read_table
from tests.aggregate.explain.conftest import ROLES


@pytest.fixture
def folder(inputs, resampling, tmp_path):
    write_model_explanations(ResultTables(tmp_path), inputs, attentions_of(inputs), resampling)
    return tmp_path


def test_attention_has_a_row_per_model_patient_and_slice(folder, inputs):
    rows = read_table(folder / "tables" / "attention.csv")
    assert len(rows) == sum(len(bag) for bag in inputs.bags("attention"))
    totals = {}
    for row in rows:
        totals[row["patient_id"]] = totals.get(row["patient_id"], 0) + float(row["weight"])
    assert max(abs(total - 1) for total in totals.values()) < 1e-3


def test_every_figure_of_a_model_has_the_same_figure_for_both_controls(folder):
    for file, key in (("explanation_checks.csv", "measure"), ("phases.csv", "phase")):
        rows = read_table(folder / "tables" / file)
        of_controls = {row[key] for row in rows if row["model"] == UNIFORM}
        assert {row[key] for row in rows if row["model"] == CENTRE} == of_controls
        of_model = {row[key] for row in rows if row["model"] == "attention"}
        assert of_controls <= of_model
        assert of_model - of_controls <= {"neighbour_agreement", "neighbour_agreement_by_chance"}


def test_the_model_that_looks_at_one_phase_is_found_out(folder):
    rows = {
        row["phase"]: row
        for row in read_table(folder / "tables" / "phases.csv")
        if row["model"] == "attention"
    }
    assert float(rows["AP"]["enrichment"]) > 2
    assert float(rows["AP"]["shapley"]) > 0.3
    assert max(float(rows[p]["enrichment"]) for p in ("NC", "PVP", "DP")) < 0.1
    assert {row["worth_by"] for row in rows.values()} == {"masking"}


def test_shapley_values_sum_to_what_the_model_gains_over_chance(folder):
    values = [row for row in read_table(folder / "tables" / "phase_value.csv") if row["measure"] == "shapley"]
    everything = next(r for r in read_table(folder / "tables" / "phase_subsets.csv") if r["n_phases"] == "4")
    total = sum(float(row["estimate"]) for row in values)
    assert total == pytest.approx(float(everything["estimate"]) - 0.5, abs=1e-5)


def test_clusters_cover_every_patient(inputs, tmp_path):
    write_clusters(ResultTables(tmp_path), inputs.patients, seed=0)
    rows = read_table(tmp_path / "tables" / "cluster_shares.csv")
    assert len(rows) == len(inputs.bags("attention")) * (2 + 3)


def test_concepts_are_measured_scored_and_probed(inputs, resampling, tmp_path, rng, ball):
    probabilities = rng.dirichlet(np.ones(3), size=(2, 60))
    predictions = Predictions(
        classes=inputs.patients.classes,
        patient_ids=tuple(bag.patient_id for bag in inputs.bags("attention")),
        labels=inputs.patients.codes,
        fold=np.tile(np.arange(60) % 4, (2, 1)),
        probabilities={"attention": probabilities},
        n_slices=np.ones(60, dtype=np.intp),
        phases=("AP",) * 60,
    )

    def read_patient(patient_id):
        bright = 10 + int(patient_id[1:])
        phases = ball("AP", bright, bright, radius=12), ball("DP", -bright, -bright, radius=12)
        return StoredPatient("key", phases)

    measured = list(measure_patients(inputs.patients.patient_ids, read_patient, roles=ROLES))
    write_concepts(ResultTables(tmp_path), inputs.patients, predictions, resampling, measured)
    concepts = read_table(tmp_path / "tables" / "concepts.csv")
    assert [float(row["washout_hu"]) for row in concepts[:3]] == [10, 11, 12]
    assert len(read_table(tmp_path / "tables" / "concept_slices.csv")) == 60 * 12
    assert len(read_table(tmp_path / "tables" / "concept_scores.csv")) == 3 * 13
    assert len(read_table(tmp_path / "tables" / "concept_probes.csv")) == 13


def test_every_column_of_every_table_is_explained(folder, inputs):
    write_clusters(ResultTables(folder), inputs.patients, seed=0)
    explained = {table.file: table.header() for table in written_by(Step.EXPLANATIONS)}
    for path in (folder / "tables").glob("*.csv"):
        assert read_columns(path) == explained[path.name]
    assert tuple(explained["concepts.csv"][2:]) == SIGNS
    assert tuple(explained["concept_slices.csv"][3:]) == MEASURES
