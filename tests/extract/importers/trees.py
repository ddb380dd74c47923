"""Folders as data sets leave them, each with the traps of the real one."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from tests.extract.conftest import draw_scan, save


@dataclass
class Tree:
    """A folder in which files are put."""

    folder: Path

    def place(self, name: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def image(self, name: str, seed: int = 0) -> None:
        save(self.place(name), draw_scan(seed)[0])

    def mask(self, name: str, *, value: int = 1, empty: bool = False) -> None:
        save(self.place(name), (draw_scan()[1] * (0 if empty else value)).astype(np.uint8))

    def label_map(self, name: str, liver: int = 1, tumour: int = 2) -> None:
        drawn = draw_scan()[1] * tumour
        drawn[24:34, 8:28, 2:10] = liver
        save(self.place(name), drawn.astype(np.uint8))

    def bare(self, name: str, voxels: np.ndarray) -> None:
        """A NIfTI whose header says 1 x 1 x 1 mm at 0."""
        nib.save(nib.Nifti1Image(voxels, np.eye(4)), self.place(name))

    def text(self, name: str, text: str) -> Path:
        path = self.place(name)
        path.write_text(text, encoding="utf-8")
        return path

    def json(self, name: str, content: Mapping[str, Any]) -> None:
        self.text(name, json.dumps(content))


def windowed(*, lungs_first: bool, fat_hu: float = -140.0, n: int = 24) -> np.ndarray:
    """An 8-bit chest and abdomen: air around, a body with a rim of fat, lungs at one end; 0 is -200 HU and 255 is 200."""
    hu = np.full((60, 60, n), -200.0)
    hu[8:-8, 8:-8] = fat_hu
    hu[14:-14, 14:-14] = 20.0
    lungs = slice(0, n // 4) if lungs_first else slice(-(n // 4), None)
    hu[18:-18, 18:-18, lungs] = -200.0
    hu += np.random.default_rng(0).normal(0, 3, hu.shape)
    return np.rint(np.clip((hu + 200) / 400 * 255, 0, 255)).astype(np.uint8)


def put_plc_cect(tree: Tree) -> None:
    """PLC-CECT: an HCC, a combined carcinoma with a 4-D array, and a control without a mask."""
    header = "patient_id,age,gender,phase,cancer_type,ct_path,mask_path,liver_mask_path"
    drawn = np.zeros((60, 60, 24), dtype=np.uint8)
    drawn[25:35, 25:35, 8:12] = 1
    lines = [header]
    for patient, phase, kind, gender in (
        ("P0001", "P", "HCC", "M"), ("P0001", "C1", "HCC", "M"), ("P0002", "C2", "CHCC", "NA"), ("P0003", "C1", "CN", "F"),
    ):  # fmt: skip
        ct, mask, liver = (
            f"ct_files/{patient}_ct_{phase}.nii.gz",
            f"mask_files/{patient}_mask_{phase}.nii.gz",
            f"liver_mask_files/{patient}-livermask_{phase}.nii.gz",
        )
        tree.bare(ct, windowed(lungs_first=phase != "C1" or patient != "P0003"))
        if kind != "CN":
            tree.bare(mask, drawn)
        tree.bare(liver, drawn * (phase != "C1"))
        lines.append(f"{patient},55,{gender},{phase},{kind},{ct},{'NA' if kind == 'CN' else mask},{liver}")
    tree.bare("ct_files/P0002_ct_C3.nii.gz", np.zeros((6, 6, 4, 2), dtype=np.uint8))
    lines.append("P0002,55,NA,C3,CHCC,ct_files/P0002_ct_C3.nii.gz,,")
    tree.text("patient_data.csv", "\n".join(lines) + "\n")
    tree.text("README.md", "columns: Patient ID, Stage, CT File")


def put_mct_ltdiag(tree: Tree) -> None:
    """MCT-LTDiag as folders: ages as DICOM writes them, free text, a fold file of tumours."""
    for case in ("230312a11", "230401b02"):
        for seed, phase in enumerate(("nc", "art", "pvp", "delay")):
            tree.image(f"{case}/NIFTI/{phase}.nii.gz", seed)
        tree.mask(f"{case}/NIFTI/mask_pvp.nii.gz")
        tree.mask(f"{case}/NIFTI/liver_mask_pvp.nii.gz")
    table = "ID,type,sex,age,cirrhosis,chemo\n230312a11,ICC,F,062Y,N,Y(TACE 2x)\n230401b02,HCC,M,018M,Y,N\n230500c09,HH,M,040Y,N,N\n"
    tree.text("meta_info_patient.csv", table)
    tree.text("fold_0.txt", "230312a11_tumor_1 0\n230312a11_tumor_2 0\n")


def lld_annotation(**boxes: tuple[int, int]) -> dict:
    """An annotation with one lesion of category 6 on each phase; names with + stand for themselves."""

    def lesion(z):
        return {
            "category": 6,
            "bbox": {
                "3D_box": {"x_min": 1, "x_max": 5, "y_min": 1, "y_max": 5, "z_min": z[0], "z_max": z[1]}
            },
        }

    scans = [
        {"studyUID": "1.2", "seriesUID": f"3.{i}", "phase": phase, "annotation": {"num_targets": 1, "lesion": {"0": lesion(z)}}}
        for i, (phase, z) in enumerate(boxes.items())
    ]  # fmt: skip
    return {"Annotation_info": {"MR 17": scans}}


def put_nnunet(tree: Tree, channels: dict, labels: dict) -> None:
    tree.json("dataset.json", {"channel_names": channels, "labels": labels, "file_ending": ".nii.gz"})
    for case in ("liver_001", "liver_002"):
        for channel in range(len(channels)):
            tree.image(f"imagesTr/{case}_{channel:04}.nii.gz", channel)
    tree.label_map("labelsTr/liver_001.nii.gz")
    tree.label_map("labelsTr/liver_900.nii.gz")
    tree.image("imagesTs/liver_003_0000.nii.gz", 5)


def put_boxes(tree: Tree) -> None:
    """LLD-MMRI: boxes on two phases, one of which goes beyond the volume, and a sequence that is no phase."""
    tree.json("labels/Annotation.json", lld_annotation(**{"C+A": (2, 4), "C+Delay": (8, 20), "T2WI": (1, 2)}))
    for i in range(3):
        tree.image(f"images/MR 17/1.2/3.{i}.nii.gz", i)


def put_waw_tace(tree: Tree) -> None:
    """WAW-TACE: two lesions on one phase, a scan that is missing, masks of a patient without scans."""
    import SimpleITK as sitk  # noqa: PLC0415 - an extra

    header = "patient_id,ct_phase,ct_file_name,tumor_count,slice_thickness\n"
    rows = "2,0,2_0.nii.gz,2,5\n2,1,2_1.nii.gz,2,5\n7,2,7_2.nii.gz,1,2\n7,3,gone.nii.gz,1,2\n"
    tree.text("ct_hcc_metadata.csv", header + rows)
    for seed, name in enumerate(("2_0", "2_1", "7_2")):
        tree.image(f"images/{name}.nii.gz", seed)
        tree.label_map(f"organ_masks/{name}.nii.gz", liver=5)
    tree.mask("drawn.nii.gz")
    for name in ("2_1_1", "2_1_2", "9_1_1"):
        path = tree.place(f"tumor_masks/{name}_tumor_seg.nrrd")
        sitk.WriteImage(sitk.ReadImage(str(tree.folder / "drawn.nii.gz")), str(path))
    (tree.folder / "drawn.nii.gz").unlink()


def put_totalsegmentator(tree: Tree) -> None:
    """Two scans of a patient with what TotalSegmentator and totalseg_get_phase wrote."""
    for scan, phase, seed in (("scan_1", "arterial_late", 0), ("scan_2", "portal_venous", 1)):
        tree.image(f"P1/{scan}/ct.nii.gz", seed)
        for organ in ("liver", "liver_lesions", "spleen"):
            tree.mask(f"P1/{scan}/segmentations/{organ}.nii.gz")
        tree.json(f"P1/{scan}/phase.json", {"pi_time": 43.2, "phase": phase, "probability": 0.9})
