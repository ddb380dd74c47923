"""A run of bags of two scales: its tables count slices, and name the scale where a row is an instance."""

import csv

import pytest

from aggregate.cohort.scales import n_slices
from pipeline.bags import write_bag
from tests.aggregate.conftest import QUICK, command
from tests.conftest import at_two_scales

MODELS = """[aggregate.model.scales]
kind = "multiscale_attention"
epochs = 2
[aggregate.model.joined]
kind = "attention_mil"
epochs = 2
join_scales = true
"""


@pytest.fixture(scope="module")
def tables(tmp_path_factory, write_experiment, bags_and_labels):
    """Return a function that reads a table of the run."""
    folder = tmp_path_factory.mktemp("two_scales")
    toml = write_experiment(folder, QUICK.replace("explain = false", "explain = true") + MODELS)
    for bag in bags_and_labels[0]:
        write_bag(folder / "out" / "bags", at_two_scales(bag))
    command("run", toml)

    def read(name):
        with (folder / "out" / "tables" / name).open(encoding="utf-8") as file:
            return list(csv.DictReader(file))

    return read


def test_slices_are_counted_once(tables, bags_and_labels):
    expected = {bag.patient_id: n_slices(bag) for bag in bags_and_labels[0]}
    predicted = {row["patient_id"]: int(row["n_slices"]) for row in tables("predictions.csv")}
    cohort = {
        row["patient_id"]: sum(int(row[f"slices_{phase}"]) for phase in ("NC", "AP", "PVP", "DP"))
        for row in tables("cohort.csv")
    }
    assert predicted == cohort == expected


def test_a_row_of_attention_is_one_instance_and_says_which(tables, bags_and_labels):
    rows = tables("attention.csv")
    places = [(r["model"], r["patient_id"], r["phase"], r["slice_number"], r["scale"]) for r in rows]
    assert len(set(places)) == len(places)
    n = sum(map(len, bags_and_labels[0]))
    assert sum(model == "scales" for model, *_ in places) == 2 * n
    assert sum(model == "joined" for model, *_ in places) == n
    assert {(model, scale) for model, *_, scale in places} == {
        ("scales", "tight"), ("scales", "context"), ("joined", "tight+context"),
    }  # fmt: skip


@pytest.mark.parametrize("file", ["typical_slices.csv", "cluster_slices.csv"])
def test_a_typical_slice_says_at_which_scale(tables, file):
    assert {row["scale"] for row in tables(file)} <= {"tight", "context", "tight+context"}


def test_no_model_spreads_its_attention_over_more_slices_than_there_are(tables):
    shares = [
        float(row["estimate"])
        for row in tables("explanation_checks.csv")
        if row["measure"] == "effective_share" and row["estimate"]
    ]
    assert shares
    assert max(shares) <= 1
