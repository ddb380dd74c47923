"""Example patients: typical correct predictions and the most confident mistakes of each class."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aggregate.predictions import Predictions
from aggregate.tables.shared_columns import LABEL, PATIENT_ID
from aggregate.tables.table import Column, Kind, Step, Table

CHOSEN_PATIENTS = Table(
    "chosen_patients.csv",
    "patient whose pictures the report shows",
    (
        Column("model", "The explained model"),
        Column("number", "Number of the picture case_<number>_<patient>.svg", "", Kind.COUNT),
        PATIENT_ID,
        LABEL,
        Column("predicted", "Class with the highest mean out-of-fold probability"),
        Column(
            "probability",
            "Out-of-fold probability of the predicted class, mean over the repeats",
            "0 to 1",
            Kind.NUMBER,
        ),
        Column(
            "why", "Reason for the choice: typical right prediction or surest mistake of the reference class"
        ),
    ),
    place=270,
    step=Step.EXPLANATIONS,
    notes=(
        "Chosen by the probability of the reference class: of those predicted correctly the nearest to their median, of the "
        "others the lowest; `[aggregate] shown_cases` says how many of either."
    ),
)
RIGHT, MISTAKEN = "typical right prediction", "surest mistake"


@dataclass(frozen=True)
class Choice:
    """An example patient, and the reason for the choice."""

    patient_id: str
    label: str
    predicted: str
    probability: float
    """Out-of-fold probability of the predicted class, mean over the repeats."""
    why: str

    @property
    def title(self) -> str:
        """One line that states why this patient is shown."""
        return f"reference {self.label}, {self.why}: predicted {self.predicted} (p = {self.probability:.2f})"


def choose_patients(predictions: Predictions, model: str, n: int = 1) -> list[Choice]:
    """Choose `n` typical correct predictions and the `n` most confident mistakes of each class.

    By the mean out-of-fold probability of the reference class: typical is nearest to the median of the correct
    predictions, since the surest one shows what is rare; the most confident mistake has the lowest.
    """
    mean = predictions.probabilities[model].mean(axis=0)
    called = mean.argmax(axis=1)
    chosen = []
    for k, name in enumerate(predictions.classes):
        of_class = predictions.labels == k
        right, wrong = np.flatnonzero(of_class & (called == k)), np.flatnonzero(of_class & (called != k))
        for found, why in (
            (right[_nearest_to_median(mean[right, k])], RIGHT),
            (wrong[np.argsort(mean[wrong, k], kind="stable")], MISTAKEN),
        ):
            for i in found[:n].tolist():
                predicted = predictions.classes[called[i]]
                chosen.append(
                    Choice(predictions.patient_ids[i], name, predicted, float(mean[i, called[i]]), why)
                )
    return chosen


def _nearest_to_median(values: NDArray[np.float64]) -> NDArray[np.intp]:
    if not len(values):
        return np.empty(0, dtype=np.intp)
    return np.argsort(np.abs(values - np.median(values)), kind="stable")


def choice_rows(model: str, chosen: Sequence[Choice]) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of chosen_patients.csv, numbered like the pictures."""
    for number, choice in enumerate(chosen, start=1):
        yield {"model": model, "number": number, **vars(choice)}
