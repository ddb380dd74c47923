"""MODEL_CARD.md: what a package is for, what it cannot do, and what is known of it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aggregate.package.bag_contract import BagContract, PackageContract
from aggregate.package.expected_performance import row_of
from aggregate.package.loaded_package import Decisions
from aggregate.package.package_files import PackageRecord
from aggregate.package.refitting import REFIT_IN_WORDS
from aggregate.package.temperature import Calibration
from aggregate.package.training_cohort import NumberGroup, TrainingCohort
from aggregate.statistics.measures import MACRO
from aggregate.tables.rows import numeric

MODEL_CARD = "MODEL_CARD.md"
_METRICS: Mapping[str, str] = {
    "auc": "AUC",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "brier": "Brier score",
}
_OF_ALL = {
    "auc": "macro AUC",
    "balanced_accuracy": "balanced accuracy",
    "log_loss": "log loss",
    "brier": "Brier score",
}
_SHOWN_COVERAGES = (0.8, 0.9, 0.95)


@dataclass(frozen=True)
class CardFacts:
    """What the card tells.

    Attributes:
        record: package.json.
        contract: contract.json.
        calibration: calibration.json.
        decisions: decisions.json.
        cohort: training_cohort.json.
        performance: rows of performance.csv of the package.
        calibration_rows: rows of its calibration.csv.
        level: of the intervals, such as "95 %".
        stage_1_missing: why there is no stage1.toml; empty where there is one.
    """

    record: PackageRecord
    contract: PackageContract
    calibration: Calibration
    decisions: Decisions
    cohort: TrainingCohort
    performance: Sequence[Mapping[str, Any]]
    calibration_rows: Sequence[Mapping[str, Any]]
    level: str
    stage_1_missing: str


def card_of(facts: CardFacts) -> str:
    """Return the text of the card."""
    record, contract = facts.record, facts.contract
    lines = [
        f"# {record.experiment}: {record.model}",
        "",
        "**For research use only. Not a medical device; no decision about a patient may rest on it.**",
        "",
        *(
            [
                "**The training patients were drawn by a computer; this package says nothing about people.**",
                "",
            ]
            if record.is_synthetic
            else []
        ),
        *_use(contract),
        *_what_it_is(record),
        *_asks(facts),
        *_performance(facts),
        *_calibration(facts),
        *_decisions(contract, facts.decisions),
        *_trained_on(facts.cohort),
        *_limits(contract),
        *_made_with(record),
    ]
    return "\n".join(lines) + "\n"


def _use(contract: PackageContract) -> Iterator[str]:
    yield "## Intended use"
    yield ""
    sets = ", ".join(f"{one.modality}" for one in contract.bag_sets.values()) or "columns of a table"
    yield (
        f"To tell {', '.join(contract.classes)} apart, one label per patient, from {sets}, in studies: to test the model on patients of "
        "another centre, and to compare other models with it. The patients must have one of these classes: the model knows no other, and "
        "gives every patient to one of them."
    )
    yield ""


def _what_it_is(record: PackageRecord) -> Iterator[str]:
    yield "## What it is"
    yield ""
    yield f"- Model `{record.model}` of kind `{record.kind}`, from the experiment `{record.experiment}`."
    yield f"- {len(record.models)} fitted model{'s' if len(record.models) > 1 else ''}: {REFIT_IN_WORDS[record.refit]}."
    yield "- Files: safetensors, XGBoost's JSON, JSON, CSV and TOML. No pickle."
    if record.has_code:
        yield "- It holds Python code in `code/`, which runs when the model is loaded: read it first."
    yield ""


def _asks(facts: CardFacts) -> Iterator[str]:
    contract = facts.contract
    yield "## What it needs"
    yield ""
    for name, one in contract.bag_sets.items():
        yield from _bags(name, one)
    if not contract.bag_sets:
        yield "- No bags."
    for name, covariate in contract.covariates.items():
        words = f" ({', '.join(covariate.words)})" if covariate.words else ""
        yield f"- The column `{name}` of the cohort table: a {covariate.kind}{words}."
    yield (
        f"- Settings of stage 1: not in the package: {facts.stage_1_missing}."
        if facts.stage_1_missing
        else "- Settings of stage 1: `stage1.toml`."
    )
    yield ""


def _bags(name: str, one: BagContract) -> Iterator[str]:
    phases = f", phases {', '.join(one.phase_names)}" if one.is_in_phases else ""
    yield (
        f"- Bags `{name}` ({one.modality}{phases}): encoder {one.encoder}, layer {one.layer}, weights {one.weights_name} (SHA-256 "
        f"`{one.weights_sha256 or 'not told'}`), number format {one.precision}, preprocessing `{one.preprocessing_sha256}`, scales "
        f"{', '.join(one.scale_names)}."
    )


def _performance(facts: CardFacts) -> Iterator[str]:
    yield "## Expected performance"
    yield ""
    yield (
        f"Of patients like the training patients, by cross-validation: every patient is predicted by models that had not seen the patient. "
        f"Brackets are {facts.level} confidence intervals. In another hospital expect less. All rows: `tables/performance.csv`."
    )
    yield ""
    yield "| | " + " | ".join(_OF_ALL.values()) + " |"
    yield "|---" * (1 + len(_OF_ALL)) + "|"
    yield (
        "| all classes | "
        + " | ".join(_cell(row_of(facts.performance, MACRO, metric)) for metric in _OF_ALL)
        + " |"
    )
    yield ""
    yield "| class | " + " | ".join(_METRICS.values()) + " |"
    yield "|---" * (1 + len(_METRICS)) + "|"
    for name in facts.contract.classes:
        cells = (_cell(row_of(facts.performance, name, metric)) for metric in _METRICS)
        yield f"| {name} | " + " | ".join(cells) + " |"
    yield ""


def _calibration(facts: CardFacts) -> Iterator[str]:
    calibration = facts.calibration
    yield "## Calibration"
    yield ""
    if calibration.method == "temperature":
        yield (
            f"Temperature scaling: probabilities are softmax(log p / {calibration.temperature:.3f}), learned on {calibration.learned_on} of "
            f"{calibration.n_patients} patients. What is told of the probabilities here is of temperatures that the other folds gave."
        )
    else:
        yield "The model has learned a temperature on its tuning patients; nothing is put on top of that."
    yield ""
    yield "| class | slope (ideal 1) | intercept (ideal 0) |"
    yield "|---|---|---|"
    for name in facts.contract.classes:
        rows = {row["measure"]: row for row in facts.calibration_rows if row["class"] == name}
        yield f"| {name} | {_cell(rows.get('slope'))} | {_cell(rows.get('intercept'))} |"
    yield ""


def _decisions(contract: PackageContract, decisions: Decisions) -> Iterator[str]:
    yield "## Thresholds and prediction sets"
    yield ""
    yield (
        f"A class is called where its probability reaches its threshold (rule: {decisions.rule}; the median over the folds of those chosen on "
        "the tune patients of each); so a patient may have several classes, or none. `tables/thresholds.csv` has what they reach."
    )
    yield ""
    for name in contract.classes:
        limit = decisions.thresholds.get(name)
        yield f"- {name}: {'no threshold' if limit is None else f'{limit:.3f}'}"
    yield ""
    yield (
        "Prediction sets (split conformal, from the out-of-fold predictions) hold the classes that cannot be ruled out; where that is not a "
        "single class the model abstains. The coverage found is that with limits chosen on the other folds; it holds for patients like these."
    )
    yield ""
    shown = [
        one for one in decisions.prediction_sets if one.coverage in _SHOWN_COVERAGES and one.limit is not None
    ]
    yield (
        "| coverage asked | found | "
        + " | ".join(f"of {name}" for name in contract.classes)
        + " | classes in a set | single class |"
    )
    yield "|---" * (4 + len(contract.classes)) + "|"
    for one in shown:
        of_class = " | ".join(_share(one.found_of_class.get(name)) for name in contract.classes)
        size = "" if one.mean_size is None else f"{one.mean_size:.2f}"
        yield f"| {one.coverage:g} | {_share(one.found)} | {of_class} | {size} | {_share(one.share_of_one)} |"
    yield ""


def _trained_on(cohort: TrainingCohort) -> Iterator[str]:
    yield "## Training patients"
    yield ""
    yield f"- {cohort.n_patients} patients: {_counted(cohort.classes)}."
    if cohort.centres:
        yield f"- Centres: {_counted(cohort.centres)}."
    yield f"- Phases: {_counted(cohort.phases)}."
    groups = {
        "slices of a patient": cohort.slices,
        "tumour volume (ml)": cohort.tumour_volume_ml,
        "distance of slices (mm)": cohort.slice_thickness_mm,
        **cohort.numbers,
    }
    for name, group in groups.items():
        yield f"- {name}: {_spread(group)}."
    for name, words in cohort.words.items():
        yield f"- {name}: {_counted(words)}."
    yield ""


def _limits(contract: PackageContract) -> Iterator[str]:
    yield "## Limits"
    yield ""
    yield "- Scanner, contrast timing, slice thickness and reconstruction of another centre change the features; performance there must be measured."
    yield "- The classes of the training patients were as frequent as above. Where they are not, probabilities and predictive values shift."
    yield "- A combination of phases that no training patient had is told for each patient, and what the model then says is untested."
    if contract.covariates:
        yield "- A covariate that is missing is told for each patient; the model then takes what it learned to take for a missing one."
    yield "- Masks of the lesions are part of the input: another way of drawing them is another input."
    yield "- A new version of the model is a new package; this one must not be changed."
    yield ""


def _made_with(record: PackageRecord) -> Iterator[str]:
    yield "## Made with"
    yield ""
    yield f"{', '.join(f'{name} {version}' for name, version in record.software.items())}; {record.created_utc}; run.json `{record.run_sha256}`."


def _cell(row: Mapping[str, Any] | None) -> str:
    """Return `0.85 [0.78, 0.90]`."""
    if row is None or numeric(row["estimate"]) is None:
        return "not estimable"
    value, low, high = (numeric(row[name]) for name in ("estimate", "ci_low", "ci_high"))
    return f"{value:.2f}" if low is None or high is None else f"{value:.2f} [{low:.2f}, {high:.2f}]"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _counted(counts: Mapping[str, int | str]) -> str:
    return ", ".join(f"{name} {n}" for name, n in counts.items()) or "none"


def _spread(group: NumberGroup) -> str:
    shares = {"q05": "5 %", "q25": "25 %", "median": "median", "q75": "75 %", "q95": "95 %"}
    told = ", ".join(f"{shares[name]} {value:g}" for name, value in group.quantiles.items())
    return f"{told} ({group.n_known} known)" if told else f"{group.n_known} known"
