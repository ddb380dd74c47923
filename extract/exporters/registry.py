"""The targets of `extract.py export`."""

from collections.abc import Mapping

from extract.exporters import clam, csv_tables, slideflow, stamp, torchmil_folders, trident
from extract.exporters.exported import Target

_ALL = (
    clam.TARGET,
    stamp.TARGET,
    torchmil_folders.TARGET,
    trident.TARGET,
    slideflow.TARGET,
    csv_tables.TARGET,
)
TARGETS: Mapping[str, Target] = {target.name: target for target in _ALL}
