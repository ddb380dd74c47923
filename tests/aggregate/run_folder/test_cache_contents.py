"""`aggregate.py cache`: what there is, what the run uses, what is removed; a run keeps the limit by itself."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from aggregate.commands import main
from aggregate.run_folder.holding import holding
from aggregate.store.content_store import ContentStore, EntryKind
from pipeline.errors import ResultsError
from tests.aggregate.conftest import SMALL, command, contents


@pytest.fixture(scope="module")
def one_run(tmp_path_factory, write_experiment) -> Path:
    """One run of two fits, shared: its configuration."""
    path = write_experiment(tmp_path_factory.mktemp("run"), SMALL)
    command("run", path)
    return path


@pytest.fixture
def toml(one_run, tmp_path) -> Path:
    """The configuration of a copy of it."""
    shutil.copytree(one_run.parent, tmp_path / "copy")
    return tmp_path / "copy" / one_run.name


@pytest.fixture
def finished(toml) -> Path:
    return toml.parent / "out"


@pytest.fixture
def store(finished) -> ContentStore:
    return ContentStore(finished / "cache")


def keys(store: ContentStore) -> set[str]:
    return {entry.key for entry in store.entries()}


def fits_of(out) -> set[str]:
    return {key for of in json.loads((out / "run.json").read_text())["fits"].values() for key in of}


def add(store: ContentStore, letter: str, kind: EntryKind, of: str) -> str:
    with store.writing(letter * 32, kind, of=of) as folder:
        (folder / "numbers").write_bytes(b"x" * 1000)
    return letter * 32


def test_it_tells_kinds_sizes_ages_and_what_the_run_uses_and_writes_nothing(finished, store):
    for letter in "ab":
        add(store, letter, EntryKind.FIT, "mean")
    before = contents(finished)
    said = command("cache", finished)
    assert f"{store.folder}: 4 entries, " in said
    (row,) = [line for line in said.splitlines() if "fits of mean" in line]
    assert [cell.strip() for cell in row.strip("│ ").split("│")][1::3] == ["4", "2"]
    assert "0 min ago" in row
    assert contents(finished) == before


def test_remove_unused_keeps_what_the_run_uses(finished, store):
    (store.folder / "concepts").mkdir()
    (store.folder / "concepts" / f"{'e' * 32}.json").write_text("{}")
    add(store, "d", EntryKind.FIT, "mean")
    patient = next(iter(json.loads((finished / "run.json").read_text())["bags"]["bags"]))
    add(store, "a", EntryKind.MEASURES, patient)
    last = add(store, "b", EntryKind.MEASURES, patient)
    add(store, "c", EntryKind.MEASURES, "somebody else")
    said = command("cache", finished, "--remove-unused")
    assert said.startswith("Removed 4 entries, ")
    assert keys(store) == fits_of(finished) | {last}


def test_remove_all_leaves_tables_and_report_and_the_next_run_trains_anew(toml, finished, store):
    before = contents(finished)
    said = command("cache", finished, "--remove-all")
    assert said.startswith("Removed 2 entries, ")
    assert f"{store.folder}: 0 entries" in said
    assert not store.folder.exists()
    assert contents(finished) == before
    assert "0 in the cache, 2 to be trained" in command("plan", toml)


def test_the_fits_of_an_earlier_release_that_the_run_here_made_are_its_own(finished, store):
    for key in keys(store):
        (store.folder / key / "about.json").unlink()
    said = command("cache", finished)
    (row,) = [line for line in said.splitlines() if "of an earlier release" in line]
    assert row.strip("│ ").split("│")[-1].strip() == "2"
    command("cache", finished, "--remove-unused")
    assert len(keys(store)) == 2
    command("cache", finished, "--remove-all")
    assert keys(store) == set()


def test_without_a_run_nothing_is_unused_and_all_can_go(tmp_path):
    store = ContentStore(tmp_path / "cache")
    add(store, "a", EntryKind.FIT, "mean")
    with pytest.raises(ResultsError, match="without a finished run nothing says what is used; --remove-all"):
        command("cache", tmp_path, "--remove-unused")
    assert "1 entry, 1.0 kB" in command("cache", tmp_path)
    assert command("cache", tmp_path, "--remove-all").startswith("Removed 1 entry, 1.0 kB")


def test_the_cache_of_results_beside_a_cohort_table_is_found(finished, store):
    (finished / "results").mkdir()
    (finished / "run.json").rename(finished / "results" / "run.json")
    for folder in (finished, finished / "results"):
        assert f"{store.folder}: 2 entries" in command("cache", folder)


def test_nothing_is_removed_while_a_command_writes_there(finished, store):
    with holding(finished, tell=print), pytest.raises(ResultsError, match="is writing results there"):
        command("cache", finished, "--remove-all")
    assert len(keys(store)) == 2


def test_a_folder_that_is_not_there_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["aggregate.py", "cache", str(tmp_path / "nowhere")])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith(f"error: {tmp_path / 'nowhere'}: no such folder")


def test_a_run_above_the_limit_removes_what_others_used_and_says_so_in_one_line(toml, finished, store):
    of_first = fits_of(finished)
    assert "above its limit" not in command("run", toml, "seed=3")
    assert len(keys(store)) == 4
    said = command("run", toml, "seed=3", "cache_limit_gb=0")
    (line,) = [line for line in said.splitlines() if "above its limit" in line]
    assert line.startswith(f"{store.folder} was above its limit (aggregate.cache_limit_gb = 0); removed ")
    assert "2 entries" in line
    assert keys(store) == fits_of(finished)
    assert not keys(store) & of_first
