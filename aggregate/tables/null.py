"""The permutation control: on permuted labels the AUC is 0.5 unless there is leakage."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from aggregate.predictions import Predictions
from aggregate.statistics.measures import macro_auc
from aggregate.tables.results import ResultTables
from aggregate.tables.shared_columns import MODEL, N
from aggregate.tables.table import Column, Kind, Step, Table

NULL = Table(
    "null.csv",
    "model x permutation",
    (
        MODEL,
        Column("permutation", "Permutation of the labels, from 1", "", Kind.COUNT),
        Column(
            "auc",
            "Macro AUC of the whole run on the permuted labels, averaged over the repeats",
            "0 to 1",
            Kind.NUMBER,
        ),
    ),
    place=140,
    step=Step.NULL,
    notes=(
        "Written by `aggregate.py run --null N`: a pipeline without leakage gives an AUC of 0.5 on "
        "permuted labels."
    ),
)
NULL_SUMMARY = Table(
    "null_summary.csv",
    "model",
    (
        MODEL,
        Column("n_permutations", "Number of permutations of the labels", "permutations", Kind.COUNT),
        Column("mean_auc", "Mean macro AUC over the permutations", "0 to 1", Kind.NUMBER),
        Column(
            "standard_error",
            "Standard error of the mean; empty after a single permutation",
            "0 to 1",
            Kind.NUMBER,
        ),
        Column("observed_auc", "Macro AUC on the true labels", "0 to 1", Kind.NUMBER),
        Column(
            "p_value", "(1 + permutations that reach the observed AUC) / (1 + permutations)", "", Kind.NUMBER
        ),
        N,
    ),
    place=150,
    step=Step.NULL,
)


def write_null(tables: ResultTables, observed: Predictions, permuted: Sequence[Predictions]) -> None:
    """Write null.csv (macro AUC of each model and permutation) and null_summary.csv (their mean, p-values).

    The p-value is (1 + permutations with at least the observed AUC) / (1 + permutations), so it is never 0
    (Phipson and Smyth, "Permutation p-values should never be zero", 2010).
    """
    found = {model: [macro_auc_of(p, model) for p in permuted] for model in observed.models}
    tables.write(NULL, _rows(found))
    tables.write(NULL_SUMMARY, _summary(observed, found))


def macro_auc_of(predictions: Predictions, model: str) -> float:
    """Return the macro one-vs-rest AUC of a model, averaged over the repeats."""
    once = np.ones((len(predictions.labels), 1))
    measured = macro_auc(predictions.labels, predictions.probabilities[model], once)
    return float(measured.per_repeat.mean())


def _rows(found: Mapping[str, Sequence[float]]) -> Iterator[Mapping[str, Any]]:
    for model, aucs in found.items():
        for number, auc in enumerate(aucs, start=1):
            yield {"model": model, "permutation": number, "auc": auc}


def _summary(observed: Predictions, found: Mapping[str, Sequence[float]]) -> Iterator[Mapping[str, Any]]:
    for model, aucs in found.items():
        seen = macro_auc_of(observed, model)
        spread = float(np.std(aucs, ddof=1) / np.sqrt(len(aucs))) if len(aucs) > 1 else None
        yield {
            "model": model,
            "n_permutations": len(aucs),
            "mean_auc": float(np.mean(aucs)),
            "standard_error": spread,
            "observed_auc": seen,
            "p_value": (1 + sum(auc >= seen for auc in aucs)) / (1 + len(aucs)),
            "n": len(observed.labels),
        }
