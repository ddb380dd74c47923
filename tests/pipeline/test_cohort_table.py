"""Strict reading: whatever a spreadsheet leaves is read as it is meant, or refused by line and by what was found."""

import io

import openpyxl
import pytest

from pipeline.cohort import read_cohort
from pipeline.config import CohortSection
from pipeline.errors import CohortError

HEADER = "patient_id,phase,image,mask,label,age,sex"
ROWS = [f"P{i},{phase},P{i}_{phase},m,HCC,6{i},M" for i in range(3) for phase in ("AP", "PVP")]


def read(tmp_path, content: str | bytes):
    (tmp_path / "t.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_cohort(CohortSection(table=tmp_path / "t.csv"))


def table(*rows: str, header: str = HEADER, separator: str = ",") -> str:
    return "\n".join([header, *(rows or ROWS)]).replace(",", separator) + "\n"


def refusal(tmp_path, content: str | bytes) -> str:
    with pytest.raises(CohortError) as refused:
        read(tmp_path, content)
    message = str(refused.value)
    assert "\n" not in message
    return message


def ages(cohort) -> dict[str, str]:
    return {patient.patient_id: patient.covariates["age"] for patient in cohort.patients}


def test_an_unclosed_quote_is_refused_by_the_line_on_which_it_opens(tmp_path):
    rows = [*ROWS[:2], ROWS[2].replace("HCC", '"HCC'), *ROWS[3:]]
    assert "line 4: expected every cell that begins with a quotation mark to end with one" in refusal(
        tmp_path, table(*rows)
    )


def test_a_quote_that_a_later_row_closes_by_chance_swallows_no_patient(tmp_path):
    # The two rows together have as many cells as the header.
    rows = ['P0,AP,a,m,"HCC,60,M', 'P1,AP,b,m,HCC",61,M']
    assert "line 2: expected every cell" in refusal(tmp_path, table(*rows))


def test_a_quoted_cell_may_hold_the_separator(tmp_path):
    (patient,) = read(tmp_path, table('P0,AP,a,m,HCC,"63,5",M')).patients
    assert patient.covariates == {"age": "63,5", "sex": "M"}


def test_two_columns_of_one_name_are_refused_by_place(tmp_path):
    message = refusal(tmp_path, table(*(f"{row},iCCA" for row in ROWS), header=f"{HEADER}, Label"))
    assert "line 1: columns 5 ('label') and 8 (' Label') have the same name" in message


def test_a_row_longer_than_the_header_is_excluded_by_line_and_the_rest_goes_on(tmp_path):
    found = read(tmp_path, table("P0,AP,a,m,HCC, poorly differentiated,60,M", *ROWS[1:]))
    assert [(e.patient_id, e.phase) for e in found.exclusions] == [("P0", "AP")]
    assert "line 2: expected 7 cells as in the header, found 8" in found.exclusions[0].reason
    assert list(found.patients[0].scans) == ["PVP"]


def test_a_row_shorter_than_the_header_is_excluded_by_line(tmp_path):
    found = read(tmp_path, table(*ROWS[:5], "P2,PVP,c"))
    assert "line 7: expected 7 cells as in the header, found 3" in found.exclusions[0].reason


def test_a_patient_of_whom_only_damaged_rows_are_left_is_named(tmp_path):
    found = read(tmp_path, table(*ROWS[:4], *(f"{row},5" for row in ROWS[4:])))
    assert [(e.patient_id, e.phase) for e in found.exclusions] == [("P2", "AP"), ("P2", "PVP"), ("P2", "")]


def test_a_table_whose_rows_are_all_longer_is_refused_whole(tmp_path):
    assert "so are 5 further rows" in refusal(tmp_path, table(*(f"{row},5" for row in ROWS)))


def test_a_damaged_row_is_no_mere_exclusion_where_the_identifier_may_have_moved(tmp_path):
    header = "age,patient_id,phase,image,mask,label"
    assert "line 3: expected 6 cells" in refusal(
        tmp_path, table("60,P0,AP,a,m,HCC", "61,5,P1,AP,b,m,HCC", header=header)
    )


def test_blank_rows_and_unnamed_empty_columns_of_a_spreadsheet_are_ignored(tmp_path):
    rows = [f"{row},," for row in ROWS]
    found = read(tmp_path, table(*rows[:2], ",,,,,,,,", "", *rows[2:], ",,", header=f"{HEADER},,"))
    assert (len(found.patients), found.exclusions) == (3, ())


def test_a_cell_in_a_column_without_a_name_is_refused(tmp_path):
    message = refusal(tmp_path, table(*(f"{row},x" for row in ROWS), header=f"{HEADER},"))
    assert "line 2: column 8 has no name and holds 'x'" in message


@pytest.mark.parametrize("separator", [",", ";", "\t"], ids=["comma", "semicolon", "tab"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["unix", "windows"])
def test_separators_encodings_and_line_ends_are_read_alike(tmp_path, separator, encoding, newline):
    text = table(separator=separator).replace("\n", newline)
    assert ages(read(tmp_path, text.encode(encoding))) == {"P0": "60", "P1": "61", "P2": "62"}


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"], ids=["comma", "semicolon", "tab", "bar"])
def test_the_line_in_which_excel_names_its_separator_is_heeded(tmp_path, separator):
    found = read(tmp_path, f"sep={separator}\n{table('P0,XX,a,m,HCC,60,M', *ROWS[1:], separator=separator)}")
    assert len(found.patients) == 3
    assert found.exclusions[0].reason.startswith("line 3: unknown phase 'XX'")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (table().replace("60", "Größe").encode("cp1252"), "found byte 0xf6 in line 2"),
        (table().encode("utf-16-le"), "found a binary file, or UTF-16 without a byte order mark"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "found an old Excel workbook (.xls)"),
        (b"PK\x03\x04\x14\x00\x06\x00", "found a zip archive that is no Excel workbook"),
        (b"", "found an empty table"),
        (table(separator="|"), "separated by commas, semicolons or tabs, found 'patient_id|phase|image"),
        ("sep=;;\n" + table(), "expected one separator after 'sep=', found ';;'"),
        (table(header=HEADER.replace("label", "diagnosis")), "column 'label' is missing"),
        (table(header=HEADER.replace("label", "diagnosis")), "found 'patient_id', 'phase', 'image', 'mask', 'diagnosis'"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_by_what_was_found(tmp_path, content, message):
    assert message in refusal(tmp_path, content)


def test_a_header_in_other_letters_or_with_blanks_is_read_and_told(tmp_path):
    found = read(tmp_path, table(header="Patient ID, PHASE ,image,Mask,label,Age,sex"))
    assert len(found.patients) == 3
    assert found.notices == (
        "column 'Patient ID' read as patient_id (6 rows)",
        "column ' PHASE ' read as phase (6 rows)",
        "column 'Mask' read as mask (6 rows)",
    )
    assert list(found.patients[0].covariates) == ["Age", "sex"]


def test_a_column_nearly_named_like_one_with_a_meaning_is_told(tmp_path):
    found = read(tmp_path, table(header=HEADER.replace("sex", "center")))
    assert found.notices == ("column 'center' is taken for a covariate; for the centre write 'centre'",)


def test_one_patient_in_two_unicode_forms_is_one_patient_and_told(tmp_path):
    found = read(tmp_path, table("M\u00fc1,AP,a,m,HCC,60,M", "Mu\u03081,PVP,b,m,HCC,60,M"))
    assert [(p.patient_id, list(p.scans)) for p in found.patients] == [("M\u00fc1", ["AP", "PVP"])]
    assert found.notices == (
        "patient_id: 1 row from line 3 on in decomposed Unicode (NFD), read as composed (NFC)",
    )


@pytest.mark.parametrize(
    ("character", "name"),
    [("\u200b", "U+200B ZERO WIDTH SPACE"), ("\u00a0", "U+00A0 NO-BREAK SPACE"), ("\ufeff", "U+FEFF")],
)
def test_an_invisible_character_in_an_identifier_is_refused_by_name(tmp_path, character, name):
    found = read(tmp_path, table(f"P{character}0,AP,a,m,HCC,60,M", *ROWS[1:]))
    assert f"holds the invisible character {name}" in found.exclusions[0].reason
    assert list(found.patients[0].scans) == ["PVP"]


def test_the_name_of_a_file_keeps_its_unicode_form(tmp_path):
    (patient,) = read(tmp_path, table("P0,AP,Mu\u0308,m,HCC,60,M")).patients
    assert patient.scans["AP"].image.name == "Mu\u0308"


def workbook(**sheets) -> bytes:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


def cells() -> list[list[str]]:
    return [line.split(",") for line in [HEADER, *ROWS]]


def test_a_workbook_is_read_whatever_its_name_ends_in(tmp_path):
    rows = [*cells(), [], ["007", "AP", "a", "m", "HCC", 63.0, None]]
    found = read(tmp_path, workbook(cohort=rows))
    assert ages(found) == {"P0": "60", "P1": "61", "P2": "62", "007": "63"}
    assert found.exclusions == ()


def test_the_only_sheet_with_the_columns_is_taken_and_told(tmp_path):
    found = read(tmp_path, workbook(notes=[["read me"]], cohort=cells()))
    assert found.notices == ("sheet 'cohort' of the workbook is read",)


def test_two_sheets_with_the_columns_are_refused(tmp_path):
    assert "expected one sheet with the columns of the table, found 'a', 'b'" in refusal(
        tmp_path, workbook(a=cells(), b=cells())
    )


def test_a_number_that_excel_shows_as_another_identifier_is_refused_by_cell(tmp_path):
    book = openpyxl.load_workbook(io.BytesIO(workbook(cohort=cells())))
    book["cohort"]["A3"] = 7
    book["cohort"]["A3"].number_format = "000"
    book.save(tmp_path / "x.xlsx")
    message = refusal(tmp_path, (tmp_path / "x.xlsx").read_bytes())
    assert "sheet 'cohort', cell A3: an identifier that is a number, shown in the format '000'" in message


def test_a_formula_without_a_value_is_refused_by_cell(tmp_path):
    rows = cells()
    rows[2][5] = "=1+60"
    assert "cell F3: a formula without a value" in refusal(tmp_path, workbook(cohort=rows))


def test_a_home_folder_is_found_and_other_paths_of_windows_get_a_hint(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (patient,) = read(tmp_path, table("P0,AP,~/ct/a.nii.gz,m,HCC,60,M")).patients
    assert patient.scans["AP"].image == tmp_path / "ct" / "a.nii.gz"
    with pytest.raises(CohortError, match="backslashes separate no folders on this machine: write '/'"):
        read_cohort(CohortSection(table=tmp_path / "data\\t.csv"))
