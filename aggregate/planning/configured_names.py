"""The names in a configuration of stage 2, resolved before anything is trained or written."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from aggregate.cohort.study_cohort import StudyCohort
from aggregate.config import AggregateConfig, AggregateSection
from aggregate.model_section import ModelSection
from aggregate.models.baselines import SinglePhase
from aggregate.models.registry import may_weigh_slices
from aggregate.planning.baselines import names_of_baselines, with_baselines
from aggregate.planning.study_grid import grid_of
from aggregate.planning.study_names import check_asked_configurations, with_projected_resolved
from pipeline.cohort import Patient as Row
from pipeline.covariates import Covariate, read_covariate
from pipeline.errors import CohortError, ConfigError, Mistakes
from pipeline.names import Vocabulary, hint_of_nearest, label_vocabulary, nearest, phase_vocabulary
from pipeline.phase_roles import phase_roles, with_roles_resolved

Resolve = Callable[[str | None, str], str]
"""(spelling or None for the arterial phase, key of the configuration) -> name."""


def with_names_resolved(
    config: AggregateConfig, where: str, mistakes: Mistakes, *, is_whole: bool = True
) -> AggregateConfig:
    """Return the configuration with every spelling of a phase or class replaced by the name that it stands for.

    A phase, class or model that is unknown (the nearest one is named) or ambiguous is gathered. The first phase or class
    then stands in its place, so that nothing else is told of the same mistake; such a configuration is not used.

    Args:
        config: as read.
        where: what the messages begin with, such as the file.
        mistakes: gathers what is wrong.
        is_whole: False where keys of [aggregate] were left out as mistaken, so that models may be lacking.
    """
    cohort, section = config.cohort, config.aggregate
    models, decided = section.model, section.statistics.decision_classes
    arterial: str | None = cohort.phases[0]
    with mistakes.gathered():
        cohort = with_roles_resolved(cohort, where=where)
        arterial = phase_roles(cohort).arterial
    with mistakes.gathered():
        phase = _or_arterial(phase_vocabulary(cohort), arterial, f"{where}: aggregate.", mistakes)
        models = {name: _with_phases(name, model, phase) for name, model in models.items()}
    with mistakes.gathered():
        label = _resolver(label_vocabulary(config.cohort), f"{where}: aggregate.", mistakes)
        decided = tuple(label(text, "statistics.decision_classes") for text in decided)
    fusion = section.fusion
    if fusion is not None:
        with mistakes.gathered():
            label = _resolver(label_vocabulary(config.cohort), f"{where}: aggregate.", mistakes)
            fusion = fusion.model_copy(update={"positive": label(fusion.positive, "fusion.positive")})
    if is_whole:
        _check_named_models(config, where, mistakes)
    statistics = section.statistics.model_copy(update={"decision_classes": decided})
    study = section.study and with_projected_resolved(section.study, config.cohort, where, mistakes)
    section = section.model_copy(
        update={"model": models, "statistics": statistics, "study": study, "fusion": fusion}
    )
    return config.model_copy(update={"aggregate": section, "cohort": cohort})


def check_study(config: AggregateConfig, study: StudyCohort) -> None:
    """Check the names that only the cohort table and the bags can tell: columns, and baselines of single phases.

    Raises:
        CohortError: a covariate is no column of the cohort table, or says two things of one patient.
        ConfigError: the primary comparison names a baseline that is not run on these bags.
        SeveralMistakesError: more than one of these.
    """
    mistakes = Mistakes()
    section = config.aggregate
    for column, where in asked_columns(section).items():
        with mistakes.gathered():
            covariate_of(column, study.rows, where=where)
    absent = set(names_of_baselines(section, config.cohort.phases)) - {
        spec.name for spec in with_baselines(section, study)
    }
    primary = section.statistics.primary
    if primary and absent & {primary.model_a, primary.model_b}:
        _check_primary(section, [spec.name for spec in with_baselines(section, study)], config.name, mistakes)
    mistakes.raise_all()


def check_explained_model(section: AggregateSection) -> None:
    """Refuse an explained_model that cannot be explained.

    Raises:
        ConfigError: it is of a kind that weighs no slices, or a model cannot be built.
    """
    name = section.explained_model
    able = [other for other, model in section.model.items() if may_weigh_slices(model.kind, model.parameters)]
    if name is not None and name in section.model and name not in able:
        raise ConfigError(
            f"aggregate.explained_model = {name!r} is of kind {section.model[name].kind}, which has no attention; "
            f"models of this configuration with attention: {', '.join(able) or 'none'}"
        )


def used_covariates(section: AggregateSection, rows: Sequence[Row]) -> list[Covariate]:
    """Type the columns that the configuration names for models and for subgroups.

    Raises:
        CohortError: one is no column of the cohort table (the nearest one is named), or says two things of one
            patient.
    """
    asked = asked_columns(section)
    return [covariate_of(column, rows, where=where) for column, where in asked.items()]


def asked_columns(section: AggregateSection) -> Mapping[str, str]:
    """Return the columns that the configuration names, each with the key that names it."""
    subgroups = section.statistics.subgroup_covariates
    return {
        **dict.fromkeys(section.described, "[aggregate] described"),
        **dict.fromkeys(subgroups, "[aggregate.statistics] subgroup_covariates"),
        **columns_of_models(section),
    }


def published_columns(section: AggregateSection) -> frozenset[str]:
    """Return the columns of the cohort table that stand in results: those that the configuration names, the outcome among them."""
    return frozenset((*asked_columns(section), *section.outcome.columns))


def columns_of_models(section: AggregateSection) -> Mapping[str, str]:
    """Return the columns that models read, each with the key of the configuration that names it."""
    found = dict.fromkeys(section.covariates, "[aggregate] covariates")
    for name, model in section.model.items():
        for column in _covariates_in(model.parameters):
            found.setdefault(column, f"[aggregate.model.{name}] covariates")
    return found


def _covariates_in(parameters: Mapping[str, Any]) -> Iterator[str]:
    """Yield the covariates of a model, of the model inside it, and of each choice of a grid."""
    tried = parameters.get("grid", {})
    for given in (parameters.get("covariates", ()), *(tried.get("covariates", ()) if tried else ())):
        if isinstance(given, list | tuple):  # what is none is refused when the model is built
            yield from (column for column in given if isinstance(column, str))
    in_stack = parameters.get("models")
    inside = [parameters.get("parameters"), *(in_stack.values() if isinstance(in_stack, Mapping) else ())]
    for given in inside:
        if isinstance(given, Mapping):
            yield from _covariates_in(given)


def how_the_table_was_read(section: AggregateSection, study: StudyCohort) -> list[str]:
    """Return what the user is told of the cohort table: translations, and what each used covariate is."""
    covariates = used_covariates(section, study.rows)
    return [
        *map(str, study.matched.translations),
        *study.matched.remarks,
        *(c.describe() for c in covariates),
        *_unpublished(section, study),
    ]


def _unpublished(section: AggregateSection, study: StudyCohort) -> list[str]:
    """Name the columns of the cohort table that stay out of the results."""
    asked = {*asked_columns(section), *section.outcome.columns}
    columns = dict.fromkeys(name for row in study.rows for name in row.covariates if name not in asked)
    if not columns:
        return []
    return [
        f"columns of the cohort table that stay out of the results: {', '.join(columns)}; [aggregate] described shows them"
    ]


def covariate_of(column: str, rows: Sequence[Row], *, where: str) -> Covariate:
    """Type one column of the cohort table.

    Raises:
        CohortError: it is no column (the nearest one is named), or says two things of one patient.
    """
    known = dict.fromkeys(name for row in rows for name in row.covariates)
    if column not in known:
        raise CohortError(
            f"covariate {column!r} is no column of the cohort table; {hint_of_nearest(column, known)}; see {where}"
        )
    for row in rows:
        if column in row.contradictions:
            raise CohortError(f"patient {row.patient_id}: {row.contradictions[column]}")
    covariate = read_covariate(column, {row.patient_id: row.covariates.get(column, "") for row in rows})
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
    """Resolve the phases of a model's parameters, and of those of the models inside it."""
    found = dict(parameters)
    if isinstance(found.get("phases"), list | tuple):
        found["phases"] = [phase(str(text), f"{key}.phases") for text in found["phases"]]
    if isinstance(found.get("models"), Mapping):
        found["models"] = {
            name: _resolved(model.get("kind"), model, phase, f"{key}.models.{name}")
            for name, model in found["models"].items()
            if isinstance(model, Mapping)
        }
    if isinstance(found.get("modalities"), Mapping):
        found["modalities"] = {
            name: _resolved(None, given, phase, f"{key}.modalities.{name}")
            if isinstance(given, Mapping)
            else given
            for name, given in found["modalities"].items()
        }
    if kind == SinglePhase.kind:
        found["phase"] = phase(found.get("phase"), f"{key}.phase")
    inner, grid = found.get("model"), found.get("grid")
    if isinstance(grid, Mapping) and "phases" in grid:
        choices = [[phase(str(text), f"{key}.grid.phases") for text in choice] for choice in grid["phases"]]
        grid = found["grid"] = {**grid, "phases": choices}
    if inner == SinglePhase.kind and isinstance(grid, Mapping) and "phase" in grid:
        found["grid"] = {**grid, "phase": [phase(str(text), f"{key}.grid.phase") for text in grid["phase"]]}
        return found
    inside = found.get("parameters", {} if inner == SinglePhase.kind else None)
    if isinstance(inside, Mapping):
        found["parameters"] = _resolved(inner, inside, phase, f"{key}.parameters")
    return found


def _or_arterial(phases: Vocabulary, arterial: str | None, where: str, mistakes: Mistakes) -> Resolve:
    """Return what resolves a phase, and takes the arterial one where none is named."""
    resolve = _resolver(phases, where, mistakes)

    def resolve_or_default(text: str | None, key: str) -> str:
        if text or arterial:
            return resolve(str(text or arterial), key)
        mistakes.add(
            ConfigError(
                f"{where}{key}: no phase is arterial ([cohort.phase_roles]), which would be the default; name one of "
                f"{', '.join(phases.names)}"
            )
        )
        return phases.names[0]

    return resolve_or_default


def _resolver(vocabulary: Vocabulary, where: str, mistakes: Mistakes) -> Callable[[str, str], str]:
    """Return what replaces a spelling by its name, and a mistaken one by the first name."""

    def resolve(text: str, key: str) -> str:
        try:
            return vocabulary.resolve(text, where=f"{where}{key}")
        except ConfigError as error:
            mistakes.add(error)
            return vocabulary.names[0]

    return resolve


def _check_named_models(config: AggregateConfig, where: str, mistakes: Mistakes) -> None:
    section = config.aggregate
    primary = section.statistics.primary
    if section.study is None:
        known = [*section.model, *names_of_baselines(section, config.cohort.phases)]
        _check_primary(section, known, where, mistakes)
        _check_fusion(section, known, where, mistakes)
    else:  # within a budget the configurations are not the models, but stand inside the only one
        check_asked_configurations(section, [one.name for one in grid_of(config)], where, mistakes)
    if primary and primary.model_a == primary.model_b:
        mistakes.add(
            ConfigError(
                f"{where}: aggregate.statistics.primary compares model {primary.model_a!r} with itself"
            )
        )
    with mistakes.gathered():
        _check_explained_model_is_there(section, where)


def _check_fusion(section: AggregateSection, names: Sequence[str], where: str, mistakes: Mistakes) -> None:
    """Refuse a model that is none or that is named twice."""
    fusion = section.fusion
    asked = [] if fusion is None else [fusion.imaging, fusion.biopsy, *fusion.combined]
    for number, name in enumerate(asked):
        if name not in names:
            hint = hint_of_nearest(name, names)
            mistakes.add(ConfigError(f"{where}: aggregate.fusion names model {name!r}; {hint}"))
        elif name in asked[:number]:
            mistakes.add(ConfigError(f"{where}: aggregate.fusion names model {name!r} twice"))


def _check_primary(section: AggregateSection, names: Sequence[str], where: str, mistakes: Mistakes) -> None:
    primary = section.statistics.primary
    for name in (primary.model_a, primary.model_b) if primary else ():
        if name not in names:
            mistakes.add(
                ConfigError(
                    f"{where}: aggregate.statistics.primary names model {name!r}; {hint_of_nearest(name, names)}"
                )
            )


def _check_explained_model_is_there(section: AggregateSection, where: str) -> None:
    name = section.explained_model
    if name is not None and name not in section.model:
        near = nearest(name, section.model)
        raise ConfigError(
            f"{where}: aggregate: explained_model = {name!r} is no model of this configuration; expected one of "
            f"{', '.join(section.model)}{f'; nearest: {near!r}' if near else ''}"
        )
