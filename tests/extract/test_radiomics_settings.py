"""The table [extract.radiomics]: what it refuses, and what of it stands in a bag."""

import json

import pytest
from pydantic import ValidationError

import extract.radiomics_settings
from extract.config import ExtractSection
from extract.radiomics_settings import RadiomicsSection, described_radiomics
from pipeline.errors import ConfigError


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"bins": 32, "bin_width_hu": 25}, "expected bins or bin_width_hu, found both"),
        ({"range_hu": [300, -100]}, r"range_hu: expected the lower end first, found \[300.0, -100.0\]"),
        ({"families": ["glcm", "glcm"]}, "families: expected each once, found glcm, glcm"),
        ({"families": ["wavelets"]}, "Input should be 'morphology'"),
        ({"regions": ["rim"], "families": ["morphology"]}, "expected one that a rim has"),
        ({"spacing_mm": 0}, "greater than 0"),
        ({"spacing": 2}, "Extra inputs are not permitted"),
    ],
)
def test_a_mistake_is_told(values, told):
    with pytest.raises(ValidationError, match=told):
        RadiomicsSection.model_validate(values)


def test_there_are_none_without_the_table_and_they_need_a_lesion():
    assert ExtractSection().radiomics is None
    with pytest.raises(ValidationError, match="radiomics need a mask of the tumour"):
        ExtractSection.model_validate({"radiomics": {}, "slices": {"which": "organ"}})


def test_the_bins_are_25_hu_wide_unless_their_width_or_number_is_given():
    found = [RadiomicsSection.model_validate(v).width_hu for v in ({}, {"bin_width_hu": 10}, {"bins": 32})]
    assert found == [25.0, 10.0, None]


def test_software_version_and_settings_are_plain_json():
    pytest.importorskip("mirp")
    told = described_radiomics(RadiomicsSection())
    assert json.loads(json.dumps(told)) == told
    assert (told["software"], told["spacing_mm"], told["bin_width_hu"]) == ("mirp", 2.0, 25.0)
    assert told["version"].startswith("2.7")


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setattr(extract.radiomics_settings, "SOFTWARE", "no-such-distribution")
    with pytest.raises(
        ConfigError, match=r"needs the extra `radiomics`: pip install 'phasemil\[radiomics\]'"
    ):
        described_radiomics(RadiomicsSection())
