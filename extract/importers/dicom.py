"""Layout `dicom`: a tree of DICOM files as a hospital exports them, converted to NIfTI without any identity."""

import importlib.util
from pathlib import Path

from extract.importers.found import Import
from extract.importers.layout import ImportRequest, Layout, LayoutSettings
from pipeline.errors import CohortError

_NEEDED = ("pydicom", "highdicom", "gdcm")


class DicomSettings(LayoutSettings):
    """Settings of a DICOM export."""

    key: str = ""
    """File with the key of the pseudonyms, which is yours to keep; made where there is none. What each pseudonym stands for is
    written beside it and nowhere else."""
    tumour: str | tuple[str, ...] = ()
    """Names of the segments or regions of interest that are the tumour, such as `Tumor*`, in DICOM-SEG and RTSTRUCT."""
    organ: str | tuple[str, ...] = ()
    """Names of those that are the organ, such as `Liver`."""
    masks: bool = True
    """`false`: use no segmentations and no contours."""


def find(request: ImportRequest, settings: DicomSettings) -> Import:
    """Find CT series in a tree, whatever the names of files and folders.

    Raises:
        CohortError: no key is named, the extra `dicom` is not installed, or it is to be said which segment is the tumour.
    """
    lacking = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if lacking:
        raise CohortError(
            f'the layout dicom needs {", ".join(lacking)}; install the extra: pip install "phasemil[dicom]"'
        )
    if not settings.key:
        raise CohortError(
            "identifiers are replaced by pseudonyms, which need a key; say where it lies or is to be made: key=FILE, outside of "
            "what you share"
        )
    # An extra, and heavy.
    from extract.importers.dicom_export import import_export  # noqa: PLC0415

    return import_export(
        request, Path(settings.key), _names(settings.tumour), _names(settings.organ), masks=settings.masks
    )


def _names(given: str | tuple[str, ...]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else given


LAYOUT = Layout(
    "dicom",
    "DICOM files in any folders, by study and series; converted to NIfTI, identifiers replaced (key=FILE)",
    DicomSettings,
    find,
)
