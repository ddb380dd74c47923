"""How a command ends."""

import pytest
import typer

from pipeline.commands import run_application
from pipeline.errors import CohortError


def ended_by(error, monkeypatch):
    application = typer.Typer()

    @application.command()
    def fail() -> None:
        raise error

    monkeypatch.setattr("sys.argv", ["command"])
    with pytest.raises(SystemExit) as end:
        run_application(application)
    return end.value.code


def test_a_mistake_of_the_user_is_one_line_and_exit_code_2(monkeypatch, capsys):
    assert ended_by(CohortError("no such table; name one"), monkeypatch) == 2
    assert capsys.readouterr().err == "error: no such table; name one\n"


def test_an_interrupted_command_says_how_to_go_on_and_leaves_with_130(monkeypatch, capsys):
    assert ended_by(KeyboardInterrupt(), monkeypatch) == 130
    assert capsys.readouterr().err == "interrupted; run the same command again to go on\n"
