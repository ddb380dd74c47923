import re
from dataclasses import replace

import numpy as np
import pytest

from aggregate.predictions import Predictions
from aggregate.tables.predictions import read_predictions, write_predictions
from aggregate.tables.results import ResultTables
from pipeline.errors import ResultsError
from pipeline.tables import read_table

GERMAN = {"separator": ";", "decimal": ","}


@pytest.fixture
def predictions():
    rng = np.random.default_rng(0)
    return Predictions(
        classes=("HCC", "iCCA"),
        patient_ids=("007", "=SUM(A1)", "p3"),
        labels=np.array([1, 0, 1], dtype=np.intp),
        fold=np.array([[0, 1, 0], [1, 1, 0]], dtype=np.intp),
        probabilities={name: rng.dirichlet(np.ones(2), size=(2, 3)).round(10) for name in ("zeta", "alpha")},
        n_slices=np.array([3, 40, 5]),
        phases=("AP", "AP+PVP", "PVP"),
    )


@pytest.mark.parametrize("style", [{}, GERMAN], ids=["plain", "decimal comma"])
def test_what_is_written_is_read_back(tmp_path, predictions, style):
    write_predictions(ResultTables(tmp_path, **style), predictions)
    found = read_predictions(ResultTables(tmp_path, **style))
    for name in ("classes", "patient_ids", "models", "phases"):
        assert getattr(found, name) == getattr(predictions, name)
    for name in ("labels", "fold", "n_slices"):
        assert np.array_equal(getattr(found, name), getattr(predictions, name))
    for model in predictions.models:
        assert np.array_equal(found.probabilities[model], predictions.probabilities[model])


def test_writing_what_was_read_gives_the_same_file(tmp_path, predictions):
    write_predictions(ResultTables(tmp_path), predictions)
    first = (tmp_path / "tables" / "predictions.csv").read_bytes()
    write_predictions(ResultTables(tmp_path), read_predictions(ResultTables(tmp_path)))
    assert (tmp_path / "tables" / "predictions.csv").read_bytes() == first


def test_a_row_stands_for_a_patient_a_repeat_and_a_model(tmp_path, predictions):
    write_predictions(ResultTables(tmp_path), predictions)
    lines = (tmp_path / "tables" / "predictions.csv").read_text().splitlines()
    assert lines[0] == "patient_id,label,model,repeat,fold,predicted,p_HCC,p_iCCA,n_slices,phases"
    assert len(lines) == 1 + 3 * 2 * 2
    assert [line.split(",")[:4] for line in lines[1:4]] == [
        ["007", "iCCA", "zeta", "0"],
        ["007", "iCCA", "alpha", "0"],
        ["007", "iCCA", "zeta", "1"],
    ]
    assert lines[5].startswith("'=SUM(A1),")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda lines: lines[:-1], "no prediction for patient p3, repeat 1, model alpha"),
        (lambda lines: [lines[0].replace("fold", "split"), *lines[1:]], "expected column fold"),
        (lambda lines: lines[:1], "found no row"),
        (
            lambda lines: [lines[0], lines[1].replace(",iCCA,", ",CRLM,", 1), *lines[2:]],
            "label 'CRLM' has no",
        ),
        (
            lambda lines: [*lines[:-1], lines[-1].replace("0.", "x.", 1)],
            r"csv, line 13, patient 'p3': expected a probability from 0 to 1 in p_HCC, found 'x\.",
        ),
        (
            lambda lines: [*lines[:-1], lines[-1].replace("0.", "7.", 1)],
            r"line 13, patient 'p3': expected a probability from 0 to 1 in p_HCC, found '7\.",
        ),
        (
            lambda lines: [*lines[:-1], re.sub(r"0\.\d+", "0.25", lines[-1])],
            "line 13, patient 'p3': the probabilities sum to 0.5; expected 1",
        ),
        (lambda lines: [*lines, "p4,HCC"], "line 14: expected 10 cells as in the header, found 2"),
        (
            lambda lines: [*lines, lines[-1]],
            "line 14, patient 'p3': a second row of this patient, repeat and",
        ),
        (
            lambda lines: [*lines[:-1], lines[-1].replace(",1,0,", ",1,1,")],
            "line 13, patient 'p3': fold 1 in a repeat that tests this patient in fold 0",
        ),
        (
            lambda lines: [*lines[:-1], lines[-1].replace(",iCCA,alpha", ",HCC,alpha")],
            "line 13, patient 'p3': another label, n_slices or phases of this patient than in line 10",
        ),
        (
            lambda lines: [*lines[:-1], lines[-1].replace(",HCC,0.", ",iCCA,0.")],
            "line 13, patient 'p3': predicted is 'iCCA', which is not the most probable class",
        ),
        (
            lambda lines: [*lines[:-1], lines[-1].replace("alpha,1,", "alpha,,")],
            "line 13, patient 'p3': expected a whole number from 0 in repeat, found nothing",
        ),
    ],
    ids=[
        "lost row",
        "lost column",
        "empty",
        "unknown label",
        "no number",
        "no probability",
        "no distribution",
        "short row",
        "row twice",
        "two folds",
        "two labels",
        "another class",
        "no repeat",
    ],
)
def test_a_table_that_does_not_fit_is_refused_by_name(tmp_path, predictions, spoil, message):
    write_predictions(ResultTables(tmp_path), predictions)
    path = tmp_path / "tables" / "predictions.csv"
    path.write_text("\n".join(spoil(path.read_text().splitlines())) + "\n")
    with pytest.raises(ResultsError, match=message):
        read_predictions(ResultTables(tmp_path))


def test_without_the_file_the_error_names_it(tmp_path):
    with pytest.raises(ResultsError, match=r"predictions\.csv: no such table"):
        read_predictions(ResultTables(tmp_path))


SAVED_AGAIN = {
    "byte order mark and line ends": lambda text: b"\xef\xbb\xbf" + text.replace(b"\n", b"\r\n"),
    "semicolons and decimal commas": lambda text: text.replace(b",", b";").replace(b".", b","),
    "a note column": lambda text: text.replace(b"\n", b",x\n").replace(b"phases,x", b"phases,note"),
    "nine digits": lambda text: re.sub(rb"(0\.\d{9})\d", rb"\1", text),
}


@pytest.mark.parametrize("change", SAVED_AGAIN.values(), ids=SAVED_AGAIN)
def test_predictions_saved_again_by_a_spreadsheet_are_read(tmp_path, predictions, change):
    write_predictions(ResultTables(tmp_path), predictions)
    path = tmp_path / "tables" / "predictions.csv"
    path.write_bytes(change(path.read_bytes()))
    found = read_predictions(ResultTables(tmp_path))
    for model in predictions.models:
        assert np.allclose(found.probabilities[model], predictions.probabilities[model], atol=1e-8)
    assert np.array_equal(found.labels, predictions.labels)


def test_probabilities_that_print_alike_are_equal_and_the_first_is_predicted(tmp_path, predictions):
    even = np.full((2, 3, 2), [0.5 - 1e-12, 0.5 + 1e-12])
    written = replace(predictions, probabilities={"even": even})
    assert (written.probabilities["even"] == 0.5).all()
    write_predictions(ResultTables(tmp_path), written)
    assert {row["predicted"] for row in read_table(tmp_path / "tables" / "predictions.csv")} == {"HCC"}


def test_a_file_of_a_release_that_chose_before_rounding_is_read(tmp_path, predictions):
    write_predictions(
        ResultTables(tmp_path), replace(predictions, probabilities={"even": np.full((2, 3, 2), 0.5)})
    )
    path = tmp_path / "tables" / "predictions.csv"
    path.write_text(path.read_text().replace(",HCC,0.5", ",iCCA,0.5"))
    assert read_predictions(ResultTables(tmp_path)).models == ("even",)
