"""A small cohort with predictions of four models, for every table."""

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from aggregate.cohort.patient_facts import CohortFacts, PatientFacts
from aggregate.predictions import Predictions
from aggregate.statistics.config import ComparisonSection, StatisticsSection
from aggregate.statistics.decisions import TuneFold
from aggregate.statistics.resamples import draw_resamples

CLASSES = ("HCC", "iCCA", "cHCC-CCA")
N = 45


@pytest.fixture(autouse=True)
def one_thread():
    """As `write_tables` does: many small products gain nothing from more."""
    with threadpool_limits(limits=1):
        yield


@pytest.fixture
def settings() -> StatisticsSection:
    primary = ComparisonSection(model_a="boosting", model_b="attention")
    return StatisticsSection(draws=150, primary=primary, subgroup_covariates=("sex", "age"))


@pytest.fixture
def predictions() -> Predictions:
    rng = np.random.default_rng(7)
    labels = np.arange(N) % 3
    fold = np.stack([rng.permuted(np.arange(N) // 3 % 3) for _ in range(2)])
    logits = {name: rng.normal(size=(2, N, 3)) for name in ("attention", "boosting", "bag size")}
    for values, signal in zip(logits.values(), (1.2, 0.8, 0.1), strict=True):
        values[:, np.arange(N), labels] += signal
    probabilities = {name: np.exp(v) / np.exp(v).sum(axis=2, keepdims=True) for name, v in logits.items()}
    return Predictions(
        classes=CLASSES,
        patient_ids=tuple(f"{i:03d}" for i in range(N)),
        labels=labels.astype(np.intp),
        fold=fold.astype(np.intp),
        probabilities=probabilities | {"majority": np.full((2, N, 3), 1 / 3)},
        n_slices=rng.integers(5, 60, N),
        phases=("AP+PVP",) * N,
    )


@pytest.fixture
def cohort() -> CohortFacts:
    rng = np.random.default_rng(8)
    return CohortFacts(
        tuple(
            PatientFacts(
                patient_id=f"{i:03d}",
                label=CLASSES[i % 3],
                centre="Nord" if i % 5 else "Süd",
                tumour_volume_ml=None if i == 3 else round(float(rng.lognormal(3, 1)), 6),
                slice_thickness_mm=float(rng.choice([1.25, 5.0])),
                slices_per_phase={"AP": 12, "PVP": int(i % 4 > 0) * 9},
                covariates={"age": str(40 + i), "sex": "FM"[i % 2]},
            )
            for i in range(N)
        )
    )


@pytest.fixture
def tuning(predictions) -> dict[str, list[TuneFold]]:
    """Tune patients of every fold of every model but the majority; fold 2 of repeat 1 has one class only."""
    folds: dict[str, list[TuneFold]] = {}
    for model in ("attention", "boosting", "bag size"):
        for repeat, fold in np.ndindex(2, 3):
            chosen = np.flatnonzero(predictions.fold[repeat] == (fold + 1) % 3)
            if (repeat, fold) == (1, 2):
                chosen = chosen[predictions.labels[chosen] == 0]
            folds.setdefault(model, []).append(
                TuneFold(
                    repeat=repeat,
                    fold=fold,
                    patient_ids=tuple(predictions.patient_ids[i] for i in chosen),
                    labels=predictions.labels[chosen],
                    probabilities=predictions.probabilities[model][repeat, chosen].round(10),
                )
            )
    return folds


@pytest.fixture
def weights(predictions, settings) -> np.ndarray:
    return draw_resamples(predictions.labels, draws=settings.draws, seed=settings.seed)
