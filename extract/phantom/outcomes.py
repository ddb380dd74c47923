"""Outcomes of the patients of a phantom, drawn from their signs: survival, a grade, a number.

    hazard(t) = (shape / scale) (t / scale)^(shape - 1) exp(risk)        risk: a sum over signs, size and age
    logit P(grade <= k) = cut_k - score                                  score: likewise
    number ~ Normal(mean, sd)                                            mean: likewise

A patient enters at a random time and leaves at the end of the study, dead or alive, so censoring tells nothing of the risk. All
effects are assumptions [A]: they show that a model finds what is there, and say nothing about people. They are drawn from a
stream of random numbers of their own, so that no image depends on them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from extract.phantom.config import OutcomesSection
from extract.phantom.subjects import Subject
from pipeline.drawn_outcomes import DrawnGrade, DrawnNumber, DrawnOutcomes, DrawnSurvival

Floats = NDArray[np.float64]
TIME, EVENT, GRADE, NUMBER = "months", "died", "grade", "mvi_score"
COLUMNS = (TIME, EVENT, GRADE, NUMBER)
"""Further columns of the cohort table."""
GRADES = ("G1", "G2", "G3")
_STREAM = 0x0C0E
_SHAPE = 1.3
_REFERENCE_MM, _REFERENCE_AGE = 60.0, 60.0
_RISK = {"nonrim_aphe": -2.2, "capsule": -0.8, "satellites": 0.6, "necrosis": 0.8}
_RISK_OF_SIZE, _RISK_OF_DECADE, _RISK_AT_MEAN = 0.6, 0.15, -1.1
_SCORE = {"washout": 2.0, "nonrim_aphe": -2.0, "progressive": 1.0, "capsule": -1.0}
_SCORE_OF_SIZE, _CUTS = 0.8, (-1.0, 0.8)
_MEAN = {"nonrim_aphe": -18.0, "washout": 8.0, "satellites": 6.0, "necrosis": 6.0}
_MEAN_BASE, _MEAN_OF_SIZE, _SD = 55.0, 8.0, 8.0
_LEAST_MONTHS = 0.1
"""Times are given to a tenth of a month, and none is 0."""


@dataclass(frozen=True, eq=False)
class Outcomes:
    """The outcomes of n patients, and what they were drawn from.

    Attributes:
        cells: patient -> column of the cohort table -> cell.
        drawn: the probabilities behind them.
    """

    cells: Mapping[str, Mapping[str, object]]
    drawn: DrawnOutcomes

    def truth(self, patient_id: str) -> Mapping[str, object]:
        """Return the columns of truth.csv of one patient."""
        return {
            **self.cells[patient_id],
            "drawn_risk": self.drawn.survival.log_hazard[patient_id],
            "drawn_mean_of_mvi_score": self.drawn.number.mean[patient_id],
            **{
                f"drawn_p_{grade}": p
                for grade, p in zip(GRADES, self.drawn.grade.probabilities[patient_id], strict=True)
            },
        }


def draw_outcomes(section: OutcomesSection, subjects: Sequence[Subject], *, seed: int) -> Outcomes:
    """Draw the outcomes of all patients."""
    rng = np.random.default_rng((seed, _STREAM))
    names = [subject.patient_id for subject in subjects]
    size = np.log([subject.diameter_mm / _REFERENCE_MM for subject in subjects])
    risk = section.effect * _risk(subjects, size)
    score = section.effect * (_sum(_SCORE, subjects) + _SCORE_OF_SIZE * size)
    mean = _MEAN_BASE + section.effect * (_sum(_MEAN, subjects) + _MEAN_OF_SIZE * size)
    scale = section.median_months / np.log(2) ** (1 / _SHAPE)
    months, died = _survival(section, risk, scale, rng)
    below = expit(np.array(_CUTS) - score[:, None])  # (n, grades - 1), P(grade <= k)
    grade = (rng.random((len(names), 1)) > below).sum(axis=1)
    number = mean + _SD * rng.standard_normal(len(names))
    shares = np.diff(np.column_stack([np.zeros(len(names)), below, np.ones(len(names))]), axis=1)
    cells = {
        name: {
            TIME: f"{months[i]:.1f}",
            EVENT: int(died[i]),
            GRADE: GRADES[grade[i]],
            NUMBER: f"{number[i]:.1f}",
        }
        for i, name in enumerate(names)
    }
    drawn = DrawnOutcomes(
        DrawnSurvival(TIME, EVENT, _SHAPE, float(scale), dict(zip(names, risk.tolist(), strict=True))),
        DrawnGrade(GRADE, GRADES, dict(zip(names, shares.tolist(), strict=True))),
        DrawnNumber(NUMBER, dict(zip(names, mean.tolist(), strict=True))),
    )
    return Outcomes(cells, drawn)


def _risk(subjects: Sequence[Subject], size: Floats) -> Floats:
    age = np.array([subject.age for subject in subjects], dtype=np.float64)
    decades = (age - _REFERENCE_AGE) / 10
    return _sum(_RISK, subjects) + _RISK_OF_SIZE * size + _RISK_OF_DECADE * decades - _RISK_AT_MEAN


def _survival(
    section: OutcomesSection, risk: Floats, scale: float, rng: np.random.Generator
) -> tuple[Floats, NDArray[np.bool_]]:
    """Draw the months observed, to a tenth, and whether they ended with death."""
    to_death = scale * (rng.exponential(size=len(risk)) / np.exp(risk)) ** (1 / _SHAPE)
    to_end = rng.uniform(*section.follow_up_months, size=len(risk))
    months = np.maximum(np.round(np.minimum(to_death, to_end), 1), _LEAST_MONTHS)
    return months, to_death <= to_end


def _sum(effects: Mapping[str, float], subjects: Sequence[Subject]) -> Floats:
    shown = [
        {**subject.signs, "necrosis": subject.tumour.necrosis_limit < float("inf")} for subject in subjects
    ]
    return np.array([sum(effect * signs[name] for name, effect in effects.items()) for signs in shown])
