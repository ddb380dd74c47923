"""A finished run is compared with what lies there now, before anything is made of both."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.bags import read_bag, write_bag
from pipeline.errors import ConfigError, ResultsError
from pipeline.tables import read_table
from tests.aggregate.conftest import SMALL, command, contents

FOLDS = [(i, (i // 3) % 2) for i in range(54)]
"""The number of a patient and the fold that tests it; p054 to p059 stand nowhere."""


def change_bag(folder: Path, patient_id: str) -> None:
    bag = read_bag(folder / "bags" / f"{patient_id}.h5")
    write_bag(folder / "bags", replace(bag, header=replace(bag.header, content_key="another")))


@pytest.mark.parametrize("name", ["tables", "report", "explain"])
def test_bags_that_have_changed_since_are_refused(finished, name):
    change_bag(finished, "p003")
    before = contents(finished)
    with pytest.raises(
        ResultsError, match="the bags of 1 of 60 patients, such as p003, have changed or gone"
    ):
        command(name, finished)
    assert contents(finished) == before


@pytest.mark.parametrize("name", ["tables", "report", "explain"])
def test_splits_that_have_changed_since_are_refused(finished, name):
    path = finished / "tables" / "splits.csv"
    path.write_text(path.read_text().replace("train", "tune", 1))
    with pytest.raises(ResultsError, match=r"splits\.csv: not as the run of .*run\.json left it"):
        command(name, finished)


@pytest.mark.parametrize("name", ["tables", "report"])
def test_a_folder_without_bags_has_none_to_compare(finished, name):
    (finished / "bags").rename(finished.parent / "elsewhere")
    command(name, finished)


def test_a_label_changed_since_is_no_label_of_the_explained_models(finished, toml):
    table = toml.parent / "cohort.csv"
    table.write_text(
        "\n".join(s.replace("HCC", "iCCA") if s[:4] == "p003" else s for s in table.read_text().splitlines())
    )
    with pytest.raises(
        ResultsError, match="model mean would differ from the model of the tables, because labels"
    ):
        command("explain", finished)


def test_a_patient_who_is_gone_since_is_named(finished, toml):
    table = toml.parent / "cohort.csv"
    table.write_text("\n".join(s for s in table.read_text().splitlines() if s[:4] != "p003"))
    with pytest.raises(ResultsError, match=r"not those of the run .* \(59 now; gone are p003\)"):
        command("explain", finished)


def test_a_run_of_a_release_that_kept_one_hash_of_all_bags_is_compared_too(finished):
    record = json.loads((finished / "run.json").read_text())
    del record["bags"]
    (finished / "run.json").write_text(json.dumps(record))
    change_bag(finished, "p003")
    with pytest.raises(ResultsError, match="the patients and bags are not those of the run"):
        command("explain", finished)


def test_whoever_stands_in_no_fold_is_left_out_with_the_reason_and_not_counted(toml):
    path = toml.parent / "mine.csv"
    rows = ["patient_id;repeat;fold;role"]
    rows += [f"p{i:03};0,0;{k};{'test' if of == k else 'train'}" for k in (0, 1) for i, of in FOLDS]
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(rows).encode())
    command("run", toml, "splits.scheme=file", f"splits.file={path}")
    out = toml.parent / "out"
    left_out = {row["patient_id"]: row["reason"] for row in read_table(out / "tables" / "excluded.csv")}
    assert left_out == {f"p{i:03}": "in no fold of the splits" for i in range(54, 60)}
    assert "54 patients analysed; 6 patients and 0 single phases" in (out / "report.html").read_text()
    (row,) = [
        r
        for r in read_table(out / "tables" / "performance.csv")
        if (r["class"], r["metric"]) == ("macro", "auc")
    ]
    assert row["n"] == "54"


def test_a_run_for_a_german_spreadsheet_reads_its_own_tables_again(toml):
    german = ["tables.separator=;", "tables.decimal=,", "statistics.confidence=0.9"]
    said = command("run", toml, *german)
    out = toml.parent / "out"
    before = {name: text for name, text in contents(out).items() if name.endswith(".csv")}
    assert before["tables/splits.csv"].startswith(b"patient_id;repeat;fold;role;weights\n")
    said += command("tables", out)
    assert {name: text for name, text in contents(out).items() if name.endswith(".csv")} == before
    command("explain", out)
    command("report", out)
    page = (out / "report.html").read_text()
    told = said + page + (out / "tables" / "columns.csv").read_text()
    assert (
        "[90 % CI]" in said,
        "90 % confidence intervals" in page,
        "95 % C" in told or "95 % con" in told,
    ) == (True, True, False)
    own = toml.parent / "own.csv"
    own.write_bytes(before["tables/splits.csv"])
    command("run", toml, "splits.scheme=file", f"splits.file={own}")
    assert len(read_table(out / "tables" / "splits.csv")) == before["tables/splits.csv"].count(b"\n") - 1


def test_a_folder_with_brackets_is_printed_as_it_stands(tmp_path, write_experiment):
    folder = tmp_path / "study [final] :smile:"
    folder.mkdir()
    assert f"Results: {folder}" in command("run", write_experiment(folder, SMALL))


@pytest.mark.parametrize("name", ["a [bold] b", "[/]", "$$", "../../evil", "a\\u001b[31m", "x" * 201])
def test_a_name_of_a_model_that_means_something_to_a_terminal_or_a_figure_is_refused(experiment_folder, name):
    toml = experiment_folder(SMALL.replace("aggregate.model.mean", f'aggregate.model."{name}"'))
    with pytest.raises(ConfigError, match=r"aggregate\.model\."):
        command("plan", toml)
