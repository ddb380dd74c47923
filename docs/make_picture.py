"""Write docs/images/report.png, the picture of the README, from a report: `python docs/make_picture.py results/demo/report.html`.

It shows the first figures of the page as a browser draws them (chromium must be installed), cut where the page ends.
"""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

PICTURE = Path(__file__).parent / "images" / "report.png"
SECTIONS = ("summary", "performance")
WIDTH_PX, TALLEST_PX = 1200, 4000
COLOURS = 64
MARGIN_PX = 24


def draw(report: Path, picture: Path) -> None:
    """Draw the sections of a report into a PNG file with a palette."""
    shown = ", ".join(f"section#{name}" for name in SECTIONS)
    style = f"<style>section, footer, .scroll {{ display: none }} {shown} {{ display: block }}</style></head>"
    with TemporaryDirectory() as folder:
        page, drawn = Path(folder) / "report.html", Path(folder) / "report.png"
        page.write_text(report.read_text(encoding="utf-8").replace("</head>", style, 1), encoding="utf-8")
        options = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run")
        size = f"--window-size={WIDTH_PX},{TALLEST_PX}"
        words = ["chromium", *options, f"--user-data-dir={folder}/browser", size, f"--screenshot={drawn}"]
        subprocess.run([*words, page.as_uri()], check=True, capture_output=True)
        whole = Image.open(drawn).convert("RGB")
    rows = np.flatnonzero((np.asarray(whole) < 255).any(axis=(1, 2)))
    cut = whole.crop((0, 0, WIDTH_PX, min(TALLEST_PX, int(rows[-1]) + MARGIN_PX)))
    picture.parent.mkdir(exist_ok=True)
    cut.quantize(COLOURS).save(picture, optimize=True)


if __name__ == "__main__":
    draw(Path(sys.argv[1]), PICTURE)
