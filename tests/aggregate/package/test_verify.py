"""What `verify` finds: a chain that holds, and the one thing that was changed, by name."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import h5py
import pytest
from typer.testing import CliRunner

from aggregate.commands import application
from aggregate.package.package_files import RECORD
from aggregate.run_folder.run_record import RECORD as RUN_RECORD
from pipeline.bags import read_bag, write_bag
from pipeline.errors import ResultsError
from pipeline.provenance import sha256_of_file


def links(folder: Path, *words: object) -> tuple[list[dict[str, str]], int]:
    """Return the links of a folder, and the exit code."""
    done = CliRunner().invoke(application, ["verify", str(folder), "--json", *map(str, words)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return json.loads(done.output)["links"], done.exit_code


def differing(found: list[dict[str, str]]) -> list[str]:
    return [f"{link['link']}: {link['subject']}" for link in found if link["state"] == "differs"]


def test_a_run_that_nobody_touched_matches(run_once):
    found, code = links(run_once)
    assert (differing(found), code) == ([], 0)
    matching = {link["link"] for link in found if link["state"] == "matches"}
    assert {
        "results -> run.json",
        "run.json -> itself",
        "result -> model",
        "model -> cache",
        "model -> folds, labels, bags, code",
        "results -> cohort table",
        "folds -> bags",
    } <= matching
    unknown = {link["link"]: link["why"] for link in found if link["state"] == "cannot be checked"}
    assert "not here" in unknown["bags -> images"]
    assert "drawn at random" in unknown["bags -> weights"]


def test_each_thing_that_is_changed_is_named(run):
    table = run / "tables" / "performance.csv"
    table.write_text(table.read_text().replace("macro", "micro", 1))
    with h5py.File(run / "bags" / "planted007.h5", "r+") as bag:
        bag["features"][0, 0] += 1  # against its own checksum
    bag = read_bag(run / "bags" / "planted008.h5")
    write_bag(run / "bags", replace(bag, features=bag.features + 1))  # with a checksum of its own
    key = json.loads((run / RUN_RECORD).read_text())["fits"]["mean"][0]
    model = run / "cache" / key / "model" / "arrays.safetensors"
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    cohort = run.parent / "cohort.csv"
    cohort.write_text(cohort.read_text().replace("planted003,HCC", "planted003,iCCA"))
    found, code = links(run)
    assert code == 1
    told = differing(found)
    assert "results -> run.json: tables/performance.csv" in told
    assert any(one.startswith("folds -> bags: bag planted007 of bags") for one in told)
    assert "folds -> bags: bag planted008 of bags, arrays" in told
    assert f"model -> cache: mean, cache/{key}" in told
    assert "results -> cohort table: patient planted003" in told
    (changed,) = (
        link for link in found if link["subject"] == "patient planted003" and link["state"] == "differs"
    )
    assert changed["expected"].startswith("label HCC")
    assert changed["found"].startswith("label iCCA")
    assert any(one.startswith("model -> folds, labels, bags, code: fits of ") for one in told)


def test_what_is_gone_is_no_match(run):
    shutil.rmtree(run / "cache")
    shutil.rmtree(run / "bags")
    (run / "tables" / "confusion.csv").unlink()
    found, code = links(run)
    assert code == 1
    assert differing(found) == ["results -> run.json: tables/confusion.csv"]
    states = {link["link"]: link["state"] for link in found}
    for link in ("model -> cache", "folds -> bags", "result -> model", "model -> folds, labels, bags, code"):
        assert states[link] == "cannot be checked"


def test_predictions_that_the_models_did_not_make_are_found(run):
    """Also where somebody has put the SHA-256 of the new table into run.json."""
    table = run / "tables" / "predictions.csv"
    lines = table.read_text().splitlines()
    row = next(i for i, line in enumerate(lines) if ",mean," in line)
    cells = lines[row].split(",")
    cells[6], cells[7] = cells[7], cells[6]
    order = ["HCC", "iCCA", "cHCC-CCA"]
    cells[5] = order[max(range(3), key=lambda k: float(cells[6 + k]))]
    lines[row] = ",".join(cells)
    table.write_text("\n".join(lines) + "\n")
    record = json.loads((run / RUN_RECORD).read_text())
    record["files"]["tables/predictions.csv"] = sha256_of_file(table)
    (run / RUN_RECORD).write_text(json.dumps(record))
    found, code = links(run)
    assert code == 1
    assert "result -> model: mean" in differing(found)


def test_a_package_is_verified_down_to_its_run(run_once, package):
    sha256 = json.loads((package / RECORD).read_text())["run_sha256"]
    assert sha256
    found, code = links(package, "--results", run_once)
    assert (differing(found), code) == ([], 0)
    assert {link["link"] for link in found if link["state"] == "matches"} == {
        "package -> package.json",
        "package -> models",
        "package -> run",
        "models -> fits of the run",
    }
    assert any("compare SHA-256" in link["why"] for link in found)
    found, code = links(package, "--sha256", "0" * 64)
    assert (differing(found), code) == (["package.json -> what freeze printed: package.json"], 1)


@pytest.mark.parametrize("name", ["models/001/arrays.safetensors", "tables/performance.csv", "package.json"])
def test_a_changed_file_of_a_package_is_named(package, name):
    path = package / name
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"mean"', b'"maen"', 1) if name == RECORD else content + b" ")
    (package / "left.txt").write_text("mine")
    found, code = links(package, "--sha256", "1" * 64)
    told = differing(found)
    assert code == 1
    assert "package -> package.json: left.txt" in told
    if name != RECORD:
        assert f"package -> package.json: {name}" in told


def test_a_folder_that_is_neither_is_refused(tmp_path):
    with pytest.raises(ResultsError, match=r"found neither"):
        links(tmp_path)
