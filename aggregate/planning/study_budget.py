"""What fits into the minutes of a study within a budget: which configurations are tried, and how many repeats."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from math import ceil

import numpy as np
from numpy.typing import NDArray

from aggregate.models.halving import Halving, Rung, rungs
from aggregate.planning.study_grid import Configuration

NOT_TRIED = "not tried: budget"


@dataclass(frozen=True)
class Trial:
    """What one fit takes, tried once before the study on the lowest rung of its first fold.

    Attributes:
        seconds: configuration -> seconds of a fit and of predictions; those that were tried.
        n_patients: on which each was trained.
        took_s: seconds of all of it.
    """

    seconds: Mapping[str, float]
    n_patients: int
    took_s: float


@dataclass(frozen=True)
class Room:
    """What there is to spend, and on what.

    Attributes:
        seconds: after the trial.
        codes: class of each training patient of the first fold.
        folds: of one repeat.
        repeats: at most.
        n_jobs: folds that are worked on side by side.
    """

    seconds: float
    codes: NDArray[np.intp]
    folds: int
    repeats: int
    n_jobs: int


@dataclass(frozen=True)
class Schedule:
    """What a budget is spent on.

    Attributes:
        tried: the configurations that every fold searches.
        left_out: those for which there is no time.
        rungs: of the first fold; the others differ by few patients.
        repeats: of the cross-validation.
        repeat_s: expected seconds of one repeat.
        is_enough: whether one repeat fits at all.
    """

    tried: tuple[str, ...]
    left_out: tuple[str, ...]
    rungs: tuple[Rung, ...]
    repeats: int
    repeat_s: float
    is_enough: bool


def drawn_order(grid: Sequence[Configuration], seed: int) -> list[str]:
    """Return the configurations in a random order whose every beginning has the aggregators in turn."""
    rng = np.random.default_rng([seed, 0x4255])
    by_aggregator: dict[str, list[str]] = {}
    for one in grid:
        by_aggregator.setdefault(one.levels["aggregator"], []).append(one.name)
    groups = [[str(name) for name in rng.permutation(names)] for names in by_aggregator.values()]
    in_turn = zip_longest(*(groups[i] for i in rng.permutation(len(groups))))
    return [name for name in chain.from_iterable(in_turn) if name is not None]


def scheduled(order: Sequence[str], halving: Halving, trial: Trial, room: Room) -> Schedule:
    """Spend the budget: first on as many configurations as fit in one repeat, then on as many repeats as fit.

    Args:
        order: all configurations; the first of them are tried.
        halving: how they are searched.
        trial: what each takes; what was not tried has no place.
        room: what there is to spend.
    """
    known = [name for name in order if name in trial.seconds]
    fitting = (
        n for n in range(len(known), 0, -1) if _repeat_s(known[:n], halving, trial, room) <= room.seconds
    )
    n_tried = next(fitting, 0)
    tried = known[: n_tried or 1]
    repeat_s = _repeat_s(tried, halving, trial, room)
    return Schedule(
        tried=tuple(tried),
        left_out=tuple(name for name in order if name not in tried),
        rungs=tuple(_rungs(len(tried), halving, room)),
        repeats=max(1, min(room.repeats, int(room.seconds / repeat_s))),
        repeat_s=repeat_s,
        is_enough=n_tried > 0,
    )


def lines_of(
    schedule: Schedule, halving: Halving, trial: Trial, minutes: float, repeats: int
) -> Iterator[str]:
    """Yield what a budget will be spent on, for a person to read before it is spent."""
    n_tried, n_all = len(schedule.tried), len(schedule.tried) + len(schedule.left_out)
    yield f"Budget {minutes:g} min, of which trying the configurations took {trial.took_s / 60:.1f} min"
    if schedule.left_out:
        yield (
            f"{n_tried} of {n_all} configurations fit, drawn at random with the aggregators in turn; the others are in "
            f"halving_summary.csv as {NOT_TRIED!r}"
        )
    steps = ", ".join(f"{rung.n_models} on {rung.n_patients} patients" for rung in schedule.rungs)
    yield f"In each fold: {steps}, scored on {halving.inner_folds} inner folds; then the best on all training patients"
    yield f"{schedule.repeats} of {repeats} repeats, about {schedule.repeat_s / 60:.1f} min each"
    if not schedule.is_enough:
        yield "One repeat takes longer than the budget, and is completed nevertheless; without it there is no estimate"


def _rungs(n_models: int, halving: Halving, room: Room) -> list[Rung]:
    return rungs(room.codes, n_models, factor=halving.factor, inner_folds=halving.inner_folds)


def _repeat_s(names: Sequence[str], halving: Halving, trial: Trial, room: Room) -> float:
    """Return the expected seconds of a repeat; a fit takes longer in proportion to its patients.

    Which configurations reach the higher rungs is not known beforehand: they take the mean of all there.
    """
    a_patient_s = float(np.mean([trial.seconds[name] for name in names])) / trial.n_patients
    n_searched = sum(rung.n_models * rung.n_patients for rung in _rungs(len(names), halving, room))
    fold_s = a_patient_s * (halving.inner_folds * n_searched + len(room.codes))
    return fold_s * ceil(room.folds / room.n_jobs)
