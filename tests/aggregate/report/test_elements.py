"""Numbers as a reader sees them."""

import pytest

from aggregate.report.drawing import COLOURS, HATCHES, panels, to_svg
from aggregate.report.elements import interval, signed


@pytest.mark.parametrize(
    ("value", "text"), [(0.814, "0.81"), (-0.5, "−0.50"), (-0.001, "0.00"), (1.0, "1.00")]
)
def test_a_number_has_two_digits_and_a_true_minus(value, text):
    assert signed(value, 2) == text


def test_an_interval_stays_on_one_line_and_a_missing_estimate_is_said():
    assert interval(0.8, 0.7, 0.9) == "0.80 [0.70,\N{NO-BREAK SPACE}0.90]"
    assert interval(0.8, None, None) == "0.80"
    assert interval(None, None, None) == "not estimable"


def test_two_drawings_on_one_page_share_no_identifier():
    texts = []
    for name in ("a", "b"):
        canvas, (axes,) = panels(1)
        axes.plot([0, 1], [0, 1])
        texts.append(to_svg(canvas, name))
    assert 'id="a-' in texts[0]
    assert 'id="a-' not in texts[1]
    assert " width=" not in texts[0][: texts[0].index(">")]


def test_neighbouring_colours_differ_in_lightness_too():
    def lightness(colour):
        red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
        return 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2

    values = [lightness(colour) for colour in COLOURS[:3]]
    assert len({round(value, 2) for value in values}) == 3
    assert len(set(HATCHES[:3])) == 3
