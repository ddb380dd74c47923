"""A spelling is translated where it means one thing; every translation is told, every other one asked."""

from pathlib import Path

import pytest

from pipeline.cohort import read_cohort
from pipeline.config import CohortSection, ExperimentConfig, load_config
from pipeline.errors import CohortError, ConfigError
from pipeline.names import label_vocabulary, phase_vocabulary


def cohort(tmp_path, *rows: str, **section):
    table = tmp_path / "cohort.csv"
    table.write_text("\n".join(["patient_id,phase,image,mask,label", *rows]) + "\n")
    return read_cohort(CohortSection(table=table, **section))


@pytest.mark.parametrize("text", ["CHC", "chc", "cHCC", "CHCC"])
def test_a_label_that_means_two_classes_is_asked_for(tmp_path, text):
    with pytest.raises(CohortError) as refused:
        cohort(tmp_path, f"p,AP,a,m,{text}", "q,AP,b,m,HCC", f"r,AP,c,m,{text}")
    assert f"line 2: label {text!r} is ambiguous" in str(refused.value)
    assert f'say which in [cohort.label_aliases]: "{text}" = one of HCC, iCCA, cHCC-CCA (2 rows)' in str(
        refused.value
    )


@pytest.mark.parametrize(
    ("cell", "write"),
    [("AP?", "AP if it is right, else another of NC, AP, PVP, DP"), ("?", "one of NC, AP, PVP, DP")],
)
def test_a_phase_that_an_import_proposed_is_to_be_confirmed(tmp_path, cell, write):
    found = cohort(tmp_path, f"p,{cell},a,m,HCC", "p,PVP,b,m,HCC")
    (excluded,) = found.exclusions
    assert f"line 2: phase {cell!r} is not confirmed" in excluded.reason
    assert f"then write {write}, or delete the row" in excluded.reason
    assert list(found.patients[0].scans) == ["PVP"]


@pytest.mark.parametrize("text", ["P", "A", "late"])
def test_a_phase_that_means_two_phases_is_asked_for(tmp_path, text):
    with pytest.raises(CohortError, match=rf"phase '{text}' is ambiguous .* \[cohort.phase_aliases\]"):
        cohort(tmp_path, f"p,{text},a,m,HCC")


def test_an_ambiguous_spelling_is_read_as_the_configuration_says(tmp_path):
    found = cohort(
        tmp_path, "p,P,a,m,CHC", label_aliases={"CHC": "HCC"}, phase_aliases={"p": "PVP"}
    ).patients[0]
    assert (found.label, list(found.scans)) == ("HCC", ["PVP"])


def test_an_ambiguous_spelling_that_is_a_class_of_the_configuration_is_that_class(tmp_path):
    (patient,) = cohort(tmp_path, "p,AP,a,m,chc", classes=("CHC", "iCCA")).patients
    assert patient.label == "CHC"


def test_cholangiocarcinoma_is_asked_for_where_there_are_others_than_intrahepatic(tmp_path):
    with pytest.raises(CohortError, match="label 'CCA' is ambiguous"):
        cohort(tmp_path, "p,AP,a,m,CCA", classes=("iCCA", "eCCA"))


def test_channel_numbers_are_understood_beside_all_four_phases_only():
    four, two = (
        phase_vocabulary(CohortSection(table="t", phases=p))
        for p in (("NC", "AP", "PVP", "DP"), ("AP", "PVP"))
    )
    assert four.find("0001") == "AP"
    assert two.find("0001") is None


def test_every_translation_is_told_with_its_count(tmp_path):
    found = cohort(tmp_path, "p,art,a,m,ICC", "p,PVP,b,m,ICC", "q,art,c,m,HCC", "r,AP,d,m,icca")
    assert found.notices == (
        "phase 'art' read as AP (2 rows)",
        "label 'ICC' read as iCCA (2 rows)",
        "label 'icca' read as iCCA (1 row)",
    )
    first = found.patients[0]
    assert (first.label_given, first.scans["AP"].phase_given) == ("ICC", "art")


def test_words_as_the_configuration_writes_them_need_no_telling(tmp_path):
    assert cohort(tmp_path, "p,AP,a,m,HCC").notices == ()


def test_an_unknown_spelling_names_the_nearest():
    with pytest.raises(
        ConfigError, match=r"here: unknown phase 'arteral'; expected one of NC, AP.*nearest: 'AP'"
    ):
        phase_vocabulary(CohortSection(table="t")).resolve("arteral", where="here")


@pytest.mark.parametrize(
    ("aliases", "message"),
    [
        ({"x": "HC"}, "'x' leads to 'HC'; expected one of HCC, iCCA, cHCC-CCA; nearest: 'HCC'"),
        ({"hcc": "iCCA"}, "'hcc' leads to 'iCCA', but stands for 'HCC' already"),
        ({"CHC": "HCC", "chc": "iCCA"}, "'chc' leads to 'iCCA', but stands for 'HCC' already"),
    ],
)
def test_an_alias_that_contradicts_a_name_or_another_alias_is_refused(aliases, message):
    with pytest.raises(CohortError, match=message):
        label_vocabulary(CohortSection(table="t", label_aliases=aliases))


def test_two_classes_that_differ_in_case_only_are_refused(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text('name = "e"\noutput = "o"\n[cohort]\ntable = "t"\nclasses = ["HCC", "hcc"]\n')
    with pytest.raises(ConfigError, match=r"c.toml: cohort: classes: 'hcc' is empty or given twice"):
        load_config(path, ExperimentConfig)


@pytest.mark.parametrize(
    ("text", "message"),
    [('table = "C:\\data"', "in a path write '/' for a backslash"), ("table = 'x", "not a TOML file")],
)
def test_a_backslash_in_a_configuration_gets_a_hint(tmp_path, text, message):
    path = tmp_path / "c.toml"
    path.write_text(f'name = "e"\noutput = "o"\n[cohort]\n{text}\n')
    with pytest.raises(ConfigError, match=message):
        load_config(path, ExperimentConfig)


def test_a_phase_named_like_an_alias_is_written_in_all_the_ways_of_its_phase():
    phases = phase_vocabulary(CohortSection(table=Path("t.csv"), phases=("native", "art", "pv")))
    assert [phases.find(word) for word in ("NC", "AP", "arterial", "PVP", "venous")] == [
        "native", "art", "art", "pv", "pv",
    ]  # fmt: skip
