"""Checks for leakage before any training."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from aggregate.planning.configured_names import covariate_of
from pipeline.bags import BagHeader
from pipeline.cohort import Patient as Row
from pipeline.covariates import Value
from pipeline.errors import LeakError
from pipeline.names import AMBIGUOUS_LABELS, LABEL_ALIASES, folded


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
                    f"{owner}, phase {owner_phase}; a scan was mixed up, or one patient would count as two, and could be "
                    "trained on and tested: take one out of the cohort table, or its bag away"
                )


def check_no_label_among_covariates(
    covariates: Mapping[str, str], rows: Sequence[Row], labels: NDArray[np.intp]
) -> None:
    """Refuse a covariate that encodes the label.

    A column is refused when it holds the label's words, or when each of its few values (at most one in three
    patients) goes with one class only, be it that missing cells are a value or that their patients are left out.

    Args:
        covariates: column -> key of the configuration that names it.
        rows: of the cohort table.
        labels: intp (n,).

    Raises:
        LeakError: the column is named.
        CohortError: the cohort table has no such column, or says two things of one patient.
    """
    words = _label_words(rows)
    for column, where in covariates.items():
        values = covariate_of(column, rows, where=where).values
        told = [values[row.patient_id] for row in rows]
        known = [i for i, value in enumerate(told) if value is not None]
        mostly_known = 2 * len(known) > len(told) and _decides([told[i] for i in known], labels[known])
        if mostly_known or _decides(told, labels) or _are_words(told, words):
            first = next(rows[i].covariates[column] for i in known)
            raise LeakError(
                f"covariate {column!r} tells the label of every patient (values such as {first!r}); "
                f"take it out of {where}"
            )


def _decides(values: Sequence[Value], labels: NDArray[np.intp]) -> bool:
    """Whether few values go with one class each, and there are several classes."""
    classes_of: dict[Value, set[int]] = {}
    for value, label in zip(values, labels.tolist(), strict=True):
        classes_of.setdefault(value, set()).add(label)
    few = len(classes_of) <= max(2, len(values) // 3)
    return few and len(set(labels.tolist())) > 1 and all(len(classes) == 1 for classes in classes_of.values())


def _label_words(rows: Sequence[Row]) -> set[str]:
    aliases = {alias for name, of_name in LABEL_ALIASES.items() for alias in (name, *of_name)}
    own = {word for row in rows for word in (row.label, row.label_given) if word}
    return {folded(word) for word in (*aliases, *AMBIGUOUS_LABELS, *own)}


def _are_words(values: Sequence[Value], words: set[str]) -> bool:
    filled = [value for value in values if value is not None]
    return bool(filled) and all(isinstance(value, str) and folded(value) in words for value in filled)
