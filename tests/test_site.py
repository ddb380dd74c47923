"""docs/ as a site: every page is in it, no warning, nothing is loaded from elsewhere; its generated pages are those of the code."""

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = runpy.run_path(str(ROOT / "docs" / "make_reference.py"))
LARGEST_PICTURE_BYTES = 300_000


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The site, built once; a warning of Sphinx fails it."""
    folder = tmp_path_factory.mktemp("site")
    assert runpy.run_path(str(ROOT / "docs" / "make_site.py"))["make_site"](folder) == 0
    return folder


@pytest.mark.filterwarnings("ignore")  # Sphinx's own libraries
def test_every_page_is_in_the_site(site):
    pages = {page.relative_to(ROOT).with_suffix(".html") for page in (ROOT / "docs").rglob("*.md")}
    assert {page for page in pages if not (site / page).is_file()} == set()
    assert (site / "README.html").is_file()
    assert (site / "results" / "README.html").is_file()


def test_what_a_page_would_load_from_elsewhere_is_found(tmp_path):
    (tmp_path / "page.html").write_text(
        '<script src="https://cdn.example/x.js"></script><a href="https://example.org">'
    )
    (tmp_path / "style.css").write_text(
        "@font-face { src: url(//fonts.example/y.woff2) } b { background: url(own.png) }"
    )
    found = runpy.run_path(str(ROOT / "docs" / "make_site.py"))["loaded_from_elsewhere"](tmp_path)
    assert list(found) == ["page.html: https://cdn.example/x.js", "style.css: //fonts.example/y.woff2"]


@pytest.mark.parametrize("name", REFERENCE["PAGES"])
def test_the_committed_reference_is_the_one_that_is_generated(name):
    page = (ROOT / "docs" / "reference" / name).read_text(encoding="utf-8")
    assert REFERENCE["PAGES"][name]() == page, "run `python docs/make_reference.py`"


def test_the_picture_of_the_readme_is_small():
    assert (ROOT / "docs" / "images" / "report.png").stat().st_size < LARGEST_PICTURE_BYTES
