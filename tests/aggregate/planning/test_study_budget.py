"""Which configurations and repeats fit into a budget."""

import numpy as np
import pytest

from aggregate.model_section import ModelSection
from aggregate.models.halving import Halving
from aggregate.planning.study_budget import Room, Trial, drawn_order, lines_of, scheduled
from aggregate.planning.study_grid import Configuration

CODES = np.repeat([0, 1, 2], [30, 30, 20])
GRID = [
    Configuration(f"{a}/{i}", {"aggregator": a}, ModelSection(kind="majority"))
    for a, n in (("a", 6), ("b", 2), ("c", 4))
    for i in range(n)
]
HALVING = Halving(models={one.name: {"kind": "majority"} for one in GRID})
ORDER = drawn_order(GRID, seed=1)


def room(seconds, **named):
    return Room(**{"seconds": seconds, "codes": CODES, "folds": 5, "repeats": 4, "n_jobs": 1, **named})


def trial(seconds=1.0, names=ORDER):
    return Trial(dict.fromkeys(names, seconds), 17, 3.0)


def test_every_beginning_of_the_drawn_order_has_the_aggregators_in_turn():
    assert sorted(ORDER) == sorted(one.name for one in GRID)
    assert {name[0] for name in ORDER[:3]} == {"a", "b", "c"}
    assert {name[0] for name in ORDER[3:6]} == {"a", "b", "c"}
    assert drawn_order(GRID, seed=1) == ORDER
    assert drawn_order(GRID, seed=2) != ORDER


def test_the_time_of_a_repeat_is_that_of_all_fits_of_its_folds():
    """80 patients, 53 inside: 12 models on 17 patients, 4 on 51; three inner folds, then one fit on 80."""
    found = scheduled(ORDER, HALVING, trial(), room(1e9))
    assert [(rung.n_patients, rung.n_models) for rung in found.rungs] == [(17, 12), (51, 4)]
    assert found.repeat_s == pytest.approx(5 * (3 * (12 * 17 + 4 * 51) + 80) / 17)
    assert (found.tried, found.left_out, found.repeats) == (tuple(ORDER), (), 4)


def test_folds_side_by_side_take_as_long_as_one():
    alone, beside = (scheduled(ORDER, HALVING, trial(), room(1e9, n_jobs=n)) for n in (1, 3))
    assert beside.repeat_s == pytest.approx(alone.repeat_s * 2 / 5)


def test_as_many_configurations_as_fit_in_one_repeat_then_as_many_repeats():
    all_s = scheduled(ORDER, HALVING, trial(), room(1e9)).repeat_s
    assert scheduled(ORDER, HALVING, trial(), room(2.5 * all_s)).repeats == 2
    fewer = scheduled(ORDER, HALVING, trial(), room(0.6 * all_s))
    assert 1 < len(fewer.tried) < 12
    assert fewer.tried == tuple(ORDER[: len(fewer.tried)])
    assert set(fewer.tried) | set(fewer.left_out) == set(ORDER)
    assert (fewer.repeats, fewer.is_enough) == (1, True)
    assert fewer.repeat_s <= 0.6 * all_s


def test_a_configuration_that_the_trial_did_not_come_to_is_left_out():
    found = scheduled(ORDER, HALVING, trial(names=ORDER[:5]), room(1e9))
    assert found.tried == tuple(ORDER[:5])


def test_where_nothing_fits_one_configuration_is_tried_and_it_is_said():
    found = scheduled(ORDER, HALVING, trial(), room(0.1))
    assert (len(found.tried), found.repeats, found.is_enough) == (1, 1, False)
    said = list(lines_of(found, HALVING, trial(), 0.05, 4))
    assert said[0] == "Budget 0.05 min, of which trying the configurations took 0.1 min"
    assert said[1].startswith("1 of 12 configurations fit, drawn at random")
    assert said[-1].startswith("One repeat takes longer than the budget")
