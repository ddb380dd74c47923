"""Names, dates and identifiers are planted in every tag, file and folder, and searched for in all that is written or printed."""

import gzip
import logging
import re
import shutil
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.datadict import DicomDictionary
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from extract.dicom.headers import in_silence
from tests.extract.conftest import draw_scan
from tests.extract.dicom import scanner
from tests.extract.dicom.scanner import write_segmentation, write_series, write_structures

NAME, FIRST_NAME, IDENTIFIER, DATE, ORGANISATION = "Zyxwvut", "Quentin", "QX7788991", "19331224", "777888999"
NEEDLES = [NAME, FIRST_NAME, IDENTIFIER, DATE, "1933-12-24", "24.12.1933", ORGANISATION, "Wolfenweiler"]
TEXT = f"{NAME} {FIRST_NAME} {IDENTIFIER} Wolfenweiler {DATE}"
PLANTED: dict[str, object] = {
    **dict.fromkeys(("LO", "LT", "ST", "UT", "UC"), TEXT),
    "SH": f"{NAME} {DATE}",
    "PN": f"{NAME}^{FIRST_NAME}",
    "CS": NAME.upper(),
    "AE": NAME,
    "DA": DATE,
    "DT": f"{DATE}131415",
    "UI": f"1.2.{ORGANISATION}.1",
}
HU, TUMOUR = draw_scan()
SQUARE = [(9.5, 11.5, 15.0), (14.5, 11.5, 15.0), (14.5, 16.5, 15.0), (9.5, 16.5, 15.0)]
STRUCTURE = {"CS", "UI"}
"""Representations of which a segmentation needs the right values."""


def plant(path: Path, **tags: object) -> None:
    """Plant texts in every tag of the dictionary of DICOM that a file does not have, in private tags and in a sequence."""
    dataset = pydicom.dcmread(path)
    for tag, (vr, _, _, retired, keyword) in DicomDictionary.items():
        wanted = vr in PLANTED and (dataset.Modality == "CT" or vr not in STRUCTURE)
        if wanted and keyword and not retired and 0x0008 <= tag >> 16 < 0x5400 and not dataset.get(keyword):
            dataset[tag] = DataElement(tag, vr, PLANTED[vr])
    dataset.PatientID, dataset.PatientBirthDate = IDENTIFIER, DATE
    dataset.AcquisitionDate, dataset.AcquisitionTime = DATE, "131415"
    dataset.SeriesDescription = f"{NAME} arterial {DATE}"
    block = dataset.private_block(0x0011, f"{NAME} {IDENTIFIER}", create=True)
    block.add_new(0x01, "PN", f"{NAME}^{FIRST_NAME}")
    block.add_new(0x02, "UN", TEXT.encode())
    item = Dataset()
    item.PatientName, item.PatientID = f"{NAME}^{FIRST_NAME}", IDENTIFIER
    dataset.ReferencedPatientPhotoSequence = [item]
    for tag, value in tags.items():
        setattr(dataset, tag, value)
    dataset.save_as(path)


@pytest.fixture(scope="module")
def planted(tmp_path_factory) -> Path:
    """An export of one patient with CT, a segmentation, contours, images of other kinds, and files of no kind."""
    root = tmp_path_factory.mktemp("planted")
    folder = root / f"{NAME}_{FIRST_NAME}" / DATE
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.setattr(scanner, "ROOT_UID", f"1.2.{ORGANISATION}")
        warnings.simplefilter("ignore")  # of values that no tag may have
        images = write_series(folder / IDENTIFIER, HU)
        masks = [
            write_segmentation(folder / f"{NAME}.seg", images, {f"{NAME} tumor": TUMOUR, "Liver": TUMOUR}),
            write_structures(folder / f"{NAME}.rt", images[0], {f"GTV {NAME}": [SQUARE]}),
        ]
        for path in [*images, *masks]:
            plant(path)
        for i, tags in enumerate(OTHERS):
            for path in write_series(folder / f"{NAME}{i}", HU[:, :, :2], series=str(i)):
                plant(path, **tags)
    for image in images:
        image.rename(image.with_name(f"{NAME}_{DATE}_{image.name}.dcm"))
    (folder / f"{NAME}.txt").write_text(TEXT)
    (folder / f"{IDENTIFIER}.dcm").write_bytes(b"\0" * 128 + b"DICM" + TEXT.encode() * 40)
    return root


OTHERS: tuple[dict[str, object], ...] = (
    {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]},
    {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.4", "Modality": NAME.upper()},
    {"SOPClassUID": f"1.2.{ORGANISATION}"},
    {"SOPClassUID": NAME},
    {"RescaleSlope": None},
)


@pytest.fixture
def scans(tmp_path, planted) -> Path:
    return shutil.copytree(planted, tmp_path / "scans")


def found_in(data: bytes) -> list[str]:
    return [needle for needle in NEEDLES if re.search(re.escape(needle.encode()), data, re.IGNORECASE)]


def assert_clean(folder: Path, printed: str) -> None:
    """Search names and contents of all files of a folder, also within compressed ones."""
    assert not found_in(printed.encode()), printed
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    for path in files:
        assert not found_in(path.relative_to(folder).as_posix().encode()), path
        data = path.read_bytes()
        assert not found_in(data), path
        if data[:2] == b"\x1f\x8b":
            assert not found_in(gzip.decompress(data)), path


@pytest.fixture
def export(tmp_path, scans, command, caplog):
    """Import into `out`; return the exit code and all that was printed or logged."""
    caplog.set_level(logging.DEBUG)

    def run(*words: object) -> tuple[int, str]:
        code, printed = command(
            "import",
            "dicom",
            scans,
            f"key={tmp_path / 'private' / 'key'}",
            *words,
            "--out",
            tmp_path / "out" / "cohort.csv",
        )
        return code, printed + caplog.text

    return run


def test_the_planted_tags_are_there(scans):
    """So that the other tests search for something that could be found."""
    (path, *_) = scans.rglob(f"{NAME}_{DATE}_*")
    with in_silence():
        dataset = pydicom.dcmread(path)
    assert len([element for element in dataset.iterall() if found_in(str(element.value).encode())]) > 1000


def test_nothing_of_an_identity_is_in_what_is_written_or_printed(tmp_path, export, command):
    labels = tmp_path / "labels.csv"
    labels.write_text(f"id,diagnosis\n{IDENTIFIER},HCC\n{NAME}-{IDENTIFIER},ICC\n")
    code, printed = export(
        f"tumour=GTV {NAME}", "organ=Liver", "--labels", labels, "--labels-id", "id", "--labels-class", "diagnosis",
        "--skip", f"*/{NAME}1/*",
    )  # fmt: skip
    assert code == 0, printed
    out = tmp_path / "out"
    assert_clean(out, printed)
    table = (out / "cohort.csv").read_text()
    assert ",AP," in table
    assert ",HCC" in table
    (out / "test.toml").write_text(
        'name = "test"\noutput = "results"\n[cohort]\ntable = "cohort.csv"\n[extract]\nencoder = "squeezenet1_0"\n'
        'weights = "random:0"\nprecision = "float32"\ndevice = "cpu"\n[extract.input]\nsize_px = 32\n'
    )
    for step in ("check", "run"):
        code, printed = command(step, out / "test.toml")
        assert code == 0, printed
        assert_clean(out, printed)


def test_a_question_tells_no_name(export):
    code, printed = export()
    assert code == 2
    assert "say which are the tumour" in printed
    assert "Liver (1 x)" in printed
    assert not found_in(printed.encode()), printed


def test_a_refusal_tells_no_name(tmp_path, scans, export):
    for path in scans.rglob(f"{NAME}_{DATE}_*"):
        path.write_bytes(path.read_bytes()[:-900])  # the voxels are cut off
    code, printed = export("masks=false")
    assert code == 2
    assert "cannot be decoded" in printed
    assert not found_in(printed.encode()), printed
    assert not list((tmp_path / "out").rglob("*.nii.gz"))


def test_what_pseudonyms_stand_for_lies_beside_the_key_alone(tmp_path, export):
    export("masks=false")
    private = tmp_path / "private"
    assert IDENTIFIER in (private / "key.originals.csv").read_text()
    assert {path.stat().st_mode & 0o777 for path in private.iterdir()} == {0o600}
    key = (private / "key").read_text().strip().encode()
    assert not any(key in path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file())


def test_a_converted_file_holds_voxels_and_their_place_alone(tmp_path, export):
    export("masks=false")
    (path,) = (tmp_path / "out").rglob("*.nii.gz")
    header = gzip.decompress(path.read_bytes())[:352]
    texts = {
        "data_type and db_name": header[4:32],
        "descrip and aux_file": header[148:252],
        "intent_name": header[328:344],
    }
    assert {name: text.strip(b"\0") for name, text in texts.items()} == dict.fromkeys(texts, b"")
    assert header[348:352] == b"\0" * 4  # no extension
    assert path.read_bytes()[4:8] == b"\0" * 4  # no time in the gzip header
    assert np.frombuffer(gzip.decompress(path.read_bytes())[352:], dtype=np.int16).size == HU.size
