"""What must never reach the training, looked for before anything is trained."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.bags import BagHeader
from pipeline.cohort import LABEL_ALIASES, Patient
from pipeline.errors import CohortError, LeakError


def check_no_shared_images(headers: Sequence[BagHeader]) -> None:
    """Refuse the same image under two patients.

    Raises:
        LeakError: two patients share an image; both, and the phases, are named.
    """
    owners: dict[str, tuple[str, str]] = {}
    for header in headers:
        for phase, source in header.sources.items():
            owner, owner_phase = owners.setdefault(source.image_sha256, (header.patient_id, phase))
            if owner != header.patient_id:
                raise LeakError(
                    f"patient {header.patient_id}, phase {phase} ({source.file}) has the same image as patient "
                    f"{owner}, phase {owner_phase}; one of them could be trained on and the other tested: take one "
                    "out of the cohort table"
                )


def check_no_label_among_covariates(
    covariates: Sequence[str], patients: Sequence[Patient], labels: NDArray[np.intp]
) -> None:
    """Refuse a covariate that is the label under another name.

    A column is refused when it holds the label's words, or when each of its few values (at most one in three
    patients) goes with one class only.

    Raises:
        LeakError: the column is named.
        CohortError: the cohort table has no such column, or says two things of one patient.
    """
    for column in covariates:
        values = _values_of(column, patients)
        classes_of: Mapping[str, set[int]] = {value: set() for value in values}
        for value, label in zip(values, labels, strict=True):
            classes_of[value].add(int(label))
        decides = len(set(labels.tolist())) > 1 and all(len(classes) == 1 for classes in classes_of.values())
        few = len(classes_of) <= max(2, len(patients) // 3)
        if (decides and few) or _are_label_words(classes_of):
            raise LeakError(
                f"covariate {column!r} tells the label of every patient (values such as {sorted(classes_of)[0]!r}); "
                "take it out of [aggregate] covariates"
            )


def _values_of(column: str, patients: Sequence[Patient]) -> list[str]:
    if not any(column in patient.covariates for patient in patients):
        raise CohortError(
            f"covariate {column!r} is no column of the cohort table; see [aggregate] covariates"
        )
    for patient in patients:
        if column in patient.contradictions:
            raise CohortError(f"patient {patient.patient_id}: {patient.contradictions[column]}")
    return [patient.covariates.get(column, "") for patient in patients]


def _are_label_words(values: Mapping[str, object]) -> bool:
    words = {alias for name, aliases in LABEL_ALIASES.items() for alias in (name.lower(), *aliases)}
    return bool(values) and all(value.lower() in words for value in values if value) and any(values)
