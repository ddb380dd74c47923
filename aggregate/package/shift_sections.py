"""The sections of a prediction's report on the new centre: is it like the training patients, and what does recalibration do."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from aggregate.package.domain_shift import CENTRES_TABLE, NO, PATIENTS_TABLE, differing
from aggregate.package.recalibration import RECALIBRATION
from aggregate.package.scan_quantities import QUANTITIES
from aggregate.package.shift_in_words import DISTANCE, PHASE
from aggregate.report.elements import Element, Note, Section, Table, cell, interval, p_text
from aggregate.tables.results import ResultTables
from aggregate.tables.rows import Row, numeric
from pipeline.names import number_of

_MOST_PATIENTS = 25
_NAMES = {"auc": "AUC", "log_loss": "log loss", "brier": "Brier score", "ece": "calibration error", "slope": "calibration slope",
          "intercept": "calibration intercept"}  # fmt: skip


def shift_section(tables: ResultTables) -> Section:
    """Return the section on how the patients differ from the training patients."""
    rows = tables.read(CENTRES_TABLE)
    elements: list[Element] = []
    for centre in dict.fromkeys(row["centre"] for row in rows):
        own = [row for row in rows if row["centre"] == centre]
        elements += _in_words(centre, own)
    elements.append(_centres(rows))
    elements.append(_patients(tables.read(PATIENTS_TABLE)))
    return Section(
        "shift",
        "Are these patients like the training patients?",
        "A model is tested on what it was trained on. What differs below was not tested; it need not harm, and what does not differ need not "
        "be safe. The package knows ranges and distances of its training patients, and none of them.",
        elements,
    )


def recalibration_section(tables: ResultTables) -> Section:
    """Return the section on the effect of the recalibration."""
    rows = tables.read(RECALIBRATION)
    first = rows[0]
    cells = [
        [
            row["class"],
            _NAMES[row["metric"]],
            cell(row, ("before", "before_ci_low", "before_ci_high")),
            cell(row, ("after", "after_ci_low", "after_ci_high")),
            _difference(row),
            p_text(row["p_value"]),
        ]
        for row in rows
    ]
    caption = (
        f"Of {number_of(first['n'], 'patient')} whose labels the recalibration has not seen. It was learned on "
        f"{number_of(first['n_recalibrated_on'], 'patient')}: {first['method']}. Differences are paired."
    )
    return Section(
        "recalibration",
        "Recalibration",
        "Do probabilities mean more after a few labelled patients of this centre? The weights of the model stay as they are, and so, nearly, "
        "does the order of the patients: AUC changes little. All other sections are of the package as it was frozen.",
        [
            Note(_effect_in_words(rows), lead="In short."),
            Table(
                ("class", "metric", "before", "after", "after minus before", "p"),
                cells,
                caption,
                f"../{RECALIBRATION.file}",
            ),
        ],
    )


def _in_words(centre: str, rows: Sequence[Row]) -> list[Element]:
    name = centre or "Patients without a centre"
    found = differing(rows)
    if not found:
        told = "No difference from the training patients is shown; with few patients there may be one all the same."
        return [Note(told, lead=f"{name}.")]
    # The distance over all phases stands for those of each phase.
    told_rows = [row for row in found if row["quantity"] != DISTANCE or not row["phase"]] or found
    return [Note(f"{row['in_words']}.", is_warning=True, lead=f"{name}.") for row in told_rows]


def _centres(rows: Sequence[Row]) -> Table:
    cells = [
        [
            row["centre"],
            _name(row),
            _number(row, "here"),
            _range(row),
            cell(row, ("share_outside", "ci_low", "ci_high")) if row["quantity"] != PHASE else "",
            f"{row['n_outside']} / {row['n']}" if row["quantity"] != PHASE else str(row["n"]),
            p_text(row["p_holm"]),
        ]
        for row in rows
    ]
    found = {id(row) for row in differing(rows)}
    caption = (
        "Median of the patients beside median and 5 to 95 % of the training patients; share outside, of which 0.10 (of distances 0.05) is "
        "expected of patients like the training patients. p: median test, of phases Fisher's exact test, Holm-adjusted within a centre; bold "
        "where below 0.05. A distance is 1 at about the median training patient."
    )
    return Table(
        ("centre", "what", "here", "training", "share outside", "n outside / n", "p"),
        cells,
        caption,
        f"../{CENTRES_TABLE.file}",
        emphasised=frozenset(i for i, row in enumerate(rows) if id(row) in found),
        n_first=40,
    )


def _patients(rows: Sequence[Row]) -> Element:
    told: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        if row["outside"] not in ("", NO):
            told[row["patient_id"]].append(f"{_name(row)} {row['value']:.3g} ({row['outside']})")
    if not told:
        return Note("No patient lies outside of the range of 90 % of the training patients in anything.")
    often = sorted(told.items(), key=lambda item: (-len(item[1]), item[0]))
    more = f" The {_MOST_PATIENTS} with the most of {len(often)}." if len(often) > _MOST_PATIENTS else ""
    return Table(
        ("patient", "outside in"),
        [[patient_id, "; ".join(words)] for patient_id, words in often[:_MOST_PATIENTS]],
        f"Patients outside of what 90 % (of distances 95 %) of the training patients have. One in ten is, in each single thing, when nothing "
        f"is different.{more}",
        f"../{PATIENTS_TABLE.file}",
    )


def _name(row: Row) -> str:
    phase = f", {row['phase']}" if row["phase"] else ""
    if row["quantity"] == DISTANCE:
        return f"distance of features ({row['features']}){phase}"
    if row["quantity"] == PHASE:
        return f"share with {row['phase']}"
    return f"{QUANTITIES[row['quantity']].words} ({row['unit']}){phase}"


def _range(row: Row) -> str:
    middle = _number(row, "training_median")
    low, high = numeric(row["training_low"]), numeric(row["training_high"])
    if high is None:
        return middle
    return f"{middle} (to {high:.3g})" if low is None else f"{middle} ({low:.3g} to {high:.3g})"


def _number(row: Mapping[str, Any], column: str) -> str:
    value = numeric(row[column])
    return "" if value is None else f"{value:.3g}"


def _difference(row: Row) -> str:
    value, low, high = (numeric(row[column]) for column in ("difference", "ci_low", "ci_high"))
    return "" if value is None else interval(value, low, high)


def _effect_in_words(rows: Sequence[Row]) -> str:
    (loss,) = (row for row in rows if row["metric"] == "log_loss")
    change, low, high = (numeric(loss[column]) for column in ("difference", "ci_low", "ci_high"))
    if change is None or low is None or high is None:
        return "The change of the log loss cannot be estimated on these patients."
    verdict = (
        "the probabilities are better after it"
        if high < 0
        else "the probabilities are worse after it"
        if low > 0
        else "no change is shown, and none is excluded beyond the interval"
    )
    return f"Log loss after minus before recalibration {interval(change, low, high)}: {verdict}."
