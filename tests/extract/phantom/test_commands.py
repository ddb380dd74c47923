from pathlib import Path

import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from extract.phantom.commands import phantom
from pipeline.ceiling import CEILING, read_ceiling
from pipeline.errors import ConfigError

application = typer.Typer(pretty_exceptions_enable=False)
application.command()(phantom)

CONFIG = """
name = "phantom"
output = "results"
[cohort]
table = "cohort/cohort.csv"
[phantom]
preset = "tiny"
patients = {HCC = 1, iCCA = 1}
jobs = 1
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "phantom.toml"
    path.write_text(CONFIG)
    return path


def test_it_writes_the_cohort_and_says_so_then_leaves_it_alone(config):
    first, second = (CliRunner().invoke(application, [str(config)]) for _ in range(2))
    assert first.exit_code == second.exit_code == 0
    assert "wrote " in first.output
    assert "2 patients" in first.output
    assert "unchanged" in second.output


def test_the_preview_shows_patients_times_phases(config):
    assert CliRunner().invoke(application, [str(config), "--preview"]).exit_code == 0
    picture = Image.open(config.parent / "cohort" / "preview.png").convert("L")
    assert picture.width > picture.height > 200
    assert picture.getextrema()[1] > 200


def test_a_key_can_be_set_on_the_command_line(config):
    result = CliRunner().invoke(application, [str(config), "phantom.patients={HCC = 1}"])
    assert result.exit_code == 0
    assert not list((config.parent / "cohort" / "images").glob("PH002*"))


def test_an_unknown_key_names_the_nearest(config):
    config.write_text(CONFIG + "sed = 3\n")
    result = CliRunner().invoke(application, [str(config)])
    assert isinstance(result.exception, ConfigError)
    assert "'seed'" in str(result.exception)


def test_the_ceiling_lies_beside_the_cohort_and_is_told(config):
    arguments = [str(config), "patients={HCC = 1, iCCA = 1, cHCC-CCA = 1}"]
    outputs = [CliRunner().invoke(application, arguments).output for _ in range(2)]
    ceiling = read_ceiling(config.parent / "cohort" / "cohort.csv")
    assert ceiling.n_patients == 3
    assert set(ceiling.auc) == {"HCC", "iCCA", "cHCC-CCA", "macro"}
    told = (
        f"an observer who reads the signs that were drawn reaches a macro AUC of {ceiling.auc['macro']:.2f}"
    )
    assert all(told in " ".join(output.split()) for output in outputs)


def test_a_cohort_that_lacks_a_class_has_no_ceiling(config):
    assert CliRunner().invoke(application, [str(config)]).exit_code == 0
    assert not (config.parent / "cohort" / CEILING).exists()
