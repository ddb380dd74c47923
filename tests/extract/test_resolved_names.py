"""Stage 1 understands every spelling of a phase wherever a configuration or a table names one, and says so."""

import csv

import pytest

RANGES = "patient_id,phase,z_from_mm,z_to_mm\n"


@pytest.fixture
def two(playground):
    """P1 with a mask in PVP only, P2 with PVP only."""
    playground.add("P1", "art", mask="")
    playground.add("P1", "PVP")
    playground.add("P2", "venous")
    return playground


@pytest.mark.parametrize("spelling", ["AP", "art", "Arterial"])
def test_a_required_phase_may_be_written_in_every_known_way(two, command, spelling):
    command(
        "run", two.configure(), f'missing_phases={{require=["{spelling}"]}}', 'masks.propagate_from=["pv"]'
    )
    assert [path.stem for path in two.bags.glob("*.h5")] == ["P1"]
    assert "lacks phase AP" in two.excluded()["P2", ""]


def test_a_mask_is_propagated_from_a_phase_by_its_other_name(two, command):
    command("run", two.configure(), 'masks.propagate_from=["venous"]')
    assert two.bag("P1").header.sources["AP"].mask_source == "propagated:PVP"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ('missing_phases={require=["PVT"]}', "extract.missing_phases.require: unknown phase 'PVT'; expected one of NC"),
        ('masks.propagate_from=["portl"]', "masks.propagate_from: unknown phase 'portl'"),
        ('masks.propagate_from=["portl"]', "nearest: 'PVP'"),
        ('masks.propagate_from=["P"]', "phase 'P' is ambiguous (plain in some data sets, portal venous in others)"),
    ],
)  # fmt: skip
def test_an_unknown_phase_in_the_configuration_is_one_line(two, command, override, message):
    code, printed = command("run", two.configure(), override)
    assert code == 2
    assert message in printed
    assert len(printed.strip().splitlines()) == 1


def ranged(two, command, *rows: str, word: str = "check") -> tuple[int, str]:
    (two.folder / "z.csv").write_text(RANGES + "\n".join(rows) + "\n")
    return command(word, two.configure(), 'slices.which="z_ranges"', "slices.z_ranges=z.csv")


def test_a_phase_in_the_table_of_ranges_may_be_written_in_every_known_way(two, command):
    code, printed = ranged(two, command, "P1,Arterial,12,24", "P1,pv,12,24", "P2,,12,24", word="run")
    assert code == 0, printed
    assert set(two.bag("P1").header.sources) == {"AP", "PVP"}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["P1,PVP,12,24", "P2,PVP,nan,24"], "z.csv: line 3: z_from_mm is 'nan'; expected a number in mm"),
        (["P1,PVP,12,inf"], "z.csv: line 2: z_to_mm is 'inf'"),
        (["P1,PVP,12,"], "z.csv: line 2: z_to_mm is ''"),
        (["P1,arteral,12,24"], "z.csv: line 2: unknown phase 'arteral'"),
        (["P1,AP,12,24", "P1,art,12,30"], "z.csv: line 3: a second range of P1 AP; expected one"),
        (["P1,AP,12,5,24", "P2,AP,12,24"], "z.csv: line 2: expected 4 cells as in the header, found 5"),
        (
            ["1,AP,12,24"],
            "expected identifiers of the cohort table, such as 'P1', found none; the first is '1'",
        ),
    ],
)
def test_a_row_of_ranges_that_cannot_be_told_is_refused_by_line(two, command, rows, message):
    code, printed = ranged(two, command, *rows)
    assert code == 2
    assert message in printed
    assert "Traceback" not in printed


def test_check_tells_every_translation_and_keeps_the_columns_as_given(two, command):
    code, printed = command("check", two.configure(), 'masks.propagate_from=["PVP"]')
    assert "phase 'art' read as AP (1 row)" in printed
    assert "phase 'venous' read as PVP (1 row)" in printed
    with (two.folder / "out" / "cohort_check.csv").open() as stream:
        rows = {(row["patient_id"], row["phase"]): row for row in csv.DictReader(stream)}
    assert (rows["P1", "AP"]["phase_given"], rows["P1", "AP"]["label_given"]) == ("art", "HCC")
    assert rows["P2", "PVP"]["phase_given"] == "venous"
    assert code == 0


def test_run_tells_every_translation(two, command):
    _, printed = command("run", two.configure())
    assert "phase 'art' read as AP (1 row)" in printed


def test_a_windows_path_to_an_image_gets_a_hint(playground, command):
    playground.add("P1")
    playground.add("P2", image="ct\\p2.nii.gz")
    _, printed = command("check", playground.configure())
    assert "backslashes separate no folders on this machine: write '/'" in printed


def test_an_ambiguous_label_ends_check_and_run_with_one_line(playground, command):
    playground.add("P1", label="CHC")
    for word in ("check", "run"):
        code, printed = command(word, playground.configure())
        assert code == 2
        assert "label 'CHC' is ambiguous" in printed
        assert len(printed.strip().splitlines()) == 1
