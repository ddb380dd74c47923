"""fusion.csv: imaging, biopsy and both on the same patients, by hand."""

import numpy as np
import pytest

from aggregate.config import FusionSection
from aggregate.predictions import Predictions
from aggregate.statistics.config import StatisticsSection
from aggregate.tables.fusion import FUSION, FUSION_PATIENTS, fusion_rows, patient_rows, ways_of
from pipeline.errors import ResultsError

CLASSES = ("HCC", "iCCA", "cHCC-CCA")
SAYS = {"HCC": [0.6, 0.3, 0.1], "iCCA": [0.3, 0.6, 0.1], "cHCC-CCA": [0.2, 0.2, 0.6]}
LABELS = ["cHCC-CCA"] * 4 + ["HCC"] * 3 + ["iCCA"] * 3
IMAGING = ["cHCC-CCA", "cHCC-CCA", "HCC", "HCC", "cHCC-CCA", "HCC", "HCC", "iCCA", "iCCA", "cHCC-CCA"]
BIOPSY = ["cHCC-CCA", "HCC", "cHCC-CCA", "HCC", "HCC", "cHCC-CCA", "HCC", "iCCA", "iCCA", "iCCA"]
FUSION_OF = FusionSection(imaging="ct", biopsy="core", combined=("ct2",), positive="cHCC-CCA")
FEW = StatisticsSection(draws=100)


@pytest.fixture
def predictions() -> Predictions:
    said = {
        name: np.array([[SAYS[word] for word in words]] * 2)
        for name, words in (("ct", IMAGING), ("core", BIOPSY))
    }
    return Predictions(
        classes=CLASSES,
        patient_ids=tuple("abcdefghij"),
        labels=np.array([CLASSES.index(name) for name in LABELS]),
        fold=np.tile(np.arange(10) % 2, (2, 1)),
        probabilities={**said, "ct2": said["ct"]},
        n_slices=np.full(10, 3),
        phases=("AP",) * 10,
    )


def rows_of(predictions, unseen):
    ways = ways_of(predictions, unseen, FUSION_OF)
    return {(row["patients"], row["way"]): row for row in fusion_rows(predictions, ways, FUSION_OF, FEW)}


def changes(row):
    return [row[name] for name in ("saved_positive", "lost_positive", "saved_other", "lost_other")]


def test_every_row_has_its_columns(predictions):
    for row in rows_of(predictions, {}).values():
        assert set(row) == set(FUSION.header())


def test_rates_and_changes_by_hand(predictions):
    rows = rows_of(predictions, {})
    found = {way: (row["sensitivity"], row["specificity"]) for (_, way), row in rows.items()}
    assert found == {
        "imaging alone": (0.5, pytest.approx(4 / 6)),
        "biopsy alone": (0.5, pytest.approx(5 / 6)),
        "either positive": (0.75, pytest.approx(3 / 6)),
        "both agree": (0.25, 1.0),
        "ct2": (0.5, pytest.approx(4 / 6)),
    }
    assert changes(rows["all", "imaging alone"]) == changes(rows["all", "ct2"]) == [0, 0, 0, 0]
    assert changes(rows["all", "biopsy alone"]) == [1, 1, 2, 1]
    assert changes(rows["all", "either positive"]) == [1, 0, 0, 1]
    assert changes(rows["all", "both agree"]) == [0, 1, 2, 0]
    assert rows["all", "biopsy alone"]["auc"] == pytest.approx((2 * 5 + 0.5 * (2 + 10)) / 24)


def test_whom_the_biopsy_does_not_see_it_does_not_call(predictions):
    rows = rows_of(predictions, {"core": frozenset("acf")})
    everybody, both = rows["all", "biopsy alone"], rows["with scans and biopsy", "biopsy alone"]
    assert (everybody["n"], everybody["n_imaging"], everybody["n_biopsy"], both["n"]) == (10, 10, 7, 7)
    assert (everybody["sensitivity"], everybody["specificity"]) == (0, 1)
    assert rows["all", "either positive"]["sensitivity"] == 0.5  # imaging alone is left of a and c
    assert rows["all", "both agree"]["sensitivity"] == 0
    assert (both["n_positive"], both["sensitivity"]) == (2, 0)


def test_the_patients_saved_and_lost_are_named(predictions):
    ways = ways_of(predictions, {"core": frozenset("j")}, FUSION_OF)
    rows = list(patient_rows(predictions, ways, FUSION_OF))
    assert all(set(row) == set(FUSION_PATIENTS.header()) for row in rows)
    told = {(row["patient_id"], row["way"]): row for row in rows}
    changed = {patient: told[patient, "biopsy alone"]["against_imaging"] for patient in "abcdefghij"}
    assert changed == {
        **dict.fromkeys("adghi", ""),
        "b": "lost",
        "c": "saved",
        "e": "saved",
        "f": "lost",
        "j": "saved",
    }
    unseen = told["j", "biopsy alone"]
    assert (unseen["has_biopsy"], unseen["says"], unseen["p_positive"], unseen["called"]) == (
        False,
        "",
        None,
        False,
    )


def test_a_model_without_predictions_is_named(predictions):
    with pytest.raises(ResultsError, match="no predictions of model 'late'; found ct, core, ct2"):
        ways_of(predictions, {}, FUSION_OF.model_copy(update={"combined": ("late",)}))
