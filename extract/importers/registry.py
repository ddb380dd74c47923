"""The layouts by name, in the order in which help lists them."""

from collections.abc import Mapping

from extract.importers import (
    class_folders,
    dicom,
    lld_mmri,
    mct_ltdiag,
    nnunet,
    patient_folders,
    plc_cect,
    totalsegmentator,
    waw_tace,
)
from extract.importers.layout import Layout
from pipeline.errors import ConfigError
from pipeline.names import hint_of_nearest

_MODULES = (
    patient_folders,
    class_folders,
    nnunet,
    totalsegmentator,
    plc_cect,
    mct_ltdiag,
    waw_tace,
    lld_mmri,
    dicom,
)
LAYOUTS: Mapping[str, Layout] = {module.LAYOUT.name: module.LAYOUT for module in _MODULES}


def layout_named(name: str) -> Layout:
    """Return a layout by its name.

    Raises:
        ConfigError: there is none; the nearest is named.
    """
    if name not in LAYOUTS:
        raise ConfigError(
            f"layout {name!r}: {hint_of_nearest(name, LAYOUTS)}; `extract.py layouts` lists them"
        )
    return LAYOUTS[name]
