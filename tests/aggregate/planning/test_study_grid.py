"""The grid of a study: every combination once, and a message where two would be one."""

import pytest

from aggregate.planning.plan import load_aggregate_config, read_plan
from aggregate.planning.study_grid import configurations, factors_of, grid_of
from aggregate.study_section import StudySection
from pipeline.errors import ConfigError

POOLING = {"kind": "phase_pooling"}


def study(**tables) -> StudySection:
    return StudySection.model_validate({"aggregators": {"pooling": POOLING}, **tables})


def names_of(section: StudySection, *bag_sets: str) -> list[str]:
    return [one.name for one in configurations(section, bag_sets or ("tight",))]


def test_a_configuration_is_named_by_the_levels_of_the_factors_that_vary():
    section = study(features={"crop": ["whole"], "tumour": ["lesion"]}, measures=[False, True])
    assert names_of(section) == ["crop/no", "crop/yes", "tumour/no", "tumour/yes"]


def test_measures_alone_with_and_without_added_measures_are_one_configuration():
    assert names_of(study(features={"none": ["measures"]}, measures=[False, True])) == ["pooling"]


def test_two_bag_sets_of_the_same_levels_are_refused_and_none_vanishes():
    section = study(bags={"old": {"encoder": "a"}, "new": {"encoder": "a"}})
    with pytest.raises(ConfigError, match=r"aggregate\.study\.bags: old and new have the same levels"):
        names_of(section, "old", "new")


def test_an_aggregator_that_reads_something_else_than_a_level_says_is_refused():
    section = study(aggregators={"pooling": {**POOLING, "phases": ["NC"]}}, phases={"all": [], "art": ["AP"]})
    with pytest.raises(ConfigError, match=r"aggregators.pooling: phases = .*'NC'.* level 'art'"):
        names_of(section)


def test_an_aggregator_may_read_what_no_factor_decides():
    assert names_of(study(aggregators={"pooling": {**POOLING, "phases": ["NC"]}})) == ["pooling"]


def test_two_configurations_of_one_name_are_refused():
    section = study(
        bags={"one": {"encoder": "a/b", "crop": "c"}, "two": {"encoder": "a", "crop": "b/c"}},
    )
    with pytest.raises(ConfigError, match="two configurations are named 'a/b/c'"):
        names_of(section, "one", "two")


BESIDE = """
[aggregate.study.aggregators.mean]
kind = "mean_pooling"
[aggregate.study.aggregators.majority]
kind = "majority"
"""


def test_models_beside_the_grid_come_last_with_their_levels(experiment_folder):
    late = '[aggregate.study.beside.late]\nkind = "average"\nlevels = { aggregator = "late fusion" }\n'
    inside = '[aggregate.study.beside.late.models.a]\nkind = "mean_pooling"\n'
    grid = grid_of(load_aggregate_config(experiment_folder(BESIDE + late + inside), ()))
    assert [(one.name, one.is_beside) for one in grid] == [
        ("mean", False),
        ("majority", False),
        ("late", True),
    ]
    assert grid[-1].levels == {**dict.fromkeys(grid[0].levels, "beside"), "aggregator": "late fusion"}
    assert grid[-1].model.parameters == {"models": {"a": {"kind": "mean_pooling"}}}


BESIDE_MISTAKES = {
    "a name twice": (
        "[aggregate.study.beside.mean]\nkind = 'majority'",
        "a configuration of the grid has this name",
    ),
    "no factor": (
        "[aggregate.study.beside.b]\nkind = 'majority'\nlevels = { aggregators = 'x' }",
        "beside.b.levels: no factor 'aggregators'; nearest valid name: 'aggregator'",
    ),
    "no parameter": (
        "[aggregate.study.beside.b]\nkind = 'mlp'\nhiden = 1",
        "aggregate.study.beside.b: model 'mlp'",
    ),
}


@pytest.mark.parametrize(("text", "message"), BESIDE_MISTAKES.values(), ids=BESIDE_MISTAKES)
def test_a_mistaken_model_beside_the_grid_is_told(experiment_folder, text, message):
    with pytest.raises(ConfigError, match=message):
        read_plan(experiment_folder(BESIDE + text))


SCALES = {"tight": ["tight"], "both": [], "joined": {"scales": ["tight", "context"], "join": True}}


def test_scales_are_a_factor_that_says_what_is_seen_and_whether_side_by_side():
    grid = configurations(study(scales=SCALES), ("bags",))
    assert [one.name for one in grid] == ["tight", "both", "joined"]
    read = [{k: one.model.parameters.get(k) for k in ("scales", "join_scales")} for one in grid]
    assert read == [
        {"scales": ["tight"], "join_scales": None},
        {"scales": None, "join_scales": None},
        {"scales": ["tight", "context"], "join_scales": True},
    ]


def test_scales_that_are_not_given_are_no_factor_and_no_column():
    section = study()
    assert "scales" not in factors_of(section)
    assert [list(one.levels) for one in configurations(section, ("bags",))] == [factors_of(section)]
    assert factors_of(study(scales=SCALES))[-3:] == ["phases", "scales", "covariates"]


def test_an_aggregator_that_sees_another_scale_than_its_level_is_refused():
    section = study(aggregators={"pooling": {**POOLING, "scales": ["context"]}}, scales=SCALES)
    with pytest.raises(ConfigError, match=r"aggregators.pooling: scales = .*'context'.* level 'tight'"):
        names_of(section)
