"""training_cohort.json: whom a model was trained on, in groups only; nothing in it is about one patient."""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict

from aggregate.cohort.patient_facts import CohortFacts
from aggregate.package.bag_contract import FEWEST_TOLD, told_counts
from pipeline.covariates import Covariate, Kind

TRAINING_COHORT = "training_cohort.json"
_MOST_TOLD = 20
"""Of fewer numbers the quantiles 5 and 95 % would nearly be the smallest and the largest: those of two patients."""
_QUANTILES = {"q05": 0.05, "q25": 0.25, "median": 0.5, "q75": 0.75, "q95": 0.95}
_INNER = ("q25", "median", "q75")
_COUNTED = "<5"


class NumberGroup(BaseModel):
    """The spread of one number over the training patients."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    n_known: int | str
    quantiles: dict[str, float]
    """Those that the number of patients allows; empty below 5."""


class TrainingCohort(BaseModel):
    """Counts and quantiles; a count below 5 is "<5"."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    n_patients: int
    classes: dict[str, int | str]
    centres: dict[str, int | str]
    """Empty where the cohort table names none."""
    phases: dict[str, int | str]
    """Patients who have the phase."""
    slices: NumberGroup
    """Of a patient, over all phases."""
    tumour_volume_ml: NumberGroup
    slice_thickness_mm: NumberGroup
    numbers: dict[str, NumberGroup]
    """Columns of the cohort table that the configuration names, of numbers; of a column of dates only how many are known."""
    words: dict[str, dict[str, int | str]]
    """Likewise of categories; words of fewer than 5 patients are counted together as `other words`."""

    def range_of(self, name: str) -> tuple[float, float] | None:
        """Return where 90 % of the training patients lie in a column of numbers; None where they are too few to tell."""
        quantiles = self.numbers[name].quantiles if name in self.numbers else {}
        return (quantiles["q05"], quantiles["q95"]) if {"q05", "q95"} <= set(quantiles) else None


def training_cohort(facts: CohortFacts, covariates: Iterable[Covariate]) -> TrainingCohort:
    """Summarise the training patients.

    Args:
        facts: of every one of them.
        covariates: the columns of the cohort table that the configuration names.
    """
    patients = facts.patients
    of_phase = Counter(name for patient in patients for name in patient.phases_present)
    columns = list(covariates)
    return TrainingCohort(
        n_patients=len(patients),
        classes=told_counts(Counter(patient.label for patient in patients)),
        centres=told_counts(Counter(patient.centre for patient in patients if patient.centre)),
        phases=told_counts({name: of_phase[name] for name in facts.phase_names}),
        slices=number_group([float(sum(patient.slices_per_phase.values())) for patient in patients]),
        tumour_volume_ml=number_group([patient.tumour_volume_ml for patient in patients]),
        slice_thickness_mm=number_group([patient.slice_thickness_mm for patient in patients]),
        numbers={c.name: _numbers(c) for c in columns if c.kind is not Kind.CATEGORY},
        words={c.name: _words(c) for c in columns if c.kind is Kind.CATEGORY},
    )


def _numbers(covariate: Covariate) -> NumberGroup:
    spread = number_group(list(covariate.numbers.values()))
    # A date may name the day of one patient; its quantiles are told to nobody.
    return spread if covariate.kind is Kind.NUMBER else spread.model_copy(update={"quantiles": {}})


def _words(covariate: Covariate) -> dict[str, int | str]:
    counts = Counter(filter(None, covariate.words.values()))
    common = {name: n for name, n in sorted(counts.items()) if n >= FEWEST_TOLD}
    rest = sum(n for n in counts.values() if n < FEWEST_TOLD)
    return {**common, **({"other words": told_counts({"": rest})[""]} if rest else {})}


def number_group(values: Sequence[float | None]) -> NumberGroup:
    """Return the spread of the values that are known, as far as their number lets it be told."""
    known = np.array([value for value in values if value is not None], dtype=np.float64)
    if len(known) < FEWEST_TOLD:
        return NumberGroup(n_known=_COUNTED if len(known) else 0, quantiles={})
    shown = _QUANTILES if len(known) >= _MOST_TOLD else {name: _QUANTILES[name] for name in _INNER}
    # Three significant digits: enough to compare with, too few to know a patient by.
    found = {name: float(f"{np.quantile(known, share):.3g}") for name, share in shown.items()}
    return NumberGroup(n_known=len(known), quantiles=found)
