"""Names of users in drawings: any script, and no formulas."""

from xml.etree import ElementTree as ET

import matplotlib as mpl
import pytest

from aggregate.drawing import STYLE, panels, to_svg


@pytest.mark.parametrize("name", ["肝癌", "m$x$ [b]", "$\\undefined$"])
def test_a_name_stands_in_a_drawing_as_it_is_written(name):
    with mpl.rc_context(STYLE):
        canvas, (axes,) = panels(1)
        axes.set_title(name)
        svg = to_svg(canvas, "d")
    assert name in [element.text for element in ET.fromstring(svg).iter() if element.text]
