"""Studies whose predictions are drawn and not trained."""

from itertools import product

import numpy as np

from aggregate.predictions import Predictions
from aggregate.statistics.config import StatisticsSection
from aggregate.statistics.decisions import TuneFold
from aggregate.store.fit_cache import Costs
from aggregate.study.basis import StudyBasis
from aggregate.study.configurations import Described
from aggregate.study_section import StudySection

CLASSES = ("HCC", "iCCA", "cHCC-CCA")
AGGREGATORS = {"mean": {"kind": "mean_pooling"}}


def levels_of(grid):
    """Return every combination of a grid {factor: levels}."""
    return [dict(zip(grid, chosen, strict=True)) for chosen in product(*grid.values())]


def drawn_study(
    combinations, *, strength=lambda _: 1.0, n=60, repeats=2, folds=4, seed=0, settings=None, moved=0.3, **study
):  # fmt: skip
    """Draw the predictions of a study.

    Args:
        combinations: levels of each configuration.
        strength: of the signal of a configuration, from its levels.
        n: patients.
        repeats: of the cross-validation.
        folds: of each repeat.
        seed: of the draw.
        settings: [aggregate.statistics].
        moved: noise of each repeat, as training moves a prediction, beside what a configuration thinks in all repeats.
        study: keys of [aggregate.study].
    """
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    fold = np.stack([stratified(rng, labels, folds) for _ in range(repeats)])
    shared = rng.normal(size=(n, 3))
    probabilities, described = {}, []
    for number, levels in enumerate(combinations):
        name = "/".join(levels.values())
        logits = shared + rng.normal(size=(n, 3)) + moved * rng.normal(size=(repeats, n, 3))
        logits[:, np.arange(n), labels] += strength(levels)
        probabilities[name] = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
        described.append(Described(name, levels, Costs(0.1 * 2.0 ** (number % 9), 900.0, 130)))
    return StudyBasis(
        Predictions(
            classes=CLASSES,
            patient_ids=tuple(f"p{i:03}" for i in range(n)),
            labels=labels,
            fold=fold,
            probabilities=probabilities,
            n_slices=np.full(n, 12),
            phases=("AP+PVP",) * n,
        ),
        {name: tuned(p, labels, fold) for name, p in probabilities.items()},
        tuple(described),
        settings or StatisticsSection(draws=400),
        StudySection(aggregators=AGGREGATORS, **study),
    )


def stratified(rng, labels, folds):
    """Return the fold of each patient, the patients of each class spread evenly."""
    fold = np.empty(len(labels), dtype=np.intp)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        fold[members] = rng.permutation(np.arange(len(members)) % folds)
    return fold


def tuned(probabilities, labels, fold):
    """Return what a model says of the patients of the next fold, as if these had been its tune patients."""
    found = []
    for repeat, of_repeat in enumerate(fold):
        n_folds = int(of_repeat.max()) + 1
        for k in range(n_folds):
            is_tune = of_repeat == (k + 1) % n_folds
            ids = tuple(f"p{i:03}" for i in np.flatnonzero(is_tune))
            found.append(TuneFold(repeat, k, ids, labels[is_tune], probabilities[repeat, is_tune]))
    return found
