"""Write the pages as a site, HTML that needs no network: `python docs/make_site.py FOLDER`. A warning is an error."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from sphinx.cmd.build import main as sphinx_build

ROOT = Path(__file__).resolve().parents[1]
_LOADED = re.compile(
    r"""<(?:script|img|source|iframe)\b[^>]*\bsrc=["']([^"']+)|<link\b[^>]*\bhref=["']([^"']+)"""
)
"""What a browser fetches by itself; a link that a reader follows is none of it."""
_IN_STYLE = re.compile(r"""(?:url\(|@import)\s*["']?((?:https?:)?//[^"')\s]+)""")


def make_site(folder: Path) -> int:
    """Build the site; return 0 if there was no warning and nothing in it is loaded from elsewhere."""
    words = ["-c", str(ROOT / "docs"), "-b", "html", "-W", "--keep-going", "-q"]
    failed = sphinx_build([*words, str(ROOT), str(folder)])
    loaded = sorted(set(loaded_from_elsewhere(folder)))
    for line in loaded:
        sys.stderr.write(f"loaded from elsewhere: {line}\n")
    return failed or int(bool(loaded))


def loaded_from_elsewhere(folder: Path) -> Iterator[str]:
    """Yield each address outside of the site from which a page or a style would load something."""
    for path in sorted([*folder.rglob("*.html"), *folder.rglob("*.css")]):
        text = path.read_text(encoding="utf-8")
        found = ["".join(groups) for groups in _LOADED.findall(text)] if path.suffix == ".html" else []
        for address in [*found, *_IN_STYLE.findall(text)]:
            if address.startswith(("http:", "https:", "//")):
                yield f"{path.relative_to(folder)}: {address}"


if __name__ == "__main__":
    sys.exit(make_site(Path(sys.argv[1]).resolve()))
