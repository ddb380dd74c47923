"""The permutation control: on shuffled labels every honest model comes out at an AUC of one half."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aggregate.predictions import Predictions
from aggregate.statistics.measures import macro_auc
from aggregate.tables.twins import write_with_twin
from pipeline.tables import TableStyle, write_table

TABLES = ("null.csv", "null_summary.csv")
COLUMNS = ("model", "permutation", "auc")
SUMMARY_COLUMNS = ("model", "n_permutations", "mean_auc", "standard_error", "observed_auc", "p_value", "n")


def write_null(
    folder: Path, observed: Predictions, permuted: Sequence[Predictions], style: TableStyle
) -> None:
    """Write null.csv (macro AUC of each model and permutation) and null_summary.csv (their mean, p-values).

    The p-value is (1 + permutations with at least the observed AUC) / (1 + permutations), so it is never 0
    (Phipson and Smyth, "Permutation p-values should never be zero", 2010).
    """
    found = {model: [macro_auc_of(p, model) for p in permuted] for model in observed.models}
    write_table(folder / TABLES[0], COLUMNS, _rows(found), style=style)
    write_with_twin(folder / TABLES[1], SUMMARY_COLUMNS, _summary(observed, found), style=style)


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
