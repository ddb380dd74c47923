"""training_curves.csv: the losses of every network, epoch by epoch."""

from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any

from aggregate.fitting.cross_validation import OutOfFold
from aggregate.tables.results import ResultTables
from aggregate.tables.shared_columns import FOLD, MODEL, REPEAT
from aggregate.tables.table import Column, Kind, Table

TRAINING_CURVES = Table(
    "training_curves.csv",
    "network x fold x epoch",
    (
        MODEL,
        REPEAT,
        FOLD,
        Column(
            "member",
            "Place of the network in an ensemble or another model around it; empty for a model of one network",
        ),
        Column("epoch", "Number of passes over the training patients", "epochs", Kind.COUNT),
        Column(
            "train_loss",
            "Mean weighted cross-entropy of the training patients in the epoch, with dropout and auxiliary terms",
            "",
            Kind.NUMBER,
        ),
        Column(
            "tune_loss",
            "Mean weighted cross-entropy of the tuning patients after the epoch, by which training stops; empty without any",
            "",
            Kind.NUMBER,
        ),
        Column("kept", "yes for the epoch whose weights are kept", "", Kind.YES_NO),
    ),
    place=55,
    notes=(
        "Models without epochs (trees, logistic regression) have no rows, and neither have fits that an earlier release left in "
        "the cache. A study does not write this table."
    ),
)


def write_curves(tables: ResultTables, result: OutOfFold) -> None:
    """Write training_curves.csv: one row per network, fold and epoch."""
    tables.write(TRAINING_CURVES, _rows(result))


def _rows(result: OutOfFold) -> Iterator[Mapping[str, Any]]:
    for model, fits in result.fits.items():
        for fold, fit in zip(result.folds, fits, strict=True):
            for course in fit.courses:
                for epoch, losses in enumerate(zip_longest(course["train"], course["tune"])):
                    yield {
                        "model": model,
                        "repeat": fold.repeat,
                        "fold": fold.fold,
                        "member": course["member"],
                        "epoch": epoch + 1,
                        "train_loss": losses[0],
                        "tune_loss": losses[1],
                        "kept": epoch == course["kept"],
                    }
