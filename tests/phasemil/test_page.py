"""The page about one patient: what stands first, what is on it, and what is not."""

import re
from pathlib import Path

import pytest

from aggregate.package.loaded_package import load_package
from aggregate.package.training_measures import LESION_MEASURES
from phasemil.in_words import percent
from pipeline.errors import ConfigError
from tests.phasemil.conftest import ask, write_patient


@pytest.fixture
def make_page(tmp_path, weights, scans):
    """Return a function that asks a package and returns the page."""

    def made(package: Path, *words: object, scans: list[str] = scans) -> str:
        ask(package, *scans, "--weights", weights, "--out", tmp_path / "page.html", "--overwrite", *words)
        return (tmp_path / "page.html").read_text(encoding="utf-8")

    return made


def in_words(html: str) -> str:
    """Return the text of a page as a reader sees it."""
    body = re.sub(r"<style>.*?</style>|<svg.*?</svg>", " ", html, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", body).split())


def test_the_answer_stands_first(freeze, make_page):
    text = in_words(make_page(freeze("attention"), "--patient-id", "Case 7"))
    order = [
        "Case 7",
        "For research use only: no medical device",
        "prediction set at 90 % coverage",
        "Calibrated probabilities",
        "Phases missing: none.",
        "Probabilities are calibrated by one temperature",
        "The lesion in every phase",
        "Window W 260 L 70 HU",
        "What each phase carries",
        "Measures beside the training patients",
        "SHA-256",
    ]
    places = [text.index(words) for words in order]
    assert places == sorted(places)


def test_it_says_how_much_each_phase_carries_and_by_what(freeze, make_page):
    attending, pooling = (in_words(make_page(freeze(model))) for model in ("attention", "mean"))
    assert "Attention: the share of the weight" in attending
    assert "The slice with most attention" in attending
    assert "These models have no attention." in pooling
    assert "The slice with the largest area of the lesion" in pooling


def test_a_missing_phase_has_its_place(tmp_path, package, make_page):
    html = make_page(package, scans=write_patient(tmp_path / "scans", ["AP"]))
    assert "Phases missing: PVP." in in_words(html)
    assert "no PVP scan" in html
    assert "PVP no scan" in in_words(html)
    assert "nothing left to see" in in_words(html)


def test_it_names_nobody_unless_asked(tmp_path, package, make_page):
    html = make_page(package)
    assert "Miller" not in html
    assert str(tmp_path) not in html
    assert "Miller_AP.nii.gz" in make_page(package, "--file-names")


def test_what_the_user_writes_is_text_and_no_markup(package, make_page):
    html = make_page(package, "--patient-id", "<script>alert(1)")
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    with pytest.raises(ConfigError, match=r"--patient-id: patient_id '../7' cannot be a file name"):
        make_page(package, "--patient-id", "../7")


def test_it_is_one_file_that_loads_nothing(package, make_page):
    html = make_page(package)
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', html)
    assert "url(http" not in html


def test_a_class_of_few_training_patients_has_quartiles_only(package):
    (groups,) = [load_package(package).measures.groups(m) for m in LESION_MEASURES if m.name == "diameter_mm"]
    assert set(groups) == {"HCC", "iCCA", "cHCC-CCA"}
    assert {frozenset(group.quantiles) for group in groups.values()} == {frozenset(("q25", "median", "q75"))}
    assert {group.n_known for group in groups.values()} == {7}


def test_a_page_is_not_replaced_unasked_and_is_html(tmp_path, package, weights, scans):
    page = tmp_path / "page.html"
    page.write_text("mine")
    with pytest.raises(ConfigError, match="exists already; give another, or --overwrite"):
        ask(package, *scans, "--weights", weights, "--out", page)
    with pytest.raises(ConfigError, match=r"expected a file that ends in \.html; a browser prints it as PDF"):
        ask(package, *scans, "--weights", weights, "--out", tmp_path / "page.pdf")
    with pytest.raises(ConfigError, match="expected a folder"):
        ask(package, *scans, "--weights", weights, "--out", tmp_path / "nowhere" / "page.html")
    assert page.read_text() == "mine"


@pytest.mark.parametrize(
    ("share", "told"), [(0.0, "0 %"), (0.004, "<1 %"), (0.126, "13 %"), (0.996, ">99 %"), (1.0, "100 %")]
)
def test_a_probability_is_never_rounded_to_certainty(share, told):
    assert percent(share) == told
