"""What both command lines have in common: versions, completion, help that shows all it says."""

import pytest
import typer
from typer.testing import CliRunner

from aggregate.commands import application as stage_2
from extract.commands import application as stage_1
from phasemil.commands import application as one_patient
from pipeline.provenance import software_versions

STAGES = {"stage 1": stage_1, "stage 2": stage_2, "one patient": one_patient}


@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)
def test_the_versions_on_which_numbers_depend_are_told(stage):
    found = CliRunner().invoke(stage, ["--version"])
    assert found.exit_code == 0
    assert {f"{name} {number}" for name, number in software_versions().items()} <= set(
        found.output.strip().split(", ")
    )


@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)
def test_a_shell_can_complete_the_words(stage):
    assert "--install-completion" in CliRunner().invoke(stage, ["--help"]).output


@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)
def test_no_help_has_brackets_which_the_terminal_would_take_for_a_style(stage):
    command = typer.main.get_command(stage)
    for name, verb in getattr(command, "commands", {"": command}).items():
        told = [verb.help or "", *((getattr(option, "help", "") or "") for option in verb.params)]
        assert not [text for text in told if "[" in text], name
