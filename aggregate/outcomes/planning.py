"""What a plan needs to know of an outcome: its models and baselines, its folds, and what must not be read."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec

import numpy as np

from aggregate.cohort.folds import Fold
from aggregate.cohort.patient import ONLY_SET
from aggregate.cohort.patients import Patients
from aggregate.cohort.study_cohort import StudyCohort
from aggregate.config import AggregateSection
from aggregate.models.registry import model_class
from aggregate.outcomes.outcome import EVENT, Outcome, times_of
from aggregate.outcomes.reading import check_horizons
from aggregate.outcomes.section import OutcomeSection, Task
from aggregate.planning.fit_tasks import ModelSpec
from pipeline.bags import HISTOLOGY
from pipeline.errors import ConfigError, FoldError, LeakError, Mistakes

KAPLAN_MEIER, TUMOUR_SIZE, COVARIATES = "kaplan_meier", "tumour_size", "covariates"
_CONSTANT: Mapping[Task, str] = {
    "survival": KAPLAN_MEIER,
    "regression": "mean_number",
    "ordinal": "grade_shares",
}
_LINEAR: Mapping[Task, str] = {"survival": "cox", "regression": "ridge", "ordinal": "odds"}
_SET_BY_A_RUN = ("times", "grades")
"""Parameters that follow from [aggregate.outcome]."""
LEAST_EVENTS = {"train": 5, "tune": 1, "test": 1}
"""Events that each part of a fold needs."""


def outcome_specs(section: AggregateSection, study: StudyCohort) -> list[ModelSpec]:
    """Return the models of the configuration, then the baselines that it does not name itself.

    Raises:
        ConfigError: a model sets what follows from [aggregate.outcome].
    """
    asked = [ModelSpec(name, model.kind, model.parameters) for name, model in section.model.items()]
    taken = {spec.name for spec in asked}
    is_histology = study.headers_of_first_set[0].modality == HISTOLOGY
    beside = [
        spec
        for spec in outcome_baselines(section, next(iter(study.patients.bag_sets)))
        if spec.name not in taken and not (is_histology and spec.name == TUMOUR_SIZE)
    ]
    return [_completed(spec, section) for spec in asked + (beside if section.baselines else [])]


def outcome_baselines(section: AggregateSection, bag_set: str = "") -> list[ModelSpec]:
    """Return the baselines of a task: the same for everybody, the size of the tumour, the covariates."""
    bags = {} if bag_set in ("", ONLY_SET) else {"bags": bag_set}
    linear = _LINEAR[section.task]
    found = [
        ModelSpec(_CONSTANT[section.task], _CONSTANT[section.task], {}),
        ModelSpec(TUMOUR_SIZE, f"{TUMOUR_SIZE}_{linear}", bags),
    ]
    if section.covariates:
        columns = {"covariates": list(section.covariates)}
        found.append(ModelSpec(COVARIATES, f"{COVARIATES}_{linear}", columns))
    return found


def _completed(spec: ModelSpec, section: AggregateSection) -> ModelSpec:
    given = [name for name in _SET_BY_A_RUN if name in spec.parameters]
    if given:
        raise ConfigError(
            f"aggregate.model.{spec.name}: {given[0]!r} follows from [aggregate.outcome]; leave it out"
        )
    if model_class(spec.kind).task != section.task:  # a classifier of grades
        return spec
    of_task = {"survival": {"times": times_of(section.outcome)} if section.outcome.horizons else {}}
    of_task["ordinal"] = {"grades": len(section.outcome.order)}  # type: ignore[dict-item]
    return replace(spec, parameters={**spec.parameters, **of_task.get(section.task, {})})


def check_task_of(kind: str, task: Task) -> None:
    """Refuse a kind of model that predicts something else than the task; grades may be predicted by classifiers too.

    Raises:
        ConfigError: the kind and its task are named.
    """
    of_kind = model_class(kind).task
    if of_kind != task and not (task == "ordinal" and of_kind == "classification"):
        raise ConfigError(
            f'a model of kind {kind!r} is for task = "{of_kind}", and [aggregate] task is "{task}"; `aggregate.py models` '
            "lists the kinds of each task"
        )


def check_outcome(section: AggregateSection, outcome: Outcome) -> None:
    """Refuse a task that cannot be done on these patients or on this machine.

    Raises:
        ConfigError: scikit-survival is not installed, or a horizon cannot be measured.
        SeveralMistakesError: more than one of these.
    """
    mistakes = Mistakes()
    if section.task == "survival":
        if find_spec("sksurv") is None:
            mistakes.add(
                ConfigError(
                    'aggregate.task = "survival" needs the extra `survival` (scikit-survival, GPL-3): pip install '
                    "'phasemil[survival]'"
                )
            )
        for problem in check_horizons(outcome):
            mistakes.add(ConfigError(problem))
    mistakes.raise_all()


def check_outcome_is_not_read(
    columns: Mapping[str, str], study: StudyCohort, outcome: OutcomeSection
) -> None:
    """Refuse a covariate that is a column of the outcome, or that tells it of every patient.

    Args:
        columns: column -> key of the configuration that names it.
        study: the patients.
        outcome: [aggregate.outcome].

    Raises:
        LeakError: the column is named.
    """
    for column, where in columns.items():
        if column in outcome.columns:
            raise LeakError(f"covariate {column!r} is the outcome itself; take it out of {where}")
        if column in study.patients.covariates and study.outcome is not None and _is_told_by(column, study):
            raise LeakError(
                f"covariate {column!r} tells the outcome of every patient; take it out of {where}"
            )


def _is_told_by(column: str, study: StudyCohort) -> bool:
    """Say whether the few values of a column go with one group each, or its numbers are those of the outcome."""
    values = study.patients.covariates[column].values
    told = [values[name] for name in study.patients.patient_ids]
    groups: dict[object, set[int]] = {}
    for value, code in zip(told, study.patients.codes.tolist(), strict=True):
        groups.setdefault(value, set()).add(code)
    few = len(study.patients.classes) > 1 and len(groups) <= max(2, len(told) // 3)
    if few and all(len(codes) == 1 for codes in groups.values()):
        return True
    numbers = study.targets["time"] if study.targets.dtype.names else study.targets
    return all(
        isinstance(value, float) and value == number for value, number in zip(told, numbers, strict=True)
    )


def for_folds(study: StudyCohort, folds: int) -> Patients:
    """Return the patients with the groups that the folds keep even as their classes.

    Raises:
        FoldError: there are too few events.
    """
    outcome = study.outcome
    if outcome is None:
        return study.patients
    if outcome.task == "survival":
        events = int((study.patients.codes == study.patients.classes.index(EVENT)).sum())
        if events < 2 * folds:
            raise FoldError(
                f"{events} of {len(outcome)} patients have the event, too few for {folds} folds; expected at least {2 * folds}: "
                "use fewer folds, or a longer follow-up"
            )
    codes, names = outcome.fine_codes(folds)
    return replace(study.patients, codes=codes, classes=names)


def check_events(folds: Sequence[Fold], study: StudyCohort) -> None:
    """Refuse folds with too few events to train, to tune or to test.

    Raises:
        FoldError: the fold and the counts are named.
    """
    if study.outcome is None or study.outcome.task != "survival":
        return
    for fold in folds:
        counts = {role: _events(getattr(fold, role), study) for role in LEAST_EVENTS}
        if any(n < LEAST_EVENTS[role] for role, (n, _) in counts.items()):
            told = ", ".join(f"{role}: {n} events of {of} patients" for role, (n, of) in counts.items())
            least = ", ".join(f"{n} to {role}" for role, n in LEAST_EVENTS.items())
            raise FoldError(
                f"repeat {fold.repeat}, fold {fold.fold}: {told}; expected at least {least} on: use fewer folds, or other splits"
            )


def _events(members: np.ndarray, study: StudyCohort) -> tuple[int, int]:
    return int(study.targets["event"][members].sum()), len(members)


def remarks_on_outcome(section: AggregateSection, study: StudyCohort) -> Iterator[str]:
    """Yield what the user is told of the outcome and of what is not done with it."""
    outcome = study.outcome
    if outcome is None:
        return
    if outcome.task == "survival":
        times, events = outcome.values["time"], outcome.values["event"]
        yield (
            f"outcome: {int(events.sum())} of {len(outcome)} patients have the event ({section.outcome.event}); median time "
            f"observed {np.median(times):g}, longest {times.max():g} ({section.outcome.time})"
        )
    elif outcome.task == "regression":
        yield (
            f"outcome: {section.outcome.column} of {len(outcome)} patients, {outcome.values.min():g} to {outcome.values.max():g}, "
            f"mean {outcome.values.mean():g}"
        )
    if section.explain:
        yield f'explanations and the folder `paper` are written with task = "classification" only, and not with "{outcome.task}"'
