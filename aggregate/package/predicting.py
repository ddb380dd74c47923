"""`aggregate.py predict`: a package is asked about new patients, and its answers are written as tables."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from aggregate.package.domain_shift import CENTRES_TABLE
from aggregate.package.external_performance import EXTERNAL_DROP, write_external
from aggregate.package.external_report import write_external_report, write_shift_report
from aggregate.package.loaded_package import Answer, Package, load_package
from aggregate.package.new_centre import (
    RecalibratedCentre,
    not_recalibrated_on,
    recalibrated_on,
    told_of_recalibration,
    told_of_shift,
    write_recalibration,
    write_shift,
)
from aggregate.package.new_patients import NewPatients, read_new_patients, sources_of
from aggregate.package.predicted_tables import write_explained, write_predicted
from aggregate.package.recalibration import RECALIBRATION
from aggregate.package.shift_sections import recalibration_section, shift_section
from aggregate.run_folder.run_record import write_json
from aggregate.tables.results import ResultTables
from pipeline.errors import PackageError
from pipeline.files import replaced_whole
from pipeline.names import number_of
from pipeline.provenance import sha256_of_file, software_versions, utc_now
from pipeline.run_log import say

RECORD = "predict.json"
FORMAT, VERSION = "phasemil-predictions", 1


@dataclass(frozen=True)
class PredictChoices:
    """What the user says of a prediction.

    Attributes:
        bags: FOLDER, or NAME=FOLDER for each bag set.
        cohort: the cohort table; None without one.
        coverage: of the prediction sets; None for none.
        slides: NAME=TABLE, for histology features of other programs.
        label_aliases: further spellings of the classes -> class.
        run_code: whether Python files of the package may run.
        recalibrate: file that names the patients whose labels a recalibration may see; None for none.
    """

    bags: Sequence[str]
    cohort: Path | None = None
    coverage: float | None = None
    slides: Sequence[str] = ()
    label_aliases: Mapping[str, str] = field(default_factory=dict)
    run_code: bool = False
    recalibrate: Path | None = None


def predict_with(folder: Path, out: Path, choices: PredictChoices, *, console: Console) -> list[Answer]:
    """Predict the patients of some bags, and write predictions.csv and excluded.csv; with labels, how well it went, too.

    Raises:
        PackageError: the package is damaged, or `out` holds something else.
        PhasemilError: as `read_new_patients` raises.
    """
    _check_place(out)
    if out.resolve().is_relative_to(folder.resolve()):
        raise PackageError(
            f"--out {out}: lies in the package, which must not be changed; choose a folder elsewhere"
        )
    package = load_package(folder, run_code=choices.run_code)
    if choices.coverage is not None:
        package.level(choices.coverage)
    sources = sources_of(package.contract, choices.bags, choices.slides)
    new = read_new_patients(package, sources, choices.cohort, choices.label_aliases)
    for line in (*new.remarks, *_told_of(package, new)):
        say(console, line)
    answers = package.predict(new.patients, coverage=choices.coverage)
    centre = (
        None if choices.recalibrate is None else recalibrated_on(choices.recalibrate, package, new, answers)
    )
    with replaced_whole(out) as beside:
        told = _write(package, new, answers, choices, beside, centre=centre)
    for line in told:
        say(console, line)
    _summarise(package, new, answers, out, console)
    return answers


def _write(
    package: Package,
    new: NewPatients,
    answers: Sequence[Answer],
    choices: PredictChoices,
    folder: Path,
    *,
    centre: RecalibratedCentre | None,
) -> list[str]:
    """Write everything, and return what there is to tell of the centre."""
    weights = "; ".join(one.weights_name for one in package.contract.bag_sets.values())
    tables = ResultTables(folder, confidence=package.record.confidence, weights=weights)
    record = _record(package, new, choices)
    write_predicted(tables, package, new, answers)
    more = list(write_shift(tables, package, new))
    sections = [shift_section(tables)] if more else []
    told = list(told_of_shift(tables.read(CENTRES_TABLE))) if more else []
    if centre is not None:
        more += write_recalibration(tables, package, new, answers, centre)
        sections.append(recalibration_section(tables))
        told.append(told_of_recalibration(tables.read(RECALIBRATION), centre))
    has_labels = bool(new.is_labelled.any())
    made = str(record["created_utc"])
    if has_labels and choices.cohort is not None:
        tested, own = not_recalibrated_on(new, answers, centre)
        write_external(tables, package, tested, own)
        more.append(EXTERNAL_DROP)
        write_external_report(
            folder, package, tested, own, cohort=choices.cohort, created_utc=made, sections=sections
        )
    elif sections:
        write_shift_report(folder, package, sections, cohort=choices.cohort, created_utc=made)
    names = {"class": package.classes}
    write_explained(tables, more, names, has_labels=has_labels, has_sets=choices.coverage is not None)
    write_json(folder / RECORD, {**record, "files": _files(folder)})
    return told


def _record(package: Package, new: NewPatients, choices: PredictChoices) -> Mapping[str, Any]:
    return {
        "format": FORMAT,
        "version": VERSION,
        "package_sha256": package.sha256,
        "experiment": package.record.experiment,
        "model": package.record.model,
        "coverage": choices.coverage,
        "n_predicted": len(new.patients),
        "n_labelled": int(new.is_labelled.sum()),
        "recalibrate_sha256": None if choices.recalibrate is None else sha256_of_file(choices.recalibrate),
        "n_excluded": len(new.left_out),
        "bags": new.bag_keys,
        "cohort_sha256": None if choices.cohort is None else sha256_of_file(choices.cohort),
        "software": dict(software_versions()),
        "created_utc": utc_now(),
    }


def _told_of(package: Package, new: NewPatients) -> Iterator[str]:
    """Tell how many are predicted, whose label is not used, and combinations of phases that no training patient had."""
    contract = package.contract
    yield f"{number_of(len(new.patients), 'patient')} predicted, {len(new.left_out)} left out (excluded.csv)"
    without = [one for one in new.exclusions if not one.phase and one.patient_id not in new.left_out]
    if without:
        yield (
            f"{number_of(len(without), 'patient')} predicted without a label, since that in the table cannot be used (excluded.csv); "
            f"{without[0].patient_id}: {without[0].reason}; here --class SPELLING=CLASS is such an alias"
        )
    yield from _outside(package, new)
    if not contract.bag_sets:
        return
    found = Counter(contract.combination(new.patients[i]) for i in range(len(new.patients)))
    for combination, n in found.items():
        if combination not in contract.combinations:
            yield (
                f"{number_of(n, 'patient')} with the phases {combination}, which no training patient had: what the model says of them is "
                "untested (phases_in_training in predictions.csv)"
            )


def _outside(package: Package, new: NewPatients) -> Iterator[str]:
    """Tell how many patients have a number that few training patients had: what a column in another unit shows as."""
    patients = new.patients
    counts = Counter(name for i in range(len(patients)) for name in package.covariates_outside(patients[i]))
    for name, n in counts.items():
        low, high = package.cohort.range_of(name) or (0.0, 0.0)
        yield (
            f"covariate {name!r}: {n} of {number_of(len(patients), 'patient')} outside {low:g} to {high:g}, where 90 % of the training patients "
            "lie; one in ten is expected, and of many ask whether the unit is the same (covariates_outside in predictions.csv)"
        )


def _summarise(
    package: Package, new: NewPatients, answers: Sequence[Answer], out: Path, console: Console
) -> None:
    del new
    counts = Counter(answer.predicted for answer in answers)
    told = ", ".join(f"{name} {counts[name]}" for name in package.classes)
    say(console, f"Predicted: {told}")
    if answers[0].prediction_set is not None:
        n = sum(bool(answer.abstains) for answer in answers)
        say(
            console,
            f"The model abstains on {n} of {number_of(len(answers), 'patient')} (the set is not a single class)",
        )
    say(console, f"Research use only. Predictions: {out / 'predictions.csv'}")


def _check_place(out: Path) -> None:
    """Refuse to write where something lies that no prediction wrote, or that somebody has changed since.

    Raises:
        PackageError: the file is named.
    """
    if out.is_file():
        raise PackageError(f"--out {out}: expected a folder, found a file")
    if not out.is_dir() or not any(out.iterdir()):
        return
    try:
        known = json.loads((out / RECORD).read_text(encoding="utf-8"))
        files = known["files"] if known["format"] == FORMAT else None
    except (OSError, ValueError, KeyError, TypeError):
        files = None
    if files is None:
        raise PackageError(
            f"--out {out}: holds files that no `aggregate.py predict` wrote; choose another folder"
        )
    for path in sorted(path for path in out.rglob("*") if path.is_file() and path != out / RECORD):
        name = path.relative_to(out).as_posix()
        if files.get(name) != sha256_of_file(path):
            raise PackageError(
                f"{path}: added or changed since `aggregate.py predict` wrote this folder, and would be lost; choose another --out, or "
                "move the file elsewhere"
            )


def _files(folder: Path) -> Mapping[str, str]:
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): sha256_of_file(path) for path in found}
