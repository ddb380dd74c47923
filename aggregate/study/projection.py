"""projection.csv: patients of classes that no model was trained on, scored by every outer model of every fold.

As in the published re-classification of the combined carcinoma between its two parents: where on the way from one class to the
other does each patient lie?
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aggregate.cohort.patients import Patients
from aggregate.study.basis import StudyBasis
from aggregate.tables.predictions import PROBABILITY_PREFIX
from aggregate.tables.shared_columns import LABEL, MODEL, PATIENT_ID
from aggregate.tables.table import Column, Kind, Step, Table

PROJECTION = Table(
    "projection.csv",
    "configuration x patient",
    (
        MODEL,
        PATIENT_ID,
        LABEL,
        Column("projected", "yes where no model was trained on patients of this class", "", Kind.YES_NO),
        Column(
            "n_models",
            "Models that scored the patient: every outer model, or those that did not see the patient, one per repeat",
            "models",
            Kind.COUNT,
        ),
        Column(
            "p_<class>",
            "Probability of the class among those that the models were trained on, mean over these models",
            "0 to 1",
            Kind.PROBABILITY,
        ),
        Column(
            "sd_over_models",
            "Standard deviation over these models of the probability of the first class; empty for one model",
            "",
            Kind.NUMBER,
        ),
    ),
    place=490,
    step=Step.STUDY,
    notes=(
        "The classes named in `project` are in no training, tuning or test set and in no AUC of the study. The other patients "
        "stand here for comparison, with their out-of-fold scores. A score says which of the trained classes a patient "
        "resembles to the model, not what the tumour is. A patient of whom a configuration sees nothing gets the class shares of "
        "its training patients."
    ),
)


def projection_rows(
    basis: StudyBasis, name: str, projected: Patients, scores: NDArray[np.float64]
) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of one configuration: the projected patients, then the others.

    Args:
        basis: of the study.
        name: the configuration.
        projected: the patients whom no model was trained on.
        scores: float64 (models, patients, classes), of these.
    """
    predictions = basis.predictions
    others = zip(predictions.patient_ids, predictions.labels.tolist(), strict=True)
    told = [
        *((one, projected.label(i), True) for i, one in enumerate(projected.patient_ids)),
        *((one, predictions.classes[code], False) for one, code in others),
    ]
    by_patient = [*scores.swapaxes(0, 1), *predictions.probabilities[name].swapaxes(0, 1)]
    for (patient_id, label, is_projected), of_patient in zip(told, by_patient, strict=True):
        mean, n_models = of_patient.mean(axis=0), len(of_patient)
        yield {
            "model": name,
            "patient_id": patient_id,
            "label": label,
            "projected": is_projected,
            "n_models": n_models,
            **{
                f"{PROBABILITY_PREFIX}{of_class}": float(p)
                for of_class, p in zip(predictions.classes, mean, strict=True)
            },
            "sd_over_models": float(np.std(of_patient[:, 0], ddof=1)) if n_models > 1 else None,
        }
