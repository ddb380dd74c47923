"""Layouts `class-folders` and `patient-folders`: the names of the files tell, and what they do not tell is asked."""

import unicodedata

import openpyxl


def test_a_folder_for_each_class_gives_label_phase_and_mask(tree, imported):
    tree.image("HCC/P1/P1_art.nii.gz")
    tree.mask("HCC/P1/P1_art_mask.nii.gz")
    tree.image("ICC/P2/portalvenös.nii.gz")
    tree.mask("ICC/P2/liver_portalvenös.nii.gz")
    done = imported("class-folders")
    assert [tuple(row.values()) for row in done.rows] == [
        ("P1", "AP", "scans/HCC/P1/P1_art.nii.gz", "scans/HCC/P1/P1_art_mask.nii.gz", "HCC", ""),
        ("P2", "PVP", "scans/ICC/P2/portalvenös.nii.gz", "", "iCCA", "scans/ICC/P2/liver_portalvenös.nii.gz"),
    ]
    assert done.told("HCC/P1/P1_art.nii.gz") == [("used", "image of AP", "guessed")]
    assert done.said("phase AP by the word 'art'")
    assert done.said("mask of the organ by the word 'liver'")
    assert done.said("label 'ICC' read as iCCA (1 row), from known spellings of classes")


def test_an_ambiguous_class_is_asked_and_the_answer_taken(tree, imported):
    tree.image("CHC/P1/art.nii.gz")
    assert imported("class-folders").said("label 'CHC' is ambiguous (hepatocellular carcinoma in French")
    assert imported("class-folders", "--class", "CHC=HCC").row("P1", "AP")["label"] == "HCC"


def test_an_ambiguous_phase_is_asked_and_the_answer_taken(tree, imported):
    tree.image("P1/P1_tardif.nii.gz")
    refused = imported("patient-folders")
    assert refused.code == 2
    assert refused.said(
        "phase 'tardif' is ambiguous (delayed to some, late arterial to others); say which: --phase"
    )
    done = imported("patient-folders", "--phase", "tardif=DP")
    assert done.told("P1/P1_tardif.nii.gz") == [("used", "image of DP", "decided")]


def test_a_question_that_many_files_have_in_common_is_put_once(tree, imported):
    for i in range(3):
        tree.image(f"P{i}/spät.nii.gz", i)
    assert imported("patient-folders").said(
        'say which: --phase "spät=NAME" (3 files, such as P0/spät.nii.gz)'
    )


def test_a_name_with_two_phases_is_refused(tree, imported):
    tree.image("P1/art/portal.nii.gz")
    assert imported("patient-folders").said("the words 'art', 'portal' tell several phases")


def test_the_number_of_a_patient_is_no_channel(tree, imported):
    tree.image("0001/0001_ven.nii.gz")
    assert [row["phase"] for row in imported("patient-folders").rows] == ["PVP"]


def test_two_images_of_one_phase_are_asked_about(tree, imported):
    tree.image("P1/art.nii.gz")
    tree.image("P1/art_old.nii.gz", seed=1)
    assert imported("patient-folders").said(
        "patient P1, phase AP: expected one image, found P1/art.nii.gz, P1/art_old.nii.gz"
    )
    done = imported("patient-folders", "--skip", "*old*")
    assert done.told("P1/art_old.nii.gz") == [("not used", "left out by --skip '*old*'", "decided")]


def test_a_patient_in_two_spellings_is_asked_about(tree, imported):
    tree.image("P07/art.nii.gz")
    tree.image("p7/portal.nii.gz", seed=1)
    assert imported("patient-folders").said(
        "patients 'P07' and 'p7' differ in case, zeros or separators only"
    )
    done = imported("patient-folders", "--patient", "p7=P07")
    assert {(row["patient_id"], row["phase"]) for row in done.rows} == {("P07", "AP"), ("P07", "PVP")}


def test_a_mask_of_several_values_is_asked_about(tree, imported):
    tree.image("P1/art.nii.gz")
    tree.label_map("P1/art_seg.nii.gz")
    tree.image("P2/art.nii.gz", seed=1)
    tree.mask("P2/art_seg.nii.gz")
    assert imported("patient-folders").said(
        "1 mask of the values 0, 1, 2, such as P1/art_seg.nii.gz: say which is the tumour: tumour_label=2"
    )
    done = imported("patient-folders", "tumour_label=2")
    assert (done.row("P1", "AP")["mask_label"], done.row("P2", "AP")["mask_label"]) == ("2", "")


def test_an_image_in_a_folder_that_is_called_like_a_mask_is_not_taken_for_one(tree, imported):
    tree.image("P1/art.nii.gz")
    tree.image("P1/liver lesion protocol/art.nii.gz", seed=1)
    done = imported("patient-folders")
    assert done.row("P1", "AP")["mask"] == ""
    assert done.said("no mask: it holds")


def test_an_empty_mask_is_left_out_and_told(tree, imported):
    tree.image("P1/art.nii.gz")
    tree.mask("P1/art_seg.nii.gz", empty=True)
    done = imported("patient-folders")
    assert done.row("P1", "AP")["mask"] == ""
    assert done.told("P1/art_seg.nii.gz") == [("not used", "an empty mask", "decided")]


def test_a_mask_without_a_phase_belongs_to_the_phase_that_is_said(tree, imported):
    tree.image("P1/art.nii.gz")
    tree.image("P1/portal.nii.gz", seed=1)
    tree.mask("P1/tumeur.nii.gz")
    silent = imported("patient-folders")
    assert not any(row["mask"] for row in silent.rows)
    assert silent.told("P1/tumeur.nii.gz")[0][0] == "not used"
    done = imported("patient-folders", "mask_phase=PVP", "--overwrite")
    assert done.row("P1", "PVP")["mask"] == "scans/P1/tumeur.nii.gz"


def test_several_masks_are_several_lesions(tree, imported):
    tree.image("P1/art.nii.gz")
    tree.mask("P1/art_lesion_1.nii.gz")
    tree.mask("P1/art_lesion_2.nii.gz")
    assert [row["lesion_id"] for row in imported("patient-folders").rows] == ["1", "2"]


def test_a_template_decides(tree, imported):
    tree.image("P1/CT_C1.nii.gz")
    tree.mask("P1/SEG_C1_1.nii.gz")
    tree.image("P1/CT_C9.nii.gz", seed=1)
    words = ("pattern={patient}/CT_{phase}.nii.gz", "mask_pattern={patient}/SEG_{phase}_{lesion}.nii.gz")
    assert imported("patient-folders", *words).said("unknown phase 'C9'; say which: --phase")
    done = imported("patient-folders", *words, "--phase", "C9=late arterial")
    assert done.told("P1/CT_C1.nii.gz") == [("used", "image of AP", "decided")]
    assert {row["phase"] for row in done.rows} == {"AP", "late arterial"}


def test_every_file_that_is_not_used_is_listed(tree, imported):
    tree.image("P1/art.nii.gz")
    tree.image("P1/scout.nii.gz", seed=1)
    tree.text("P1/report.txt", "notes")
    tree.text("Thumbs.db", "")
    done = imported("patient-folders")
    assert {row["file"] for row in done.report if row["decision"] == "not used"} == {
        "P1/scout.nii.gz",
        "P1/report.txt",
        "Thumbs.db",
    }
    assert done.said("P1/scout.nii.gz: image: its name tells no phase")


def test_what_is_of_another_format_is_told_as_such(tree, imported):
    tree.image("P1/art.nii.gz")
    for name in ("P1/old.hdr", "P1/old.img", "P1/IM001.dcm"):
        tree.text(name, "")
    tree.place("P2/nothing").parent.mkdir(exist_ok=True)
    done = imported("patient-folders")
    assert "write them as one: .nii.gz, .nrrd or .mha" in done.told("P1/old.hdr")[0][1]
    assert done.told("P1/IM001.dcm")[0][1] == "DICOM; the layout `dicom` reads it"
    assert done.told("P2") == [("not used", "an empty folder", "decided")]


def test_a_patient_of_two_classes_is_asked_about(tree, imported):
    tree.image("HCC/P1/art.nii.gz")
    tree.image("ICC/P1/portal.nii.gz", seed=1)
    assert imported("class-folders").said("patient P1 has the labels 'HCC' and 'iCCA'")


def test_a_pattern_that_leaves_out_nothing_is_told(tree, imported):
    tree.image("P1/art.nii.gz")
    assert imported("patient-folders", "--skip", "*odl*").said(
        "--skip '*odl*': matches no file of the folder"
    )


def test_a_patient_is_not_lost_for_want_of_a_phase(tree, imported):
    tree.image("P1/art.nii.gz")
    tree.image("P2/series_4.nii.gz", seed=1)
    assert imported("patient-folders").said(
        "patient P2: no image with a phase in its name among P2/series_4.nii.gz"
    )


def test_labels_are_joined_and_every_non_match_named(tree, imported, tmp_path):
    tree.image("P01/art.nii.gz")
    tree.image("P02/art.nii.gz", seed=1)
    book = openpyxl.Workbook()
    for cells in (
        ("Nr", "Diagnose", "Alter", "Zentrum"),
        ("P01", "HCC", 63, "A"),
        ("P2", "ICC", 70, "B"),
        ("P09", "HCC", 50, "A"),
    ):
        book.active.append(cells)
    book.save(tmp_path / "labels.xlsx")
    words = (
        "--labels",
        tmp_path / "labels.xlsx",
        "--labels-id",
        "Nr",
        "--labels-class",
        "Diagnose",
        "--covariates",
        "Alter",
    )
    done = imported("patient-folders", *words)
    assert [(row["patient_id"], row["label"], row["Alter"]) for row in done.rows] == [
        ("P01", "HCC", "63"),
        ("P02", "", ""),
    ]
    assert done.said(
        'patient P2: labels.xlsx: line 3: no scan of this patient; is it the same? --patient "P2=P02"'
    )
    assert done.said("patient P09: labels.xlsx: line 4: no scan of this patient")
    assert done.said("1 patient without a label: P02")
    assert "Zentrum" not in done.rows[0]
    assert (
        imported("patient-folders", *words, "--patient", "P2=P02", "--overwrite").row("P02", "AP")["label"]
        == "iCCA"
    )


def test_a_letter_with_an_accent_is_one_letter_however_the_system_stores_it(tree, imported, tmp_path):
    tree.image(unicodedata.normalize("NFD", "Hôpital_1/artériel.nii.gz"))
    tree.image(unicodedata.normalize("NFD", "Hôpital_1/spät.nii.gz"), seed=1)
    (tmp_path / "labels.csv").write_text("id,class\nHôpital_1,HCC\n", encoding="utf-8")
    words = (
        "--labels",
        tmp_path / "labels.csv",
        "--labels-id",
        "id",
        "--labels-class",
        "class",
        "--skip",
        "*spät*",
    )
    assert [(r["patient_id"], r["phase"], r["label"]) for r in imported("patient-folders", *words).rows] == [
        ("Hôpital_1", "AP", "HCC")
    ]


def test_an_identifier_that_excel_shows_otherwise_than_it_stores_it_is_refused(tree, imported, tmp_path):
    tree.image("007/art.nii.gz")
    book = openpyxl.Workbook()
    book.active.append(("Patient Nr", "class"))
    book.active.append((7, "HCC"))
    book.active["A2"].number_format = "000"
    book.save(tmp_path / "labels.xlsx")
    refused = imported(
        "patient-folders",
        "--labels",
        tmp_path / "labels.xlsx",
        "--labels-id",
        "Patient Nr",
        "--labels-class",
        "class",
    )
    assert refused.said(
        "cell A2: an identifier that is a number, shown in the format '000' and stored without it; write identifiers as text"
    )


def test_a_number_of_more_digits_than_excel_keeps_is_no_identifier(tree, imported, tmp_path):
    tree.image("1234567890123456/art.nii.gz")
    book = openpyxl.Workbook()
    book.active.append(("id", "class"))
    book.active.append((1234567890123456, "HCC"))
    book.save(tmp_path / "labels.xlsx")
    refused = imported(
        "patient-folders",
        "--labels",
        tmp_path / "labels.xlsx",
        "--labels-id",
        "id",
        "--labels-class",
        "class",
    )
    assert refused.said(
        "cell A2: an identifier that is a number of more than 15 digits, whose last ones Excel has lost"
    )
    assert "1234567890123456" not in refused.printed


def test_two_rows_of_almost_one_identifier_are_told(tree, imported, tmp_path):
    tree.image("001/art.nii.gz")
    labels = tree.text("../labels.csv", "id,class\n001,HCC\n1,iCCA\n")
    done = imported("patient-folders", "--labels", labels, "--labels-id", "id", "--labels-class", "class")
    assert done.rows[0]["label"] == "HCC"
    assert done.said(
        "it differs from '001' of line 2 in case, zeros or separators only: which of the two rows"
    )


def test_two_masks_of_the_tumour_on_one_phase_are_lesions_by_a_guess(tree, imported):
    tree.image("P1/art.nii.gz")
    tree.mask("P1/art_seg.nii.gz")
    tree.mask("P1/art_seg_second_reader.nii.gz")
    done = imported("patient-folders")
    assert [row["lesion_id"] for row in done.rows] == ["1", "2"]
    assert ("used", "2 masks of the tumour taken as 2 lesions", "guessed") in done.told("")
    assert done.said(
        "several masks of the tumour on one phase taken as its lesions, and not as versions of one"
    )


def test_two_masks_of_the_organ_on_one_phase_are_asked_about(tree, imported):
    tree.image("P1/art.nii.gz")
    tree.mask("P1/art_liver.nii.gz")
    tree.mask("P1/art_liver_old.nii.gz")
    refused = imported("patient-folders")
    assert refused.said("patient P1, phase AP: expected one mask of the organ, found P1/art_liver.nii.gz")
    assert imported("patient-folders", "--skip", "*old*").row("P1", "AP")["liver_mask"]


def test_files_that_are_left_out_for_one_reason_are_told_in_one_line(tree, imported):
    tree.image("P1/art.nii.gz")
    for i in range(9):
        tree.text(f"P1/note_{i}.txt", "")
    done = imported("patient-folders")
    assert done.said(
        "P1/note_0.txt: no part of the layout, or of a scan that is not used, and 8 more for this reason"
    )
    assert "note_1" not in done.printed
    assert done.told("P1/note_8.txt")[0][0] == "not used"


def test_a_spelling_that_stands_nowhere_is_told(tree, imported):
    tree.image("P1/tardif.nii.gz")
    words = ("--phase", "tardif=DP", "--phase", "tradif=DP", "--class", "CHC=HCC", "--patient", "p7=P7")
    done = imported("patient-folders", *words)
    assert [what for _, what, _ in done.told("")] == [
        "the spelling 'tradif' of --phase is in no name and no table that was read",
        "the spelling 'chc' of --class is in no name and no table that was read",
        "the spelling 'p7' of --patient is in no name and no table that was read",
    ]
    assert done.said("the spelling 'tradif' of --phase is in no name")


def test_labels_that_contradict_the_folders_are_refused(tree, imported, tmp_path):
    tree.image("HCC/P1/art.nii.gz")
    (tmp_path / "labels.csv").write_text("id,class\nP1,iCCA\n")
    refused = imported(
        "class-folders", "--labels", tmp_path / "labels.csv", "--labels-id", "id", "--labels-class", "class"
    )
    assert refused.said("says 'iCCA', the folder says 'HCC'; expected one label")


def test_a_table_that_somebody_corrected_is_not_overwritten(tree, imported):
    tree.image("P1/art.nii.gz")
    assert imported("patient-folders").code == 0
    assert imported("patient-folders").said("exists already; give another --out, or --overwrite")
    assert imported("patient-folders", "--overwrite").code == 0


def test_the_report_of_another_table_is_not_overwritten(tree, imported, tmp_path):
    tree.image("P1/art.nii.gz")
    assert imported("patient-folders").code == 0
    (tmp_path / "cohort.csv").rename(tmp_path / "first.csv")
    (tmp_path / "import_report.csv").write_text(
        (tmp_path / "import_report.csv").read_text().replace("cohort.csv", "first.csv")
    )
    assert imported("patient-folders").said("the report of another table; give --out in another folder")


def test_mistyped_layouts_and_settings_are_named_with_the_nearest(tree, imported):
    tree.image("P1/art.nii.gz")
    assert imported("patient-folder").said("layout 'patient-folder': nearest valid name: 'patient-folders'")
    assert imported("patient-folders", "mask_fase=PVP").said(
        "unknown key 'mask_fase'; nearest valid key: 'mask_phase'"
    )
