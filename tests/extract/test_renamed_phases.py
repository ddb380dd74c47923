"""The order of phases is told by their roles, whatever they are called."""

import re

import numpy as np
import pytest

from extract.phases import implausible_order
from pipeline.config import CohortSection
from pipeline.phase_roles import PhaseRoles, phase_roles
from tests.extract.conftest import draw_scan, save

NAMES = {"NC": "native", "AP": "early", "PVP": "late", "DP": "end"}
ROLES = phase_roles(CohortSection(table="t"))
RENAMED = PhaseRoles(non_contrast="native", arterial="early", portal="late", delayed="end")
PHASES_LINE = 'phases = ["native", "early", "late", "end"]\n'
ROLES_LINE = 'phase_roles = { arterial = "early", portal = "late", delayed = "end" }\n'


def with_livers(playground, phases):
    for phase, (name, hu) in phases.items():
        image, mask = draw_scan(hu)
        organ = np.zeros_like(mask)
        organ[5:35, 5:31, 1:11] = 1
        image[organ > 0] += hu - 40
        save(playground.folder / f"{phase}.nii.gz", image)
        save(playground.folder / "organ.nii.gz", organ)
        playground.add("p", name, image=f"{phase}.nii.gz", liver_mask="organ.nii.gz")


def warnings(printed: str) -> list[str]:
    return sorted(re.sub(r"\(-?\d+ HU\)", "(HU)", x) for x in printed.splitlines() if "mixed up?" in x)


def test_renamed_phases_have_the_same_implausible_orders():
    found = implausible_order({("p", "NC"): 90.0, ("p", "AP"): 60.0, ("p", "DP"): 50.0}, ROLES)
    renamed = implausible_order({("p", "native"): 90.0, ("p", "early"): 60.0, ("p", "end"): 50.0}, RENAMED)
    assert set(renamed) == {(patient, NAMES[phase]) for patient, phase in found}
    assert implausible_order({("p", "early"): 90.0, ("p", "late"): 50.0}, PhaseRoles(arterial="early")) == {}


@pytest.mark.parametrize("word", ["check", "run"])
def test_a_command_tells_swapped_phases_by_their_roles(playground, command, word):
    with_livers(playground, {"AP": ("early", 140), "PVP": ("late", 60)})
    _, printed = command(word, configured(playground, PHASES_LINE + ROLES_LINE))
    odd = "the liver is brighter in early (HU) than in late (HU): are the phases mixed up?"
    assert warnings(printed) == [f"warning: patient p, phase {phase}: {odd}" for phase in ("early", "late")]
    assert "not checked" not in printed


@pytest.mark.parametrize("word", ["check", "run"])
def test_a_command_says_of_which_phases_the_order_is_not_checked(playground, command, word):
    with_livers(playground, {"NC": ("native", 50), "AP": ("early", 140), "PVP": ("late", 60)})
    _, printed = command(word, configured(playground, PHASES_LINE))
    assert warnings(printed) == []
    assert "the order of the phases is not checked for early, late: say in [cohort.phase_roles]" in printed
    if word == "check":
        table = (playground.folder / "out" / "cohort_check.csv").read_text()
        plausible = [line.split(",") for line in table.splitlines()]
        column = plausible[0].index("phase_plausible")
        found = {row[1]: row[column] for row in plausible[1:]}
        assert found["early"] == found["late"] == ""
        assert found["native"] != ""


def configured(playground, text):
    """Write a configuration with more lines under [cohort]."""
    path = playground.configure()
    path.write_text(path.read_text().replace('table = "cohort.csv"\n', f'table = "cohort.csv"\n{text}'))
    return path
