"""setup.cfg names no extra that nothing uses."""

import re
from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
IMPORTED_AS = {"python-gdcm": "gdcm", "scikit-survival": "sksurv"}
"""Libraries that are imported by another name than they are installed by."""
TOOLS = ("dev", "docs")
"""Extras of tools, which are run and not imported."""
CODE = "\n".join(
    path.read_text(encoding="utf-8")
    for folder in ("pipeline", "extract", "aggregate", "benchmarks")
    for path in sorted((ROOT / folder).rglob("*.py"))
)


def extras() -> list[tuple[str, str]]:
    """Return each extra with each library that it installs."""
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    return [
        (extra, re.split(r"[<>=\[]", line)[0])
        for extra, lines in setup["options.extras_require"].items()
        for line in lines.split()
        if extra not in TOOLS and not line.startswith("#")
    ]


@pytest.mark.parametrize(("extra", "library"), extras(), ids=lambda name: name)
def test_every_library_of_an_extra_is_imported_somewhere(extra, library):
    name = IMPORTED_AS.get(library, library.replace("-", "_"))
    assert re.search(rf'^\s*(import|from) {name}\b|"{name}["./]', CODE, re.MULTILINE), (
        f"{extra}: nothing imports {library}; delete the extra, or the library from it"
    )
