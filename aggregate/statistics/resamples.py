"""The bootstrap of patients: how often each patient is drawn, for every draw at once, and what rests on the draws."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


def draw_resamples(labels: NDArray[np.intp], *, draws: int, seed: int) -> NDArray[np.float64]:
    """Draw half the patients of each label without replacement and count them twice: the doubled half bootstrap.

    The standard deviation among these draws is the standard error, as with the usual bootstrap, but without two
    of its faults in small classes: drawing with replacement gives (n - 1) / n of the variance of a mean of n
    patients, and the copies of a patient tie with each other, which makes average precision too even. Here the
    variance of a mean is exact: an odd class gives its smaller half with probability (n - 1) / 2n, else its larger.
    McCarthy 1969 (half-samples); Antal and Tille 2014, Computational Statistics 29:1345 (doubled half bootstrap).

    Args:
        labels: intp (n,).
        draws: number of resamples.
        seed: equal seeds give equal resamples.

    Returns:
        float64 (n, 1 + draws): how much a patient counts; every class weighs its size. Column 0 is all ones, the
        cohort itself, so that an estimate and its resamples come from one computation.
    """
    rng = np.random.default_rng(seed)
    weights = np.ones((len(labels), 1 + draws))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        n = len(members)
        is_larger = rng.random(draws) < (n + 1) / (2 * n)
        half = np.where(is_larger, (n + 1) // 2, n // 2)
        order = rng.permuted(np.tile(np.arange(n), (draws, 1)), axis=1).T  # (n, draws)
        weights[members, 1:] = (order < half) * (n / half)
    return weights


@dataclass(frozen=True, eq=False)
class Sample:
    """The patients that a metric is measured on, as an interval needs to know them.

    Attributes:
        labels: intp (n,), index into the classes, which were resampled one by one.
        weights: float64 (n, 1 + draws), as `draw_resamples` returns.
        design_effect: how much more the metric varies than the patients say, as `design_effect` returns; None
            where that is not known.
    """

    labels: NDArray[np.intp]
    weights: NDArray[np.float64]
    design_effect: float | None = None

    def of_share(self, share: float) -> "Sample":
        """Return the sample for a metric that rests on a share of the patients, such as one class or a subgroup.

        Against the variance of independent patients, which grows as the patients grow fewer, the pairs of them
        that train each other's models weigh the less, in proportion to the share.
        """
        effect = self.design_effect
        return replace(self, design_effect=None if effect is None else 1 + (effect - 1) * share)

    def freedom(self, draws: NDArray[np.float64]) -> float:
        """Degrees of freedom of the standard error of a metric: Satterthwaite 1946, over the classes.

        Each class of n patients contributes a part of the variance that is known to n - 1 degrees. The part is
        read off the draws: the covariance of the metric with the weight of a patient is the patient's influence.

        Args:
            draws: float64 (1 + draws,), the metric of the cohort first; NaN where undefined.
        """
        known = np.isfinite(draws[1:])
        n_known = max(1, int(known.sum()))
        mean = float(np.sum(draws[1:], where=known)) / n_known
        deviations = np.where(known, draws[1:] - mean, 0.0)  # an undefined draw tells nothing
        influence = self.weights[:, 1:] @ deviations / n_known
        sizes = np.bincount(self.labels)
        by_chance = sizes * float(deviations @ deviations) / n_known**2
        parts = np.maximum(np.bincount(self.labels, influence**2) - by_chance, 0.0)
        degrees = np.maximum(1, sizes - 1)
        return float(parts.sum() ** 2 / np.sum(parts**2 / degrees)) if parts.any() else float(degrees.min())
