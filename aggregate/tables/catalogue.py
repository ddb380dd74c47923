"""The dictionary of the result tables: every file and column explained once, for columns.csv and results/README.md.

A column such as `p_<class>` stands for one column per class, phase or covariate.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aggregate.tables.entries import HIGH, ID, LABEL, LOW, MODEL, WEIGHTS, N, TableEntry, interval
from aggregate.tables.explanation_catalogue import EXPLANATIONS

COLUMNS = "columns.csv"
WITHOUT_TWIN = frozenset({
    "predictions.csv", "tune_predictions.csv", "splits.csv", "decision_curve.csv", "null.csv", "attention.csv",
    "phase_subsets.csv", "concept_slices.csv", "cluster_shares.csv", COLUMNS,
})  # fmt: skip
"""Long tables for programs; every other one is for clinicians and also exists as .xlsx."""
COLUMNS_COLUMNS = ("file", "column", "meaning", "unit")

ADDED = "Not a column of phasemil: somebody has added it to the file"

_REPEAT = "Repeat of the cross-validation, from 0"
_FOLD = "Fold within the repeat, from 0"
_CLASS = "Class against all others; macro is the mean over the classes"
_POSITIVE = "Of these, patients of the class (of the first class in `A vs B`); empty in macro rows"
_PROBABILITY = "Predicted probability of the class"
_CALIBRATION_MEASURES = (
    "brier (mean squared error of the probability); ece (mean distance of prediction and outcome over the bins); slope "
    "(1 is right, below 1 too extreme); intercept (0 is right, above 0 the class is more frequent than predicted); "
    "reliability (one row per bin)"
)
_CONFOUNDER_METRICS = (
    "auc: of a logistic regression on the confounder alone, on the same folds as the models; auc_of_value: of the value "
    "itself, above 0.5 where the class has the larger values"
)
METRICS = {
    "auc": "Area under the ROC curve: how often a patient of the class scores above another patient. 0.5 is chance.",
    "average_precision": "Area under the precision-recall curve. Chance is the share of the class.",
    "accuracy": "Share of patients whose most probable class is the reference.",
    "balanced_accuracy": "Mean of the sensitivities. Chance is one over the number of classes.",
    "macro_f1": "Mean over the classes of f1.",
    "f1": "Harmonic mean of sensitivity and PPV.",
    "kappa": "Cohen's kappa: agreement beyond that of chance. 0 is chance, 1 perfect.",
    "log_loss": "Mean of -log of the probability of the reference class. 0 is perfect; ln 3 = 1.10 knows nothing of three.",
    "brier": "Mean squared error of the probabilities: of one class 0 to 1, summed over the classes (macro) 0 to 2.",
    "sensitivity": "Share of the patients of the class that are called so.",
    "specificity": "Share of the other patients that are not called so.",
    "ppv": "Share of those called so that are of the class, at this cohort's class mix.",
    "npv": "Share of those not called so that are not of the class, at this cohort's class mix.",
}

CATALOGUE = (
    TableEntry(
        "cohort.csv",
        "patient",
        {
            "patient_id": (ID, ""),
            "label": (LABEL, ""),
            "centre": ("Centre, empty where the cohort table names none", ""),
            "phases_present": ("Phases with at least one slice in the bag", ""),
            "phases_missing": ("Phases without one; a missing phase is never filled in", ""),
            "slices_<phase>": ("Slices of the phase in the bag", "slices"),
            "tumour_volume_ml": ("Tumour area summed along z, the median over the phases; empty without mask", "ml"),
            "slice_thickness_mm": ("Distance of the slices, the largest over the phases", "mm"),
            "<covariate>": ("A further column of the cohort table, as it stands there", "as given"),
        },
        notes="Every patient with a bag and a label. Who is not here stands in excluded.csv with the reason.",
    ),
    TableEntry(
        "excluded.csv",
        "patient or phase left out",
        {
            "patient_id": (ID, ""),
            "phase": ("Phase left out; empty where the whole patient is", ""),
            "stage": ("Step that left it out", ""),
            "reason": ("Why, in words", ""),
        },
    ),
    TableEntry(
        "splits.csv",
        "patient x repeat x fold",
        {
            "patient_id": (ID, ""),
            "repeat": (_REPEAT, ""),
            "fold": (_FOLD, ""),
            "role": ("train, tune (early stopping, calibration, thresholds) or test (seen by the evaluation only)", ""),
        },
        notes="The same splits serve every model. No patient has two roles in a fold.",
    ),
    TableEntry(
        "predictions.csv",
        "patient x repeat x model",
        {
            "patient_id": (ID, ""),
            "label": (LABEL, ""),
            "model": (MODEL, ""),
            "repeat": (_REPEAT, ""),
            "fold": ("Fold in which the patient was tested, by a model that had not seen the patient", ""),
            "predicted": ("Most probable class, the first of equals", ""),
            "p_<class>": (_PROBABILITY, "0 to 1"),
            "n_slices": ("Instances in the bag", "slices"),
            "phases": ("Phases present", ""),
        },
        notes="The product: every other table is derived from it by `aggregate.py tables RESULTS` without training.",
    ),
    TableEntry(
        "tune_predictions.csv",
        "model x fold x tune patient",
        {
            "model": (MODEL, ""),
            "repeat": (_REPEAT, ""),
            "fold": (_FOLD, ""),
            "patient_id": (ID, ""),
            "label": (LABEL, ""),
            "p_<class>": (_PROBABILITY, "0 to 1"),
        },
        notes="Predictions of the tune patients of each fold, on which the thresholds are chosen. No evaluation uses "
        "them.",
    ),
    TableEntry(
        "performance.csv",
        "model x class x metric",
        {
            "model": (MODEL, ""),
            "class": (f"{_CLASS}; `A vs B` compares two classes among their own patients", ""),
            "metric": ("Name of the metric; each is explained below", ""),
            **interval("The metric of each repeat over all patients out of fold, averaged over the repeats", "metric"),
            "n": (N, "patients"),
            "n_positive": (_POSITIVE, "patients"),
            "sd_over_repeats": ("Standard deviation over the repeats: noise of the splits, no confidence interval", "metric"),
        },
        notes="Intervals speak of the patients, for fitted models: resamples of half the patients of each class, counted twice (2,000 "
        "by default), give the standard error, Student's t the length, on the logit scale for proportions and AUC, the log scale for "
        "losses. Patients whose models are trained on each other vary together: the variance is multiplied by the design effect in "
        "ci_method, which the Brier loss over the repeats tells; where ci_method names none, as with one repeat, the interval of a "
        "trained model is too short. How often the intervals hold the truth is measured in reference/coverage.csv and told in "
        "reference/coverage.md. PPV, NPV, accuracy and kappa hold at the class mix of this cohort. A macro AUC above 0.95 on real data is a "
        "reason to look for leakage.",
        words=("metric", METRICS),
    ),
    TableEntry(
        "comparisons.csv",
        "pair of models x class x metric x test",
        {
            "model_a": (MODEL, ""),
            "model_b": (MODEL, ""),
            "class": (_CLASS, ""),
            "metric": ("auc or balanced_accuracy", ""),
            "test": (
                "paired patient bootstrap; Nadeau-Bengio corrected t over repeats x folds; DeLong (AUC of one class)",
                "",
            ),
            "difference": ("Model a minus model b, on the same patients", "metric"),
            "ci_low": (LOW, "metric"),
            "ci_high": (HIGH, "metric"),
            "p_value": ("Two-sided p-value of no difference", ""),
            "p_adjusted": ("After Holm's adjustment for the comparisons with the same class, metric and test", ""),
            "n_comparisons": ("How many were adjusted together; 1 for the primary comparison", "comparisons"),
            "primary": ("yes for the one comparison declared in the configuration beforehand", ""),
            "n": (N, "patients"),
            "n_positive": (_POSITIVE, "patients"),
            "note": (
                (
                    "Why a number is not estimable; else what the test counts beside the patients: the design effect of models "
                    "trained on each other's test patients, which DeLong's does not know, so that its p-values are too small"
                ),
                "",
            ),
        },
        notes="The first row is the primary comparison where one was declared; every other row explores. The difference "
        "of the corrected t is the mean over the folds and so differs from the other two, which pool the folds. The paired "
        "bootstrap widens its interval by the design effect of the difference, as performance.csv does; DeLong's knows the patients only.",
    ),
    TableEntry(
        "confusion.csv",
        "model x reference class x predicted class",
        {
            "model": (MODEL, ""),
            "reference": ("Reference class", ""),
            "predicted": ("Most probable class", ""),
            "count": ("Patients, averaged over the repeats", "patients"),
            "row_percent": ("Share of the reference class", "%"),
            "n_reference": ("Patients of the reference class", "patients"),
        },
    ),
    TableEntry(
        "calibration.csv",
        "model x class x measure, and bin for the reliability points",
        {
            "model": (MODEL, ""),
            "class": ("Class against all others", ""),
            "measure": (_CALIBRATION_MEASURES, ""),
            "bin": ("Bin of about equal numbers of predictions, from 1, in rising order", ""),
            "mean_predicted": ("Mean predicted probability, of all or in the bin", "0 to 1"),
            **interval("The measure, or the observed share of the class in the bin", "measure"),
            "n": ("Patients; in a bin averaged over the repeats", "patients"),
            "n_positive": ("Patients of the class in all bins together", "patients"),
        },
        notes="The ECE is above 0 even for honest probabilities when patients are few: compare it between models.",
    ),
    TableEntry(
        "thresholds.csv",
        "model x class x fold, and one row over all folds",
        {
            "model": (MODEL, ""),
            "class": ("Class against all others", ""),
            "rule": ("How the threshold was chosen: youden (largest sensitivity + specificity) or a value to reach", ""),
            "repeat": (f"{_REPEAT}; all for the summary", ""),
            "fold": (f"{_FOLD}; all for the summary", ""),
            "threshold": ("Probability at or above which a patient is called of the class; the summary has the median", "0 to 1"),
            "chosen_on": ("The patients it was chosen on: never those it is tested on", ""),
            "n_chosen_on": ("Patients it was chosen on", "patients"),
            "n_positive_chosen_on": ("Of these, patients of the class", "patients"),
            "sensitivity": ("Share of the tested patients of the class that are called so", "0 to 1"),
            "sensitivity_ci_low": (LOW, "0 to 1"),
            "sensitivity_ci_high": (HIGH, "0 to 1"),
            "specificity": ("Share of the other tested patients that are not called so", "0 to 1"),
            "specificity_ci_low": (LOW, "0 to 1"),
            "specificity_ci_high": (HIGH, "0 to 1"),
            "n": ("Patients tested", "patients"),
            "n_positive": ("Of these, patients of the class", "patients"),
        },
        notes="Intervals stand in the summary rows only: a single fold tests too few patients for one.",
    ),
    TableEntry(
        "decision_curve.csv",
        "model x class x threshold",
        {
            "model": (MODEL, ""),
            "class": ("Class whose treatment is decided on", ""),
            "threshold": ("Probability at or above which a patient is treated as of the class", "0 to 1"),
            **interval(
                "True positives less false positives at the exchange rate threshold / (1 - threshold), per patient",
                "true positives per patient",
                name="net_benefit",
            ),
            "treat_all": ("Net benefit of treating everybody", "true positives per patient"),
            "treat_none": ("Net benefit of treating nobody", "true positives per patient"),
            "n": (N, "patients"),
            "n_positive": ("Patients of the class", "patients"),
        },
        notes="A model is worth using at a threshold where its net benefit exceeds both treat_all and treat_none.",
    ),
    TableEntry(
        "subgroups.csv",
        "model x subgroup x class x metric",
        {
            "model": (MODEL, ""),
            "subgroup": ("By what the patients were split", ""),
            "level": ("What the patients of this row have in common; numbers are split at their median", ""),
            "class": (_CLASS, ""),
            "metric": ("auc or balanced_accuracy", ""),
            **interval("The metric among these patients alone", "metric"),
            "n": (N, "patients"),
            "n_positive": (_POSITIVE, "patients"),
        },
        notes="Subgroups of fewer than 10 patients (configurable) show their size only. Differences between subgroups are "
        "not tested.",
    ),
    TableEntry(
        "confounders.csv",
        "confounder x class x metric",
        {
            "confounder": ("A fact that is no image feature", ""),
            "class": (_CLASS, ""),
            "metric": (_CONFOUNDER_METRICS, ""),
            **interval("Area under the ROC curve", "0 to 1"),
            "n": ("Patients with a value", "patients"),
            "n_positive": (_POSITIVE, "patients"),
        },
        notes="A model that is no better than a confounder may have learnt the confounder.",
    ),
    TableEntry(
        "null.csv",
        "model x permutation",
        {
            "model": (MODEL, ""),
            "permutation": ("Permutation of the labels, from 1", ""),
            "auc": ("Macro AUC of the whole run on the permuted labels, averaged over the repeats", "0 to 1"),
        },
        notes="Written by `aggregate.py run --null N`: an honest pipeline comes out at 0.5 on labels without meaning.",
    ),
    TableEntry(
        "null_summary.csv",
        "model",
        {
            "model": (MODEL, ""),
            "n_permutations": ("How often the labels were permuted", "permutations"),
            "mean_auc": ("Mean macro AUC over the permutations", "0 to 1"),
            "standard_error": ("Of the mean; empty after a single permutation", "0 to 1"),
            "observed_auc": ("Macro AUC on the true labels", "0 to 1"),
            "p_value": ("(1 + permutations that reach the observed AUC) / (1 + permutations)", ""),
            "n": (N, "patients"),
        },
    ),
    *EXPLANATIONS,
    TableEntry(
        COLUMNS,
        "file and column",
        {
            "file": ("File of this folder", ""),
            "column": ("Column of the file", ""),
            "meaning": ("What stands there", ""),
            "unit": ("Unit or range; empty for words and counts from 0", ""),
        },
    ),
)  # fmt: skip


def catalogue_rows(
    headers: Mapping[str, Sequence[str]], names: Mapping[str, Sequence[str]]
) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of columns.csv: one per file and column that a results folder holds, in its order.

    Args:
        headers: file -> its columns.
        names: what `class`, `phase` and `covariate` stand for.
    """
    for entry in CATALOGUE:
        meanings = meanings_of(entry, names)
        for column in headers.get(entry.file, ()):
            meaning, unit = meanings.get(column, (ADDED, ""))
            yield {"file": entry.file, "column": column, "meaning": meaning, "unit": unit}


def meanings_of(entry: TableEntry, names: Mapping[str, Sequence[str]]) -> Mapping[str, tuple[str, str]]:
    """Return column -> (meaning, unit) of a file, its patterns spelled out for what `names` holds."""
    meanings = {
        column: explained for pattern, explained in entry.columns.items() for column in expand(pattern, names)
    }
    return {**meanings, WEIGHTS: ("Weights of the encoder that the features rest on", "")}


def expand(pattern: str, names: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the columns that a pattern such as `p_<class>` stands for."""
    for placeholder, values in names.items():
        if f"<{placeholder}>" in pattern:
            return [pattern.replace(f"<{placeholder}>", value) for value in values]
    return [pattern]


def results_readme() -> str:
    """Return the text of results/README.md."""
    lines = [
        "# What stands in a results folder",
        "",
        "This page is generated from `aggregate/tables/catalogue.py` (`python -m aggregate.tables.catalogue` prints it);",
        "each results folder holds the same as `columns.csv`, with its own classes, phases and covariates.",
        "",
        "Every table is UTF-8 text with a header line; `separator` and `decimal` in `[aggregate.tables]` suit other",
        "spreadsheets. Every table also exists as `.xlsx` with a second sheet that explains its columns, but for those that",
        f"are long and for programs: {', '.join(sorted(name.removesuffix('.csv') for name in WITHOUT_TWIN))}.",
        "The last column, `weights`, names the encoder weights that the row rests on. A number that cannot be had is",
        "`not estimable`, with the reason in the same row. Text that a spreadsheet would run as a formula has a leading",
        "apostrophe.",
    ]
    for entry in CATALOGUE:
        lines += ["", f"## {entry.file}", "", f"One row per {entry.one_row_per}.", *_wrapped(entry.notes), ""]
        lines += ["| column | meaning | unit |", "|---|---|---|"]
        lines += [f"| `{name}` | {meaning} | {unit} |" for name, (meaning, unit) in entry.columns.items()]
        if entry.words:
            lines += ["", f"| {entry.words[0]} | meaning |", "|---|---|"]
            lines += [f"| `{name}` | {meaning} |" for name, meaning in entry.words[1].items()]
    return "\n".join(lines) + "\n"


def _wrapped(notes: str) -> list[str]:
    return [notes] if notes else []


if __name__ == "__main__":
    sys.stdout.write(results_readme())
