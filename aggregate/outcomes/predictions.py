"""Out-of-fold predictions of an outcome: the main result of such a run, from which all its tables are computed."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aggregate.outcomes.outcome import Outcome

DRAWN = "drawn_truth"
"""In the place of a model, of a synthetic cohort: what the outcomes were drawn from. No model can be better but by chance."""
_DIGITS = 6


@dataclass(frozen=True, eq=False)
class OutcomePredictions:
    """What models that did not see a patient say of it.

    Attributes:
        outcome: of the n patients.
        patient_ids: n patients, sorted.
        fold: intp (repeats, n), the fold in which a patient was tested.
        values: model -> float64 (repeats, n, columns), rounded as they are printed.
        percentiles: model -> float64 (repeats, n), of survival: the share of the tune patients of the same fold, whom the
            model was not trained on, with a lower risk; of those with the same risk a half. Empty for other tasks.
    """

    outcome: Outcome
    patient_ids: tuple[str, ...]
    fold: NDArray[np.intp]
    values: Mapping[str, NDArray[np.float64]]
    percentiles: Mapping[str, NDArray[np.float64]]

    def __post_init__(self) -> None:
        for name in ("values", "percentiles"):
            rounded = {model: np.round(array, _DIGITS) for model, array in getattr(self, name).items()}
            object.__setattr__(self, name, rounded)

    @property
    def models(self) -> tuple[str, ...]:
        """Model names in the order of the configuration, baselines last, without the drawn truth."""
        return tuple(name for name in self.values if name != DRAWN)

    def column(self, model: str, name: str) -> NDArray[np.float64]:
        """Return one column of a model (repeats, n)."""
        return self.values[model][:, :, self.outcome.columns.index(name)]

    def risk_groups(self, model: str) -> NDArray[np.intp]:
        """Return the risk group of each patient (n,), from 0, the lowest risk.

        By the mean over the repeats of the percentile among the tune patients, cut in equal parts: with one repeat and two
        groups, whether the risk is above the median of the tune patients of the fold.
        """
        n_groups = self.outcome.section.risk_groups
        place = self.percentiles[model].mean(axis=0) * n_groups
        return np.asarray(np.minimum(place.astype(np.intp), n_groups - 1), dtype=np.intp)


def percentile_among(risks: NDArray[np.float64], tune: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the share of the tune patients with a lower risk, of those with the same a half (n,)."""
    below = (tune[None, :] < risks[:, None]).mean(axis=1)
    equal = (tune[None, :] == risks[:, None]).mean(axis=1)
    return np.asarray(below + equal / 2, dtype=np.float64)
