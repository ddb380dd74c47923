"""Sphinx's settings of the site: the pages as they lie in the repository, so that their links hold there and here."""

import configparser
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
metadata = configparser.ConfigParser()
metadata.read(ROOT / "setup.cfg", encoding="utf-8")

project = metadata["metadata"]["name"]
release = metadata["metadata"]["version"]
author = "The phasemil authors"
copyright = "Apache-2.0"  # noqa: A001 - Sphinx's name

extensions = ["myst_parser"]
root_doc = "docs/index"
# The source folder is the repository, whose other Markdown (tests, caches, a virtual environment) is no page.
include_patterns = [
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "docs/**.md",
    "results/README.md",
    "results/reference/**.md",
    "tests/data/bags/conformance/README.md",
]
exclude_patterns = [".*", "**/__pycache__", "*.egg-info", "docs/_build"]
nitpicky = True
smartquotes = False
language = "en"

# Addresses of headings as the usual viewers of Markdown make them.
myst_heading_anchors = 4
# A page may be a list of sections that another page's tables name.
suppress_warnings = ["myst.header"]

# Nothing is fetched by a reader's browser: the theme brings its fonts, styles and scripts, or uses those of the system.
html_theme = "furo"
html_title = f"{project} {release}"
html_show_sourcelink = False
html_copy_source = False
html_baseurl = ""
