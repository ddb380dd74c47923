"""How well probabilities of ordered grades agree with the observed ones, for every resample of the patients at once."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from aggregate.outcomes.predictions import OutcomePredictions
from aggregate.outcomes.statistics.measured import Floats, Key, MeasuredModel, OutcomeMetric, pair_ratio

GRADE_METRICS: Mapping[str, OutcomeMetric] = {
    "quadratic_kappa": OutcomeMetric(
        "Cohen's kappa with quadratic weights of the most probable and the observed grade: agreement beyond chance, where a miss by two "
        "grades counts four times one by one. 0 is chance.",
        "linear",
        is_compared=True,
    ),
    "mae_grades": OutcomeMetric(
        "Mean distance of the most probable from the observed grade, in grades.", "log", is_lower_better=True
    ),
    "threshold_auc": OutcomeMetric(
        "AUC of the probability of a grade above the threshold, among pairs of patients of one fold. 0.5 is chance."
    ),
    "ranked_probability": OutcomeMetric(
        "Ranked probability score: squared error of the probabilities of a grade above each threshold, summed. 0 is perfect.",
        "log",
        is_lower_better=True,
        is_compared=True,
    ),
}


def measure_grades(predictions: OutcomePredictions, model: str, weights: Floats) -> MeasuredModel:
    """Measure one model; weights (n, draws)."""
    outcome = predictions.outcome
    grades, names = np.asarray(outcome.values, dtype=np.intp), outcome.section.order
    found: dict[Key, list[Floats]] = {}
    losses = []
    for said, folds in zip(predictions.values[model], predictions.fold, strict=True):
        together = (folds[:, None] == folds[None, :]).astype(np.float64)
        above = said[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:]  # (n, grades - 1), P(grade > k)
        is_above = grades[:, None] > np.arange(len(names) - 1)
        loss = ((above - is_above) ** 2).sum(axis=1)
        losses.append(loss)
        called = said.argmax(axis=1)
        of_repeat: dict[Key, Floats] = {
            ("quadratic_kappa", ""): quadratic_kappa(grades, called, len(names), weights),
            ("mae_grades", ""): np.abs(called - grades) @ weights / weights.sum(axis=0),
            ("ranked_probability", ""): loss @ weights / weights.sum(axis=0),
        }
        for k, name in enumerate(names[:-1]):
            comparable = is_above[:, k][:, None] & ~is_above[:, k][None, :]
            difference = above[:, k][:, None] - above[:, k][None, :]
            higher = np.where(difference == 0, 0.5, (difference > 0).astype(np.float64)) * comparable
            of_repeat["threshold_auc", name] = pair_ratio(
                higher * together, comparable * together, weights, weights
            )
        for key, value in of_repeat.items():
            found.setdefault(key, []).append(value)
    return MeasuredModel({key: np.stack(values) for key, values in found.items()}, np.stack(losses))


def quadratic_kappa(
    observed: NDArray[np.intp], called: NDArray[np.intp], n_grades: int, weights: Floats
) -> Floats:
    """Return Cohen's kappa with quadratic weights for each draw (draws,); NaN where all are called and are the same."""
    codes = np.arange(n_grades)
    one, other = (
        (observed[:, None] == codes).astype(np.float64),
        (called[:, None] == codes).astype(np.float64),
    )
    total = weights.sum(axis=0)
    shares = [np.einsum("nk,nd->kd", of, weights) / total for of in (one, other)]
    distance = (codes[:, None] - codes[None, :]) ** 2
    seen = ((observed - called) ** 2) @ weights / total
    by_chance = np.einsum("kd,kl,ld->d", shares[0], distance, shares[1])
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(1 - seen / by_chance, dtype=np.float64)
