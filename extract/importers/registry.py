"""The layouts by name, in the order in which help lists them."""

from collections.abc import Mapping

from extract.importers import class_folders, patient_folders
from extract.importers.layout import Layout
from pipeline.errors import ConfigError
from pipeline.names import hint_of_nearest

LAYOUTS: Mapping[str, Layout] = {
    layout.name: layout for layout in (class_folders.LAYOUT, patient_folders.LAYOUT)
}


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
