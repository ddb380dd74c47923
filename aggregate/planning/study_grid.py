"""The grid of a study, spelled out: every combination of levels as a model of the configuration."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from aggregate.config import AggregateConfig
from aggregate.model_section import ModelSection
from aggregate.models.samples import MEASURES
from aggregate.study_section import SCALES, ScalesSection, StudySection
from pipeline.errors import ConfigError
from pipeline.names import hint_of_nearest

Levels = Mapping[str, str]
"""Factor -> level."""
YES, NO = "yes", "no"
BESIDE = "beside"
"""Level of every factor of a model beside the grid that says no other."""
HALVING = "halving"
"""Name and kind of the only model of a study within a budget."""


@dataclass(frozen=True)
class Configuration:
    """One combination of a study.

    Attributes:
        name: the levels of the factors that vary, joined by "/".
        levels: of every factor.
        model: kind and parameters, with all that it reads.
        is_beside: whether it stands beside the grid.
    """

    name: str
    levels: Levels
    model: ModelSection
    is_beside: bool = False


def with_models_of_study(config: AggregateConfig) -> AggregateConfig:
    """Return a configuration of a study with its grid as models.

    Raises:
        ConfigError: it has models of its own, names an unknown bag set or level, or nothing is left of the grid.
    """
    study = config.aggregate.study
    if study is None:
        return config
    if config.aggregate.model:
        raise ConfigError(
            "aggregate: a configuration of a study has no tables [aggregate.model.NAME]; name models in "
            "[aggregate.study.aggregators]"
        )
    grid = grid_of(config)
    models = {one.name: one.model for one in grid}
    if study.budget_minutes is not None:
        models = {HALVING: _halving(models, study)}
    section = config.aggregate.model_copy(update={"model": models})
    return config.model_copy(update={"aggregate": section})


def _halving(models: Mapping[str, ModelSection], study: StudySection) -> ModelSection:
    """Return the one model of a study within a budget: the best of the grid, searched within each fold."""
    inside = {name: {"kind": model.kind, **model.parameters} for name, model in models.items()}
    return ModelSection.model_validate({"kind": HALVING, "models": inside, "select_by": study.select_by})


def grid_of(config: AggregateConfig) -> tuple[Configuration, ...]:
    """Spell out the grid of a configuration, and the models beside it; nothing where it has no study.

    Raises:
        ConfigError: as `configurations` raises, or a model beside the grid has the name of another or a level of no factor.
    """
    study = config.aggregate.study
    if study is None:
        return ()
    grid = configurations(study, list(config.bag_folders))
    return grid if study.budget_minutes is not None else (*grid, *_beside(study, grid))


def _beside(study: StudySection, grid: Sequence[Configuration]) -> Iterator[Configuration]:
    factors, names = list(grid[0].levels), {one.name for one in grid}
    for name, section in study.beside.items():
        where = f"aggregate.study.beside.{name}"
        if name in names:
            raise ConfigError(f"{where}: a configuration of the grid has this name; choose another")
        unknown = next((factor for factor in section.levels if factor not in factors), None)
        if unknown:
            raise ConfigError(f"{where}.levels: no factor {unknown!r}; {hint_of_nearest(unknown, factors)}")
        levels = {factor: section.levels.get(factor, BESIDE) for factor in factors}
        model = ModelSection.model_validate({"kind": section.kind, **section.parameters})
        yield Configuration(name, levels, model, is_beside=True)


def configurations(study: StudySection, bag_sets: Sequence[str]) -> tuple[Configuration, ...]:
    """Spell out the grid, in the order of its levels; combinations that would be the same model are made once.

    Raises:
        ConfigError: `bags` names no bag set, `without` no factor or level, `plainest` no configuration; two bag sets are the
            same levels, an aggregator reads something else than a factor says, two configurations have one name, or
            nothing is left.
    """
    by_factor = _levels_by_factor(study, bag_sets)
    rules = [_checked_rule(rule, by_factor, number) for number, rule in enumerate(study.without, 1)]
    found: dict[tuple[str, ...], tuple[Levels, ModelSection]] = {}
    for levels, model in _combinations(study, bag_sets):
        if not any(all(levels[factor] in left_out for factor, left_out in rule.items()) for rule in rules):
            known = found.setdefault(tuple(levels.values()), (levels, model))
            _check_same(levels, known[1], model)
    if not found:
        raise ConfigError("aggregate.study: expected at least one combination, found none; see `without`")
    varying = [f for f in by_factor if len({levels[f] for levels, _ in found.values()}) > 1]
    grid = tuple(
        Configuration("/".join(levels[f] for f in varying) or levels["aggregator"], levels, model)
        for levels, model in found.values()
    )
    names = [one.name for one in grid]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise ConfigError(
            f"aggregate.study: two configurations are named {twice!r}; rename a level that holds a '/'"
        )
    if study.plainest and study.plainest not in names:
        raise ConfigError(
            f"aggregate.study.plainest: no configuration {study.plainest!r}; {hint_of_nearest(study.plainest, names)}"
        )
    return grid


def _check_same(levels: Levels, known: ModelSection, model: ModelSection) -> None:
    """Refuse two models of the same levels, of which one would vanish.

    Raises:
        ConfigError: both bag sets are named.
    """
    if known != model:
        sets = " and ".join(str(one.parameters.get("bags")) for one in (known, model))
        raise ConfigError(
            f"aggregate.study.bags: {sets} have the same levels ({', '.join(levels.values())}); give a factor another level in "
            "one of them, or a factor to all"
        )


def factors_of(study: StudySection) -> list[str]:
    """Return the factors of a study, those of the bag sets first."""
    of_bags = next(iter(study.bags.values()), {"bags": ""})
    scales = [SCALES] if study.scales else []
    return [*of_bags, "features", "aggregator", "measures", "phases", *scales, "covariates"]


def _combinations(study: StudySection, bag_sets: Sequence[str]) -> Iterator[tuple[Levels, ModelSection]]:
    several = len(bag_sets) > 1
    axes = (
        _described_sets(study, bag_sets).items(),
        study.features.items(),
        study.aggregators.items(),
        study.measures,
        study.phases.items(),
        (study.scale_levels or {"": ScalesSection()}).items(),
        study.covariates.items(),
    )
    for combination in product(*axes):
        (bags, of_bags), (f, blocks), (a, model), measures, (p, phases), (s, scales), (c, covariates) = (
            combination
        )
        has_measures = measures or MEASURES in blocks
        levels = {**of_bags, "features": f, "aggregator": a, "measures": YES if has_measures else NO}
        read = {
            "bags": bags if several else "",
            "features": list(blocks),
            "measures": measures and MEASURES not in blocks,
            "phases": list(phases),
            "scales": list(scales.scales),
            "join_scales": scales.join,
        }
        _check_reads_no_other(
            a,
            model,
            {"features": f, "phases": p, "covariates": c, "bags": bags, "scales": s, "join_scales": s},
            read | {"covariates": list(covariates)},
        )
        of_scales = {SCALES: s} if study.scales else {}
        yield (
            {**levels, "phases": p, **of_scales, "covariates": c},
            _reading(model, {key: value for key, value in read.items() if value}, list(covariates)),
        )


def _check_reads_no_other(
    aggregator: str, model: ModelSection, levels: Levels, read: Mapping[str, Any]
) -> None:
    """Refuse an aggregator whose own parameters read something else than a level says.

    Raises:
        ConfigError: aggregator, parameter and level are named.
    """
    for key in (key for key in model.parameters if read.get(key)):
        own = model.parameters[key]
        if own != read[key]:
            told = levels.get(key, "yes")
            raise ConfigError(
                f"aggregate.study.aggregators.{aggregator}: {key} = {own!r} is not what level {told!r} of {key} reads "
                f"({read[key]!r}); leave {key} to the factors of the study"
            )


def _described_sets(study: StudySection, bag_sets: Sequence[str]) -> Mapping[str, Levels]:
    for name in study.bags:
        if name not in bag_sets:
            raise ConfigError(
                f"aggregate.study.bags.{name}: no bag set {name!r}; {hint_of_nearest(name, bag_sets)}"
            )
    return study.bags or {name: {"bags": name} for name in bag_sets}


def _levels_by_factor(study: StudySection, bag_sets: Sequence[str]) -> Mapping[str, set[str]]:
    by_factor: dict[str, set[str]] = {}
    for levels, _ in _combinations(study, bag_sets):
        for factor, level in levels.items():
            by_factor.setdefault(factor, set()).add(level)
    return by_factor


def _checked_rule(
    rule: Mapping[str, str | tuple[str, ...]], by_factor: Mapping[str, set[str]], number: int
) -> Mapping[str, tuple[str, ...]]:
    where = f"aggregate.study.without, rule {number}"
    checked = {}
    for factor, given in rule.items():
        if factor not in by_factor:
            raise ConfigError(f"{where}: no factor {factor!r}; {hint_of_nearest(factor, list(by_factor))}")
        checked[factor] = (given,) if isinstance(given, str) else tuple(given)
        for level in checked[factor]:
            if level not in by_factor[factor]:
                known = sorted(by_factor[factor])
                raise ConfigError(f"{where}: {factor}: no level {level!r}; {hint_of_nearest(level, known)}")
    return checked


def _reading(model: ModelSection, read: Mapping[str, Any], covariates: Sequence[str]) -> ModelSection:
    """Return the model of an aggregator that reads the given parts of a patient, chosen by a grid where it has one."""
    parameters = _with(model.kind, model.parameters, read, covariates)
    grid = parameters.get("grid")
    if grid and model.kind != "grid":
        inside = {key: value for key, value in parameters.items() if key != "grid"}
        parameters = {"model": model.kind, "parameters": inside, "grid": grid}
        return ModelSection.model_validate({"kind": "grid", **parameters})
    return ModelSection.model_validate({"kind": model.kind, **parameters})


def _with(
    kind: str, parameters: Mapping[str, Any], read: Mapping[str, Any], covariates: Sequence[str]
) -> dict[str, Any]:
    """Give what is to be read to a model, or to the models inside it; what a model inside says itself stays."""
    found = dict(parameters)
    if isinstance(found.get("models"), Mapping):
        found["models"] = {
            name: {**inside, **_with(str(inside.get("kind")), inside, read, ())}
            for name, inside in found["models"].items()
        }
        return {**found, "covariates": list(covariates)} if covariates else found
    if kind in {"grid", "ensemble", "calibrated"}:
        inner = str(found.get("model", ""))
        found["parameters"] = _with(inner, found.get("parameters", {}), read, covariates)
        return found
    given = {**read, **({"covariates": list(covariates)} if covariates else {})}
    return {**given, **found}
