"""[cohort.phase_roles]: which phase is arterial and so on, given or told by the names."""

import pytest

from aggregate.planning.plan import load_aggregate_config
from extract.config import load_extract_config
from pipeline.config import CohortSection, PhaseRolesSection
from pipeline.errors import ConfigError
from pipeline.phase_roles import PhaseRoles, phase_roles, with_roles_resolved

RENAMED = ("native", "early", "late", "end")
ALL_FOUR = {"non_contrast": "NC", "arterial": "AP", "portal": "PVP", "delayed": "DP"}


def roles(*phases, given=None, aliases=None):
    section = CohortSection(
        table="t", phases=phases, phase_roles=PhaseRolesSection(**(given or {})), phase_aliases=aliases or {}
    )
    return phase_roles(section)


def test_the_default_phases_have_their_roles():
    assert phase_roles(CohortSection(table="t")) == PhaseRoles(**ALL_FOUR)


@pytest.mark.parametrize(
    ("phases", "expected"),
    [
        (("plain", "art", "venous", "delay"), ("plain", "art", "venous", "delay")),
        (("Portal Venous", "ART"), (None, "ART", "Portal Venous", None)),
        (("PVP",), (None, None, "PVP", None)),
        (RENAMED, ("native", None, None, None)),
    ],
)
def test_a_phase_has_the_role_that_its_name_means_and_a_role_without_a_phase_is_empty(phases, expected):
    assert tuple(roles(*phases).of_role.values()) == expected


def test_an_alias_of_the_configuration_tells_the_role_of_a_phase():
    assert roles(*RENAMED, aliases={"art": "early", "dp": "end"}) == PhaseRoles(
        non_contrast="native", arterial="early", delayed="end"
    )


def test_an_alias_does_not_take_the_role_from_a_phase_of_that_name():
    assert roles("AP", "PVP", aliases={"arterial": "PVP"}) == PhaseRoles(arterial="AP", portal="PVP")


def test_what_is_given_goes_before_the_names_and_may_be_any_spelling():
    given = {"arterial": "Early", "portal": "pv"}
    found = roles("AP", "early", "X", given=given, aliases={"pv": "X"})
    assert found == PhaseRoles(arterial="early", portal="X")
    assert found.without_role(["AP", "early", "X"]) == ("AP",)


def test_an_empty_role_takes_it_from_the_phase_of_that_name():
    assert roles("AP", "PVP", given={"arterial": ""}) == PhaseRoles(portal="PVP")


def test_a_phase_that_is_given_another_role_leaves_its_own_empty():
    assert roles("AP", "PVP", given={"delayed": "PVP"}) == PhaseRoles(arterial="AP", delayed="PVP")


@pytest.mark.parametrize(
    ("phases", "given", "message"),
    [
        (("AP", "art"), {}, r"arterial: phases AP and art are both arterial by their names; say which"),
        (("AP", "PVP"), {"portal": "AP", "arterial": "AP"}, "phase 'AP' is both arterial and portal"),
        (("AP", "PVP"), {"delayed": "late"}, r"delayed: phase 'late' is ambiguous \(delayed to some"),
    ],
)
def test_what_cannot_be_told_is_asked(phases, given, message):
    with pytest.raises(ConfigError, match=message):
        roles(*phases, given=given)


def test_resolving_twice_changes_nothing():
    section = CohortSection(table="t", phases=("art", "PVP"))
    once = with_roles_resolved(section, where="c.toml")
    assert once.phase_roles == PhaseRolesSection(non_contrast="", arterial="art", portal="PVP", delayed="")
    assert with_roles_resolved(once, where="c.toml") == once


@pytest.mark.parametrize("load", [load_aggregate_config, load_extract_config])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('arterial = "arteral"', r"cohort.phase_roles.arterial: unknown phase 'arteral'.*nearest: 'AP'"),
        ('portl = "PVP"', r"unknown key 'cohort.phase_roles.portl'; nearest valid key: 'portal'"),
    ],
)
def test_both_stages_refuse_an_unknown_name_when_the_configuration_is_read(tmp_path, load, text, message):
    path = tmp_path / "c.toml"
    path.write_text(
        'name = "e"\noutput = "o"\n[cohort]\ntable = "t"\n[cohort.phase_roles]\n'
        f'{text}\n[aggregate.model.m]\nkind = "majority"\n'
    )
    with pytest.raises(ConfigError, match=f"c.toml: {message}"):
        load(path, ())
