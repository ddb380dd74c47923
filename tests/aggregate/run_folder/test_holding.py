"""One command at a time writes to a results folder, and a killed one leaves it readable or to be mended."""

import json
import os
import platform
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from rich.console import Console

from aggregate import orchestration
from aggregate.planning.plan import read_plan
from aggregate.run_folder.holding import LOCK, holding, telling_what_stands
from aggregate.run_folder.run_record import FILES, INCOMPLETE
from aggregate.run_folder.swap import STAGED, is_cut_off
from pipeline.errors import ResultsError
from pipeline.provenance import sha256_of_file
from tests.aggregate.conftest import command, contents

ROOT = Path(__file__).resolve().parents[3]
RUN = "from aggregate.commands import main; main()"
HOLDER = """
import sys, time
from pathlib import Path
from aggregate.run_folder.holding import holding
with holding(Path(sys.argv[1]), tell=print):
    print("held", flush=True)
    time.sleep(60)
"""
KILLED_AT = """
import os, signal, sys
from pathlib import Path
from aggregate.commands import application
from aggregate.run_folder import swap

left = int(sys.argv[1])

def counted(move):
    def moved(*given, **named):
        global left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        return move(*given, **named)
    return moved

def start(*given):
    for name in ("rename", "replace", "unlink"):
        setattr(Path, name, counted(getattr(Path, name)))
    return original(*given)

original, placing = swap.start_swap, __import__("aggregate.run_folder.placing", fromlist=["placing"])
placing.start_swap = start
application(sys.argv[2:])
"""
"""Kills itself before the given of the steps that put results in place."""


def started(script: str, *words: object) -> subprocess.Popen[str]:
    given = [sys.executable, "-c", script, *map(str, words)]
    return subprocess.Popen(
        given, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


@contextmanager
def held_by_another(folder: Path) -> Iterator[subprocess.Popen[str]]:
    with started(HOLDER, folder) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        try:
            yield child
        finally:
            child.kill()


def is_whole(folder: Path) -> bool:
    """Whether run.json, by the hash of each file, stands for what lies there."""
    record = json.loads((folder / "run.json").read_text())
    return INCOMPLETE not in record and all(
        (folder / name).is_file() and sha256_of_file(folder / name) == digest
        for name, digest in record[FILES].items()
    )


def test_the_second_of_two_commands_says_who_holds_the_folder(finished, toml):
    before = contents(finished)
    with held_by_another(finished) as child:
        who = (
            rf"process {child.pid} on host {platform.node()}, since 20\d\d-.*, is writing results there; wait"
        )
        for words in (("run", toml), ("tables", finished), ("explain", finished), ("report", finished)):
            with pytest.raises(ResultsError, match=who):
                command(*words)
    assert before.items() <= contents(finished).items()


def test_the_lock_of_a_killed_process_of_this_machine_is_taken_over(finished):
    with held_by_another(finished):
        pass
    assert (finished / LOCK).exists()
    command("report", finished)
    assert not (finished / LOCK).exists()


def test_the_lock_of_another_machine_is_refused_with_what_to_do(finished):
    (finished / LOCK).write_text('{"host": "ct2", "pid": 71, "since_utc": "2026-11-26T10:00:00+00:00"}\n')
    said = rf"process 71 on host ct2, since 2026-11-26.* or was killed; .* delete {finished / LOCK}"
    with pytest.raises(ResultsError, match=said):
        command("report", finished)
    assert (finished / LOCK).exists()
    (finished / LOCK).unlink()
    command("report", finished)


def test_a_lock_cut_off_before_it_was_signed_is_taken_over(tmp_path):
    (tmp_path / LOCK).write_text("")
    with holding(tmp_path, tell=print):
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()
    assert not (tmp_path / LOCK).exists()


def killed_in_the_swap(steps: int, toml: Path) -> bool:
    """Run with another seed, killed before the given step of putting in place; say whether it came to that."""
    with started(KILLED_AT, steps, "run", toml, "seed=1") as child:
        child.communicate()
    return child.returncode == -signal.SIGKILL


@pytest.mark.parametrize(
    ("steps", "verb"),
    [
        (9, "tables"),
        pytest.param(0, "tables", marks=pytest.mark.slow),
        pytest.param(3, "report", marks=pytest.mark.slow),
        pytest.param(14, "run", marks=pytest.mark.slow),
    ],
)
def test_results_cut_off_while_they_were_put_in_place_are_completed(toml, finished, steps, verb):
    """Step 1 writes the journal, step 2 commits to it."""
    before = contents(finished)
    assert killed_in_the_swap(steps, toml)
    if steps == 0:
        assert {name: text for name, text in contents(finished).items() if name in before} == before
    else:
        assert is_cut_off(finished)
    said = command(verb, *((toml, "seed=1") if verb == "run" else (finished,)))
    assert ("were complete, and are in place now" in said) is (steps > 0)
    assert is_whole(finished)
    assert not (finished / STAGED).exists()
    assert json.loads((finished / "run.json").read_text())["config"]["aggregate"]["seed"] == int(steps > 0)


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_command_that_fails_or_is_stopped_tells_that_the_earlier_results_are_there(tmp_path, failure):
    said: list[str] = []
    for n_said in (0, 1):  # first in a folder without results
        with pytest.raises(type(failure)), telling_what_stands(tmp_path, tell=said.append):
            raise failure
        assert said == [f"{tmp_path}: the results of the earlier run are there, as they were"] * n_said
        (tmp_path / "run.json").write_text("{}")


def test_a_run_that_fails_tells_that_the_earlier_results_are_there(finished, toml, monkeypatch, capsys):
    monkeypatch.setattr(orchestration, "write_tables", None)
    plan = read_plan(toml)
    with pytest.raises(TypeError):
        orchestration.run_and_report(plan, n_null=0, console=Console(soft_wrap=True))
    assert f"{finished}: the results of the earlier run are there, as they were\n" in capsys.readouterr().out


def test_a_file_put_there_after_the_swap_was_cut_off_is_kept(toml, finished):
    assert killed_in_the_swap(4, toml)
    (finished / "tables" / "performance.csv").write_text("mine\n")
    command("report", finished)
    assert (finished / "earlier_results" / "001" / "tables" / "performance.csv").read_text() == "mine\n"
    assert is_whole(finished)


def check_after_a_kill(finished: Path, before: Mapping[str, bytes]) -> None:
    """The earlier results stand to the byte, or the new ones whole, or the next command completes them."""
    if is_cut_off(finished):
        command("report", finished)
    elif (finished / "run.json").read_bytes() == before["run.json"]:
        assert before.items() <= contents(finished).items()
    assert is_whole(finished)
    command("tables", finished)


def run_killed_after(seconds: float, toml: Path, seed: int) -> None:
    with started(RUN, "run", toml, f"seed={seed}") as child:
        try:
            child.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
        child.communicate()


def whole_seconds(toml: Path) -> float:
    began = time.monotonic()
    with started(RUN, "run", toml, "seed=998") as child:
        child.communicate()
    return time.monotonic() - began


def kill_at_many_instants(toml: Path, finished: Path, n: int) -> None:
    seconds, drawn = whole_seconds(toml), random.Random(n)
    for i in range(n):
        before = contents(finished)
        run_killed_after(drawn.uniform(0, 1.1 * seconds), toml, seed=i + 1)
        check_after_a_kill(finished, before)
    command("run", toml)
    assert is_whole(finished)


@pytest.mark.slow
def test_a_run_killed_at_forty_instants_leaves_the_earlier_results(toml, finished):
    kill_at_many_instants(toml, finished, 40)
