"""The folder `paper`: tables as CSV and Word with the same cells, figures of the width of a column, methods."""

import json

import pytest
from docx import Document
from PIL import Image

from aggregate.paper.documents import write_table_document
from aggregate.paper.writing import PAPER_FILES, write_paper
from aggregate.report.elements import Table
from aggregate.study.configurations import write_configurations
from aggregate.study.leaderboard import LEADERBOARD
from aggregate.tables.results import ResultTables
from pipeline.tables import read_columns, read_table
from tests.aggregate.paper.conftest import CEILING
from tests.aggregate.report.conftest import record
from tests.aggregate.report.test_study_page import GRID, SETTINGS
from tests.aggregate.study.drawn import drawn_study

NAMES = ("table_1_characteristics", "table_2_performance", "table_3_comparisons", "table_4_models")


def width_of(path):
    with Image.open(path) as image:
        return image.width


def test_every_table_is_the_same_as_csv_and_in_word(results):
    paper = results() / "paper"
    write_paper(paper.parent)
    for name in NAMES:
        (grid,) = Document(str(paper / f"{name}.docx")).tables
        cells = [[cell.text for cell in row.cells] for row in grid.rows]
        assert cells[0] == list(read_columns(paper / f"{name}.csv"))
        assert cells[1:] == [list(row.values()) for row in read_table(paper / f"{name}.csv")]


def test_all_files_are_among_those_that_a_run_may_write(results):
    path = results(figures={"formats": ["svg", "png"]})
    write_paper(path)
    found = {file.relative_to(path).as_posix() for file in (path / "paper").iterdir()}
    assert found <= set(PAPER_FILES)
    assert {f"paper/{name}.docx" for name in NAMES} <= found


def test_figures_are_as_wide_as_two_columns_or_one(results):
    path = results(
        figures={"formats": ["png"], "dpi": 254}, statistics={"primary": None}, explained_model="attention"
    )
    write_paper(path)
    assert width_of(path / "paper" / "figure_1_roc.png") == 1740  # 174 mm
    assert width_of(path / "paper" / "figure_2_confusion.png") == 850
    assert not list((path / "paper").glob("*.svg"))


def test_no_file_lets_synthetic_patients_pass_for_real_ones(results):
    path = results(ceiling=CEILING)
    write_paper(path)
    for file in sorted((path / "paper").iterdir()):
        text = (
            " ".join(paragraph.text for paragraph in Document(str(file)).paragraphs)
            if file.suffix == ".docx"
            else file.read_text(encoding="utf-8")
        )
        assert "SYNTHETIC PATIENTS" in text, file.name


def test_files_of_others_in_the_folder_stay(results):
    path = results()
    (path / "paper").mkdir()
    (path / "paper" / "draft.docx").write_bytes(b"mine")
    (path / "paper" / "table_2_leaderboard.csv").write_text("of an earlier command")
    write_paper(path)
    assert (path / "paper" / "draft.docx").read_bytes() == b"mine"
    assert not (path / "paper" / "table_2_leaderboard.csv").exists()


def test_a_document_names_no_author_and_the_time_of_the_run(results):
    path = results()
    write_paper(path)
    properties = Document(str(path / "paper" / "methods.docx")).core_properties
    assert (properties.author, properties.comments) == ("", "")
    assert str(properties.created).startswith("2026-11-23 18:00:00")


@pytest.mark.parametrize("name", ["a\x00b", "肝癌", "<b> & ]]>"])
def test_a_name_of_a_user_never_breaks_a_document(tmp_path, name):
    write_table_document(
        tmp_path / "t.docx", name, Table((name,), ((name,),), "caption", "t.csv"), written=None
    )
    (grid,) = Document(str(tmp_path / "t.docx")).tables
    assert grid.rows[1].cells[0].text == name.replace("\x00", "\N{REPLACEMENT CHARACTER}")


def test_a_study_has_its_leaderboard_and_methods(tmp_path):

    study = drawn_study(GRID, n=48, strength=lambda of: 1.0, settings=SETTINGS)
    config = record()["config"]
    config["aggregate"] |= {
        "model": {},
        "study": {"select_by": "auc", "aggregators": {"mean": {"kind": "mean_pooling"}}},
    }
    config["aggregate"]["statistics"] = {"draws": 100}
    (tmp_path / "run.json").write_text(json.dumps(record(config=config)))
    tables = ResultTables(tmp_path)
    write_configurations(tables, study.configurations)
    tables.write(LEADERBOARD, LEADERBOARD.rows(study), study.patterns)
    write_paper(tmp_path)
    rows = read_table(tmp_path / "paper" / "table_2_leaderboard.csv")
    assert [row["rank"] for row in rows if row["rank"]] == ["1", "2", "3", "4"]
    told = (tmp_path / "paper" / "methods.md").read_text(encoding="utf-8")
    assert (
        "A grid of 4 configurations was planned (encoder: lite0, random; aggregator: mean, attention" in told
    )
    assert "highest macro AUC on its tuning patients" in told
    assert "100 resamples" in told
    assert not list((tmp_path / "paper").glob("figure*"))
