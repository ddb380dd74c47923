"""A whole results folder, as both writers leave it, from bags that are drawn."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pytest

from aggregate.cohort.folds import Fold
from aggregate.explain.inputs import OutOfFoldModels, attentions_of
from aggregate.explain.resampling import resampling_of
from aggregate.explain.writing import write_choices, write_clusters, write_model_explanations
from aggregate.predictions import Predictions
from aggregate.statistics.config import StatisticsSection
from aggregate.tables.excluded import EXCLUDED
from aggregate.tables.performance import CONFUSION, PERFORMANCE, confusion_rows, performance_rows
from aggregate.tables.predictions import write_predictions
from aggregate.tables.results import ResultTables
from aggregate.tables.splits import SPLITS, split_rows
from tests.conftest import patients_of

CLASSES = ("HCC", "iCCA", "cHCC-CCA")


@dataclass
class Looker:
    """Attends and votes by the first features."""

    classes_: np.ndarray

    def sees(self, patients):
        return np.array([bool(patients[i].phases_present("bags")) for i in range(len(patients))])

    def seen_bags(self, patients):
        return [patients[i].bags["bags"] for i in range(len(patients))]

    def attention(self, patients):
        weights = [np.exp(bag.features[:, 0].astype(float)) for bag in self.seen_bags(patients)]
        return [w / w.sum() for w in weights]

    def instance_evidence(self, patients):
        return [bag.features[:, :3].astype(float) for bag in self.seen_bags(patients)]

    def predict_proba(self, patients):
        pooled = np.stack([bag.features[:, :3].mean(axis=0) for bag in self.seen_bags(patients)])
        return np.exp(pooled) / np.exp(pooled).sum(axis=1, keepdims=True)


def record(**changes):
    recipe = {
        "encoder": "resnet18",
        "layer": "penultimate",
        "weights_name": "imagenet",
        "weights_sha256": "ab" * 32,
        "precision": "float32",
        "preprocessing": {"crop_mm": 96.0},
        "random_weights": False,
    }
    config = {
        "cohort": {"classes": list(CLASSES), "phases": ["NC", "AP", "PVP", "DP"]},
        "aggregate": {
            "model": {"attention": {"kind": "attention_mil"}},
            "splits": {"scheme": "stratified"},
            "figures": {"formats": ["svg"]},
            "seed": 0,
        },
    }
    base = {
        "name": "toy <1>",
        "created_utc": "2026-11-23T18:00:00+00:00",
        "recipes": {"bags": recipe},
        "config": config,
    }
    return {**base, "fits": {"attention": ["k"] * 8}, "software": {"python": "3.11"}, **changes}


def predictions_of(labels, rng, *, sure: float) -> Predictions:
    def draw(strength):
        logits = rng.normal(size=(2, len(labels), 3))
        logits[:, np.arange(len(labels)), labels] += strength
        return np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)

    return Predictions(
        classes=CLASSES,
        patient_ids=tuple(f"p{i:03}" for i in range(len(labels))),
        labels=np.asarray(labels, dtype=np.intp),
        fold=np.tile(np.arange(len(labels)) % 4, (2, 1)),
        probabilities={"attention": draw(sure), "bag_size": draw(0.0)},
        n_slices=np.full(len(labels), 12, dtype=np.intp),
        phases=("AP+PVP",) * len(labels),
    )


@pytest.fixture
def write_results(tmp_path, bags_and_labels):
    """Return a function that writes a folder of results and returns its path."""
    bags, labels = bags_and_labels

    def write(
        *, sure: float = 1.0, explained: bool = True, style: Mapping[str, str] | None = None, **changes
    ):
        rng = np.random.default_rng(7)
        folder, settings = tmp_path / "toy", StatisticsSection(draws=200)
        folder.mkdir()
        (folder / "run.json").write_text(json.dumps(record(**changes)))
        predictions = predictions_of(labels, rng, sure=sure)
        resampling = resampling_of(predictions.labels, draws=200, seed=0)
        tables = ResultTables(folder, **(style or {}))
        write_predictions(tables, predictions)
        tables.write(PERFORMANCE, performance_rows(predictions, resampling.weights, settings))
        tables.write(CONFUSION, confusion_rows(predictions))
        everyone = np.arange(len(labels))
        folds = [Fold(r, k, everyone[everyone % 4 != k][5:], everyone[everyone % 4 != k][:5],
                      everyone[everyone % 4 == k]) for r in range(2) for k in range(4)]  # fmt: skip
        tables.write(SPLITS, split_rows(folds, predictions.patient_ids))
        excluded = [{"patient_id": "p999", "phase": "", "stage": "cohort", "reason": "no label & no scan"}]
        tables.write(EXCLUDED, excluded)
        if explained:
            fitted = [(fold, Looker(np.arange(3))) for fold in folds]
            patients = patients_of(bags, predictions.labels)
            inputs = OutOfFoldModels({"attention": fitted}, patients)
            attentions = attentions_of(inputs)
            write_model_explanations(tables, inputs, attentions, resampling)
            write_choices(tables, predictions, next(iter(attentions.values())))
            write_clusters(tables, patients, seed=0)
        return folder

    return write
