"""Patients worth looking at: the surest right and the surest mistaken prediction of each class."""

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
        Column("probability", "Of the predicted class, mean over the repeats", "0 to 1", Kind.NUMBER),
        Column("why", "Surest right prediction or surest mistake of the reference class"),
    ),
    place=270,
    step=Step.EXPLANATIONS,
    notes="Sure is the probability of the reference class: highest among the right, lowest among the mistaken.",
)
RIGHT, MISTAKEN = "surest right prediction", "surest mistake"


@dataclass(frozen=True)
class Choice:
    """A patient worth looking at, and why."""

    patient_id: str
    label: str
    predicted: str
    probability: float
    """Of the predicted class, mean over the repeats."""
    why: str

    @property
    def title(self) -> str:
        """Say in a line why this patient is shown."""
        return f"reference {self.label}, {self.why}: predicted {self.predicted} (p = {self.probability:.2f})"


def choose_patients(predictions: Predictions, model: str) -> list[Choice]:
    """Choose the surest right patient of each class and the surest mistake of each class.

    Sure is the mean out-of-fold probability of the reference class: high for the right, low for the mistaken.
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
    """Yield the rows of chosen_patients.csv, numbered as the pictures are."""
    for number, choice in enumerate(chosen, start=1):
        yield {"model": model, "number": number, **vars(choice)}
