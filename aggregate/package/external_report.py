"""report.html of a prediction with labels: what was expected, what was found, and the sections of stage 2 on performance."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from aggregate.package.external_performance import EXTERNAL_DROP
from aggregate.package.loaded_package import Answer, Package
from aggregate.package.new_patients import NewPatients
from aggregate.report import performance_figures as figures
from aggregate.report import performance_sections as performance
from aggregate.report.characteristics import characteristics
from aggregate.report.elements import Element, Note, Section, Table, absent, cell, interval
from aggregate.report.folder import ResultsFolder
from aggregate.report.page import write_page
from aggregate.run_folder.run_record import SYNTHETIC
from aggregate.statistics.config import StatisticsSection
from aggregate.tables.cohort import COHORT
from aggregate.tables.decisions import DECISION_CURVE, THRESHOLDS
from aggregate.tables.excluded import EXCLUDED
from aggregate.tables.predictions import PREDICTIONS
from aggregate.tables.rows import Row, numeric
from pipeline.ceiling import was_drawn
from pipeline.names import number_of

_SUBJECT = "A frozen model on patients of another cohort: what was expected of it, and what was found."
_WITHOUT_LABELS = "A frozen model on patients of another cohort, without labels: how these patients differ from its training patients."
_MOST_EXCLUSIONS = 25
_NAMES = {
    "auc": "AUC",
    "balanced_accuracy": "balanced accuracy",
    "log_loss": "log loss",
    "brier": "Brier score",
    "slope": "calibration slope",
    "intercept": "calibration intercept",
}


class PredictedFolder(ResultsFolder):
    """The folder of a prediction, which has no run.json."""

    def __init__(self, path: Path, record: Mapping[str, Any]) -> None:
        super().__init__(path)
        self.__dict__["run"] = record  # the cached property of what run.json would say


def write_external_report(
    folder: Path,
    package: Package,
    new: NewPatients,
    answers: Sequence[Answer],
    *,
    cohort: Path,
    created_utc: str,
    sections: Sequence[Section] = (),
) -> Path:
    """Write report.html of a folder that `write_external` has filled.

    Args:
        folder: with the tables.
        package: that was asked.
        new: the patients.
        answers: for each of them.
        cohort: the cohort table.
        created_utc: when.
        sections: further ones, which follow the summary.
    """
    record = _record(package, cohort, created_utc)

    def every_section(of: ResultsFolder) -> list[Section]:
        return [
            _summary(of, package, new, answers),
            *sections,
            _cohort(of),
            performance.performance_section(of),
            _of_all_classes(of, "curves", "ROC and precision-recall curves", performance.curves_section),
            performance.confusion_section(of),
            _of_all_classes(of, "calibration", "Calibration", performance.calibration_section),
            _decisions(of, package),
            performance.subgroups_section(of),
            _package(package),
        ]

    return write_page(PredictedFolder(folder, record), every_section, subject=_SUBJECT)


def write_shift_report(
    folder: Path, package: Package, sections: Sequence[Section], *, cohort: Path | None, created_utc: str
) -> Path:
    """Write report.html of a prediction without labels: the sections that need none.

    Args:
        folder: of the prediction.
        package: that was asked.
        sections: what there is to tell.
        cohort: the cohort table; None without one.
        created_utc: when.
    """
    record = _record(package, cohort, created_utc)
    every = [*sections, _package(package)]
    return write_page(PredictedFolder(folder, record), lambda _: every, subject=_WITHOUT_LABELS)


def _record(package: Package, cohort: Path | None, created_utc: str) -> Mapping[str, Any]:
    """Return what a run.json would say, as far as the sections ask for it."""
    contract, model = package.contract, package.record.model
    statistics = StatisticsSection(confidence=package.record.confidence)
    return {
        "name": f"{package.record.experiment}: {model} on {cohort.stem if cohort else 'new patients'}",
        "created_utc": created_utc,
        SYNTHETIC: cohort is not None and was_drawn(cohort),
        "recipes": {
            name: {"encoder": one.encoder, "weights_name": one.weights_name}
            for name, one in contract.bag_sets.items()
        },
        "config": {
            "cohort": {"classes": list(contract.classes), "phases": list(contract.phases)},
            "aggregate": {
                "model": {model: {"kind": package.record.kind}},
                "explained_model": model,
                "statistics": statistics.model_dump(mode="json"),
            },
        },
    }


def _summary(folder: ResultsFolder, package: Package, new: NewPatients, answers: Sequence[Answer]) -> Section:
    rows = folder.rows(EXTERNAL_DROP)
    labelled = int(new.is_labelled.sum())
    elements: list[Element] = [
        Note(_in_words(rows, package, labelled), lead="In short."),
        Table(
            (
                "class",
                "metric",
                "expected (internal)",
                "found (external)",
                "found minus expected",
                "n internal / external",
            ),
            [_drop_cells(row) for row in rows],
            "What the cross-validation of the training patients let expect, and what was found here. An interval of the difference that "
            f"holds 0 shows no drop, which with few patients does not mean that there is none. Intervals of differences: {_method(rows)}.",
            f"../{EXTERNAL_DROP.file}",
        ),
        *_abstained(answers, new),
        *_untested(answers),
    ]
    return Section(
        "summary",
        "Expected and found",
        "Does the model hold on these patients what its cross-validation let expect? For research use only.",
        elements,
    )


def _in_words(rows: Sequence[Row], package: Package, n: int) -> str:
    row = next((row for row in rows if (row["class"], row["metric"]) == ("macro", "auc")), None)
    who = f"{package.record.model} of {package.record.experiment} was asked about {number_of(n, 'labelled patient')}."
    if row is None or numeric(row["external"]) is None:
        return f"{who} Its macro AUC cannot be estimated on them; the table says why."
    found = cell(row, ("external", "external_ci_low", "external_ci_high"))
    expected = cell(row, ("internal", "internal_ci_low", "internal_ci_high"))
    change, low, high = (numeric(row[c]) for c in ("difference", "ci_low", "ci_high"))
    verdict = "whether it drops cannot be told"
    if low is not None and high is not None:
        verdict = (
            "a drop"
            if high < 0
            else "a rise"
            if low > 0
            else "no drop is shown, and none is excluded beyond the interval"
        )
    return f"{who} Macro AUC {found}; expected was {expected}. Difference {interval(change, low, high)}: {verdict}."


def _drop_cells(row: Row) -> list[str]:
    return [
        row["class"],
        _NAMES.get(row["metric"], row["metric"]),
        cell(row, ("internal", "internal_ci_low", "internal_ci_high")),
        cell(row, ("external", "external_ci_low", "external_ci_high")),
        cell(row, ("difference", "ci_low", "ci_high")),
        f"{row['n_internal']:g} / {row['n_external']:g}",
    ]


def _method(rows: Sequence[Row]) -> str:
    return "; ".join(dict.fromkeys(row["ci_method"] for row in rows)) or "none"


def _abstained(answers: Sequence[Answer], new: NewPatients) -> list[Element]:
    """Return how the prediction sets did, where they were asked for."""
    asked = [(a, known, row.label) for a, known, row in zip(answers, new.is_labelled, new.rows, strict=True)]
    labelled = [(a, str(label)) for a, known, label in asked if known and a.prediction_set is not None]
    if not labelled:
        return []
    covered = sum(label in (answer.prediction_set or ()) for answer, label in labelled)
    decided = [(answer, label) for answer, label in labelled if not answer.abstains]
    right = sum(answer.prediction_set == (label,) for answer, label in decided)
    return [
        Note(
            f"The prediction set held the class of {covered} of {len(labelled)} patients. The model abstained on "
            f"{len(labelled) - len(decided)}; where it did not, it was right in {right} of {len(decided)}.",
            lead="Prediction sets.",
        )
    ]


def _untested(answers: Sequence[Answer]) -> list[Element]:
    n = sum(not answer.is_combination_known for answer in answers)
    if not n:
        return []
    return [
        Note(
            f"{number_of(n, 'patient')} had phases that no training patient had just so.",
            is_warning=True,
            lead="Phases.",
        )
    ]


def _cohort(folder: ResultsFolder) -> Section:
    rows, left_out = folder.rows(COHORT), folder.rows(EXCLUDED)
    elements: list[Element] = [
        characteristics(folder, rows) if rows else absent("The cohort", "no bags were read")
    ]
    if left_out:
        cells = [[row["patient_id"], row["phase"] or "all", row["stage"], row["reason"]] for row in left_out]
        more = f" The first {_MOST_EXCLUSIONS} of {len(cells)}." if len(cells) > _MOST_EXCLUSIONS else ""
        caption = f"Patients and phases left out, with the reason.{more}"
        columns = ("patient", "phase", "stage", "reason")
        elements.append(Table(columns, cells[:_MOST_EXCLUSIONS], caption, EXCLUDED.file))
    return Section(
        "cohort", "Patients", "The labelled patients behind the numbers, and who was left out.", elements
    )


def _of_all_classes(
    folder: ResultsFolder, anchor: str, title: str, section: Callable[[ResultsFolder], Section]
) -> Section:
    """Return a section whose figures need patients of every class, or why it is empty."""
    lacking = _absent_classes(folder)
    if not lacking:
        return section(folder)
    why = absent(title, f"no labelled patient here has the class {', '.join(lacking)}")
    return Section(anchor, title, "Each class against the others.", [why])


def _absent_classes(folder: ResultsFolder) -> list[str]:
    labels = {row["label"] for row in folder.rows(PREDICTIONS)}
    return [name for name in folder.classes if name not in labels]


def _decisions(folder: ResultsFolder, package: Package) -> Section:
    elements: list[Element] = []
    if folder.rows(DECISION_CURVE) and folder.compared and not _absent_classes(folder):
        elements.append(figures.decision_curve(folder, folder.compared))
    cells = [
        [
            row["class"],
            cell(row, ("threshold", "threshold", "threshold")).partition(" ")[0],
            cell(row, ("sensitivity", "sensitivity_ci_low", "sensitivity_ci_high")),
            cell(row, ("specificity", "specificity_ci_low", "specificity_ci_high")),
            f"{row['n_positive']} / {row['n']}",
        ]
        for row in folder.rows(THRESHOLDS)
    ]
    caption = f"What the thresholds of the package (rule: {package.decisions.rule}) reach here; they were chosen on the training patients."
    columns = ("class", "threshold", "sensitivity", "specificity", "n of class / all")
    elements.append(Table(columns, cells, caption, THRESHOLDS.file))
    return Section(
        "decisions",
        "Decisions",
        "Performance when a probability is turned into a decision, at thresholds that were fixed before.",
        elements,
    )


def _package(package: Package) -> Section:
    record = package.record
    facts = [
        ["experiment and model", f"{record.experiment}, {record.model} ({record.kind})"],
        ["fitted models", f"{len(record.models)} ({record.refit})"],
        ["calibration", _calibrated(package)],
        ["frozen", record.created_utc],
        ["SHA-256 of the package", package.sha256],
        ["training patients", str(package.cohort.n_patients)],
        *[
            [f"bags {name}", f"{one.encoder}, {one.weights_name}, {one.precision}"]
            for name, one in package.contract.bag_sets.items()
        ],
    ]
    return Section(
        "package",
        "The package",
        "What was asked. The package holds nothing by which its training patients could be known: that none of the patients here is one "
        "of them is for you to know.",
        [Table(("what", "value"), facts, "The package.", "../predict.json")],
    )


def _calibrated(package: Package) -> str:
    return f"{package.calibration.method}, temperature {package.calibration.temperature:.3f}"
