"""Stage 2 with files and folders in each other's place, and on a disk without room: one line, exit code 2."""

import resource
import sys

import pytest

from aggregate.commands import main
from aggregate.models.registry import build_model
from aggregate.store.fit_cache import Fit, FitCache


def told(monkeypatch, capsys, *words: object) -> str:
    """Run `aggregate.py WORDS`, which must leave with 2; return its one line."""
    monkeypatch.setattr(sys, "argv", ["aggregate.py", *map(str, words)])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


@pytest.mark.parametrize("verb", ["tables", "explain", "report"])
def test_a_configuration_in_the_place_of_results_is_told_what_is_wanted(verb, tmp_path, monkeypatch, capsys):
    config = tmp_path / "demo.toml"
    config.write_text('name = "demo"\n')
    line = told(monkeypatch, capsys, verb, config)
    assert line.startswith(
        f"error: {config}: expected the folder of a finished `aggregate.py run`, found a file"
    )
    assert "name the `output` of the configuration" in line


def test_results_in_the_place_of_a_configuration_are_told_where_they_go(tmp_path, monkeypatch, capsys):
    line = told(monkeypatch, capsys, "run", tmp_path)
    assert line.startswith(
        f"error: {tmp_path}: expected a configuration (TOML), found a folder; results go to"
    )


@pytest.mark.parametrize(
    "content", [b"", b"\x00\xff\x80", b"[1]", b"{}", b'{"config": {"name": 3}}'], ids=str
)
def test_a_damaged_record_of_a_run_is_one_line(content, tmp_path, monkeypatch, capsys):
    (tmp_path / "run.json").write_bytes(content)
    line = told(monkeypatch, capsys, "tables", tmp_path)
    assert line.startswith(f"error: {tmp_path / 'run.json'}: not the record of a run")


def test_a_fit_that_finds_no_room_names_the_cache_and_leaves_nothing(bags_and_labels, tmp_path):
    bags, labels = bags_and_labels
    model = build_model("attention_mil", {"epochs": 1}, random_state=0).fit(bags, labels)
    fit = Fit(test=model.predict_proba(bags), tune=model.predict_proba(bags))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, before[1]))
    try:
        with pytest.raises(OSError, match="File too large") as error:
            FitCache(tmp_path / "cache").write("key", fit, model, name="attention")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert error.value.filename == str(tmp_path / "cache" / "key")
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize("damage", [b"", b"\x80\x04 rubbish", b"[1]", "half"], ids=str)
def test_a_damaged_fit_of_the_cache_is_as_good_as_none(damage, bags_and_labels, tmp_path):
    bags, labels = bags_and_labels
    model = build_model("majority", {}, random_state=0).fit(bags, labels)
    fit = Fit(test=model.predict_proba(bags), tune=model.predict_proba(bags[:3]))
    cache = FitCache(tmp_path / "cache")
    cache.write("key", fit, model, name="majority")
    path = tmp_path / "cache" / "key" / "predictions.npz"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] if damage == "half" else damage)
    assert cache.read("key") is None
    cache.write("key", fit, model, name="majority")
    assert (cache.read("key").test == fit.test).all()
