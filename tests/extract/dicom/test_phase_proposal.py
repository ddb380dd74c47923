"""A phase is decided where all evidence agrees, and proposed to a human elsewhere."""

from datetime import datetime, timedelta

import numpy as np
import pytest

from extract.dicom.geometry import Stack
from extract.dicom.headers import ImageHeader
from extract.dicom.phase_proposal import propose_phases
from extract.dicom.phase_words import phases_named
from extract.dicom.series import Volume

BEGIN = datetime(2020, 5, 17, 23, 59, 30)


def volume(description: str = "", *, at_s: float | None = None, part: str = "", **more: object) -> Volume:
    header = ImageHeader(
        path=None,
        sop_class="",
        sop="",
        series=description,
        study=more.pop("study", "study"),
        description=description,
        acquired=None if at_s is None else BEGIN + timedelta(seconds=at_s),
        **more,
    )
    return Volume(Stack((header,), np.eye(4), 1.0, 0.0), part)


def cells(*volumes: Volume, **more: object) -> list[str]:
    return [proposal.cell for proposal in propose_phases(volumes, **more)]


@pytest.mark.parametrize(
    ("text", "plain", "doubtful"),
    [
        ("LIVER ART 1.0 B30f", {"AP": "art"}, {}),
        ("Abd_late arterial", {"AP": "late arterial"}, {}),
        ("ABDOMEN PORTAL-VENOUS", {"PVP": "portal"}, {}),
        ("venös 3mm", {}, {"PVP": "venös"}),
        ("Oberbauch spät", {}, {"DP": "spät"}),
        ("artériel tardif", {"AP": "artériel"}, {"DP": "tardif"}),
        ("CT A/P non-contrast", {"NC": "non-contrast"}, {}),
        ("CT AP 5mm", {}, {"AP": "ap"}),
        ("HEART SMART STUDY", {}, {}),
        ("art + portal", {"AP": "art", "PVP": "portal"}, {}),
        ("John Delaney", {}, {}),
    ],
)
def test_words_that_name_a_phase(text, plain, doubtful):
    found = phases_named(text)
    assert (found[0], set(found[1])) == (plain, set(doubtful))


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("ABD W/WO CONTRAST", "?"),
        ("Liver with and without contrast", "?"),
        ("70 SEC DELAY", "DP?"),
        ("pulmonary artery", "AP?"),
        ("VNC arterial 1.0", "AP?"),
        ("arterial MIP 10 mm", "AP?"),
        ("portal 40 keV", "PVP?"),
        ("post arterial", "AP?"),
        ("early arterial", "AP"),
        ("portal venous post contrast", "PVP"),
        ("liver without contrast", "NC"),
    ],
)
def test_words_beside_a_phase_can_leave_it_open(text, cell):
    assert cells(volume(text)) == [cell]


def test_a_kind_of_image_that_was_computed_leaves_the_phase_open():
    assert cells(volume("arterial", image_type=("DERIVED", "SECONDARY", "AXIAL", "VNC"))) == ["AP?"]


def test_a_volume_that_took_longer_than_a_phase_is_open():
    """The chest in one phase and the abdomen in the next, as one series."""
    begin, end = volume("arterial", at_s=0).first, volume("arterial", at_s=90).first
    joined = Volume(Stack((begin, end), np.eye(4), 1.0, 0.0))
    (proposal,) = propose_phases([joined])
    assert proposal.cell == "AP?"
    assert proposal.doubts == ("its slices were acquired within 90 s, longer than a phase lasts",)


def test_plain_words_in_the_order_of_the_phases_are_decided():
    series = ("native", "arterial", "portal venous", "delayed")
    assert cells(*(volume(name, at_s=40 * i) for i, name in enumerate(series))) == ["NC", "AP", "PVP", "DP"]


def test_words_with_several_meanings_are_proposed():
    assert cells(volume("CT AP 5mm"), volume("venous")) == ["AP?", "PVP?"]


def test_no_word_leaves_the_phase_open():
    (proposal,) = propose_phases([volume("CT Body 3.0")])
    assert proposal.cell == "?"
    assert proposal.doubts == ("no word of the series names a phase",)


def test_an_order_that_contradicts_the_words_leaves_both_open():
    found = propose_phases([volume("delayed", at_s=0), volume("arterial", at_s=200)])
    assert [proposal.cell for proposal in found] == ["DP?", "AP?"]
    assert found[0].doubts == ("DP was acquired before AP",)


def test_a_second_series_of_a_phase_leaves_both_open():
    assert cells(volume("arterial 1mm"), volume("arterial 5mm"), volume("portal")) == ["AP?", "AP?", "PVP"]


def test_series_of_two_studies_are_left_open():
    assert cells(volume("arterial"), volume("portal", study="another")) == ["AP?", "PVP?"]


@pytest.mark.parametrize(("delay_s", "cell"), [(35, "AP?"), (70, "PVP?"), (180, "DP?"), (110, "?")])
def test_the_delay_after_the_bolus_proposes_a_phase(delay_s, cell):
    assert cells(volume(bolus_after_s=delay_s)) == [cell]


def test_a_delay_that_contradicts_the_words_leaves_the_phase_open():
    (proposal,) = propose_phases([volume("arterial", bolus_after_s=70)])
    assert proposal.cell == "AP?"
    assert proposal.evidence == ("the series description says 'arterial'",
                                 "acquired 70 s after the start of the bolus")  # fmt: skip
    assert proposal.doubts == ("the delay is that of PVP",)


def test_a_bright_liver_is_not_without_contrast():
    assert cells(volume("native"), liver_hu={0: 110}) == ["NC?"]
    assert cells(volume("native"), liver_hu={0: 52}) == ["NC"]


def test_a_protocol_name_proposes_only():
    assert cells(volume(protocol="Liver arterial")) == ["AP?"]


def test_parts_of_one_series_are_left_open():
    assert cells(volume("arterial", part="acquisition number, part 1 of 2")) == ["AP?"]


def test_seconds_between_series_count_over_midnight():
    found = propose_phases([volume("arterial", at_s=0), volume("portal", at_s=45)])
    assert found[1].evidence[-1] == "acquired 45 s after the series before it in its study"
    assert [proposal.cell for proposal in found] == ["AP", "PVP"]


def test_words_of_the_command_are_understood_and_not_repeated():
    given = {"leber ph2": "AP", "hbp": "HBP"}
    first, second = propose_phases([volume("LEBER_PH2 1.5"), volume("hbp 20 min")], given=given)
    assert (first.cell, second.cell) == ("AP", "HBP")
    assert first.evidence == ("the series description has a word of the command",)
