"""Bags of earlier runs: whether the scans behind them can still be reached, and bags set aside and taken back."""

from collections.abc import Iterable
from pathlib import Path

from extract.fingerprints import FileHashes
from extract.planning import Job
from pipeline.bag_reading import header_of_file
from pipeline.bags import bag_path, read_header
from pipeline.cohort import Scan
from pipeline.errors import BagError, UnreachableError

_ASIDE = ".stale"
_SHOWN = 3


def check_reachable(jobs: Iterable[Job], folder: Path, hashes: FileHashes) -> None:
    """Refuse to go on when scans that earlier bags were made from are not there any more.

    Otherwise a drive that is not mounted would set every bag aside, or replace it by one with fewer phases.

    Raises:
        UnreachableError: the number of scans, and the first of their files.
    """
    lost = [path for job in jobs for path in _lost_files(job, folder, hashes)]
    if lost:
        more = f" and {len(lost) - _SHOWN} more" if len(lost) > _SHOWN else ""
        raise UnreachableError(
            f"the scans of earlier bags cannot be reached: no file {', '.join(map(str, lost[:_SHOWN]))}{more}; mount the drive or "
            "correct the table, and run again; if they are gone on purpose, run with unreachable=leave-out"
        )


def set_aside(path: Path) -> Path | None:
    """Rename the bag of a patient who is left out, lest stage 2 takes it; return its new path, or None without a bag."""
    if not path.exists():
        return None
    return path.replace(_aside(path))


def take_back(path: Path, content_key: str) -> bool:
    """Rename a bag that was set aside back if it was made of what there is now; return whether it was."""
    aside = _aside(path)
    if path.exists() or not aside.exists():
        return False
    try:
        fits = header_of_file(aside, path.name.removesuffix(path.suffix)).content_key == content_key
    except BagError:
        return False
    if fits:
        aside.replace(path)
    return fits


def _aside(path: Path) -> Path:
    return path.with_name(f"{path.name}{_ASIDE}")


def _lost_files(job: Job, folder: Path, hashes: FileHashes) -> list[Path]:
    """Return the missing files of scans that are in the bag of a patient, the first of each scan."""
    scans = job.patient.scans
    gone = {phase: file for phase in scans if (file := _missing_of(scans[phase], hashes)) is not None}
    path = bag_path(folder, job.patient.patient_id)
    if not gone or not path.exists():
        return []
    try:
        of_bag = read_header(path).sources
    except BagError:
        return []
    return [file for phase, file in gone.items() if phase in of_bag]


def _missing_of(scan: Scan, hashes: FileHashes) -> Path | None:
    """Return a file of a scan that is not there; a mask of the organ counts only if it was there before."""
    files = [scan.image, *(path for _, path in scan.masks)]
    if scan.liver_mask is not None and hashes.knew(scan.liver_mask):
        files.append(scan.liver_mask)
    return next((path for path in files if not path.exists()), None)
