"""Pictures of slices: what is drawn, where, and what is written beside it."""

import re
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from aggregate.explain.case_pictures import NO_WHOLE_SLICES, draw_cases, shown_phases
from aggregate.explain.choices import Choice
from aggregate.explain.class_ranges import RangedMeasure, range_of
from aggregate.explain.inputs import attention_of
from aggregate.explain.pictures import draw_close_up, draw_whole, side_marks, weight_text
from aggregate.explain.thumbnails import Thumbnail, draw_thumbnails
from pipeline.store import PLACE, StoredPatient
from tests.conftest import draw_bag

CHOICE = Choice("p057", "HCC", "HCC", 0.9, "typical right prediction")


def with_context(slices, step: int = 2):
    """Add whole slices of which the crops are the middle."""
    around = np.pad(slices.crops_hu, ((0, 0), (40, 40), (40, 40)), constant_values=40)
    n, rows, columns = around.shape
    blocks = around[:, : rows // step * step, : columns // step * step]
    context = blocks.reshape(n, rows // step, step, columns // step, step).mean(axis=(2, 4)).astype(np.int16)
    corner = np.full((n, 2), 40, dtype=np.int32)
    return replace(slices, context_hu=context, context_step=step, corner=corner)


@pytest.fixture
def stored(ball):
    phases = (with_context(ball("AP", 30, 30, radius=12)), with_context(ball("DP", -10, -10, radius=12)))
    return StoredPatient("key", phases, {"PVP": "truncated"})


@pytest.fixture
def draw(inputs, tmp_path):
    """Draw the case of one patient; return the text of the drawing."""

    def of(stored, measures=()):
        attention = attention_of(inputs, "attention")
        bags = inputs.bags("attention")
        draw_cases(tmp_path, bags, attention, {57: CHOICE}, lambda _: stored, measures=measures)
        (path,) = tmp_path.glob("*.svg")
        assert path.name == "case_01_p057.svg"
        return path.read_text(encoding="utf-8")

    return of


def test_a_case_has_a_title_a_description_and_no_path_of_a_scan(draw, stored, tmp_path):
    (tmp_path / "case_09_old.svg").write_text("from an earlier run")
    text = draw(stored)
    title = re.search(r"<title>(.*?)</title>", text)[1]
    assert title == (
        "p057: reference HCC, typical right prediction: predicted HCC (p = 0.90); weights of model attention, out of fold"
    )
    assert "<desc>Window W 260 L 70; the patient&#x27;s right is on the left. NC: none. AP, slice" in text
    assert "nii" not in text


def test_every_phase_has_a_whole_slice_with_its_crop_and_a_close_up(draw, stored):
    assert draw(stored).count("<image") == 2 * 3


def test_a_phase_that_is_missing_or_could_not_be_used_is_an_empty_panel_that_says_so(draw, stored):
    text = draw(stored)
    assert text.count(">no NC scan<") == text.count(">not usable<") == 2


def test_without_whole_slices_the_lesion_is_shown_and_the_title_says_how_to_have_them(draw, stored, ball):
    old = replace(stored, phases=(ball("AP", 30, 30, radius=12),))
    text = draw(old)
    assert text.count("<image") == 1
    assert NO_WHOLE_SLICES in text


def test_the_measures_of_the_patient_stand_beside_the_quartiles_of_each_class(draw, stored):
    values = np.full(60, np.nan)
    values[57] = -12.0
    ranges = {"HCC": range_of(np.array([10.0, 20.0, 30.0, 40.0, 50.0])), "iCCA": range_of(np.array([np.nan]))}
    text = draw(stored, [RangedMeasure("washout", values, ranges)])
    assert "washout: \N{MINUS SIGN}12 HU" in text
    assert "HCC (n = 5)" in text
    assert "iCCA (n = 0)" in text
    assert "washout -12 HU; median and quartiles of HCC 30 (20 to 40)" in text


def test_the_other_phases_show_the_slice_nearest_to_the_height_of_the_one_with_most_weight(ball):
    """Slices 4 mm apart from z = -10 on; those of DP lie 9 mm higher."""
    arterial, delayed = ball("AP", 30, 30, radius=12), ball("DP", 0, 0, radius=12)
    delayed = replace(delayed, z_mm=delayed.z_mm + 9)
    places = np.tile(np.arange(6, dtype=np.int32), 2)
    drawn = draw_bag("p", 0, np.random.default_rng(0))
    bag = replace(drawn, phase=np.repeat([1, 3], 6).astype(np.int8), slice_index=places)
    weights = np.zeros(12)
    weights[[0, 8]] = 0.7, 0.3
    shown = shown_phases(bag, weights, [arterial, delayed])
    assert [shown["AP"].i, shown["DP"].i] == [0, 0]
    assert [shown["AP"].off_mm, shown["DP"].off_mm] == [0, 9]
    assert shown["DP"].heading(12).splitlines()[-1] == "z \N{MINUS SIGN}1 mm (9 mm higher)"
    weights[4] = 0.9
    shown = shown_phases(bag, weights, [arterial, delayed])
    assert [shown["AP"].i, shown["DP"].i] == [4, 2]
    assert shown["DP"].heading(12).splitlines()[-1] == "z 7 mm"


def test_the_crop_lies_in_its_frame_at_the_scale_of_the_whole_slice(stored):
    panel = Figure().subplots()
    draw_whole(panel, stored.phases[0], 2)
    whole, crop = (image.get_extent() for image in panel.images)
    assert whole == pytest.approx([0, 192, 192, 0], abs=1.0)
    assert crop == pytest.approx([32, 32 + 161 * 0.8, 32 + 161 * 0.8, 32])
    (frame,) = panel.patches
    assert (*frame.get_xy(), frame.get_width()) == pytest.approx((32, 32, 161 * 0.8))


def test_the_patients_right_is_marked_on_the_left(stored):
    panel = Figure().subplots()
    draw_close_up(panel, stored.phases[0], 2, 20.0, side_marks(stored, "AP"))
    marks = {text.get_text(): text.get_position()[0] for text in panel.texts}
    assert marks["R"] < 0.5 < marks["L"]
    assert panel.get_xlim()[0] < panel.get_xlim()[1]


def test_sides_that_the_header_leaves_in_doubt_are_marked_so(stored):
    doubtful = replace(stored, remarks={"AP": [(PLACE, "no position"), ("padding", "air")]})
    assert side_marks(doubtful, "AP") == ("R?", "L?")
    assert side_marks(doubtful, "DP") == ("R", "L")


def test_a_close_up_stays_within_the_crop_and_its_bar_is_as_long_as_it_says(stored):
    panel = Figure().subplots()
    draw_close_up(panel, stored.phases[0], 2, 500.0)
    assert panel.get_xlim() == pytest.approx((0, 161 * 0.8))
    (bar,) = panel.lines
    assert np.ptp(bar.get_xdata()) == 50
    assert panel.texts[-1].get_text() == "50 mm"


def test_a_weight_is_told_beside_its_multiple_of_an_equal_share():
    assert weight_text(0.125, 16) == "weight 0.125 (2.0\N{MULTIPLICATION SIGN})"


def test_thumbnails_name_patient_phase_slice_and_weight(stored, tmp_path):
    path = tmp_path / "typical.svg"
    mistaken = Thumbnail("p001", "AP", 3, "iCCA", "weight 0.125", stands_out=True)
    elsewhere = Thumbnail("p002", "AP", 99, "HCC", "")
    draw_thumbnails(path, "Typical slices", {"HCC": [mistaken, elsewhere]}, lambda _: stored)
    text = path.read_text(encoding="utf-8")
    assert text.count("<image") == 1
    assert "<title>Typical slices</title>" in text
    assert "p001, AP, slice 3 (reference iCCA, weight 0.125)" in text
    assert ">not in the store<" in text


def test_quartiles_are_of_the_patients_in_whom_a_measure_is_known():
    found = range_of(np.array([1.0, 2.0, 3.0, 4.0, 5.0, np.nan]))
    assert (found.low, found.median, found.high, found.n) == (2, 3, 4, 5)


def test_a_picture_lies_beside_its_drawing_as_pixels_where_they_are_asked_for(stored, tmp_path):
    row = {"HCC": [Thumbnail("p001", "AP", 3, "HCC", "")]}
    draw_thumbnails(tmp_path / "typical.svg", "Slices", row, lambda _: stored, png_dpi=50)
    with Image.open(tmp_path / "typical.png") as image:
        assert image.size[0] == 460
