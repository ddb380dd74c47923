"""Drawing to SVG and PNG: sizes, colours that the colour-blind tell apart, and text that stays text in SVG."""

import re
import warnings
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from html import escape
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Canvas
from PIL import Image

from pipeline.files import written_whole

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#999999", "#000000")
"""Okabe and Ito's palette, told apart with every common kind of colour vision; see also HATCHES and LINES."""
HATCHES = ("", "///", "...", "xxx", "\\\\\\", "++", "oo", "--")
"""So that filled areas differ on a black-and-white printer as well."""
LINES: Sequence[Any] = (
    "-",
    (0, (5, 2)),
    (0, (1, 1.5)),
    (0, (6, 2, 1, 2)),
    "-",
    (0, (5, 2)),
    (0, (1, 1.5)),
    "-",
)
MARKERS = "osD^vPX*"
GREY = "#777777"
DIVERGING = "PuOr_r"
WIDTH_IN = 9.2
_MISSING_LETTER = r"Glyph \d+ .* missing from font"

STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "phasemil",
    "text.parse_math": False,  # a name such as "a$b$" is no formula
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "Helvetica"],
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "hatch.linewidth": 0.6,
}
"""Settings of matplotlib while the report draws."""


def panels(
    columns: int,
    *,
    height: float = 3.0,
    sharex: bool = False,
    sharey: bool = False,
    width_ratios: Sequence[float] | None = None,
) -> tuple[Canvas, list[Axes]]:
    """Return a canvas as wide as the page with a row of axes."""
    canvas = Canvas(figsize=(WIDTH_IN, height), layout="constrained")
    axes = canvas.subplots(1, columns, squeeze=False, sharex=sharex, sharey=sharey, width_ratios=width_ratios)
    return canvas, list(axes.ravel())


def legend_below(canvas: Canvas, axes: Axes) -> None:
    """Explain the lines of one panel under all panels, where the legend covers none of them."""
    handles, labels = axes.get_legend_handles_labels()
    canvas.legend(handles, labels, loc="outside lower center", ncols=min(6, max(1, len(labels))), fontsize=9)


def to_svg(canvas: Canvas, name: str) -> str:
    """Return the drawing as an <svg> element whose identifiers no other drawing on the page shares."""
    stream = StringIO()
    _print_svg(canvas, stream, {})
    return for_page(stream.getvalue(), name)


def save_svg(canvas: Canvas, path: Path, *, title: str, description: str = "") -> None:
    """Write the drawing as a file of its own, with a title and a description, its text alternatives."""
    stream = StringIO()
    _print_svg(canvas, stream, {"Title": title})
    # Smoothed by the browser, as a viewer does it.
    text = stream.getvalue().replace("image-rendering:crisp-edges;image-rendering:pixelated", "")
    text = _PNG.sub(_in_greys, text)
    if description:
        text = text.replace("</title>", f"</title>\n <desc>{escape(description)}</desc>", 1)
    with written_whole(path) as sibling:
        sibling.write_text(text, encoding="utf-8")


def save_picture(
    canvas: Canvas, path: Path, *, title: str, description: str, png_dpi: int | None = None
) -> None:
    """Write the drawing as `save_svg` does, and beside it as PNG where pixels per inch are given."""
    save_svg(canvas, path, title=title, description=description)
    if png_dpi is not None:
        save_png(canvas, path.with_suffix(".png"), dpi=png_dpi)


_PNG = re.compile(r"data:image/png;base64,([^\"]+)")


def _in_greys(found: re.Match[str]) -> str:
    """Return an image of greys as such: half the bytes that matplotlib takes for it in colours."""
    with Image.open(BytesIO(b64decode(found[1]))) as image:
        red, green, blue, alpha = (np.asarray(channel) for channel in image.convert("RGBA").split())
        if not (np.array_equal(red, green) and np.array_equal(red, blue) and alpha.min() == 255):
            return found[0]
    stream = BytesIO()
    Image.fromarray(red).save(stream, "png", optimize=True)
    return f"data:image/png;base64,{b64encode(stream.getvalue()).decode()}"


def save_png(canvas: Canvas, path: Path, *, dpi: int) -> None:
    """Write a drawing that is an SVG already as pixels on white.

    Its layout stays that of the SVG and is not computed again. A letter that no font of this machine has is a box.
    """
    canvas.set_layout_engine("none")
    canvas.set_dpi(dpi)
    canvas.patch.set(facecolor="white")
    with warnings.catch_warnings(), written_whole(path) as sibling:
        warnings.filterwarnings("ignore", _MISSING_LETTER, UserWarning)
        # At the usual level of compression writing takes half as long again, for files smaller by a fifth.
        FigureCanvasAgg(canvas).print_png(
            sibling, metadata={"Software": None}, pil_kwargs={"compress_level": 1}
        )


def _print_svg(canvas: Canvas, target: StringIO | Path, metadata: Mapping[str, str]) -> None:
    """Write what `savefig` writes, transparent; `savefig` draws a canvas that has a layout twice."""
    for patch in (canvas.patch, *(axes.patch for axes in canvas.axes)):
        patch.set(facecolor="none", edgecolor="none")
    with warnings.catch_warnings():
        # Text stays text: the reader's fonts have the sign, the one that only measures it here need not.
        warnings.filterwarnings("ignore", _MISSING_LETTER, UserWarning)
        FigureCanvasSVG(canvas).print_svg(target, metadata={"Date": None, "Creator": None, **metadata})


def for_page(text: str, name: str) -> str:
    """Return the <svg> element of an SVG file with identifiers of its own, as wide as the page lets it."""
    text = text[text.index("<svg") :]
    text = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', text)
    text = re.sub(r'(xlink:href="#|href="#|url\(#)', rf"\g<1>{name}-", text)
    head, rest = text[: text.index(">")], text[text.index(">") :]
    # The page scales the drawing by its view box. A title is the text alternative of an image.
    role = ' role="img"' if "<title>" in rest else ""
    return re.sub(r' (width|height)="[^"]*pt"', "", head) + role + rest


def colour_of(names: Sequence[str], name: str) -> str:
    """Return the colour of a name among others."""
    return COLOURS[names.index(name) % len(COLOURS)]


def forest(
    axes: Axes,
    labels: Sequence[str],
    estimates: Sequence[tuple[float | None, float | None, float | None]],
    *,
    colours: Sequence[str] | None = None,
    reference: float | None = None,
) -> None:
    """Draw estimates with intervals, one per line, the first on top."""
    for row, (value, low, high) in enumerate(estimates):
        if value is None:
            continue
        colour = colours[row] if colours else COLOURS[0]
        if low is not None and high is not None:
            axes.plot([low, high], [row, row], color=colour, linewidth=2, solid_capstyle="butt")
        axes.plot(value, row, "o", color=colour, markersize=5)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(max(1, len(labels)) - 0.5, -0.5)
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    if reference is not None:
        axes.axvline(reference, color=GREY, linewidth=1, linestyle=(0, (3, 3)))
