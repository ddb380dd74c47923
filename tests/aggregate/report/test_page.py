"""The page: every section, one file, no network, and nothing that a browser complains of."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest
from PIL import Image

from aggregate.report.page import write_report
from aggregate.tables.dictionary import write_columns
from aggregate.tables.results import ResultTables
from pipeline.errors import ResultsError
from pipeline.tables import read_table, write_table

SECTIONS = (
    "summary", "cohort", "performance", "curves", "confusion", "calibration", "decision", "comparisons", "subgroups",
    "attention", "phases", "votes", "concepts", "prototypes", "cases", "training", "run", "checklist", "tables",
    "glossary",
)  # fmt: skip
"""Anchors of the sections, in order; every report has them all, an empty one with the reason."""

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Outline(HTMLParser):
    """Collects what the tests ask of a page."""

    def __init__(self):
        super().__init__()
        self.sections, self.ids, self.links, self.sources, self.open = [], [], [], [], []
        self.scripts = self.drawings = 0

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        if tag == "section":
            self.sections.append(found["id"])
        self.ids += [found["id"]] if "id" in found else []
        self.links += [found["href"]] if tag == "a" else []
        self.sources += [
            value for name, value in attrs if name in ("src", "data", "xlink:href", "href") and value
        ]
        self.scripts += tag == "script"
        self.drawings += tag == "svg"
        if tag not in ("meta", "link", "br", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def outline(path) -> Outline:
    parser = Outline()
    parser.feed(path.read_text(encoding="utf-8"))
    assert not parser.open
    return parser


def test_every_section_is_there_in_order_and_linked(write_results):
    page = outline(write_report(write_results()))
    assert tuple(page.sections) == SECTIONS
    to_terms = [link for link in page.links if link.startswith("#term-")]
    assert [link.removeprefix("#") for link in page.links if link[0] == "#" and link not in to_terms] == list(
        SECTIONS
    )
    assert len(to_terms) == len(set(to_terms)) >= 10
    assert page.drawings >= 8


def test_the_sections_are_there_without_explanations_and_say_what_is_missing(write_results):
    path = write_report(write_results(explained=False))
    assert tuple(outline(path).sections) == SECTIONS
    assert "Attention: not available, since no explanations were written" in path.read_text(encoding="utf-8")


def test_the_page_needs_no_network_and_runs_no_script(write_results):
    path = write_report(write_results())
    page = outline(path)
    beside = ("#", "data:", "tables/", "run.json", "results.xlsx")
    assert all(source.startswith(beside) for source in page.sources)
    assert page.scripts == 0
    text = re.sub(r'xmlns(:\w+)?="[^"]*"', "", path.read_text(encoding="utf-8"))
    assert "http" not in re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    assert "@import" not in text


def test_no_two_elements_share_an_identifier_and_every_reference_has_its_target(write_results):
    path = write_report(write_results())
    ids = outline(path).ids
    assert len(ids) == len(set(ids))
    text = path.read_text(encoding="utf-8")
    assert set(re.findall(r"url\(#([^)]+)\)", text)) <= set(ids)
    assert set(re.findall(r'href="#([^"]+)"', text)) <= set(ids)


def test_every_table_and_the_workbook_are_linked_where_they_lie(write_results):
    folder = write_results()
    write_columns(ResultTables(folder))
    links = {link for link in outline(write_report(folder)).links if link[0] != "#"}
    assert links >= {f"tables/{path.name}" for path in (folder / "tables").glob("*.csv")} | {"results.xlsx"}
    assert [link for link in links if not (folder / link).is_file()] == []


def test_names_from_the_user_are_escaped(write_results):
    text = write_report(write_results()).read_text(encoding="utf-8")
    assert "toy &lt;1&gt;" in text
    assert "no label &amp; no scan" in text


def test_the_first_lines_tell_the_ceiling_of_a_synthetic_cohort_and_nothing_of_real_patients(
    write_results, tmp_path
):
    ceiling = {"observer": "reads the signs", "n_patients": 40, "auc": {"macro": 0.904, "HCC": 0.95}}
    told = "The ceiling is 0.90: the 40 patients are synthetic, and an observer who reads the signs reaches this on them."
    text = write_report(write_results(ceiling=ceiling)).read_text(encoding="utf-8")
    assert text.index("SYNTHETIC PATIENTS: the patients") < text.index("Does it work?") < text.index(told)
    assert text.index(told) < text.index("Which model is best?")
    shutil.rmtree(tmp_path / "toy")
    text = write_report(write_results(ceiling=None)).read_text(encoding="utf-8")
    assert "ceiling" not in text
    assert "SYNTHETIC" not in text


def test_drawn_patients_are_called_so_where_their_table_was_changed_and_the_ceiling_is_of_another(
    write_results,
):
    text = write_report(write_results(synthetic=True, ceiling=None)).read_text(encoding="utf-8")
    assert "SYNTHETIC PATIENTS: the patients of this cohort were drawn by a computer" in text
    assert "what could be found is not told, because cohort.csv was changed since they were drawn" in text


def test_without_its_performance_the_page_says_what_is_missing(write_results):
    folder = write_results()
    (folder / "tables" / "performance.csv").unlink()
    text = write_report(folder).read_text(encoding="utf-8")
    assert "The performance: not available, since performance.csv is missing" in text
    assert "Curves: not available, since predictions.csv or performance.csv is missing" in text


def test_every_figure_also_lies_in_figures_as_a_drawing_of_its_own(write_results):
    folder = write_results()
    write_report(folder)
    names = {path.stem for path in (folder / "figures").glob("*.svg")}
    assert {"performance", "roc", "precision_recall", "confusion", "enrichment", "phase_value"} <= names
    head = (folder / "figures" / "roc.svg").read_text(encoding="utf-8")[:400]
    assert 'xmlns="http://www.w3.org/2000/svg"' in head


def test_a_figure_is_also_pixels_on_white_at_the_resolution_that_is_set(write_results):
    folder = write_results(explained=False)
    record = json.loads((folder / "run.json").read_text())
    record["config"]["aggregate"]["figures"] = {"formats": ["png"], "dpi": 100}
    (folder / "run.json").write_text(json.dumps(record))
    page = write_report(folder).read_text(encoding="utf-8")
    assert not list((folder / "figures").glob("*.svg"))
    with Image.open(folder / "figures" / "roc.png") as image:
        assert image.width == 920
        assert [round(dpi) for dpi in image.info["dpi"]] == [100, 100]
        assert image.getpixel((0, 0)) == (255, 255, 255, 255)
    assert "figures/roc.png" in page
    assert "figures/roc.svg" not in page


def test_the_report_is_the_same_every_time(write_results):
    folder = write_results()
    first = write_report(folder).read_bytes()
    assert write_report(folder).read_bytes() == first


def test_tables_of_another_locale_give_the_same_page(write_results, tmp_path):
    plain = write_report(write_results()).read_text(encoding="utf-8")
    shutil.move(tmp_path / "toy", tmp_path / "plain")
    comma = {"separator": ";", "decimal": ","}
    folder = write_results(style=comma)
    record = (folder / "run.json").read_text()
    (folder / "run.json").write_text(
        record.replace('"seed": 0', f'"seed": 0, "tables": {comma}'.replace("'", '"'))
    )
    assert write_report(folder).read_text(encoding="utf-8") == plain


def test_every_sentence_tells_the_configured_level_of_the_intervals(write_results):
    folder = write_results()
    usual = write_report(folder).read_text(encoding="utf-8").count("95 % C")
    record = (folder / "run.json").read_text()
    (folder / "run.json").write_text(
        record.replace('"seed": 0', '"seed": 0, "statistics": {"confidence": 0.9}')
    )
    text = write_report(folder).read_text(encoding="utf-8")
    assert (text.count("95 %"), text.count("90 % C")) == (0, usual)
    assert usual >= 4


def test_the_checklists_are_written_too(write_results):
    folder = write_results()
    write_report(folder)
    rows = read_table(folder / "tables" / "checklist.csv")
    assert [row["item"] for row in rows if row["standard"] == "CLAIM 2024"] == [str(i) for i in range(1, 45)]
    assert len([row for row in rows if row["standard"] == "TRIPOD+AI"]) == 52


def test_a_folder_that_no_run_wrote_is_refused(tmp_path):
    with pytest.raises(ResultsError, match=r"run\.json: expected the record of a run"):
        write_report(tmp_path)


def test_the_permutation_control_is_shown_where_it_was_run_and_only_there(write_results):
    folder = write_results()
    assert "Permutation control" not in write_report(folder).read_text(encoding="utf-8")
    row = {"model": "attention", "n_permutations": 19, "mean_auc": 0.498, "standard_error": 0.012,
           "observed_auc": 0.71, "p_value": 0.05, "n": 30}  # fmt: skip
    write_table(folder / "tables" / "null_summary.csv", tuple(row), [row])
    text = write_report(folder).read_text(encoding="utf-8")
    assert "Permutation control" in text
    assert re.search(r"0\.71</td>\s*<td[^>]*>0\.498</td>\s*<td[^>]*>0\.012</td>\s*<td[^>]*>19</td>", text)


def test_every_section_that_shows_one_model_names_it_and_the_rule(write_results):
    text = write_report(write_results()).read_text(encoding="utf-8")
    for section in ("votes", "prototypes"):
        part = text[text.index(f'<section id="{section}"') :]
        note = "Model shown: attention, the first model of the configuration with attention"
        assert note in part[: part.index("</section>")]


def test_what_a_model_at_chance_looked_at_is_folded_away_and_what_a_better_one_looked_at_is_not(
    write_results, tmp_path
):
    why = "attention is not better than chance: what follows describes noise"
    assert why not in write_report(write_results(sure=3.0)).read_text(encoding="utf-8")
    shutil.rmtree(tmp_path / "toy")
    text = write_report(write_results(sure=0.0)).read_text(encoding="utf-8")
    assert "No: <" in text or "No: not better than chance." in text
    assert text.count(why) == 6
    assert "Not read from attention, which is not better than chance" in text


def test_long_tables_show_their_first_rows_and_open_to_the_others(write_results):
    text = write_report(write_results()).read_text(encoding="utf-8")
    checklist = text[text.index('<section id="checklist"') : text.index('<section id="tables"')]
    assert "show the other 32 of 44 rows" in checklist
    assert len(re.findall("<tr", checklist.replace("<thead><tr", ""))) == 44 + 52


def test_the_nearest_training_patients_of_the_chosen_ones_are_shown(write_results):
    folder = write_results()
    text = write_report(folder).read_text(encoding="utf-8")
    chosen = read_table(folder / "tables" / "chosen_patients.csv")
    nearest = {
        row["patient_id"]: row
        for row in read_table(folder / "tables" / "prototypes.csv")
        if row["rank"] == "1"
    }
    assert len(chosen) == 6
    for row in chosen:
        first = nearest[row["patient_id"]]
        likeness = f"{float(first['similarity']):.2f}".replace("-", "\N{MINUS SIGN}")
        shown = f"{first['neighbour_label']} ({first['neighbour_id']},\N{NO-BREAK SPACE}{likeness})"
        assert re.search(rf"{row['patient_id']}</td>.*{re.escape(shown)}", text)


def test_no_setting_is_shown_as_code(write_results):
    text = write_report(write_results()).read_text(encoding="utf-8")
    run = text[text.index('<section id="run"') : text.index('<section id="checklist"')]
    assert re.search(r"preprocessing: crop</td><td[^>]*>96 mm</td>", run)
    assert "{" not in run
    assert "null" not in run


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("width", [800, 1280])
def test_a_browser_shows_every_section_and_has_nothing_to_complain_of(write_results, tmp_path, width):
    page = write_report(write_results())
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-sync",
             f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},900",
             "--enable-logging=stderr", "--dump-dom", page.as_uri()]  # fmt: skip
    done = subprocess.run([BROWSER, *flags], capture_output=True, text=True, timeout=120, check=True)
    parser = Outline()
    parser.handle_endtag = lambda tag: None
    parser.feed(done.stdout)
    assert tuple(parser.sections) == SECTIONS
    assert [line for line in done.stderr.splitlines() if "CONSOLE" in line] == []


def test_without_pictures_the_typical_slices_are_a_table_and_the_page_says_how_to_have_them(write_results):
    text = write_report(write_results()).read_text(encoding="utf-8")
    assert "Their pictures: not available, since they are drawn from the slice store" in text
    assert "Pictures: not available, since they are drawn from the slice store" in text
    assert "typical_slices.csv" in text


def test_pictures_that_explain_drew_take_the_place_of_the_table_with_their_text_alternatives(write_results):
    folder = write_results()
    drawn = (
        '<svg xmlns="http://www.w3.org/2000/svg" width="9pt"><title>{}</title><desc>AP, slice 3.</desc></svg>'
    )
    (folder / "figures").mkdir()
    for name, title in (
        ("typical_slices", "Slices"), ("cluster_slices", "Clusters"), ("case_01_p001", "p001: reference HCC; weights"),
    ):  # fmt: skip
        (folder / "figures" / f"{name}.svg").write_text(drawn.format(title))
    text = write_report(folder).read_text(encoding="utf-8")
    assert "Their pictures: not available" not in text
    assert text.count('role="img"><title>') == text.count("<desc>AP, slice 3.</desc>") == 3
    assert "<h3>p001: reference HCC</h3>" in text
