"""What `predict` tells of a new centre beside the predictions: how it differs from the training patients, and its recalibration."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aggregate.package.domain_shift import (
    CENTRES_TABLE,
    PATIENTS_TABLE,
    centre_rows,
    differing,
    measure_shift,
    patient_rows,
)
from aggregate.package.loaded_package import Answer, Package
from aggregate.package.new_patients import STAGE, NewPatients
from aggregate.package.recalibration import (
    RECALIBRATED,
    RECALIBRATION,
    Recalibration,
    effect_rows,
    learn_recalibration,
    read_recalibration_patients,
    recalibrated_rows,
)
from aggregate.package.shift_in_words import DISTANCE
from aggregate.statistics.config import StatisticsSection
from aggregate.tables.results import ResultTables
from aggregate.tables.rows import Row
from aggregate.tables.table import Table
from pipeline.cohort import Exclusion
from pipeline.names import number_of


@dataclass(frozen=True, eq=False)
class RecalibratedCentre:
    """A recalibration and the patients that it was learned on.

    Attributes:
        recalibration: what was learned.
        used: bool (n,), the patients whose labels it has seen, among all who are predicted.
    """

    recalibration: Recalibration
    used: NDArray[np.bool_]


def recalibrated_on(
    path: Path, package: Package, new: NewPatients, answers: Sequence[Answer]
) -> RecalibratedCentre:
    """Learn the recalibration on the patients that a file names.

    Raises:
        CohortError: the file, or the patients in it, cannot be used.
        ResultsError: the file cannot be read.
    """
    labels = [new.patients.label(i) if known else None for i, known in enumerate(new.is_labelled.tolist())]
    used = read_recalibration_patients(path, new.patients.patient_ids, labels)
    probabilities = probabilities_of(package, answers)
    learned = learn_recalibration(probabilities[used], new.patients.codes[used], package.classes)
    return RecalibratedCentre(learned, used)


def not_recalibrated_on(
    new: NewPatients, answers: Sequence[Answer], centre: RecalibratedCentre | None
) -> tuple[NewPatients, Sequence[Answer]]:
    """Return the patients on whom the model may be measured, the others with the reason among the exclusions."""
    if centre is None:
        return new, answers
    names = [name for name, was in zip(new.patients.patient_ids, centre.used, strict=True) if was]
    reason = "its label was used for the recalibration, so it is in no table here"
    own = tuple(Exclusion(name, "", STAGE, reason) for name in names)
    others = replace(new.of(~centre.used), exclusions=(*new.exclusions, *own))
    return others, [answer for answer, was in zip(answers, centre.used, strict=True) if not was]


def write_shift(tables: ResultTables, package: Package, new: NewPatients) -> Sequence[Table]:
    """Write domain_shift.csv and domain_shift_centres.csv, and return the tables; none for a model that reads no bags."""
    if package.distribution is None:
        return ()
    centres = [row.centre or "" for row in new.rows]
    shift = measure_shift(package.distribution, new.patients, centres, confidence=package.record.confidence)
    tables.write(PATIENTS_TABLE, patient_rows(shift))
    tables.write(CENTRES_TABLE, centre_rows(shift))
    return PATIENTS_TABLE, CENTRES_TABLE


def write_recalibration(
    tables: ResultTables,
    package: Package,
    new: NewPatients,
    answers: Sequence[Answer],
    centre: RecalibratedCentre,
) -> Sequence[Table]:
    """Write recalibrated.csv of everybody and recalibration.csv of those whose labels were not used; return the tables."""
    probabilities = probabilities_of(package, answers)
    tested = new.is_labelled & ~centre.used
    settings = StatisticsSection(confidence=package.record.confidence)
    effect = effect_rows(
        centre.recalibration, probabilities[tested], new.patients.codes[tested], package.classes, settings
    )
    tables.write(RECALIBRATION, effect)
    rows = recalibrated_rows(
        centre.recalibration, new.patients.patient_ids, centre.used.tolist(), probabilities
    )
    tables.write(RECALIBRATED, rows, {"class": package.classes})
    return RECALIBRATION, RECALIBRATED


def told_of_shift(rows: Sequence[Row]) -> Iterator[str]:
    """Tell of each centre in one line whether it differs from the training patients, and in what."""
    for centre in dict.fromkeys(row["centre"] for row in rows):
        own = [row for row in rows if row["centre"] == centre]
        found = list(dict.fromkeys(_named(row) for row in differing(own)))
        who = f"centre {centre}" if centre else "patients of an unnamed centre"
        n = max(row["n"] for row in own)
        yield (
            f"{who} ({number_of(n, 'patient')}) differs from the training patients in: {', '.join(found)} ({CENTRES_TABLE.file})"
            if found
            else f"{who} ({number_of(n, 'patient')}): no difference from the training patients was shown; with few patients there may be one"
        )


def told_of_recalibration(rows: Sequence[Mapping[str, Any]], centre: RecalibratedCentre) -> str:
    """Tell what was learned, and the change of the log loss of the others."""
    (loss,) = (row for row in rows if row["metric"] == "log_loss")
    return (
        f"recalibrated on {number_of(centre.recalibration.n_patients, 'patient')}: {centre.recalibration.method}; log loss of the "
        f"{loss['n']} others {loss['before']:.3f} before, {loss['after']:.3f} after ({RECALIBRATION.file})"
    )


def probabilities_of(package: Package, answers: Sequence[Answer]) -> NDArray[np.float64]:
    """Return the probabilities of some answers, float64 (n, classes)."""
    return np.array([[answer.probabilities[name] for name in package.classes] for answer in answers])


def _named(row: Mapping[str, Any]) -> str:
    if row["quantity"] == DISTANCE:
        return f"features ({row['features']})"
    return f"{row['quantity']} {row['phase']}".strip()
