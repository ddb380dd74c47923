"""phases.csv: attention to each phase, and the contribution of each phase to the AUC."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aggregate.explain.attention import MODEL_OR_CONTROL, phase_share_rows
from aggregate.explain.inputs import PerInstance
from aggregate.explain.phase_value import WORTH, PhaseValues, value_rows
from aggregate.explain.resampling import Resampling
from aggregate.tables.shared_columns import PHASE, bounds
from aggregate.tables.table import Column, Kind, Step, Table
from pipeline.bags import Bag


def _with_bounds(name: str, meaning: str, unit: str) -> tuple[Column, ...]:
    number = Kind.NUMBER
    return (
        Column(name, meaning, unit, number),
        *bounds(unit, kind=number, low=f"{name}_low", high=f"{name}_high"),
    )


PHASES = Table(
    "phases.csv",
    "model or control x phase",
    (
        MODEL_OR_CONTROL,
        PHASE,
        Column("n_patients", "Patients with the phase", "patients", Kind.COUNT),
        *_with_bounds(
            "attention_share", "Share of the attention in the phase, mean over these patients", "0 to 1"
        ),
        Column(
            "slice_share", "Share of the slices in the phase, mean over these patients", "0 to 1", Kind.NUMBER
        ),
        *_with_bounds("enrichment", "Share of attention divided by share of slices; 1 for both controls", ""),
        Column(
            "worth_by",
            (
                "Method of the next columns: masking (fitted models with phases withheld), or retraining if every "
                "subset of the phases can be trained on"
            ),
        ),
        *_with_bounds("shapley", WORTH["shapley"], "AUC"),
        *_with_bounds("auc_alone", WORTH["auc_alone"], "AUC"),
        *_with_bounds("auc_without", WORTH["auc_without"], "AUC"),
    ),
    place=180,
    step=Step.EXPLANATIONS,
)


def phase_rows(
    attention: PerInstance, values: Sequence[PhaseValues], bags: Sequence[Bag], resampling: Resampling
) -> Iterator[Mapping[str, Any]]:
    """Yield a row per phase of a model, or of a control (without the columns on the AUC)."""
    for row in phase_share_rows(attention, bags, resampling):
        yield {**row, **_worth(values, row["phase"], resampling)}


def _worth(values: Sequence[PhaseValues], phase: str, resampling: Resampling) -> Mapping[str, Any]:
    """Return the AUC cells of a phase, from the last method that could evaluate every subset."""
    complete = [v for v in values if not v.reasons]  # masking needs no training: always complete
    rows = value_rows(complete[-1], resampling) if complete else ()
    cells = {row["measure"]: row for row in rows if row["phase"] == phase}
    found: dict[str, Any] = {"worth_by": complete[-1].method if complete else ""}
    for measure in WORTH:
        row = cells.get(measure, {})
        found |= {measure: row.get("estimate"), f"{measure}_low": row.get("ci_low")}
        found[f"{measure}_high"] = row.get("ci_high")
    return found
