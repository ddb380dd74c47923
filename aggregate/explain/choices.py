"""Patients worth looking at: the surest right and the surest mistaken prediction of each class."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from aggregate.predictions import Predictions

CHOICE_COLUMNS = ("model", "number", "patient_id", "label", "predicted", "probability", "why")
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
