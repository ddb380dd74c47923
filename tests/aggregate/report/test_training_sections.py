"""The section on the training of the networks: what it shows, and what it says where there is none."""

from aggregate.report.elements import Figure, Note, Table
from aggregate.report.folder import ResultsFolder
from aggregate.report.training_sections import training_section
from aggregate.tables.results import ResultTables
from aggregate.tables.training_curves import TRAINING_CURVES


def rows_of(model, kept_of_fold, n_epochs):
    return [
        {
            "model": model,
            "repeat": 0,
            "fold": fold,
            "member": "",
            "epoch": epoch,
            "train_loss": 1 / epoch,
            "tune_loss": abs(epoch - kept),
            "kept": epoch == kept,
        }
        for fold, kept in enumerate(kept_of_fold)
        for epoch in range(1, n_epochs + 1)
    ]


def test_the_table_tells_which_epochs_are_kept_and_how_many_trainings_had_not_ended(write_results):
    path = write_results()
    rows = rows_of("attention", (2, 4, 5), 5)
    ResultTables(path).write(TRAINING_CURVES, rows)
    figure, table = training_section(ResultsFolder(path)).elements
    assert isinstance(figure, Figure)
    assert "attention" in figure.svg
    assert isinstance(table, Table)
    assert table.rows == [["attention", "3", "4 (2 to 5)", "1 of 3"]]


def test_a_run_without_networks_says_so(write_results):
    (note,) = training_section(ResultsFolder(write_results())).elements
    assert note == Note("Training curves: not available, since no model of this run has a network.")
