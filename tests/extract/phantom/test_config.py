from pathlib import Path

import pytest
from pydantic import ValidationError

from extract.phantom.commands import PhantomConfig
from extract.phantom.config import PRESETS, PhantomSection
from pipeline.config import load_config

CONFIGS = Path(__file__).resolve().parents[3] / "configs"


@pytest.mark.parametrize("preset", PRESETS)
def test_each_preset_loads(preset):
    section = PhantomSection(preset=preset)
    assert section.matrix == PRESETS[preset]["matrix"]
    assert dict(section.patients) == PRESETS[preset]["patients"]


def test_a_key_beside_the_preset_wins():
    section = PhantomSection(preset="study", matrix=128)
    assert section.matrix == 128
    assert sum(section.patients.values()) == 120


def test_without_a_preset_it_is_the_demo():
    assert PhantomSection() == PhantomSection(preset="demo")


def test_a_class_that_is_not_named_has_no_patient():
    assert dict(PhantomSection(patients={"iCCA": 2}).patients) == {"HCC": 0, "iCCA": 2, "cHCC-CCA": 0}


@pytest.mark.parametrize(
    "wrong",
    [
        {"missing": {"NC": 1.5}},
        {"patients": {"HCC": -1}},
        {"patients": {"FNH": 1}},
        {"thickness_mm": (0.0,)},
        {"masks": "none"},
        {"difficulty": 0.5},
    ],
)
def test_values_that_mean_nothing_are_refused(wrong):
    with pytest.raises(ValidationError):
        PhantomSection(**wrong)


@pytest.mark.parametrize("name", ["demo", "study"])
def test_the_configuration_of_this_name_asks_for_the_preset_of_this_name(name):
    assert load_config(CONFIGS / f"{name}.toml", PhantomConfig).phantom.preset == name
