"""A power law of the learning curve: AUC(n) = a - b n^(-c), what a model would reach with more training patients.

a is the AUC that endless patients would give, c how fast it is approached. The law describes many learning curves well
(Figueroa, Zeng-Treitler, Kandula and Ngo 2012, BMC Medical Informatics and Decision Making 12:8), but three to five points
determine it badly, and nothing says that it holds far beyond them: a planning aid.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import OptimizeResult, least_squares

FEWEST_SIZES = 3
"""A law with three numbers needs as many points."""
MOST_REFITS = 500
"""Resamples on which the law is fitted again: enough for a standard error, and seconds instead of minutes."""
_SMALLEST_ERROR = 1e-3
"""A standard error below this, as of an AUC of 1, would make one point decide alone."""
_STARTS = (0.2, 0.5, 1.0, 2.0)
_LOW, _HIGH = (0.0, 0.0, 0.01), (1.0, 1.0, 3.0)
"""Bounds of a, of the distance to a at the smallest number of patients, and of c."""


@dataclass(frozen=True)
class PowerLaw:
    """AUC(n) = a - b n^(-c)."""

    a: float
    b: float
    c: float

    def at(self, n: float) -> float:
        """Return the AUC with n training patients."""
        return float(self.a - self.b * n**-self.c)


def why_no_law(sizes: Sequence[float], values: Sequence[float]) -> str | None:
    """Return why no law can be fitted to a learning curve; None where one can.

    Args:
        sizes: numbers of training patients.
        values: the AUC at each.
    """
    n_sizes = len(set(sizes))
    if n_sizes < FEWEST_SIZES:
        return f"a power law needs {FEWEST_SIZES} numbers of training patients, found {n_sizes}"
    fewest, most = int(np.argmin(sizes)), int(np.argmax(sizes))
    if values[most] <= values[fewest]:
        return "the AUC does not rise from the fewest to the most training patients"
    return None


def fit_power_law(
    sizes: Sequence[float], values: Sequence[float], errors: Sequence[float], *, like: PowerLaw | None = None
) -> PowerLaw:
    """Fit the law to a learning curve, each point weighted by its standard error.

    Args:
        sizes: numbers of training patients, at least three.
        values: the AUC at each.
        errors: its standard errors.
        like: a law to start from; None tries several starts and takes the best.
    """
    n, y = np.asarray(sizes, dtype=np.float64), np.asarray(values, dtype=np.float64)
    ratio, weight = n / n.min(), 1 / np.maximum(np.asarray(errors, dtype=np.float64), _SMALLEST_ERROR)

    def residuals(p: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray((p[0] - p[1] * ratio ** -p[2] - y) * weight)

    def slopes(p: NDArray[np.float64]) -> NDArray[np.float64]:
        fall = ratio ** -p[2]
        return np.asarray(
            np.stack([np.ones_like(n), -fall, p[1] * fall * np.log(ratio)], axis=1) * weight[:, None]
        )

    rise = max(float(y.max() - y.min()), _SMALLEST_ERROR)
    starts = [(float(y.max()), rise, c) for c in _STARTS]
    if like is not None:
        starts = [(like.a, like.b * float(n.min()) ** -like.c, like.c)]
    found: list[OptimizeResult] = [
        least_squares(
            residuals, np.clip(start, _LOW, _HIGH), jac=slopes, bounds=(_LOW, _HIGH), xtol=1e-12, ftol=1e-12
        )
        for start in starts
    ]
    a, distance, c = min(found, key=lambda one: float(one.cost)).x
    return PowerLaw(float(a), float(distance * n.min() ** c), float(c))


def extrapolated_draws(
    sizes: Sequence[float], draws: NDArray[np.float64], targets: Sequence[float]
) -> tuple[PowerLaw, NDArray[np.float64]]:
    """Fit the law to the cohort and to its resamples; return the law of the cohort, and what each says of the targets.

    Args:
        sizes: numbers of training patients.
        draws: float64 (1 + draws, sizes), the AUC of the cohort first, then of each resample of the test patients.
        targets: numbers of training patients to read the laws at.

    Returns:
        The law, and float64 (1 + refits, targets); NaN where a resample has no AUC.
    """
    errors = np.nanstd(draws[1:], axis=0, ddof=1)
    law = fit_power_law(sizes, draws[0], errors)
    read = np.full((min(len(draws), 1 + MOST_REFITS), len(targets)), np.nan)
    for i in range(len(read)):
        if np.isfinite(draws[i]).all():
            one = law if i == 0 else fit_power_law(sizes, draws[i], errors, like=law)
            read[i] = [one.at(n) for n in targets]
    return law, read
