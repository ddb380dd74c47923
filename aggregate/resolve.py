"""The names in a configuration of stage 2, resolved before anything is trained or written."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aggregate.baselines import names_of_baselines, with_baselines
from aggregate.config import AggregateConfig, AggregateSection, ModelSection
from aggregate.models.baselines import SinglePhase
from aggregate.study import Study
from pipeline.cohort import Patient
from pipeline.covariates import Covariate, read_covariate
from pipeline.errors import CohortError, ConfigError
from pipeline.names import hint_of_nearest, label_vocabulary, phase_vocabulary
from pipeline.phase_roles import phase_roles, with_roles_resolved

Resolve = Callable[[str | None, str], str]
"""(spelling or None for the arterial phase, key of the configuration) -> name."""


def with_names_resolved(config: AggregateConfig, where: str) -> AggregateConfig:
    """Return the configuration with every spelling of a phase or class replaced by the name that it stands for.

    Args:
        config: as read.
        where: what the messages begin with, such as the file.

    Raises:
        ConfigError: a phase, class or model is unknown (the nearest one is named) or ambiguous.
    """
    phases, classes = phase_vocabulary(config.cohort), label_vocabulary(config.cohort)
    cohort, section = with_roles_resolved(config.cohort, where=where), config.aggregate
    arterial = phase_roles(cohort).arterial

    def phase(text: str | None, key: str) -> str:
        if text is None and arterial is None:
            raise ConfigError(
                f"{where}: aggregate.{key}: no phase is arterial ([cohort.phase_roles]), which would be the default; "
                f"name one of {', '.join(phases.names)}"
            )
        text = str(text or arterial)
        return phases.resolve(text, where=f"{where}: aggregate.{key}")

    models = {name: _with_phases(name, model, phase) for name, model in section.model.items()}
    decided = tuple(
        classes.resolve(text, where=f"{where}: aggregate.statistics.decision_classes")
        for text in section.statistics.decision_classes
    )
    _check_primary(section, [*section.model, *names_of_baselines(section, config.cohort.phases)], where)
    statistics = section.statistics.model_copy(update={"decision_classes": decided})
    section = section.model_copy(update={"model": models, "statistics": statistics})
    return config.model_copy(update={"aggregate": section, "cohort": cohort})


def check_study(config: AggregateConfig, study: Study) -> None:
    """Check the names that only the cohort table and the bags can tell: columns, and baselines of single phases.

    Raises:
        CohortError: a covariate is no column of the cohort table, or says two things of one patient.
        ConfigError: the primary comparison names a model that is not run on these bags.
    """
    used_covariates(config.aggregate, study.patients)
    names = [spec.name for spec in with_baselines(config.aggregate, study)]
    _check_primary(config.aggregate, names, config.name)


def used_covariates(section: AggregateSection, patients: Sequence[Patient]) -> list[Covariate]:
    """Type the columns that the configuration names for the covariates baseline and for subgroups.

    Raises:
        CohortError: one is no column of the cohort table (the nearest one is named), or says two things of one
            patient.
    """
    asked = {
        **dict.fromkeys(section.statistics.subgroup_covariates, "[aggregate.statistics] subgroup_covariates"),
        **dict.fromkeys(section.covariates, "[aggregate] covariates"),
    }
    return [covariate_of(column, patients, where=where) for column, where in asked.items()]


def how_the_table_was_read(section: AggregateSection, study: Study) -> list[str]:
    """Return what the user is told of the cohort table: translations, and what each used covariate is."""
    covariates = used_covariates(section, study.patients)
    return [*map(str, study.translations), *study.remarks, *(c.describe() for c in covariates)]


def covariate_of(column: str, patients: Sequence[Patient], *, where: str) -> Covariate:
    """Type one column of the cohort table.

    Raises:
        CohortError: it is no column (the nearest one is named), or says two things of one patient.
    """
    known = dict.fromkeys(name for patient in patients for name in patient.covariates)
    if column not in known:
        raise CohortError(
            f"covariate {column!r} is no column of the cohort table; {hint_of_nearest(column, known)}; see {where}"
        )
    for patient in patients:
        if column in patient.contradictions:
            raise CohortError(f"patient {patient.patient_id}: {patient.contradictions[column]}")
    covariate = read_covariate(column, {p.patient_id: p.covariates.get(column, "") for p in patients})
    if covariate.doubt:
        raise CohortError(f"covariate {column!r}: {covariate.doubt}; see {where}")
    return covariate


def _with_phases(name: str, model: ModelSection, phase: Resolve) -> ModelSection:
    resolved = _resolved(model.kind, model.parameters, phase, f"model.{name}")
    changed = {key: value for key, value in resolved.items() if value != model.parameters.get(key)}
    if "parameters" in changed:
        changed["parameters_inside"] = changed.pop("parameters")
    return model.model_copy(update=changed)


def _resolved(kind: object, parameters: Mapping[str, Any], phase: Resolve, key: str) -> dict[str, Any]:
    """Resolve the phases of a model's parameters, and of those of the model inside a grid or a calibration."""
    found = dict(parameters)
    if kind == SinglePhase.kind:
        found["phase"] = phase(found.get("phase"), f"{key}.phase")
    inner, grid = found.get("model"), found.get("grid")
    if inner == SinglePhase.kind and isinstance(grid, Mapping) and "phase" in grid:
        found["grid"] = {**grid, "phase": [phase(str(text), f"{key}.grid.phase") for text in grid["phase"]]}
        return found
    inside = found.get("parameters", {} if inner == SinglePhase.kind else None)
    if isinstance(inside, Mapping):
        found["parameters"] = _resolved(inner, inside, phase, f"{key}.parameters")
    return found


def _check_primary(section: AggregateSection, names: Sequence[str], where: str) -> None:
    primary = section.statistics.primary
    for name in (primary.model_a, primary.model_b) if primary else ():
        if name not in names:
            raise ConfigError(
                f"{where}: aggregate.statistics.primary names model {name!r}; {hint_of_nearest(name, names)}"
            )
    if primary and primary.model_a == primary.model_b:
        raise ConfigError(
            f"{where}: aggregate.statistics.primary compares model {primary.model_a!r} with itself"
        )
