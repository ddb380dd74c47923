"""Columns and words that many tables share."""

from aggregate.tables.table import Column, Kind

PATIENT_ID = Column("patient_id", "Patient identifier, as in the cohort table")
LABEL = Column("label", "Reference class of the patient")
MODEL = Column("model", "Name of the model, as in the configuration; baselines have built-in names")
N = Column("n", "Number of patients behind the value", "patients", Kind.COUNT)
REPEAT = Column("repeat", "Repeat of the cross-validation, from 0", "", Kind.COUNT)
FOLD = Column("fold", "Fold within the repeat, from 0", "", Kind.COUNT)
CLASS = Column("class", "Class against all others; macro is the mean over the classes")
ONE_CLASS = Column("class", "Class against all others")
N_POSITIVE = Column(
    "n_positive",
    "Of these, patients of the class (of the first class in `A vs B`); empty in macro rows",
    "patients",
    Kind.COUNT,
)
PROBABILITY_OF_CLASS = Column("p_<class>", "Predicted probability of the class", "0 to 1", Kind.PROBABILITY)
METRIC_COMPARED = Column("metric", "auc or balanced_accuracy")
PHASE = Column("phase", "Contrast phase")
SLICE_NUMBER = Column(
    "slice_number", "Slice number from 1, inferior to superior, however the file is stored", "", Kind.COUNT
)
SCALE = Column(
    "scale", "Scale at which the slice was seen; tight+context where a model sees both side by side"
)

LOW = "Lower end of the confidence interval (<confidence>)"
HIGH = "Upper end of the confidence interval"


def bounds(unit: str, *, kind: Kind, low: str = "ci_low", high: str = "ci_high") -> tuple[Column, Column]:
    """Return the columns of both ends of an interval."""
    return Column(low, LOW, unit, kind), Column(high, HIGH, unit, kind)


def interval(
    meaning: str, unit: str, *, name: str = "estimate", kind: Kind = Kind.ESTIMATE
) -> tuple[Column, ...]:
    """Return the columns of an estimate with its interval and how that was made."""
    method = Column("ci_method", "Method of the interval, or why a number is not estimable")
    return (Column(name, meaning, unit, kind), *bounds(unit, kind=kind), method)
