"""domain_shift.csv and domain_shift_centres.csv: how new patients and their hospital differ from the training patients.

A patient's quantity is held against the range of 90 % of the training patients; a distance of features against the distance
beyond which 5 % (1 %) of the training patients lay, each measured from a distribution that had not seen the patient. So a patient
of the same distribution is outside of a range 1 in 10 times, and beyond 95 % 1 in 20 times.

A hospital is compared by a median test: how many of its patients lie above the median of the training patients, and how many
below. Under the same distribution these numbers are beta-binomial, with the chance in both groups in it (Mathisen 1943, Annals of
Mathematical Statistics 14:188); it needs no value of a training patient. Phases are compared by Fisher's exact test. Holm's adjustment is over
the rows of a hospital.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import betabinom, fisher_exact

from aggregate.cohort.patients import Patients
from aggregate.package.predicted_tables import TopTable
from aggregate.package.read_features import vectors_of
from aggregate.package.scan_quantities import ALL_PHASES, QUANTITIES, quantities_of
from aggregate.package.shift_in_words import (
    DISTANCE,
    PHASE,
    REASONS,
    distance_in_words,
    patient_in_words,
    phase_in_words,
    quantity_in_words,
)
from aggregate.package.training_distribution import (
    FAR,
    FEWEST,
    HIGH,
    LOW,
    Spread,
    TrainingDistribution,
    reading_of,
)
from aggregate.statistics.comparisons import holm
from aggregate.statistics.intervals import Estimate, wilson, without_estimate
from aggregate.tables.rows import interval_cells
from aggregate.tables.shared_columns import PATIENT_ID, interval
from aggregate.tables.table import Column, Kind

NO, BELOW, ABOVE, BEYOND, VERY_FAR = "no", "below", "above", "beyond 95 %", "beyond 99 %"
_MEDIAN = 0.5
_CENTRE = Column("centre", "Centre, as in the cohort table; empty where it is not known")
_QUANTITY = Column(
    "quantity",
    f"What is compared: a quantity of the scans, `{DISTANCE}` of the features that the model reads, or `{PHASE}`",
)
_OF_PHASE = Column("phase", "Contrast phase; empty for all phases of the patient")
_READING = Column("features", "For a distance, the feature blocks that the model reads; else empty")
_UNIT = Column("unit", "Of the quantity; empty for a distance and for a share")
_TRAINING = (
    Column("training_low", "5 % of the training patients lie below; empty for a distance", "", Kind.NUMBER),
    Column("training_median", "Median of the training patients", "", Kind.NUMBER),
    Column("training_high", "5 % of the training patients lie above", "", Kind.NUMBER),
)
_IN_WORDS = Column("in_words", "The row in words; why a number cannot be told")
PATIENTS_TABLE = TopTable(
    "domain_shift.csv",
    "patient x quantity x phase",
    (
        PATIENT_ID,
        _CENTRE,
        _QUANTITY,
        _OF_PHASE,
        _READING,
        _UNIT,
        Column(
            "value", "Of the patient; a distance is 1 for about the median training patient", "", Kind.NUMBER
        ),
        *_TRAINING,
        Column(
            "share_nearer",
            "For a distance, share of the training patients who lie nearer",
            "0 to 1",
            Kind.NUMBER,
        ),
        Column("outside", f"{NO}; {BELOW} or {ABOVE} the range; {BEYOND} or {VERY_FAR} of the distances"),
        _IN_WORDS,
    ),
    place=50,
    names_weights=False,
)
CENTRES_TABLE = TopTable(
    "domain_shift_centres.csv",
    "centre x quantity x phase",
    (
        _CENTRE,
        _QUANTITY,
        _OF_PHASE,
        _READING,
        _UNIT,
        Column("n", "Patients of whom it is known", "patients", Kind.COUNT),
        Column("here", "Median of the patients, or share of them who have the phase", "", Kind.NUMBER),
        *_TRAINING,
        Column(
            "n_outside",
            "Patients outside of the range, or beyond 95 % of the distances",
            "patients",
            Kind.COUNT,
        ),
        *interval("Share of the patients outside", "0 to 1", name="share_outside"),
        Column(
            "expected_outside",
            "That share, were the patients as the training patients",
            "0 to 1",
            Kind.NUMBER,
        ),
        Column(
            "p_value",
            "Of the same median (beta-binomial) or the same share (Fisher); empty without a test",
            "0 to 1",
            Kind.P_VALUE,
        ),
        Column("p_holm", "Adjusted over the rows of the centre", "0 to 1", Kind.P_VALUE),
        _IN_WORDS,
    ),
    place=51,
    names_weights=False,
)
DIFFERS = 0.05
"""Adjusted p-value below which a hospital is said to differ."""


@dataclass(frozen=True, eq=False)
class Measured:
    """One quantity, phase and reading, of all new patients.

    Attributes:
        quantity, phase, features, unit: as in the tables.
        values: float64 (n,), NaN where not known.
        spreads: of the training patients that each patient is held against; None where they are too few.
        why_not: in words, for a patient without a spread.
        is_distance: whether only large values are unusual.
    """

    quantity: str
    phase: str
    features: str
    unit: str
    values: NDArray[np.float64]
    spreads: Sequence[Spread | None]
    why_not: Sequence[str]
    is_distance: bool

    def shares(self) -> NDArray[np.float64]:
        """Return the share of the training patients below each value (n,), NaN where that cannot be told."""
        return np.array(
            [
                np.nan if spread is None or np.isnan(value) else spread.share_below(value)
                for value, spread in zip(self.values, self.spreads, strict=True)
            ]
        )

    def outside(self, i: int) -> str:
        """Return on which side of the training patients a patient lies; "" where that cannot be told."""
        value, spread = self.values[i], self.spreads[i]
        if spread is None or np.isnan(value):
            return ""
        if self.is_distance:
            limits = ((spread.quantile(FAR), VERY_FAR), (spread.quantile(HIGH), BEYOND))
            return next((told for limit, told in limits if limit is not None and value > limit), NO)
        low, high = spread.quantile(LOW), spread.quantile(HIGH)
        if low is not None and value < low:
            return BELOW
        return ABOVE if high is not None and value > high else NO


@dataclass(frozen=True, eq=False)
class Shift:
    """Everything that was compared.

    Attributes:
        patient_ids, centres: of the new patients.
        measured: quantities and distances.
        has_phase: phase -> bool (n,).
        training: what the package knows.
        confidence: level of the intervals.
    """

    patient_ids: Sequence[str]
    centres: Sequence[str]
    measured: Sequence[Measured]
    has_phase: Mapping[str, NDArray[np.bool_]]
    training: TrainingDistribution
    confidence: float = 0.95


def measure_shift(
    training: TrainingDistribution, patients: Patients, centres: Sequence[str], *, confidence: float = 0.95
) -> Shift:
    """Compare new patients with the training patients.

    Args:
        training: of the package.
        patients: whose bags keep its contract.
        centres: of the patients (n,), "" where unknown.
        confidence: level of the intervals.

    Raises:
        PackageError: the features are not those of the training patients.
    """
    quantities = quantities_of(patients, training.summary.bag_sets)
    measured = [*_distances(training, patients), *_quantities(training, quantities.values, len(patients))]
    return Shift(patients.patient_ids, tuple(centres), measured, quantities.has_phase, training, confidence)


def patient_rows(shift: Shift) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of domain_shift.csv, in the order of the patients; what is not known of a patient has a row, too."""
    shares = [one.shares() for one in shift.measured]
    for i, patient_id in enumerate(shift.patient_ids):
        for one, of_all in zip(shift.measured, shares, strict=True):
            value, spread, outside = float(one.values[i]), one.spreads[i], one.outside(i)
            yield {
                "patient_id": patient_id,
                "centre": shift.centres[i],
                **_names(one),
                "value": value,
                **_range(one, spread),
                "share_nearer": float(of_all[i]) if one.is_distance else None,
                "outside": outside,
                "in_words": one.why_not[i] or patient_in_words(_names(one), value, spread, outside),
            }


def centre_rows(shift: Shift) -> list[Mapping[str, Any]]:
    """Return the rows of domain_shift_centres.csv, centres by name."""
    found: list[Mapping[str, Any]] = []
    for centre in sorted(set(shift.centres)):
        chosen = np.array([name == centre for name in shift.centres], dtype=np.bool_)
        rows = [_centre_row(one, chosen, shift.confidence) for one in shift.measured]
        rows += [_phase_row(phase, has[chosen], shift) for phase, has in shift.has_phase.items()]
        tested = [row for row in rows if row["p_value"] is not None]
        adjusted = iter(holm([row["p_value"] for row in tested]))
        for row in rows:
            p_holm = None if row["p_value"] is None else next(adjusted)
            found.append(
                {"centre": centre, **row, "p_holm": p_holm, "in_words": _centre_in_words(row, p_holm)}
            )
    return found


def differing(rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the rows of centres that differ from the training patients."""
    return [row for row in rows if row["p_holm"] is not None and row["p_holm"] < DIFFERS]


def median_test(values: NDArray[np.float64], spreads: Sequence[Spread]) -> float:
    """Return the two-sided p-value of m new values lying about the median of the training patients.

    Of n training patients, a above a limit: the number of m new values above it is at most beta-binomial (m, a + 1, n - a), were
    all of one distribution; likewise below. Ties are neither above nor below, on both sides. The p-value is twice the smaller.

    Args:
        values: (m,).
        spreads: of the training patients that each value is held against (m,); the fewest count.
    """
    medians = np.array([spread.quantile(_MEDIAN) for spread in spreads], dtype=np.float64)
    m, fewest = len(values), min(spreads, key=lambda spread: spread.n_patients)
    n = fewest.n_patients
    tails = [
        float(betabinom.sf(int(k) - 1, m, of_training + 1, n - of_training))
        for k, of_training in (
            ((values > medians).sum(), fewest.n_above),
            ((values < medians).sum(), fewest.n_below),
        )
    ]
    return min(1.0, 2 * min(tails))


def _distances(training: TrainingDistribution, patients: Patients) -> Iterator[Measured]:
    for number, known in enumerate(training.summary.readings):
        vectors = vectors_of(reading_of(known).view, patients)
        distances = training.distances(number, vectors)
        spreads = [known.distances.get(combination) for combination in distances.combination]
        told = [
            "" if spread is not None else REASONS["combination"].format(combination or "these phases", FEWEST)
            for spread, combination in zip(spreads, distances.combination, strict=True)
        ]
        if len(distances.overall):
            yield Measured(
                DISTANCE, ALL_PHASES, known.name, "", distances.overall, spreads, told, is_distance=True
            )
        for phase, values in distances.of_phase.items():
            why_not = ["" if np.isfinite(value) else REASONS["absent"].format(phase) for value in values]
            one = [known.distances.get(phase)] * len(values)
            yield Measured(DISTANCE, phase, known.name, "", values, one, why_not, is_distance=True)


def _quantities(
    training: TrainingDistribution, values: Mapping[tuple[str, str], NDArray[np.float64]], n: int
) -> Iterator[Measured]:
    known = {(one.quantity, one.phase): one.spread for one in training.summary.quantities}
    for (name, phase), spread in known.items():
        found = values.get((name, phase), np.full(n, np.nan))
        why_not = ["" if np.isfinite(value) else REASONS["unknown"] for value in found]
        unit = QUANTITIES[name].unit
        yield Measured(name, phase, "", unit, found, [spread] * n, why_not, is_distance=False)
    for (name, phase), found in values.items():
        if (name, phase) not in known:
            reason = [REASONS["untold"].format(FEWEST)] * n
            yield Measured(
                name, phase, "", QUANTITIES[name].unit, found, [None] * n, reason, is_distance=False
            )


def _names(one: Measured) -> Mapping[str, str]:
    return {"quantity": one.quantity, "phase": one.phase, "features": one.features, "unit": one.unit}


def _range(one: Measured, spread: Spread | None) -> Mapping[str, float | None]:
    if spread is None:
        return dict.fromkeys(("training_low", "training_median", "training_high"))
    return {
        "training_low": None if one.is_distance else spread.quantile(LOW),
        "training_median": spread.quantile(_MEDIAN),
        "training_high": spread.quantile(HIGH),
    }


def _centre_row(one: Measured, chosen: NDArray[np.bool_], confidence: float) -> dict[str, Any]:
    values = one.values[chosen]
    known = values[np.isfinite(values)]
    pairs = [
        (one.values[i], spread)
        for i, spread in enumerate(one.spreads)
        if chosen[i] and spread is not None and np.isfinite(one.values[i])
    ]
    told, spreads = np.array([value for value, _ in pairs]), [spread for _, spread in pairs]
    only = spreads[0] if len({id(spread) for spread in spreads}) == 1 else None
    n_outside = sum(one.outside(int(i)) not in ("", NO) for i in np.flatnonzero(chosen))
    return {
        **_names(one),
        "n": len(pairs),
        "here": float(np.median(known)) if len(known) else None,
        **_range(one, only),
        "n_outside": n_outside,
        **interval_cells(_share(n_outside, len(pairs), confidence), name="share_outside"),
        "expected_outside": 1 - HIGH if one.is_distance else 2 * LOW,
        "p_value": median_test(told, spreads) if pairs else None,
    }


def _phase_row(phase: str, has: NDArray[np.bool_], shift: Shift) -> dict[str, Any]:
    summary, n, k = shift.training.summary, len(has), int(has.sum())
    trained = summary.phases.get(phase, 0)
    table = [[k, n - k], [trained, summary.n_patients - trained]]
    absent = without_estimate("no range of a share")
    return {
        "quantity": PHASE,
        "phase": phase,
        "features": "",
        "unit": "",
        "n": n,
        "here": k / n,
        "training_low": None,
        "training_median": trained / summary.n_patients,
        "training_high": None,
        "n_outside": None,
        **interval_cells(absent, name="share_outside"),
        "expected_outside": None,
        "p_value": float(fisher_exact(table).pvalue),
    }


def _share(k: int, n: int, confidence: float) -> Estimate:
    if not n:
        return without_estimate("no patient can be held against the training patients")
    return Estimate(k / n, *wilson(k / n, n, confidence), "Wilson score")


def _centre_in_words(row: Mapping[str, Any], p_holm: float | None) -> str:
    differs = p_holm is not None and p_holm < DIFFERS
    if row["quantity"] == PHASE:
        return phase_in_words(row, differs=differs)
    if row["quantity"] == DISTANCE:
        return distance_in_words(row, differs=differs)
    return quantity_in_words(row, differs=differs)
