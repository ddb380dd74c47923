"""Warnings stand where they must and nowhere else."""

import pytest

from aggregate.report.cautions import cautions
from aggregate.report.folder import ResultsFolder
from pipeline.tables import write_table


@pytest.fixture
def warn(write_results):
    def of(**options):
        return cautions(ResultsFolder(write_results(**options)))

    return of


def test_a_sound_run_has_no_warning(warn):
    assert warn(explained=False) == []


RANDOM = {"encoder": "resnet18", "weights_name": "random:0", "random_weights": True}


def test_untrained_weights_come_first(warn):
    assert warn(recipes={"bags": RANDOM})[0].startswith("RANDOM WEIGHTS: the encoder (resnet18, random:0)")


def test_untrained_weights_of_one_bag_set_are_told_of_that_set(warn):
    first = warn(recipes={"bags": {**RANDOM, "random_weights": False}, "control": RANDOM})[0]
    assert first.startswith("RANDOM WEIGHTS in control: the encoder of these bag sets (resnet18, random:0)")


def test_a_performance_too_good_to_be_true_asks_for_leaks(warn):
    (found,) = [text for text in warn(sure=6.0, explained=False) if "leakage" in text]
    assert "Model attention reaches a macro AUC of 0.99" in found or "AUC of 1.000" in found


def folder_with(write_results, name, rows):
    folder = write_results(explained=False)
    write_table(folder / "tables" / name, tuple(rows[0]), rows)
    return ResultsFolder(folder)


def test_a_small_class_is_named_with_its_number(write_results):
    labels = ["HCC"] * 12 + ["iCCA"] * 12 + ["cHCC-CCA"] * 4
    rows = [{"patient_id": str(i), "label": label} for i, label in enumerate(labels)]
    (found,) = cautions(folder_with(write_results, "cohort.csv", rows))
    assert found.startswith("Class cHCC-CCA has 4 patients, under 10")


@pytest.mark.parametrize(("low", "n_warnings"), [(0.55, 1), (0.45, 0)])
def test_a_label_that_the_number_of_slices_tells_is_said(write_results, low, n_warnings):
    row = {"confounder": "bag size (slices)", "class": "macro", "metric": "auc", "estimate": 0.66,
           "ci_low": low, "ci_high": 0.77}  # fmt: skip
    found = cautions(folder_with(write_results, "confounders.csv", [row]))
    assert len([text for text in found if text.startswith("Bag size predicts the label")]) == n_warnings


def test_every_model_whose_attention_is_unstable_is_named(write_results):
    rows = [
        {"model": model, "measure": "rank_stability", "estimate": value}
        for model, value in (("attention", 0.35), ("other", -0.06), ("control: uniform", None))
    ]
    (found,) = cautions(folder_with(write_results, "explanation_checks.csv", rows))
    assert found.startswith("The attention of model other ranks slices differently")
    assert "\N{MINUS SIGN}0.06" in found
