"""One file of a results folder as its dictionary describes it, and the words that many columns share."""

from collections.abc import Mapping
from dataclasses import dataclass

WEIGHTS = "weights"
"""The column at the end of every row."""

ID = "Patient identifier, as in the cohort table"
LABEL = "Reference class of the patient"
MODEL = "Name of the model, as in the configuration; baselines have built-in names"
N = "Patients that the figure rests on"
LOW = "Lower end of the confidence interval (95 % unless configured otherwise)"
HIGH = "Upper end of the confidence interval"
METHOD = "How the interval was made, or why a number is not estimable"


@dataclass(frozen=True)
class TableEntry:
    """One file of a results folder."""

    file: str
    one_row_per: str
    columns: Mapping[str, tuple[str, str]]
    """Column -> (meaning, unit)."""
    notes: str = ""
    """What a reader must know beside the columns."""
    words: tuple[str, Mapping[str, str]] | None = None
    """A column whose words need explaining, and word -> meaning."""


def interval(estimate: str, unit: str, *, name: str = "estimate") -> Mapping[str, tuple[str, str]]:
    """Return the entries of an estimate with its interval."""
    return {
        name: (estimate, unit),
        "ci_low": (LOW, unit),
        "ci_high": (HIGH, unit),
        "ci_method": (METHOD, ""),
    }
