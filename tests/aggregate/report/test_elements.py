"""Numbers as a reader sees them."""

from io import StringIO

import matplotlib as mpl
import pytest

from aggregate.drawing import COLOURS, HATCHES, STYLE, for_page, legend_below, panels, to_svg
from aggregate.report.elements import NOTHING, cell, interval, p_text, reasons, signed
from aggregate.report.settings_in_words import described
from aggregate.tables.rows import BELOW_SMALLEST


@pytest.mark.parametrize(
    ("value", "text"), [(0.814, "0.81"), (-0.5, "−0.50"), (-0.001, "0.00"), (1.0, "1.00")]
)
def test_a_number_has_two_digits_and_a_true_minus(value, text):
    assert signed(value, 2) == text


def test_an_interval_stays_on_one_line_and_a_missing_estimate_is_said():
    assert interval(0.8, 0.7, 0.9) == "0.80 [0.70,\N{NO-BREAK SPACE}0.90]"
    assert interval(0.8, None, None) == "0.80"
    assert interval(None, None, None) == "not estimable"


def test_a_cell_says_what_its_row_has():
    row = {"estimate": 0.8, "ci_low": 0.7, "ci_high": 0.9, "loss": "not estimable"}
    assert cell(row) == "0.80 [0.70,\N{NO-BREAK SPACE}0.90]"
    assert cell(row, ("loss", "loss", "loss")) == "not estimable"
    assert cell(None) == NOTHING


@pytest.mark.parametrize(
    ("found", "text"),
    [(0.0312, "0.031"), (0.0002, "<0.001"), (BELOW_SMALLEST, "<0.0001"), ("not estimable", ""), (None, "")],
)
def test_the_smallest_p_value_is_shown_and_never_as_zero(found, text):
    assert p_text(found) == text


def test_a_caption_says_each_reason_for_a_missing_number_once():
    rows = [
        {"ci_method": method}
        for method in ("bootstrap error", "not estimable: 2 patients", "not estimable: 2 patients")
    ]
    assert reasons([*rows, None]) == " Where a number or an interval is missing: not estimable: 2 patients."
    assert reasons(rows[:1]) == ""


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        ({"size_px": 112, "margin_mm": None}, "size: 112 px"),
        ({"scales_mm": {"tight": 70.0, "wide": 140.0}}, "scales: tight 70, wide 140 mm"),
        ({"windows": [[40.0, 400.0]], "planes": 1}, "windows (level, width in HU): (40, 400); planes: 1"),
        ({"propagate_from": [], "margin_mm": 0.0}, "margin: 0 mm"),
        ("square around the lesion", "square around the lesion"),
    ],
)
def test_a_setting_is_said_in_words(setting, text):
    assert described(setting) == text


def test_two_drawings_on_one_page_share_no_identifier():
    texts = []
    for name in ("a", "b"):
        canvas, (axes,) = panels(1)
        axes.plot([0, 1], [0, 1])
        texts.append(to_svg(canvas, name))
    assert 'id="a-' in texts[0]
    assert 'id="a-' not in texts[1]
    assert " width=" not in texts[0][: texts[0].index(">")]


def test_a_drawing_is_what_matplotlib_saves():
    drawings = []
    for _ in range(2):
        canvas, (left, right) = panels(2)
        left.plot([0, 1], [0, 1], label="a line")
        right.set_title("a title of the second panel")
        legend_below(canvas, left)
        drawings.append(canvas)
    saved = StringIO()
    with mpl.rc_context(STYLE):
        drawings[0].savefig(saved, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
        assert to_svg(drawings[1], "name") == for_page(saved.getvalue(), "name")


def test_neighbouring_colours_differ_in_lightness_too():
    def lightness(colour):
        red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
        return 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2

    values = [lightness(colour) for colour in COLOURS[:3]]
    assert len({round(value, 2) for value in values}) == 3
    assert len(set(HATCHES[:3])) == 3
