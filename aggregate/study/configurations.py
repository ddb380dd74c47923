"""configurations.csv: every configuration of a study with its levels and what it costs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from aggregate.planning.study_grid import Configuration
from aggregate.store.fit_cache import Costs, Fit
from aggregate.tables.results import ResultTables
from aggregate.tables.shared_columns import MODEL
from aggregate.tables.table import Column, Kind, Step, Table

FACTOR_PREFIX = "factor "
FACTOR_LEVEL = Column("factor <factor>", "Level of the factor")
COST_COLUMNS = (
    Column("fit_s", "Seconds to train on one fold, mean over the folds", "s", Kind.NUMBER),
    Column(
        "slices_per_s",
        "Slices of new patients classified in a second on one core, reading their bags included",
        "1/s",
        Kind.NUMBER,
    ),
    Column(
        "n_parameters",
        "Numbers that the model learns, mean over the folds; empty for trees",
        "",
        Kind.COUNT,
    ),
)
CONFIGURATIONS = Table(
    "configurations.csv",
    "configuration of the study",
    (MODEL, FACTOR_LEVEL, *COST_COLUMNS),
    place=400,
    step=Step.STUDY,
    notes=(
        "The times are of the machine that trained the models, with its other work beside it: compare them within one "
        "study only. The factors are those of `[aggregate.study]`."
    ),
)


@dataclass(frozen=True)
class Described:
    """A configuration of a finished study: its name, the level of each factor, and its costs."""

    name: str
    levels: Mapping[str, str]
    costs: Costs


def described(grid: Sequence[Configuration], fits: Mapping[str, Sequence[Fit]]) -> tuple[Described, ...]:
    """Describe each configuration with the mean costs of its fits."""
    return tuple(Described(one.name, one.levels, _mean_costs(fits[one.name])) for one in grid)


def write_configurations(tables: ResultTables, found: Sequence[Described]) -> None:
    """Write configurations.csv."""
    tables.write(CONFIGURATIONS, _rows(found), {"factor": list(found[0].levels)})


def read_configurations(tables: ResultTables) -> tuple[Described, ...]:
    """Read configurations.csv back.

    Raises:
        ResultsError: the table is missing or does not fit.
    """
    rows = tables.read(CONFIGURATIONS)
    factors = [name for name in tables.header(CONFIGURATIONS) if name.startswith(FACTOR_PREFIX)]
    return tuple(
        Described(
            row["model"],
            {name.removeprefix(FACTOR_PREFIX): row[name] for name in factors},
            Costs(row["fit_s"], row["slices_per_s"], _whole(row["n_parameters"])),
        )
        for row in rows
    )


def level_cells(levels: Mapping[str, str]) -> Mapping[str, str]:
    """Return the cells of the columns of the factors."""
    return {f"{FACTOR_PREFIX}{factor}": level for factor, level in levels.items()}


def cost_cells(costs: Costs) -> Mapping[str, float | None]:
    """Return the cells of the columns of the costs."""
    return dict(vars(costs))


def _rows(found: Sequence[Described]) -> Iterator[Mapping[str, Any]]:
    for one in found:
        yield {"model": one.name, **level_cells(one.levels), **cost_cells(one.costs)}


def _mean_costs(fits: Sequence[Fit]) -> Costs:
    return Costs(
        fit_s=_mean([fit.costs.fit_s for fit in fits]),
        slices_per_s=_mean([fit.costs.slices_per_s for fit in fits]),
        n_parameters=_whole(_mean([fit.costs.n_parameters for fit in fits])),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)
