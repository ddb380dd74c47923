"""The pages beside the README: their version and their commands are those of the project."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from aggregate.commands import application as stage_2
from extract.commands import application as stage_1

ROOT = Path(__file__).resolve().parents[1]
STAGES = {"extract.py": stage_1, "aggregate.py": stage_2}
(BLOCK,) = re.findall(r"```sh\n(.*?)```", (ROOT / "AGENTS.md").read_text(encoding="utf-8"), flags=re.DOTALL)
COMMANDS = [c.strip() for line in BLOCK.splitlines() for c in line.partition("#")[0].split("&&")]


def test_the_citation_is_of_this_version():
    (cited,) = re.findall(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text(), flags=re.MULTILINE)
    (built,) = re.findall(r"^version = (\S+)$", (ROOT / "setup.cfg").read_text(), flags=re.MULTILINE)
    assert cited == built


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_for_assistants_exists(command):
    program, *words = shlex.split(command)
    if program == "make":
        subprocess.run([program, *words, "-n"], cwd=ROOT, check=True, capture_output=True)
    else:
        script, verb, config = words
        assert CliRunner().invoke(STAGES[script], [verb, "--help"]).exit_code == 0
        assert (ROOT / config).is_file()
