"""Layout `class-folders`: a folder for each class, in it one for each patient."""

from extract.importers.found import Import
from extract.importers.layout import ImportRequest, Layout
from extract.importers.named_files import NamedFilesSettings, find_named


def find(request: ImportRequest, settings: NamedFilesSettings) -> Import:
    """Find scans in CLASS/PATIENT/files; the label of a patient is the name of the folder above."""
    return find_named(request, settings, ("class", "patient"))


LAYOUT = Layout(
    "class-folders", "CLASS/PATIENT/files; the names of the files tell the phase", NamedFilesSettings, find
)
