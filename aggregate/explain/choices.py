"""Example patients: the most confident correct and the most confident wrong prediction of each class."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from aggregate.predictions import Predictions
from aggregate.tables.shared_columns import LABEL, PATIENT_ID
from aggregate.tables.table import Column, Kind, Step, Table

CHOSEN_PATIENTS = Table(
    "chosen_patients.csv",
    "patient whose pictures the report shows",
    (
        Column("model", "The explained model"),
        Column("number", "Number of the picture montage_<number>_<patient>.svg", "", Kind.COUNT),
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
            "why", "Reason for the choice: most confident correct or wrong prediction of the reference class"
        ),
    ),
    place=270,
    step=Step.EXPLANATIONS,
    notes="Chosen by the probability of the reference class: highest if predicted correctly, lowest if not.",
)
RIGHT, MISTAKEN = "surest right prediction", "surest mistake"


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


def choose_patients(predictions: Predictions, model: str) -> list[Choice]:
    """Choose the most confident correct and the most confident wrong prediction of each class.

    Confidence is measured by the mean out-of-fold probability of the reference class: the highest among correct, the
    lowest among wrong predictions.
    """
    mean = predictions.probabilities[model].mean(axis=0)
    called = mean.argmax(axis=1)
    chosen = []
    for k, name in enumerate(predictions.classes):
        of_class = predictions.labels == k
        right, wrong = np.flatnonzero(of_class & (called == k)), np.flatnonzero(of_class & (called != k))
        for found, why in (
            (right[np.argsort(-mean[right, k])], RIGHT),
            (wrong[np.argsort(mean[wrong, k])], MISTAKEN),
        ):
            if len(found):
                i = int(found[0])
                predicted = predictions.classes[called[i]]
                chosen.append(
                    Choice(predictions.patient_ids[i], name, predicted, float(mean[i, called[i]]), why)
                )
    return chosen


def choice_rows(model: str, chosen: Sequence[Choice]) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of chosen_patients.csv, numbered like the montages."""
    for number, choice in enumerate(chosen, start=1):
        yield {"model": model, "number": number, **vars(choice)}
