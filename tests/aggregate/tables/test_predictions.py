import numpy as np
import pytest

from aggregate.predictions import Predictions
from aggregate.tables.predictions import read_predictions, write_predictions
from pipeline.errors import ResultsError
from pipeline.tables import TableStyle

GERMAN = TableStyle(separator=";", decimal=",")


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


@pytest.mark.parametrize("style", [None, GERMAN], ids=["plain", "decimal comma"])
def test_what_is_written_is_read_back(tmp_path, predictions, style):
    write_predictions(tmp_path, predictions, style=style)
    found = read_predictions(tmp_path, style=style)
    for name in ("classes", "patient_ids", "models", "phases"):
        assert getattr(found, name) == getattr(predictions, name)
    for name in ("labels", "fold", "n_slices"):
        assert np.array_equal(getattr(found, name), getattr(predictions, name))
    for model in predictions.models:
        assert np.array_equal(found.probabilities[model], predictions.probabilities[model])


def test_writing_what_was_read_gives_the_same_file(tmp_path, predictions):
    write_predictions(tmp_path, predictions)
    first = (tmp_path / "predictions.csv").read_bytes()
    write_predictions(tmp_path, read_predictions(tmp_path))
    assert (tmp_path / "predictions.csv").read_bytes() == first


def test_a_row_stands_for_a_patient_a_repeat_and_a_model(tmp_path, predictions):
    write_predictions(tmp_path, predictions)
    lines = (tmp_path / "predictions.csv").read_text().splitlines()
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
        (lambda lines: [*lines[:-1], lines[-1].replace("0.", "x.", 1)], "line 13: expected a probability"),
    ],
    ids=["lost row", "lost column", "empty", "unknown label", "no number"],
)
def test_a_table_that_does_not_fit_is_refused_by_name(tmp_path, predictions, spoil, message):
    write_predictions(tmp_path, predictions)
    path = tmp_path / "predictions.csv"
    path.write_text("\n".join(spoil(path.read_text().splitlines())) + "\n")
    with pytest.raises(ResultsError, match=message):
        read_predictions(tmp_path)


def test_without_the_file_the_error_names_it(tmp_path):
    with pytest.raises(ResultsError, match=r"predictions\.csv: no such table"):
        read_predictions(tmp_path)
