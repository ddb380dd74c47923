"""The tables of `predict`: predictions.csv, excluded.csv and columns.csv, beside each other in the folder that was asked for."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aggregate.package.loaded_package import Answer, Package
from aggregate.package.new_patients import NewPatients
from aggregate.statistics.printed_probabilities import PROBABILITY_DIGITS
from aggregate.tables.dictionary import COLUMNS
from aggregate.tables.excluded import EXCLUDED
from aggregate.tables.predictions import PROBABILITY_PREFIX
from aggregate.tables.results import ResultTables
from aggregate.tables.shared_columns import MODEL, PATIENT_ID, PROBABILITY_OF_CLASS
from aggregate.tables.table import Column, Kind, Names, Table

PREDICTED, LEFT_OUT, EXPLAINED = "predictions.csv", EXCLUDED.file, COLUMNS.file
_CALLED = "called_"
_LABEL = Column(
    "label", "Reference class of the patient, as in the cohort table; empty where it is not known"
)
_BEFORE = (
    PATIENT_ID,
    MODEL,
    Column("predicted", "Most probable class; the first one if several are equal"),
    PROBABILITY_OF_CLASS,
    Column(
        "called_<class>",
        "Whether the probability of the class reaches the threshold of the package; several classes may be called, or none",
        "",
        Kind.YES_NO,
    ),
)
_SETS = (
    Column(
        "prediction_set",
        "The classes that cannot be ruled out at the coverage that was asked for, joined by +",
    ),
    Column(
        "abstains", "Whether that is not a single class, so that the model does not decide", "", Kind.YES_NO
    ),
)
_AFTER = (
    Column("n_slices", "Slices in the bag, each once at however many scales", "slices", Kind.COUNT),
    Column("phases", "Phases seen of the patient, of those that the model looks at"),
    Column("phases_in_training", "Whether a training patient had the same phases", "", Kind.YES_NO),
    Column(
        "covariates_missing",
        "Columns that the model reads and that are empty for the patient, or hold a word that no training patient had",
    ),
    Column(
        "covariates_outside",
        "Columns of numbers that the model reads and of which 90 % of the training patients lie within other values; one patient in "
        "ten is expected here, and a whole cohort has another unit",
    ),
)


@dataclass(frozen=True, eq=False)
class TopTable(Table):
    """A table that lies in the folder itself, not in its folder `tables`."""

    @property
    def location(self) -> str:
        """Where the file lies."""
        return self.file


def predicted_table(*, has_labels: bool, has_sets: bool) -> TopTable:
    """Return predictions.csv of `predict`."""
    columns = (*_BEFORE, *(_SETS if has_sets else ()), *_AFTER, *((_LABEL,) if has_labels else ()))
    return TopTable(PREDICTED, "patient", columns, place=10, names_weights=False, digits=PROBABILITY_DIGITS)


_LEFT_OUT = TopTable(EXCLUDED.file, EXCLUDED.one_row_per, EXCLUDED.columns, place=20, names_weights=False)
_EXPLAINED = TopTable(COLUMNS.file, COLUMNS.one_row_per, COLUMNS.columns, place=30, names_weights=False)


def write_predicted(
    tables: ResultTables, package: Package, new: NewPatients, answers: Sequence[Answer]
) -> None:
    """Write predictions.csv and excluded.csv."""
    has_labels = bool(new.is_labelled.any())
    table = predicted_table(has_labels=has_labels, has_sets=answers[0].prediction_set is not None)
    rows = _rows(package, new, answers, has_labels=has_labels)
    tables.write(table, rows, {"class": package.classes})
    tables.write(
        _LEFT_OUT, sorted(map(vars, new.exclusions), key=lambda row: (row["patient_id"], row["phase"]))
    )


def write_explained(
    tables: ResultTables, more: Sequence[Table], names: Names, *, has_labels: bool, has_sets: bool
) -> None:
    """Write columns.csv of the tables in the folder itself.

    Args:
        tables: of the folder.
        more: further tables that lie there.
        names: what patterns among the columns stand for.
        has_labels: whether predictions.csv has them.
        has_sets: whether it has prediction sets.
    """
    predicted = predicted_table(has_labels=has_labels, has_sets=has_sets)
    rows = [
        {
            "file": table.file,
            "column": name,
            "meaning": column.meaning.replace("<confidence>", tables.level),
            "unit": column.unit,
        }
        for table in (predicted, _LEFT_OUT, *more)
        for column in table.columns
        for name in column.expanded(names)
    ]
    tables.write(_EXPLAINED, rows)


def _rows(
    package: Package, new: NewPatients, answers: Sequence[Answer], *, has_labels: bool
) -> Iterator[Mapping[str, Any]]:
    sizes = new.patients.bag_sizes() if new.patients.bag_sets else [None] * len(answers)
    for row, answer, size in zip(new.rows, answers, sizes, strict=True):
        sets = (
            {}
            if answer.prediction_set is None
            else {"prediction_set": "+".join(answer.prediction_set), "abstains": answer.abstains}
        )
        yield {
            "patient_id": answer.patient_id,
            "model": package.record.model,
            "predicted": answer.predicted,
            **{f"{PROBABILITY_PREFIX}{name}": p for name, p in answer.probabilities.items()},
            **{f"{_CALLED}{name}": called for name, called in answer.called.items()},
            **sets,
            "n_slices": None if size is None else int(size),
            "phases": answer.combination if new.patients.bag_sets else "",
            "phases_in_training": answer.is_combination_known if new.patients.bag_sets else None,
            "covariates_missing": "+".join(answer.covariates_missing),
            "covariates_outside": "+".join(answer.covariates_outside),
            **({"label": row.label or ""} if has_labels else {}),
        }
