"""The methods hold the run's own numbers, and no sentence that its configuration makes untrue."""

import pytest

from aggregate.paper.methods import methods_of
from aggregate.report.folder import ResultsFolder
from aggregate.tables.performance import PERFORMANCE
from aggregate.tables.splits import SPLITS
from tests.aggregate.paper.conftest import CEILING


@pytest.fixture
def text(results):
    """Return a function that returns the methods as one text."""

    def write(**changes):
        return " ".join(sentence for _, sentence in methods_of(ResultsFolder(results(**changes))))

    return write


def test_patients_classes_encoder_and_splits_are_those_of_the_run(text, bags_and_labels):
    told, (_, labels) = text(), bags_and_labels
    n = [sum(label == k for label in labels) for k in range(3)]
    assert (
        f"{len(labels)} patients from 2 centres were analysed: HCC (n = {n[0]}), iCCA (n = {n[1]}), cHCC-CCA (n = {n[2]})."
        in told
    )
    assert "1 patient lacked at least one phase" in told
    assert "Left out were 1 patient and 0 single phases of others" in told
    assert (
        f"encoder resnet18 (layer penultimate; weights imagenet, SHA-256 {'ab' * 32}), computed in float32"
        in told
    )
    assert "Preprocessing: crop: 96 mm." in told
    assert "with 4 folds and 2 repeats" in told
    assert " 5 tune" in told
    assert "phase NC" not in told


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"statistics": {"draws": 500}}, "500 resamples"),
        ({"statistics": {"confidence": 0.9}}, "90 % confidence intervals"),
        ({"splits": {"tune_share": 0.25}}, "about 25 % of those not tested"),
        ({"splits": {"scheme": "leave-one-centre-out"}}, "by leave-one-centre-out cross-validation"),
        ({"seed": 12}, "12 (splits and models); 3 (resamples)"),
        ({"statistics": {"primary": None}}, "No comparison was declared as primary"),
        ({}, "declares one primary comparison, attention minus bag_size in macro AUC"),
    ],
)
def test_a_setting_changes_its_sentence(text, changes, sentence):
    assert sentence in text(**changes)


def test_folds_of_a_file_have_no_share_of_tuning_patients(text):
    assert "of those not tested" not in text(splits={"scheme": "file"})


def test_what_was_not_done_is_not_told(results):
    path = results()
    for table in (PERFORMANCE, SPLITS):
        (path / table.location).unlink()
    told = dict(methods_of(ResultsFolder(path)))
    assert "Validation" not in told
    assert "resamples" not in told["Statistical analysis"]


def test_synthetic_patients_are_called_so_and_real_ones_are_not(results):
    told = dict(methods_of(ResultsFolder(results(ceiling=CEILING))))
    assert told["Patients"].startswith("SYNTHETIC PATIENTS: the patients of this cohort were drawn")


def test_real_patients_are_not_called_synthetic(text):
    assert "SYNTHETIC" not in text()
