"""Ten patients as a hospital hands them over: phases in two languages, a missing one, a label map, two spellings, stray files.

The scans are those of a phantom, so that stage 1 reads them.
"""

import csv
import shutil
import unicodedata
from pathlib import Path

import nibabel as nib
import numpy as np
import openpyxl

STYLES = (
    {
        "NC": "sans injection",
        "AP": "artériel",
        "PVP": "portal",
        "DP": "tardif",
        "mask": "masque",
        "liver": "foie",
    },
    {"NC": "nativ", "AP": "arteriell", "PVP": "portalvenös", "DP": "spät", "mask": "Maske", "liver": "Leber"},
    {"NC": "NC", "AP": "ART", "PVP": "PV", "DP": "DEL", "mask": "seg", "liver": "liver"},
)
"""How three stations name what they store."""
WITHOUT_DELAYED, WITH_LABEL_MAP, IN_TWO_SPELLINGS = "H004", "H005", "H007"
CLASSES = {"HCC": "CHC", "iCCA": "ICC"}
"""As the hospital calls them."""


def write_hospital(folder: Path, labels: Path, cohort: Path) -> None:
    """Copy the scans of a phantom into a folder as a hospital leaves it, with a workbook of labels beside it."""
    with cohort.open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    of_class = {
        kind: list(dict.fromkeys(r["patient_id"] for r in rows if r["label"] == kind))[:5] for kind in CLASSES
    }
    patients = [patient for five in of_class.values() for patient in five]
    rows = [row for row in rows if row["patient_id"] in patients]
    names = {patient: f"H{i:03}" for i, patient in enumerate(patients, start=1)}
    for row in rows:
        _write_scan(folder, names[row["patient_id"]], row, cohort.parent)
    for stray in ("Thumbs.db", "H003/Befund.txt", "H002/notes.docx"):
        (folder / stray).write_text("nothing that anybody reads", encoding="utf-8")
    shutil.copy(cohort.parent / rows[0]["liver_mask"], folder / "H003" / "Topogramm.nii.gz")
    book = openpyxl.Workbook()
    book.active.append(("Nr", "Diagnose", "Alter", "Geschlecht"))
    for patient in patients:
        row = next(row for row in rows if row["patient_id"] == patient)
        book.active.append((names[patient], CLASSES[row["label"]], int(row["age"]), row["sex"]))
    book.active.append(("H099", "CHC", 71, "M"))
    book.save(labels)


def _write_scan(folder: Path, name: str, row: dict[str, str], source: Path) -> None:
    number, phase = int(name[1:]), row["phase"]
    if name == WITHOUT_DELAYED and phase == "DP":
        return
    words = STYLES[number % len(STYLES)]
    own = folder / ("h7" if name == IN_TWO_SPELLINGS and phase in ("PVP", "DP") else name)
    own.mkdir(parents=True, exist_ok=True)
    stem = f"{name} {words[phase]}"
    if number % 2:  # as some systems write letters with an accent
        stem = unicodedata.normalize("NFD", stem)
    shutil.copy(source / row["image"], own / f"{stem}.nii.gz")
    if name == WITH_LABEL_MAP and row["mask"]:
        _write_label_map(
            source / row["mask"], source / row["liver_mask"], own / f"{stem} {words['mask']}.nii.gz"
        )
    elif row["mask"]:
        shutil.copy(source / row["mask"], own / f"{stem} {words['mask']}.nii.gz")
    shutil.copy(source / row["liver_mask"], own / f"{stem} {words['liver']}.nii.gz")


def _write_label_map(tumour: Path, liver: Path, to: Path) -> None:
    """Write a mask in which 1 is the liver and 2 the tumour."""
    drawn = nib.load(tumour)
    inside = np.asarray(drawn.dataobj) > 0
    organ = np.asarray(nib.load(liver).dataobj) > 0
    nib.save(nib.Nifti1Image(np.where(inside, 2, organ).astype(np.uint8), drawn.affine), to)
