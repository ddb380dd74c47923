"""Nothing is lost: results come in whole, and what no run wrote is never touched."""

import json
import shutil

import pytest
from typer.testing import CliRunner

from aggregate import orchestration as commands
from aggregate.commands import application
from aggregate.run_folder.placing import EARLIER
from aggregate.run_folder.run_record import FILES, INCOMPLETE
from pipeline.errors import ConfigError, PhasemilError, ResultsError
from pipeline.provenance import sha256_of_file
from pipeline.tables import read_table
from tests.aggregate.conftest import SMALL, command, contents


def test_run_json_lists_every_file_of_the_run(finished):
    listed = json.loads((finished / "run.json").read_text())[FILES]
    assert {"tables/predictions.csv", "results.xlsx", "report.html", "paper/methods.md"} <= set(listed)
    assert set(listed) | {"run.json"} == set(contents(finished))
    assert all(sha256_of_file(finished / name) == digest for name, digest in listed.items())


@pytest.mark.parametrize(
    "name",
    ["tables/cohort.csv", "results.xlsx", "report.html", "tables/splits.csv", "tables", "paper/methods.docx"],
)
def test_a_file_that_no_run_wrote_stops_the_run_before_any_training(toml, out, name):
    (out / name).parent.mkdir(exist_ok=True)
    (out / name).write_text("mine")
    with pytest.raises(ResultsError, match=rf"{name}: no run of phasemil wrote this file.* another `output`"):
        command("run", toml)
    assert contents(out) == {name: b"mine"}
    assert not (out / "cache").exists()


def test_files_that_the_run_does_not_write_stay(toml, out):
    mine = {
        "tables/mine.csv": b"mine",
        "performance.csv": b"mine",
        "notes.txt": b"mine",
        "figures/fig1_of_my_paper.png": b"mine",
    }
    for name, text in mine.items():
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_bytes(text)
    for _ in range(2):
        command("run", toml)
    assert mine.items() <= contents(out).items()


def test_a_figure_of_the_user_under_the_name_of_one_of_ours_stays(toml, out):
    command("run", toml)
    ours = next(name for name in contents(out) if name.startswith("figures"))
    record = json.loads((out / "run.json").read_text())
    del record[FILES][ours]
    (out / "run.json").write_text(json.dumps(record))
    (out / ours).write_text("mine")
    before = contents(out)
    with pytest.raises(ResultsError, match="no run of phasemil wrote this file"):
        command("run", toml)
    assert contents(out) == before


def test_a_cohort_table_among_the_results_is_never_replaced(finished, toml):
    mine = finished / "cohort.csv"
    mine.write_bytes((toml.parent / "cohort.csv").read_bytes())
    before = mine.read_bytes()
    command("run", toml, f"cohort.table={mine}")
    assert mine.read_bytes() == before
    assert (finished / "results" / "tables" / "cohort.csv").exists()


@pytest.mark.parametrize(
    "override",
    [
        "model.other.kind=mean_poling",
        "model.mean.depth=3",
        'statistics.decision_classes=["CRLM"]',
        "splits.folds=40",
    ],
)
def test_a_mistake_in_the_configuration_leaves_the_earlier_results(finished, toml, override):
    before = contents(finished)
    with pytest.raises(PhasemilError):
        command("run", toml, override)
    assert contents(finished) == before


def test_a_model_that_cannot_be_built_is_refused_before_training(toml, out):
    with pytest.raises(ConfigError, match="nearest valid name: 'mean_pooling'"):
        command("run", toml, "model.other.kind=mean_poling")
    assert not (out / "cache").exists()


@pytest.mark.parametrize("step", ["write_record", "write_tables", "write_report"])
def test_whatever_fails_while_tables_are_written_leaves_the_earlier_results(
    finished, toml, monkeypatch, step
):
    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    before = contents(finished)
    monkeypatch.setattr(commands, step, fail)
    with pytest.raises(OSError, match="No space left"):
        command("run", toml, "seed=1")
    assert contents(finished) == before


def test_a_failed_run_leaves_no_list_of_exclusions(toml, out):
    (out / "bags" / "p003.h5").unlink()
    with pytest.raises(PhasemilError):
        command("run", toml, "splits.folds=40")
    assert contents(out) == {}


def test_tables_that_a_new_run_does_not_write_are_taken_away(finished, toml):
    command("run", toml, "--null", "1")
    assert (finished / "tables" / "null.csv").exists()
    command("run", toml)
    assert not (finished / "tables" / "null.csv").exists()
    assert set(json.loads((finished / "run.json").read_text())[FILES]) | {"run.json"} == set(
        contents(finished)
    )


def test_a_file_changed_since_is_kept_and_told(finished, toml):
    edited = (finished / "tables" / "performance.csv").read_bytes() + b"my note\n"
    (finished / "tables" / "performance.csv").write_bytes(edited)
    assert "1 files, such as tables/performance.csv, were not as a run" in command("run", toml, "seed=1")
    assert contents(finished)[f"{EARLIER}/001/tables/performance.csv"] == edited


def left_by_an_earlier_release(folder):
    """Lay the tables beside the report, with a twin of one of them and without paper/, as releases before `tables/` did."""
    record = json.loads((folder / "run.json").read_text())
    record[FILES] = {name: digest for name, digest in record[FILES].items() if not name.startswith("paper/")}
    shutil.rmtree(folder / "paper")
    for path in (folder / "tables").iterdir():
        path.rename(folder / path.name)
    (folder / "tables").rmdir()
    (folder / "results.xlsx").rename(folder / "performance.xlsx")
    listed = {name.removeprefix("tables/"): digest for name, digest in record[FILES].items()}
    listed["performance.xlsx"] = listed.pop("results.xlsx")
    (folder / "run.json").write_text(json.dumps({**record, FILES: listed}))
    return folder


@pytest.mark.parametrize("words", [("tables",), ("report",), ("explain",), ("run",)])
def test_every_command_brings_the_tables_of_an_earlier_release_to_their_folder(finished, toml, words):
    before = contents(finished)
    folder = left_by_an_earlier_release(finished)
    (folder / "notes.csv").write_text("mine\n")
    command(*words, toml if words == ("run",) else folder)
    after = contents(folder)
    assert after.pop("notes.csv") == b"mine\n"
    assert before.keys() <= after.keys()
    assert not {name for name in after if name.endswith((".csv", ".xlsx"))} & {
        "performance.csv",
        "performance.xlsx",
    }
    assert after["tables/predictions.csv"] == before["tables/predictions.csv"]
    listed = json.loads((folder / "run.json").read_text())[FILES]
    assert set(listed) | {"run.json"} == set(after)
    assert all(sha256_of_file(folder / name) == digest for name, digest in listed.items())


def test_of_an_earlier_release_what_somebody_changed_is_used_and_kept(finished):
    folder = left_by_an_earlier_release(finished)
    edited = (folder / "predictions.csv").read_bytes().replace(b"\n", b"\r\n")
    (folder / "predictions.csv").write_bytes(edited)
    (folder / "performance.xlsx").write_bytes(b"with my colours")
    assert "tables/predictions.csv was changed after the run" in command("tables", folder)
    assert (folder / "tables" / "predictions.csv").read_bytes() == edited
    assert (folder / "performance.xlsx").read_bytes() == b"with my colours"
    command("tables", folder)


def test_tables_of_an_earlier_release_are_not_moved_onto_a_file_of_others(finished):
    folder = left_by_an_earlier_release(finished)
    (folder / "tables").mkdir()
    (folder / "tables" / "splits.csv").write_text("mine")
    before = contents(folder)
    with pytest.raises(ResultsError, match=r"tables/splits\.csv: no run of phasemil wrote this file"):
        command("tables", folder)
    assert contents(folder) == before


def test_a_kill_while_the_tables_of_an_earlier_release_are_moved_is_mended(finished, monkeypatch):
    folder = left_by_an_earlier_release(finished)
    with monkeypatch.context() as patched:
        patched.setattr("aggregate.run_folder.swap._move_files", pulled_out)
        with pytest.raises(OSError, match="pulled out"):
            command("report", folder)
    (folder / "tables").mkdir()
    (folder / "cohort.csv").rename(folder / "tables" / "cohort.csv")  # as far as it came
    assert "are in place now" in command("report", folder)
    listed = json.loads((folder / "run.json").read_text())[FILES]
    assert set(listed) | {"run.json"} == set(contents(folder))
    assert not list(folder.glob("*.csv"))


def pulled_out(*_: object) -> None:
    raise OSError(5, "the drive was pulled out")


def test_a_splits_file_that_the_run_would_remove_is_refused(finished, toml):
    splits = left_by_an_earlier_release(finished) / "splits.csv"
    with pytest.raises(
        ResultsError, match=r"splits\.csv: no run of phasemil wrote this file, or this run reads it"
    ):
        command("run", toml, "splits.scheme=file", f"splits.file={splits}")
    command("tables", finished)
    command("run", toml, "splits.scheme=file", f"splits.file={finished / 'tables' / 'splits.csv'}")


def test_results_of_a_release_without_a_list_are_kept_and_told(finished, toml):
    left_by_an_earlier_release(finished)
    record = json.loads((finished / "run.json").read_text())
    del record[FILES]
    (finished / "run.json").write_text(json.dumps(record))
    (finished / "attention.csv").write_text("of the earlier run\n")
    (finished / "notes.txt").write_text("mine\n")
    before = contents(finished)
    assert "are kept in" in command("run", toml, "seed=1")
    after = contents(finished)
    assert after[f"{EARLIER}/001/attention.csv"] == b"of the earlier run\n"
    assert after[f"{EARLIER}/001/predictions.csv"] == before["predictions.csv"]
    assert "attention.csv" not in after  # no table of another run stands beside
    assert after["notes.txt"] == b"mine\n"


def test_another_run_json_is_refused(toml, out):
    (out / "run.json").write_text('{"mine": 1}')
    with pytest.raises(ResultsError, match=r"run\.json: not the record of a run"):
        command("run", toml)


def test_a_run_cut_off_while_its_tables_were_put_in_place_is_told_and_mended(finished, toml):
    record = json.loads((finished / "run.json").read_text())
    (finished / "run.json").write_text(json.dumps({**record, INCOMPLETE: True}))
    with pytest.raises(ResultsError, match="a run was cut off while its tables were put in place"):
        command("report", finished)
    command("run", toml)
    assert INCOMPLETE not in json.loads((finished / "run.json").read_text())


def test_tables_of_predictions_changed_since_say_so_and_keep_them(finished):
    path = finished / "tables" / "predictions.csv"
    changed = b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b",x\r\n").replace(
        b"weights,x", b"weights,note"
    )
    path.write_bytes(changed)
    for _ in range(2):  # also the second time
        assert "tables/predictions.csv was changed after the run" in command("tables", finished)
    assert path.read_bytes() == changed
    columns = {(row["file"], row["column"]): row for row in read_table(finished / "tables" / "columns.csv")}
    assert columns["predictions.csv", "note"]["meaning"].startswith("Not a column of phasemil")


def test_an_error_names_the_file_in_the_results_folder(finished):
    path = finished / "tables" / "predictions.csv"
    path.write_text(path.read_text() + "p003,HCC\n")
    with pytest.raises(ResultsError, match=rf"^{path}, line 62: expected 12 cells"):
        command("tables", finished)


def test_beside_a_cohort_table_of_their_name_the_results_have_a_folder_of_their_own(
    tmp_path, write_experiment
):
    path = write_experiment(tmp_path, SMALL)
    text = path.read_text(encoding="utf-8").replace('output = "out"', 'output = "."')
    path.write_text(text, encoding="utf-8")
    (tmp_path / "out" / "bags").rename(tmp_path / "bags")
    table = (tmp_path / "cohort.csv").read_bytes()
    for _ in range(2):
        assert CliRunner().invoke(application, ["run", str(path)], catch_exceptions=False).exit_code == 0
    assert (tmp_path / "cohort.csv").read_bytes() == table
    assert (tmp_path / "results" / "report.html").exists()
    moved = tmp_path.rename(tmp_path.with_name("moved"))
    for named in (moved / "results", moved):
        ended = CliRunner().invoke(application, ["tables", str(named)], catch_exceptions=False)
        assert ended.exit_code == 0, ended.output


def test_a_file_in_place_of_the_figures_is_refused_before_training(toml, out):
    out.mkdir(exist_ok=True)
    (out / "figures").write_text("mine")
    with pytest.raises(ResultsError, match="no run of phasemil wrote this file"):
        command("run", toml)
    assert (out / "figures").read_text() == "mine"
