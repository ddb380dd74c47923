"""Layout `patient-folders`: a folder for each patient; labels come from a table."""

from extract.importers.found import Import
from extract.importers.layout import ImportRequest, Layout
from extract.importers.named_files import NamedFilesSettings, find_named


def find(request: ImportRequest, settings: NamedFilesSettings) -> Import:
    """Find scans in PATIENT/files; the names of the files tell the phase."""
    return find_named(request, settings, ("patient",))


LAYOUT = Layout(
    "patient-folders",
    "PATIENT/files; the names of the files tell the phase, --labels the class",
    NamedFilesSettings,
    find,
)
