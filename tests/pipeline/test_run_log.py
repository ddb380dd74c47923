"""run.log: what a command says with the time, its details, and how it ended."""

import logging
import re
from io import StringIO

import pytest
from rich.console import Console
from rich.table import Table

from pipeline.error_lines import describe_fault
from pipeline.errors import CohortError, SeveralMistakesError
from pipeline.run_log import LOG, detail, details_shown, logged, say, say_table


def lines_of(folder, *, skip=3):
    """Return the lines without their times, after the command, the machine and the versions."""
    text = (folder / LOG).read_text(encoding="utf-8")
    return [line.partition(" ")[2] for line in text.splitlines()[skip:]]


def console() -> Console:
    return Console(file=StringIO(), width=80)


def test_a_line_is_printed_as_it_is_and_logged_with_the_time(tmp_path):
    screen = console()
    with logged(tmp_path, "aggregate.py run", tell=print):
        say(screen, "phase [art] is AP")
    assert screen.file.getvalue() == "phase [art] is AP\n"
    assert lines_of(tmp_path)[0] == "INFO  phase [art] is AP"
    for line in (tmp_path / LOG).read_text(encoding="utf-8").splitlines():
        assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ (INFO |DEBUG|ERROR) ", line)


def test_the_command_the_machine_and_the_versions_come_first(tmp_path):
    with logged(tmp_path, "extract.py run", tell=print):
        pass
    first, machine, versions, end = lines_of(tmp_path, skip=0)
    assert first == "INFO  begin: extract.py run"
    assert re.match(r"DEBUG machine: .+, \d+ CPUs$", machine)
    assert re.match(r"DEBUG versions: python 3\.\d+\.\d+.*, torch ", versions)
    assert re.match(r"INFO  end: extract.py run, after \d+\.\d s$", end)


def test_a_detail_is_logged_and_printed_only_where_asked(tmp_path):
    quiet, talkative = console(), console()
    with logged(tmp_path, "run", tell=print):
        detail("fitted a, repeat 0, fold 0")
        with details_shown(None):
            detail("fitted a, repeat 0, fold 1")
        with details_shown(talkative):
            detail("fitted a, repeat 0, fold 2")
            say(quiet, "what is said is not printed twice")
    assert quiet.file.getvalue() == "what is said is not printed twice\n"
    assert talkative.file.getvalue() == "fitted a, repeat 0, fold 2\n"
    assert [line[-1] for line in lines_of(tmp_path)[:3]] == ["0", "1", "2"]


def test_a_table_is_logged_as_it_is_drawn(tmp_path):
    table, screen = Table("model"), console()
    table.add_row("a [b]")
    with logged(tmp_path, "run", tell=print):
        say_table(screen, table)
    drawn = [line.rstrip() for line in screen.file.getvalue().splitlines()]
    assert lines_of(tmp_path)[:-1] == [f"INFO  {line}" for line in drawn]


@pytest.mark.parametrize(
    ("error", "last"),
    [
        (CohortError("no such\ntable"), ["ERROR no such; table"]),
        (
            SeveralMistakesError(["one", "two"]),
            [
                "ERROR 2 mistakes, one per line; correct them and run the same command again",
                "ERROR one",
                "ERROR two",
            ],
        ),
        (KeyboardInterrupt(), ["ERROR interrupted"]),
        (
            PermissionError(13, "Permission denied", "x.csv"),
            [f"ERROR {describe_fault(PermissionError(13, 'Permission denied', 'x.csv'))}"],
        ),
    ],
    ids=["mistake", "mistakes", "Ctrl-C", "refused"],
)
def test_a_command_that_fails_leaves_what_it_said_and_why_and_tells_where(tmp_path, error, last):
    told = []
    with pytest.raises(type(error)), logged(tmp_path, "run", tell=told.append):  # noqa: PT012 - said, then raised
        say(console(), "begun")
        raise error
    assert lines_of(tmp_path) == ["INFO  begun", *last]
    assert told == [f"Log of what was done until then: {tmp_path / LOG}"]


def test_the_traceback_of_a_bug_is_in_the_log(tmp_path):
    with pytest.raises(ZeroDivisionError), logged(tmp_path, "run", tell=print):
        _ = 1 / 0
    text = (tmp_path / LOG).read_text(encoding="utf-8")
    assert "ERROR a bug of phasemil\nTraceback" in text
    assert text.endswith("ZeroDivisionError: division by zero\n")


def test_a_later_command_is_added_and_takes_nothing_away(tmp_path):
    for command in ("aggregate.py run", "aggregate.py explain"):
        with logged(tmp_path, command, tell=print):
            pass
    begun = [line for line in lines_of(tmp_path, skip=0) if "begin" in line]
    assert begun == ["INFO  begin: aggregate.py run", "INFO  begin: aggregate.py explain"]


def test_a_full_disk_is_told_once_and_does_not_end_the_command(tmp_path):
    (tmp_path / LOG).symlink_to("/dev/full")
    told = []
    with logged(tmp_path, "run", tell=told.append):
        detail("lost")
    (line,) = told
    assert line.startswith(f"{tmp_path / LOG}: not logged from here on: No space left on device")


def test_nothing_is_logged_after_the_command(tmp_path):
    with logged(tmp_path, "run", tell=print):
        pass
    detail("somebody else's")
    assert "somebody" not in (tmp_path / LOG).read_text(encoding="utf-8")
    assert not logging.getLogger("phasemil").handlers


def test_a_file_name_gives_no_command_to_the_terminal(capsys):
    """Escape sequences, and signs that turn the direction of writing, are shown and not obeyed."""
    say(Console(), "no file \x1b[2J\x1b]0;title\x07 \x9b31m \u202egz.iin\nnext\tline é")
    assert capsys.readouterr().out == (
        "no file \\x1b[2J\\x1b]0;title\\x07 \\x9b31m \\u202egz.iin\nnext    line é\n"
    )
