"""Montages: which slices, and that nothing but the crops is in them."""

import re

import numpy as np
import pytest

from aggregate.explain.choices import Choice
from aggregate.explain.inputs import attention_of
from aggregate.explain.pictures import _extremes, draw_pictures


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ([0.1, 0.5, 0.2, 0.05, 0.15, 0.0], [1, 2, 4, 3, 5]),
        ([0.3, 0.7], [1, 0, None, None, None]),
        ([0.1, 0.2, 0.3, 0.4], [3, 2, 1, None, 0]),
        ([np.nan, 1.0], [1, None, None, None, None]),
    ],
)
def test_top_slices_come_first_and_no_slice_comes_twice(weights, expected):
    assert _extremes(np.array(weights)) == expected


def test_montages_are_drawings_with_a_title_and_no_path_of_a_scan(inputs, tmp_path, ball):
    def read_slices(patient_id):
        return [ball("AP", 30, 30, radius=12), ball("DP", -10, -10, radius=12)]

    (tmp_path / "montage_9_old.svg").write_text("from an earlier run")
    chosen = {57: Choice("p057", "HCC", "HCC", 0.9, "surest right prediction")}
    draw_pictures(
        tmp_path,
        inputs.bags("attention"),
        attention_of(inputs, "attention"),
        chosen,
        read_slices,
        png_dpi=100,
    )
    (path,) = tmp_path.glob("*.svg")
    assert path.with_suffix(".png").exists()
    text = path.read_text(encoding="utf-8")
    assert path.name == "montage_1_p057.svg"
    assert re.search(
        r"<title>p057: reference HCC, surest right prediction.* weights of model attention", text
    )
    assert text.count("<image") >= 2
    assert "nii" not in text
